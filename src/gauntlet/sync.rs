//! The sync score: how far a peer's model is from everybody's.

/// Steps behind that stand for "not comparable": other lengths, values that are not numbers, further
/// away than this. Finite, so that every record can be written as JSON.
pub const NOT_COMPARABLE: f64 = 1e6;

/// Outer steps by which two models differ: `mean |ours - theirs| / outer_step`, over the values that the
/// peer shows of the model it trained from.
///
/// Every node takes the same sign steps, so that models which agree differ by nothing at all and one
/// missed step shows as one step. A plain mean is taken (the paper's definition), not the mean between
/// the quartiles of later reference versions: values that are trimmed away need not be right.
///
/// `outer_step` is the step that the last round took, in units of a weight. Anything that is not a
/// number, and lengths that differ, give [`NOT_COMPARABLE`].
pub fn steps_behind(ours: &[f32], theirs: &[f32], outer_step: f64) -> f64 {
    if ours.len() != theirs.len() || ours.is_empty() {
        return NOT_COMPARABLE;
    }
    let total: f64 = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).sum();
    if total == 0.0 {
        return 0.0;
    }
    let steps = total / ours.len() as f64 / outer_step;
    if steps.is_finite() && steps >= 0.0 { steps.min(NOT_COMPARABLE) } else { NOT_COMPARABLE }
}

/// `(1 - x / limit)^2.5` for `x` steps behind, 0 from `limit` steps on, 1 for none; no unit.
///
/// Source: the reference's rule, with a limit of 5 in the time of TEMPLAR-I and of 3 later.
pub fn sync_score(steps_behind: f64, limit: f64) -> f64 {
    let rest = 1.0 - steps_behind / limit;
    if rest > 0.0 { rest.min(1.0).powf(2.5) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_curve_has_the_reference_values() {
        for (x, limit, expected) in [
            (0.1, 3.0, 0.918738),
            (0.5, 3.0, 0.633938),
            (1.0, 3.0, 0.362887),
            (2.0, 3.0, 0.064150),
            (1.0, 5.0, 0.572433),
            (2.0, 5.0, 0.278855),
            (3.0, 5.0, 0.101193),
        ] {
            assert!((sync_score(x, limit) - expected).abs() < 5e-7, "{x} of {limit}");
        }
        assert_eq!(sync_score(0.0, 3.0), 1.0);
        assert_eq!(sync_score(3.0, 3.0), 0.0);
        assert_eq!(sync_score(NOT_COMPARABLE, 3.0), 0.0);
        assert_eq!(sync_score(f64::NAN, 3.0), 0.0);
        assert_eq!(sync_score(1.0, 0.0), 0.0);
    }

    #[test]
    fn steps_are_counted_in_outer_steps() {
        assert_eq!(steps_behind(&[1.0, 2.0], &[1.0, 2.0], 1e-3), 0.0);
        assert_eq!(steps_behind(&[1.0, 2.0], &[1.5, 1.5], 0.25), 2.0);
        assert_eq!(steps_behind(&[1.0, 2.0], &[1.0, 2.0], 0.0), 0.0);
        assert_eq!(steps_behind(&[1.0, 2.0], &[1.0, 3.0], 0.0), NOT_COMPARABLE);
        assert_eq!(steps_behind(&[1.0], &[1.0, 2.0], 1.0), NOT_COMPARABLE);
        assert_eq!(steps_behind(&[], &[], 1.0), NOT_COMPARABLE);
        assert_eq!(steps_behind(&[1.0], &[f32::NAN], 1.0), NOT_COMPARABLE);
        assert_eq!(steps_behind(&[f32::INFINITY], &[f32::INFINITY], 1.0), NOT_COMPARABLE);
        assert_eq!(steps_behind(&[f32::MAX], &[f32::MIN], 1e-30), NOT_COMPARABLE);
    }

    proptest! {
        #[test]
        fn any_bits_give_a_score_between_nothing_and_one(
            values in prop::collection::vec((any::<u32>(), any::<u32>()), 0..8),
            step in any::<u64>(),
            limit in any::<u64>(),
        ) {
            let (ours, theirs): (Vec<f32>, Vec<f32>) =
                values.iter().map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b))).unzip();
            let steps = steps_behind(&ours, &theirs, f64::from_bits(step));
            prop_assert!((0.0..=NOT_COMPARABLE).contains(&steps));
            prop_assert!((0.0..=1.0).contains(&sync_score(steps, f64::from_bits(limit))));
        }
    }
}
