//! `templar data plan`: what a run needs of its text.

use crate::cli::{
    Failure,
    output::{print, print_json},
};
use crate::context::read_manifest;
use serde::Serialize;
use std::path::PathBuf;
use templar::data::Corpus;

/// Flags of `templar data plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a manifest file or a preset
    #[arg(long, value_name = "FILE|PRESET")]
    run: String,
    /// The corpus' folder, where there is one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Miners that train in every window
    #[arg(long, default_value_t = 250)]
    miners: u64,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What a run needs, and what a corpus has.
#[derive(Debug, Serialize)]
struct Plan {
    run: String,
    windows: u64,
    sequence_length: u64,
    sequences_per_miner_and_window: u64,
    miners: u64,
    tokens_needed: u64,
    corpus: Option<Has>,
}

#[derive(Debug, Serialize)]
struct Has {
    hash: String,
    tokens: u64,
    /// How often each sequence is trained on.
    epochs: f64,
    pinned: bool,
    tokenizer_fits: bool,
}

/// Says it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let file = read_manifest(&args.run)?;
    let manifest = &file.parsed;
    let length = manifest.model.sequence_length.unsigned_abs();
    let sequences = manifest.train.most_sequences() as u64;
    let needed = [manifest.schedule.windows, sequences, args.miners, length];
    let needed = needed.into_iter().fold(1, u64::saturating_mul);
    let has = args.data.as_deref().map(Corpus::open).transpose()?.map(|corpus| {
        let found = corpus.manifest();
        Has {
            hash: found.hash.clone(),
            tokens: found.tokens,
            epochs: needed as f64 / found.tokens as f64,
            pinned: manifest.data.hash == found.hash,
            tokenizer_fits: manifest.data.tokenizer == found.tokenizer
                && found.vocabulary <= manifest.model.vocab_size.unsigned_abs(),
        }
    });
    let plan = Plan {
        run: manifest.name.clone(),
        windows: manifest.schedule.windows,
        sequence_length: length,
        sequences_per_miner_and_window: sequences,
        miners: args.miners,
        tokens_needed: needed,
        corpus: has,
    };
    if args.json { print_json(&plan) } else { print(&describe(&plan)) }
}

fn describe(plan: &Plan) -> String {
    let Plan { run, windows, sequence_length, sequences_per_miner_and_window: sequences, miners, .. } = plan;
    let mut text = format!(
        "run {run}: {windows} windows, in each of which {miners} miners train on {sequences} sequences of {sequence_length} tokens\n"
    );
    match windows {
        0 => text.push_str("  it has no end: it needs as many tokens as there are\n"),
        _ => text.push_str(&format!("  it needs {} tokens\n", plan.tokens_needed)),
    }
    if let Some(Has { hash, tokens, epochs, pinned, tokenizer_fits }) = &plan.corpus {
        text.push_str(&format!("corpus {hash}: {tokens} tokens\n"));
        if *windows > 0 {
            text.push_str(&format!("  each is trained on {epochs:.2} times\n"));
        }
        text.push_str(match tokenizer_fits {
            true => "  yes  it was made with the run's tokenizer\n",
            false => "  NO   it was made with another tokenizer than the run's\n",
        });
        text.push_str(match pinned {
            true => "  yes  the run's manifest pins it\n",
            false => "  NO   the run's manifest does not pin it: put its hash under [data]\n",
        });
    }
    text
}
