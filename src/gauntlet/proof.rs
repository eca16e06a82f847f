//! Proof of computation: did the peer train on the data that it was assigned?
//!
//! Two estimators, named by the manifest. The paper's `sign` asks each window whether own data improved
//! more than random data. `counterfactual` asks, sequence by sequence, whether the peer's update helps
//! its own data more than an update of others does, and how sure that is.

use super::loss_score::{Evidence, Losses, mean};
use crate::manifest::{GauntletConfig, Proof};
use serde::{Deserialize, Serialize};

/// The value of `t` that counts as a full observation of 1.
pub const FULL_T: f64 = 3.0;

/// The average from which the counterfactual proof counts in full: a mean `t` of 0.9 a window. Honest
/// miners with momentum 0.9 and 64 sequences were seen to have 1.2 to 2.2; a quarter of the least of it
/// is left to luck, so that luck does not spread their pay.
pub const FULL_AVERAGE: f64 = 0.3;

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
/// `t = (mean d - mean r) / sqrt(var d / n + var r / m)`, Welch's statistic. What makes a sequence easy
/// or hard cancels, because both updates are measured on the same one. Where there is no comparator it
/// stands for no step: its losses are those before.
///
/// A peer that did not train on its own data has `t` of mean 0 and spread 1, whatever else it does.
pub fn counterfactual_t(evidence: &Evidence) -> f64 {
    let advantages = |before: &[f64], after: &[f64], comparator: &[f64]| -> Vec<f64> {
        let others = if comparator.is_empty() { before } else { comparator };
        others.iter().zip(after).map(|(other, after)| other - after).collect()
    };
    let own = advantages(&evidence.own_before, &evidence.own_after, &evidence.own_comparator);
    let random = advantages(&evidence.random_before, &evidence.random_after, &evidence.random_comparator);
    let variance = mean_variance(&own) + mean_variance(&random);
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

/// One window's observation in [-1, 1] from a counterfactual `t`: `clamp(t / 3)`. One lucky window
/// cannot count for more than a sure one.
pub fn observation(t: f64) -> f64 {
    (t / FULL_T).clamp(-1.0, 1.0)
}

/// An exponential moving average that knows how much evidence is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MovingAverage {
    /// `sum <- (1 - alpha) sum + alpha x`, from 0.
    #[serde(with = "super::exact")]
    pub sum: f64,
    /// `weight <- (1 - alpha) weight + alpha`, from 0: the share that is evidence and not the start.
    #[serde(with = "super::exact")]
    pub weight: f64,
    /// Observations so far.
    pub count: u64,
}

impl MovingAverage {
    /// Adds an observation.
    pub fn add(&mut self, x: f64, alpha: f64) {
        self.sum += alpha * (x - self.sum);
        self.weight += alpha * (1.0 - self.weight);
        self.count += 1;
    }

    /// The average without the bias of its start at 0; 0 before the first observation.
    pub fn corrected(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }

    /// Multiplies a positive average by a penalty; a negative one would gain by it and stays.
    pub fn penalise(&mut self, factor: f64) {
        if self.sum > 0.0 {
            self.sum *= factor;
        }
    }
}

/// How observations become the factor of the peer score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProofRule {
    /// Which estimator.
    pub proof: Proof,
    /// Weight of a new observation in the average.
    pub alpha: f64,
    /// Below this average the factor is 0, once `warmup` observations were made.
    pub threshold: f64,
    /// Observations before the threshold applies.
    pub warmup: u64,
    /// The average from which the factor is 1.
    pub full: f64,
}

impl ProofRule {
    /// The rule that a run's manifest names.
    pub fn new(config: &GauntletConfig) -> Self {
        let full = match config.proof {
            Proof::Sign => 1.0,
            Proof::Counterfactual => FULL_AVERAGE.max(config.proof_threshold),
        };
        Self {
            proof: config.proof,
            alpha: config.proof_alpha,
            threshold: config.proof_threshold,
            warmup: config.proof_warmup,
            full,
        }
    }

    /// The average that the rule looks at. The paper's starts at 0 and stays biased towards it for some
    /// `1 / alpha` windows, which is its way of paying newcomers less; the other is corrected.
    pub fn average(&self, average: &MovingAverage) -> f64 {
        match self.proof {
            Proof::Sign => average.sum,
            Proof::Counterfactual => average.corrected(),
        }
    }

    /// The factor in [0, 1] by which the proof enters the peer score.
    ///
    /// `0` for an average that is not positive, or below the threshold after the warm-up; else
    /// `min(1, average / full) * min(1, count / warmup)`. Linear up to `full`, so that half the evidence
    /// earns half the factor, and level above it, so that the luck of the draw does not spread the pay of
    /// equal peers. During the warm-up a newcomer is paid in proportion to what is known of it.
    pub fn factor(&self, average: &MovingAverage) -> f64 {
        let value = self.average(average);
        // Averages are never NaN: observations are within [-1, 1].
        if value <= 0.0 || (average.count >= self.warmup && value < self.threshold) {
            return 0.0;
        }
        let known = (average.count as f64 / self.warmup.max(1) as f64).min(1.0);
        (value / self.full).min(1.0) * known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: ProofRule =
        ProofRule { proof: Proof::Counterfactual, alpha: 0.1, threshold: 0.2, warmup: 4, full: 0.4 };

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
    fn t_is_welchs() {
        // d = [0.3, 0.1], r = [0.0, 0.1]: means 0.2 and 0.05, variances 0.02 and 0.005, of the means half.
        let evidence = Evidence {
            own_before: vec![9.0, 1.0],
            own_after: vec![4.7, 4.9],
            own_comparator: vec![5.0, 5.0],
            random_before: vec![2.0, 3.0],
            random_after: vec![5.0, 4.9],
            random_comparator: vec![5.0, 5.0],
        };
        assert!((counterfactual_t(&evidence) - 0.15 / 0.0125f64.sqrt()).abs() < 1e-9);
        // Without a comparator the losses before stand in: d = [4.3, -3.9], r = [-3.0, -1.9].
        let alone = Evidence { own_comparator: vec![], random_comparator: vec![], ..evidence.clone() };
        let expected = (0.2 + 2.45) / (8.2f64.powi(2) / 4.0 + 1.1f64.powi(2) / 4.0).sqrt();
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
        assert_eq!(observation(LARGEST_T), 1.0);
        assert_eq!(observation(-1.5), -0.5);
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
    fn the_factor_has_a_warm_up_a_threshold_and_a_ceiling() {
        let at = |value: f64, count| MovingAverage { sum: value, weight: 1.0, count };
        assert_eq!(RULE.factor(&MovingAverage::default()), 0.0);
        assert_eq!(RULE.factor(&at(0.1, 2)), 0.25 * 0.5);
        assert_eq!(RULE.factor(&at(0.1, 4)), 0.0);
        assert_eq!(RULE.factor(&at(0.2, 4)), 0.5);
        assert_eq!(RULE.factor(&at(0.9, 9)), 1.0);
        assert_eq!(RULE.factor(&at(-0.1, 9)), 0.0);
        let paper = ProofRule { proof: Proof::Sign, alpha: 0.05, threshold: 0.0, warmup: 0, full: 1.0 };
        assert_eq!(paper.factor(&at(0.3, 1)), 0.3);
        assert_eq!(paper.factor(&at(0.0, 1)), 0.0);
    }
}
