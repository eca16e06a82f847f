//! Why the pallet refuses, at the real chain's positions.

use frame_support::pallet_macros::pallet_section;

/// The errors of the pallet.
#[pallet_section]
mod errors {
    /// Why a call was refused.
    ///
    /// All of the real chain's errors, because Python clients find an error's name by its place in this
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
        #[cfg(not(feature = "era-a"))]
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
        #[cfg(feature = "era-a")]
        ColdkeyIsInArbitration,
        InvalidChild,
        DuplicateChild,
        ProportionOverflow,
        TooManyChildren,
        TxRateLimitExceeded,
        #[cfg(feature = "era-a")]
        SwapAlreadyScheduled,
        #[cfg(feature = "era-a")]
        FailedToSchedule,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapAnnouncementNotFound,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapTooEarly,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapReannouncedTooEarly,
        #[cfg(not(feature = "era-a"))]
        AnnouncedColdkeyHashDoesNotMatch,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapAlreadyDisputed,
        NewColdKeyIsHotkey,
        InvalidChildkeyTake,
        TxChildkeyTakeRateLimitExceeded,
        InvalidIdentity,
        /// The mechanism does not exist.
        MechanismDoesNotExist,
        #[cfg(feature = "era-a")]
        CannotUnstakeLock,
        #[cfg(not(feature = "era-a"))]
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
        #[cfg(feature = "era-a")]
        ZeroMaxStakeAmount,
        SameNetuid,
        InsufficientBalance,
        #[cfg(feature = "era-a")]
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
        #[cfg(not(feature = "era-a"))]
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
        #[cfg(feature = "era-a")]
        PrecisionLoss,
        #[cfg(not(feature = "era-a"))]
        TooManyUIDsPerMechanism,
        #[cfg(not(feature = "era-a"))]
        VotingPowerTrackingNotEnabled,
        #[cfg(not(feature = "era-a"))]
        InvalidVotingPowerEmaAlpha,
        #[cfg(not(feature = "era-a"))]
        Deprecated,
        #[cfg(not(feature = "era-a"))]
        AddStakeBurnRateLimitExceeded,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapAnnounced,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapDisputed,
        #[cfg(not(feature = "era-a"))]
        ColdkeySwapClearTooEarly,
        #[cfg(not(feature = "era-a"))]
        DisabledTemporarily,
        /// The price is above the limit that was given.
        #[cfg(not(feature = "era-a"))]
        RegistrationPriceLimitExceeded,
        #[cfg(not(feature = "era-a"))]
        LockHotkeyMismatch,
        #[cfg(not(feature = "era-a"))]
        InsufficientStakeForLock,
        #[cfg(not(feature = "era-a"))]
        NoExistingLock,
        #[cfg(not(feature = "era-a"))]
        ActiveLockExists,
        #[cfg(not(feature = "era-a"))]
        CannotUseSystemAccount,
        #[cfg(not(feature = "era-a"))]
        UnlockAmountTooHigh,
        #[cfg(not(feature = "era-a"))]
        TempoOutOfBounds,
        #[cfg(not(feature = "era-a"))]
        ActivityCutoffFactorMilliOutOfBounds,
        #[cfg(not(feature = "era-a"))]
        EpochTriggerAlreadyPending,
        #[cfg(not(feature = "era-a"))]
        AutoEpochAlreadyImminent,
        #[cfg(not(feature = "era-a"))]
        DynamicTempoBlockedByCommitReveal,
        #[cfg(not(feature = "era-a"))]
        AccountRejectsLockedAlpha,
    }
}
