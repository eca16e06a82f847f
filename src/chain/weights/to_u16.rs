//! Weights as the chain takes them.

use crate::window::Uid;

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

/// Weights of any scale to the chain's `u16`: divided by the largest, times 65535, rounded half to even;
/// those that round to zero are left out. All zero gives an empty vector, which is not to be submitted.
/// The same arithmetic as the official Python SDK's.
///
/// # Errors
/// [`WeightsError`] if a value is no weight, or a UID is there twice.
///
/// ```
/// let weights = templar::chain::to_u16(&[(0, 0.5), (7, 1.0), (9, 0.0)])?;
/// assert_eq!(weights, [(0, 32768), (7, 65535)]);
/// # Ok::<(), templar::chain::WeightsError>(())
/// ```
pub fn to_u16(weights: &[(Uid, f64)]) -> Result<Vec<(Uid, u16)>, WeightsError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut largest = 0.0f64;
    for &(uid, weight) in weights {
        if !weight.is_finite() || weight < 0.0 {
            return Err(WeightsError::NotAWeight { uid });
        }
        if !seen.insert(uid) {
            return Err(WeightsError::Duplicate { uid });
        }
        largest = largest.max(weight);
    }
    if largest == 0.0 {
        return Ok(Vec::new());
    }
    Ok(weights
        .iter()
        .map(|&(uid, weight)| (uid, (weight / largest * f64::from(u16::MAX)).round_ties_even() as u16))
        .filter(|&(_, weight)| weight > 0)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_becomes_65535_and_halves_go_to_even() {
        assert_eq!(to_u16(&[(0, 2.0), (1, 1.0)]).unwrap(), [(0, 65535), (1, 32768)]);
        assert_eq!(to_u16(&[(5, 1e-300)]).unwrap(), [(5, 65535)]);
        // 0.5 / 65535 of the largest rounds to zero and goes; 1.5 goes up to 2, 2.5 down to 2.
        let fine = [(0, 65535.0), (1, 0.5), (2, 1.5), (3, 2.5)];
        assert_eq!(to_u16(&fine).unwrap(), [(0, 65535), (2, 2), (3, 2)]);
    }

    #[test]
    fn nothing_to_submit_is_empty() {
        assert!(to_u16(&[]).unwrap().is_empty());
        assert!(to_u16(&[(1, 0.0), (2, 0.0)]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(to_u16(&[(0, 1.0), (4, bad)]), Err(WeightsError::NotAWeight { uid: 4 }));
        }
        assert_eq!(to_u16(&[(4, 1.0), (4, 0.0)]), Err(WeightsError::Duplicate { uid: 4 }));
    }
}
