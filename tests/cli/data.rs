//! `templar data`: text of several forms becomes a corpus, whatever interrupts it; what is wrong with it is said in a sentence.

use crate::support;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

const TEMPLAR: &str = env!("CARGO_BIN_EXE_templar");

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
    command.args(["--sequence-length", "512", "--shard-tokens", if full() { "16777216" } else { "524288" }]);
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

    // Moments all over the time that it takes, from a generator with a fixed seed.
    let kills = if full() { 50 } else { 5 };
    let mut random = 7u64;
    for _ in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = whole_run.mul_f64(0.6 * (random >> 33) as f64 / f64::from(1u32 << 31));
        let mut process =
            prepare(&input, &killed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(!killed.join("corpus.json").exists() || different(&whole, &killed).is_empty());
        if killed.join("corpus.json").exists() {
            fs::remove_dir_all(&killed).unwrap();
        }
    }
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
