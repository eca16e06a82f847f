//! What this program asks of a chain: the lists that `templar chain check` goes through.

/// Names by pallet.
pub(super) type List = &'static [(&'static str, &'static [&'static str])];

/// Calls that are sent.
pub(super) const CALLS: List = &[
    ("SubtensorModule", &["set_weights", "burned_register", "add_stake", "register_network", "start_call"]),
    ("Commitments", &["set_commitment"]),
    ("Balances", &["transfer_keep_alive"]),
    ("Sudo", &["sudo"]),
    (
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
        ],
    ),
];

/// Storage that is read.
pub(super) const STORAGE: List = &[
    ("System", &["Account", "Events"]),
    ("Timestamp", &["Now"]),
    ("Commitments", &["CommitmentOf"]),
    (
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
];

/// Events that are understood.
pub(super) const EVENTS: List = &[
    ("System", &["ExtrinsicSuccess", "ExtrinsicFailed"]),
    ("Sudo", &["Sudid"]),
    ("SubtensorModule", &["WeightsSet", "NeuronRegistered", "NetworkAdded"]),
];

/// Errors that have a hint of their own.
pub(super) const ERRORS: List = &[
    (
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
    ("Commitments", &["AccountNotAllowedCommit", "SpaceLimitExceeded"]),
    ("Balances", &["InsufficientBalance"]),
    ("Sudo", &["RequireSudo"]),
    ("AdminUtils", &["SubnetDoesNotExist"]),
];

/// Calls that are sent where the runtime has them, and what is not possible where it does not.
pub(super) const OPTIONAL_CALLS: &[(&str, &str, &str, &str)] = &[
    (
        "SubtensorModule",
        "set_mechanism_weights",
        "(netuid: u16, mecid: u8, dests: [u16], weights: [u16], version_key: u64)",
        "weights for a mechanism other than the first",
    ),
    ("SubtensorModule", "commit_weights", "(netuid: u16, commit_hash: [u8; 32])", "salted weight commits"),
    (
        "SubtensorModule",
        "reveal_weights",
        "(netuid: u16, uids: [u16], values: [u16], salt: [u16], version_key: u64)",
        "salted weight commits",
    ),
    (
        "SubtensorModule",
        "commit_mechanism_weights",
        "(netuid: u16, mecid: u8, commit_hash: [u8; 32])",
        "salted weight commits for a mechanism other than the first",
    ),
    (
        "SubtensorModule",
        "reveal_mechanism_weights",
        "(netuid: u16, mecid: u8, uids: [u16], values: [u16], salt: [u16], version_key: u64)",
        "salted weight commits for a mechanism other than the first",
    ),
    (
        "SubtensorModule",
        "commit_timelocked_weights",
        "(netuid: u16, commit: [u8], reveal_round: u64, commit_reveal_version: u16)",
        "timelocked weight commits",
    ),
    (
        "SubtensorModule",
        "commit_timelocked_mechanism_weights",
        "(netuid: u16, mecid: u8, commit: [u8], reveal_round: u64, commit_reveal_version: u16)",
        "timelocked weight commits for a mechanism other than the first",
    ),
    (
        "SubtensorModule",
        "register",
        "(netuid: u16, block_number: u64, nonce: u64, work: [u8], hotkey: [u8; 32], coldkey: [u8; 32])",
        "registration by proof of work (older runtimes)",
    ),
    (
        "SubtensorModule",
        "register_limit",
        "(netuid: u16, hotkey: [u8; 32], limit_price: u64)",
        "a price limit that the chain itself keeps",
    ),
    (
        "SubtensorModule",
        "pow_register",
        "(netuid: u16, work_block: u64, nonce: u64, work: [u8], hotkey: [u8; 32])",
        "registration by proof of work (newer runtimes)",
    ),
    (
        "SubtensorModule",
        "faucet",
        "(block_number: u64, nonce: u64, work: [u8])",
        "free TAO of a development chain",
    ),
];

/// Storage that is read where the runtime has it, and what is not known where it does not.
pub(super) const OPTIONAL_STORAGE: &[(&str, &str, &str, &str)] = &[
    (
        "SubtensorModule",
        "CommitRevealWeightsVersion",
        "() -> u16 or default",
        "which kind of weight commit the runtime takes",
    ),
    (
        "SubtensorModule",
        "RevealPeriodEpochs",
        "(twox64_concat u16) -> u64 or default",
        "when weight commits are revealed",
    ),
    ("SubtensorModule", "LastEpochBlock", "(identity u16) -> u64 or default", "the newer schedule of epochs"),
    ("SubtensorModule", "PendingEpochAt", "(identity u16) -> u64 or default", "the newer schedule of epochs"),
    (
        "SubtensorModule",
        "SubnetEpochIndex",
        "(identity u16) -> u64 or default",
        "the newer schedule of epochs",
    ),
    (
        "SubtensorModule",
        "BlocksSinceLastStep",
        "(identity u16) -> u64 or default",
        "the newer schedule of epochs",
    ),
    ("SubtensorModule", "Difficulty", "(identity u16) -> u64 or default", "registration by proof of work"),
    (
        "SubtensorModule",
        "SubnetOwnerHotkey",
        "(identity u16) -> [u8; 32] or default",
        "whether the subnet's owner sets weights",
    ),
    ("Drand", "LastStoredRound", "() -> u64 or default", "timelocked weight commits"),
];
