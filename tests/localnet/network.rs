//! The whole path with real parts: a chain, buckets, miners that train, a validator that judges and
//! pays, as processes of the program. One run serves several checks, because it takes minutes.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// Runs a localnet and calls `at_window` with each window that is over, counted from 1.
pub fn localnet(
    dir: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    mut at_window: impl FnMut(u64),
) -> Value {
    let _network = crate::one_network();
    let mut child = Command::new(env!("CARGO_BIN_EXE_templar"))
        .arg("localnet")
        .arg("--json")
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
        (child.wait().unwrap(), text)
    });
    let mut told = String::new();
    for line in stderr.lines() {
        let line = line.unwrap();
        eprintln!("  {line}");
        told.push_str(&line);
        told.push('\n');
        if let Some(done) = line.strip_prefix("window ").and_then(|l| l.split_once('/')) {
            at_window(done.0.parse().unwrap());
        }
    }
    let (status, text) = reader.join().unwrap();
    assert!(status.success(), "{status}\n{told}");
    serde_json::from_str(&text).expect("standard output holds the report and nothing else")
}

/// Kills a process of the localnet, as the kernel would: no time to say goodbye.
pub fn kill(dir: &Path, name: &str) {
    let text = std::fs::read(dir.join("processes.json")).unwrap();
    let processes: Value = serde_json::from_slice(&text).unwrap();
    let pid = processes[name].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

fn weight(peer: &Value) -> u64 {
    peer["weight"].as_u64().unwrap_or_default()
}

/// Checks that it learns, that everyone ends with the same model bit for bit even where a miner and the
/// validator were killed on the way, that saboteurs earn less than the worst honest miner, and that the
/// weights on chain are those of the score log.
#[test]
fn a_network_trains_judges_and_pays_and_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let mut killed = BTreeSet::new();
    let windows = if std::env::var_os("TEMPLAR_FULL_TESTS").is_some() { 20 } else { 12 };
    let count = format!("--windows={windows}");
    let arguments = [count.as_str(), "--miners=4", "--saboteur=noise:1", "--saboteur=lazy:1"];
    let report = localnet(&dir, &arguments, &[], |done| {
        for (at, name) in [(4, "miner-2"), (7, "validator-1")] {
            if done >= at && killed.insert(name) {
                kill(&dir, name);
            }
        }
    });
    assert_eq!(killed.len(), 2, "both were killed in mid-run");

    // It learns.
    assert_eq!(report["windows"], windows);
    let losses: Vec<f64> =
        report["loss"].as_array().unwrap().iter().map(|l| l["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), windows);
    assert!(losses[windows - 1] <= 0.75 * losses[0], "{losses:?}");

    // Everyone has the same model.
    let hashes = report["model_hash"].as_object().unwrap();
    assert_eq!(hashes.len(), 7, "{hashes:?}");
    let distinct: BTreeSet<_> = hashes.values().map(|h| h.as_str().unwrap()).collect();
    assert_eq!(distinct.len(), 1, "{hashes:?}");

    // Work is paid, sabotage is not.
    let peers = report["peers"].as_array().unwrap();
    let of = |kind: &str| peers.iter().filter(|p| p["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("honest").len(), 4);
    let worst = of("honest").into_iter().map(weight).min().unwrap();
    assert!(worst > 0, "{peers:#?}");
    for kind in ["noise", "lazy"] {
        assert_eq!(of(kind).len(), 1);
        assert!(weight(of(kind)[0]) < worst, "{kind}: {peers:#?}");
    }
    let paid: f64 = of("honest").iter().map(|p| p["incentive"].as_f64().unwrap()).sum();
    assert!(paid > 0.5, "the chain pays the honest miners: {peers:#?}");

    // What is on chain is what was decided.
    let on_chain = report["weights_on_chain"].as_array().unwrap().last().unwrap();
    let on_chain: BTreeSet<(u64, u64)> = on_chain["weights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
        .filter(|(_, weight)| *weight > 0)
        .collect();
    let decided: BTreeSet<(u64, u64)> =
        peers.iter().filter(|p| weight(p) > 0).map(|p| (p["uid"].as_u64().unwrap(), weight(p))).collect();
    assert_eq!(on_chain, decided);

    // What a person finds in the folder.
    for file in ["report.json", "loss.csv", "loss.svg", "loss.png", "scores.jsonl", "logs/miner-1.log"] {
        assert!(dir.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    no_secret_in_the_logs(&dir);
}

/// Secrets of buckets and wallets are in files for that alone, and nowhere in the logs or the results.
fn no_secret_in_the_logs(dir: &Path) {
    let keys: Value = serde_json::from_slice(&std::fs::read(dir.join("storage-keys.json")).unwrap()).unwrap();
    let mut secrets: Vec<String> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["secret_key"].as_str().unwrap().to_owned())
        .collect();
    for hotkey in std::fs::read_dir(dir.join("wallets/localnet/hotkeys")).unwrap() {
        let text = std::fs::read_to_string(hotkey.unwrap().path()).unwrap();
        let keyfile: Value = serde_json::from_str(&text).unwrap_or_default();
        for field in ["secretPhrase", "secretSeed", "privateKey"] {
            secrets.extend(keyfile[field].as_str().map(|s| s.trim_start_matches("0x").to_owned()));
        }
    }
    assert!(secrets.len() > 14);
    let logs = std::fs::read_dir(dir.join("logs")).unwrap().map(|entry| entry.unwrap().path());
    for file in logs.chain([dir.join("report.json"), dir.join("scores.jsonl")]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {}", file.display());
        }
    }
}
