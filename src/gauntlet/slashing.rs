//! The reference's later penalties: by how often a peer failed, not only by whether it did.
//!
//! Used where the manifest has a `[gauntlet.slashing]` table. Each rule is one function; `docs/gauntlet.md` has them
//! as a table, with what the reference does otherwise.

use crate::manifest::Slashing;
use serde::{Deserialize, Serialize};

/// Whether a peer failed, for its last windows; at most 64 of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The newest window is the lowest bit.
    failed: u64,
    /// Windows that were noted, at most 64.
    windows: u32,
}

impl History {
    /// Notes one window.
    pub fn push(&mut self, failed: bool) {
        self.failed = self.failed << 1 | u64::from(failed);
        self.windows = (self.windows + 1).min(u64::BITS);
    }

    /// Failures in the last `windows` windows; `None` until so many were noted.
    pub fn failures(&self, windows: u32) -> Option<u32> {
        let mask = u64::MAX.checked_shr(u64::BITS - windows.min(u64::BITS)).unwrap_or(0);
        (self.windows >= windows).then_some((self.failed & mask).count_ones())
    }
}

/// Factor on score and proof for the `in_a_row`-th miss in a row, counted from 1. Reference: 0.75, 0.5, 0.
pub fn miss_factor(rules: &Slashing, in_a_row: u64) -> f64 {
    let at = usize::try_from(in_a_row.saturating_sub(1)).unwrap_or(usize::MAX);
    rules.misses.get(at).or(rules.misses.last()).copied().unwrap_or(1.0)
}

/// Whether so few objects came in time that it is the network's fault, or the validator's.
///
/// `in_time` of `peers` that took part before. The reference has the same limit (0.4), and penalises hardest below it.
pub fn network_failed(rules: &Slashing, in_time: usize, peers: usize) -> bool {
    (in_time as f64) < rules.success_min * peers as f64
}

/// Whether a peer missed so many of its last windows that it is naughty. Reference: 4 of 8.
pub fn misses_too_often(rules: &Slashing, misses: &History) -> bool {
    misses.failures(rules.miss_windows).is_some_and(|misses| misses >= rules.naughty_misses)
}

/// Whether more than a share of a peer's last judged updates had a negative loss score on random data. Reference:
/// more than half of 8.
pub fn often_harmful(rules: &Slashing, negatives: &History) -> bool {
    let share = |count| f64::from(count) / f64::from(rules.negative_windows);
    negatives.failures(rules.negative_windows).is_some_and(|count| share(count) > rules.negative_share)
}

/// Whether a peer is left out of the aggregate for negative loss scores in a row. Reference: 3.
pub fn excluded(rules: &Slashing, negative_in_a_row: u64) -> bool {
    negative_in_a_row >= rules.exclude_after
}

/// Whether everybody is bad: the loss score of a certain rank (of fewer, the worst) is negative. Reference: rank 5.
pub fn everybody_is_bad(rules: &Slashing, scores: &[f64]) -> bool {
    let mut scores = scores.to_vec();
    scores.sort_by(|a, b| b.total_cmp(a));
    let at = rules.everybody_bad_rank.min(scores.len());
    at.checked_sub(1).is_some_and(|at| scores[at] < 0.0)
}

/// How much of a copy an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copying {
    /// In part: the table's factor.
    High,
    /// A copy: the peer's record is forgotten.
    Max,
    /// All but the same: it is naughty as well.
    Mega,
}

/// What a similarity means, if it is one: reference 0.4, 0.5 and 0.6, of positions that are the same.
pub fn copying(rules: &Slashing, overlap_max: f64, similarity: f64) -> Option<Copying> {
    if similarity >= rules.overlap_mega {
        Some(Copying::Mega)
    } else if similarity >= overlap_max {
        Some(Copying::Max)
    } else {
        (similarity >= rules.overlap_high).then_some(Copying::High)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ManifestFile;

    fn rules() -> Slashing {
        ManifestFile::gauntlet("sparseloco").unwrap().slashing.unwrap()
    }

    #[test]
    fn misses_cost_more_each_time() {
        let factors = [1, 2, 3, 4, u64::MAX].map(|n| miss_factor(&rules(), n));
        assert_eq!(factors, [0.75, 0.5, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn half_of_eight_windows_missed_is_naughty_and_seven_windows_say_nothing() {
        let mut misses = History::default();
        for miss in [true, false, true, true, false, true, false] {
            misses.push(miss);
            assert!(!misses_too_often(&rules(), &misses));
        }
        misses.push(false);
        assert!(misses_too_often(&rules(), &misses));
        misses.push(false);
        assert!(!misses_too_often(&rules(), &misses), "the first one is nine windows ago");
        (0..100).for_each(|_| misses.push(true));
        assert_eq!((misses.failures(64), misses.failures(1)), (Some(64), Some(1)));
        assert_eq!(History::default().failures(0), Some(0));
    }

    #[test]
    fn more_than_half_negative_is_often_and_half_is_not() {
        let mut negatives = History::default();
        (0..8).for_each(|n| negatives.push(n < 4));
        assert!(!often_harmful(&rules(), &negatives));
        negatives.push(true);
        assert!(!often_harmful(&rules(), &negatives), "the window that falls out was negative too");
        (0..4).for_each(|_| negatives.push(true));
        assert!(often_harmful(&rules(), &negatives));
        assert!(excluded(&rules(), 3) && !excluded(&rules(), 2));
    }

    #[test]
    fn the_fifth_best_or_the_worst_says_whether_everybody_is_bad() {
        assert!(everybody_is_bad(&rules(), &[0.1, 0.2, 0.3, 0.4, -0.1, -0.2]));
        assert!(!everybody_is_bad(&rules(), &[0.1, 0.2, 0.3, 0.4, 0.0, -0.2]));
        assert!(everybody_is_bad(&rules(), &[0.1, -0.1]));
        assert!(!everybody_is_bad(&rules(), &[]));
    }

    #[test]
    fn likeness_has_three_limits_and_a_broken_network_is_nobodys_fault() {
        let kinds = [0.39, 0.4, 0.5, 0.6].map(|similarity| copying(&rules(), 0.5, similarity));
        assert_eq!(kinds, [None, Some(Copying::High), Some(Copying::Max), Some(Copying::Mega)]);
        assert!(network_failed(&rules(), 3, 10) && !network_failed(&rules(), 4, 10));
    }
}
