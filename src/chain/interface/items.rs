//! The registry of names: everything that this program asks of a chain. What is not in it is not asked for, nor signed, nor
//! understood ([`lists`]).

use super::Kind;

/// Names by pallet, or by the trait of a runtime's functions.
pub(super) type List = &'static [(Kind, &'static str, &'static [&'static str])];

use Kind::{Api, Call, Constant, Error, Event, Storage};

/// What the networks of today have.
pub(super) const NEEDED: List = &[
    (
        Call,
        "SubtensorModule",
        &[
            "set_weights",
            "burned_register",
            "add_stake",
            "remove_stake",
            "register_network",
            "start_call",
            "serve_axon",
        ],
    ),
    (Call, "Commitments", &["set_commitment"]),
    (Call, "Balances", &["transfer_keep_alive", "transfer_all"]),
    (Call, "Sudo", &["sudo"]),
    (
        Call,
        "AdminUtils",
        &[
            "sudo_set_admin_freeze_window",
            "sudo_set_tempo",
            "sudo_set_weights_set_rate_limit",
            "sudo_set_weights_version_key",
            "sudo_set_commit_reveal_weights_enabled",
            "sudo_set_immunity_period",
            "sudo_set_min_allowed_weights",
            "sudo_set_max_allowed_uids",
            "sudo_set_max_allowed_validators",
            "sudo_set_stake_threshold",
            "sudo_set_network_registration_allowed",
            "sudo_set_min_burn",
            "sudo_set_max_burn",
            "sudo_set_subtoken_enabled",
            "sudo_set_commit_reveal_version",
            "sudo_set_commit_reveal_weights_interval",
            "sudo_set_difficulty",
            "sudo_set_max_registrations_per_block",
            "sudo_set_target_registrations_per_interval",
            "sudo_set_mechanism_count",
        ],
    ),
    (Storage, "System", &["Account", "Events", "ParentHash"]),
    (Storage, "Timestamp", &["Now"]),
    (Storage, "Commitments", &["CommitmentOf"]),
    (
        Storage,
        "SubtensorModule",
        &[
            "NetworksAdded",
            "SubnetworkN",
            "Keys",
            "Uids",
            "Owner",
            "Tempo",
            "TaoWeight",
            "Active",
            "ValidatorPermit",
            "Consensus",
            "Incentive",
            "Dividends",
            "ValidatorTrust",
            "Emission",
            "LastUpdate",
            "BlockAtRegistration",
            "TotalHotkeyAlpha",
            "Weights",
            "WeightsSetRateLimit",
            "WeightsVersionKey",
            "CommitRevealWeightsEnabled",
            "MinAllowedWeights",
            "MaxAllowedUids",
            "MaxAllowedValidators",
            "ImmunityPeriod",
            "NetworkRegistrationAllowed",
            "Burn",
            "StakeThreshold",
            "SubtokenEnabled",
            "SubnetOwner",
        ],
    ),
    (Event, "System", &["ExtrinsicSuccess", "ExtrinsicFailed"]),
    (Event, "Sudo", &["Sudid"]),
    (Event, "SubtensorModule", &["WeightsSet", "NeuronRegistered", "NetworkAdded"]),
    (
        Error,
        "SubtensorModule",
        &[
            "SettingWeightsTooFast",
            "NotEnoughStakeToSetWeights",
            "NeuronNoValidatorPermit",
            "HotKeyNotRegisteredInSubNet",
            "HotKeyNotRegisteredInNetwork",
            "HotKeyAlreadyRegisteredInSubNet",
            "NonAssociatedColdKey",
            "SubnetNotExists",
            "MechanismDoesNotExist",
            "SubNetRegistrationDisabled",
            "NoNeuronIdAvailable",
            "NotEnoughBalanceToStake",
            "AmountTooLow",
            "SubtokenDisabled",
            "HotKeyAccountNotExists",
            "CommitRevealEnabled",
            "IncorrectWeightVersionKey",
            "AdminActionProhibitedDuringWeightsWindow",
        ],
    ),
    (Error, "Commitments", &["AccountNotAllowedCommit", "SpaceLimitExceeded"]),
    (Error, "Balances", &["InsufficientBalance"]),
    (Error, "Sudo", &["RequireSudo"]),
    (Error, "AdminUtils", &["SubnetDoesNotExist"]),
];

/// What a runtime need not have, and what is not possible or not known without it.
pub(super) const OPTIONAL: &[(Kind, &str, &[&str], &str)] = &[
    (Call, "SubtensorModule", &["set_mechanism_weights"], "weights for a mechanism other than the first"),
    (Call, "SubtensorModule", &["commit_weights", "reveal_weights"], "salted weight commits"),
    (
        Call,
        "SubtensorModule",
        &["commit_mechanism_weights", "reveal_mechanism_weights"],
        "salted weight commits for a mechanism other than the first",
    ),
    (Call, "SubtensorModule", &["commit_timelocked_weights"], "timelocked weight commits"),
    (
        Call,
        "SubtensorModule",
        &["commit_timelocked_mechanism_weights"],
        "timelocked weight commits for a mechanism other than the first",
    ),
    (Call, "SubtensorModule", &["register"], "registration by proof of work (older runtimes)"),
    (Call, "SubtensorModule", &["pow_register"], "registration by proof of work (newer runtimes)"),
    (Call, "SubtensorModule", &["register_limit"], "a price limit that the chain itself keeps"),
    (
        Call,
        "SubtensorModule",
        &["add_stake_limit", "remove_stake_limit"],
        "a limit on the price of stake that the chain itself keeps",
    ),
    (Call, "SubtensorModule", &["faucet"], "free TAO of a development chain"),
    (Call, "System", &["set_code"], "upgrades of a development chain"),
    (Call, "Proxy", &["proxy"], "weights that a proxy signs for a hotkey"),
    (Storage, "Proxy", &["Proxies"], "weights that a proxy signs for a hotkey"),
    (Event, "Proxy", &["ProxyExecuted"], "weights that a proxy signs for a hotkey"),
    (Storage, "System", &["LastRuntimeUpgrade"], "the block of a runtime upgrade, exactly"),
    (
        Storage,
        "SubtensorModule",
        &["CommitRevealWeightsVersion"],
        "which kind of weight commit the runtime takes",
    ),
    (Storage, "SubtensorModule", &["RevealPeriodEpochs"], "when weight commits are revealed"),
    (
        Storage,
        "SubtensorModule",
        &["LastEpochBlock", "PendingEpochAt", "SubnetEpochIndex", "BlocksSinceLastStep"],
        "the newer schedule of epochs",
    ),
    (Storage, "SubtensorModule", &["Difficulty"], "registration by proof of work"),
    (Storage, "SubtensorModule", &["SubnetOwnerHotkey"], "whether the subnet's owner sets weights"),
    (Storage, "SubtensorModule", &["MechanismCountCurrent"], "mechanisms other than the first"),
    (
        Storage,
        "SubtensorModule",
        &["ChildKeys", "ParentKeys"],
        "stake that is passed on, where a threshold asks for it",
    ),
    (Storage, "SubtensorModule", &["WeightCommits"], "salted weight commits that wait"),
    (
        Storage,
        "SubtensorModule",
        &["TimelockedWeightCommits", "CRV3WeightCommitsV2"],
        "timelocked weight commits that wait",
    ),
    (Storage, "SubtensorModule", &["WeightsMinStake", "TotalHotkeyStake"], "older runtimes"),
    (
        Storage,
        "SubtensorModule",
        &["TokenSymbol", "SubnetIdentitiesV3", "SubnetMovingPrice"],
        "names and prices in the list of subnets",
    ),
    (
        Storage,
        "SubtensorModule",
        &[
            "NetworkRegisteredAt",
            "LastMechansimStepBlock",
            "MaxWeightsLimit",
            "ActivityCutoff",
            "ActivityCutoffFactorMilli",
            "ServingRateLimit",
            "SubnetTAO",
            "SubnetAlphaIn",
            "SubnetAlphaOut",
            "NetworkPowRegistrationAllowed",
            "Rank",
            "Trust",
            "PruningScores",
            "Axons",
            "Bonds",
        ],
        "details of the metagraph",
    ),
    (Storage, "Drand", &["LastStoredRound", "BeaconConfig"], "timelocked weight commits"),
    (Storage, "Drand", &["Pulses"], "the rows of several commits that were opened in one block"),
    (
        Event,
        "SubtensorModule",
        &[
            "WeightsCommitted",
            "WeightsRevealed",
            "WeightsBatchRevealed",
            "TimelockedWeightsCommitted",
            "TimelockedWeightsRevealed",
            "CRV3WeightsCommitted",
            "CRV3WeightsRevealed",
        ],
        "commits and reveals in the history of weights",
    ),
    (Api, "SubnetInfoRuntimeApi", &["get_metagraph", "get_mechagraph"], "the metagraph in one request"),
    (
        Api,
        "SubnetInfoRuntimeApi",
        &["get_subnet_hyperparams_v3", "get_subnet_hyperparams_v2", "get_subnet_hyperparams"],
        "the list of a subnet's settings",
    ),
    (Api, "StakeInfoRuntimeApi", &["get_stake_info_for_coldkey"], "what a coldkey has staked"),
    (
        Api,
        "SwapRuntimeApi",
        &["current_alpha_price", "sim_swap_tao_for_alpha", "sim_swap_alpha_for_tao"],
        "the price of alpha",
    ),
    (Api, "SubnetRegistrationRuntimeApi", &["get_network_registration_cost"], "the price of a new subnet"),
    (Api, "TransactionPaymentApi", &["query_info"], "the fee before anything is signed"),
    (
        Api,
        "AccountNonceApi",
        &["account_nonce"],
        "certainty, before its time is over, that a transaction will not come",
    ),
    (Constant, "Aura", &["SlotDuration"], "the time of a block, exactly"),
    (Constant, "Balances", &["ExistentialDeposit"], "what an account must keep"),
];

/// What stands in where an older runtime lacks something: the item, since which change it is there, and what is read or
/// taken instead. `docs/chain-interface.md` has the same.
pub const SUBSTITUTES: &[(&str, Change, &str)] = &[
    (
        "storage SubtensorModule.TaoWeight",
        Change::Differs(218),
        "that of the subnet; 0 where there is none at all",
    ),
    ("storage SubtensorModule.StakeThreshold", Change::After(218), "WeightsMinStake, by which name it was"),
    ("storage SubtensorModule.SubtokenEnabled", Change::After(218), "true: there was nothing to be started"),
    ("storage SubtensorModule.MechanismCountCurrent", Change::After(218), "1"),
    ("storage SubtensorModule.CommitRevealWeightsVersion", Change::After(218), "salted commits"),
    ("storage SubtensorModule.TimelockedWeightCommits", Change::After(218), "no such commits"),
    ("storage SubtensorModule.SubnetMovingPrice", Change::After(218), "no price is shown"),
    (
        "storage SubtensorModule.LastEpochBlock",
        Change::After(365),
        "epochs follow from the block and the tempo alone",
    ),
    ("storage SubtensorModule.ActivityCutoffFactorMilli", Change::After(365), "ActivityCutoff, in blocks"),
    ("storage SubtensorModule.Rank", Change::Gone(365), "0"),
    ("storage SubtensorModule.Trust", Change::Gone(365), "0"),
    ("storage SubtensorModule.PruningScores", Change::Gone(365), "65535"),
    ("api SubnetInfoRuntimeApi.get_metagraph", Change::After(218), "storage, entry by entry"),
    (
        "api StakeInfoRuntimeApi.get_stake_info_for_coldkey",
        Change::After(218),
        "nothing: stakes are not shown",
    ),
    ("api SwapRuntimeApi.current_alpha_price", Change::After(218), "no price is shown"),
];

/// Between which specifications an item changed, of those whose metadata was looked at: 218, 365 and 425.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is not there in this one, and is in the next.
    After(u32),
    /// It is there in this one, and no longer in the next.
    Gone(u32),
    /// It has another shape in this one.
    Differs(u32),
}

/// Whether an item is in the registry.
pub(super) fn lists(kind: Kind, pallet: &str, name: &str) -> bool {
    let is =
        |(of, whose, names): &(Kind, &str, &[&str])| *of == kind && *whose == pallet && names.contains(&name);
    NEEDED.iter().any(is) || OPTIONAL.iter().any(|(of, whose, names, _)| is(&(*of, whose, names)))
}
