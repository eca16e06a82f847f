//! How much of its work a peer does: from the evidence of its windows to a share, with its uncertainty.
//!
//! In one window the proof of computation gives `t` ([`counterfactual_t`](super::proof::counterfactual_t)):
//! a number of spread 1 whose mean is 0 for who did not train on its own data, and grows with the square
//! root of the own sequences that went into the update (derivation in `docs/gauntlet.md`). So there is one
//! `tau`, the mean of `t` of a peer that does all its work, and a peer whose `t` has mean `x tau` did `x^2`
//! of it. `x` is its *strength*; the score is proportional to it and pay to the score's square.

/// Strengths that are thought possible go from 0 to `GRID * STEP` = 2, four times the usual work.
const GRID: usize = 40;
const STEP: f64 = 0.05;

/// What is believed of peers in general before anything is known of them: they do nothing (three in ten), all that
/// is usual (13 in twenty), or something else, every strength overlapping. The two points are what people are: most do
/// their work, some do none. Without evidence to the contrary equal peers are therefore paid overlapping, and not by
/// their luck.
const NOTHING: f64 = 0.3;
const ALL: f64 = 0.65;
/// The grid's step of strength 1.
const USUAL: usize = 20;
/// That belief counts as much as this many peers; where there are many more, what they do counts instead.
const BELIEF_PEERS: f64 = 20.0;
const BELIEF_ROUNDS: usize = 8;

/// The manifest's expectation counts as much as this many windows of one peer.
const EXPECTED_WINDOWS: f64 = 4.0;
/// `tau` is never taken for less than this share of the expectation: a run in which nobody works has no unit.
const LEAST: f64 = 0.25;
const ROUNDS: usize = 24;

/// What is known of a peer from its windows so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Mean of `t`.
    pub mean: f64,
    /// Windows that the mean is worth: its variance is `1 / windows`.
    pub windows: f64,
}

/// A strength and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Mean of what is believed.
    pub mean: f64,
    /// Standard deviation of it.
    pub deviation: f64,
}

/// `tau`: the mean of `t` of a peer that does all its work, estimated from everybody.
///
/// The peers are a mixture of those who work (mean `tau`, variance `1 / windows`) and those who do not (mean
/// 0), half and half beforehand. Expectation and maximisation in turn: how likely is it that each works,
///
/// `p = 1 / (1 + exp(-windows tau (mean - tau / 2)))`,
///
/// and `tau = sum p windows mean / sum p windows`, where the manifest's expectation counts like a peer of four
/// windows. Peers without evidence have no part in it, so that who uploads nothing changes nobody's pay.
pub fn reference(peers: &[Evidence], expected: f64) -> f64 {
    let mut tau = expected;
    for _ in 0..ROUNDS {
        let (mut sum, mut weight) = (expected * EXPECTED_WINDOWS, EXPECTED_WINDOWS);
        for peer in peers {
            let works = 1.0 / (1.0 + (-peer.windows * tau * (peer.mean - tau / 2.0)).exp());
            sum += works * peer.windows * peer.mean;
            weight += works * peer.windows;
        }
        tau = (sum / weight).max(LEAST * expected);
    }
    tau
}

/// How strong peers are in general: a probability for each strength of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief(Vec<f64>);

impl Default for Belief {
    fn default() -> Self {
        let elsewhere = (1.0 - NOTHING - ALL) / (GRID + 1) as f64;
        let mut belief = vec![elsewhere; GRID + 1];
        belief[0] += NOTHING;
        belief[USUAL] += ALL;
        Self(belief)
    }
}

impl Belief {
    /// What the peers themselves show: expectation and maximisation of the probabilities over everybody's evidence,
    /// from the general belief, which keeps the weight of twenty peers (empirical Bayes). In a run of six peers it
    /// decides; among hundreds of four strengths, four points become likely and what lies between them not.
    pub fn learned(peers: &[Evidence], tau: f64) -> Self {
        let general = Self::default();
        let likelihoods: Vec<Vec<f64>> = peers.iter().map(|peer| likelihoods(*peer, tau)).collect();
        let mut belief = general.clone();
        for _ in 0..BELIEF_ROUNDS {
            let mut counts: Vec<f64> = general.0.iter().map(|p| p * BELIEF_PEERS).collect();
            for likelihood in &likelihoods {
                let sum: f64 = belief.0.iter().zip(likelihood).map(|(p, l)| p * l).sum();
                for ((count, p), l) in counts.iter_mut().zip(&belief.0).zip(likelihood) {
                    *count += p * l / sum;
                }
            }
            let total = BELIEF_PEERS + peers.len() as f64;
            belief.0.iter_mut().zip(counts).for_each(|(p, count)| *p = count / total);
        }
        belief
    }

    /// What is believed of one peer, given its evidence: Bayes' rule on the grid.
    pub fn strength(&self, evidence: Evidence, tau: f64) -> Strength {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for (step, (prior, likelihood)) in self.0.iter().zip(likelihoods(evidence, tau)).enumerate() {
            let (x, p) = (step as f64 * STEP, prior * likelihood);
            sum += p;
            first += p * x;
            second += p * x * x;
        }
        let mean = first / sum;
        Strength { mean, deviation: (second / sum - mean * mean).max(0.0).sqrt() }
    }
}

/// How much says that a peer is the author of its object, given its strength before the window and the window's observation of it: of
/// two who upload the same, the author is the one with more. It is a logarithm of odds,
///
/// `ln x + (o x tau - (x tau)^2 / 2) / v`:
///
/// whoever does a share of `x^2` of its work sends such an object with a chance that grows with `x`, and its own data says so with a
/// normal `o` of mean `x tau` and variance `v`, where that of somebody else's object has mean 0. So a strong peer that uploads the object of
/// a weak one does not pass for its author.
pub fn authorship(strength: f64, observation: f64, variance: f64, tau: f64) -> f64 {
    let expected = strength * tau;
    strength.max(STEP / 2.0).ln() + (observation * expected - expected * expected / 2.0) / variance.max(1e-9)
}

/// How likely the evidence is for each strength `x` of the grid, the likeliest 1: the likelihood is normal,
/// `exp(-windows (mean - x tau)^2 / 2)`.
fn likelihoods(evidence: Evidence, tau: f64) -> Vec<f64> {
    let miss = |step| evidence.mean - f64::from(step) * STEP * tau;
    let exponents: Vec<f64> =
        (0..=GRID as u32).map(|step| -evidence.windows * miss(step).powi(2) / 2.0).collect();
    // The largest exponent is taken out, so that not all of them are 0.
    let largest = exponents.iter().copied().fold(f64::MIN, f64::max);
    exponents.into_iter().map(|exponent| (exponent - largest).exp()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(mean: f64, windows: f64) -> Evidence {
        Evidence { mean, windows }
    }

    fn strength(evidence: Evidence, tau: f64) -> Strength {
        Belief::default().strength(evidence, tau)
    }

    #[test]
    fn among_many_peers_what_they_do_is_believed() {
        // A hundred that do the usual, a hundred that do three quarters of it, each with its luck.
        let tau = 2.5;
        let group = |strength: f64| {
            (0..100).map(move |n| at(tau * strength + (f64::from(n) - 49.5) / 49.5 * 0.2, 60.0))
        };
        let peers: Vec<_> = group(1.0).chain(group(0.75f64.sqrt())).collect();
        let learned = Belief::learned(&peers, tau);
        let error = |belief: &Belief| {
            let mean = belief.strength(at(tau * 0.75f64.sqrt(), 60.0), tau).mean;
            (mean * mean - 0.75).abs()
        };
        assert!(error(&learned) < 0.03 && error(&learned) < error(&Belief::default()) / 2.0);
        let sum: f64 = learned.0.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9);
        let none = Belief::learned(&[], tau);
        assert!(none.0.iter().zip(Belief::default().0).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn what_is_sure_is_believed() {
        for x in [0.0, 0.3, 0.7, 1.0, 1.6] {
            let strength = strength(at(x * 2.0, 1e4), 2.0);
            assert!((strength.mean - x).abs() < 0.01 && strength.deviation < 0.03, "{x}: {strength:?}");
        }
    }

    #[test]
    fn equal_peers_are_believed_equal_until_their_difference_is_sure() {
        // Thirty windows at tau = 1.6: a mean one standard error below and above.
        let error = 1.0 / 30f64.sqrt();
        let [low, high] = [1.6 - error, 1.6 + error].map(|mean| strength(at(mean, 30.0), 1.6).mean);
        assert!(high / low < 1.06, "{low} {high}");
        let half = strength(at(1.6 * 0.5f64.sqrt(), 300.0), 1.6).mean;
        assert!((half * half - 0.5).abs() < 0.02, "{half}");
    }

    #[test]
    fn who_does_nothing_is_found_out() {
        assert!(strength(at(0.0, 1.0), 1.6).mean < 0.45);
        assert!(strength(at(0.0, 10.0), 1.6).mean < 0.03);
        assert!(strength(at(-1.0, 3.0), 1.6).mean < 0.03);
    }

    #[test]
    fn the_reference_is_that_of_those_who_work() {
        let mut peers = vec![at(2.0, 20.0); 8];
        peers.extend([at(0.1, 20.0), at(-0.2, 20.0), at(0.0, 20.0)]);
        assert!((reference(&peers, 1.5) - 2.0).abs() < 0.03);
        assert_eq!(reference(&[], 1.5), 1.5);
        assert!(reference(&[at(0.0, 30.0); 5], 1.5) >= 1.5 * LEAST);
    }

    #[test]
    fn the_author_is_who_own_data_speaks_for() {
        let tau = 2.0;
        let author = |strength: f64, observation| authorship(strength, observation, 1.0, tau);
        // A strong peer uploads what a peer of a quarter of the work has made: each is as usual for what it sent.
        assert!(author(0.5, 0.5 * tau) > author(1.0, 0.0));
        // It takes luck of more than a standard error to pass for the author.
        assert!(author(0.5, 0.5 * tau) > author(1.0, 0.9) && author(0.5, 0.5 * tau) < author(1.0, 1.6));
        // Who has never shown any work takes a lot more.
        assert!(author(1.0, 0.0) > author(0.0, 8.0));
        assert!(author(0.7, 0.0) == author(0.7, 0.0) && author(0.7, 0.1) > author(0.7, 0.0));
        assert!(authorship(0.0, f64::NAN, 1.0, tau).is_nan() && authorship(0.5, 1.0, 0.0, tau).is_finite());
    }

    /// The upper tail of the normal distribution, by summing its density.
    fn tail(z: f64) -> f64 {
        let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        (0..10_000).map(|i| density(z + (i as f64 + 0.5) * 1e-3) * 1e-3).sum()
    }

    /// The table of `docs/gauntlet.md`: `cargo test --workspace --lib false_positives -- --nocapture` prints it.
    #[test]
    fn false_positives() {
        for tau in [1.0, 1.5, 2.5] {
            let mut rates = Vec::new();
            for windows in [5.0, 10.0, 20.0, 39.0] {
                // The least mean that is paid as much as a tenth of the work.
                let (mut low, mut high) = (-2.0, 4.0);
                for _ in 0..60 {
                    let middle = (low + high) / 2.0;
                    let paid = strength(at(middle, windows), tau).mean.powi(2) >= 0.1;
                    if paid { high = middle } else { low = middle }
                }
                rates.push(tail(high * windows.sqrt()));
            }
            println!("tau {tau}: {rates:.4?}");
            assert!(rates.is_sorted_by(|a, b| a > b) && rates[3] < 0.05, "{tau}: {rates:?}");
        }
    }

    proptest! {
        #[test]
        fn more_evidence_of_work_is_never_believed_less(a in -8.0..8.0f64, b in -8.0..8.0f64, windows in 0.0..40.0f64) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let [low, high] = [low, high].map(|mean| strength(at(mean, windows), 1.6));
            prop_assert!(low.mean <= high.mean + 1e-9);
            prop_assert!((0.0..=2.0).contains(&low.mean) && low.deviation.is_finite());
        }
    }
}
