//! Evaluation, generation, import and export beside Python's libraries. `scripts/bench eval` prints the table.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a benchmark may fail, and prints"
)]

#[path = "../support.rs"]
mod support;
#[path = "../model/tasks.rs"]
mod tasks;

use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Instant};
use tch::{Device, Tensor};
use templar::{
    eval::{self, Folder, Options, expand},
    manifest::{ManifestFile, ModelConfig},
    model::{
        Llama,
        generate::{Engine, Sampling},
        hugging_face::{self, ExportOptions},
        parameter_count,
    },
    tokenizer::Tokenizer,
};

const TASKS: [&str; 8] =
    ["hellaswag", "piqa", "arc_easy", "arc_challenge", "winogrande", "openbookqa", "sciq", "lambada_openai"];
/// New tokens of a text.
const TOKENS: usize = 200;

fn best(runs: usize, mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(time).fold(f64::INFINITY, f64::min)
}

fn python(packages: (&str, &[&str]), script: &str, arguments: &[String], threads: usize) -> String {
    let output = Command::new(support::python(packages.0, packages.1))
        .arg(support::script(script))
        .args(arguments)
        .env("HARNESS_THREADS", threads.to_string())
        .env("HARNESS_BOOTSTRAP", "0")
        .env("HARNESS_BATCH", "16")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const HARNESS: (&str, &[&str]) =
    ("harness", &["lm_eval==0.4.13", "transformers==5.17.0", "safetensors", "numpy", "sympy", "networkx"]);

fn evaluate(folder: &Path, model: &Llama, tokenizer: &Tokenizer, shots: usize) -> (f64, usize) {
    let options = Options { shots, limit: None, budget: 768 };
    let place = Folder::new(folder.join("tasks"));
    let (listed, _) = expand(&TASKS.map(str::to_owned)).unwrap();
    let mut requests = 0;
    let seconds = best(1, || {
        requests = 0;
        for task in &listed {
            let prepared = eval::prepare(task, &place, tokenizer, &options).unwrap();
            requests += prepared.requests();
            eval::ask(model, prepared, &options, |_| ());
        }
    });
    (seconds, requests)
}

fn generate(model: &Llama, rows: usize) -> f64 {
    let prompt: Vec<i64> = (2..18).collect();
    best(2, || {
        let mut engine = Engine::new(model);
        for _ in 0..rows {
            engine.add(&prompt, Sampling::default());
        }
        for _ in 0..TOKENS {
            engine.step();
        }
    })
}

/// How fast libtorch reads weights for the product of one row, and the same memory for a sum.
fn memory() {
    let float = (tch::Kind::Float, Device::Cpu);
    let weights: Vec<Tensor> = (0..4).map(|_| Tensor::randn([32_000, 512], float)).collect();
    let x = Tensor::randn([1, 512], float);
    let gigabytes = 4.0 * 32_000.0 * 512.0 * 4e-9;
    let product = best(5, || weights.iter().for_each(|weight| drop(x.linear::<&Tensor>(weight, None))));
    let sum = best(5, || weights.iter().for_each(|weight| drop(weight.sum(tch::Kind::Float))));
    let (product, sum) = (gigabytes / product, gigabytes / sum);
    println!(
        "| libtorch: product of one row, sum | {product:.1} GB/s | {sum:.1} GB/s | {:.2} | itself |",
        product / sum
    );
}

fn row(what: &str, ours: f64, theirs: f64, unit: &str, beside: &str) {
    println!("| {what} | {ours:.2} {unit} | {theirs:.2} {unit} | {:.2} | {beside} |", ours / theirs);
}

fn main() {
    let threads = std::thread::available_parallelism().unwrap().get();
    tch::set_num_threads(threads as i32);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let reference = [
        "transformers==5.17.0",
        "safetensors",
        "numpy",
        "typing_extensions",
        "sympy",
        "networkx",
        "jinja2",
        "filelock",
        "fsspec",
        "mpmath",
    ];
    python(
        ("model-reference", &reference),
        "tokenizers_reference.py",
        &[place.display().to_string()],
        threads,
    );
    let tokenizer = Tokenizer::open(&place.join("byte_level")).unwrap();
    let config = ModelConfig {
        vocab_size: 32_000,
        hidden_size: 512,
        intermediate_size: 1408,
        layers: 8,
        heads: 8,
        kv_heads: 4,
        sequence_length: 1024,
        initial_std: 0.05,
        ..ManifestFile::preset("local").unwrap().parsed.model
    };
    let model = Llama::new(&config, 5, Device::Cpu);
    let options = ExportOptions { tokenizer: Some(&tokenizer), ..ExportOptions::default() };
    hugging_face::export(&model, &place.join("model"), options, |_| ()).unwrap();
    tasks::write_tasks(&place.join("tasks"), true);
    let libtorch = std::env::var("LIBTORCH").unwrap_or_else(|_| ".libtorch/torch".to_owned());
    let libtorch = std::path::absolute(libtorch).unwrap().display().to_string();
    let at = place.display().to_string();
    println!("A Llama of {} weights, {threads} threads.\n", parameter_count(&config));
    println!("| work | templar | Python | ratio | beside |\n|---|---|---|---|---|");

    // Any argument leaves out evaluation, which takes the longest.
    let shots: &[usize] = if std::env::args().count() > 1 { &[] } else { &[0, 5] };
    for &shots in shots {
        let mut arguments = vec![at.clone(), libtorch.clone(), shots.to_string()];
        arguments.extend(TASKS.map(str::to_owned));
        python(HARNESS, "harness.py", &arguments, threads);
        let found: Value =
            serde_json::from_str(&fs::read_to_string(place.join("harness.json")).unwrap()).unwrap();
        let (ours, requests) = evaluate(place, &model, &tokenizer, shots);
        let theirs = found["seconds"].as_f64().unwrap();
        let requests = requests as f64;
        row(
            &format!("{requests} requests of eight tasks, {shots} examples"),
            requests / ours,
            requests / theirs,
            "a second",
            "lm-evaluation-harness, batch 16",
        );
    }

    let found = python(
        ("model-reference", &reference),
        "bench_model.py",
        &[at, libtorch, threads.to_string()],
        threads,
    );
    let found: Value = serde_json::from_str(found.lines().last().unwrap()).unwrap();
    let theirs = |name: &str| found[name].as_f64().unwrap();
    for (rows, name) in [(1, "generate"), (8, "generate_8")] {
        let tokens = (rows * TOKENS) as f64;
        let what = format!("greedy tokens, {rows} at once");
        row(&what, tokens / generate(&model, rows), tokens / theirs(name), "tokens/s", "transformers");
    }
    memory();
    let bytes = 4e-9 * parameter_count(&config) as f64;
    let load = best(3, || {
        let opened = hugging_face::import(&place.join("model"), Device::Cpu).unwrap();
        let sum: f64 = opened
            .parameters()
            .iter()
            .map(|(_, tensor)| tensor.sum(tch::Kind::Float).double_value(&[]))
            .sum();
        assert!(sum.is_finite());
    });
    row("import", bytes / load, bytes / theirs("load"), "GB/s", "safetensors.torch.load_file");
    let save = best(3, || {
        let out = place.join("out");
        hugging_face::export(&model, &out, ExportOptions::default(), |_| ()).unwrap();
        fs::remove_dir_all(out).unwrap();
    });
    row(
        "export, on disk",
        bytes / save,
        bytes / theirs("save"),
        "GB/s",
        "safetensors.torch.save_file, fsync",
    );
}
