//! The loss score: what a peer's pseudo-gradient does to the loss, sequence by sequence.

use serde::{Deserialize, Serialize};

/// A loss above this many nats per token is no loss of a language model but a broken one.
const LARGEST_LOSS: f64 = 1e6;

/// The measurements of one peer in one window: mean loss per token (nats) of each sequence.
///
/// *Own* sequences are those the peer was assigned in the window, *random* ones are the same for every
/// peer. *Before* is the model of the last round; *after* is that model moved by the peer's update;
/// *comparator* is that model moved as far by an update of others (such as the round's aggregate
/// without the peer). Where there are no others, the comparator lists stay empty: it took no step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Losses on the peer's own sequences before.
    pub own_before: Vec<f64>,
    /// Losses on the peer's own sequences after its update.
    pub own_after: Vec<f64>,
    /// Losses on the peer's own sequences after the comparator's update; may be empty.
    pub own_comparator: Vec<f64>,
    /// Losses on the random sequences before.
    pub random_before: Vec<f64>,
    /// Losses on the random sequences after the peer's update.
    pub random_after: Vec<f64>,
    /// Losses on the random sequences after the comparator's update; may be empty.
    pub random_comparator: Vec<f64>,
    /// How far each audited micro-batch is from what was computed ([`distance`](super::declared::distance)); empty where none was.
    #[serde(default)]
    pub audits: Vec<f64>,
}

/// Mean losses of one kind of data, in nats per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Before the update.
    pub before: f64,
    /// After the peer's update.
    pub after: f64,
    /// After the comparator's update, where there was one.
    pub comparator: Option<f64>,
    /// [`loss_score`]: the share of the loss that the peer's update takes away.
    pub score: f64,
    /// Sequences that were measured.
    pub sequences: usize,
}

/// `(before - after) / before`: the share of the loss that an update takes away; no unit, 0 where
/// `before` is not positive.
///
/// The paper's LossScore is the difference; the reference divides by the loss before, which changes no
/// rank inside a window and makes windows comparable.
pub fn loss_score(before: f64, after: f64) -> f64 {
    if before > 0.0 { (before - after) / before } else { 0.0 }
}

/// Arithmetic mean; NaN for nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Evidence {
    /// Checks that the lists fit together and hold losses only: finite, not negative, below 1e6 nats.
    /// The error is the reason why the peer's object counts as malformed.
    pub fn check(&self) -> Result<(), &'static str> {
        let kinds = [
            (&self.own_before, &self.own_after, &self.own_comparator),
            (&self.random_before, &self.random_after, &self.random_comparator),
        ];
        for (before, after, comparator) in kinds {
            if before.len() < 2 {
                return Err("fewer than two sequences were measured");
            }
            if after.len() != before.len() || !(comparator.is_empty() || comparator.len() == before.len()) {
                return Err("the losses before and after are of different sequences");
            }
            if self.own_comparator.is_empty() != self.random_comparator.is_empty() {
                return Err("the comparator was measured on one kind of data only");
            }
            let is_loss = |loss: &f64| (0.0..=LARGEST_LOSS).contains(loss);
            if !before.iter().chain(after).chain(comparator).all(is_loss) {
                return Err("its update makes the loss infinite or not a number");
            }
        }
        Ok(())
    }

    /// Means on the peer's own data.
    pub fn own(&self) -> Losses {
        Losses::new(&self.own_before, &self.own_after, &self.own_comparator)
    }

    /// Means on random data.
    pub fn random(&self) -> Losses {
        Losses::new(&self.random_before, &self.random_after, &self.random_comparator)
    }
}

impl Losses {
    fn new(before: &[f64], after: &[f64], comparator: &[f64]) -> Self {
        let (sequences, comparator) = (before.len(), (!comparator.is_empty()).then(|| mean(comparator)));
        let (before, after) = (mean(before), mean(after));
        Self { before, after, comparator, score: loss_score(before, after), sequences }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        Evidence {
            own_before: vec![4.0, 2.0],
            own_after: vec![3.0, 2.0],
            random_before: vec![5.0, 5.0],
            random_after: vec![5.5, 5.5],
            ..Evidence::default()
        }
    }

    #[test]
    fn means_and_scores() {
        let own = evidence().own();
        assert_eq!((own.before, own.after, own.comparator, own.sequences), (3.0, 2.5, None, 2));
        assert!((own.score - 1.0 / 6.0).abs() < 1e-15);
        assert!((evidence().random().score + 0.1).abs() < 1e-15);
        assert_eq!(loss_score(0.0, 1.0), 0.0);
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        assert_eq!(evidence().check(), Ok(()));
        type Spoil = fn(&mut Evidence);
        let broken: [(Spoil, &str); 6] = [
            (|e| e.own_after[0] = f64::NAN, "infinite"),
            (|e| e.random_after[1] = f64::INFINITY, "infinite"),
            (|e| e.own_before[1] = -1.0, "infinite"),
            (|e| e.own_after.truncate(1), "different sequences"),
            (|e| e.random_comparator = vec![1.0, 1.0], "one kind"),
            (|e| *e = Evidence::default(), "fewer than two"),
        ];
        for (spoil, words) in broken {
            let mut evidence = evidence();
            spoil(&mut evidence);
            assert!(evidence.check().unwrap_err().contains(words), "{words}");
        }
    }
}
