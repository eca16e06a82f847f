//! Everything that templar asks of a chain has, in the bindings' metadata, the shape that it has on the main network.
//!
//! `src/chain/interface/stated.txt` states the main network's shapes in this project's own form. It is made
//! from, and where that file is present checked against, the main network's metadata (specification 365).

use crate::support;
use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use subxt::Metadata;
use templar::chain::interface::{self, Verdict};

/// Where the bindings may differ from the main network, and why. `docs/chain-interface.md` says the same.
const DIFFERENCES: &[(&str, &str)] = &[(
    "transaction extensions",
    "the bindings' metadata lists version 4 of transactions alone, which is the one that is sent",
)];

fn path(name: &str) -> PathBuf {
    support::root().join(name)
}

fn bindings() -> Metadata {
    Metadata::decode_from(&fs::read(path("metadata/subnet.scale")).unwrap()).unwrap()
}

/// Every item and its shape, by the item's name.
fn interface(metadata: &Metadata) -> BTreeMap<String, String> {
    let found = interface::found(metadata).into_iter();
    found.map(|(item, shape)| (item, shape.unwrap_or_else(|| "missing".to_owned()))).collect()
}

fn stated() -> BTreeMap<String, String> {
    interface::stated().into_iter().map(|(item, shape)| (item.to_owned(), shape.to_owned())).collect()
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
        fs::write(path("src/chain/interface/stated.txt"), text).unwrap();
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

/// The lists are complete: what `src/chain` names, they name.
#[test]
fn every_binding_in_use_is_compared() {
    let mut sources = String::new();
    let mut folders = vec![path("src/chain")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => sources += &fs::read_to_string(entry).unwrap(),
            }
        }
    }
    let metadata = bindings();
    let known: Vec<String> = interface::compare(&metadata).into_iter().map(|item| item.item).collect();
    let listed = |kind: &str, pallet: &str, name: &str| known.contains(&format!("{kind} {pallet}.{name}"));
    let mut unlisted = Vec::new();
    for pallet in metadata.pallets() {
        let name = pallet.name();
        for entry in pallet.storage().into_iter().flat_map(|storage| storage.entries()) {
            let method = format!(".{}()", snake(entry.name()));
            let short = format!("storage{method}");
            let long = format!("{}(){method}", snake(name));
            let used = sources.contains(&long) || name == "SubtensorModule" && sources.contains(&short);
            if used && !listed("storage", name, entry.name()) {
                unlisted.push(format!("storage {name}.{}", entry.name()));
            }
        }
        for call in pallet.call_variants().into_iter().flatten() {
            let sent = format!("tx().{}().{}(", snake(name), call.name);
            let set = format!("Setter::{} ", call.name);
            if (sources.contains(&sent) || sources.contains(&set)) && !listed("call", name, &call.name) {
                unlisted.push(format!("call {name}.{}", call.name));
            }
        }
        for event in pallet.event_variants().into_iter().flatten() {
            let used = sources.contains(&format!("{}::events::{}", snake(name), event.name));
            if used && !listed("event", name, &event.name) {
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

#[test]
fn a_chain_that_is_as_stated_passes_and_one_that_is_not_is_named() {
    let items = interface::compare(&bindings());
    let wrong: Vec<_> =
        items.iter().filter(|i| matches!(i.verdict, Verdict::Missing | Verdict::Differs)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The metadata of another chain's runtime: everything of Bittensor's is missing, nothing panics.
    let mut bytes = fs::read(path("metadata/subnet.scale")).unwrap();
    let name = b"SubtensorModule";
    while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        bytes[at] = b'X';
    }
    let items = interface::compare(&Metadata::decode_from(&bytes).unwrap());
    let missing = items.iter().filter(|item| item.verdict == Verdict::Missing).count();
    assert!(missing > 30, "{missing}");
}
