//! Stage 1: is there an object, did it come in time, can it be read, is its author in step?

use crate::window::Timing;
use serde::{Deserialize, Serialize};

/// Longest reason that is kept, in characters. Reasons may quote a stranger's bytes.
const LONGEST_REASON: usize = 200;

/// What stage 1 says of a peer's object in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
#[non_exhaustive]
pub enum Stage1 {
    /// There is no object, or no bucket that can be read with what the peer has committed.
    Absent,
    /// The bucket did not answer, which need not be the peer's fault.
    Unanswered,
    /// It was uploaded before the put window opened.
    Early {
        /// Whole seconds before the opening.
        seconds: u64,
    },
    /// It was uploaded after the put window closed.
    Late {
        /// Whole seconds after the close.
        seconds: u64,
    },
    /// It cannot be used: not readable, not signed by its peer, for another window, not finite.
    Malformed {
        /// What is wrong with it, one sentence.
        reason: String,
    },
    /// Its author's model is too far from everybody's.
    OutOfSync {
        /// Whole seconds after the opening of the put window.
        seconds: u64,
        /// Outer steps between its model and ours.
        steps_behind: f64,
    },
    /// It may be aggregated, and is judged in stage 2.
    Accepted {
        /// Whole seconds after the opening of the put window.
        seconds: u64,
        /// Outer steps between its model and ours.
        steps_behind: f64,
    },
}

/// The verdict as it is written: one flat object. (serde's own tagged form cannot read fractions back
/// where `serde_json` keeps numbers in arbitrary precision, as another crate may make it do.)
#[derive(Serialize, Deserialize)]
struct Flat {
    verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps_behind: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<Stage1> for Flat {
    fn from(stage1: Stage1) -> Self {
        let verdict = stage1.name().to_owned();
        let (seconds, steps_behind, reason) = match stage1 {
            Stage1::Absent | Stage1::Unanswered => (None, None, None),
            Stage1::Early { seconds } | Stage1::Late { seconds } => (Some(seconds), None, None),
            Stage1::Malformed { reason } => (None, None, Some(reason)),
            Stage1::OutOfSync { seconds, steps_behind } | Stage1::Accepted { seconds, steps_behind } => {
                (Some(seconds), Some(steps_behind), None)
            }
        };
        Self { verdict, seconds, steps_behind, reason }
    }
}

impl TryFrom<Flat> for Stage1 {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Self, String> {
        let Flat { verdict, seconds, steps_behind, reason } = flat;
        Ok(match (verdict.as_str(), seconds, steps_behind, reason) {
            ("absent", None, None, None) => Self::Absent,
            ("unanswered", None, None, None) => Self::Unanswered,
            ("early", Some(seconds), None, None) => Self::Early { seconds },
            ("late", Some(seconds), None, None) => Self::Late { seconds },
            ("malformed", None, None, Some(reason)) => Self::Malformed { reason },
            ("out_of_sync", Some(seconds), Some(steps_behind), None) => {
                Self::OutOfSync { seconds, steps_behind }
            }
            ("accepted", Some(seconds), Some(steps_behind), None) => Self::Accepted { seconds, steps_behind },
            _ => return Err(format!("`{verdict}` with these fields is no verdict of stage 1")),
        })
    }
}

/// What was found of a peer's object.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What its time stamp says.
    pub timing: Timing,
    /// Outer steps behind ([`steps_behind`](super::sync::steps_behind)), or why it cannot be used.
    pub content: Result<f64, String>,
}

/// Applies the checks in their order: presence, time, form, sync.
///
/// `sync_max` is the number of outer steps behind above which a peer is out of sync. An object that is
/// both late and malformed is late: what is not in time need not be read at all.
pub fn judge(found: Option<Found>, sync_max: f64) -> Stage1 {
    let Some(found) = found else { return Stage1::Absent };
    let seconds = match found.timing {
        Timing::Early { seconds } => return Stage1::Early { seconds },
        Timing::Late { seconds } => return Stage1::Late { seconds },
        Timing::OnTime { seconds } => seconds,
    };
    match found.content {
        Err(reason) => malformed(&reason),
        Ok(steps_behind) if !steps_behind.is_finite() || steps_behind < 0.0 => {
            malformed("its distance from the model is not a number")
        }
        Ok(steps_behind) if steps_behind > sync_max => Stage1::OutOfSync { seconds, steps_behind },
        Ok(steps_behind) => Stage1::Accepted { seconds, steps_behind },
    }
}

/// The verdict on an object that cannot be used, its reason cut to a length and freed of control characters.
pub fn malformed(reason: &str) -> Stage1 {
    let reason = reason.chars().take(LONGEST_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Stage1::Malformed { reason }
}

impl Stage1 {
    /// Whether the object may be aggregated and is judged in stage 2.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// The verdict in one word, as the score log has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Unanswered => "unanswered",
            Self::Early { .. } => "early",
            Self::Late { .. } => "late",
            Self::Malformed { .. } => "malformed",
            Self::OutOfSync { .. } => "out_of_sync",
            Self::Accepted { .. } => "accepted",
        }
    }

    /// Outer steps between the peer's model and ours, where the object got so far.
    pub fn steps_behind(&self) -> Option<f64> {
        match self {
            Self::OutOfSync { steps_behind, .. } | Self::Accepted { steps_behind, .. } => Some(*steps_behind),
            _ => None,
        }
    }

    /// One sentence for people: what is wrong, or that nothing is.
    pub fn describe(&self) -> String {
        match self {
            Self::Absent => "nothing was uploaded".into(),
            Self::Unanswered => "its bucket did not answer".into(),
            Self::Early { seconds } => format!("uploaded {seconds} s before the put window opened"),
            Self::Late { seconds } => format!("uploaded {seconds} s after the put window closed"),
            Self::Malformed { reason } => format!("malformed: {reason}"),
            Self::OutOfSync { steps_behind, .. } => {
                format!("out of sync: its model is {steps_behind:.2} outer steps away from everybody's")
            }
            Self::Accepted { seconds, .. } => {
                format!("accepted, uploaded {seconds} s after the put window opened")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(timing: Timing, content: Result<f64, &str>) -> Option<Found> {
        Some(Found { timing, content: content.map_err(str::to_owned) })
    }

    #[test]
    fn checks_come_in_their_order() {
        let on_time = Timing::OnTime { seconds: 2 };
        assert_eq!(judge(None, 2.0), Stage1::Absent);
        assert_eq!(judge(found(Timing::Early { seconds: 3 }, Err("x")), 2.0), Stage1::Early { seconds: 3 });
        assert_eq!(judge(found(Timing::Late { seconds: 1 }, Ok(0.0)), 2.0), Stage1::Late { seconds: 1 });
        assert_eq!(judge(found(on_time, Err("cut short")), 2.0), malformed("cut short"));
        assert_eq!(judge(found(on_time, Ok(2.1)), 2.0), Stage1::OutOfSync { seconds: 2, steps_behind: 2.1 });
        assert_eq!(judge(found(on_time, Ok(2.0)), 2.0), Stage1::Accepted { seconds: 2, steps_behind: 2.0 });
        assert!(matches!(judge(found(on_time, Ok(f64::NAN)), 2.0), Stage1::Malformed { .. }));
    }

    #[test]
    fn a_strangers_words_are_cut_and_cleaned() {
        let Stage1::Malformed { reason } = malformed(&"a\x1b[2Jb\n".repeat(500)) else { panic!() };
        assert_eq!(reason.chars().count(), LONGEST_REASON);
        assert!(!reason.chars().any(char::is_control));
    }

    #[test]
    fn the_json_is_flat() {
        let json = serde_json::to_string(&Stage1::Late { seconds: 4 }).unwrap();
        assert_eq!(json, r#"{"verdict":"late","seconds":4}"#);
        for verdict in [
            Stage1::Absent,
            Stage1::Early { seconds: 1 },
            Stage1::Late { seconds: 4 },
            malformed("x"),
            Stage1::OutOfSync { seconds: 0, steps_behind: 2.25 },
            Stage1::Accepted { seconds: 0, steps_behind: 0.0 },
        ] {
            let json = serde_json::to_string(&verdict).unwrap();
            assert_eq!(serde_json::from_str::<Stage1>(&json).unwrap(), verdict);
        }
        assert!(serde_json::from_str::<Stage1>(r#"{"verdict":"late"}"#).is_err());
    }
}
