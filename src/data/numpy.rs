//! Assignment as the Python implementation of templar does it, number for number: a run's manifest may ask for it.
//!
//! Its draws come from numpy: `default_rng(seed)` is PCG64 seeded by a `SeedSequence`, `integers` is
//! Lemire's method on 32-bit halves, `choice(replace=False)` is Floyd's sampling or a shuffle of the tail.
//! The sequences of two peers may overlap, and everyone knows them for all windows to come.

mod choice;
mod pcg64;
mod seed_sequence;

pub use choice::choice;
pub use pcg64::Pcg64;
pub use seed_sequence::SeedSequence;

use crate::window::{Uid, Window};

/// The seed of a miner's pool of samples: `((uid * 1_000_003) ^ window) & 0xFFFF_FFFF`.
pub fn miner_seed(uid: Uid, window: Window) -> u32 {
    // The multiplication comes first, as in Python; only the low 32 bits are kept.
    ((u64::from(uid) * 1_000_003) ^ window) as u32
}

/// A miner's pool of samples: `count` of `0..population`, in the order of the reference. `None` if there
/// are fewer than `count`.
pub fn miner_pool(uid: Uid, window: Window, population: u64, count: usize) -> Option<Vec<u64>> {
    choice(&mut Pcg64::new(miner_seed(uid, window).into()), population, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_those_of_the_reference() {
        assert_eq!(miner_seed(7, 62834), 6_961_831);
        assert_eq!(miner_seed(255, 62834), 255_063_503);
        assert_eq!(miner_seed(1, 1), 1_000_002);
    }

    #[test]
    fn pools_are_those_of_the_reference() {
        let pool = miner_pool(7, 62834, 6_553_600, 30_720).unwrap();
        assert_eq!(pool.len(), 30_720);
        let first = [4218538, 2633500, 3038007, 3407635, 1464653, 3738420, 1794672, 1671576];
        assert_eq!(pool[..8], first);
        let shuffled = miner_pool(1, 1, 20_000, 500).unwrap();
        assert_eq!(shuffled[..8], [19044, 16840, 9070, 244, 9383, 482, 12510, 14414]);
        assert_eq!(miner_pool(1, 1, 10, 11), None);
    }
}
