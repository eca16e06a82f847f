//! `kill -9` at every phase of a window, of validators and miners, again and again.
//!
//! `TEMPLAR_FULL_TESTS=1` kills fifty times.

use crate::audit::localnet;
use serde_json::Value;
use std::{collections::BTreeSet, fs};

const SEED: u64 = 20;
const VALIDATORS: [&str; 2] = ["validator-1", "validator-2"];
const MINERS: [&str; 3] = ["miner-1", "miner-2", "miner-3"];
/// The end of which phase kills; with none of them whatever is going on.
const JUDGING: [Option<&str>; 3] = [Some("gather"), Some("evaluate"), None];
const TRAINING: [Option<&str>; 5] = [Some("train"), Some("compress"), Some("upload"), Some("follow"), None];

/// A script with so many kills, spread over the windows, of a node and at a phase by chance.
fn script(kills: u64, windows: u64) -> String {
    let mut state = SEED;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let event = |kill: u64| {
        let (name, phase) = match kill {
            // Who decides has these phases too, and decides no more once it has missed its turn.
            0 => (VALIDATORS[0], Some("publish")),
            1 => (VALIDATORS[0], Some("aggregate")),
            _ if draw(5) < 2 => (VALIDATORS[draw(2)], JUDGING[draw(3)]),
            _ => (MINERS[draw(3)], TRAINING[draw(5)]),
        };
        let window = 1 + kill * (windows - 4) / kills;
        let phase = phase.map(|phase| format!("phase = \"{phase}\"\n")).unwrap_or_default();
        format!("[[at]]\nwindow = {window}\n{phase}kill = [\"{name}\"]\n")
    };
    (0..kills).map(event).collect()
}

#[test]
fn nothing_is_lost_or_counted_twice_whenever_somebody_is_killed() {
    let full = std::env::var_os("TEMPLAR_FULL_TESTS").is_some();
    let (kills, windows) = if full { (50, 44) } else { (5, 9) };
    let folder = tempfile::tempdir().unwrap();
    let chaos = folder.path().join("chaos.toml");
    fs::write(&chaos, script(kills, windows)).unwrap();
    let arguments =
        [format!("--windows={windows}"), format!("--chaos={}", chaos.display()), "--validators=2".to_owned()];
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--miners=3", "--saboteur=none"]);
    let kept = localnet(&folder.path().join("net"), &arguments, |_| {});
    let report: Value = serde_json::from_slice(&fs::read(kept.dir.join("report.json")).unwrap()).unwrap();

    let hashes = report["model_hash"].as_object().unwrap();
    let distinct: BTreeSet<_> = hashes.values().map(|hash| hash.as_str().unwrap()).collect();
    assert_eq!((hashes.len(), distinct.len()), (5, 1), "{hashes:?}");

    // Both validators settled every window, each once, and both can be checked to the last bit.
    let of = report["loss"].as_array().unwrap().iter().map(|point| point["window"].as_u64().unwrap());
    let (first, last) = (of.clone().min().unwrap(), of.max().unwrap());
    let (mut nulls, mut settled) = (Vec::new(), Vec::new());
    for validator in [1, 2] {
        let (code, audit) = kept.audit_of(validator, first, last);
        let outcomes: Vec<_> =
            audit["windows"].as_array().unwrap().iter().map(|window| &window["outcome"]).collect();
        let count = |name: &str| outcomes.iter().filter(|outcome| **outcome == name).count();
        // What could not be checked has not passed.
        let expected = if count("not_checked") > 0 { 7 } else { 0 };
        assert_eq!((code, &audit["difference"]), (expected, &Value::Null), "{audit}");
        nulls.push(count("null"));
        settled.push(count("same") + count("null"));
        println!(
            "validator-{validator}: {} same, {} null, of {}",
            count("same"),
            count("null"),
            outcomes.len()
        );
    }
    assert!(settled.iter().all(|count| *count as u64 >= windows - 2), "{settled:?} of {windows}");
    assert_eq!(nulls[0], nulls[1], "null for one is null for all");
}
