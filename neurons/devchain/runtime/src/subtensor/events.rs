//! What the pallet says happened, at the real chain's positions. Clients resolve names from metadata.

use frame_support::pallet_macros::pallet_section;

/// The events of the pallet.
#[pallet_section]
mod events {
    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A subnet was made: netuid, mechanism.
        #[codec(index = 0)]
        NetworkAdded(u16, u16),
        /// Stake was added: coldkey, hotkey, rao, alpha, netuid, fee.
        #[codec(index = 2)]
        StakeAdded(T::AccountId, T::AccountId, u64, u64, u16, u64),
        /// Stake was removed: coldkey, hotkey, rao, alpha, netuid, fee.
        #[codec(index = 3)]
        StakeRemoved(T::AccountId, T::AccountId, u64, u64, u16, u64),
        /// Weights were set: storage index, UID.
        #[codec(index = 5)]
        WeightsSet(u16, u16),
        /// A neuron was registered: netuid, UID, hotkey.
        #[codec(index = 6)]
        NeuronRegistered(u16, u16, T::AccountId),
        /// The number of neurons that a subnet may have was set.
        #[codec(index = 9)]
        MaxAllowedUidsSet(u16, u16),
        /// Rho was set.
        #[codec(index = 16)]
        RhoSet(u16, u16),
        /// Kappa was set.
        #[codec(index = 18)]
        KappaSet(u16, u16),
        /// The least number of weights was set.
        #[codec(index = 19)]
        MinAllowedWeightSet(u16, u16),
        /// Blocks between two settings of weights were set.
        #[codec(index = 22)]
        WeightsSetRateLimitSet(u16, u64),
        /// The immunity period was set.
        #[codec(index = 23)]
        ImmunityPeriodSet(u16, u16),
        /// The moving average of bonds was set.
        #[codec(index = 24)]
        BondsMovingAverageSet(u16, u64),
        /// The bonds penalty was set.
        #[codec(index = 25)]
        BondsPenaltySet(u16, u16),
        /// The number of validators that a subnet may have was set.
        #[codec(index = 27)]
        MaxAllowedValidatorsSet(u16, u16),
        /// A neuron serves: netuid, hotkey.
        #[codec(index = 28)]
        AxonServed(u16, T::AccountId),
        /// A hotkey takes delegations: coldkey, hotkey, take.
        #[codec(index = 30)]
        DelegateAdded(T::AccountId, T::AccountId, u16),
        /// The least version of validators was set.
        #[codec(index = 32)]
        WeightsVersionKeySet(u16, u64),
        /// Blocks between two changes of an endpoint were set.
        #[codec(index = 35)]
        ServingRateLimitSet(u16, u64),
        /// The most that a registration costs was set.
        #[codec(index = 37)]
        MaxBurnSet(u16, u64),
        /// The least that a registration costs was set.
        #[codec(index = 38)]
        MinBurnSet(u16, u64),
        /// The number of epochs in one block was set.
        #[codec(index = 39)]
        MaxEpochsPerBlockSet(u8),
        /// The freeze window was set.
        #[codec(index = 43)]
        AdminFreezeWindowSet(u16),
        /// Epochs between two changes by a subnet's owner were set.
        #[codec(index = 44)]
        OwnerHyperparamRateLimitSet(u16),
        /// Registration was allowed or forbidden.
        #[codec(index = 50)]
        RegistrationAllowed(u16, bool),
        /// The tempo was set.
        #[codec(index = 52)]
        TempoSet(u16, u16),
        /// The stake that weights need was set.
        #[codec(index = 54)]
        StakeThresholdSet(u64),
        /// The time between subnets was set.
        #[codec(index = 58)]
        NetworkRateLimitSet(u64),
        /// Weights were committed: hotkey, storage index, hash.
        #[codec(index = 85)]
        WeightsCommitted(T::AccountId, u16, H256),
        /// Weights were revealed: hotkey, storage index, hash.
        #[codec(index = 86)]
        WeightsRevealed(T::AccountId, u16, H256),
        /// A subnet starts to emit at this block.
        #[codec(index = 95)]
        FirstEmissionBlockNumberSet(u16, u64),
        /// The time from commit to reveal was set.
        #[codec(index = 100)]
        CommitRevealPeriodsSet(u16, u64),
        /// Commit and reveal was switched.
        #[codec(index = 101)]
        CommitRevealEnabled(u16, bool),
        /// The version of timelocked commits was set.
        #[codec(index = 106)]
        CommitRevealVersionSet(u16),
        /// What each UID earned by incentive in an epoch.
        #[codec(index = 110)]
        IncentiveAlphaEmittedToMiners {
            /// The mechanism's storage index.
            netuid: u16,
            /// Alpha of each UID, in rao.
            emissions: Vec<u64>,
        },
        /// The half-life of the registration price was set.
        #[codec(index = 124)]
        BurnHalfLifeSet {
            /// The subnet.
            netuid: u16,
            /// Blocks in which the price halves.
            burn_half_life: u16,
        },
        /// An epoch was moved, because others ran in its block.
        #[codec(index = 132)]
        EpochDeferred {
            /// The subnet.
            netuid: u16,
            /// The block at which it was due.
            from_block: u64,
            /// The block at which it will run.
            to_block: u64,
        },
        /// An epoch was skipped, because the subnet's keys are inconsistent.
        #[codec(index = 133)]
        EpochSkipped {
            /// The subnet.
            netuid: u16,
            /// The block.
            block: u64,
        },
    }
}
