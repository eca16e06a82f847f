//! Proof of computation: did the peer train on the data that it was assigned?
//!
//! Two estimators, named by the manifest. The paper's `sign` asks each window whether own data improved
//! more than random data. `counterfactual` asks, sequence by sequence, whether the peer's update helps
//! its own data more than an update of others does, and how sure that is; [`work_share`] makes a share of
//! the work of it.

use super::{
    loss_score::{Evidence, Losses, mean},
    work_share,
};
use serde::{Deserialize, Serialize};

/// Largest `|t|` that counts in an average: one window, however lucky, is not worth many.
pub const LARGEST_OBSERVATION: f64 = 8.0;

/// Largest `|t|` that is written down; identical losses give no spread to divide by.
const LARGEST_T: f64 = 1e3;

/// The paper's indicator: +1 if own data improved by a larger share than random data, -1 if not (also
/// if by the same), 0 where a loss before is not positive.
///
/// `sign(LossScore(own) - LossScore(random))`.
pub fn sign(own: &Losses, random: &Losses) -> f64 {
    if !(own.before > 0.0 && random.before > 0.0) {
        0.0
    } else if own.score > random.score {
        1.0
    } else {
        -1.0
    }
}

/// How much better the peer's update fits its own data than the comparator's does, in standard errors.
///
/// Per own sequence `d_i = (before - after) - (before - comparator) = comparator_i - after_i`; the same
/// on random data, `r_j`, is what the two updates differ by in general. Then
///
/// `t = (mean d - mean r) / sqrt(var r (1 / n + 1 / m))`,
///
/// for `n` own and `m` random sequences. What makes a sequence easy or hard cancels, because both updates are
/// measured on the same one. Where there is no comparator it stands for no step: its losses are those before.
///
/// A peer that did not train on its own data has `t` of mean 0 and spread 1, whatever else it does: to it, own
/// and random sequences are the same. That is also why the spread is that of random data alone. On own data it
/// is larger for who trained on some of the sequences and not on others, and would hide what it did do: with it,
/// `t` falls faster than the root of the work.
pub fn counterfactual_t(evidence: &Evidence) -> f64 {
    let advantages = |before: &[f64], after: &[f64], comparator: &[f64]| -> Vec<f64> {
        let others = if comparator.is_empty() { before } else { comparator };
        others.iter().zip(after).map(|(other, after)| other - after).collect()
    };
    let own = advantages(&evidence.own_before, &evidence.own_after, &evidence.own_comparator);
    let random = advantages(&evidence.random_before, &evidence.random_after, &evidence.random_comparator);
    let spread = mean_variance(&random) * random.len() as f64;
    let variance = spread / own.len() as f64 + spread / random.len() as f64;
    ratio(mean(&own) - mean(&random), variance)
}

/// How surely the peer's update lowers the loss on random data, in standard errors:
/// `t = mean(before - after) / sqrt(var / n)`, paired by sequence. Very negative: the update does harm.
pub fn benefit_t(evidence: &Evidence) -> f64 {
    let drops: Vec<f64> = evidence
        .random_before
        .iter()
        .zip(&evidence.random_after)
        .map(|(before, after)| before - after)
        .collect();
    ratio(mean(&drops), mean_variance(&drops))
}

/// Variance of the mean, from the unbiased variance of the values.
fn mean_variance(values: &[f64]) -> f64 {
    let (n, centre) = (values.len() as f64, mean(values));
    values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (n - 1.0) / n
}

/// `difference / sqrt(variance)` within bounds; 0 for no difference.
fn ratio(difference: f64, variance: f64) -> f64 {
    let t = if difference == 0.0 { 0.0 } else { difference / variance.sqrt() };
    if t.is_nan() { 0.0 } else { t.clamp(-LARGEST_T, LARGEST_T) }
}

/// One window's observation from a counterfactual `t`: `t` within -8 and 8.
pub fn observation(t: f64) -> f64 {
    t.clamp(-LARGEST_OBSERVATION, LARGEST_OBSERVATION)
}

/// How much a peer says to have done in a window, beside what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Sequences that the peer says to have trained on, at least 1.
    pub claimed: u64,
    /// Sequences that the manifest calls usual, at least 1.
    pub usual: u64,
}

impl Claim {
    /// What `t` is multiplied by, so that its mean is in units of the usual work whatever is claimed.
    ///
    /// `n` claimed sequences, of which `own` were measured beside `random` others, of `usual` sequences with
    /// `most_own` measured at most: `n / usual` times `sqrt((1/own + 1/random) / (1/s + 1/random))` with
    /// `s = min(most_own, usual)`. The first factor takes the dilution out, the second that fewer could be measured.
    /// (Derivation in `docs/gauntlet.md`.)
    pub fn scale(&self, own: usize, random: usize, most_own: usize) -> f64 {
        let each = |sequences: f64| 1.0 / sequences + 1.0 / random as f64;
        let usual = self.usual as f64;
        self.claimed as f64 / usual * (each(own as f64) / each(usual.min(most_own as f64))).sqrt()
    }
}

/// An exponential moving average that knows how much evidence is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MovingAverage {
    /// `sum <- (1 - alpha) sum + alpha x`, from 0.
    #[serde(with = "super::serde_exact_f64")]
    pub sum: f64,
    /// `weight <- (1 - alpha) weight + alpha`, from 0: the share that is evidence and not the start.
    #[serde(with = "super::serde_exact_f64")]
    pub weight: f64,
    /// `squares <- (1 - alpha)^2 squares + alpha^2 variance`, from 0: the variance of `sum`; that of an observation is 1 where
    /// the work is the usual.
    #[serde(with = "super::serde_exact_f64")]
    pub squares: f64,
    /// Observations so far.
    pub count: u64,
}

impl MovingAverage {
    /// Adds an observation.
    pub fn add(&mut self, x: f64, alpha: f64) {
        self.add_with(x, 1.0, alpha);
    }

    /// Adds an observation whose variance is not 1.
    pub fn add_with(&mut self, x: f64, variance: f64, alpha: f64) {
        self.sum += alpha * (x - self.sum);
        self.weight += alpha * (1.0 - self.weight);
        self.squares = (1.0 - alpha).powi(2) * self.squares + alpha * alpha * variance;
        self.count += 1;
    }

    /// The average without the bias of its start at 0; 0 before the first observation.
    pub fn corrected(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }

    /// How many observations of variance 1 the corrected average is worth: its variance is one over this number.
    /// At most `(2 - alpha) / alpha` of them, 39 for 0.05.
    pub fn windows(&self) -> f64 {
        if self.squares > 0.0 { self.weight * self.weight / self.squares } else { 0.0 }
    }

    /// The average and its worth.
    pub fn evidence(&self) -> work_share::Evidence {
        work_share::Evidence { mean: self.corrected(), windows: self.windows() }
    }

    /// Whether nothing was observed yet.
    pub fn is_new(&self) -> bool {
        self.count == 0
    }

    /// Multiplies a positive average by a penalty; a negative one would gain by it and stays.
    pub fn penalise(&mut self, factor: f64) {
        if self.sum > 0.0 {
            self.sum *= factor;
        }
    }
}

/// The factor of the paper's rule: `max(0, average)`, 0 below `threshold` after `warmup` observations. The average
/// starts at 0 and stays biased towards it for some `1 / alpha` windows, its way of paying newcomers less.
pub fn sign_factor(average: &MovingAverage, threshold: f64, warmup: u64) -> f64 {
    let value = average.sum;
    if value <= 0.0 || (average.count >= warmup && value < threshold) { 0.0 } else { value }
}

/// The factor of the counterfactual rule: `strength * min(1, count / warmup)`. A newcomer is paid in proportion
/// to what is known of it, so that registering again and again for one lucky window earns little.
pub fn strength_factor(average: &MovingAverage, strength: f64, warmup: u64) -> f64 {
    strength * (average.count as f64 / warmup.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(before: f64, after: f64) -> Losses {
        Evidence { own_before: vec![before; 2], own_after: vec![after; 2], ..Evidence::default() }.own()
    }

    #[test]
    fn the_sign_compares_shares_and_ties_lose() {
        assert_eq!(sign(&losses(4.0, 3.0), &losses(2.0, 1.9)), 1.0);
        assert_eq!(sign(&losses(4.0, 3.0), &losses(2.0, 1.0)), -1.0);
        assert_eq!(sign(&losses(4.0, 3.0), &losses(4.0, 3.0)), -1.0);
        assert_eq!(sign(&losses(0.0, 0.0), &losses(4.0, 3.0)), 0.0);
    }

    #[test]
    fn t_is_in_units_of_the_spread_on_random_data() {
        // d = [0.3, 0.1], r = [0.0, 0.1]: means 0.2 and 0.05, the variance of r is 0.005, that of t's numerator too.
        let evidence = Evidence {
            own_before: vec![9.0, 1.0],
            own_after: vec![4.7, 4.9],
            own_comparator: vec![5.0, 5.0],
            random_before: vec![2.0, 3.0],
            random_after: vec![5.0, 4.9],
            random_comparator: vec![5.0, 5.0],
            audits: Vec::new(),
        };
        assert!((counterfactual_t(&evidence) - 0.15 / 0.005f64.sqrt()).abs() < 1e-9);
        // Without a comparator the losses before stand in: d = [4.3, -3.9], r = [-3.0, -1.9].
        let alone = Evidence { own_comparator: vec![], random_comparator: vec![], ..evidence.clone() };
        let expected = (0.2 + 2.45) / (1.1f64.powi(2) / 2.0).sqrt();
        assert!((counterfactual_t(&alone) - expected).abs() < 1e-9);
        assert!((benefit_t(&evidence) - (-2.45) / (1.1f64.powi(2) / 4.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn no_spread_and_no_difference_are_no_evidence() {
        let same = Evidence {
            own_before: vec![1.0; 3],
            own_after: vec![1.0; 3],
            random_before: vec![1.0; 3],
            random_after: vec![1.0; 3],
            ..Evidence::default()
        };
        assert_eq!(counterfactual_t(&same), 0.0);
        assert_eq!(benefit_t(&same), 0.0);
        let sure = Evidence { own_after: vec![0.5; 3], ..same };
        assert_eq!(counterfactual_t(&sure), LARGEST_T);
        assert_eq!(observation(LARGEST_T), LARGEST_OBSERVATION);
        assert_eq!(observation(-1.5), -1.5);
    }

    #[test]
    fn the_average_forgets_and_knows_its_start() {
        let mut average = MovingAverage::default();
        average.add(1.0, 0.05);
        assert!((average.sum - 0.05).abs() < 1e-15);
        assert_eq!(average.corrected(), 1.0);
        average.add(-1.0, 0.05);
        assert!((average.sum - (0.95 * 0.05 - 0.05)).abs() < 1e-15);
        average.penalise(0.75);
        assert!((average.sum - (0.95 * 0.05 - 0.05)).abs() < 1e-15, "a penalty never helps");
    }

    #[test]
    fn an_average_knows_what_it_is_worth() {
        let mut average = MovingAverage::default();
        assert_eq!(average.windows(), 0.0);
        average.add(2.0, 0.05);
        assert!((average.windows() - 1.0).abs() < 1e-12);
        (0..500).for_each(|_| average.add(2.0, 0.05));
        assert!((average.windows() - 39.0).abs() < 1e-6);
        assert!((average.evidence().mean - 2.0).abs() < 1e-12);
    }

    #[test]
    fn factors_have_a_warm_up() {
        let at = |value: f64, count| MovingAverage { sum: value, weight: 1.0, squares: 1.0, count };
        assert_eq!(strength_factor(&at(2.0, 1), 0.8, 4), 0.2);
        assert_eq!(strength_factor(&at(2.0, 9), 0.8, 4), 0.8);
        assert_eq!(sign_factor(&at(0.3, 1), 0.0, 0), 0.3);
        assert_eq!(sign_factor(&at(0.05, 4), 0.1, 4), 0.0);
        assert_eq!(sign_factor(&at(0.05, 3), 0.1, 4), 0.05);
        assert_eq!(sign_factor(&at(-0.1, 1), 0.0, 0), 0.0);
    }
}
