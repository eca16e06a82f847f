//! `templar model`: a model in and out of the form that Hugging Face's libraries use, and what it says.

mod card;
mod generate;
mod hub;
mod serve;
pub mod source;

pub use generate::computing_on;
use source::{About, Asked, Place};

use crate::{
    cli::{
        Failure,
        output::{byte_bar, print, print_json},
        scores::source::BucketArgs,
    },
    context,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use templar::{
    hub::Repo,
    manifest::ModelConfig,
    model::{
        hugging_face::{self, Dtype, ExportOptions, Weights},
        parameter_count,
    },
    tokenizer::Tokenizer,
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
    /// Read a Llama of a folder or the Hub and write it as a checkpoint of float32 weights
    Import(Import),
    /// Show shape, weights and hash of a model
    Info(Info),
    /// Go on with a text, token after token
    Generate(generate::Args),
    /// Answer OpenAI's clients: completions and conversations, as they come
    Serve(serve::Args),
}

/// Where a model is.
#[derive(Debug, clap::Args)]
struct Source {
    /// A folder with config.json and safetensors, or a checkpoint's .safetensors file or folder together with --run
    #[arg(value_name = "PATH", required_unless_present = "follow")]
    model: Option<PathBuf>,
    /// The run that a checkpoint is of: a manifest file or a preset
    #[arg(long, value_name = "FILE|PRESET")]
    run: Option<String>,
    /// The folder of the tokenizer, where it is not the model's own
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// The newest checkpoint of the run of --netuid, from its validators' buckets
    #[arg(long, conflicts_with_all = ["model", "run"])]
    follow: bool,
    #[command(flatten)]
    at: BucketArgs,
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
    /// Put what was written into this repository of the Hub, hf:OWNER/NAME; HF_TOKEN or the file of Hugging Face's own tool
    /// has the token
    #[arg(long, value_name = "hf:OWNER/NAME")]
    push: Option<Repo>,
    #[command(flatten)]
    facts: card::FactArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// A folder with config.json and safetensors, in one file or in shards, or a repository of the Hub
    #[arg(value_name = "DIR|hf:OWNER/NAME")]
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

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Export(args) => {
            let facts = card::Facts::read(&args.facts)?;
            let (mut weights, about) = args.source.asked().weights().await?;
            let (out, push, json) = (args.out.clone(), args.push.clone(), args.json);
            let checkpoint = about.origin.as_ref().and_then(|origin| origin.checkpoint.as_ref());
            let window = checkpoint.map_or_else(String::new, |it| format!(", window {}", it.window));
            let message = format!("Model of {}{window}", about.name);
            let mut exported = context::blocking(move || {
                let options = ExportOptions {
                    dtype: args.dtype,
                    shard_bytes: args.shard_mb * 1_000_000,
                    tokenizer: about.tokenizer.as_ref(),
                };
                let config = weights.with(|weights| weights.config().clone());
                let card = |hash: &str| Some(facts.card(&about, &config, args.dtype, hash));
                weights.with(|weights| export(weights, &args.out, options, card))
            })
            .await?;
            if let Some(repo) = push {
                exported.pushed = Some(hub::push(&repo, &out, &message).await?);
            }
            exported.print(json)
        }
        Verb::Import(args) => {
            let place = Place::new(&args.model).fetched().await?;
            let exported = context::blocking(move || {
                let (mut stored, about) = place.stored()?;
                let options = ExportOptions {
                    shard_bytes: u64::MAX,
                    tokenizer: about.tokenizer.as_ref(),
                    ..ExportOptions::default()
                };
                export(&mut stored, &args.out, options, |_| None)
            });
            exported.await?.print(args.json)
        }
        Verb::Info(args) => {
            let (mut weights, about) = args.source.asked().weights().await?;
            context::blocking(move || weights.with(|weights| info(&args, weights, &about))).await
        }
        Verb::Generate(args) => generate::run(args).await,
        Verb::Serve(args) => serve::run(args).await,
    }
}

impl Source {
    fn asked(&self) -> Asked {
        Asked {
            model: self.model.clone(),
            checkpoint: None,
            run: self.run.clone(),
            tokenizer: self.tokenizer.clone(),
            follow: self.follow,
            at: self.at.clone(),
        }
    }
}

/// What was written.
struct Exported {
    folder: PathBuf,
    files: Vec<String>,
    dtype: Dtype,
    weights: usize,
    hash: String,
    /// Where it was put on the Hub.
    pushed: Option<String>,
}

fn export(
    weights: &mut dyn Weights,
    out: &Path,
    options: ExportOptions<'_>,
    card: impl FnOnce(&str) -> Option<String>,
) -> Result<Exported, Failure> {
    let count = parameter_count(weights.config());
    let bar = byte_bar(count as u64 * options.dtype.size());
    let done = hugging_face::export_weights(weights, out, options, |written| bar.inc(written), card)?;
    bar.finish_and_clear();
    Ok(Exported {
        folder: out.to_owned(),
        files: done.files,
        dtype: options.dtype,
        weights: count,
        hash: hex::encode(done.hash),
        pushed: None,
    })
}

impl Exported {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(&json!({
                "folder": self.folder, "files": self.files, "dtype": self.dtype.torch_name(),
                "bytes": self.weights as u64 * self.dtype.size(), "model_hash": self.hash, "pushed": self.pushed,
            }));
        }
        let pushed = self.pushed.as_ref().map_or_else(String::new, |place| format!("{place}\n"));
        print(&format!(
            "{} weights as {} in {} ({})\nmodel {}\n{pushed}",
            self.weights,
            self.dtype.torch_name(),
            self.folder.display(),
            self.files.join(", "),
            self.hash
        ))
    }
}

fn info(args: &Info, weights: &mut dyn Weights, about: &About) -> Result<(), Failure> {
    let (config, dtypes) = (weights.config().clone(), weights.dtypes());
    let hash = hex::encode(weights.hash()?);
    let parameters = parameter_count(&config);
    if args.json {
        return print_json(&json!({
            "config": config, "parameters": parameters, "weights": dtypes, "model_hash": hash,
            "tokens": about.tokenizer.as_ref().map(Tokenizer::len), "ends": about.ends, "window": about.window(),
        }));
    }
    let types: Vec<String> = dtypes.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
    print(&format!(
        "Llama of {parameters} weights ({})\n  {}, rope base {}{}{}\nmodel {hash}\n",
        types.join(", "),
        shape(&config),
        config.rope_theta,
        if config.rope_scaling.is_some() { ", scaled" } else { "" },
        if config.tied { ", head tied to the embedding" } else { "" },
    ))
}

/// A model's shape in words.
fn shape(config: &ModelConfig) -> String {
    format!(
        "vocabulary {}, width {}, {} layers of {} heads ({} for keys), inner width {}, {} positions",
        config.vocab_size,
        config.hidden_size,
        config.layers,
        config.heads,
        config.kv_heads,
        config.intermediate_size,
        config.sequence_length,
    )
}
