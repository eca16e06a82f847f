//! Why the pallet refuses, at Subtensor mainnet's positions.

use frame_support::pallet_macros::pallet_section;

/// The errors of the pallet.
#[pallet_section]
mod errors {
    /// Why a call was refused.
    ///
    /// All of Subtensor mainnet's errors, because Python clients find an error's name by its place in this
    /// list. Those without a description are never given here.
    #[pallet::error]
    pub enum Error<T> {
        /// The root network does not exist.
        RootNetworkDoesNotExist,
        /// The kind of IP address is neither 4 nor 6.
        InvalidIpType,
        /// The IP address cannot be reached by others.
        InvalidIpAddress,
        /// The port is 0.
        InvalidPort,
        /// The hotkey is not registered in this subnet.
        HotKeyNotRegisteredInSubNet,
        /// The hotkey has no owner.
        HotKeyAccountNotExists,
        /// The hotkey is not registered in this network.
        HotKeyNotRegisteredInNetwork,
        /// Another coldkey owns the hotkey.
        NonAssociatedColdKey,
        NotEnoughStake,
        /// There is less stake than that.
        NotEnoughStakeToWithdraw,
        /// The hotkey's stake weight is below the threshold for weights.
        NotEnoughStakeToSetWeights,
        NotEnoughStakeToSetChildkeys,
        /// The coldkey's balance is too small.
        NotEnoughBalanceToStake,
        BalanceWithdrawalError,
        ZeroBalanceAfterWithdrawn,
        /// The neuron has no validator permit.
        NeuronNoValidatorPermit,
        /// There are more UIDs than weights, or fewer.
        WeightVecNotEqualSize,
        /// A UID occurs twice.
        DuplicateUids,
        /// A UID does not exist.
        UidVecContainInvalidOne,
        /// There are fewer weights than the subnet wants.
        WeightVecLengthIsLow,
        /// The block's registrations are used up.
        TooManyRegistrationsThisBlock,
        /// The hotkey is registered in this subnet.
        HotKeyAlreadyRegisteredInSubNet,
        NewHotKeyIsSameWithOld,
        #[cfg(not(feature = "spec365"))]
        NewHotKeyNotCleanForRootSwap,
        InvalidWorkBlock,
        InvalidDifficulty,
        InvalidSeal,
        /// A weight is above the limit.
        MaxWeightExceeded,
        HotKeyAlreadyDelegate,
        /// The last setting of weights is too recent.
        SettingWeightsTooFast,
        /// The validator's software is too old for this subnet.
        IncorrectWeightVersionKey,
        /// The endpoint's last change is too recent.
        ServingRateLimitExceeded,
        /// There are more UIDs than the subnet has.
        UidsLengthExceedUidsInSubNet,
        /// The last new subnet is too recent.
        NetworkTxRateLimitExceeded,
        DelegateTxRateLimitExceeded,
        HotKeySetTxRateLimitExceeded,
        StakingRateLimitExceeded,
        /// The subnet takes no registrations.
        SubNetRegistrationDisabled,
        /// The interval's registrations are used up.
        TooManyRegistrationsThisInterval,
        TransactorAccountShouldBeHotKey,
        FaucetDisabled,
        /// Only the subnet's owner may do this.
        NotSubnetOwner,
        /// Root takes no such registration.
        RegistrationNotPermittedOnRootSubnet,
        /// The stake on root is too small for a place there.
        StakeTooLowForRoot,
        AllNetworksInImmunity,
        NotEnoughBalanceToPaySwapHotKey,
        NotRootSubnet,
        /// Root takes no weights.
        CanNotSetRootNetworkWeights,
        /// The subnet is full and nobody can be replaced.
        NoNeuronIdAvailable,
        DelegateTakeTooLow,
        DelegateTakeTooHigh,
        /// There is nothing committed.
        NoWeightsCommitFound,
        /// What is revealed was not committed.
        InvalidRevealCommitHashNotMatch,
        /// The subnet's weights must be committed first.
        CommitRevealEnabled,
        /// The subnet's weights are set without a commit.
        CommitRevealDisabled,
        LiquidAlphaDisabled,
        AlphaHighTooLow,
        AlphaLowOutOfRange,
        ColdKeyAlreadyAssociated,
        NotEnoughBalanceToPaySwapColdKey,
        #[cfg(feature = "spec365")]
        ColdkeyIsInArbitration,
        InvalidChild,
        DuplicateChild,
        ProportionOverflow,
        TooManyChildren,
        TxRateLimitExceeded,
        #[cfg(feature = "spec365")]
        SwapAlreadyScheduled,
        #[cfg(feature = "spec365")]
        FailedToSchedule,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapAnnouncementNotFound,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapTooEarly,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapReannouncedTooEarly,
        #[cfg(not(feature = "spec365"))]
        AnnouncedColdkeyHashDoesNotMatch,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapAlreadyDisputed,
        NewColdKeyIsHotkey,
        InvalidChildkeyTake,
        TxChildkeyTakeRateLimitExceeded,
        InvalidIdentity,
        /// The mechanism does not exist.
        MechanismDoesNotExist,
        #[cfg(feature = "spec365")]
        CannotUnstakeLock,
        #[cfg(not(feature = "spec365"))]
        StakeUnavailable,
        /// The subnet does not exist.
        SubnetNotExists,
        /// Too many commits wait for their reveal.
        TooManyUnrevealedCommits,
        /// The commit's time to be revealed is over.
        ExpiredWeightCommit,
        /// The commit's time to be revealed has not come.
        RevealTooEarly,
        /// Lists that belong together differ in length.
        InputLengthsUnequal,
        /// The last commit is too recent.
        CommittingWeightsTooFast,
        /// The amount is below the minimum.
        AmountTooLow,
        /// The subnet's account holds too little.
        InsufficientLiquidity,
        SlippageTooHigh,
        TransferDisallowed,
        ActivityCutoffTooLow,
        CallDisabled,
        /// The subnet has started.
        FirstEmissionBlockNumberAlreadySet,
        NeedWaitingMoreBlocksToStarCall,
        NotEnoughAlphaOutToRecycle,
        CannotBurnOrRecycleOnRootSubnet,
        UnableToRecoverPublicKey,
        InvalidRecoveredPublicKey,
        /// The subnet has not started.
        SubtokenDisabled,
        HotKeySwapOnSubnetIntervalNotPassed,
        #[cfg(feature = "spec365")]
        ZeroMaxStakeAmount,
        SameNetuid,
        InsufficientBalance,
        #[cfg(feature = "spec365")]
        StakingOperationRateLimitExceeded,
        InvalidLeaseBeneficiary,
        LeaseCannotEndInThePast,
        LeaseNetuidNotFound,
        LeaseDoesNotExist,
        LeaseHasNoEndBlock,
        LeaseHasNotEnded,
        Overflow,
        BeneficiaryDoesNotOwnHotkey,
        ExpectedBeneficiaryOrigin,
        /// The subnet's next epoch is too near for a change.
        AdminActionProhibitedDuringWeightsWindow,
        SymbolDoesNotExist,
        SymbolAlreadyInUse,
        IncorrectCommitRevealVersion,
        #[cfg(not(feature = "spec365"))]
        InvalidRevealRound,
        /// The period is longer than 100 epochs.
        RevealPeriodTooLarge,
        /// The period is shorter than an epoch.
        RevealPeriodTooSmall,
        InvalidValue,
        /// There are as many subnets as there may be.
        SubnetLimitReached,
        /// The coldkey cannot pay for a subnet.
        CannotAffordLockCost,
        EvmKeyAssociateRateLimitExceeded,
        SameAutoStakeHotkeyAlreadySet,
        UidMapCouldNotBeCleared,
        TrimmingWouldExceedMaxImmunePercentage,
        ChildParentInconsistency,
        InvalidNumRootClaim,
        InvalidRootClaimThreshold,
        InvalidSubnetNumber,
        #[cfg(feature = "spec365")]
        PrecisionLoss,
        #[cfg(not(feature = "spec365"))]
        TooManyUIDsPerMechanism,
        #[cfg(not(feature = "spec365"))]
        VotingPowerTrackingNotEnabled,
        #[cfg(not(feature = "spec365"))]
        InvalidVotingPowerEmaAlpha,
        #[cfg(not(feature = "spec365"))]
        Deprecated,
        #[cfg(not(feature = "spec365"))]
        AddStakeBurnRateLimitExceeded,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapAnnounced,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapDisputed,
        #[cfg(not(feature = "spec365"))]
        ColdkeySwapClearTooEarly,
        #[cfg(not(feature = "spec365"))]
        DisabledTemporarily,
        /// The price is above the limit that was given.
        #[cfg(not(feature = "spec365"))]
        RegistrationPriceLimitExceeded,
        #[cfg(not(feature = "spec365"))]
        LockHotkeyMismatch,
        #[cfg(not(feature = "spec365"))]
        InsufficientStakeForLock,
        #[cfg(not(feature = "spec365"))]
        NoExistingLock,
        #[cfg(not(feature = "spec365"))]
        ActiveLockExists,
        #[cfg(not(feature = "spec365"))]
        CannotUseSystemAccount,
        #[cfg(not(feature = "spec365"))]
        UnlockAmountTooHigh,
        #[cfg(not(feature = "spec365"))]
        TempoOutOfBounds,
        #[cfg(not(feature = "spec365"))]
        ActivityCutoffFactorMilliOutOfBounds,
        #[cfg(not(feature = "spec365"))]
        EpochTriggerAlreadyPending,
        #[cfg(not(feature = "spec365"))]
        AutoEpochAlreadyImminent,
        #[cfg(not(feature = "spec365"))]
        DynamicTempoBlockedByCommitReveal,
        #[cfg(not(feature = "spec365"))]
        AccountRejectsLockedAlpha,
    }
}
