//! From peer scores to weights on chain.

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

/// The two tiers of pay of later reference versions: those who were aggregated and a reserve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiers {
    /// Peers of the first tier.
    pub gather: usize,
    /// Pay of the first of the first tier, where the last has 1; in between it falls linearly.
    pub top_ratio: f64,
    /// Share of all pay for the first tier.
    pub gather_share: f64,
    /// Peers of the second tier.
    pub reserve: usize,
    /// Pay of a peer of the second tier, where the one before has 1.
    pub reserve_decay: f64,
    /// Share of all weight that is burnt.
    pub burn: f64,
}

impl Tiers {
    /// The values of the reference's last version: 20 and 10 peers, 75 and 25 %, half burnt.
    pub const REFERENCE: Self =
        Self { gather: 20, top_ratio: 2.0, gather_share: 0.75, reserve: 10, reserve_decay: 0.5, burn: 0.5 };

    /// Shares by rank: the k-th is that of the peer with the k-th best of `positive` positive scores.
    /// Their sum is `1 - burn`; the rest belongs to the slot that burns.
    ///
    /// No preset uses it yet; it is the reference's rule from 2025 on, kept for comparison.
    pub fn shares(&self, positive: usize) -> Vec<f64> {
        let pay = 1.0 - self.burn;
        let gathered = positive.min(self.gather);
        let step = if gathered > 1 { (self.top_ratio - 1.0) / (gathered - 1) as f64 } else { 0.0 };
        let mut shares: Vec<f64> = (0..gathered).map(|k| self.top_ratio - step * k as f64).collect();
        scale(&mut shares, self.gather_share * pay);

        let reserved = (positive - gathered).min(self.reserve);
        let mut reserve: Vec<f64> = (0..reserved).map(|k| self.reserve_decay.powi(k as i32)).collect();
        scale(&mut reserve, (1.0 - self.gather_share) * pay);
        // Nobody of the second tier earns more than half of the last of the first.
        if let (Some(first), Some(last)) = (reserve.first().copied(), shares.last().copied())
            && first > last
        {
            reserve.iter_mut().for_each(|share| *share *= last / first * 0.5);
        }

        shares.extend(reserve);
        scale(&mut shares, pay);
        shares
    }
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

    #[test]
    fn tiers_have_the_reference_values() {
        let shares = Tiers::REFERENCE.shares(40);
        assert_eq!(shares.len(), 30);
        for (rank, expected) in
            [(0, 0.032259), (1, 0.031410), (19, 0.016130), (20, 0.008065), (21, 0.004032), (29, 0.000016)]
        {
            assert!((shares[rank] - expected).abs() < 5e-7, "rank {rank}: {}", shares[rank]);
        }
        assert!((shares.iter().sum::<f64>() - 0.5).abs() < 1e-12);
        assert_eq!(Tiers::REFERENCE.shares(1), [0.5]);
        assert_eq!(Tiers::REFERENCE.shares(0), [0.0; 0]);
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
}
