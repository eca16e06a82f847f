//! What the pallet says happened, at Subtensor mainnet's positions. Clients resolve names from metadata.

use frame_support::pallet_macros::pallet_section;

/// The events of the pallet.
#[pallet_section]
mod events {
    /// What happened.
    ///
    /// All of Subtensor mainnet's events, so that each has its place. Those without a description never happen
    /// here.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A subnet was made: netuid, mechanism.
        NetworkAdded(u16, u16),
        NetworkRemoved(u16),
        /// Stake was added: coldkey, hotkey, rao, alpha, netuid, fee.
        StakeAdded(T::AccountId, T::AccountId, u64, u64, u16, u64),
        /// Stake was removed: coldkey, hotkey, rao, alpha, netuid, fee.
        StakeRemoved(T::AccountId, T::AccountId, u64, u64, u16, u64),
        StakeMoved(T::AccountId, T::AccountId, u16, T::AccountId, u16, u64),
        /// Weights were set: storage index, UID.
        WeightsSet(u16, u16),
        /// A neuron was registered: netuid, UID, hotkey.
        NeuronRegistered(u16, u16, T::AccountId),
        BulkNeuronsRegistered(u16, u16),
        BulkBalancesSet(u16, u16),
        /// The number of neurons that a subnet may have was set.
        MaxAllowedUidsSet(u16, u16),
        MaxWeightLimitSet(u16, u16),
        DifficultySet(u16, u64),
        AdjustmentIntervalSet(u16, u16),
        RegistrationPerIntervalSet(u16, u16),
        MaxRegistrationsPerBlockSet(u16, u16),
        ActivityCutoffSet(u16, u16),
        /// Rho was set.
        RhoSet(u16, u16),
        AlphaSigmoidSteepnessSet(u16, i16),
        /// Kappa was set.
        KappaSet(u16, u16),
        /// The least number of weights was set.
        MinAllowedWeightSet(u16, u16),
        ValidatorPruneLenSet(u16, u64),
        ScalingLawPowerSet(u16, u16),
        /// Blocks between two settings of weights were set.
        WeightsSetRateLimitSet(u16, u64),
        /// The immunity period was set.
        ImmunityPeriodSet(u16, u16),
        /// The moving average of bonds was set.
        BondsMovingAverageSet(u16, u64),
        /// The bonds penalty was set.
        BondsPenaltySet(u16, u16),
        BondsResetOnSet(u16, bool),
        /// The number of validators that a subnet may have was set.
        MaxAllowedValidatorsSet(u16, u16),
        /// A neuron serves: netuid, hotkey.
        AxonServed(u16, T::AccountId),
        PrometheusServed(u16, T::AccountId),
        /// A hotkey takes delegations: coldkey, hotkey, take.
        DelegateAdded(T::AccountId, T::AccountId, u16),
        DefaultTakeSet(u16),
        /// The least version of validators was set.
        WeightsVersionKeySet(u16, u64),
        MinDifficultySet(u16, u64),
        MaxDifficultySet(u16, u64),
        /// Blocks between two changes of an endpoint were set.
        ServingRateLimitSet(u16, u64),
        BurnSet(u16, u64),
        /// The most that a registration costs was set.
        MaxBurnSet(u16, u64),
        /// The least that a registration costs was set.
        MinBurnSet(u16, u64),
        /// The number of epochs in one block was set.
        #[cfg(not(feature = "spec365"))]
        MaxEpochsPerBlockSet(u8),
        TxRateLimitSet(u64),
        TxDelegateTakeRateLimitSet(u64),
        TxChildKeyTakeRateLimitSet(u64),
        /// The freeze window was set.
        AdminFreezeWindowSet(u16),
        /// Epochs between two changes by a subnet's owner were set.
        OwnerHyperparamRateLimitSet(u16),
        MinChildKeyTakeSet(u16),
        #[cfg(not(feature = "spec365"))]
        MinChildKeyTakePerSubnetSet(u16, u16),
        MaxChildKeyTakeSet(u16),
        ChildKeyTakeSet(T::AccountId, u16),
        Sudid(DispatchResult),
        /// Registration was allowed or forbidden.
        RegistrationAllowed(u16, bool),
        PowRegistrationAllowed(u16, bool),
        /// The tempo was set.
        TempoSet(u16, u16),
        RAORecycledForRegistrationSet(u16, u64),
        /// The stake that weights need was set.
        StakeThresholdSet(u64),
        AdjustmentAlphaSet(u16, u64),
        Faucet(T::AccountId, u64),
        SubnetOwnerCutSet(u16),
        /// The time between subnets was set.
        NetworkRateLimitSet(u64),
        NetworkImmunityPeriodSet(u64),
        #[cfg(not(feature = "spec365"))]
        StartCallDelaySet(u64),
        NetworkMinLockCostSet(u64),
        SubnetLimitSet(u16),
        NetworkLockCostReductionIntervalSet(u64),
        TakeDecreased(T::AccountId, T::AccountId, u16),
        TakeIncreased(T::AccountId, T::AccountId, u16),
        HotkeySwapped {
            coldkey: T::AccountId,
            old_hotkey: T::AccountId,
            new_hotkey: T::AccountId,
        },
        MaxDelegateTakeSet(u16),
        MinDelegateTakeSet(u16),
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapAnnounced {
            who: T::AccountId,
            new_coldkey_hash: H256,
        },
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapReset {
            who: T::AccountId,
        },
        #[cfg(feature = "spec365")]
        ColdkeySwapped {
            old_coldkey: T::AccountId,
            new_coldkey: T::AccountId,
            swap_cost: u64,
        },
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapped {
            old_coldkey: T::AccountId,
            new_coldkey: T::AccountId,
        },
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapDisputed {
            coldkey: T::AccountId,
        },
        AllBalanceUnstakedAndTransferredToNewColdkey {
            current_coldkey: T::AccountId,
            new_coldkey: T::AccountId,
            total_balance: u64,
        },
        #[cfg(feature = "spec365")]
        ColdkeySwapScheduled {
            old_coldkey: T::AccountId,
            new_coldkey: T::AccountId,
            execution_block: u32,
            swap_cost: u64,
        },
        ArbitrationPeriodExtended {
            coldkey: T::AccountId,
        },
        SetChildrenScheduled(T::AccountId, u16, u64, Vec<(u64, T::AccountId)>),
        SetChildren(T::AccountId, u16, Vec<(u64, T::AccountId)>),
        ChainIdentitySet(T::AccountId),
        SubnetIdentitySet(u16),
        SubnetIdentityRemoved(u16),
        DissolveNetworkScheduled {
            account: T::AccountId,
            netuid: u16,
            execution_block: BlockNumberFor<T>,
        },
        #[cfg(feature = "spec365")]
        ColdkeySwapScheduleDurationSet(u32),
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapAnnouncementDelaySet(BlockNumberFor<T>),
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapReannouncementDelaySet(BlockNumberFor<T>),
        DissolveNetworkScheduleDurationSet(BlockNumberFor<T>),
        CRV3WeightsCommitted(T::AccountId, u16, H256),
        /// Weights were committed: hotkey, storage index, hash.
        WeightsCommitted(T::AccountId, u16, H256),
        /// Weights were revealed: hotkey, storage index, hash.
        WeightsRevealed(T::AccountId, u16, H256),
        WeightsBatchRevealed(T::AccountId, u16, Vec<H256>),
        BatchWeightsCompleted(Vec<parity_scale_codec::Compact<u16>>, T::AccountId),
        BatchCompletedWithErrors(),
        #[cfg(feature = "spec365")]
        BatchWeightItemFailed(DispatchError),
        #[cfg(not(feature = "spec365"))]
        BatchWeightItemFailed(u16, DispatchError),
        StakeTransferred(T::AccountId, T::AccountId, T::AccountId, u16, u16, u64),
        StakeSwapped(T::AccountId, T::AccountId, u16, u16, u64),
        TransferToggle(u16, bool),
        SubnetOwnerHotkeySet(u16, T::AccountId),
        /// A subnet starts to emit at this block.
        FirstEmissionBlockNumberSet(u16, u64),
        AlphaRecycled(T::AccountId, T::AccountId, u64, u16),
        AlphaBurned(T::AccountId, T::AccountId, u64, u16),
        EvmKeyAssociated {
            netuid: u16,
            hotkey: T::AccountId,
            evm_key: sp_core::H160,
            block_associated: u64,
        },
        CRV3WeightsRevealed(u16, T::AccountId),
        /// The time from commit to reveal was set.
        CommitRevealPeriodsSet(u16, u64),
        /// Commit and reveal was switched.
        CommitRevealEnabled(u16, bool),
        HotkeySwappedOnSubnet {
            coldkey: T::AccountId,
            old_hotkey: T::AccountId,
            new_hotkey: T::AccountId,
            netuid: u16,
        },
        SubnetLeaseCreated {
            beneficiary: T::AccountId,
            lease_id: u32,
            netuid: u16,
            end_block: Option<BlockNumberFor<T>>,
        },
        SubnetLeaseTerminated {
            beneficiary: T::AccountId,
            netuid: u16,
        },
        SymbolUpdated {
            netuid: u16,
            symbol: Vec<u8>,
        },
        /// The version of timelocked commits was set.
        CommitRevealVersionSet(u16),
        TimelockedWeightsCommitted(T::AccountId, u16, H256, u64),
        TimelockedWeightsRevealed(u16, T::AccountId),
        AutoStakeAdded {
            netuid: u16,
            destination: T::AccountId,
            hotkey: T::AccountId,
            owner: T::AccountId,
            incentive: u64,
        },
        /// What each UID earned by incentive in an epoch.
        IncentiveAlphaEmittedToMiners {
            /// The mechanism's storage index.
            netuid: u16,
            /// Alpha of each UID, in rao.
            emissions: Vec<u64>,
        },
        MinAllowedUidsSet(u16, u16),
        AutoStakeDestinationSet {
            coldkey: T::AccountId,
            netuid: u16,
            hotkey: T::AccountId,
        },
        MinNonImmuneUidsSet(u16, u16),
        RootClaimed {
            coldkey: T::AccountId,
        },
        RootClaimTypeSet {
            coldkey: T::AccountId,
            root_claim_type: RootClaimTypeEnum,
        },
        #[cfg(not(feature = "spec365"))]
        VotingPowerTrackingEnabled {
            netuid: u16,
        },
        #[cfg(not(feature = "spec365"))]
        VotingPowerTrackingDisableScheduled {
            netuid: u16,
            disable_at_block: u64,
        },
        #[cfg(not(feature = "spec365"))]
        VotingPowerTrackingDisabled {
            netuid: u16,
        },
        #[cfg(not(feature = "spec365"))]
        VotingPowerEmaAlphaSet {
            netuid: u16,
            alpha: u64,
        },
        SubnetLeaseDividendsDistributed {
            lease_id: u32,
            contributor: T::AccountId,
            alpha: u64,
        },
        #[cfg(not(feature = "spec365"))]
        AddStakeBurn {
            netuid: u16,
            hotkey: T::AccountId,
            amount: u64,
            alpha: u64,
        },
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapCleared {
            who: T::AccountId,
        },
        #[cfg(not(feature = "spec365"))]
        TransactionFeePaidWithAlpha {
            who: T::AccountId,
            netuid: u16,
            alpha_fee: u64,
            tao_amount: u64,
        },
        /// The half-life of the registration price was set.
        #[cfg(not(feature = "spec365"))]
        BurnHalfLifeSet {
            /// The subnet.
            netuid: u16,
            /// Blocks in which the price halves.
            burn_half_life: u16,
        },
        #[cfg(not(feature = "spec365"))]
        BurnIncreaseMultSet {
            netuid: u16,
            burn_increase_mult: FixedU128,
        },
        #[cfg(not(feature = "spec365"))]
        AutoParentDelegationEnabledSet {
            hotkey: T::AccountId,
            enabled: bool,
        },
        #[cfg(not(feature = "spec365"))]
        StakeLocked {
            coldkey: T::AccountId,
            hotkey: T::AccountId,
            netuid: u16,
            amount: u64,
        },
        #[cfg(not(feature = "spec365"))]
        StakeUnlocked {
            coldkey: T::AccountId,
            hotkey: T::AccountId,
            netuid: u16,
            amount: u64,
        },
        #[cfg(not(feature = "spec365"))]
        LockMoved {
            coldkey: T::AccountId,
            origin_hotkey: T::AccountId,
            destination_hotkey: T::AccountId,
            netuid: u16,
        },
        #[cfg(not(feature = "spec365"))]
        ActivityCutoffFactorMilliSet {
            netuid: u16,
            factor_milli: u32,
        },
        #[cfg(not(feature = "spec365"))]
        EpochTriggered {
            netuid: u16,
            by: T::AccountId,
            fires_at: u64,
        },
        /// An epoch was moved, because others ran in its block.
        #[cfg(not(feature = "spec365"))]
        EpochDeferred {
            /// The subnet.
            netuid: u16,
            /// The block at which it was due.
            from_block: u64,
            /// The block at which it will run.
            to_block: u64,
        },
        /// An epoch was skipped, because the subnet's keys are inconsistent.
        #[cfg(not(feature = "spec365"))]
        EpochSkipped {
            /// The subnet.
            netuid: u16,
            /// The block.
            block: u64,
        },
        #[cfg(not(feature = "spec365"))]
        SubnetOwnerChanged {
            netuid: u16,
            old_coldkey: T::AccountId,
            new_coldkey: T::AccountId,
        },
        #[cfg(not(feature = "spec365"))]
        PerpetualLockUpdated {
            coldkey: T::AccountId,
            netuid: u16,
            enabled: bool,
        },
        #[cfg(not(feature = "spec365"))]
        RejectLockedAlphaUpdated {
            coldkey: T::AccountId,
            enabled: bool,
        },
    }
}
