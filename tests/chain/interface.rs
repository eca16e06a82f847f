//! Everything that templar asks of a chain has, in the bindings' metadata, the shape that it has on the main network.
//!
//! `src/chain/interface/stated.txt` states the main network's shapes in this project's own form. It is made
//! from, and where that file is present checked against, the main network's metadata (specification 365).

use crate::support;
use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use subxt::Metadata;
use templar::chain::interface::{self, Change, Verdict};

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

fn stated() -> BTreeMap<String, String> {
    interface::stated().into_iter().map(|(item, shape)| (item.to_owned(), shape.to_owned())).collect()
}

/// The shapes of an older runtime, from a file of lines like those of `stated.txt`: what it does not name is not there.
fn fixture(name: &str) -> BTreeMap<String, Option<String>> {
    let text = fs::read_to_string(path("tests/fixtures/interface").join(name)).unwrap();
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(" = ")).collect();
    let every = interface::found(&bindings()).into_keys();
    every.map(|item| (item.clone(), lines.get(item.as_str()).map(|shape| (*shape).to_owned()))).collect()
}

fn written(heading: &str, found: &BTreeMap<String, String>) -> String {
    let mut text = format!("# {heading}\n");
    for (item, shape) in found {
        let _ = writeln!(text, "{item} = {shape}");
    }
    text
}

/// Metadata of a real runtime, where it is at hand.
fn real(variable: &str, file: &str) -> Option<Metadata> {
    let file =
        std::env::var_os(variable).map_or_else(|| path("../shared/metadata").join(file), PathBuf::from);
    match fs::read(&file) {
        Ok(bytes) => Some(Metadata::decode_from(&bytes).unwrap()),
        Err(_) => {
            eprintln!("note: not compared with real metadata, which is not here ({variable})");
            None
        }
    }
}

#[test]
fn the_bindings_have_the_main_networks_shapes() {
    let (stated, found) = (stated(), interface::found(&bindings()));
    let optional: Vec<String> = interface::compare(&found)
        .into_iter()
        .filter(|item| item.needed_for.is_some())
        .map(|item| item.item)
        .collect();
    let documented = fs::read_to_string(path("docs/chain-interface.md")).unwrap();
    let mut wrong = String::new();
    for (item, shape) in &found {
        let shape = match shape {
            Some(shape) => shape.as_str(),
            None if optional.contains(item) => continue,
            None => "missing",
        };
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
    for item in stated.keys().filter(|item| !found.contains_key(*item)) {
        let _ = writeln!(wrong, "{item} is stated and not used");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// `TEMPLAR_WRITE_INTERFACE=1` writes the files anew.
#[test]
fn the_stated_shapes_are_those_of_real_runtimes() {
    let write = std::env::var_os("TEMPLAR_WRITE_INTERFACE").is_some();
    let present = |found: BTreeMap<String, Option<String>>| -> BTreeMap<String, String> {
        found.into_iter().filter_map(|(item, shape)| Some((item, shape?))).collect()
    };
    if let Some(metadata) = real("TEMPLAR_MAINNET_METADATA", "finney-spec365.scale") {
        let mut found = present(interface::found(&metadata));
        if write {
            let heading = "The main network's shapes of what templar uses, specification 365.";
            fs::write(path("tests/fixtures/interface/spec365.txt"), written(heading, &found)).unwrap();
        }
        assert_eq!(present(fixture("spec365.txt")), found);
        // What is newer is stated as the development chain has it, specification 425.
        for (item, shape) in present(interface::found(&bindings())) {
            found.entry(item).or_insert(shape);
        }
        if write {
            let heading = "What templar uses, in the main network's shapes: specification 365, and 425 for what is newer. Made by tests/chain/interface.rs.";
            fs::write(path("src/chain/interface/stated.txt"), written(heading, &found)).unwrap();
        } else {
            assert_eq!(found, stated());
        }
    }
    if let Some(metadata) = real("TEMPLAR_OLD_METADATA", "raonet-spec218.scale") {
        let found = present(interface::found(&metadata));
        if write {
            let heading =
                "The shapes of what templar uses in a runtime of the days of TEMPLAR-I, specification 218.";
            fs::write(path("tests/fixtures/interface/spec218.txt"), written(heading, &found)).unwrap();
        }
        assert_eq!(present(fixture("spec218.txt")), found);
    }
}

/// Every kind of reading and every call, by runtime: what can be done, and why the rest cannot.
#[test]
fn what_can_be_read_and_signed_is_known_for_every_runtime() {
    let newest = interface::found(&bindings());
    let mut table = String::new();
    for (name, found) in [("218", fixture("spec218.txt")), ("365", fixture("spec365.txt")), ("425", newest)] {
        let abilities = interface::abilities(&interface::compare(&found));
        let _ = writeln!(table, "specification {name}");
        for one in &abilities {
            let verb = if one.signed { "sign" } else { "read" };
            let answer = if one.possible { "yes".to_owned() } else { format!("no: {}", one.why) };
            let _ = writeln!(table, "  {verb} {:<55} {answer}", one.name);
        }
        let readable =
            |name: &str| abilities.iter().any(|one| one.name == name && one.possible && !one.signed);
        for name in ["neurons", "settings", "commitments", "weights", "history of weights", "balances"] {
            assert!(readable(name), "{name} of specification {name}");
        }
        let signed = |name: &str| abilities.iter().any(|one| one.name == name && one.possible && one.signed);
        for call in ["SubtensorModule.set_weights", "SubtensorModule.burned_register"] {
            assert!(signed(call), "{call} of specification {name}");
        }
    }
    insta::assert_snapshot!("abilities", table);
}

#[test]
fn what_stands_in_for_what_is_documented_and_needed() {
    let documented = fs::read_to_string(path("docs/chain-interface.md")).unwrap();
    let runtimes = BTreeMap::from([
        (218, fixture("spec218.txt")),
        (365, fixture("spec365.txt")),
        (425, interface::found(&bindings())),
    ]);
    let next = |of: u32| runtimes.range(of + 1..).next().unwrap().1;
    for (item, change, stands_in) in interface::SUBSTITUTES {
        let name = item.split_once(' ').unwrap().1;
        assert!(
            documented.contains(name) && documented.contains(stands_in),
            "docs/chain-interface.md lacks {item}"
        );
        let has = |found: &BTreeMap<String, Option<String>>| found[*item].clone();
        match change {
            Change::After(of) => assert!(has(&runtimes[of]).is_none() && has(next(*of)).is_some(), "{item}"),
            Change::Gone(of) => assert!(has(&runtimes[of]).is_some() && has(next(*of)).is_none(), "{item}"),
            Change::Differs(of) => {
                assert!(has(&runtimes[of]).is_some() && has(&runtimes[of]) != has(next(*of)), "{item}")
            }
        }
    }
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
    let known: Vec<String> =
        interface::compare(&interface::found(&metadata)).into_iter().map(|item| item.item).collect();
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
    let items = interface::compare(&interface::found(&bindings()));
    let wrong: Vec<_> =
        items.iter().filter(|i| matches!(i.verdict, Verdict::Missing | Verdict::Differs)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The metadata of another chain's runtime: everything of Bittensor's is missing, nothing panics.
    let mut bytes = fs::read(path("metadata/subnet.scale")).unwrap();
    let name = b"SubtensorModule";
    while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        bytes[at] = b'X';
    }
    let items = interface::compare(&interface::found(&Metadata::decode_from(&bytes).unwrap()));
    let missing = items.iter().filter(|item| item.verdict == Verdict::Missing).count();
    assert!(missing > 30, "{missing}");
}
