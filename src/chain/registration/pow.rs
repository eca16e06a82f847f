//! Proof of work: the puzzle that some runtimes let a hotkey register with, and development chains give TAO for.
//!
//! A seal is a hash over a nonce, the hash of a recent block and the keys; as a number, lowest byte first, it must not
//! be above `(2^256 - 1) / difficulty`. So a solution takes `difficulty` tries on average.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use sp_core::U256;
use sp_crypto_hashing::keccak_256;

use crate::wallet::AccountId;

/// Tries between two looks at whether to stop.
const BATCH: u64 = 1024;

/// What is sealed; its kind depends on the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Puzzle {
    /// Older runtimes' registration, over the hotkey, and the faucet, over the coldkey:
    /// `keccak256(sha256(nonce || keccak256(block hash || key)))`.
    Key {
        /// Hash of the block that it is for.
        block: [u8; 32],
        /// Who it is for.
        key: AccountId,
    },
    /// Newer runtimes' registration: `keccak256(sha256("subtensor-pow-register-v1" || netuid || block hash || hotkey ||
    /// coldkey || nonce))`.
    Registration {
        /// The subnet.
        netuid: u16,
        /// Hash of the block that it is for.
        block: [u8; 32],
        /// Who registers.
        hotkey: AccountId,
        /// Who owns it.
        coldkey: AccountId,
    },
}

/// A nonce and its seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Solution {
    /// The nonce.
    pub nonce: u64,
    /// The seal.
    pub seal: [u8; 32],
}

impl Puzzle {
    /// What every seal of it begins with; the nonce comes after that, or before.
    fn prefix(&self) -> Vec<u8> {
        match self {
            Self::Key { block, key } => {
                let key: &[u8; 32] = key.as_ref();
                keccak_256(&[block.as_slice(), key].concat()).to_vec()
            }
            Self::Registration { netuid, block, hotkey, coldkey } => {
                let (hotkey, coldkey): (&[u8; 32], &[u8; 32]) = (hotkey.as_ref(), coldkey.as_ref());
                let domain = b"subtensor-pow-register-v1".as_slice();
                [domain, &netuid.to_le_bytes(), block, hotkey, coldkey].concat()
            }
        }
    }

    fn seal_with(&self, prefix: &[u8], nonce: u64) -> [u8; 32] {
        let hasher = match self {
            Self::Key { .. } => Sha256::new().chain_update(nonce.to_le_bytes()).chain_update(prefix),
            Self::Registration { .. } => Sha256::new().chain_update(prefix).chain_update(nonce.to_le_bytes()),
        };
        keccak_256(&hasher.finalize())
    }

    /// The seal of one nonce.
    pub fn seal(&self, nonce: u64) -> [u8; 32] {
        self.seal_with(&self.prefix(), nonce)
    }

    /// Tries nonces from `start` on, with `threads` threads, until one solves it, or `stop` is set: then `None`. `tried`
    /// counts along, for whoever shows the progress.
    pub fn solve(
        &self,
        difficulty: u64,
        start: u64,
        threads: usize,
        tried: &AtomicU64,
        stop: &AtomicBool,
    ) -> Option<Solution> {
        let (prefix, most, threads) = (self.prefix(), target(difficulty), threads.max(1));
        let found = AtomicBool::new(false);
        let search = |first: u64| {
            let mut nonce = start.wrapping_add(first);
            while !stop.load(Ordering::Relaxed) && !found.load(Ordering::Relaxed) {
                for _ in 0..BATCH {
                    let seal = self.seal_with(&prefix, nonce);
                    if U256::from_little_endian(&seal) <= most {
                        found.store(true, Ordering::Relaxed);
                        return Some(Solution { nonce, seal });
                    }
                    nonce = nonce.wrapping_add(threads as u64);
                }
                tried.fetch_add(BATCH, Ordering::Relaxed);
            }
            None
        };
        std::thread::scope(|scope| {
            let search = &search;
            let workers: Vec<_> =
                (0..threads as u64).map(|first| scope.spawn(move || search(first))).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok().flatten()).next()
        })
    }
}

/// Whether a seal is low enough for a difficulty.
pub fn is_enough(seal: &[u8; 32], difficulty: u64) -> bool {
    U256::from_little_endian(seal) <= target(difficulty)
}

/// The largest seal that counts.
fn target(difficulty: u64) -> U256 {
    U256::MAX / U256::from(difficulty.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;
    use crate::wallet::Keypair;

    fn alice() -> AccountId {
        Keypair::from_uri("//Alice").unwrap().account()
    }

    fn block() -> [u8; 32] {
        std::array::from_fn(|n| n as u8)
    }

    #[test]
    fn a_known_seal() {
        // Computed apart from this program, with Python's hashlib and pysha3.
        let puzzle = Puzzle::Key { block: block(), key: alice() };
        let seal = "c2fe32eb8ae572600069596e00d51c4275d3f10b72dad43dd2fe6d75241f3744";
        assert_eq!(hex::encode(puzzle.seal(42)), seal);
    }

    #[test]
    fn a_solution_is_enough_for_its_difficulty_and_every_thread_searches() {
        let registration =
            Puzzle::Registration { netuid: 3, block: block(), hotkey: alice(), coldkey: alice() };
        for puzzle in [Puzzle::Key { block: block(), key: alice() }, registration] {
            for threads in [1, 2, 5] {
                let tried = AtomicU64::new(0);
                let found = puzzle.solve(5_000, 7, threads, &tried, &AtomicBool::new(false)).unwrap();
                assert_eq!(puzzle.seal(found.nonce), found.seal);
                assert!(is_enough(&found.seal, 5_000));
            }
        }
    }

    #[test]
    fn the_prefix_of_a_registration_has_123_bytes() {
        let puzzle = Puzzle::Registration { netuid: 3, block: block(), hotkey: alice(), coldkey: alice() };
        assert_eq!(puzzle.prefix().len(), 123);
    }

    #[test]
    fn it_stops_when_it_is_told_to_and_every_seal_is_enough_for_nothing() {
        let puzzle = Puzzle::Key { block: block(), key: alice() };
        let stopped = puzzle.solve(u64::MAX, 0, 2, &AtomicU64::new(0), &AtomicBool::new(true));
        assert_eq!(stopped, None);
        assert!(is_enough(&[0xff; 32], 0) && is_enough(&[0xff; 32], 1) && !is_enough(&[0xff; 32], 2));
    }
}
