//! Commitments: what a hotkey publishes on chain about itself, up to three fields of bytes or hashes.

mod data;

#[cfg(test)]
mod tests;

pub use data::Data;
pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use super::Data;
    use crate::subtensor;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use std::collections::BTreeSet;

    /// A commitment of few bytes counts as one of this many.
    const LEAST_SPACE: u64 = 100;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    /// What the pallet needs of the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + subtensor::Config {
        /// How many fields a commitment may have.
        #[pallet::constant]
        type MaxFields: Get<u32> + 'static;
        /// What a commitment costs: nothing.
        #[pallet::constant]
        type InitialDeposit: Get<u64>;
        /// What each field costs: nothing.
        #[pallet::constant]
        type FieldDeposit: Get<u64>;
    }

    /// What a hotkey commits.
    #[derive(
        CloneNoBound,
        DebugNoBound,
        PartialEqNoBound,
        EqNoBound,
        Encode,
        Decode,
        DecodeWithMemTracking,
        TypeInfo,
    )]
    #[codec(mel_bound())]
    #[scale_info(skip_type_params(FieldLimit))]
    pub struct CommitmentInfo<FieldLimit: Get<u32>> {
        /// The fields.
        pub fields: BoundedVec<Data, FieldLimit>,
    }

    /// A commitment as it is stored.
    #[derive(CloneNoBound, DebugNoBound, PartialEqNoBound, EqNoBound, Encode, Decode, TypeInfo)]
    #[scale_info(skip_type_params(MaxFields))]
    pub struct Registration<
        Balance: Clone + core::fmt::Debug + PartialEq + Eq,
        MaxFields: Get<u32>,
        Block: Clone + core::fmt::Debug + PartialEq + Eq,
    > {
        /// What was held back for it.
        pub deposit: Balance,
        /// The block at which it was made.
        pub block: Block,
        /// What was committed.
        pub info: CommitmentInfo<MaxFields>,
    }

    /// How much a hotkey committed in an epoch.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
    pub struct UsageTracker {
        /// The epoch.
        pub last_epoch: u64,
        /// Bytes.
        pub used_space: u64,
    }

    /// Hotkeys with a timelocked field.
    #[pallet::storage]
    pub type TimelockedIndex<T: Config> = StorageValue<_, BTreeSet<(u16, T::AccountId)>, ValueQuery>;
    /// What each hotkey of a subnet committed.
    #[pallet::storage]
    pub type CommitmentOf<T: Config> = StorageDoubleMap<
        _,
        Identity,
        u16,
        Twox64Concat,
        T::AccountId,
        Registration<u64, T::MaxFields, BlockNumberFor<T>>,
        OptionQuery,
    >;
    /// When it last did.
    #[pallet::storage]
    pub type LastCommitment<T: Config> =
        StorageDoubleMap<_, Identity, u16, Twox64Concat, T::AccountId, BlockNumberFor<T>, OptionQuery>;
    /// How much it committed in this epoch.
    #[pallet::storage]
    pub type UsedSpaceOf<T: Config> =
        StorageDoubleMap<_, Identity, u16, Twox64Concat, T::AccountId, UsageTracker, OptionQuery>;
    /// Bytes that a hotkey may commit in an epoch.
    #[pallet::storage]
    pub type MaxSpace<T: Config> = StorageValue<_, u32, ValueQuery, ConstU32<3_100>>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A hotkey committed.
        Commitment {
            /// The subnet.
            netuid: u16,
            /// The hotkey.
            who: T::AccountId,
        },
        /// A hotkey committed a timelocked field.
        TimelockCommitment {
            /// The subnet.
            netuid: u16,
            /// The hotkey.
            who: T::AccountId,
            /// The drand round at which it can be read.
            reveal_round: u64,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// There are more fields than allowed.
        TooManyFieldsInCommitmentInfo,
        /// The hotkey is not registered in the subnet.
        AccountNotAllowedCommit,
        /// The hotkey committed as much as it may in this epoch.
        SpaceLimitExceeded,
        /// More was held back than could be given back.
        UnexpectedUnreserveLeftover,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// A hotkey commits, instead of what it committed before.
        #[pallet::call_index(0)]
        #[pallet::weight((Weight::from_parts(50_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn set_commitment(
            origin: OriginFor<T>,
            netuid: u16,
            info: Box<CommitmentInfo<T::MaxFields>>,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let registered = subtensor::Uids::<T>::contains_key(netuid, &who);
            ensure!(registered, Error::<T>::AccountNotAllowedCommit);
            let fields = u32::try_from(info.fields.len()).unwrap_or(u32::MAX);
            ensure!(fields <= T::MaxFields::get(), Error::<T>::TooManyFieldsInCommitmentInfo);
            Self::use_space(netuid, &who, info.fields.iter().map(Data::len).sum())?;

            let block = frame_system::Pallet::<T>::block_number();
            let round = info.fields.iter().filter_map(Data::reveal_round).min();
            CommitmentOf::<T>::insert(netuid, &who, Registration { deposit: 0, block, info: *info });
            LastCommitment::<T>::insert(netuid, &who, block);
            TimelockedIndex::<T>::mutate_exists(|index| {
                let mut hotkeys = index.take().unwrap_or_default();
                match round {
                    Some(_) => hotkeys.insert((netuid, who.clone())),
                    None => hotkeys.remove(&(netuid, who.clone())),
                };
                *index = (!hotkeys.is_empty()).then_some(hotkeys);
            });
            Self::deposit_event(match round {
                Some(reveal_round) => Event::TimelockCommitment { netuid, who, reveal_round },
                None => Event::Commitment { netuid, who },
            });
            Ok(())
        }

        /// Root sets how much a hotkey may commit in an epoch.
        #[pallet::call_index(2)]
        #[pallet::weight((Weight::from_parts(10_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn set_max_space(origin: OriginFor<T>, new_limit: u32) -> DispatchResult {
            ensure_root(origin)?;
            MaxSpace::<T>::put(new_limit);
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Counts bytes against what the hotkey may commit in this epoch.
        fn use_space(netuid: u16, who: &T::AccountId, bytes: u64) -> DispatchResult {
            let epoch = subtensor::Pallet::<T>::current_epoch(netuid);
            let mut usage = UsedSpaceOf::<T>::get(netuid, who).unwrap_or_default();
            if usage.last_epoch != epoch {
                usage = UsageTracker { last_epoch: epoch, used_space: 0 };
            }
            usage.used_space = usage.used_space.saturating_add(bytes.max(LEAST_SPACE));
            ensure!(usage.used_space <= u64::from(MaxSpace::<T>::get()), Error::<T>::SpaceLimitExceeded);
            UsedSpaceOf::<T>::insert(netuid, who, usage);
            Ok(())
        }
    }
}
