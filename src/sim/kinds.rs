//! The kinds of peers: one small type for each, and what can be said of it in a scenario.

mod copying;
mod crowd;
mod harm;
mod honest;
mod idle;
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
}

impl Kind {
    /// The name in a report.
    pub fn name(&self) -> String {
        match self {
            Self::Honest { work } => format!("honest {work}"),
            Self::Fraction { work } => format!("fraction {work}"),
            Self::Copier { of: 1, noise: 0.0 } => "copier".to_owned(),
            Self::Copier { of: 1, noise } => format!("copier, noise {noise}"),
            Self::Copier { of, .. } => format!("copier of {of}"),
            Self::Thief => "thief of slow uploads".to_owned(),
            Self::Mixed { work, copied, of } => format!("mixed: works {work}, copies {copied} of {of}"),
            Self::Idle => "idle".to_owned(),
            Self::Repeat => "repeats old work".to_owned(),
            Self::OtherData => "other data".to_owned(),
            Self::Stale { lag } => format!("old model, {lag} rounds"),
            Self::Random => "random".to_owned(),
            Self::Flipped => "flipped".to_owned(),
            Self::Inflated { work, .. } => format!("inflated, works {work}"),
            Self::Malformed => "malformed".to_owned(),
            Self::Late { .. } => "late".to_owned(),
            Self::Early { .. } => "early".to_owned(),
            Self::Poisoner { share } => format!("poisoner {share}"),
            Self::Memoriser => "memoriser".to_owned(),
            Self::OnOff { on, off } => format!("on {on}, off {off}"),
            Self::Colluder { work, .. } => format!("colluders, work {work}"),
            Self::SybilMain { work } => format!("sybil owner, works {work}"),
            Self::SybilLoser => "sybil that loses".to_owned(),
            Self::Friend => "friend of a validator".to_owned(),
        }
    }

    /// What it is worth.
    pub fn class(&self) -> Class {
        match self {
            Self::Honest { .. } => Class::Honest,
            Self::Fraction { .. }
            | Self::Mixed { .. }
            | Self::Inflated { .. }
            | Self::OnOff { .. }
            | Self::Colluder { .. }
            | Self::SybilMain { .. } => Class::Partial,
            _ => Class::Worthless,
        }
    }

    /// The group whose members see each other's work.
    pub fn group(&self) -> Option<usize> {
        if let Self::Colluder { group, .. } = self { Some(*group) } else { None }
    }

    /// One peer of this kind.
    pub fn behaviour(&self) -> Box<dyn Behaviour> {
        match *self {
            Self::Honest { work } | Self::Fraction { work } | Self::SybilMain { work } => {
                Box::new(honest::Honest { work })
            }
            Self::Copier { of, noise } => Box::new(copying::Copier { of, noise }),
            Self::Thief => Box::new(copying::Thief),
            Self::Mixed { work, copied, of } => Box::new(copying::Mixed::new(work, copied, of)),
            Self::Idle | Self::Friend => Box::new(idle::Idle),
            Self::Repeat => Box::new(idle::Repeat::default()),
            Self::OtherData => Box::new(idle::OtherData),
            Self::Stale { lag } => Box::new(idle::Stale { lag }),
            Self::Random => Box::new(harm::Random),
            Self::Flipped | Self::SybilLoser => Box::new(harm::Flipped),
            Self::Inflated { work, doublings } => Box::new(harm::Inflated { work, doublings }),
            Self::Malformed => Box::new(harm::Malformed { next: 0 }),
            Self::Late { seconds } => Box::new(timing::Late { seconds, own: None }),
            Self::Early { seconds } => Box::new(timing::Early { seconds }),
            Self::Poisoner { share } => Box::new(harm::Poisoner { share }),
            Self::Memoriser => Box::new(copying::Memoriser::default()),
            Self::OnOff { on, off } => Box::new(timing::OnOff { on, off, age: 0, last: None }),
            Self::Colluder { group, work } => Box::new(crowd::Colluder { group, work }),
        }
    }
}
