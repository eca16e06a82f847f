//! The program as a person meets it: what it says when something is wrong, with which exit code, and
//! that a mistake shows before anything is trained.

use crate::support;
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn templar(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars()
        .filter(|(n, _)| ["BT_", "R2_", "TEMPLAR_"].iter().any(|prefix| n.starts_with(prefix)))
    {
        command.env_remove(name);
    }
    command
}

/// Runs to its end; a program that hangs fails the test.
fn ends(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let (tell, done) = std::sync::mpsc::channel();
    let guard = std::thread::spawn(move || {
        if done.recv_timeout(Duration::from_secs(60)).is_err() {
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = tell.send(());
    guard.join().unwrap();
    output
}

/// Exactly one sentence and a hint on stderr, nothing on stdout, and the code.
#[track_caller]
fn fails(command: Command, code: i32, sentence: &str) {
    let output = ends(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> =
        stderr.lines().filter(|l| l.starts_with("error: ") || l.starts_with("  hint: ")).collect();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(lines.len(), 2, "one sentence and one hint: {stderr}");
    assert!(lines[0].contains(sentence), "{:?} is not in {stderr}", sentence);
    assert!(lines[1].len() > "  hint: ".len());
    assert!(output.stdout.is_empty(), "results go to stdout, and there are none");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn devchain() -> (Running, String) {
    let port = free_port();
    let child = templar(&["devchain", "--block-time=100ms", &format!("--port={port}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.trim().starts_with("ws://"), "it says where it listens: {line}");
    (running, format!("ws://127.0.0.1:{port}"))
}

/// The environment of a bucket that works as far as its form goes.
fn with_bucket(mut command: Command, endpoint: &str) -> Command {
    command.envs([
        ("R2_GRADIENTS_ACCOUNT_ID", "0123456789abcdef0123456789abcdef".to_owned()),
        ("R2_GRADIENTS_BUCKET_NAME", "0123456789abcdef0123456789abcdef".to_owned()),
        ("R2_GRADIENTS_READ_ACCESS_KEY_ID", "a1".repeat(16)),
        ("R2_GRADIENTS_READ_SECRET_ACCESS_KEY", "5e".repeat(32)),
        ("R2_GRADIENTS_WRITE_ACCESS_KEY_ID", "b2".repeat(16)),
        ("R2_GRADIENTS_WRITE_SECRET_ACCESS_KEY", "7d".repeat(32)),
        ("TEMPLAR_BUCKET_ENDPOINT", endpoint.to_owned()),
    ]);
    command
}

#[test]
fn a_wallet_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("--wallet.path={}", folder.path().display());
    let nowhere = "--network=ws://127.0.0.1:9";
    fails(templar(&["miner", "--wallet=nobody", nowhere, &path]), 3, "nobody");
    fails(templar(&["wallet", "show", "nobody/hk1", &path]), 3, "nobody");
}

#[test]
fn an_endpoint_that_nobody_listens_on_is_named() {
    let url = format!("--network=ws://127.0.0.1:{}", free_port());
    fails(templar(&["metagraph", "--netuid=3", &url]), 4, "127.0.0.1");
    let miner = templar(&["miner", "--wallet=//Alice", &url]);
    fails(with_bucket(miner, "http://127.0.0.1:9"), 4, "127.0.0.1");
    fails(templar(&["metagraph", "--netuid=3", "--network=nowhere"]), 2, "nowhere");
}

#[test]
fn a_bucket_credential_of_the_wrong_length_is_named_without_showing_it() {
    let secret = "notlongenough";
    let nowhere = "--network=ws://127.0.0.1:9";
    let mut miner = with_bucket(templar(&["miner", "--wallet=//Alice", nowhere]), "http://127.0.0.1:9");
    miner.env("R2_GRADIENTS_READ_SECRET_ACCESS_KEY", secret);
    let output = ends(miner);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("read key") && text.contains("64"), "{text}");
    assert!(!text.contains(secret), "{text}");
    let mut miner = with_bucket(templar(&["miner", "--wallet=//Alice", nowhere]), "http://127.0.0.1:9");
    miner.env_remove("R2_GRADIENTS_ACCOUNT_ID");
    fails(miner, 6, "R2_GRADIENTS_ACCOUNT_ID");
}

#[test]
fn what_the_chain_does_not_know_is_refused_in_one_sentence() {
    let (_chain, url) = devchain();
    let network = format!("--network={url}");
    fails(templar(&["metagraph", "--netuid=77", &network]), 5, "77");
    // Subnet 1 is there from the start, and //Bob is nobody on it.
    let miner = templar(&["miner", "--netuid=1", "--wallet=//Bob", &network]);
    fails(with_bucket(miner, "http://127.0.0.1:9"), 5, "not registered");
    fails(templar(&["register", "--netuid=77", "--wallet=//Bob", &network]), 5, "77");
    let ferdie = templar(&["weights", "history", "--netuid=77", &network]);
    fails(ferdie, 5, "77");
}

#[test]
fn a_bucket_that_refuses_is_named_before_anything_is_trained() {
    let (_chain, url) = devchain();
    let network = format!("--network={url}");
    let register = ends(templar(&["register", "--yes", "--netuid=1", "--wallet=//Bob", &network]));
    assert!(register.status.success(), "{}", String::from_utf8_lossy(&register.stderr));

    let folder = tempfile::tempdir().unwrap();
    let (_storage, endpoint) = storage(folder.path());
    let miner = || templar(&["miner", "--netuid=1", "--wallet=//Bob", &network]);
    // The server knows no such key.
    fails(with_bucket(miner(), &endpoint), 6, "");
    // Nobody is there.
    fails(with_bucket(miner(), &format!("http://127.0.0.1:{}", free_port())), 6, "");
}

fn storage(dir: &Path) -> (Running, String) {
    let keys = dir.join("keys.json");
    templar::bucket::server::Keys::default().write(&keys).unwrap();
    let child = templar(&["storage", "--port=0"])
        .arg("--dir")
        .arg(dir.join("buckets"))
        .arg("--keys")
        .arg(&keys)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (running, line.trim().to_owned())
}

#[test]
fn manifests_and_folders_are_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.toml"), "name = 3").unwrap();
    let run = format!("--run={}", folder.path().join("run.toml").display());
    let validator = |run: &str| {
        with_bucket(
            templar(&["validator", "--wallet=//Alice", "--network=ws://127.0.0.1:9", run]),
            "http://127.0.0.1:9",
        )
    };
    fails(validator(&run), 7, "not a run manifest");
    fails(validator("--run=templar-0"), 7, "no preset is called `templar-0`");
    fails(
        with_bucket(
            templar(&["validator", "--wallet=//Alice", "--network=ws://127.0.0.1:9"]),
            "http://127.0.0.1:9",
        ),
        2,
        "run",
    );
    let full = format!("--dir={}", folder.path().display());
    fails(templar(&["localnet", &full]), 2, "is not empty");
    fails(templar(&["localnet", "--data=/nonexistent/text"]), 7, "/nonexistent/text");
}

#[test]
fn questions_about_scores_that_cannot_be_answered_say_what_to_do() {
    // What is wrong with the question shows before anybody is asked.
    let nowhere = "--network=ws://127.0.0.1:9";
    let audit = |window: &str, network: &str| {
        let window = format!("--window={window}");
        templar(&["audit", "--netuid=1", "--validator=0", &window, network])
    };
    fails(audit("9..3", nowhere), 2, "the first window, 9, is after the last one, 3");
    fails(audit("soon", nowhere), 2, "`soon` is no range");
    let mut tolerant = audit("1..2", nowhere);
    tolerant.arg("--tolerance=2");
    fails(tolerant, 2, "--tolerance 2");
    let out = "--out=/nonexistent/scores.parquet";
    let export = |network: &str| {
        templar(&["scores", "export", "--netuid=1", "--format=parquet", "--window=1..2", network, out])
    };
    fails(templar(&["why", "1", "--log=/nonexistent/scores.jsonl"]), 6, "/nonexistent/scores.jsonl");
    // Nobody is there.
    let dead = format!("--network=ws://127.0.0.1:{}", free_port());
    fails(audit("1..2", &dead), 4, "127.0.0.1");
    fails(templar(&["why", "1", &dead]), 4, "127.0.0.1");
    fails(export(&dead), 4, "127.0.0.1");
    // Nobody has what is asked for.
    let (_chain, url) = devchain();
    let network = format!("--network={url}");
    let why = |arguments: &[&str]| {
        let mut why = templar(&["why", "1", "--netuid=1", &network]);
        why.args(arguments);
        why
    };
    fails(why(&["--validator=77"]), 2, "no UID 77 on subnet 1");
    fails(why(&["--validator=0"]), 7, "committed no bucket");
    let audit = |validator| templar(&["audit", "--netuid=1", validator, "--window=1..2", &network]);
    fails(audit("--validator=77"), 2, "no UID 77 on subnet 1");
    fails(audit("--validator=0"), 7, "committed no bucket");
    fails(templar(&["why", "1", "--netuid=78", &network]), 5, "78");
    fails(why(&["--bucket-endpoint=nonsense"]), 6, "nonsense");
}

#[test]
fn a_log_on_disk_is_asked_for_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("scores.jsonl");
    let alice = templar::wallet::Keypair::from_uri("//Alice").unwrap();
    let sign = |message: &[u8]| alice.sign(message);
    let text = templar::telemetry::score_log::sign_window("00ff", 5, &alice.account(), &[], sign).unwrap();
    std::fs::write(&log, &text).unwrap();
    let log = format!("--log={}", log.display());
    fails(templar(&["why", "1", &log]), 2, "UID 1 has no record in window 5");
    fails(templar(&["why", "1", "--window=6", &log]), 7, "no score log of window 6");
    let out = format!("--out={}", folder.path().join("out").display());
    let export = |window: &str| templar(&["scores", "export", "--format=jsonl", &log, &out, window]);
    fails(export("--window=6..9"), 7, "no score log of windows 6 to 9");
    fails(export("--window=9..6"), 2, "after the last one");
    assert!(ends(export("--window=1..5")).status.success());
    assert_eq!(std::fs::read_to_string(folder.path().join("out")).unwrap(), text);
    std::fs::write(folder.path().join("scores.jsonl"), text.replace("00ff", "00fe")).unwrap();
    fails(templar(&["why", "1", &log]), 7, "the signature of window 5");
}

/// Help is written for people, and every verb has some.
#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let text = String::from_utf8(ends(templar(&["--help"])).stdout).unwrap();
    for verb in [
        "localnet",
        "miner",
        "validator",
        "metagraph",
        "weights",
        "why",
        "audit",
        "bench",
        "scores",
        "register",
        "wallet",
        "devchain",
        "storage",
    ] {
        assert!(text.contains(verb), "{text}");
        let output = ends(templar(&[verb, "--help"]));
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Usage: templar"), "{help}");
        assert!(!help.contains("sabotage"), "what only a localnet uses is hidden");
    }
    assert!(text.contains("Exit codes:\n    0  done"), "{text}");
}

#[test]
fn a_benchmark_says_what_it_measured() {
    let works: [(&str, &[&str]); 2] = [
        ("hash", &["hash", "blake3", "read"]),
        ("train", &["losses", "train", "sketched", "step", "inner-f32", "inner-bf16"]),
    ];
    for (bench, expected) in works {
        let output = ends(templar(&["bench", bench, "--repeats=1", "--threads=1", "--json"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&json["bench"], &json["preset"]), (&bench.into(), &"local".into()));
        assert_eq!((&json["device"], &json["params"]), (&"cpu".into(), &459_392.into()));
        for (result, work) in json["results"].as_array().unwrap().iter().zip(expected) {
            assert_eq!((&result["work"], &result["bytes"]), (&(*work).into(), &1_837_568.into()));
            let (ms, rate) = (result["ms"].as_f64().unwrap(), result["params_per_s"].as_f64().unwrap());
            assert!(ms > 0.0 && (ms * rate / 1e3 / 459_392.0 - 1.0).abs() < 1e-9, "{result}");
        }
        assert_eq!(json["results"].as_array().unwrap().len(), expected.len());
        assert_eq!(json["model"]["hidden_size"], 128, "{json}");
        assert_eq!(json["sequences"].is_u64(), bench == "train", "{json}");
    }
    fails(templar(&["bench", "hash", "--preset=none"]), 7, "no preset is called `none`");
}

/// Works and bytes of each group, with 16 chunks: float32 of the gradient, of what is decoded, aggregated and stepped; a byte
/// a sign.
#[test]
fn the_codec_is_measured() {
    type Works = &'static [(&'static str, u64)];
    let groups: [(&str, Works, Works); 4] = [
        ("encode", &[("encode", 262_144)], &[("encode", 262_144)]),
        ("decode", &[("decode", 262_144)], &[("decode", 262_144)]),
        (
            "aggregate",
            &[("signs-15", 65_536), ("mean-15", 262_144), ("step-15", 262_144)],
            &[("mean-15", 262_144), ("step-15", 262_144)],
        ),
        ("judge", &[("judge-14", 262_144)], &[("judge-14", 262_144)]),
    ];
    let measured = |bench: &str, preset: &str| {
        let preset = format!("--preset={preset}");
        let flags = ["--params=65536", "--repeats=1", "--threads=1", "--json"];
        let output = ends(templar(&[&["bench", bench, &preset][..], &flags].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&json["bench"], &json["params"]), (&bench.into(), &65_536.into()));
        let results = json["results"].as_array().unwrap();
        for result in results {
            let (ms, rate) = (result["ms"].as_f64().unwrap(), result["params_per_s"].as_f64().unwrap());
            assert!(ms > 0.0 && (ms * rate / 1e3 / 65_536.0 - 1.0).abs() < 1e-9, "{result}");
        }
        let of =
            |r: &serde_json::Value| (r["work"].as_str().unwrap().to_owned(), r["bytes"].as_u64().unwrap());
        results.iter().map(of).collect::<Vec<_>>()
    };
    for (bench, demo, sparse_loco) in groups {
        for (preset, expected) in [("templar-1", demo), ("sparseloco", sparse_loco)] {
            let expected: Vec<_> =
                expected.iter().map(|(work, bytes)| ((*work).to_owned(), *bytes)).collect();
            assert_eq!(measured(bench, preset), expected);
        }
    }
    // 16 chunks: 64 values of two bits and two levels each, and positions of 7 to 8 bits.
    let wire = measured("wire", "sparseloco");
    assert_eq!(wire.iter().map(|(work, _)| work.as_str()).collect::<Vec<_>>(), ["write", "read"]);
    assert_eq!(wire[0].1, wire[1].1);
    assert!((16 * (20 + 56)..16 * (20 + 64)).contains(&wire[0].1), "{wire:?}");
    let table = ends(templar(&["bench", "wire", "--params=65536", "--repeats=1"]));
    assert!(String::from_utf8(table.stdout).unwrap().contains(" bits a position\nWORK "));
}

#[test]
fn what_a_benchmark_cannot_measure_is_refused() {
    fails(
        templar(&["bench", "encode", "--params=65000"]),
        2,
        "65000 parameters are not whole chunks of 4096",
    );
    fails(templar(&["bench", "decode", "--preset=none"]), 7, "no preset is called `none`");
    fails(templar(&["bench", "wire", "--device=gpu"]), 2, "`gpu` is not a device");
    for (words, sentence) in [
        (&["bench", "wire", "--params=0"][..], "invalid value '0' for '--params <N>'"),
        (&["bench", "everything"], "invalid value 'everything' for '<BENCH>'"),
    ] {
        let output = ends(templar(words));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
    }
}

#[test]
fn a_simulation_is_repeatable_and_says_what_is_wrong_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let tiny = support::root().join("tests/sim/tiny.toml").display().to_string();
    let run = |arguments: &[&str]| {
        let output = ends(templar(&[&["sim", &tiny, "--json"], arguments].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for measured in ["seconds", "peak_bytes"] {
            assert!(json.as_object_mut().unwrap().remove(measured).is_some());
        }
        json
    };
    let first = run(&["--out", out.to_str().unwrap()]);
    assert_eq!(first, run(&[]));
    assert_ne!(first, run(&["--seed", "2"]));
    // Four peers that do the same have no ranks to follow.
    assert!(first["loss_ratio_vs_clean"].is_number() && first.get("spearman_work").is_some());
    assert_eq!(first["kinds"][1]["class"], "worthless");
    for kind in first["kinds"].as_array().unwrap() {
        assert!(kind["pay_per_uid_vs_honest_median"].is_number() && kind["uids"].is_u64());
    }
    for file in ["report.json", "loss.csv", "kinds.csv", "loss.svg", "loss.png", "pay.svg", "pay.png"] {
        assert!(std::fs::metadata(out.join(file)).unwrap().len() > 0, "{file}");
    }
    fails(templar(&["sim", "nowhere.toml"]), 7, "cannot read nowhere.toml");
    fails(templar(&["sim", &tiny, "--windows", "2"]), 2, "2 windows leave none to count");
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, "name = 3").unwrap();
    fails(templar(&["sim", wrong.to_str().unwrap()]), 7, "not a scenario");
    let unknown = ends(templar(&["sim", &tiny, "--without", "luck"]));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("put-window"));
}
