//! How long a block takes, where clients look for it: Subtensor mainnet's pallet 3. This chain has no authorities.

pub use pallet::*;

use std::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds of a block; Subtensor mainnet's until somebody says otherwise.
static SLOT_MILLISECONDS: AtomicU64 = AtomicU64::new(12_000);

/// Says how long the blocks of this process's chain take, in milliseconds. Metadata shows it.
pub fn set_slot_duration(milliseconds: u64) {
    SLOT_MILLISECONDS.store(milliseconds, Ordering::Relaxed);
}

/// What was said last.
pub struct SlotMilliseconds;

impl frame_support::traits::Get<u64> for SlotMilliseconds {
    fn get() -> u64 {
        SLOT_MILLISECONDS.load(Ordering::Relaxed)
    }
}

#[frame_support::pallet]
pub mod pallet {
    use frame_support::pallet_prelude::*;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// What the pallet needs of the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Milliseconds of a block.
        #[pallet::constant]
        type SlotDuration: Get<u64>;
    }
}
