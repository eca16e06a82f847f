//! `templar model` as a person uses it: a checkpoint out, a folder in, and what is said where something is wrong.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tch::Device;
use templar::{
    checkpoint::Form,
    manifest::ManifestFile,
    model::{Llama, hugging_face},
    tokenizer::Tokenizer,
};

pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

fn model(folder: &Path, line: &str) -> Run {
    model_in(folder, "model", line)
}

/// Runs a verb in a folder.
pub fn model_in(folder: &Path, verb: &str, line: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    command.arg(verb).args(line.split_whitespace()).current_dir(folder);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

impl Run {
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }

    #[track_caller]
    pub fn fails(&self, code: i32, words: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(self.err.contains("error: ") && self.err.contains("hint: "), "{}", self.err);
        assert!(self.err.contains(words), "{words:?} is not in {}", self.err);
    }
}

#[test]
fn a_model_of_bytes_goes_on_with_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ManifestFile::preset("local").unwrap().parsed.model;
    config.initial_std = 0.2;
    let save = |config: &templar::manifest::ModelConfig, name: &str| {
        Llama::new(config, 42, Device::Cpu).save(&folder.path().join(name), &Default::default()).unwrap();
    };
    save(&config, "model.safetensors");
    let run = |line: &str| {
        model(
            folder.path(),
            &format!("generate --checkpoint model.safetensors --run local --ignore-end {line}"),
        )
    };
    let drawn = "--prompt fn --tokens 30 --temperature 1 --top-k 40 --top-p 0.9 --seed";
    let text = |line: &str| run(&format!("{line} --json")).json()["texts"][0].clone();
    let first = text(&format!("{drawn} 1"));
    assert_eq!((&first["tokens"], &first["finish"]), (&30.into(), &"length".into()));
    assert_eq!(first["text"], text(&format!("{drawn} 1"))["text"]);
    assert_ne!(first["text"], text(&format!("{drawn} 2"))["text"]);
    // As it comes, and then a line's end.
    assert_eq!(run(&format!("{drawn} 1")).out, format!("{}\n", first["text"].as_str().unwrap()));
    // Several at once are what each is alone.
    let both = run("--prompt fn --prompt let --tokens 9 --json").json();
    for (number, prompt) in ["fn", "let"].into_iter().enumerate() {
        assert_eq!(both["texts"][number], text(&format!("--prompt {prompt} --tokens 9")));
    }
    let lines = run("--prompt fn --prompt let --tokens 9").out;
    assert!(lines.starts_with("[1] ") && lines.contains("\n[2] "), "{lines}");
    // A text ends before what it was told to end before.
    let likeliest = text("--prompt fn --tokens 9");
    let ids = likeliest["token_ids"].as_array().unwrap();
    let printed: Vec<u8> = ids.iter().map(|id| id.as_u64().unwrap() as u8).collect();
    if let Some(letter) = printed.iter().position(u8::is_ascii_alphanumeric) {
        let ended = text(&format!("--prompt fn --tokens 9 --stop {}", char::from(printed[letter])));
        assert_eq!((&ended["finish"], &ended["tokens"]), (&"stop".into(), &(letter + 1).into()));
    }
    run("--prompt x --top-p 2").fails(2, "--top-p must be from 0 to 1");
    config.vocab_size = 300;
    fs::create_dir(folder.path().join("other")).unwrap();
    save(&config, "other/model.safetensors");
    let described = hugging_face::config_json(&config, hugging_face::Dtype::F32, (None, None));
    fs::write(folder.path().join("other/config.json"), described).unwrap();
    let other = |line: &str| model(folder.path(), &format!("generate --model other --prompt x {line}"));
    other("").fails(7, "other comes without tokenizer.json");
    // A tokenizer with more tokens than the model has weights for is another model's.
    config.vocab_size = 200;
    save(&config, "other/model.safetensors");
    let described = hugging_face::config_json(&config, hugging_face::Dtype::F32, (None, None));
    fs::write(folder.path().join("other/config.json"), described).unwrap();
    fs::create_dir(folder.path().join("bytes")).unwrap();
    for (name, content) in Tokenizer::bytes().unwrap().files() {
        fs::write(folder.path().join("bytes").join(name), content).unwrap();
    }
    other("--tokenizer bytes").fails(7, "the tokenizer has 256 tokens, the model 200");
    other("--tokenizer bytes --chat").fails(7, "do not belong together");
    run("--prompt x --chat").fails(7, "its tokenizer has none");
}

#[test]
fn a_checkpoint_goes_out_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| model(folder.path(), line);
    let checkpoint = Llama::new(&ManifestFile::preset("local").unwrap().parsed.model, 42, Device::Cpu);
    checkpoint.save(&folder.path().join("model.safetensors"), &Default::default()).unwrap();
    let hash = hex::encode(checkpoint.hash());

    let out = run("export model.safetensors --run local --out one --shard-mb 1 --json").json();
    assert_eq!((&out["model_hash"], &out["dtype"]), (&hash.clone().into(), &"float32".into()));
    assert!(out["files"].as_array().unwrap().len() > 1);
    assert_eq!(run("import one --out two --json").json()["model_hash"], hash);
    let info = run("info two --json").json();
    assert_eq!((&info["model_hash"], &info["parameters"]), (&hash.clone().into(), &459_392.into()));
    assert_eq!(info["weights"]["F32"], 459_392);
    assert_eq!(run("info model.safetensors --run local --json").json()["model_hash"], hash);
    // A checkpoint of several files, as it lies in a validator's bucket.
    let mut manifest = ManifestFile::preset("local").unwrap().parsed;
    manifest.checkpoint.shard_bytes = 500_000;
    fs::create_dir(folder.path().join("files")).unwrap();
    let files = Form::new(&manifest).write(&folder.path().join("files"), checkpoint.parameters()).unwrap();
    assert!(files.len() > 2);
    assert_eq!(run("info files --run local --json").json()["model_hash"], hash);
    fs::remove_file(folder.path().join("files").join(&files[1].name)).unwrap();
    run("info files --run local").fails(7, "does not hold this model");
    assert!(
        run("info two").out.starts_with("Llama of 459392 weights (459392 F32)\n  vocabulary 256, width ")
    );
    // The tokenizer of bytes comes along.
    assert!(Tokenizer::open(&folder.path().join("one")).is_ok_and(|t| t.len() == 256));
    assert_eq!((&info["tokens"], &info["ends"]), (&256.into(), &serde_json::json!([0])));
    let half = run("export two --out half --dtype bf16 --json").json();
    assert_eq!(
        (&half["bytes"], run("info half --json").json()["weights"]["BF16"].as_u64()),
        (&918_784.into(), Some(459_392))
    );

    run("export model.safetensors --out three").fails(2, "does not say what model it is");
    run("export two --out one").fails(7, "the folder is not empty");
    run("info nowhere").fails(2, "does not say what model it is");
    run("export model.safetensors --run templar-1 --out three").fails(7, "does not hold this model");
    run("export two --out three --dtype f64").fails_as_usage("write f32, bf16 or f16");
    let shard = folder.path().join("one").join(out["files"][0].as_str().unwrap());
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    run("import one --out three").fails(7, "is cut off");
    fs::write(folder.path().join("two/config.json"), "{}").unwrap();
    run("info two").fails(7, "no configuration of a Llama");
    assert!(!folder.path().join("three").exists(), "nothing half-done is left");
}

#[test]
fn a_full_disk_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Llama::new(&ManifestFile::preset("local").unwrap().parsed.model, 42, Device::Cpu);
    checkpoint.save(&folder.path().join("model.safetensors"), &Default::default()).unwrap();
    // No file may have more than 500 kB: what the system says then is said where a disk is full.
    let templar = env!("CARGO_BIN_EXE_templar");
    let script = format!(
        "trap '' XFSZ; ulimit -f 500; exec {templar} model export model.safetensors --run local --out out"
    );
    let output = Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(7), 0), "{said}");
    assert!(said.contains("error: cannot write ") && said.contains("hint: name a folder"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left");
}

impl Run {
    /// clap's own words, which come with its usage instead of a hint.
    #[track_caller]
    pub fn fails_as_usage(&self, words: &str) {
        assert_eq!(self.code, 2, "{}", self.err);
        assert!(self.err.contains(words), "{words:?} is not in {}", self.err);
    }
}
