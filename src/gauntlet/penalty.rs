//! Penalties: what a failure costs.

use super::stage1::Stage1;
use serde::{Deserialize, Serialize};

/// An update that raises the loss on random data by this many standard errors does harm. By chance alone
/// that happens to a useless but harmless update in one window of 740.
pub const HARMFUL_T: f64 = -3.0;

/// Which rule a penalty comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PenaltyRule {
    /// Nothing was uploaded.
    Absent,
    /// The bucket did not answer for more windows than are tolerated.
    Unanswered,
    /// Uploaded before the put window.
    Early,
    /// Uploaded after the put window.
    Late,
    /// The object cannot be used.
    Malformed,
    /// The peer's model is too far from everybody's.
    OutOfSync,
    /// The update raises the loss on random data.
    Harmful,
    /// The object is a copy of another peer's.
    Copied,
    /// Too many windows in a row without a valid upload: the peer's record was forgotten.
    Forgotten,
    /// Too many of its last judged updates raised the loss on random data.
    OftenHarmful,
    /// It failed too often, or sent what is all but another's: for some windows it is nobody.
    Naughty,
}

impl PenaltyRule {
    /// The rule's name as the score log has it.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// One penalty, as it is written in the score log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// Why.
    pub rule: PenaltyRule,
    /// Factor on the score.
    pub score_factor: f64,
    /// Factor on the average of the proof, if that is positive.
    pub proof_factor: f64,
}

/// The penalty for failing stage 1: `factor` (the manifest's, 0.75 in the reference) on score and proof;
/// a malformed object leaves no score at all in its window.
///
/// Late, early, absent and unanswered cost the same: the peer had no part in the round. A malformed object is never
/// an accident of the network.
pub fn stage1_penalty(verdict: &Stage1, factor: f64) -> Option<Penalty> {
    let (rule, score_factor) = match verdict {
        Stage1::Accepted { .. } => return None,
        Stage1::Absent => (PenaltyRule::Absent, factor),
        Stage1::Unanswered => (PenaltyRule::Unanswered, factor),
        Stage1::Early { .. } => (PenaltyRule::Early, factor),
        Stage1::Late { .. } => (PenaltyRule::Late, factor),
        Stage1::OutOfSync { .. } => (PenaltyRule::OutOfSync, factor),
        Stage1::Malformed { .. } => (PenaltyRule::Malformed, 0.0),
    };
    Some(Penalty { rule, score_factor, proof_factor: factor })
}

/// Whether a failure of stage 1 also loses the window's match. A peer out of step was not measured and
/// loses nothing to anybody.
pub fn loses_match(verdict: &Stage1) -> bool {
    !matches!(verdict, Stage1::Accepted { .. } | Stage1::OutOfSync { .. })
}

/// Which of the judged peers do harm, given the benefit of each in standard errors
/// ([`benefit_t`](super::proof::benefit_t)).
///
/// None, where half of them or more would: then it is the model or the step that is bad. The reference
/// has the same exception for its negative evaluations.
pub fn harmful(benefits: &[f64]) -> Vec<bool> {
    let harmful: Vec<bool> = benefits.iter().map(|t| *t < HARMFUL_T).collect();
    let count = harmful.iter().filter(|harms| **harms).count();
    if 2 * count < benefits.len() { harmful } else { vec![false; benefits.len()] }
}

/// The penalty for doing harm: the manifest's factor on score and proof.
pub fn harmful_penalty(factor: f64) -> Penalty {
    Penalty { rule: PenaltyRule::Harmful, score_factor: factor, proof_factor: factor }
}

/// The penalty for too many negative loss scores (`slashing`): its factor on score and proof.
pub fn often_harmful(factor: f64) -> Penalty {
    Penalty { rule: PenaltyRule::OftenHarmful, score_factor: factor, proof_factor: factor }
}

/// The penalty for being naughty (`slashing`): no score, no proof.
pub fn naughty() -> Penalty {
    Penalty { rule: PenaltyRule::Naughty, score_factor: 0.0, proof_factor: 0.0 }
}

/// The penalty for being a copy in part (`slashing`): its factor on score and proof.
pub fn copied_in_part(factor: f64) -> Penalty {
    Penalty { rule: PenaltyRule::Copied, score_factor: factor, proof_factor: factor }
}

/// The penalty for a copy: nothing is earned in its window, which counts as one without work.
pub fn copied() -> Penalty {
    Penalty { rule: PenaltyRule::Copied, score_factor: 0.0, proof_factor: 1.0 }
}

/// What is written down when a peer's record is forgotten.
pub fn forgotten() -> Penalty {
    Penalty { rule: PenaltyRule::Forgotten, score_factor: 0.0, proof_factor: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_cost_a_quarter_and_malformed_objects_everything() {
        let late = stage1_penalty(&Stage1::Late { seconds: 1 }, 0.75).unwrap();
        assert_eq!((late.score_factor, late.proof_factor), (0.75, 0.75));
        let malformed = stage1_penalty(&super::super::stage1::malformed("x"), 0.75).unwrap();
        assert_eq!((malformed.score_factor, malformed.proof_factor), (0.0, 0.75));
        assert_eq!(stage1_penalty(&Stage1::Accepted { seconds: 1, steps_behind: 0.0 }, 0.75), None);
    }

    #[test]
    fn harm_is_not_counted_where_half_of_all_do_it() {
        assert_eq!(harmful(&[5.0, -4.0, 1.0]), [false, true, false]);
        assert_eq!(harmful(&[5.0, -4.0]), [false, false]);
        assert_eq!(harmful(&[-4.0]), [false]);
        assert_eq!(harmful(&[]), [false; 0]);
    }
}
