//! Everything at once: validators that are gone or stand still, a storage with errors and delays, late finality.
//!
//! `TEMPLAR_FULL_TESTS=1` runs it at length, beside the same network without faults.

use crate::audit::{Kept, localnet};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

/// When what happens, in windows that are over.
struct Times {
    windows: u64,
    miners: u16,
    latency_ms: u64,
    end: u64,
    stop: u64,
    go_on: u64,
}

impl Times {
    fn new() -> Self {
        match std::env::var_os("TEMPLAR_FULL_TESTS").is_some() {
            true => Self { windows: 30, miners: 6, latency_ms: 300, end: 10, stop: 18, go_on: 21 },
            false => Self { windows: 10, miners: 3, latency_ms: 100, end: 3, stop: 6, go_on: 8 },
        }
    }

    fn script(&self) -> String {
        let Self { latency_ms, end, stop, go_on, .. } = self;
        format!(
            "[[at]]\nwindow = 1\nfinality_lag = 3\nstorage = {{ latency_ms = {latency_ms}, errors = 0.05 }}\n\
             [[at]]\nwindow = {end}\nend = [\"validator-1\"]\n\
             [[at]]\nwindow = {stop}\nstop = [\"validator-2\"]\n\
             [[at]]\nwindow = {go_on}\ncontinue = [\"validator-2\"]\n"
        )
    }

    fn run(&self, dir: &Path, chaos: Option<&Path>) -> Kept {
        let mut arguments = vec![
            format!("--windows={}", self.windows),
            "--validators=3".to_owned(),
            format!("--miners={}", self.miners),
            "--saboteur=none".to_owned(),
        ];
        arguments.extend(chaos.map(|script| format!("--chaos={}", script.display())));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        localnet(dir, &arguments, |_| {})
    }
}

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("report.json")).unwrap()).unwrap()
}

fn losses(report: &Value) -> Vec<f64> {
    report["loss"].as_array().unwrap().iter().map(|point| point["loss"].as_f64().unwrap()).collect()
}

fn pay(report: &Value) -> Vec<f64> {
    let peers = report["peers"].as_array().unwrap().iter();
    peers.filter(|peer| peer["kind"] == "honest").map(|peer| peer["weight"].as_f64().unwrap()).collect()
}

#[test]
fn a_run_goes_on_through_everything_at_once() {
    let times = Times::new();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("chaos.toml");
    fs::write(&script, times.script()).unwrap();
    let kept = times.run(&folder.path().join("net"), Some(&script));
    let with = report(&kept.dir);

    let hashes = with["model_hash"].as_object().unwrap();
    let distinct: BTreeSet<_> = hashes.values().map(|hash| hash.as_str().unwrap()).collect();
    assert_eq!(distinct.len(), 1, "{hashes:?}");
    assert_eq!(hashes.len(), usize::from(times.miners) + 2, "everybody but the one that is gone: {hashes:?}");
    let curve = losses(&with);
    assert!(curve[curve.len() - 1] < curve[2], "{curve:?}");
    let paid = pay(&with);
    let best = paid.iter().copied().fold(0.0, f64::max);
    assert!(paid.iter().all(|weight| *weight > 0.3 * best), "{paid:?}");

    // The validator that was there all the time did what it says, null windows among it.
    let windows = with["loss"].as_array().unwrap().iter().map(|point| point["window"].as_u64().unwrap());
    let (first, last) = (windows.clone().min().unwrap(), windows.max().unwrap());
    let (code, audit) = kept.audit_of(3, first, last);
    let outcome = |name: &str| {
        audit["windows"].as_array().unwrap().iter().filter(|window| window["outcome"] == name).count() as u64
    };
    println!(
        "audit: {} same, {} null, {} not checked",
        outcome("same"),
        outcome("null"),
        outcome("not_checked")
    );
    assert!(outcome("same") >= times.windows / 2, "{audit}");
    // What could not be checked has not passed.
    let unchecked = outcome("not_checked") > 0;
    assert_eq!(
        (code, &audit["difference"]),
        (if unchecked { 7 } else { 0 }, &serde_json::Value::Null),
        "{audit}"
    );
    drop(kept);

    if std::env::var_os("TEMPLAR_FULL_TESTS").is_some() {
        let kept = times.run(&folder.path().join("calm"), None);
        let calm = report(&kept.dir);
        let (ours, theirs) = (curve[curve.len() - 1], *losses(&calm).last().unwrap());
        println!("loss {ours} with faults, {theirs} without; pay {paid:?} with, {:?} without", pay(&calm));
        assert!(ours <= theirs * 1.03, "{ours} with faults, {theirs} without");
        for (with, without) in paid.iter().zip(pay(&calm)) {
            assert!(*with >= 0.8 * without, "{paid:?} with faults, {:?} without", pay(&calm));
        }
    }
}
