//! `templar model`: a model in and out of the form that Hugging Face's libraries use.

use crate::{
    cli::{
        Exit, Failure,
        output::{print, print_json},
    },
    context,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::Device;
use templar::{
    manifest::ModelConfig,
    model::{
        Llama,
        generate::{Sampling, Session, bytes_to_tokens},
        hugging_face::{self, CONFIG_FILE, Dtype, ExportOptions},
        parameter_count,
    },
};

/// What to do with a model.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a model as `AutoModelForCausalLM.from_pretrained` loads it
    Export(Export),
    /// Read a Llama of a local folder and write it as a checkpoint of float32 weights
    Import(Import),
    /// Show shape, weights and hash of a model
    Info(Info),
    /// Go on with a text, token after token; models of bytes only, so far
    Generate(Generate),
}

/// Where a model is.
#[derive(Debug, clap::Args)]
struct Source {
    /// A folder with config.json and safetensors, or a checkpoint's .safetensors file together with --run
    #[arg(value_name = "PATH")]
    model: PathBuf,
    /// The run that a checkpoint is of: a manifest file or a preset
    #[arg(long, value_name = "FILE|PRESET")]
    run: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    source: Source,
    /// The folder to write; it must not exist or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How weights are written: f32, bf16 or f16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Dtype,
    /// The most megabytes (1,000,000 bytes) of weights in one file
    #[arg(long, value_name = "MB", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    shard_mb: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// A folder with config.json and safetensors, in one file or in shards
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// The folder to write; it must not exist or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Info {
    #[command(flatten)]
    source: Source,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Generate {
    #[command(flatten)]
    source: Source,
    /// The text to go on with
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// The most tokens that follow
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    tokens: u64,
    /// What logits are divided by; 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Draw from so many of the likeliest tokens only; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Draw from the likeliest tokens whose probabilities sum to this only
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// What the draws follow from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// End where this text was written
    #[arg(long, value_name = "TEXT")]
    stop: Option<String>,
    /// Print one JSON document at the end, instead of the text as it comes
    #[arg(long)]
    json: bool,
}

/// The vocabulary of models whose tokens are bytes.
const BYTES: i64 = 256;

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    let work = move || match args.verb {
        Verb::Export(args) => {
            let options = ExportOptions { dtype: args.dtype, shard_bytes: args.shard_mb * 1_000_000 };
            export(&args.source.open()?, &args.out, options, args.json)
        }
        Verb::Import(args) => {
            let model = hugging_face::import(&args.model, Device::Cpu)?;
            let options = ExportOptions { dtype: Dtype::F32, shard_bytes: u64::MAX };
            export(&model, &args.out, options, args.json)
        }
        Verb::Info(args) => info(&args),
        Verb::Generate(args) => generate(&args),
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Failure::new(Exit::Unexpected, format!("the model's work ended early: {e}")))?
}

impl Source {
    fn open(&self) -> Result<Llama, Failure> {
        if self.model.is_dir() {
            return Ok(hugging_face::import(&self.model, Device::Cpu)?);
        }
        Ok(Llama::load(&self.config()?, &self.model, Device::Cpu)?.0)
    }

    /// The shape of a checkpoint.
    fn config(&self) -> Result<ModelConfig, Failure> {
        let Some(run) = &self.run else {
            let message = format!("{} does not say what model it is", self.model.display());
            return Err(Failure::new(Exit::Usage, message)
                .hint(format!("name its run with --run, or a folder with {CONFIG_FILE}")));
        };
        Ok(context::read_manifest(run)?.parsed.model)
    }
}

fn export(model: &Llama, out: &Path, options: ExportOptions, json: bool) -> Result<(), Failure> {
    let bytes = parameter_count(model.config()) as u64 * options.dtype.size();
    let bar = ProgressBar::new(bytes);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    let files = hugging_face::export(model, out, options, |written| bar.inc(written))?;
    bar.finish_and_clear();
    let hash = hex::encode(model.hash());
    if json {
        return print_json(&json!({
            "folder": out, "files": files, "dtype": options.dtype.torch_name(), "bytes": bytes, "model_hash": hash,
        }));
    }
    print(&format!(
        "{} weights as {} in {} ({})\nmodel {hash}\n",
        parameter_count(model.config()),
        options.dtype.torch_name(),
        out.display(),
        files.join(", ")
    ))
}

fn info(args: &Info) -> Result<(), Failure> {
    let (config, weights) = if args.source.model.is_dir() {
        let found = hugging_face::describe(&args.source.model)?;
        (found.config, found.weights)
    } else {
        let config = args.source.config()?;
        let weights = BTreeMap::from([(Dtype::F32.name().to_owned(), parameter_count(&config) as u64)]);
        (config, weights)
    };
    let hash = hex::encode(args.source.open()?.hash());
    let parameters = parameter_count(&config);
    if args.json {
        return print_json(&json!({
            "config": config, "parameters": parameters, "weights": weights, "model_hash": hash,
        }));
    }
    let types: Vec<String> = weights.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
    print(&format!(
        "Llama of {parameters} weights ({})\n  vocabulary {}, width {}, {} layers of {} heads ({} for keys), inner width {}\n  \
         {} positions, rope base {}{}{}\nmodel {hash}\n",
        types.join(", "),
        config.vocab_size,
        config.hidden_size,
        config.layers,
        config.heads,
        config.kv_heads,
        config.intermediate_size,
        config.sequence_length,
        config.rope_theta,
        if config.rope_scaling.is_some() { ", scaled" } else { "" },
        if config.tied { ", head tied to the embedding" } else { "" },
    ))
}

fn generate(args: &Generate) -> Result<(), Failure> {
    let usage = |message: &str, hint: &str| Err(Failure::new(Exit::Usage, message).hint(hint));
    if args.prompt.is_empty() {
        return usage("there is no text to go on with", "give one with --prompt");
    }
    let good = args.temperature >= 0.0 && args.temperature.is_finite() && (0.0..=1.0).contains(&args.top_p);
    if !good {
        return usage(
            "--temperature must not be negative and --top-p must be from 0 to 1",
            "leave them out for the likeliest text",
        );
    }
    let model = args.source.open()?;
    if model.config().vocab_size != BYTES {
        let message = format!("the model's {} tokens are not bytes", model.config().vocab_size);
        return Err(
            Failure::new(Exit::Data, message).hint("export it, and use transformers with its tokenizer")
        );
    }
    let sampling =
        Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p, seed: args.seed };
    let mut session = Session::new(&model, &bytes_to_tokens(args.prompt.as_bytes()), sampling);
    let mut text: Vec<u8> = Vec::new();
    let stop = args.stop.as_deref().filter(|stop| !stop.is_empty()).map(str::as_bytes);
    let started = Instant::now();
    let (mut shown, mut count) = (0, 0);
    while count < args.tokens && stop.is_none_or(|stop| !text.ends_with(stop)) {
        text.push(u8::try_from(session.next_token()).unwrap_or(b'?'));
        count += 1;
        // A character of several bytes is shown when it is whole.
        let whole = std::str::from_utf8(&text[shown..]).map_or_else(|e| e.valid_up_to(), str::len);
        let stuck = text.len() - shown - whole >= 4;
        let end = if stuck { text.len() } else { shown + whole };
        if !args.json && end > shown {
            print(&String::from_utf8_lossy(&text[shown..end]))?;
        }
        shown = end;
    }
    let written = String::from_utf8_lossy(&text);
    if args.json {
        let seconds = started.elapsed().as_secs_f64();
        return print_json(&json!({
            "prompt": args.prompt, "text": written, "tokens": count, "seconds": seconds,
        }));
    }
    print(&format!("{}\n", String::from_utf8_lossy(&text[shown..])))
}
