//! Which checkpoints stay: many new ones, few old ones.

use crate::window::Window;

/// The newest ones that all stay.
const NEWEST: u64 = 8;

/// The rule by which checkpoints are taken and given up.
///
/// They are counted from 1, the run's first. Of the newest 8 every one stays; of those 8 to 15 places behind the newest every second
/// one, of those 16 to 31 behind every fourth, and so on: one whose number is a multiple of `2^floor(log2(age / 4))`. A number that
/// stays now has stayed always, so what the rule names is there, and the disk grows with the logarithm of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// The run's first window.
    pub start: Window,
    /// Windows between two checkpoints.
    pub every: u64,
}

impl Thinning {
    /// Which checkpoint one after this window's step is; `None` where the window has none.
    pub fn number(&self, window: Window) -> Option<u64> {
        let windows = (window + 1).checked_sub(self.start).filter(|windows| *windows > 0)?;
        windows.is_multiple_of(self.every.max(1)).then(|| windows / self.every.max(1))
    }

    /// Whether the checkpoint of `window` stays when that of `newest` is there. What is newer, or is none of the run's, is not
    /// touched.
    pub fn keeps(&self, window: Window, newest: Window) -> bool {
        match (self.number(window), self.number(newest)) {
            (Some(number), Some(newest)) => is_kept(number, newest),
            _ => true,
        }
    }
}

fn is_kept(number: u64, newest: u64) -> bool {
    let age = newest.saturating_sub(number);
    age < NEWEST || number.is_multiple_of(1 << (age / (NEWEST / 2)).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_stays_has_always_stayed_and_there_are_few(newest in 1u64..100_000) {
            let kept: Vec<u64> = (1..=newest).filter(|n| is_kept(*n, newest)).collect();
            prop_assert!(kept.contains(&newest));
            for number in newest.saturating_sub(7).max(1)..=newest {
                prop_assert!(kept.contains(&number));
            }
            for number in &kept {
                prop_assert!(is_kept(*number, newest - 1) || *number == newest);
            }
            let most = 8 + 4 * (u64::from(newest.ilog2()) + 1);
            prop_assert!(kept.len() as u64 <= most, "{} of {newest}", kept.len());
            // From any point of the run, the next checkpoint at or before it is not far: half of its age, and a few.
            for pair in kept.windows(2) {
                prop_assert!(pair[1] - pair[0] <= (newest - pair[0]) / 2 + 1, "{pair:?} of {newest}");
            }
        }
    }

    #[test]
    fn a_window_has_the_checkpoint_that_the_manifest_gives_it() {
        let thinning = Thinning { start: 100, every: 5 };
        let numbers: Vec<_> =
            (99..110).filter_map(|window| Some((window, thinning.number(window)?))).collect();
        assert_eq!(numbers, [(104, 1), (109, 2)]);
        assert_eq!(thinning.number(3), None);
        // The ninth is newest: the first is eight behind it, and not even.
        let newest = 100 + 9 * 5 - 1;
        assert!(
            !thinning.keeps(104, newest) && thinning.keeps(109, newest) && thinning.keeps(newest, newest)
        );
        assert!(thinning.keeps(105, newest), "it is none of the run's");
    }
}
