//! From peer scores to weights on chain.

use crate::{manifest::Tiers, window::Uid};
use std::collections::BTreeSet;

/// Shares of pay by power normalisation: `score^power / sum of score^power` over the positive scores, 0
/// for the others; no unit, the sum is 1 or, where no score is positive, 0.
///
/// Source: the paper has `(x - min)^c / sum` with `c = 2`; the reference's code never subtracts the
/// minimum, nor does this: the worst honest peer earned something.
pub fn power_normalise(scores: &[f64], power: f64) -> Vec<f64> {
    // Divided by the largest first, so that no power overflows.
    let largest = scores.iter().copied().filter(|s| s.is_finite()).fold(0.0, f64::max);
    let powers: Vec<f64> = scores
        .iter()
        .map(|score| if *score > 0.0 && score.is_finite() { (score / largest).powf(power) } else { 0.0 })
        .collect();
    let sum: f64 = powers.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        powers.iter().map(|p| p / sum).collect()
    } else {
        vec![0.0; scores.len()]
    }
}

/// Shares as the chain's u16: the largest becomes 65535, the others keep their proportion to it, rounded
/// to the nearest, halves to even.
///
/// The Bittensor SDK does the same before it emits weights (Python's `round` is the one to even).
pub fn to_u16(shares: &[f64]) -> Vec<u16> {
    let largest = shares.iter().copied().filter(|s| s.is_finite()).fold(0.0, f64::max);
    shares
        .iter()
        .map(|share| {
            // A cast from a float saturates, and makes 0 of NaN.
            if largest > 0.0 { (share / largest * 65535.0).round_ties_even() as u16 } else { 0 }
        })
        .collect()
}

/// Why weights cannot be made into what the chain takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A weight is negative, infinite or not a number.
    #[error("the weight of UID {uid} is negative or not a number")]
    NotAWeight {
        /// Whose.
        uid: Uid,
    },
    /// A UID is there twice.
    #[error("UID {uid} has two weights")]
    Duplicate {
        /// Which.
        uid: Uid,
    },
}

/// Weights of any scale as the chain takes them: [`to_u16`] of each, without those that round to zero. All zero gives an
/// empty vector, which is not to be submitted.
///
/// # Errors
/// [`WeightsError`] if a value is no weight, or a UID is there twice.
///
/// ```
/// use templar::gauntlet::weights::{WeightsError, of_uids};
///
/// assert_eq!(of_uids(&[(0, 0.5), (7, 1.0), (9, 0.0)])?, [(0, 32768), (7, 65535)]);
/// # Ok::<(), WeightsError>(())
/// ```
pub fn of_uids(weights: &[(Uid, f64)]) -> Result<Vec<(Uid, u16)>, WeightsError> {
    let mut seen = BTreeSet::new();
    for &(uid, weight) in weights {
        if !weight.is_finite() || weight < 0.0 {
            return Err(WeightsError::NotAWeight { uid });
        }
        if !seen.insert(uid) {
            return Err(WeightsError::Duplicate { uid });
        }
    }
    let values: Vec<f64> = weights.iter().map(|(_, weight)| *weight).collect();
    let scaled = weights.iter().zip(to_u16(&values)).map(|((uid, _), weight)| (*uid, weight));
    Ok(scaled.filter(|(_, weight)| *weight > 0).collect())
}

/// Shares of pay in two tiers, by rank: those who were aggregated and a reserve.
///
/// The k-th share is that of the k-th best of `positive` positive scores. First tier: linear from `top_ratio` to 1
/// over at most `gather` ranks, `gather_share` of the pay. Second tier: `reserve_decay^k` over at most `reserve`
/// ranks, the rest of the pay, but nobody of it earns more than half of the last of the first. The sum is `1 - burn`;
/// the rest belongs to the UID that burns. Source: the reference's versions from 2025 on.
pub fn tier_shares(tiers: &Tiers, positive: usize) -> Vec<f64> {
    let pay = 1.0 - tiers.burn;
    let gathered = positive.min(tiers.gather);
    let step = if gathered > 1 { (tiers.top_ratio - 1.0) / (gathered - 1) as f64 } else { 0.0 };
    let mut shares: Vec<f64> = (0..gathered).map(|k| tiers.top_ratio - step * k as f64).collect();
    scale(&mut shares, tiers.gather_share * pay);

    let reserved = (positive - gathered).min(tiers.reserve);
    let mut reserve: Vec<f64> = (0..reserved).map(|k| tiers.reserve_decay.powi(k as i32)).collect();
    scale(&mut reserve, (1.0 - tiers.gather_share) * pay);
    if let (Some(first), Some(last)) = (reserve.first().copied(), shares.last().copied())
        && first > last
    {
        reserve.iter_mut().for_each(|share| *share *= last / first * 0.5);
    }

    shares.extend(reserve);
    scale(&mut shares, pay);
    shares
}

/// [`tier_shares`] for these scores, in their order; scores that are not positive have 0. Equal scores share what
/// their ranks earn together, so that no order decides between them.
pub fn tiered(scores: &[f64], tiers: &Tiers) -> Vec<f64> {
    let mut ranked: Vec<usize> = (0..scores.len()).filter(|at| scores[*at] > 0.0).collect();
    ranked.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut by_rank = tier_shares(tiers, ranked.len());
    by_rank.resize(ranked.len(), 0.0);
    let mut shares = vec![0.0; scores.len()];
    let mut rank = 0;
    for equal in ranked.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let together: f64 = by_rank[rank..rank + equal.len()].iter().sum();
        equal.iter().for_each(|at| shares[*at] = together / equal.len() as f64);
        rank += equal.len();
    }
    shares
}

/// Scales values so that they add up to `sum`.
fn scale(values: &mut [f64], sum: f64) {
    let total: f64 = values.iter().sum();
    if total > 0.0 {
        values.iter_mut().for_each(|value| *value *= sum / total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pay_is_the_square_of_the_score() {
        let shares = power_normalise(&[3.0, 1.0, 0.0, -5.0], 2.0);
        assert!((shares[0] - 0.9).abs() < 1e-12 && (shares[1] - 0.1).abs() < 1e-12);
        assert_eq!(shares[2..], [0.0, 0.0]);
        assert_eq!(power_normalise(&[0.0, -1.0], 2.0), [0.0, 0.0]);
        assert_eq!(power_normalise(&[], 2.0), [0.0; 0]);
        assert_eq!(power_normalise(&[1e300, 1e300], 2.0), [0.5, 0.5]);
    }

    #[test]
    fn the_largest_weight_is_65535_and_halves_go_to_even() {
        assert_eq!(to_u16(&[0.9, 0.1]), [65535, 7282]);
        assert_eq!(to_u16(&[1.0, 0.5 / 65535.0, 1.5 / 65535.0, 2.5 / 65535.0]), [65535, 0, 2, 2]);
        assert_eq!(to_u16(&[0.0, 0.0]), [0, 0]);
        assert_eq!(to_u16(&[]), [0; 0]);
    }

    const REFERENCE: Tiers = Tiers {
        gather: 20,
        gather_share: 0.75,
        top_ratio: 2.0,
        reserve: 10,
        reserve_decay: 0.5,
        burn: 0.5,
        burn_uid: 1,
    };

    #[test]
    fn equal_scores_share_their_ranks() {
        let shares = tiered(&[5.0, 0.0, 7.0, 5.0], &Tiers { gather: 3, reserve: 0, ..REFERENCE });
        let expected = [1.25, 0.0, 2.0, 1.25].map(|x| x / 9.0);
        assert!(shares.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{shares:?}");
        assert_eq!(tiered(&[-1.0, f64::NAN], &REFERENCE), [0.0, 0.0]);
    }

    #[test]
    fn tiers_have_the_reference_values() {
        let shares = tier_shares(&REFERENCE, 40);
        assert_eq!(shares.len(), 30);
        for (rank, expected) in
            [(0, 0.032259), (1, 0.031410), (19, 0.016130), (20, 0.008065), (21, 0.004032), (29, 0.000016)]
        {
            assert!((shares[rank] - expected).abs() < 5e-7, "rank {rank}: {}", shares[rank]);
        }
        assert!((shares.iter().sum::<f64>() - 0.5).abs() < 1e-12);
        assert_eq!(tier_shares(&REFERENCE, 1), [0.5]);
        assert_eq!(tier_shares(&REFERENCE, 0), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn any_floats_give_shares(bits in prop::collection::vec(any::<u64>(), 0..9), power in 0.0..9.0f64) {
            let scores: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            let shares = power_normalise(&scores, power);
            let sum: f64 = shares.iter().sum();
            prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9);
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            prop_assert_eq!(to_u16(&shares).len(), scores.len());
        }
    }

    #[test]
    fn the_largest_becomes_65535_and_halves_go_to_even() {
        assert_eq!(of_uids(&[(0, 2.0), (1, 1.0)]).unwrap(), [(0, 65535), (1, 32768)]);
        assert_eq!(of_uids(&[(5, 1e-300)]).unwrap(), [(5, 65535)]);
        // 0.5 / 65535 of the largest rounds to zero and goes; 1.5 goes up to 2, 2.5 down to 2.
        let fine = [(0, 65535.0), (1, 0.5), (2, 1.5), (3, 2.5)];
        assert_eq!(of_uids(&fine).unwrap(), [(0, 65535), (2, 2), (3, 2)]);
    }

    #[test]
    fn nothing_to_submit_is_empty() {
        assert!(of_uids(&[]).unwrap().is_empty());
        assert!(of_uids(&[(1, 0.0), (2, 0.0)]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(of_uids(&[(0, 1.0), (4, bad)]), Err(WeightsError::NotAWeight { uid: 4 }));
        }
        assert_eq!(of_uids(&[(4, 1.0), (4, 0.0)]), Err(WeightsError::Duplicate { uid: 4 }));
    }
}
