//! A network that trains on a prepared corpus it fetches: from a bucket, beside a mirror that lies, one that is slow and one that is gone.

use crate::{network::localnet, support};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const TEMPLAR: &str = env!("CARGO_BIN_EXE_templar");
/// MiB that a node may keep.
const CACHE: u64 = 1;

/// Ends a process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves a folder over HTTP, badly: each answer comes after a while, or with a bit that is another.
fn server(folder: PathBuf, lies: bool, after: Duration) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, counted) = (folder.clone(), counted.clone());
            std::thread::spawn(move || while answer(&stream, &folder, lies, after, &counted).is_some() {});
        }
    });
    (url, asked)
}

fn answer(
    mut stream: &TcpStream,
    folder: &Path,
    lies: bool,
    after: Duration,
    asked: &AtomicU64,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let name = request.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut range = None;
    for line in lines.by_ref() {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("range: bytes=") {
            let (from, to) = text.split_once('-')?;
            range = Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()? + 1));
        }
    }
    // Who asked may be gone before the answer comes.
    asked.fetch_add(u64::from(range.is_some()), Relaxed);
    std::thread::sleep(after);
    let all = fs::read(folder.join(name)).ok()?;
    let (status, mut body) = match range {
        Some((from, to)) => ("206 Partial Content", all.get(from..to)?.to_vec()),
        None => ("200 OK", all),
    };
    if lies && range.is_some() {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

/// Bytes of the files of a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

#[test]
fn a_network_trains_on_a_corpus_that_it_fetches_from_good_and_bad_mirrors() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Text and a tokenizer of 1000 tokens.
    let python = support::python("corpus", &["tokenizers==0.22.2", "pyarrow", "zstandard"]);
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cargo"));
    let mut make = Command::new(python);
    make.arg(support::script("make_corpus.py"))
        .arg(path("text"))
        .args(["12", "1000"])
        .arg(home.join("registry/src"));
    let made = make.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    // The embedded S3 server has it.
    let keys = json!({ "keys": [{ "access_key": "reader-of-the-text", "secret_key": "a-secret-of-the-test", "bucket": "text", "access": "write" }] });
    fs::write(path("keys.json"), keys.to_string()).unwrap();
    fs::set_permissions(path("keys.json"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(path("storage/text")).unwrap();
    let mut storage = Command::new(TEMPLAR);
    storage
        .args(["storage", "--port", "0", "--dir"])
        .arg(path("storage"))
        .arg("--keys")
        .arg(path("keys.json"));
    let mut storage = Ended(storage.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut url = String::new();
    BufReader::new(storage.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let environment = [
        ("AWS_ENDPOINT_URL", url.trim()),
        ("AWS_ACCESS_KEY_ID", "reader-of-the-text"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-test"),
    ];
    let mut prepare = Command::new(TEMPLAR);
    prepare.args([
        "data",
        "prepare",
        "--sequence-length",
        "128",
        "--shard-tokens",
        "1048576",
        "--separator",
        "<|endoftext|>",
    ]);
    prepare.arg("--tokenizer").arg(path("text/tokenizer.json")).arg("--input").arg(path("text/parquet"));
    prepare.args(["--out", "s3://text/corpus", "--work"]).arg(path("corpus")).envs(environment);
    let prepared = prepare.output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    assert!(size(&path("corpus")) > 4 * (CACHE << 20), "the corpus is larger than a node may keep");

    let (liar, lies) = server(path("corpus"), true, Duration::ZERO);
    let (slow, delays) = server(path("corpus"), false, Duration::from_secs(2));
    let gone = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let data = path("corpus").display().to_string();
    let cache = format!("--data-cache={CACHE}");
    let mut arguments = vec!["--windows=6", "--miners=3", "--saboteur=none", "--data", &data, &cache];
    for mirror in [gone.as_str(), &liar, &slow, "s3://text/corpus"] {
        arguments.extend(["--mirror", mirror]);
    }
    let dir = path("net");
    let report = localnet(&dir, &arguments, &environment, |_| {});

    // It trained on all of it: everybody has one model, and learned.
    let hashes = report["model_hash"].as_object().unwrap();
    let distinct: BTreeSet<_> = hashes.values().map(|h| h.as_str().unwrap()).collect();
    assert_eq!((hashes.len(), distinct.len()), (4, 1), "{hashes:?}");
    let losses: Vec<f64> =
        report["loss"].as_array().unwrap().iter().map(|l| l["loss"].as_f64().unwrap()).collect();
    assert!(losses.last().unwrap() + 0.1 < losses[0], "{losses:?}");
    let peers: &Vec<Value> = report["peers"].as_array().unwrap();
    let paid = peers.iter().filter(|peer| peer["kind"] == "honest" && peer["weight"].as_u64() > Some(0));
    assert_eq!(paid.count(), 3, "nobody's work was refused for its data: {peers:#?}");

    // The bad mirrors were asked, and found out.
    assert!(lies.load(Relaxed) > 0 && delays.load(Relaxed) > 0);
    let log = fs::read_to_string(dir.join("logs/validator-1.log")).unwrap();
    assert!(log.contains("a mirror gives other bytes than the corpus has"), "{log}");
    // A node keeps no more than it may: of the whole text a part.
    let mut caches = 0;
    for node in fs::read_dir(dir.join("state")).unwrap() {
        for run in fs::read_dir(node.unwrap().path()).unwrap() {
            let cache = run.unwrap().path().join("data-cache");
            assert!(size(&cache) > 0 && size(&cache) <= CACHE << 20, "{} bytes", size(&cache));
            caches += 1;
        }
    }
    assert_eq!(caches, 4);
    let mut secret = String::new();
    for log in fs::read_dir(dir.join("logs")).unwrap() {
        fs::File::open(log.unwrap().path()).unwrap().read_to_string(&mut secret).unwrap();
    }
    assert!(!secret.contains("a-secret-of-the-test"));
}
