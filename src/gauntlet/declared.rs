//! Declared work: a peer says how many micro-batches it has done and commits to the gradient of each; some of them, drawn when nothing
//! can be changed any more, are computed again.
//!
//! **The rule.** A peer declares `D` of the `B` micro-batches that are usual, the first `D` of its assigned list, and its object holds
//! the [sketch](templar_codec::sketch) of each one's gradient. A block hash after the close of uploads draws `q` of the `D`. If each
//! of those agrees with what the validator computes, the work of the window is `D / B`, else it is 0.
//!
//! **Why a lie does not pay.** Who has done `k` of the `D` that it declares passes with the probability that all `q` are among the `k`:
//! `C(k, q) / C(D, q)`. On average it has `(D / B) C(k, q) / C(D, q)`, and since `C(k, q) / C(D, q) <= k / D` for `q >= 1`, that is at
//! most `k / B`, what the truth pays ([`expected_work`]). With `q = 1` it is equal, with `q >= 2` less for every `0 < k < D`.
//!
//! **How agreement is told.** For each tensor the squared distance between the claimed and the computed sketch is divided by the spread
//! of the window's gradients in that tensor, and the mean over all tensors is taken; its root is the [`distance`]. 0 is the same
//! gradient, about 1.4 that of another micro-batch of the same model, and 1 the guess that is best without having computed it, the mean
//! of all. [`Spread`] says how much of a tensor's length counts as spread at least.

use super::proof::MovingAverage;
use serde::{Deserialize, Serialize};
use templar_codec::sketch::Sums;

/// The part of a tensor's mean gradient that counts as spread at least: where all micro-batches agree better than this, the rounding of
/// another device would be taken for another gradient.
const LEAST_SPREAD: f64 = 0.02;

/// The largest distance that is written down.
pub const FARTHEST: f64 = 1e3;

/// The strength of the object's own evidence, of what is usual, from which declared work is paid in full. Below it pay falls with the
/// strength: an object that does not contain the work is worth nothing. A peer that does a sixth of the usual work shows as much.
const SHOWN: f64 = 0.4;
/// The strength that is believed of peers whose objects show nothing, for evidence is never without noise.
pub(super) const NOTHING_SHOWN: f64 = 0.1;

/// How much the gradients of a window's micro-batches differ, tensor by tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// The spread of some micro-batches, given the sketches of their gradients, a tensor each: for each tensor the variance of its
    /// sketches, `sum |s_i - mean|^2 / (n - 1)`, and no less than the square of 0.02 of the mean's length. A validator takes the window's
    /// random data, so that nobody's objects have a say in it. None for fewer than two, or where they are not of one model.
    pub fn of(computed: &[Vec<Sums>]) -> Option<Self> {
        let (first, count) = (computed.first()?, computed.len());
        if count < 2 || computed.iter().any(|sketches| sketches.len() != first.len()) {
            return None;
        }
        let tensors = (0..first.len()).map(|tensor| {
            let mut mean = [0.0; templar_codec::sketch::BUCKETS];
            for sketches in computed {
                for (mean, sum) in mean.iter_mut().zip(&sketches[tensor]) {
                    *mean += sum / count as f64;
                }
            }
            let off: f64 = computed.iter().map(|sketches| squared_distance(&sketches[tensor], &mean)).sum();
            let length: f64 = mean.iter().map(|sum| sum * sum).sum();
            (off / (count - 1) as f64).max(LEAST_SPREAD.powi(2) * length)
        });
        Some(Self(tensors.collect()))
    }
}

/// How far a claim is from what was computed, in [`Spread`]s, given the sketches of both, a tensor each: the root of the mean over all tensors of `|claimed - computed|^2 / spread`.
/// No more than [`FARTHEST`], which it is where they are of different shapes, and where anything is not a number.
pub fn distance(claimed: &[Sums], computed: &[Sums], spread: &Spread) -> f64 {
    let tensors = computed.len();
    if tensors == 0 || claimed.len() != tensors || spread.0.len() != tensors {
        return FARTHEST;
    }
    let ratios = claimed.iter().zip(computed).zip(&spread.0).map(|((claimed, computed), spread)| {
        match squared_distance(claimed, computed) {
            // A tensor that nobody's data reaches has no gradient, and says nothing.
            0.0 => 0.0,
            off => off / spread,
        }
    });
    let mean = ratios.sum::<f64>() / tensors as f64;
    if mean.is_nan() { FARTHEST } else { mean.sqrt().min(FARTHEST) }
}

/// The work of a window: what is declared in units of what is usual if every audit agrees within the tolerance, else 0. Nothing is
/// earned without an audit.
pub fn work(declared: u64, usual: u64, distances: &[f64], tolerance: f64) -> f64 {
    let agreed = !distances.is_empty() && distances.iter().all(|distance| *distance <= tolerance);
    if agreed && usual > 0 { declared as f64 / usual as f64 } else { 0.0 }
}

/// The factor of declared work in the score: `work` is its average over windows, `shown` the strength of the evidence that the object
/// contains it ([`work_share`](super::work_share)), and scores are raised to `power` before they are paid. So pay is proportional to work.
pub fn factor(work: f64, shown: f64, power: f64) -> f64 {
    let gate = ((shown - NOTHING_SHOWN) / (SHOWN - NOTHING_SHOWN)).clamp(0.0, 1.0);
    gate * work.max(0.0).powf(1.0 / power.max(1.0))
}

/// What is known of what a peer's updates do for the loss, beside what is usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usefulness {
    /// The average of its benefit less what is usual in the same window, nats a token for an outer step of 1.
    above: MovingAverage,
    /// The average of the square of that.
    squared: MovingAverage,
    /// The average of what is usual.
    usual: MovingAverage,
}

impl Usefulness {
    /// Whether nothing is known.
    pub fn is_new(&self) -> bool {
        self.above.is_new()
    }

    /// Adds a window: the peer's benefit and the usual one, in nats a token, at an outer step.
    pub fn add(&mut self, benefit: f64, usual: f64, outer_step: f64, alpha: f64) {
        let scale = if outer_step > 0.0 { 1.0 / outer_step } else { 1.0 };
        let above = (benefit - usual) * scale;
        self.above.add(above, alpha);
        self.squared.add(above * above, alpha);
        self.usual.add(usual * scale, alpha);
    }

    /// The part of the pay for its work that the peer keeps, from 0 to 1: all, unless its updates do surely less than is usual, and then
    /// what they surely do:
    ///
    /// `1 - (-above - errors e) / (usual + e)`, with `e` the standard error of `above` and `errors` of the manifest.
    ///
    /// Late in a run what is usual is small beside the luck of a window's random data, so that an estimate alone
    /// would take from honest peers what they have earned.
    pub fn worth(&self, errors: f64) -> f64 {
        let windows = self.above.windows();
        if windows < LEAST_WINDOWS {
            return 1.0;
        }
        let above = self.above.corrected();
        let variance = (self.squared.corrected() - above * above).max(0.0) * windows / (windows - 1.0);
        let error = (variance / windows).sqrt();
        let missing = (-above - errors * error).max(0.0);
        let whole = self.usual.corrected().max(0.0) + error;
        if missing > 0.0 { (1.0 - missing / whole).max(0.0) } else { 1.0 }
    }
}

/// Windows before anything is said of usefulness.
const LEAST_WINDOWS: f64 = 5.0;

/// What the updates of a window do for the loss on random data.
#[derive(Debug, Clone, PartialEq)]
pub struct Benefits {
    /// What is usual, in nats a token: the mean drop of the middle half of those who worked, each with the weight of its work, so that
    /// no number of peers that do little has a say in it, and nobody by an extreme. None where nobody worked.
    pub usual: Option<f64>,
    /// Of each peer what its update does for the work in it, in nats a token; none of a peer that did no work.
    pub peers: Vec<Option<f64>>,
}

impl Benefits {
    /// Given the work of each peer in the window, in units of what is usual, and the drop of the loss by its update, in nats a token.
    ///
    /// Half of the work is expected to do `sqrt(1/2)` of what is usual at least, so that its drop is divided by as much: where gradients
    /// are all noise the mean of `n` has a part in the true direction that grows with `sqrt(n)`, and less fast where they are not. More
    /// than the usual work is expected to do as much as the usual.
    pub fn of(peers: &[(f64, f64)]) -> Self {
        let worked = |(work, drop): &&(f64, f64)| *work > 0.0 && drop.is_finite();
        let mut drops: Vec<(f64, f64)> = peers.iter().filter(worked).copied().collect();
        drops.sort_by(|a, b| a.1.total_cmp(&b.1));
        let all = drops.iter().map(|(work, _)| work).sum::<f64>();
        let (from, to) = (all / 4.0, all * 3.0 / 4.0);
        let (mut below, mut sum, mut weight) = (0.0, 0.0, 0.0);
        for (work, drop) in &drops {
            // What of this peer's work lies in the middle half.
            let inside = (to.min(below + work) - from.max(below)).max(0.0);
            (below, sum, weight) = (below + work, sum + inside * drop, weight + inside);
        }
        let usual = (weight > 0.0).then(|| sum / weight);
        let of = |peer: &(f64, f64)| worked(&peer).then(|| peer.1 / peer.0.min(1.0).sqrt());
        Self { usual, peers: peers.iter().map(of).collect() }
    }
}

/// What a peer has on average that declares `declared` micro-batches, has done `done` of them, and is audited on `audits`; in units
/// of `usual`.
pub fn expected_work(declared: u64, done: u64, usual: u64, audits: u64) -> f64 {
    let audits = audits.min(declared);
    if declared == 0 || usual == 0 || done.min(declared) < audits {
        return 0.0;
    }
    // C(k, q) / C(D, q), factor by factor.
    let passes: f64 = (0..audits).map(|i| (done.min(declared) - i) as f64 / (declared - i) as f64).product();
    declared as f64 / usual as f64 * passes
}

fn squared_distance(a: &Sums, b: &Sums) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use templar_codec::sketch::BUCKETS;

    /// Sketches of two tensors that differ by micro-batch, around a mean.
    fn sketches(count: usize) -> Vec<Vec<Sums>> {
        let number = |seed: usize| ((seed * 2_654_435_761) % 1_000_003) as f64 / 500_000.0 - 1.0;
        let tensor = |at: usize, mean: f64, spread: f64| {
            let mut sums = [0.0; BUCKETS];
            for (bucket, sum) in sums.iter_mut().enumerate() {
                *sum = mean + spread * number(at * BUCKETS + bucket + 1);
            }
            sums
        };
        (0..count).map(|at| vec![tensor(at, 1.0, 0.5), tensor(at + 1000, 0.0, 1e-6)]).collect()
    }

    #[test]
    fn the_same_is_near_and_everything_else_far() {
        let computed = sketches(12);
        let spread = Spread::of(&computed).unwrap();
        assert_eq!(distance(&computed[3], &computed[3], &spread), 0.0);
        let other = distance(&computed[4], &computed[3], &spread);
        assert!((1.2..1.7).contains(&other), "{other}");
        // The best guess without the gradient itself is the mean of the others.
        let mut mean = vec![[0.0; BUCKETS]; 2];
        for sketches in computed.iter().filter(|sketches| **sketches != computed[3]) {
            for (mean, sums) in mean.iter_mut().zip(sketches) {
                mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum / 11.0);
            }
        }
        let guessed = distance(&mean, &computed[3], &spread);
        assert!((0.8..1.3).contains(&guessed), "{guessed}");
        // Rounding in every number, as of another device.
        let rounded: Vec<Sums> = computed[3]
            .iter()
            .map(|sums| sums.map(|sum| f64::from((sum * 256.0).round() as f32) / 256.0))
            .collect();
        assert!(distance(&rounded[..1], &computed[3][..1], &Spread(spread.0[..1].to_vec())) < 0.01);
    }

    #[test]
    fn every_tensor_weighs_the_same_whatever_its_scale() {
        let computed = sketches(12);
        let spread = Spread::of(&computed).unwrap();
        let mut claimed = computed[0].clone();
        claimed[1] = computed[1][1];
        let small = distance(&claimed, &computed[0], &spread);
        let mut claimed = computed[0].clone();
        claimed[0] = computed[1][0];
        let large = distance(&claimed, &computed[0], &spread);
        assert!((small / large - 1.0).abs() < 0.3, "{small} {large}");
    }

    #[test]
    fn what_cannot_be_compared_does_not_agree() {
        let computed = sketches(3);
        let spread = Spread::of(&computed).unwrap();
        assert_eq!(distance(&computed[0][..1], &computed[0], &spread), FARTHEST);
        assert_eq!(distance(&[], &[], &spread), FARTHEST);
        let mut bad = computed[0].clone();
        bad[0][5] = f64::NAN;
        assert_eq!(distance(&bad, &computed[0], &spread), FARTHEST);
        assert!(Spread::of(&computed[..1]).is_none());
        // Without any gradient at all there is no spread, and whoever claims one is far away.
        let nothing = vec![vec![[0.0; BUCKETS]]; 4];
        let spread = Spread::of(&nothing).unwrap();
        assert_eq!(distance(&nothing[0], &nothing[1], &spread), 0.0);
        assert_eq!(distance(&[[1.0; BUCKETS]], &nothing[1], &spread), FARTHEST);
    }

    #[test]
    fn the_truth_pays_most() {
        for (usual, audits) in [(4, 2), (8, 2), (8, 3), (64, 2)] {
            for done in 0..=usual {
                let honest = expected_work(done, done, usual, audits);
                assert!((honest - done as f64 / usual as f64).abs() < 1e-12);
                for declared in done + 1..=usual {
                    let lie = expected_work(declared, done, usual, audits);
                    assert!(lie <= honest + 1e-12, "{declared} declared, {done} done: {lie} {honest}");
                    assert!(done == 0 || lie < honest, "with two audits a lie loses");
                }
            }
        }
        // One audit makes a lie cost nothing.
        assert!((expected_work(8, 3, 8, 1) - 3.0 / 8.0).abs() < 1e-12);
        assert!((expected_work(4, 2, 4, 2) - 1.0 / 6.0).abs() < 1e-12, "1 of 6 pairs, for a declared 1");
    }

    #[test]
    fn who_is_drawn_has_that_on_average() {
        // Declares 8, has done the first 5, is audited on 2: 10 of 28 pairs.
        let windows = 20_000u64;
        let passed = (0..windows).filter(|window| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&window.to_le_bytes());
            data::audited(&seed, &[7; 32], 8, 2).iter().all(|drawn| *drawn < 5)
        });
        let found = passed.count() as f64 / windows as f64;
        assert!((found - expected_work(8, 5, 8, 2)).abs() < 0.012, "{found}, 3.5 standard errors are 0.012");
    }

    #[test]
    fn work_is_what_was_declared_or_nothing() {
        assert_eq!(work(3, 4, &[0.01, 0.099], 0.1), 0.75);
        assert_eq!(work(3, 4, &[0.01, 0.101], 0.1), 0.0);
        assert_eq!(work(3, 4, &[f64::INFINITY], 0.1), 0.0);
        assert_eq!(work(3, 4, &[f64::NAN], 0.1), 0.0);
        assert_eq!(work(3, 4, &[], 0.1), 0.0, "unseen is not passed");
        assert_eq!(work(6, 4, &[0.0], 0.1), 1.5, "more work is more pay");
    }

    #[test]
    fn benefit_is_measured_beside_those_who_worked() {
        let four = Benefits::of(&[(1.0, 0.2), (1.0, 0.1), (1.0, 0.3), (0.25, 0.05)]);
        // The middle half of 3.25: 0.4375 of the one with 0.1, all of that with 0.2, 0.1875 of that with 0.3.
        let usual = (0.4375 * 0.1 + 0.2 + 0.1875 * 0.3) / 1.625;
        assert!((four.usual.unwrap() - usual).abs() < 1e-12, "{four:?}");
        assert_eq!(four.peers, [Some(0.2), Some(0.1), Some(0.3), Some(0.1)], "a quarter is to do half");
        // Many that do little do not move what is usual, and who did nothing has no say and no benefit.
        let mut crowd = vec![(1.0, 0.2); 4];
        crowd.extend([(0.125, 0.0); 30]);
        crowd.extend([(0.0, 9.0); 30]);
        let many = Benefits::of(&crowd);
        assert!((many.usual.unwrap() - 0.2 * 2.0625 / 3.875).abs() < 1e-12, "{many:?}");
        assert_eq!((many.peers[4], many.peers[34]), (Some(0.0), None));
        // More than the usual work is to do what is usual.
        assert_eq!(Benefits::of(&[(2.0, 0.2)]).peers, [Some(0.2)]);
        assert_eq!(
            Benefits::of(&[(0.0, 0.1), (1.0, f64::NAN)]),
            Benefits { usual: None, peers: vec![None; 2] }
        );
    }

    #[test]
    fn who_is_surely_of_less_use_is_paid_for_what_is_left() {
        // Luck of a window that is as large as what is usual, 60 windows at a weight of 0.02.
        let luck = |n: u64| ((n * 2_654_435_761) % 1_000_003) as f64 / 288_676.0 - 1.732;
        let after = |mean: f64, noise: f64, seed: u64| {
            let mut usefulness = Usefulness::default();
            (0..60).for_each(|n| usefulness.add(mean + noise * luck(seed * 1000 + n), 0.2, 4e-3, 0.02));
            usefulness.worth(1.28)
        };
        assert_eq!(after(0.2, 0.0, 0), 1.0);
        assert_eq!(after(0.5, 0.0, 0), 1.0, "more than usual is not paid");
        assert!((after(0.1, 0.0, 0) - 0.5).abs() < 1e-9 && after(-0.3, 0.0, 0) == 0.0);
        let honest: Vec<f64> = (0..200).map(|seed| after(0.2, 0.2, seed)).collect();
        let unlucky = honest.iter().filter(|worth| **worth < 0.95).count();
        assert!(unlucky <= 24, "{unlucky} of 200");
        let idle = (0..200).map(|seed| after(0.0, 0.2, seed)).sum::<f64>() / 200.0;
        assert!(idle < 0.35, "{idle}");
        // Where nobody lowers the loss there is only luck.
        let mut lost = Usefulness::default();
        (0..60).for_each(|n| lost.add(0.1 * luck(n), -0.01, 4e-3, 0.02));
        assert!(lost.worth(1.28) > 0.9, "{}", lost.worth(1.28));
        let mut new = Usefulness::default();
        (0..3).for_each(|_| new.add(-1.0, 0.2, 4e-3, 0.02));
        assert_eq!(new.worth(1.28), 1.0);
    }

    #[test]
    fn pay_is_proportional_to_work_that_the_object_contains() {
        let pay = |work, shown| factor(work, shown, 2.0).powi(2);
        assert!((pay(0.5, 0.7) / pay(1.0, 1.0) - 0.5).abs() < 1e-12);
        assert!((pay(2.0, 1.4) / pay(1.0, 1.0) - 2.0).abs() < 1e-12, "more work is more pay");
        assert_eq!(pay(1.0, 0.0), 0.0, "an object without the work");
        assert!((pay(1.0, 0.25) - 0.25).abs() < 1e-12 && pay(1.0, 0.1) < 1e-12);
        assert_eq!(pay(-0.1, 1.0), 0.0);
    }
}
