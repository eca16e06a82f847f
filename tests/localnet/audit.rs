//! A short network whose chain and storage stay up, and what can be asked of them afterwards: why a score is
//! what it is, the log as a file, and an audit that finds a single bit.

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use templar::{
    telemetry::score_log,
    wallet::{Keypair, Wallet, verify},
};

/// A localnet that has ended, with its chain and storage still up.
pub struct Kept {
    child: Child,
    pub dir: PathBuf,
    network: String,
    endpoint: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

pub fn localnet(dir: &Path, arguments: &[&str], mut at_window: impl FnMut(u64)) -> Kept {
    let _network = crate::one_network();
    let mut child = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["localnet", "--keep", "--json", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut kept = Kept { child, dir: dir.to_path_buf(), network: String::new(), endpoint: String::new() };
    let said = lines
        .by_ref()
        .inspect(|line| {
            eprintln!("  {line}");
            if let Some((done, _)) = line.strip_prefix("window ").and_then(|line| line.split_once('/')) {
                at_window(done.parse().unwrap());
            }
        })
        .any(|line| line.starts_with("chain and storage"));
    assert!(said, "the network ended before its last window");
    let example = lines.next().unwrap();
    let word =
        |after: &str| example.split(after).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    (kept.network, kept.endpoint) = (word("--network "), word("--bucket-endpoint "));
    // Nobody must have to read on for the program to go on.
    std::thread::spawn(move || lines.for_each(drop));
    kept
}

impl Kept {
    fn templar(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_templar"))
            .args(arguments)
            .args(["--network", &self.network, "--bucket-endpoint", &self.endpoint, "--netuid=3"])
            .stdin(Stdio::null())
            .env("TEMPLAR_LOG", "warn")
            .env_remove("TEMPLAR_BUCKET_ENDPOINT")
            .output()
            .unwrap()
    }

    /// Audits the validator; gives the exit code and the report.
    #[track_caller]
    fn audit(&self, from: u64, to: u64) -> (i32, Value) {
        self.audit_of(1, from, to)
    }

    /// Audits the validator with this UID.
    #[track_caller]
    pub fn audit_of(&self, uid: u16, from: u64, to: u64) -> (i32, Value) {
        let data = format!("--data={}", self.dir.join("data").display());
        let validator = format!("--validator={uid}");
        let window = format!("--window={from}..{to}");
        let output = self.templar(&["audit", &validator, "--json", "--device=cpu", &data, &window]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.contains("error: "), !output.status.success(), "{stderr}");
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
        (output.status.code().unwrap(), report)
    }

    /// The folder of a neuron's objects in the storage.
    fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let buckets = fs::read_dir(self.dir.join("storage")).unwrap().map(|bucket| bucket.unwrap().path());
        let runs =
            buckets.filter(|b| b.is_dir()).flat_map(|b| fs::read_dir(b).unwrap().map(|r| r.unwrap().path()));
        runs.map(|run| run.join(folder)).filter(|path| path.is_dir()).collect()
    }

    /// The one object of a name in any bucket's folder.
    fn object(&self, folder: &str, name: &str) -> PathBuf {
        let found: Vec<PathBuf> = self
            .objects(folder)
            .into_iter()
            .map(|folder| folder.join(name))
            .filter(|p| p.is_file())
            .collect();
        found.into_iter().next().unwrap_or_else(|| panic!("no {folder}/{name}"))
    }

    fn validator(&self) -> Keypair {
        Wallet::at(&self.dir.join("wallets"), "localnet", "validator-1").unwrap().hotkey().unwrap()
    }
}

/// Kills a process of the localnet, as the kernel would.
fn kill(dir: &Path, name: &str) {
    let processes: Value = serde_json::from_slice(&fs::read(dir.join("processes.json")).unwrap()).unwrap();
    let pid = processes[name].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

/// Changes a file for as long as `check` runs; its time stamp stays.
fn changed(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>, check: impl FnOnce()) {
    let before = fs::read(path).unwrap();
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let write = |bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    };
    write(&change(before.clone()));
    check();
    write(&before);
}

fn flip(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

#[track_caller]
fn finds(kept: &Kept, window: u64, field: &str) -> Value {
    let (code, report) = kept.audit(window, window);
    let difference = report["difference"].clone();
    assert_eq!(code, 8, "{report:#}");
    assert_eq!((&difference["window"], &difference["field"]), (&window.into(), &field.into()), "{report:#}");
    difference
}

#[test]
fn an_honest_validator_passes_its_audit_and_a_single_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let arguments = ["--windows=8", "--miners=2", "--saboteur=noise:1"];
    let mut killed = false;
    let kept = localnet(&dir, &arguments, |done| {
        if done >= 3 && !std::mem::replace(&mut killed, true) {
            kill(&dir, "validator-1");
        }
    });
    let log = fs::read_to_string(dir.join("scores.jsonl")).unwrap();
    let windows: Vec<u64> =
        score_log::read(&log, verify).unwrap().iter().map(|window| window.closing.closes).collect();
    let (first, last) = (windows[0], *windows.last().unwrap());
    assert!((5..=8).contains(&windows.len()) && last == first + 7, "{windows:?}");

    // All of it, from the initial model and an empty state, across the gap that the kill has left.
    let (code, report) = kept.audit(first, last);
    assert_eq!((code, &report["difference"]), (0, &Value::Null), "{report:#}");
    let checked = report["windows"].as_array().unwrap();
    for (window, number) in checked.iter().zip(first..) {
        let outcome = if windows.contains(&number) { "same" } else { "no_log" };
        assert_eq!(window["outcome"], outcome, "{report:#}");
        // A busy machine may not have had time for everybody.
        let mut notes = window["notes"].as_array().unwrap().iter();
        assert!(
            notes.all(|note| note.as_str().unwrap().starts_with("accepted and not judged")),
            "{report:#}"
        );
    }
    let judged = checked.iter().map(|w| w["judged"].as_u64().unwrap()).sum::<u64>();
    assert!(checked.len() == 8 && judged > 10, "{report:#}");
    assert!(report["weights_on_chain"]["settings"].as_u64().unwrap() >= 2, "{report:#}");
    // The end of it, from a checkpoint and a published state; windows without a log say so.
    let (code, report) = kept.audit(last, last + 5);
    assert_eq!(code, 0, "{report:#}");
    let outcomes: Vec<_> =
        report["windows"].as_array().unwrap().iter().map(|w| w["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["same", "no_log", "no_log", "no_log", "no_log", "no_log"]);

    why_and_export(&kept, &log, last);
    its_checkpoints_are_taken_without_a_wallet(&kept, first, last);
    nobody_undoes_an_audit_by_deleting_objects(&kept, last);
    a_flipped_bit_is_found(&kept, last);
    weights_that_were_not_earned_are_found(&kept, last);
}

/// What was aggregated has a copy, and so has what was judged and refused; without it the window cannot be checked, and has not passed.
fn nobody_undoes_an_audit_by_deleting_objects(kept: &Kept, last: u64) {
    let away = |path: &Path| path.with_extension("away");
    let name = format!("{last:010}.safetensors");
    let deleted: Vec<PathBuf> =
        kept.objects("gradient").into_iter().map(|f| f.join(&name)).filter(|f| f.is_file()).collect();
    assert_eq!(deleted.len(), 3, "two honest miners and a saboteur");
    deleted.iter().for_each(|path| fs::rename(path, away(path)).unwrap());
    let (code, report) = kept.audit(last, last);
    assert_eq!((code, &report["windows"][0]["outcome"]), (0, &"same".into()), "{report:#}");
    let notes = report["windows"][0]["notes"].to_string();
    assert_eq!(notes.matches("taken from a validator's copy").count(), 3, "{notes}");

    let copies: Vec<PathBuf> =
        kept.objects("judged").into_iter().map(|folder| folder.join(format!("{last:010}"))).collect();
    assert_eq!(copies.len(), 1);
    fs::rename(&copies[0], away(&copies[0])).unwrap();
    let (code, report) = kept.audit(last, last);
    assert_eq!((code, &report["windows"][0]["outcome"]), (7, &"not_checked".into()), "{report:#}");
    fs::rename(away(&copies[0]), &copies[0]).unwrap();
    deleted.iter().for_each(|path| fs::rename(away(path), path).unwrap());
}

/// SparseLoCo from end to end: it learns, everybody has the same model though a miner and the validator were killed on the way, work
/// is paid, and the audit computes the same.
#[test]
fn a_network_of_inner_steps_learns_is_paid_and_audited() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let arguments = ["--preset=sparseloco", "--windows=10", "--miners=3", "--saboteur=noise:1"];
    let mut killed = std::collections::BTreeSet::new();
    let kept = localnet(&dir, &arguments, |done| {
        for (at, name) in [(2, "miner-1"), (4, "validator-1")] {
            if done >= at && killed.insert(name) {
                kill(&dir, name);
            }
        }
    });
    assert_eq!(killed.len(), 2);
    let report: Value = serde_json::from_slice(&fs::read(dir.join("report.json")).unwrap()).unwrap();
    let losses: Vec<f64> =
        report["loss"].as_array().unwrap().iter().map(|l| l["loss"].as_f64().unwrap()).collect();
    assert!(losses.len() == 10 && losses[9] < 0.8 * losses[0], "{losses:?}");
    let hashes = report["model_hash"].as_object().unwrap();
    let distinct: std::collections::BTreeSet<_> = hashes.values().map(Value::as_str).collect();
    assert_eq!((hashes.len(), distinct.len()), (5, 1), "{hashes:?}");
    let peers = report["peers"].as_array().unwrap();
    let weight = |peer: &Value| peer["weight"].as_u64().unwrap_or_default();
    let of = |kind: &str| peers.iter().filter(|p| p["kind"] == kind).map(weight).collect::<Vec<_>>();
    assert!(of("honest").iter().min() > of("noise").iter().max(), "{peers:#?}");

    let log = fs::read_to_string(dir.join("scores.jsonl")).unwrap();
    let windows: Vec<u64> =
        score_log::read(&log, verify).unwrap().iter().map(|window| window.closing.closes).collect();
    let (code, report) = kept.audit(windows[0], windows[windows.len() - 1]);
    assert_eq!((code, &report["difference"]), (0, &Value::Null), "{report:#}");
    // What was taken up after the kills is on the disk of those who were killed.
    let logs = |name: &str| fs::read_to_string(dir.join("logs").join(format!("{name}.log"))).unwrap();
    assert!(logs("miner-1").contains("inner optimizer's state taken up from disk"), "{}", logs("miner-1"));
}

fn why_and_export(kept: &Kept, log: &str, last: u64) {
    for uid in ["2", "3", "4"] {
        let output = kept.templar(&["why", uid]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            text.starts_with(&format!("UID {uid} (")) && text.contains(&format!("in window {last}")),
            "{text}"
        );
        assert!(text.contains("To earn more:"), "{text}");
    }
    let local = kept.dir.join("scores.jsonl");
    let output = kept.templar(&["why", "2", "--json", "--log", local.to_str().unwrap()]);
    let why: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&why["uid"], &why["window"]), (&2.into(), &last.into()));
    assert!(why["findings"].as_array().unwrap().len() > 3);

    let file = kept.dir.join("export.jsonl");
    let out = file.to_str().unwrap();
    let output = kept.templar(&["scores", "export", "--validator=1", "--format=jsonl", "--out", out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        log,
        "what is published is what is on the validator's disk"
    );
    let window = format!("--window={}..{last}", last - 1);
    let table = kept.dir.join("export.parquet");
    let table = table.to_str().unwrap();
    let output =
        kept.templar(&["scores", "export", "--log", out, "--format=parquet", &window, "--out", table]);
    let said = String::from_utf8(output.stdout).unwrap();
    // The owner of the subnet, two honest miners and one that sends noise.
    assert!(said.starts_with("8 records of 2 windows"), "{said}");
    assert!(fs::read(table).unwrap().starts_with(b"PAR1"));
}

fn its_checkpoints_are_taken_without_a_wallet(kept: &Kept, first: u64, last: u64) {
    let path = |name: &str| kept.dir.join(name).to_str().unwrap().to_owned();
    let out = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let report = kept.dir.join("report.json");
    let hashes: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let exported = out(kept.templar(&[
        "model",
        "export",
        "--follow",
        "--json",
        "--out",
        &path("model"),
        "--report",
        report.to_str().unwrap(),
    ]));
    let exported: Value = serde_json::from_str(&exported).unwrap();
    let info = out(kept.templar(&["model", "info", "--follow", "--json"]));
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["model_hash"], exported["model_hash"]);
    let window = info["window"].as_u64().unwrap();
    assert!((first..=last).contains(&window), "{window}");
    if window == last {
        assert!(hashes["model_hash"].as_object().unwrap().values().any(|hash| *hash == info["model_hash"]));
    }
    let card = fs::read_to_string(kept.dir.join("model/README.md")).unwrap();
    assert!(
        card.contains(&format!("| last window | {window} |")) && card.contains("## Held-out loss"),
        "{card}"
    );
    let row = |name: &str| card.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).unwrap();
    let number = |name: &str| row(name).trim_end_matches(" |").parse::<u64>().unwrap();
    // Two honest miners in most of the windows, and a third until it is found out.
    let accepted = number("pseudo-gradients aggregated");
    assert!((window - first..=3 * (window + 1 - first)).contains(&accepted), "{accepted}");
    assert_eq!(number("tokens at the usual work"), accepted * number("usual tokens of one peer in a window"));

    let text = path("own.txt");
    fs::write(&text, "fn main() {\n    println!(\"a text of one's own\");\n}\n").unwrap();
    let evaluator = ["evaluator", "--count=1", "--device=cpu", "--text", &text, "--out", &path("evaluation")]
        .map(str::to_owned);
    let evaluator = evaluator.iter().map(String::as_str).collect::<Vec<_>>();
    let table = out(kept.templar(&evaluator));
    assert!(table.starts_with(&format!("window {window}\n")) && table.contains("own.txt"), "{table}");
    // The same by name, and better than a model that learned nothing.
    let model = path("model");
    let eval = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["eval", "--json", "--device=cpu", "--model", &model, "--text", &text])
        .output()
        .unwrap();
    let eval: Value = serde_json::from_str(&out(eval)).unwrap();
    let bits = eval["texts"]["own.txt"]["bits_per_byte"].as_f64().unwrap();
    assert!(bits < 7.0, "{bits}");
    let line = fs::read_to_string(kept.dir.join("evaluation/history.jsonl")).unwrap();
    let line: Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!((&line["window"], &line["model"]), (&window.into(), &info["model_hash"]));
    assert!((line["values"]["own.txt bits_per_byte"][0].as_f64().unwrap() - bits).abs() < 1e-6);
    assert!(kept.dir.join(format!("evaluation/window-{window}.json")).is_file());

    let mut server = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["model", "serve", "--follow", "--listen=127.0.0.1:0", "--netuid=3"])
        .args(["--network", &kept.network, "--bucket-endpoint", &kept.endpoint])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().trim_start_matches("listening on http://").trim_end_matches("/v1").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut health = String::new();
    stream.read_to_string(&mut health).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(health.contains(&format!("\"window\":{window}")), "{health}");
}

fn a_flipped_bit_is_found(kept: &Kept, window: u64) {
    // In an object that was accepted.
    let object = kept.object("gradient", &format!("{window:010}.safetensors"));
    changed(&object, flip, || {
        let difference = finds(kept, window, "stage1.verdict");
        let (logged, recomputed) = (&difference["logged"], &difference["recomputed"]);
        assert_eq!((logged, recomputed), (&"accepted".into(), &"malformed".into()));
    });
    // In the published log, whatever bit: the signature says so.
    let log = kept.object("scores", &format!("{window:010}.jsonl"));
    changed(&log, flip, || {
        let output = kept.templar(&["audit", "--validator=1", &format!("--window={window}")]);
        assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    });
    // In a score or a weight, by the validator itself, who signs what it likes.
    let validator = kept.validator();
    let resigned = |change: fn(&mut templar::gauntlet::ScoreRecord)| {
        let validator = validator.clone();
        move |bytes: Vec<u8>| {
            let logged = score_log::read(std::str::from_utf8(&bytes).unwrap(), verify).unwrap().remove(0);
            let mut records = logged.records;
            change(records.iter_mut().find(|record| record.score > 0.0).unwrap());
            let sign = |message: &[u8]| validator.sign(message);
            let run = &logged.closing.run;
            score_log::sign_window(run, window, &validator.account(), &records, sign).unwrap().into_bytes()
        }
    };
    changed(&log, resigned(|record| record.score = f64::from_bits(record.score.to_bits() ^ 1)), || {
        let difference = finds(kept, window, "score");
        let number = |name: &str| difference[name].as_str().unwrap().parse::<f64>().unwrap();
        let (logged, recomputed) = (number("logged"), number("recomputed"));
        assert_eq!(logged.to_bits() ^ recomputed.to_bits(), 1);
    });
    changed(&log, resigned(|record| record.weight ^= 1), || _ = finds(kept, window, "weight"));
    // Nothing is left of all this.
    assert_eq!(kept.audit(window, window).0, 0);
}

/// On chain: the same weights but for one bit, set by the validator over those that it had set.
fn weights_that_were_not_earned_are_found(kept: &Kept, window: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (uid, was) = runtime.block_on(async {
        use templar::chain::SubtensorClient;
        let chain =
            SubtensorClient::connect(&templar::chain::endpoint(&kept.network).unwrap()).await.unwrap();
        let mut weights = chain.weights(3, 1, None).await.unwrap();
        weights.retain(|(_, weight)| *weight > 0);
        let changed = weights.iter_mut().min_by_key(|(_, weight)| *weight).unwrap();
        let was = *changed;
        changed.1 ^= 1;
        let (uids, weights): (Vec<u16>, Vec<u16>) = weights.into_iter().unzip();
        chain.set_weights_unchecked(3, &uids, &weights, 1_000, &kept.validator()).await.unwrap();
        was
    });
    let difference = finds(kept, window, "weight_on_chain");
    assert_eq!((&difference["uid"], &difference["recomputed"]), (&uid.into(), &was.to_string().into()));
    assert_eq!(difference["logged"], (was ^ 1).to_string());
}
