//! Everything that templar asks of a chain has, in the bindings' metadata, the shape that it has on the main network.
//!
//! `fixtures/mainnet-interface.txt` states the main network's shapes in this project's own form. It is made
//! from, and where that file is present checked against, the main network's metadata (specification 365).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "chain_interface/shape.rs"]
mod shape;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use subxt::Metadata;

/// Calls that are sent.
const CALLS: &[(&str, &[&str])] = &[
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
        ],
    ),
];

/// Storage that is read.
const STORAGE: &[(&str, &[&str])] = &[
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
const EVENTS: &[(&str, &[&str])] = &[
    ("System", &["ExtrinsicSuccess", "ExtrinsicFailed"]),
    ("Sudo", &["Sudid"]),
    ("SubtensorModule", &["WeightsSet", "NeuronRegistered", "NetworkAdded"]),
];

/// Errors that have a hint of their own.
const ERRORS: &[(&str, &[&str])] = &[
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

/// Where the bindings may differ from the main network, and why. `docs/chain-interface.md` says the same.
const DIFFERENCES: &[(&str, &str)] = &[(
    "transaction extensions",
    "the bindings' metadata lists version 4 of transactions alone, which is the one that is sent",
)];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn bindings() -> Metadata {
    Metadata::decode_from(&fs::read(path("metadata/subnet.scale")).unwrap()).unwrap()
}

/// An item's shape, by its pallet and its name.
type Shape = fn(&Metadata, &str, &str) -> Option<String>;

/// Every item and its shape, by the item's name.
fn interface(metadata: &Metadata) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let kinds: [(&str, _, Shape); 4] = [
        ("call", CALLS, shape::call),
        ("storage", STORAGE, shape::storage),
        ("event", EVENTS, shape::event),
        ("error", ERRORS, shape::error),
    ];
    for (kind, pallets, describe) in kinds {
        for (pallet, names) in pallets {
            for name in *names {
                let shape = describe(metadata, pallet, name).unwrap_or_else(|| "missing".to_owned());
                lines.insert(format!("{kind} {pallet}.{name}"), shape);
            }
        }
    }
    lines.insert("transaction extensions".to_owned(), shape::extensions(metadata));
    lines
}

fn stated() -> BTreeMap<String, String> {
    let text = fs::read_to_string(path("tests/fixtures/mainnet-interface.txt")).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(" = ").unwrap())
        .map(|(item, shape)| (item.to_owned(), shape.to_owned()))
        .collect()
}

#[test]
fn the_bindings_have_the_main_networks_shapes() {
    let (stated, bound) = (stated(), interface(&bindings()));
    let documented = fs::read_to_string(path("docs/chain-interface.md")).unwrap();
    let mut wrong = String::new();
    for (item, shape) in &bound {
        let there = stated.get(item).map_or("not stated", String::as_str);
        let allowed = DIFFERENCES.iter().find(|(name, _)| name == item);
        match allowed {
            None if shape != there => {
                let _ = writeln!(wrong, "{item}\n  here          {shape}\n  main network  {there}");
            }
            Some(_) if shape == there => {
                let _ = writeln!(wrong, "{item} is listed as a difference and is none");
            }
            Some((name, reason)) if !documented.contains(name) || !documented.contains(reason) => {
                let _ = writeln!(wrong, "docs/chain-interface.md does not explain {name}: {reason}");
            }
            _ => {}
        }
    }
    for item in stated.keys().filter(|item| !bound.contains_key(*item)) {
        let _ = writeln!(wrong, "{item} is stated and not used");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_stated_shapes_are_the_main_networks() {
    let file = std::env::var_os("TEMPLAR_MAINNET_METADATA")
        .map_or_else(|| path("../shared/metadata/finney-spec365.scale"), PathBuf::from);
    let Ok(bytes) = fs::read(&file) else {
        eprintln!(
            "note: not compared with the main network, whose metadata is not here (TEMPLAR_MAINNET_METADATA)"
        );
        return;
    };
    let found = interface(&Metadata::decode_from(&bytes).unwrap());
    if std::env::var_os("TEMPLAR_WRITE_INTERFACE").is_some() {
        let mut text = "# The main network's shapes of what templar uses, specification 365. Made by tests/chain_interface.rs.\n".to_owned();
        for (item, shape) in &found {
            let _ = writeln!(text, "{item} = {shape}");
        }
        fs::write(path("tests/fixtures/mainnet-interface.txt"), text).unwrap();
    }
    assert!(!found.values().any(|shape| shape == "missing"), "{found:#?}");
    assert_eq!(found, stated());
}

/// The file that the bindings are generated from is the development chain's, as it is now.
/// `scripts/metadata` writes it.
#[test]
fn the_bindings_are_those_of_the_development_chain() {
    let file = fs::read(path("metadata/subnet.scale")).unwrap();
    assert!(file == templar_devchain::metadata(), "metadata/subnet.scale is out of date");
}

/// The lists above are complete: what `src/chain` names, they name.
#[test]
fn every_binding_in_use_is_compared() {
    let sources: String = fs::read_dir(path("src/chain"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let metadata = bindings();
    let listed = |list: &[(&str, &[&str])], pallet: &str, name: &str| {
        list.iter().any(|(listed, names)| *listed == pallet && names.contains(&name))
    };
    let mut unlisted = Vec::new();
    for pallet in metadata.pallets() {
        let name = pallet.name();
        for entry in pallet.storage().into_iter().flat_map(|storage| storage.entries()) {
            let method = format!(".{}()", snake(entry.name()));
            let short = format!("storage{method}");
            let long = format!("{}(){method}", snake(name));
            let used = sources.contains(&long) || name == "SubtensorModule" && sources.contains(&short);
            if used && !listed(STORAGE, name, entry.name()) {
                unlisted.push(format!("storage {name}.{}", entry.name()));
            }
        }
        for call in pallet.call_variants().into_iter().flatten() {
            let sent = format!("tx().{}().{}(", snake(name), call.name);
            let set = format!("Setter::{} ", call.name);
            if (sources.contains(&sent) || sources.contains(&set)) && !listed(CALLS, name, &call.name) {
                unlisted.push(format!("call {name}.{}", call.name));
            }
        }
        for event in pallet.event_variants().into_iter().flatten() {
            let used = sources.contains(&format!("{}::events::{}", snake(name), event.name));
            if used && !listed(EVENTS, name, &event.name) {
                unlisted.push(format!("event {name}.{}", event.name));
            }
        }
    }
    assert!(unlisted.is_empty(), "{unlisted:?}");
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}
