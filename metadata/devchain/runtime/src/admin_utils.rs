//! Hyperparameters: root sets them through `Sudo`, a subnet's owner those that are its own.

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use crate::subtensor::{self, ROOT};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    /// The most mechanisms of a subnet: Subtensor mainnet's default.
    const MOST_MECHANISMS: u8 = 2;
    /// The longest time from commit to reveal, in epochs.
    const LONGEST_REVEAL: u64 = 100;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// What the pallet needs of the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + subtensor::Config {}

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// The third version of Yuma consensus was switched.
        #[codec(index = 1)]
        Yuma3EnableToggled {
            /// The subnet.
            netuid: u16,
            /// Whether it is on.
            enabled: bool,
        },
    }

    /// Why a call was refused.
    ///
    /// All of Subtensor mainnet's errors, because Python clients find an error's name by its place in this
    /// list. Those without a description are never given here.
    #[pallet::error]
    pub enum Error<T> {
        /// The subnet does not exist.
        SubnetDoesNotExist,
        /// There would be more validators than neurons.
        MaxValidatorsLargerThanMaxUIds,
        /// There are more neurons than that.
        MaxAllowedUIdsLessThanCurrentUIds,
        /// The moving average of bonds cannot be that long.
        BondsMovingAverageMaxReached,
        NegativeSigmoidSteepness,
        /// The value is out of bounds.
        ValueNotInBounds,
        MinAllowedUidsGreaterThanCurrentUids,
        MinAllowedUidsGreaterThanMaxAllowedUids,
        MaxAllowedUidsLessThanMinAllowedUids,
        /// There may not be as many neurons as that.
        MaxAllowedUidsGreaterThanDefaultMaxAllowedUids,
        InvalidValue,
    }

    /// The call's origin may set the subnet's hyperparameters now.
    enum Who {
        Root,
        RootOrOwner,
    }

    impl<T: Config> Pallet<T> {
        fn may_set(origin: OriginFor<T>, netuid: u16, who: Who) -> DispatchResult {
            let signer = ensure_signed_or_root(origin)?;
            if let Some(signer) = signer {
                let owner = matches!(who, Who::RootOrOwner)
                    && netuid != ROOT
                    && subtensor::SubnetOwner::<T>::get(netuid) == signer;
                ensure!(owner, DispatchError::BadOrigin);
            }
            ensure!(subtensor::NetworksAdded::<T>::get(netuid), Error::<T>::SubnetDoesNotExist);
            ensure!(
                !subtensor::Pallet::<T>::is_in_freeze_window(netuid),
                subtensor::Error::<T>::AdminActionProhibitedDuringWeightsWindow
            );
            Ok(())
        }

        fn tell(event: subtensor::Event<T>) -> DispatchResult {
            subtensor::Pallet::<T>::deposit_event(event);
            Ok(())
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Blocks between two changes of an endpoint.
        #[pallet::call_index(3)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_serving_rate_limit(
            origin: OriginFor<T>,
            netuid: u16,
            serving_rate_limit: u64,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::ServingRateLimit::<T>::insert(netuid, serving_rate_limit);
            Self::tell(subtensor::Event::ServingRateLimitSet(netuid, serving_rate_limit))
        }

        /// The least version of validators' software.
        #[pallet::call_index(6)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_weights_version_key(
            origin: OriginFor<T>,
            netuid: u16,
            weights_version_key: u64,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::WeightsVersionKey::<T>::insert(netuid, weights_version_key);
            Self::tell(subtensor::Event::WeightsVersionKeySet(netuid, weights_version_key))
        }

        /// Blocks between two settings of weights.
        #[pallet::call_index(7)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_weights_set_rate_limit(
            origin: OriginFor<T>,
            netuid: u16,
            weights_set_rate_limit: u64,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::WeightsSetRateLimit::<T>::insert(netuid, weights_set_rate_limit);
            Self::tell(subtensor::Event::WeightsSetRateLimitSet(netuid, weights_set_rate_limit))
        }

        /// Blocks for which a new neuron is safe.
        #[pallet::call_index(13)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_immunity_period(
            origin: OriginFor<T>,
            netuid: u16,
            immunity_period: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::ImmunityPeriod::<T>::insert(netuid, immunity_period);
            Self::tell(subtensor::Event::ImmunityPeriodSet(netuid, immunity_period))
        }

        /// The least number of weights.
        #[pallet::call_index(14)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_min_allowed_weights(
            origin: OriginFor<T>,
            netuid: u16,
            min_allowed_weights: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::MinAllowedWeights::<T>::insert(netuid, min_allowed_weights);
            Self::tell(subtensor::Event::MinAllowedWeightSet(netuid, min_allowed_weights))
        }

        /// How many neurons there may be.
        #[pallet::call_index(15)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_max_allowed_uids(
            origin: OriginFor<T>,
            netuid: u16,
            max_allowed_uids: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            ensure!(
                max_allowed_uids >= subtensor::SubnetworkN::<T>::get(netuid),
                Error::<T>::MaxAllowedUIdsLessThanCurrentUIds
            );
            ensure!(max_allowed_uids <= 256, Error::<T>::MaxAllowedUidsGreaterThanDefaultMaxAllowedUids);
            subtensor::MaxAllowedUids::<T>::insert(netuid, max_allowed_uids);
            Self::tell(subtensor::Event::MaxAllowedUidsSet(netuid, max_allowed_uids))
        }

        /// The part of the stake that makes consensus.
        #[pallet::call_index(16)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_kappa(origin: OriginFor<T>, netuid: u16, kappa: u16) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::Kappa::<T>::insert(netuid, kappa);
            Self::tell(subtensor::Event::KappaSet(netuid, kappa))
        }

        /// The steepness of trust.
        #[pallet::call_index(17)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_rho(origin: OriginFor<T>, netuid: u16, rho: u16) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::Rho::<T>::insert(netuid, rho);
            Self::tell(subtensor::Event::RhoSet(netuid, rho))
        }

        /// Whether the subnet takes registrations.
        #[pallet::call_index(19)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_network_registration_allowed(
            origin: OriginFor<T>,
            netuid: u16,
            registration_allowed: bool,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::NetworkRegistrationAllowed::<T>::insert(netuid, registration_allowed);
            Self::tell(subtensor::Event::RegistrationAllowed(netuid, registration_allowed))
        }

        /// Whether the subnet takes registrations for work. From spec 425 on nobody looks at it.
        #[pallet::call_index(20)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_network_pow_registration_allowed(
            origin: OriginFor<T>,
            netuid: u16,
            registration_allowed: bool,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::NetworkPowRegistrationAllowed::<T>::insert(netuid, registration_allowed);
            Self::tell(subtensor::Event::PowRegistrationAllowed(netuid, registration_allowed))
        }

        /// Registrations that an interval is meant for.
        #[pallet::call_index(21)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_target_registrations_per_interval(
            origin: OriginFor<T>,
            netuid: u16,
            target_registrations_per_interval: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::TargetRegistrationsPerInterval::<T>::insert(netuid, target_registrations_per_interval);
            Self::tell(subtensor::Event::RegistrationPerIntervalSet(
                netuid,
                target_registrations_per_interval,
            ))
        }

        /// The least that a registration costs.
        #[pallet::call_index(22)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_min_burn(origin: OriginFor<T>, netuid: u16, min_burn: u64) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            ensure!(min_burn <= subtensor::MaxBurn::<T>::get(netuid), Error::<T>::ValueNotInBounds);
            subtensor::MinBurn::<T>::insert(netuid, min_burn);
            Self::tell(subtensor::Event::MinBurnSet(netuid, min_burn))
        }

        /// The most that a registration costs.
        #[pallet::call_index(23)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_max_burn(origin: OriginFor<T>, netuid: u16, max_burn: u64) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            ensure!(max_burn >= subtensor::MinBurn::<T>::get(netuid), Error::<T>::ValueNotInBounds);
            subtensor::MaxBurn::<T>::insert(netuid, max_burn);
            Self::tell(subtensor::Event::MaxBurnSet(netuid, max_burn))
        }

        /// How hard work is.
        #[pallet::call_index(24)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_difficulty(origin: OriginFor<T>, netuid: u16, difficulty: u64) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::Difficulty::<T>::insert(netuid, difficulty);
            Self::tell(subtensor::Event::DifficultySet(netuid, difficulty))
        }

        /// How many validators there may be.
        #[pallet::call_index(25)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_max_allowed_validators(
            origin: OriginFor<T>,
            netuid: u16,
            max_allowed_validators: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            ensure!(
                max_allowed_validators <= subtensor::MaxAllowedUids::<T>::get(netuid),
                Error::<T>::MaxValidatorsLargerThanMaxUIds
            );
            subtensor::MaxAllowedValidators::<T>::insert(netuid, max_allowed_validators);
            Self::tell(subtensor::Event::MaxAllowedValidatorsSet(netuid, max_allowed_validators))
        }

        /// How much bonds keep of their past, in millionths.
        #[pallet::call_index(26)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_bonds_moving_average(
            origin: OriginFor<T>,
            netuid: u16,
            bonds_moving_average: u64,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            ensure!(bonds_moving_average <= 1_000_000, Error::<T>::BondsMovingAverageMaxReached);
            subtensor::BondsMovingAverage::<T>::insert(netuid, bonds_moving_average);
            Self::tell(subtensor::Event::BondsMovingAverageSet(netuid, bonds_moving_average))
        }

        /// Registrations that a block may have.
        #[pallet::call_index(27)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_max_registrations_per_block(
            origin: OriginFor<T>,
            netuid: u16,
            max_registrations_per_block: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::MaxRegistrationsPerBlock::<T>::insert(netuid, max_registrations_per_block);
            Self::tell(subtensor::Event::MaxRegistrationsPerBlockSet(netuid, max_registrations_per_block))
        }

        /// Blocks between two new subnets.
        #[pallet::call_index(29)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_network_rate_limit(origin: OriginFor<T>, rate_limit: u64) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::NetworkRateLimit::<T>::put(rate_limit);
            Self::tell(subtensor::Event::NetworkRateLimitSet(rate_limit))
        }

        /// Blocks between epochs; 0 means none.
        #[pallet::call_index(30)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_tempo(origin: OriginFor<T>, netuid: u16, tempo: u16) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::Tempo::<T>::insert(netuid, tempo);
            Self::tell(subtensor::Event::TempoSet(netuid, tempo))
        }

        /// Stake weight that a hotkey needs to set weights.
        #[pallet::call_index(42)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_stake_threshold(origin: OriginFor<T>, min_stake: u64) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::StakeThreshold::<T>::put(min_stake);
            Self::tell(subtensor::Event::StakeThresholdSet(min_stake))
        }

        /// Whether weights are committed before they are shown.
        #[pallet::call_index(49)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_commit_reveal_weights_enabled(
            origin: OriginFor<T>,
            netuid: u16,
            enabled: bool,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::CommitRevealWeightsEnabled::<T>::insert(netuid, enabled);
            Self::tell(subtensor::Event::CommitRevealEnabled(netuid, enabled))
        }

        /// Whether the moving average of bonds depends on consensus.
        #[pallet::call_index(50)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_liquid_alpha_enabled(
            origin: OriginFor<T>,
            netuid: u16,
            enabled: bool,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::LiquidAlphaOn::<T>::insert(netuid, enabled);
            Ok(())
        }

        /// Epochs between a commit and its reveal.
        #[pallet::call_index(57)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_commit_reveal_weights_interval(
            origin: OriginFor<T>,
            netuid: u16,
            interval: u64,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            ensure!(interval >= 1, subtensor::Error::<T>::RevealPeriodTooSmall);
            ensure!(interval <= LONGEST_REVEAL, subtensor::Error::<T>::RevealPeriodTooLarge);
            subtensor::RevealPeriodEpochs::<T>::insert(netuid, interval);
            Self::tell(subtensor::Event::CommitRevealPeriodsSet(netuid, interval))
        }

        /// How far bonds follow clipped weights.
        #[pallet::call_index(60)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_bonds_penalty(
            origin: OriginFor<T>,
            netuid: u16,
            bonds_penalty: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::BondsPenalty::<T>::insert(netuid, bonds_penalty);
            Self::tell(subtensor::Event::BondsPenaltySet(netuid, bonds_penalty))
        }

        /// Whether alpha may be staked.
        #[pallet::call_index(66)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_subtoken_enabled(
            origin: OriginFor<T>,
            netuid: u16,
            subtoken_enabled: bool,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::SubtokenEnabled::<T>::insert(netuid, subtoken_enabled);
            Ok(())
        }

        /// Whether bonds follow the third version of Yuma consensus.
        #[pallet::call_index(69)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_yuma3_enabled(origin: OriginFor<T>, netuid: u16, enabled: bool) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::Yuma3On::<T>::insert(netuid, enabled);
            Self::deposit_event(Event::Yuma3EnableToggled { netuid, enabled });
            Ok(())
        }

        /// The version of timelocked commits.
        #[pallet::call_index(71)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_commit_reveal_version(origin: OriginFor<T>, version: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::CommitRevealWeightsVersion::<T>::put(version);
            Self::tell(subtensor::Event::CommitRevealVersionSet(version))
        }

        /// Blocks before an epoch in which hyperparameters stay as they are.
        #[pallet::call_index(74)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_admin_freeze_window(origin: OriginFor<T>, window: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::AdminFreezeWindow::<T>::put(window);
            Self::tell(subtensor::Event::AdminFreezeWindowSet(window))
        }

        /// Epochs between two changes by a subnet's owner.
        #[pallet::call_index(75)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_owner_hparam_rate_limit(origin: OriginFor<T>, epochs: u16) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::OwnerHyperparamRateLimit::<T>::put(epochs);
            Self::tell(subtensor::Event::OwnerHyperparamRateLimitSet(epochs))
        }

        /// How many mechanisms a subnet has. Those that are new begin without weights and incentives.
        #[pallet::call_index(76)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_mechanism_count(
            origin: OriginFor<T>,
            netuid: u16,
            mechanism_count: u8,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            ensure!((1..=MOST_MECHANISMS).contains(&mechanism_count), Error::<T>::ValueNotInBounds);
            subtensor::Pallet::<T>::set_mechanism_count(netuid, mechanism_count);
            Ok(())
        }

        /// Neurons without immunity that replacement leaves over.
        #[pallet::call_index(84)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_min_non_immune_uids(origin: OriginFor<T>, netuid: u16, min: u16) -> DispatchResult {
            Self::may_set(origin, netuid, Who::Root)?;
            subtensor::MinNonImmuneUids::<T>::insert(netuid, min);
            Ok(())
        }

        /// Blocks in which the registration price halves.
        #[cfg(not(feature = "spec365"))]
        #[pallet::call_index(89)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::Yes))]
        pub fn sudo_set_burn_half_life(
            origin: OriginFor<T>,
            netuid: u16,
            burn_half_life: u16,
        ) -> DispatchResult {
            Self::may_set(origin, netuid, Who::RootOrOwner)?;
            subtensor::BurnHalfLife::<T>::insert(netuid, burn_half_life);
            Self::tell(subtensor::Event::BurnHalfLifeSet { netuid, burn_half_life })
        }

        /// Subnets that may run their epochs in one block.
        #[cfg(not(feature = "spec365"))]
        #[pallet::call_index(96)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn sudo_set_max_epochs_per_block(
            origin: OriginFor<T>,
            max_epochs_per_block: u8,
        ) -> DispatchResult {
            ensure_root(origin)?;
            subtensor::MaxEpochsPerBlock::<T>::put(max_epochs_per_block);
            Self::tell(subtensor::Event::MaxEpochsPerBlockSet(max_epochs_per_block))
        }
    }
}
