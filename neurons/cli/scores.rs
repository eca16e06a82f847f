//! `templar scores`: the score log of a validator, as a file.

use crate::cli::{Exit, Failure, output::print};
use std::path::PathBuf;
use templar::telemetry::{columns, files::write_atomic};

pub mod source;
use source::{Range, SourceArgs};

/// What to do with the log.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a validator's score log to a file, after checking its hashes and signatures
    Export(Export),
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    source: SourceArgs,
    /// The windows, both ends included; all of them unless given
    #[arg(long, value_name = "A..B")]
    window: Option<String>,
    /// `jsonl`: the signed lines as they are; `parquet`: a table with a row for each record
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Jsonl,
    Parquet,
}

/// Exports the log.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Verb::Export(args) = args.verb;
    let range = args.window.as_deref().map(Range::parse).transpose()?;
    let windows = args.source.open().await?.windows(range).await?;
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        let what = range.map_or_else(|| "any window".to_owned(), |range| format!("windows {range}"));
        return Err(Failure::new(Exit::Data, format!("there is no score log of {what}"))
            .hint("leave --window out to see which windows there are, or name another validator"));
    };
    let (first, last) = (first.closing.closes, last.closing.closes);
    let records: usize = windows.iter().map(|window| window.records.len()).sum();
    let bytes = match args.format {
        Format::Jsonl => columns::to_jsonl(&windows).into_bytes(),
        Format::Parquet => columns::to_parquet(&windows)
            .map_err(|error| Failure::new(Exit::Unexpected, format!("cannot write the table: {error}")))?,
    };
    write_atomic(&args.out, &bytes).map_err(|error| {
        Failure::new(Exit::Storage, format!("cannot write {}: {error}", args.out.display()))
            .hint("name a file in a folder that exists and can be written with --out")
    })?;
    print(&format!(
        "{} records of {} windows, {first} to {last}, in {}\n",
        records,
        windows.len(),
        args.out.display()
    ))
}
