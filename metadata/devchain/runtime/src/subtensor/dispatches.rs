//! The pallet's calls, at Subtensor mainnet's indices.

use frame_support::pallet_macros::pallet_section;

/// The calls of the pallet.
#[pallet_section]
mod dispatches {
    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// A validator sets its weights on the subnet's neurons.
        #[pallet::call_index(0)]
        #[pallet::weight((Weight::from_parts(2_000_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn set_weights(
            origin: OriginFor<T>,
            netuid: u16,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            ensure!(!CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealEnabled);
            Self::do_set_weights(&hotkey, netuid, 0, dests, weights, version_key, true)
        }

        /// A coldkey stakes TAO on a hotkey in a subnet.
        #[pallet::call_index(2)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn add_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: u16,
            amount_staked: u64,
        ) -> DispatchResult {
            Self::do_add_stake(&ensure_signed(origin)?, &hotkey, netuid, amount_staked)
        }

        /// A coldkey takes stake back from a hotkey in a subnet.
        #[pallet::call_index(3)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn remove_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: u16,
            amount_unstaked: u64,
        ) -> DispatchResult {
            Self::do_remove_stake(&ensure_signed(origin)?, &hotkey, netuid, amount_unstaked)
        }

        /// A neuron publishes its endpoint.
        #[pallet::call_index(4)]
        #[pallet::weight((Weight::from_parts(100_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn serve_axon(
            origin: OriginFor<T>,
            netuid: u16,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
            protocol: u8,
            placeholder1: u8,
            placeholder2: u8,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let block = Self::now();
            let axon = AxonInfo { block, version, ip, port, ip_type, protocol, placeholder1, placeholder2 };
            Self::do_serve_axon(&hotkey, netuid, axon)
        }

        /// Before spec 425, a hotkey takes a place in a subnet for its work. From then on the work is not
        /// looked at, and the signer pays as in [`Self::burned_register`].
        #[pallet::call_index(6)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn register(
            origin: OriginFor<T>,
            netuid: u16,
            block_number: u64,
            nonce: u64,
            work: Vec<u8>,
            hotkey: T::AccountId,
            coldkey: T::AccountId,
        ) -> DispatchResult {
            let signer = ensure_signed(origin)?;
            Self::do_register_by_work(netuid, (block_number, nonce, work), &hotkey, &coldkey, &signer)
        }

        /// A coldkey pays for a place in a subnet.
        #[pallet::call_index(7)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn burned_register(origin: OriginFor<T>, netuid: u16, hotkey: T::AccountId) -> DispatchResult {
            Self::do_register(&ensure_signed(origin)?, netuid, &hotkey, None)
        }

        /// A coldkey makes a subnet, whose first neuron is this hotkey.
        #[pallet::call_index(59)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn register_network(origin: OriginFor<T>, hotkey: T::AccountId) -> DispatchResult {
            Self::do_register_network(&ensure_signed(origin)?, &hotkey)
        }

        /// A coldkey gets TAO for work.
        #[pallet::call_index(60)]
        #[pallet::weight((Weight::from_parts(100_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn faucet(origin: OriginFor<T>, block_number: u64, nonce: u64, work: Vec<u8>) -> DispatchResult {
            Self::do_faucet(&ensure_signed(origin)?, block_number, nonce, work)
        }

        /// A hotkey takes a place on root.
        #[pallet::call_index(62)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn root_register(origin: OriginFor<T>, hotkey: T::AccountId) -> DispatchResult {
            Self::do_root_register(&ensure_signed(origin)?, &hotkey)
        }

        /// A coldkey claims a hotkey that has no owner.
        #[pallet::call_index(91)]
        #[pallet::weight(Weight::from_parts(100_000_000, 0))]
        pub fn try_associate_hotkey(origin: OriginFor<T>, hotkey: T::AccountId) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::create_account_if_absent(&coldkey, &hotkey);
            Ok(())
        }

        /// A subnet's owner starts its emission.
        #[pallet::call_index(92)]
        #[pallet::weight(Weight::from_parts(100_000_000, 0))]
        pub fn start_call(origin: OriginFor<T>, netuid: u16) -> DispatchResult {
            Self::do_start_call(&ensure_signed(origin)?, netuid)
        }

        /// A validator commits to weights by their hash.
        #[pallet::call_index(96)]
        #[pallet::weight((Weight::from_parts(200_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn commit_weights(origin: OriginFor<T>, netuid: u16, commit_hash: H256) -> DispatchResult {
            Self::do_commit_weights(&ensure_signed(origin)?, netuid, 0, commit_hash)
        }

        /// A validator reveals weights that it committed to.
        #[pallet::call_index(97)]
        #[pallet::weight((Weight::from_parts(2_000_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn reveal_weights(
            origin: OriginFor<T>,
            netuid: u16,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            Self::do_reveal_weights(&ensure_signed(origin)?, netuid, 0, uids, values, salt, version_key)
        }

        /// A validator commits to weights that the chain itself opens after a round of the beacon.
        #[pallet::call_index(113)]
        #[pallet::weight((Weight::from_parts(200_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn commit_timelocked_weights(
            origin: OriginFor<T>,
            netuid: u16,
            commit: BoundedVec<u8, ConstU32<5_000>>,
            reveal_round: u64,
            commit_reveal_version: u16,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_timelocked(&hotkey, netuid, 0, commit, reveal_round, commit_reveal_version)
        }

        /// A validator commits to a mechanism's weights by their hash.
        #[pallet::call_index(115)]
        #[pallet::weight((Weight::from_parts(200_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn commit_mechanism_weights(
            origin: OriginFor<T>,
            netuid: u16,
            mecid: u8,
            commit_hash: H256,
        ) -> DispatchResult {
            Self::do_commit_weights(&ensure_signed(origin)?, netuid, mecid, commit_hash)
        }

        /// A validator reveals a mechanism's weights that it committed to.
        #[pallet::call_index(116)]
        #[pallet::weight((Weight::from_parts(2_000_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn reveal_mechanism_weights(
            origin: OriginFor<T>,
            netuid: u16,
            mecid: u8,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            Self::do_reveal_weights(&ensure_signed(origin)?, netuid, mecid, uids, values, salt, version_key)
        }

        /// A validator commits to a mechanism's weights that the chain itself opens.
        #[pallet::call_index(118)]
        #[pallet::weight((Weight::from_parts(200_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn commit_timelocked_mechanism_weights(
            origin: OriginFor<T>,
            netuid: u16,
            mecid: u8,
            commit: BoundedVec<u8, ConstU32<5_000>>,
            reveal_round: u64,
            commit_reveal_version: u16,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_timelocked(&hotkey, netuid, mecid, commit, reveal_round, commit_reveal_version)
        }

        /// A validator sets its weights in a mechanism of the subnet.
        #[pallet::call_index(119)]
        #[pallet::weight((Weight::from_parts(2_000_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn set_mechanism_weights(
            origin: OriginFor<T>,
            netuid: u16,
            mecid: u8,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            ensure!(!CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealEnabled);
            Self::do_set_weights(&hotkey, netuid, mecid, dests, weights, version_key, true)
        }

        /// Registers, unless the price is above a limit.
        #[cfg(not(feature = "spec365"))]
        #[pallet::call_index(134)]
        #[pallet::weight(Weight::from_parts(400_000_000, 0))]
        pub fn register_limit(
            origin: OriginFor<T>,
            netuid: u16,
            hotkey: T::AccountId,
            limit_price: u64,
        ) -> DispatchResult {
            let limit = Some((limit_price, Error::<T>::RegistrationPriceLimitExceeded));
            Self::do_register(&ensure_signed(origin)?, netuid, &hotkey, limit)
        }
    }
}
