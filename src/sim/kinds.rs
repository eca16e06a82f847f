//! The kinds of peers: one small type for each, and what can be said of it in a scenario.

mod copying;
mod crowd;
mod declaring;
mod harm;
mod honest;
mod idle;
mod names;
mod optimising;
mod timing;

use super::peer::Behaviour;
use serde::{Deserialize, Serialize};

/// What a kind's work is worth to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// All that it can do, on its own data, in time.
    Honest,
    /// A part of the work that it wants to be paid for.
    Partial,
    /// Its work, of which it sends something that is of less use.
    Diluted,
    /// Nothing, or harm.
    Worthless,
}

/// A kind of peer with its parameters, as a scenario names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// Trains on its assignment; `work` is the share of it that its hardware can do.
    Honest {
        /// From 0 to 1.
        work: f64,
    },
    /// Could do all and does a share.
    Fraction {
        /// From 0 to 1.
        work: f64,
    },
    /// Uploads a blend of `of` others' objects, with a share `noise` of noise.
    Copier {
        /// Objects that are blended; 1 is a verbatim copy.
        of: usize,
        /// Share of noise in the blend.
        noise: f64,
    },
    /// Copies an object that is still being uploaded, and is done before its author.
    Thief,
    /// Does a share of its own work and blends it with copies.
    Mixed {
        /// Share of its assignment that it trains on.
        work: f64,
        /// Weight of others' objects in the blend, from 0 to 1.
        copied: f64,
        /// Objects that it copies.
        of: usize,
    },
    /// Uploads a well-formed object that says nothing.
    Idle,
    /// Worked in its first window and uploads that for ever.
    Repeat,
    /// Trains on text of its own choice.
    OtherData,
    /// Trains from a model of `lag` rounds ago.
    Stale {
        /// Rounds.
        lag: usize,
    },
    /// Uploads random numbers.
    Random,
    /// Trains and turns the signs.
    Flipped,
    /// Works, and makes its object `2^doublings` times as long as the others', to outweigh them all.
    Inflated {
        /// Share of its assignment that it trains on.
        work: f64,
        /// Doublings of the length.
        doublings: i8,
    },
    /// Uploads objects that are broken in ever new ways.
    Malformed,
    /// Uploads this long after the put window; what it sends has seen everybody's.
    Late {
        /// Seconds.
        seconds: u64,
    },
    /// Uploads this long before the put window opens.
    Early {
        /// Seconds.
        seconds: u64,
    },
    /// Trains on wrong labels: a share of the next symbols is one of its choice.
    Poisoner {
        /// Share of wrong labels.
        share: f64,
    },
    /// Trains on its data and takes out what the others learned: only what fits its own sequences is left.
    Memoriser,
    /// Works for `on` windows and repeats its last object for `off`.
    OnOff {
        /// Windows of work.
        on: u64,
        /// Windows without.
        off: u64,
    },
    /// Each member of a group works a share, all upload the same pool.
    Colluder {
        /// Which group.
        group: usize,
        /// Share of its own assignment that each trains on.
        work: f64,
    },
    /// Does a share of the work and owns losers.
    SybilMain {
        /// Share of its assignment that it trains on.
        work: f64,
    },
    /// Loses on purpose, to lift its owner.
    SybilLoser,
    /// Idle, and paid by a validator who is its friend.
    Friend,
    /// Does a share of its work and declares more, with the mean of what it has done in place of the rest.
    OverDeclarer {
        /// Share of its assignment that it trains on.
        work: f64,
        /// Share that it declares.
        declares: f64,
    },
    /// Computes all of its work, declares it as it is, and sends something else.
    Hollow {
        /// What it sends.
        sends: Hollow,
    },
    /// Does a share of its work, declares it, and sends the mix that shows it best.
    Optimiser {
        /// Share of its assignment that it trains on.
        work: f64,
        /// The mixes that it tries: with and without momentum, less so much of what others sent.
        mixes: Vec<Mix>,
    },
    /// Trains from a model of `lag` rounds ago and shows the current one.
    Hidden {
        /// Rounds.
        lag: usize,
    },
    /// Trains on the data that everybody was judged on in the window before.
    Chaser,
    /// Does all its work and sends an object of somebody who is paid little, ahead of its author.
    Framer,
    /// Works for some windows and is never seen again.
    Vanish {
        /// Windows of work.
        works: u64,
    },
    /// Works for some windows and repeats its last object and its last declaration for ever.
    Rest {
        /// Windows of work.
        works: u64,
    },
    /// Works for some windows, then sends nothing of use for as many, then the opposite of its work.
    Sleeper {
        /// Windows of work.
        works: u64,
    },
}

/// What a peer sends that declared honest work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hollow {
    /// Zeros.
    Nothing,
    /// Random numbers.
    Noise,
    /// A blend of five others' objects.
    Copies,
    /// Its work with every sign turned.
    Flipped,
    /// Its work with a share of 0.7 of noise.
    Drowned,
}

/// A mix of one's own gradient with what is public.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Whether the gradient goes through momentum and error feedback, as is usual.
    pub momentum: bool,
    /// How much of the mean of what others sent is taken away, in lengths of the own part.
    pub less: f32,
}

impl Kind {
    /// What it is worth.
    pub fn class(&self) -> Class {
        match self {
            Self::Honest { .. } => Class::Honest,
            Self::Fraction { .. }
            | Self::Mixed { .. }
            | Self::Inflated { .. }
            | Self::OnOff { .. }
            | Self::Colluder { .. }
            | Self::OverDeclarer { .. }
            | Self::Optimiser { .. }
            | Self::Vanish { .. }
            | Self::Rest { .. }
            | Self::Sleeper { .. }
            | Self::Hidden { .. }
            | Self::SybilMain { .. } => Class::Partial,
            Self::Poisoner { .. } | Self::Memoriser | Self::Hollow { sends: Hollow::Drowned } => {
                Class::Diluted
            }
            _ => Class::Worthless,
        }
    }

    /// The group whose members see each other's work.
    pub fn group(&self) -> Option<usize> {
        if let Self::Colluder { group, .. } = self { Some(*group) } else { None }
    }

    /// One peer of this kind.
    pub fn behaviour(&self) -> Box<dyn Behaviour> {
        match self.clone() {
            Self::Honest { work } | Self::Fraction { work } | Self::SybilMain { work } => {
                Box::new(honest::Honest { work })
            }
            Self::Copier { of, noise } => Box::new(copying::Copier { of, noise }),
            Self::Thief => Box::new(copying::Thief),
            Self::Mixed { work, copied, of } => Box::new(copying::Mixed::new(work, copied, of)),
            Self::Idle | Self::Friend => Box::new(idle::Idle),
            Self::Repeat => Box::new(idle::Repeat::default()),
            Self::OtherData => Box::new(idle::OtherData),
            Self::Stale { lag } => Box::new(idle::Stale { lag, hidden: false }),
            Self::Random => Box::new(harm::Random),
            Self::Flipped | Self::SybilLoser => Box::new(harm::Flipped),
            Self::Inflated { work, doublings } => Box::new(harm::Inflated { work, doublings }),
            Self::Malformed => Box::new(harm::Malformed { next: 0 }),
            Self::Late { seconds } => Box::new(timing::Late { seconds, own: None }),
            Self::Early { seconds } => Box::new(timing::Early { seconds }),
            Self::Poisoner { share } => Box::new(harm::Poisoner { share }),
            Self::Memoriser => Box::new(copying::Memoriser::default()),
            Self::OnOff { on, off } => Box::new(timing::OnOff { on, off, age: 0, last: None }),
            Self::Colluder { group, work } => {
                Box::new(crowd::Colluder { group, work, own: Default::default() })
            }
            Self::OverDeclarer { work, declares } => Box::new(declaring::OverDeclarer { work, declares }),
            Self::Hollow { sends } => Box::new(declaring::Hollow { sends, own: None }),
            Self::Optimiser { work, mixes } => Box::new(optimising::Optimiser::new(work, mixes)),
            Self::Hidden { lag } => Box::new(idle::Stale { lag, hidden: true }),
            Self::Chaser => Box::new(idle::Chaser),
            Self::Framer => Box::new(copying::Framer { own: None }),
            Self::Vanish { works } => Box::new(timing::Vanish { works, age: 0 }),
            Self::Rest { works } => {
                Box::new(timing::OnOff { on: works, off: u64::MAX / 2, age: 0, last: None })
            }
            Self::Sleeper { works } => Box::new(timing::Sleeper { works, age: 0 }),
        }
    }
}
