//! `templar data`: text of several forms becomes a corpus, whatever interrupts it; what is wrong with it is said in a sentence.

use crate::{hub::Server, support};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

const TEMPLAR: &str = env!("CARGO_BIN_EXE_templar");
/// Tokens of a shard.
const SHARD: &str = "524288";

/// Whether slow tests run in their long form.
fn full() -> bool {
    std::env::var_os("TEMPLAR_FULL_TESTS").is_some()
}

/// Text in all forms, a tokenizer, and the tokens that the `tokenizers` library makes of it.
fn text() -> &'static Path {
    static TEXT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = TEXT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let python = support::python("corpus", &["tokenizers==0.22.2", "pyarrow", "zstandard"]);
        let mebibytes = if full() { "2048" } else { "12" };
        let registry = PathBuf::from(
            std::env::var_os("CARGO_HOME")
                .unwrap_or_else(|| std::env::home_dir().unwrap().join(".cargo").into_os_string()),
        );
        let output = Command::new(python)
            .arg(support::script("make_corpus.py"))
            .arg(folder.path())
            .args([mebibytes, "4000"])
            .arg(registry.join("registry/src"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    });
    folder.path()
}

fn prepare(input: &Path, out: &Path) -> Command {
    let mut command = Command::new(TEMPLAR);
    command.args(["data", "prepare", "--json", "--separator", "<|endoftext|>", "--source", "a test"]);
    command.args(["--sequence-length", "512", "--shard-tokens", if full() { "16777216" } else { SHARD }]);
    command
        .arg("--tokenizer")
        .arg(text().join("tokenizer.json"))
        .arg("--input")
        .arg(input)
        .arg("--out")
        .arg(out);
    command
}

/// The files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(entry).collect()
}

/// Where two folders differ, by name: their bytes are too many to be shown.
fn different(one: &Path, other: &Path) -> Vec<String> {
    let (one, other) = (files(one), files(other));
    let names = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
    names.cloned().collect()
}

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The most memory that a process has had, in MiB.
fn peak_mib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? >> 10)
}

#[test]
fn a_preparation_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let out = tempfile::tempdir().unwrap();
    let (whole, killed) = (out.path().join("whole"), out.path().join("killed"));
    let input = text().join("parquet");

    let started = Instant::now();
    let mut process = prepare(&input, &whole).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while process.try_wait().unwrap().is_none() {
        peak = peak.max(peak_mib(process.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    let whole_run = started.elapsed();
    assert!(process.wait().unwrap().success());
    println!("prepared in {whole_run:?} with at most {peak} MiB");
    assert!((1..2048).contains(&peak), "{peak} MiB");

    // The tokens of documents are those of Python, each with the separator behind it.
    let expected: Value = serde_json::from_slice(&fs::read(text().join("expected.json")).unwrap()).unwrap();
    let separator = expected["separator"].as_u64().unwrap();
    let mut tokens = Vec::new();
    for document in expected["documents"].as_array().unwrap() {
        tokens.extend(document.as_array().unwrap().iter().map(|token| token.as_u64().unwrap()));
        tokens.push(separator);
    }
    let stored = fs::read(whole.join("shard-000000.bin")).unwrap();
    let stored: Vec<u64> =
        stored.chunks(2).map(|two| u64::from(u16::from_le_bytes([two[0], two[1]]))).collect();
    let same = tokens.iter().zip(&stored).take_while(|(ours, theirs)| ours == theirs).count();
    assert!(
        tokens.len() > 50_000 && same == tokens.len().min(stored.len()),
        "{same} of {} tokens",
        tokens.len()
    );

    // Moments from a generator with a fixed seed, so far apart that together they are about as long as it takes.
    let kills: u32 = if full() { 50 } else { 5 };
    let mut further = 0;
    let mut random = 7u64;
    for kill in 0..kills * 8 {
        // On a machine that is suddenly slower or faster all of them may have come too early or too late.
        if kill >= kills && further > 0 {
            break;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment =
            whole_run.mul_f64(2.0 / f64::from(kills) * (random >> 33) as f64 / f64::from(1u32 << 31));
        let mut process =
            prepare(&input, &killed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        process.kill().unwrap();
        process.wait().unwrap();
        further += usize::from(fs::read_dir(&killed).is_ok_and(|files| files.count() > 3));
        assert!(!killed.join("corpus.json").exists() || different(&whole, &killed).is_empty());
        if killed.join("corpus.json").exists() {
            fs::remove_dir_all(&killed).unwrap();
        }
    }
    println!("{further} of {kills} kills left something to go on with");
    assert!(further > 0);
    let manifest = json(&mut prepare(&input, &killed));
    let leftover = killed.join("prepare.lock");
    assert!(!leftover.exists());
    assert_eq!(different(&whole, &killed), Vec::<String>::new());
    assert_eq!(manifest["tokenizer"].as_str().unwrap().len(), "blake3:".len() + 16);
    assert!(manifest["empty"].as_u64().unwrap() > 1);

    // It is all there, and a changed bit is found.
    let verify = |folder: &Path| {
        Command::new(TEMPLAR).args(["data", "verify", "--data"]).arg(folder).output().unwrap()
    };
    assert!(verify(&killed).status.success());
    let shard = killed.join("shard-000001.bin");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[12_345] ^= 4;
    fs::write(&shard, bytes).unwrap();
    let found = verify(&killed);
    assert_eq!(found.status.code(), Some(7));
    let said = String::from_utf8(found.stderr).unwrap();
    assert!(said.contains("shard-000001.bin is not as the corpus' manifest describes it"), "{said}");

    let mut inspect = Command::new(TEMPLAR);
    let shown = json(inspect.args(["data", "inspect", "--json", "--samples", "2", "--data"]).arg(&whole));
    assert!(shown["samples"][0]["text"].as_str().unwrap().starts_with("0: "));
    assert_eq!(shown["corpus"]["hash"], manifest["hash"]);
}

#[test]
fn json_lines_are_the_same_text_however_they_are_packed() {
    let out = tempfile::tempdir().unwrap();
    let prepared = |name: &str, input: PathBuf| {
        let manifest = json(&mut prepare(&input, &out.path().join(name)));
        manifest["hash"].as_str().unwrap().to_owned()
    };
    let first = text().join("parquet/train-00000.parquet");
    let parquet = prepared("parquet", first);
    for name in ["first.jsonl", "first.jsonl.gz", "first.jsonl.zst"] {
        assert_eq!(prepared(name, text().join("lines").join(name)), parquet, "{name}");
    }
}

/// The S3 server of the program, over a folder; it ends with the test.
struct Storage {
    process: std::process::Child,
    url: String,
}

impl Storage {
    fn start(folder: &Path) -> Self {
        let key = serde_json::json!({ "access_key": "a-key", "secret_key": "a-secret", "bucket": "text", "access": "write" });
        let keys = folder.join("keys.json");
        fs::write(&keys, serde_json::json!({ "keys": [key] }).to_string()).unwrap();
        fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut command = Command::new(TEMPLAR);
        command.args(["storage", "--port", "0", "--dir"]).arg(folder.join("buckets")).arg("--keys").arg(keys);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.trim().to_owned() }
    }

    fn environment(&self) -> [(&str, &str); 3] {
        [
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_ACCESS_KEY_ID", "a-key"),
            ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        ]
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn text_in_a_bucket_and_on_the_hub_is_the_same_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let here = json(&mut prepare(&text().join("parquet"), &path("here")));

    fs::create_dir_all(path("buckets/text/in")).unwrap();
    for entry in fs::read_dir(text().join("parquet")).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), path("buckets/text/in").join(entry.file_name())).unwrap();
    }
    let storage = Storage::start(folder.path());
    let mut from_bucket = prepare(Path::new("s3://text/in"), Path::new("s3://text/corpus"));
    let there = json(from_bucket.arg("--work").arg(path("work")).envs(storage.environment()));
    assert_eq!(there["hash"], here["hash"]);
    // What is in the bucket is what is on disk, but for the words about the source.
    assert_eq!(different(&path("work"), &path("buckets/text/corpus")), Vec::<String>::new());
    assert_eq!(different(&path("work"), &path("here")), Vec::<String>::new(), "--source is the same");
    // Another corpus in the same place has shards of the same names and lengths: they are not taken for what is there.
    let other = Path::new("s3://text/in/train-00001.parquet");
    let mut over = prepare(other, Path::new("s3://text/corpus"));
    json(over.arg("--work").arg(path("work-over")).envs(storage.environment()));
    let left = different(&path("work-over"), &path("buckets/text/corpus"));
    let over = files(&path("work-over"));
    assert!(left.iter().all(|name| !over.contains_key(name)), "{left:?}");
    let mut no_key = prepare(Path::new("s3://text/in"), &path("other"));
    let output = no_key.env_remove("AWS_ENDPOINT_URL").env_remove("AWS_ENDPOINT_URL_S3").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("AWS_ENDPOINT_URL is not set") && output.status.code() == Some(2), "{said}");

    let hub = Server::start();
    hub.serve_folder(&text().join("parquet"));
    fs::create_dir_all(path("tokenizer")).unwrap();
    fs::copy(text().join("tokenizer.json"), path("tokenizer/tokenizer.json")).unwrap();
    fs::write(path("tokenizer/tokenizer_config.json"), r#"{"eos_token": "<|endoftext|>"}"#).unwrap();
    hub.serve_folder(&path("tokenizer"));
    let mut from_hub = Command::new(TEMPLAR);
    from_hub.args([
        "data",
        "prepare",
        "--json",
        "--input",
        "hf://datasets/some/text",
        "--tokenizer",
        "hf:some/model",
    ]);
    from_hub.args(["--sequence-length", "512", "--shard-tokens", SHARD, "--out"]).arg(path("hub"));
    from_hub.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", path("home")).env_remove("HF_HUB_OFFLINE");
    let from_hub = json(from_hub.env_remove("HF_HUB_CACHE").env_remove("HF_TOKEN"));
    assert_eq!(
        (from_hub["hash"].clone(), from_hub["tokenizer"].as_str()),
        (here["hash"].clone(), Some("some/model"))
    );
    assert_eq!(from_hub["source"], "hf://datasets/some/text");
    assert!(!files(&path("hub")).keys().any(|name| name.starts_with("input.part")));
}

#[test]
fn what_is_wrong_with_the_input_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("no-text.jsonl"), "{\"body\": \"a\", \"url\": \"b\"}\n").unwrap();
    fs::write(path("no-json.jsonl"), "{\"text\": \"fine\"}\n{\"text\": 5}\n").unwrap();
    fs::write(path("no-utf8.jsonl"), b"{\"text\": \"gr\xfcn\"}\n").unwrap();
    fs::write(path("empty.jsonl"), "{\"text\": \"\"}\n{\"text\": null}\n\n").unwrap();
    fs::write(path("cut.jsonl.gz"), &fs::read(text().join("lines/first.jsonl.gz")).unwrap()[..5000]).unwrap();
    let parquet = fs::read(text().join("parquet/train-00000.parquet")).unwrap();
    fs::write(path("cut.parquet"), &parquet[..parquet.len() / 2]).unwrap();
    fs::write(path("text.parquet"), "this is no Parquet").unwrap();
    for (name, code, said) in [
        ("no-text.jsonl", 7, "no-text.jsonl has no column `text`; it has: body, url"),
        ("no-json.jsonl", 7, "document 2 of no-json.jsonl is no JSON object with a text in `text`"),
        ("no-utf8.jsonl", 7, "document 1 of no-utf8.jsonl is not UTF-8"),
        ("empty.jsonl", 7, "no text was found in empty.jsonl"),
        ("cut.jsonl.gz", 7, "cut.jsonl.gz cannot be read: "),
        ("cut.parquet", 7, "cut.parquet cannot be read: "),
        ("text.parquet", 7, "text.parquet cannot be read: "),
        ("nowhere.parquet", 7, "nowhere.parquet: No such file"),
    ] {
        let out = path("out");
        let output = prepare(&path(name), &out).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
        assert!(errors.len() == 1 && errors[0].contains(said), "{name}: {stderr}");
        assert!(stderr.contains("  hint: "), "{name}: {stderr}");
        assert!(!out.exists(), "{name} left {:?}", files(&out).keys());
    }
    // Bad documents may be left out, and are counted.
    let manifest = json(prepare(&path("no-json.jsonl"), &path("some")).args(["--skip-bad"]));
    assert_eq!((manifest["documents"].as_u64(), manifest["skipped"].as_u64()), (Some(1), Some(1)));
    let again = prepare(&path("no-json.jsonl"), &path("some")).output().unwrap();
    assert!(String::from_utf8(again.stderr).unwrap().contains("has a corpus already"));
}

#[test]
fn a_node_with_another_text_ends_before_it_signs_anything() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.txt"), "some text to train on, and a little more of it. ".repeat(900)).unwrap();
    let mut bytes = Command::new(TEMPLAR);
    bytes.args([
        "data",
        "prepare",
        "--tokenizer",
        "bytes",
        "--sequence-length",
        "128",
        "--shard-tokens",
        "12800",
        "--input",
    ]);
    assert!(bytes.arg(path("a.txt")).arg("--out").arg(path("bytes")).output().unwrap().status.success());
    let preset = fs::read_to_string(support::root().join("src/manifest/local.toml")).unwrap();
    let manifest = |name: &str, hash: &str| {
        let text =
            preset.replace("tokenizer = \"bytes\"", &format!("tokenizer = \"bytes\"\nhash = \"{hash}\""));
        fs::write(path(name), text).unwrap();
        path(name)
    };
    let other = manifest("other.toml", &"ab".repeat(32));
    fs::write(path("cut.toml"), &preset).unwrap();
    // Nobody listens there: whoever asks the chain first fails otherwise.
    let validator = |run: &Path, data: &Path| {
        let mut command = Command::new(TEMPLAR);
        command.args(["validator", "--wallet=//Alice", "--network=ws://127.0.0.1:1", "--device=cpu"]);
        command.arg("--run").arg(run).arg("--data").arg(data).arg("--dir").arg(path("state"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = validator(&other, &path("bytes"));
    assert!(code == Some(7) && said.contains("this is not the run's corpus"), "{said}");
    let (code, said) = validator(Path::new("templar-1"), &path("bytes"));
    assert!(
        code == Some(7) && said.contains("made with the tokenizer bytes, the run's is together"),
        "{said}"
    );
    let shard = fs::read(path("bytes/shard-000001.bin")).unwrap();
    fs::write(path("bytes/shard-000001.bin"), &shard[..100]).unwrap();
    let (code, said) = validator(&path("cut.toml"), &path("bytes"));
    assert!(
        code == Some(7)
            && said
                .contains("shard-000001.bin is not as the corpus' manifest describes it: it has 100 bytes"),
        "{said}"
    );
    fs::write(path("bytes/shard-000001.bin"), shard).unwrap();
    // With the right text it goes on to the chain, or to its bucket.
    let (code, said) = validator(&path("cut.toml"), &path("bytes"));
    assert!(code != Some(7), "{said}");
}

#[test]
fn a_plan_says_what_a_run_needs() {
    let out = tempfile::tempdir().unwrap();
    let corpus = out.path().join("corpus");
    json(&mut prepare(&text().join("lines/first.jsonl"), &corpus));
    let mut plan = Command::new(TEMPLAR);
    let plan = json(plan.args(["data", "plan", "--json", "--run", "templar-1", "--data"]).arg(&corpus));
    // 20,000 windows, 250 miners, 36 sequences of 2048 tokens.
    assert_eq!(plan["tokens_needed"].as_u64(), Some(20_000 * 250 * 36 * 2048));
    assert_eq!(plan["corpus"]["tokenizer_fits"], false);
    assert!(plan["corpus"]["epochs"].as_f64().unwrap() > 10_000.0);
}
