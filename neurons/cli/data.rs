//! `templar data`: text becomes a corpus; a corpus is shown, checked, and compared with what a run needs.

mod input;
mod plan;
mod prepare;

use crate::cli::{
    Failure,
    output::{byte_bar, print, print_json},
};
use serde::Serialize;
use std::path::PathBuf;
use templar::{
    data::{self, Corpus, MANIFEST},
    tokenizer::Tokenizer,
};

/// Flags of `templar data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a corpus of text: Parquet, JSON lines or plain text become shards of tokens
    Prepare(Box<prepare::Args>),
    /// Show what a corpus is, and samples of it as text
    Inspect(Inspect),
    /// Check every byte of a corpus against its manifest
    Verify(Verify),
    /// Say how many tokens a run needs, and how many a corpus has
    Plan(plan::Args),
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// The corpus' folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Samples that are shown
    #[arg(long, default_value_t = 3)]
    samples: u64,
    /// The first of them; the others follow at equal distances
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The corpus' folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Prepare(args) => prepare::run(*args).await,
        Verb::Inspect(args) => inspect(&args),
        Verb::Verify(args) => verify(args).await,
        Verb::Plan(args) => plan::run(&args),
    }
}

/// A sample, for people.
#[derive(Debug, Serialize)]
struct Sample {
    index: u64,
    id: String,
    text: String,
}

fn inspect(args: &Inspect) -> Result<(), Failure> {
    let corpus = Corpus::open(&args.data)?;
    let manifest = corpus.manifest();
    let tokenizer = Tokenizer::open(&args.data)?;
    let length = usize::try_from(manifest.sequence_length).unwrap_or(usize::MAX);
    let sequences = corpus.sequences(length, 0)?;
    let count = args.samples.min(sequences.training());
    let step = (sequences.training() / count.max(1)).max(1);
    let sample = |place: u64| -> Result<Sample, Failure> {
        let index = (args.from + place * step) % sequences.training();
        let tokens = sequences.tokens(index)?;
        let text = tokenizer.decode(tokens.get(..length).unwrap_or_default(), false);
        Ok(Sample { index, id: format!("{:016x}", sequences.sample_id(index)?), text })
    };
    let samples: Vec<Sample> = (0..count).map(sample).collect::<Result<_, _>>()?;
    if args.json {
        return print_json(&serde_json::json!({ "corpus": manifest, "samples": samples }));
    }
    let mut text = prepare::describe(manifest);
    for Sample { index, id, text: sample } in &samples {
        text.push_str(&format!("\nsequence {index}, sample id {id}\n"));
        sample.lines().for_each(|line| text.push_str(&format!("  | {}\n", printable(line))));
    }
    print(&text)
}

/// A line of a stranger's text, without characters that could drive a terminal.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

async fn verify(args: Verify) -> Result<(), Failure> {
    let Verify { data, json } = args;
    let bytes = Corpus::open(&data).map(|corpus| {
        let manifest = corpus.manifest();
        (0..manifest.shards.len()).map(|shard| manifest.shard_bytes(shard)).sum()
    })?;
    let bar = byte_bar(bytes);
    let shown = bar.clone();
    let path = data.clone();
    let checked = tokio::task::spawn_blocking(move || data::verify(&path, |bytes| shown.inc(bytes))).await;
    bar.finish_and_clear();
    let manifest = checked.map_err(|e| Failure::new(crate::cli::Exit::Unexpected, e))??;
    if json {
        return print_json(&serde_json::json!({
            "hash": manifest.hash, "tokens": manifest.tokens, "shards": manifest.shards.len(),
        }));
    }
    let (shards, tokens) = (manifest.shards.len(), manifest.tokens);
    let place = data.join(MANIFEST);
    print(&format!("every byte of {shards} shards with {tokens} tokens is as {} says\n", place.display()))
}
