//! Validators that stop: the next in line decides, nobody is punished for it, and everybody ends with one model.

use crate::network::localnet;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn log(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join("logs").join(format!("{name}.log"))).unwrap_or_default()
}

/// Sends a process a signal; a stopped one is neither alive nor dead, and answers nobody.
fn signal(dir: &Path, name: &str, signal: &str) {
    let processes: Value = serde_json::from_slice(&fs::read(dir.join("processes.json")).unwrap()).unwrap();
    let pid = processes[name].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// The scores of a validator's log: window, kind of verdict, score, by UID.
fn records(dir: &Path, name: &str) -> Vec<Value> {
    let state = dir.join("state").join(name);
    let runs = fs::read_dir(state).unwrap().map(|run| run.unwrap().path().join("scores.jsonl"));
    let text: String = runs.filter_map(|path| fs::read_to_string(path).ok()).collect();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("hotkey").is_some()).collect()
}

#[test]
fn a_run_outlives_its_leaders_and_nobody_pays_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let arguments = ["--windows=10", "--validators=3", "--miners=3", "--saboteur=none"];
    let (mut first, mut second, mut back) = (false, false, false);
    let report = localnet(&dir, &arguments, &[], |done| {
        // The first validator stands still for most of the run, the second for a while.
        if done >= 3 && !std::mem::replace(&mut first, true) {
            signal(&dir, "validator-1", "-STOP");
        }
        if done >= 5 && !std::mem::replace(&mut second, true) {
            signal(&dir, "validator-2", "-STOP");
        }
        if done >= 8 && !std::mem::replace(&mut back, true) {
            signal(&dir, "validator-2", "-CONT");
            signal(&dir, "validator-1", "-CONT");
        }
    });
    assert!(first && second && back);
    assert_eq!(report["windows"], 10);

    // One model, whoever was away.
    let hashes = report["model_hash"].as_object().unwrap();
    let distinct: BTreeSet<_> = hashes.values().map(|hash| hash.as_str().unwrap()).collect();
    assert_eq!((hashes.len(), distinct.len()), (6, 1), "{hashes:?}");

    // Each of them has decided something, and the run did not begin again.
    for name in ["validator-1", "validator-2", "validator-3"] {
        assert!(log(&dir, name).contains("round published"), "{name}");
    }
    let begun = ["validator-1", "validator-2", "validator-3"]
        .map(|n| log(&dir, n).matches("a new run begins").count());
    assert_eq!(begun.iter().sum::<usize>(), 1, "{begun:?}");
    let losses: Vec<f64> =
        report["loss"].as_array().unwrap().iter().map(|loss| loss["loss"].as_f64().unwrap()).collect();
    let steps = losses.windows(2).filter(|two| two[1] < two[0]).count();
    assert!(steps >= 5, "it goes on learning but for the windows in which leaders changed: {losses:?}");
    assert!(losses[9] < losses[2], "{losses:?}");

    // Nobody was penalised for a window that others have lost.
    let third = records(&dir, "validator-3");
    let penalised: Vec<_> = third.iter().filter(|r| !r["penalties"].as_array().unwrap().is_empty()).collect();
    assert!(penalised.is_empty(), "{penalised:?}");
    // Nor was anybody's work taken for late or out of step because a leader changed.
    let accepted: Vec<_> = third.iter().filter(|r| r["stage1"]["verdict"] == "accepted").collect();
    let hotkeys: BTreeSet<_> = accepted.iter().map(|r| r["hotkey"].as_str().unwrap()).collect();
    assert_eq!(hotkeys.len(), 3, "{hotkeys:?}");
    let behind: Vec<_> = accepted.iter().filter(|r| r["sync_score"] != 1.0).collect();
    assert!(behind.is_empty(), "{behind:?}");
    // A score of so few measurements is a rough one, so how much it is says little; that it is earned says enough.
    let honest: Vec<f64> = report["peers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|peer| peer["kind"] == "honest")
        .map(|peer| peer["score"].as_f64().unwrap())
        .collect();
    let best = honest.iter().copied().fold(0.0, f64::max);
    assert!(honest.len() == 3 && honest.iter().all(|score| *score > 0.1 * best), "{honest:?}");
}
