//! Subnets: registration, stake, weights, consensus and emission, as Subtensor mainnet's pallet 7 has them.
//!
//! The pallet's parts are sections of one module: `storage`, `events`,
//! `errors` and `calls`. What calls do is in the modules beside them, and
//! `templar_yuma` is the consensus itself, a pure function.

#[cfg_attr(feature = "spec365", path = "subtensor/burn_spec365.rs")]
pub mod burn;
mod coinbase;
mod commit_reveal;
mod dispatches;
mod epoch;
mod errors;
mod events;
mod guard;
mod registration;
mod root;
#[cfg_attr(feature = "spec365", path = "subtensor/schedule_spec365.rs")]
mod schedule;
mod serving;
mod stake;
mod storage;
mod subnets;
mod timelock;
mod types;
mod uids;
mod weights;
pub mod work;

#[cfg(test)]
mod tests;

pub use pallet::*;
#[cfg(not(feature = "spec365"))]
pub use types::EpochConsensus;
pub use types::{
    AxonInfo, ChainIdentityV2, FixedU128, PrometheusInfo, RateLimitKey, RootClaimTypeEnum, SubnetIdentityV3,
};

use frame_support::pallet_macros::import_section;

/// The netuid of root.
pub const ROOT: u16 = 0;
/// Storage indices between two mechanisms of a subnet.
pub const MECHANISM_STRIDE: u16 = 4_096;

/// The storage index of a subnet's mechanism: the netuid itself for the first.
pub fn storage_index(netuid: u16, mechanism: u8) -> u16 {
    u16::from(mechanism).saturating_mul(MECHANISM_STRIDE).saturating_add(netuid)
}

#[import_section(storage::storage)]
#[import_section(events::events)]
#[import_section(errors::errors)]
#[import_section(dispatches::dispatches)]
#[frame_support::pallet]
pub mod pallet {
    use super::types::{
        AxonInfo, ChainIdentityV2, DefaultAlphaValues, DefaultSymbol, FixedU128, MaxUids, PrometheusInfo,
        RateLimitKey, RootClaimTypeEnum, SubnetIdentityV3, ZeroAccount,
    };
    #[cfg(not(feature = "spec365"))]
    use super::types::{DefaultBurnIncrease, EpochConsensus};
    use frame_support::{
        pallet_prelude::*,
        traits::{
            ConstBool, ConstI16, ConstU8, ConstU16, ConstU32, ConstU64,
            fungible::{Inspect, Mutate},
        },
    };
    use frame_system::pallet_prelude::*;
    use sp_core::H256;
    use std::collections::VecDeque;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    /// What the pallet needs of the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + crate::drand::Config {
        /// TAO.
        type Currency: Inspect<Self::AccountId, Balance = u64> + Mutate<Self::AccountId>;
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::start_block();
            Weight::zero()
        }
    }

    /// The subnets at genesis: root and netuid 1.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// The coldkey and hotkey that own root.
        pub root_owner: Option<(T::AccountId, T::AccountId)>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { root_owner: None }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            if let Some((coldkey, hotkey)) = &self.root_owner {
                Pallet::<T>::create_genesis_subnets(coldkey, hotkey);
            }
        }
    }
}
