//! What kinds are called in a report.

use super::{Kind, Mix};

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
            Self::OverDeclarer { work, declares } => format!("works {work}, declares {declares}"),
            Self::Hollow { sends } => {
                format!("declares its work, sends {}", format!("{sends:?}").to_lowercase())
            }
            Self::Optimiser { work, mixes } => match mixes.as_slice() {
                [Mix { momentum: false, less: 0.0 }] => format!("no momentum, works {work}"),
                [Mix { less, .. }] => format!("less {less} of the mean, works {work}"),
                mixes => format!("best of {} mixes, works {work}", mixes.len()),
            },
            Self::Hidden { lag } => format!("old model, {lag} rounds, hidden"),
            Self::Chaser => "evaluation chaser".to_owned(),
            Self::Framer => "framer".to_owned(),
            Self::Vanish { works } => format!("vanishes after {works}"),
            Self::Rest { works } => format!("rests after {works}"),
            Self::Sleeper { works } => format!("sleeper, works {works}"),
        }
    }
}
