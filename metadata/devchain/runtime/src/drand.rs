//! Pulses of the beacon, by which timelocked commits are opened: Subtensor mainnet's pallet 26.
//!
//! There, offchain workers fetch pulses and submit them. Here the chain's own [`beacon`](crate::beacon) signs
//! them: at the end of each block those that are due by the block's timestamp, fifty at most, so that a chain
//! that stood still catches up over some blocks.

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use crate::beacon;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use sp_runtime::SaturatedConversion;

    /// Pulses that one block takes.
    const MOST_AT_ONCE: u64 = 50;
    /// Pulses that are kept: a week's.
    const KEPT: u64 = 216_000;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    /// What the pallet needs of the runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<RuntimeEvent: From<Event<Self>>> + pallet_timestamp::Config
    {
    }

    /// A round's signature.
    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
    pub struct Pulse {
        /// The round.
        pub round: u64,
        /// The SHA-256 hash of the signature.
        pub randomness: BoundedVec<u8, ConstU32<32>>,
        /// The signature: a compressed point of G1.
        pub signature: BoundedVec<u8, ConstU32<144>>,
    }

    /// What a beacon says of itself.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
    pub struct Metadata {
        /// Its name.
        pub beacon_id: BoundedVec<u8, ConstU32<32>>,
    }

    /// The beacon whose pulses the chain takes.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
    pub struct BeaconConfiguration {
        /// The key that checks its signatures: a compressed point of G2.
        pub public_key: BoundedVec<u8, ConstU32<96>>,
        /// Seconds between rounds.
        pub period: u32,
        /// When round 1 was due, in seconds since the Unix epoch.
        pub genesis_time: u32,
        /// The hash of what identifies the beacon.
        pub hash: BoundedVec<u8, ConstU32<32>>,
        /// The hash of the group that runs it.
        pub group_hash: BoundedVec<u8, ConstU32<32>>,
        /// How it signs.
        pub scheme_id: BoundedVec<u8, ConstU32<32>>,
        /// Its name.
        pub metadata: Metadata,
    }

    /// The installed beacon, described.
    pub struct OwnBeacon;

    impl Get<BeaconConfiguration> for OwnBeacon {
        fn get() -> BeaconConfiguration {
            let key = beacon::installed().map(|beacon| beacon.public_key.to_vec()).unwrap_or_default();
            let hash = sp_io::hashing::sha2_256(&key).to_vec();
            BeaconConfiguration {
                public_key: BoundedVec::truncate_from(key),
                period: beacon::PERIOD_SECONDS.saturated_into(),
                genesis_time: beacon::GENESIS_SECONDS.saturated_into(),
                hash: BoundedVec::truncate_from(hash.clone()),
                group_hash: BoundedVec::truncate_from(hash),
                scheme_id: BoundedVec::truncate_from(b"bls-unchained-g1-rfc9380".to_vec()),
                metadata: Metadata { beacon_id: BoundedVec::truncate_from(b"development".to_vec()) },
            }
        }
    }

    /// The beacon. Its key is where clients learn what to encrypt to.
    #[pallet::storage]
    pub type BeaconConfig<T: Config> = StorageValue<_, BeaconConfiguration, ValueQuery>;
    /// Pulses by round.
    #[pallet::storage]
    pub type Pulses<T: Config> = StorageMap<_, Blake2_128Concat, u64, Pulse, OptionQuery>;
    /// The newest round that is kept.
    #[pallet::storage]
    pub type LastStoredRound<T: Config> = StorageValue<_, u64, ValueQuery>;
    /// The oldest one.
    #[pallet::storage]
    pub type OldestStoredRound<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// The beacon was set.
        BeaconConfigChanged,
        /// Pulses were stored.
        NewPulse {
            /// Their rounds.
            rounds: Vec<u64>,
        },
        /// The oldest round was set.
        SetOldestStoredRound(u64),
    }

    /// Why a call was refused. Nothing gives these here.
    #[pallet::error]
    pub enum Error<T> {
        NoneValue,
        StorageOverflow,
        DrandConnectionFailure,
        UnverifiedPulse,
        InvalidRoundNumber,
        PulseVerificationError,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_finalize(_: BlockNumberFor<T>) {
            if let Some(beacon) = beacon::installed() {
                Self::follow(&beacon);
            }
        }
    }

    impl<T: Config> Pallet<T> {
        /// Stores the pulses that are due, and forgets the oldest.
        fn follow(beacon: &beacon::Beacon) {
            // A chain that was begun without a beacon, or with another, follows this one from now on.
            if BeaconConfig::<T>::get().public_key[..] != beacon.public_key {
                BeaconConfig::<T>::put(OwnBeacon::get());
                Self::deposit_event(Event::BeaconConfigChanged);
            }
            let newest = beacon::newest_round(pallet_timestamp::Now::<T>::get().saturated_into());
            let last = LastStoredRound::<T>::get();
            let first = if last == 0 { newest } else { last.saturating_add(1) };
            let until = newest.min(first.saturating_add(MOST_AT_ONCE - 1));
            let mut rounds = Vec::new();
            for round in first.max(1)..=until {
                let Some(signature) = (beacon.sign)(round) else { break };
                let randomness = BoundedVec::truncate_from(sp_io::hashing::sha2_256(&signature).to_vec());
                let signature = BoundedVec::truncate_from(signature.to_vec());
                Pulses::<T>::insert(round, Pulse { round, randomness, signature });
                rounds.push(round);
            }
            let Some(&stored) = rounds.last() else { return };
            LastStoredRound::<T>::put(stored);
            let oldest = if last == 0 { first } else { OldestStoredRound::<T>::get() };
            let keep_from = oldest.max(stored.saturating_sub(KEPT - 1));
            for round in oldest..keep_from {
                Pulses::<T>::remove(round);
            }
            OldestStoredRound::<T>::put(keep_from);
            Self::deposit_event(Event::NewPulse { rounds });
        }
    }
}
