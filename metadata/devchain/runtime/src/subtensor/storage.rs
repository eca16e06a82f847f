//! What the pallet stores: hashers, keys, values and defaults are Subtensor mainnet's.

use frame_support::pallet_macros::pallet_section;

/// The storage of the pallet.
#[pallet_section]
mod storage {
    // --- Accounts ---------------------------------------------------------------------------------------

    /// The coldkey that owns a hotkey.
    #[pallet::storage]
    pub type Owner<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, T::AccountId, ValueQuery, ZeroAccount<T>>;
    /// The hotkeys that a coldkey owns.
    #[pallet::storage]
    pub type OwnedHotkeys<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, Vec<T::AccountId>, ValueQuery>;
    /// The hotkeys that a coldkey has stake on.
    #[pallet::storage]
    pub type StakingHotkeys<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, Vec<T::AccountId>, ValueQuery>;
    /// The part of its dividends that a hotkey keeps from its nominators, in 65535ths.
    #[pallet::storage]
    pub type Delegates<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, u16, ValueQuery, ConstU16<11_796>>;

    // --- Stake ------------------------------------------------------------------------------------------

    /// Root stake counts for this fraction of `u64::MAX` in a subnet.
    #[pallet::storage]
    pub type TaoWeight<T: Config> = StorageValue<_, u64, ValueQuery, ConstU64<971_718_665_099_567_868>>;
    /// All TAO staked, in rao.
    #[pallet::storage]
    pub type TotalStake<T: Config> = StorageValue<_, u64, ValueQuery>;
    /// Alpha staked on a hotkey in a subnet, in rao.
    #[pallet::storage]
    pub type TotalHotkeyAlpha<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, u16, u64, ValueQuery>;
    /// Shares issued against that alpha.
    #[pallet::storage]
    pub type TotalHotkeyShares<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, u16, FixedU128, ValueQuery>;
    /// Shares that a coldkey holds of a hotkey's alpha in a subnet.
    #[pallet::storage]
    pub type Alpha<T: Config> = StorageNMap<
        _,
        (
            NMapKey<Blake2_128Concat, T::AccountId>,
            NMapKey<Blake2_128Concat, T::AccountId>,
            NMapKey<Identity, u16>,
        ),
        FixedU128,
        ValueQuery,
    >;
    /// Dividends that a hotkey's stakers earned in the last epoch.
    #[pallet::storage]
    pub type AlphaDividendsPerSubnet<T: Config> =
        StorageDoubleMap<_, Identity, u16, Blake2_128Concat, T::AccountId, u64, ValueQuery>;
    /// Stake weight that a hotkey needs to set weights, in rao.
    #[pallet::storage]
    pub type StakeThreshold<T: Config> = StorageValue<_, u64, ValueQuery>;

    // --- Subnets ----------------------------------------------------------------------------------------

    /// Subnets that exist, root included.
    #[pallet::storage]
    pub type NetworksAdded<T: Config> = StorageMap<_, Identity, u16, bool, ValueQuery>;
    /// How many there are.
    #[pallet::storage]
    pub type TotalNetworks<T: Config> = StorageValue<_, u16, ValueQuery>;
    /// How many there may be.
    #[pallet::storage]
    pub type SubnetLimit<T: Config> = StorageValue<_, u16, ValueQuery, ConstU16<128>>;
    /// The least that a subnet costs, in rao.
    #[pallet::storage]
    pub type NetworkMinLockCost<T: Config> = StorageValue<_, u64, ValueQuery, ConstU64<1_000_000_000_000>>;
    /// What the last subnet cost, in rao.
    #[pallet::storage]
    pub type NetworkLastLockCost<T: Config> = StorageValue<_, u64, ValueQuery, ConstU64<1_000_000_000_000>>;
    /// Blocks in which the last price falls to nothing.
    #[pallet::storage]
    pub type NetworkLockReductionInterval<T: Config> = StorageValue<_, u64, ValueQuery, ConstU64<100_800>>;
    /// Blocks between two new subnets.
    #[pallet::storage]
    pub type NetworkRateLimit<T: Config> = StorageValue<_, u64, ValueQuery, ConstU64<7_200>>;
    /// The block at which something whose rate is limited last happened.
    #[pallet::storage]
    pub type LastRateLimitedBlock<T: Config> =
        StorageMap<_, Identity, RateLimitKey<T::AccountId>, u64, ValueQuery>;
    /// The block at which a subnet was made.
    #[pallet::storage]
    pub type NetworkRegisteredAt<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// The subnet owner's coldkey.
    #[pallet::storage]
    pub type SubnetOwner<T: Config> = StorageMap<_, Identity, u16, T::AccountId, ValueQuery, ZeroAccount<T>>;
    /// The subnet owner's hotkey.
    #[pallet::storage]
    pub type SubnetOwnerHotkey<T: Config> =
        StorageMap<_, Identity, u16, T::AccountId, ValueQuery, ZeroAccount<T>>;
    /// How alpha is priced: 0 one to one, 1 by a pool.
    #[pallet::storage]
    pub type SubnetMechanism<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;
    /// The sign of the subnet's alpha.
    #[pallet::storage]
    pub type TokenSymbol<T: Config> = StorageMap<_, Identity, u16, Vec<u8>, ValueQuery, DefaultSymbol>;
    /// The first block with emission; set by `start_call`.
    #[pallet::storage]
    pub type FirstEmissionBlockNumber<T: Config> = StorageMap<_, Identity, u16, u64, OptionQuery>;
    /// Whether alpha may be staked.
    #[pallet::storage]
    pub type SubtokenEnabled<T: Config> = StorageMap<_, Identity, u16, bool, ValueQuery>;
    /// TAO in the subnet's account, in rao.
    #[pallet::storage]
    pub type SubnetTAO<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Alpha in the subnet's pool.
    #[pallet::storage]
    pub type SubnetAlphaIn<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Alpha outside the pool: staked, or pending.
    #[pallet::storage]
    pub type SubnetAlphaOut<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Alpha issued to participants in each block.
    #[pallet::storage]
    pub type SubnetAlphaOutEmission<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// The subnet owner's part of emission, in 65535ths.
    #[pallet::storage]
    pub type SubnetOwnerCut<T: Config> = StorageValue<_, u16, ValueQuery, ConstU16<11_796>>;
    /// Alpha for miners since the last epoch.
    #[pallet::storage]
    pub type PendingServerEmission<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Alpha for validators and their stakers since the last epoch.
    #[pallet::storage]
    pub type PendingValidatorEmission<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Alpha for root stakers since the last epoch: nothing, on this chain.
    #[pallet::storage]
    pub type PendingRootAlphaDivs<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Alpha for the subnet's owner since the last epoch.
    #[pallet::storage]
    pub type PendingOwnerCut<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// How many mechanisms a subnet has.
    #[pallet::storage]
    pub type MechanismCountCurrent<T: Config> = StorageMap<_, Twox64Concat, u16, u8, ValueQuery, ConstU8<1>>;

    /// How a subnet's weights become pay. Runtimes after spec 425 have it, and the official SDK asks for it; here it is always Yuma.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type SubnetEpochConsensus<T: Config> = StorageMap<_, Identity, u16, EpochConsensus, ValueQuery>;
    /// The share of a registration's price that is locked rather than burned, of 65535. Likewise; here nothing is locked.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type CollateralLockShare<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;

    // --- Schedule ---------------------------------------------------------------------------------------

    /// Blocks between epochs; 0 means none.
    #[pallet::storage]
    pub type Tempo<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<360>>;
    /// The block of the last epoch.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type LastEpochBlock<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// The block to which an epoch was moved, or 0.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type PendingEpochAt<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Epochs so far.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type SubnetEpochIndex<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Blocks since the last epoch.
    #[pallet::storage]
    pub type BlocksSinceLastStep<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// The block at which consensus last ran.
    #[pallet::storage]
    pub type LastMechansimStepBlock<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Subnets that may run their epochs in one block.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type MaxEpochsPerBlock<T: Config> = StorageValue<_, u8, ValueQuery, ConstU8<2>>;
    /// Blocks before an epoch in which hyperparameters stay as they are.
    #[pallet::storage]
    pub type AdminFreezeWindow<T: Config> = StorageValue<_, u16, ValueQuery, ConstU16<10>>;
    /// Epochs between two changes of a hyperparameter by the subnet's owner.
    #[pallet::storage]
    pub type OwnerHyperparamRateLimit<T: Config> = StorageValue<_, u16, ValueQuery, ConstU16<2>>;

    // --- Registration -----------------------------------------------------------------------------------

    /// Whether a subnet takes registrations.
    #[pallet::storage]
    pub type NetworkRegistrationAllowed<T: Config> =
        StorageMap<_, Identity, u16, bool, ValueQuery, ConstBool<true>>;
    /// What a registration costs, in rao.
    #[pallet::storage]
    pub type Burn<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<100_000_000>>;
    /// The least that it costs.
    #[pallet::storage]
    pub type MinBurn<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<500_000>>;
    /// The most that it costs.
    #[pallet::storage]
    pub type MaxBurn<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<100_000_000_000>>;
    /// Blocks in which the price halves.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type BurnHalfLife<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<360>>;
    /// The factor by which a registration raises the price.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type BurnIncreaseMult<T: Config> =
        StorageMap<_, Identity, u16, FixedU128, ValueQuery, DefaultBurnIncrease>;
    /// Registrations in this block.
    #[pallet::storage]
    pub type RegistrationsThisBlock<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;
    /// Registrations of root in this interval.
    #[pallet::storage]
    pub type RegistrationsThisInterval<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;
    /// Registrations of root that an interval is meant for.
    #[pallet::storage]
    pub type TargetRegistrationsPerInterval<T: Config> =
        StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<2>>;
    /// Registrations of root that a block may have.
    #[pallet::storage]
    pub type MaxRegistrationsPerBlock<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<1>>;
    /// Blocks of such an interval.
    #[pallet::storage]
    pub type AdjustmentInterval<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<100>>;
    /// The block at which the interval began.
    #[pallet::storage]
    pub type LastAdjustmentBlock<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// What registrations paid so far, in rao.
    #[pallet::storage]
    pub type RAORecycledForRegistration<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// How many neurons a subnet may have.
    #[pallet::storage]
    pub type MaxAllowedUids<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, MaxUids>;
    /// Registrations of this interval that were paid for; root has none.
    #[pallet::storage]
    pub type BurnRegistrationsThisInterval<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;
    /// Registrations of this interval that were worked for.
    #[pallet::storage]
    pub type POWRegistrationsThisInterval<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;
    /// The part of a price that an adjustment keeps, of `u64::MAX`.
    #[pallet::storage]
    pub type AdjustmentAlpha<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// Whether a subnet takes registrations for work.
    #[pallet::storage]
    pub type NetworkPowRegistrationAllowed<T: Config> =
        StorageMap<_, Identity, u16, bool, ValueQuery, ConstBool<true>>;
    /// How hard work is: its seal times this stays below 2^256.
    #[pallet::storage]
    pub type Difficulty<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<10_000_000>>;
    /// The least that it is.
    #[pallet::storage]
    pub type MinDifficulty<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<10_000_000>>;
    /// The most that it is.
    #[pallet::storage]
    pub type MaxDifficulty<T: Config> =
        StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<{ u64::MAX / 4 }>>;
    /// Work that was used, and the block at which it was.
    #[pallet::storage]
    pub type UsedWork<T: Config> = StorageMap<_, Identity, Vec<u8>, u64, ValueQuery>;
    /// How low the limit of neurons may be set.
    #[pallet::storage]
    pub type MinAllowedUids<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<64>>;
    /// Blocks for which a new neuron is safe from replacement.
    #[pallet::storage]
    pub type ImmunityPeriod<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<4_096>>;
    /// How many of its own neurons an owner keeps safe.
    #[pallet::storage]
    pub type ImmuneOwnerUidsLimit<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<1>>;
    /// Neurons without immunity that replacement leaves over.
    #[pallet::storage]
    pub type MinNonImmuneUids<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<10>>;

    // --- Neurons ----------------------------------------------------------------------------------------

    /// How many neurons a subnet has.
    #[pallet::storage]
    pub type SubnetworkN<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery>;
    /// The hotkey at a UID.
    #[pallet::storage]
    pub type Keys<T: Config> =
        StorageDoubleMap<_, Identity, u16, Identity, u16, T::AccountId, ValueQuery, ZeroAccount<T>>;
    /// The UID of a hotkey.
    #[pallet::storage]
    pub type Uids<T: Config> =
        StorageDoubleMap<_, Identity, u16, Blake2_128Concat, T::AccountId, u16, OptionQuery>;
    /// Whether a hotkey is registered in a subnet.
    #[pallet::storage]
    pub type IsNetworkMember<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, u16, bool, ValueQuery>;
    /// The block at which a UID's hotkey was registered.
    #[pallet::storage]
    pub type BlockAtRegistration<T: Config> =
        StorageDoubleMap<_, Identity, u16, Identity, u16, u64, ValueQuery>;
    /// Whether each UID set weights of late.
    #[pallet::storage]
    pub type Active<T: Config> = StorageMap<_, Identity, u16, Vec<bool>, ValueQuery>;
    /// Each UID's consensus, in 65535ths.
    #[pallet::storage]
    pub type Consensus<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// Each UID's part of what miners get, by storage index.
    #[pallet::storage]
    pub type Incentive<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// Each UID's part of what validators get.
    #[pallet::storage]
    pub type Dividends<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// How much of each UID's weights consensus took.
    #[pallet::storage]
    pub type ValidatorTrust<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// Each UID's part of all stake weight.
    #[pallet::storage]
    pub type StakeWeight<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// Each UID's alpha of the last epoch, in rao.
    #[pallet::storage]
    pub type Emission<T: Config> = StorageMap<_, Identity, u16, Vec<u64>, ValueQuery>;
    /// The block at which each UID last set weights, by storage index.
    #[pallet::storage]
    pub type LastUpdate<T: Config> = StorageMap<_, Identity, u16, Vec<u64>, ValueQuery>;
    /// Whether each UID may set weights on others.
    #[pallet::storage]
    pub type ValidatorPermit<T: Config> = StorageMap<_, Identity, u16, Vec<bool>, ValueQuery>;
    /// Each UID's part of what validators say, before it was shared out.
    #[cfg(feature = "spec365")]
    #[pallet::storage]
    pub type Rank<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// How much of what was said of each UID consensus took.
    #[cfg(feature = "spec365")]
    #[pallet::storage]
    pub type Trust<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// The scores by which neurons are replaced.
    #[cfg(feature = "spec365")]
    #[pallet::storage]
    pub type PruningScores<T: Config> = StorageMap<_, Identity, u16, Vec<u16>, ValueQuery>;
    /// A validator's weights as (UID, weight), by storage index.
    #[pallet::storage]
    pub type Weights<T: Config> =
        StorageDoubleMap<_, Identity, u16, Identity, u16, Vec<(u16, u16)>, ValueQuery>;
    /// A validator's bonds as (UID, bond), by storage index.
    #[pallet::storage]
    pub type Bonds<T: Config> =
        StorageDoubleMap<_, Identity, u16, Identity, u16, Vec<(u16, u16)>, ValueQuery>;
    /// A neuron's endpoint.
    #[pallet::storage]
    pub type Axons<T: Config> =
        StorageDoubleMap<_, Identity, u16, Blake2_128Concat, T::AccountId, AxonInfo, OptionQuery>;

    /// Where a neuron can be watched.
    #[pallet::storage]
    pub type Prometheus<T: Config> =
        StorageDoubleMap<_, Identity, u16, Blake2_128Concat, T::AccountId, PrometheusInfo, OptionQuery>;
    /// What a coldkey says of itself.
    #[pallet::storage]
    pub type IdentitiesV2<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, ChainIdentityV2, OptionQuery>;
    /// What a subnet's owner says of it.
    #[pallet::storage]
    pub type SubnetIdentitiesV3<T: Config> =
        StorageMap<_, Blake2_128Concat, u16, SubnetIdentityV3, OptionQuery>;
    /// A hotkey's children in a subnet as (proportion of `u64::MAX`, child): none, on this chain.
    #[pallet::storage]
    pub type ChildKeys<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        T::AccountId,
        Identity,
        u16,
        Vec<(u64, T::AccountId)>,
        ValueQuery,
    >;
    /// A hotkey's parents in a subnet.
    #[pallet::storage]
    pub type ParentKeys<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        T::AccountId,
        Identity,
        u16,
        Vec<(u64, T::AccountId)>,
        ValueQuery,
    >;

    // --- Weights and consensus --------------------------------------------------------------------------

    /// The least number of weights to set.
    #[pallet::storage]
    pub type MinAllowedWeights<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<1_024>>;
    /// The largest weight; no longer looked at.
    #[pallet::storage]
    pub type MaxWeightsLimit<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<65_535>>;
    /// Blocks between two settings of weights.
    #[pallet::storage]
    pub type WeightsSetRateLimit<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<100>>;
    /// The least version of a validator's software; 0 takes any.
    #[pallet::storage]
    pub type WeightsVersionKey<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery>;
    /// How many validators a subnet may have.
    #[pallet::storage]
    pub type MaxAllowedValidators<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<128>>;
    /// Blocks without weights after which a validator is inactive; no longer looked at.
    #[pallet::storage]
    pub type ActivityCutoff<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<5_000>>;
    /// That number as thousandths of a tempo.
    #[cfg(not(feature = "spec365"))]
    #[pallet::storage]
    pub type ActivityCutoffFactorMilli<T: Config> =
        StorageMap<_, Identity, u16, u32, ValueQuery, ConstU32<13_889>>;
    /// Blocks between two changes of an endpoint.
    #[pallet::storage]
    pub type ServingRateLimit<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<50>>;
    /// Consensus is what this part of the stake supports, in 65535ths.
    #[pallet::storage]
    pub type Kappa<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<32_767>>;
    /// The steepness of trust; no longer looked at.
    #[pallet::storage]
    pub type Rho<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<10>>;
    /// How much bonds keep of their past, in millionths.
    #[pallet::storage]
    pub type BondsMovingAverage<T: Config> = StorageMap<_, Identity, u16, u64, ValueQuery, ConstU64<900_000>>;
    /// How far bonds follow clipped weights, in 65535ths.
    #[pallet::storage]
    pub type BondsPenalty<T: Config> = StorageMap<_, Identity, u16, u16, ValueQuery, ConstU16<65_535>>;
    /// Whether the moving average of bonds depends on consensus.
    #[pallet::storage]
    pub type LiquidAlphaOn<T: Config> = StorageMap<_, Blake2_128Concat, u16, bool, ValueQuery>;
    /// Whether bonds follow the third version of Yuma consensus.
    #[pallet::storage]
    pub type Yuma3On<T: Config> = StorageMap<_, Blake2_128Concat, u16, bool, ValueQuery>;
    /// The least and the largest liquid alpha, in 65535ths.
    #[pallet::storage]
    pub type AlphaValues<T: Config> =
        StorageMap<_, Identity, u16, (u16, u16), ValueQuery, DefaultAlphaValues>;
    /// The steepness between them, in hundredths.
    #[pallet::storage]
    pub type AlphaSigmoidSteepness<T: Config> =
        StorageMap<_, Identity, u16, i16, ValueQuery, ConstI16<1_000>>;

    // --- Commit and reveal ------------------------------------------------------------------------------

    /// Whether weights are committed before they are shown.
    #[pallet::storage]
    pub type CommitRevealWeightsEnabled<T: Config> =
        StorageMap<_, Identity, u16, bool, ValueQuery, ConstBool<true>>;
    /// Epochs between a commit and its reveal.
    #[pallet::storage]
    pub type RevealPeriodEpochs<T: Config> = StorageMap<_, Twox64Concat, u16, u64, ValueQuery, ConstU64<1>>;
    /// The version of timelocked commits.
    #[pallet::storage]
    pub type CommitRevealWeightsVersion<T: Config> = StorageValue<_, u16, ValueQuery, ConstU16<4>>;
    /// Salted commits as (hash, epoch, block, 0), by storage index. Before spec 425: hash, block, and the
    /// first and last block of the reveal.
    #[pallet::storage]
    pub type WeightCommits<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        u16,
        Twox64Concat,
        T::AccountId,
        VecDeque<(H256, u64, u64, u64)>,
        OptionQuery,
    >;
    /// Timelocked commits as (hotkey, block, ciphertext, round), by storage index and epoch.
    #[pallet::storage]
    pub type TimelockedWeightCommits<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        u16,
        Twox64Concat,
        u64,
        VecDeque<(T::AccountId, u64, BoundedVec<u8, ConstU32<5_000>>, u64)>,
        ValueQuery,
    >;
}
