//! Those who come late, and a leader that goes: everybody ends with one model.

use crate::network::{kill, localnet};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Windows between two checkpoints, as the manifest has it.
const EVERY: usize = 5;

/// When things happen.
struct Times {
    windows: u64,
    join: u64,
    replace: u64,
}

/// Cuts the newest pseudo-gradient of a peer in half, where it lies in its bucket; copies of it are whole.
fn damage_a_gradient(dir: &Path) {
    let buckets = fs::read_dir(dir.join("storage")).unwrap().map(|bucket| bucket.unwrap().path());
    let runs = buckets
        .filter(|bucket| bucket.is_dir())
        .flat_map(|bucket| fs::read_dir(bucket).unwrap().map(|run| run.unwrap().path()));
    let found = runs.filter_map(|run| {
        let objects = fs::read_dir(run.join("gradient")).ok()?.map(|object| object.unwrap().path());
        // The first window's is in the way of whoever replays the run.
        objects.filter(|object| object.extension().is_some_and(|e| e == "safetensors")).min()
    });
    let object = found.min().expect("somebody has uploaded");
    let whole = fs::read(&object).unwrap();
    fs::write(&object, &whole[..whole.len() / 2]).unwrap();
}

/// Changes a bit in every checkpoint file of the leader's bucket, once so many checkpoints are there; the other validator's are whole.
fn damage_the_checkpoints(dir: &Path, there: usize) {
    let keys: Value = serde_json::from_slice(&fs::read(dir.join("storage-keys.json")).unwrap()).unwrap();
    let bucket = dir.join("storage").join(keys["keys"][0]["bucket"].as_str().unwrap());
    let until = Instant::now() + Duration::from_secs(30);
    let folders = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.collect()
    };
    loop {
        let runs = folders(&bucket);
        let windows: Vec<_> = runs.iter().flat_map(|run| folders(&run.join("checkpoint"))).collect();
        // The record comes after the files.
        let whole = windows.iter().filter(|window| window.join("checkpoint.json").is_file());
        let whole: Vec<_> = whole.collect();
        if whole.len() >= there {
            let files = whole.into_iter().flat_map(|window| folders(window));
            for file in files.filter(|file| file.extension().is_some_and(|e| e == "safetensors")) {
                let mut bytes = fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&file, bytes).unwrap();
            }
            return;
        }
        assert!(Instant::now() < until, "the leader has not published {there} checkpoints: {windows:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn log(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join("logs").join(format!("{name}.log"))).unwrap_or_default()
}

/// Kills a process as soon as its log has a line.
fn kill_at(dir: &Path, name: &str, line: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while !log(dir, name).contains(line) {
        assert!(Instant::now() < until, "{name} never said `{line}`");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(dir, name);
}

/// One miner joins from the newest checkpoint, whose files are damaged in the leader's bucket, another replays the run, over a pseudo-gradient that is damaged and a kill -9 on the
/// way; then the leader ends for good, and another validator leads on.
#[test]
fn who_comes_late_and_who_leads_on_have_the_model_of_the_others() {
    let full = std::env::var_os("TEMPLAR_FULL_TESTS").is_some();
    let Times { windows, join, replace } = match full {
        true => Times { windows: 30, join: 16, replace: 20 },
        false => Times { windows: 12, join: 6, replace: 8 },
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let arguments = [
        format!("--windows={windows}"),
        "--miners=2".to_owned(),
        "--validators=2".to_owned(),
        "--saboteur=none".to_owned(),
        format!("--late=1:{join}"),
        format!("--late=1:{join}:start"),
        format!("--replace-leader={replace}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mut damaged, mut spoilt, mut killed) = (false, false, false);
    let report = localnet(&dir, &arguments, &[], |done| {
        if done + 2 >= join && !std::mem::replace(&mut damaged, true) {
            damage_a_gradient(&dir);
        }
        if done + 1 >= join && !std::mem::replace(&mut spoilt, true) {
            damage_the_checkpoints(&dir, (join as usize - 1) / EVERY);
        }
        if done >= join && !std::mem::replace(&mut killed, true) {
            kill_at(&dir, "miner-4", "round applied");
        }
    });
    assert!(damaged && spoilt && killed);
    assert_eq!(report["windows"], windows);

    // Everybody but the leader that is gone.
    let hashes = report["model_hash"].as_object().unwrap();
    assert_eq!(hashes.len(), 5, "{hashes:?}");
    let distinct: BTreeSet<_> = hashes.values().map(|hash| hash.as_str().unwrap()).collect();
    assert_eq!(distinct.len(), 1, "{hashes:?}");

    // They came as they were told to.
    let joined = log(&dir, "miner-3");
    assert!(joined.contains("loaded from"), "from a checkpoint, although the leader's is damaged: {joined}");
    let replayed = log(&dir, "miner-4");
    assert!(!replayed.contains("loaded from"), "from the start");
    let applied: Vec<&str> = replayed
        .lines()
        .filter(|line| line.contains("round applied"))
        .filter_map(|line| line.split_once("window=")?.1.split(' ').next())
        .collect();
    let distinct: BTreeSet<_> = applied.iter().collect();
    assert!(distinct.len() < applied.len(), "some rounds twice, because of the kill: {applied:?}");

    // The first leader was gone, and somebody led on.
    let first = log(&dir, "validator-1").matches("round published").count() as u64;
    let second = log(&dir, "validator-2").matches("round published").count() as u64;
    assert!(first >= replace && second > 0 && first + second >= windows, "{first} and {second} rounds");
    let losses: Vec<f64> = report["loss"]
        .as_array()
        .unwrap()
        .iter()
        .map(|loss: &Value| loss["loss"].as_f64().unwrap())
        .collect();
    assert!(losses[losses.len() - 1] < losses[0], "it goes on learning: {losses:?}");
}
