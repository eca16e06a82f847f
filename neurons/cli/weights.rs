//! `templar weights`: what validators did with their weights.

mod record;
pub mod set;

use std::{io::IsTerminal as _, path::PathBuf};

use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use templar::{
    chain::{Chain, ChainError, HistoryPart, HistoryQuery, SubtensorClient, WeightAction, WeightEvent},
    report::weights,
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

use crate::cli::{
    Exit, Failure, NetworkArgs,
    output::{print, print_json, table},
};

/// How far back the history goes where `--from` does not say it.
const BLOCKS: Block = 7200;

/// What to read.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Every setting, commit and reveal of weights in a range of blocks, with the vector as it stood then
    History(History),
    /// Set weights by hand, by the path that the subnet takes
    Set(set::Set),
    /// Reveal salted commits whose time has come
    Reveal(set::Reveal),
}

#[derive(Debug, clap::Args)]
struct History {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// Only what the validator with this UID did
    #[arg(long, value_name = "UID")]
    validator: Option<Uid>,
    /// Only what this hotkey did, under whatever UID
    #[arg(long, value_name = "ADDRESS", value_parser = crate::cli::pay::address)]
    hotkey: Option<AccountId>,
    /// The first block; 7200 blocks (a day of the main network) before the last unless given
    #[arg(long, value_name = "BLOCK")]
    from: Option<Block>,
    /// The last block; the newest final one unless given
    #[arg(long, value_name = "BLOCK")]
    to: Option<Block>,
    /// Print one JSON document
    #[arg(long, conflicts_with = "out")]
    json: bool,
    /// Write to this file instead: JSON lines if it ends in .jsonl, a table if it ends in .parquet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on with the file where an earlier run ended
    #[arg(long, requires = "out")]
    resume: bool,
    /// Draw each validator's weights over time into this folder, as SVG and PNG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Prints or writes the history.
pub async fn run(args: Args) -> Result<(), Failure> {
    let args = match args.verb {
        Verb::History(args) => args,
        Verb::Set(args) => return set::set(args).await,
        Verb::Reveal(args) => return set::reveal(args).await,
    };
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Failure::new(Exit::Usage, format!("--from {from} is after --to {to}"))
            .hint("give the earlier block with --from"));
    }
    let format = args.out.as_deref().map(record::Format::of).transpose()?;
    let chain = args.network.connect().await?;
    let newest = check(&chain, &args).await?;
    let to = args.to.unwrap_or(newest).min(newest);
    let start = args.from.unwrap_or_else(|| to.saturating_sub(BLOCKS));
    let query = HistoryQuery { validator: args.validator, ..HistoryQuery::new(args.netuid, start, to) };
    let events = match (&args.out, format) {
        (Some(path), Some(format)) => {
            let scope = record::Scope::new(&chain, &query, args.hotkey.as_ref());
            let mut file = record::Record::open(path, format, scope, args.from, args.resume)?;
            let query = HistoryQuery { from: file.next(), ..query };
            search(&chain, query, |part| file.add(&args.only(part))).await?;
            file.finish(args.plot.is_some())?
        }
        _ => {
            let mut events = Vec::new();
            search(&chain, query, |part| {
                events.extend(args.only(part).events);
                Ok(())
            })
            .await?;
            events
        }
    };
    if let Some(folder) = &args.plot {
        for path in weights::write_charts(&events, to, folder)? {
            eprintln!("drew {}", path.display());
        }
    }
    if args.json {
        return print_json(&events);
    }
    if args.out.is_some() || (args.plot.is_some() && events.is_empty()) {
        return Ok(());
    }
    if events.is_empty() {
        eprintln!("no weights were set in these blocks");
        return Ok(());
    }
    print(&text(&events))
}

impl History {
    /// What of a part was asked for.
    fn only(&self, mut part: HistoryPart) -> HistoryPart {
        part.events.retain(|event| self.hotkey.as_ref().is_none_or(|hotkey| event.hotkey == *hotkey));
        part
    }
}

/// The newest block, after a look at whether there is anything to read.
async fn check(chain: &SubtensorClient, args: &History) -> Result<Block, Failure> {
    // A subnet that is not there has no history either, and a wrong number should be told from a quiet one.
    chain.hyperparameters(args.netuid).await?;
    let newest = chain.head().await?.number;
    if let Some(uid) = args.validator {
        // A UID may have been taken away since.
        let (first, last) = (args.from.unwrap_or(newest).min(newest), args.to.unwrap_or(newest).min(newest));
        let mut most = 0;
        for block in [last, first] {
            most = match chain.subnet_size(args.netuid, Some(block)).await {
                // It is younger than that.
                Err(ChainError::NoSuchSubnet { .. }) => most,
                size => most.max(size?),
            };
            if uid < most {
                break;
            }
        }
        if uid >= most {
            return Err(Failure::new(
                Exit::Chain,
                format!("subnet {} has no UID {uid}: there are {most}", args.netuid),
            )
            .hint("`templar metagraph` lists them; `--hotkey ADDRESS` finds a hotkey under any UID"));
        }
    }
    match args.from {
        Some(from) if from > newest => Err(ChainError::NoSuchBlock { block: from }.into()),
        _ => Ok(newest),
    }
}

/// Searches the range and gives every part away, under a progress bar where somebody looks.
async fn search(
    chain: &SubtensorClient,
    query: HistoryQuery,
    mut take: impl FnMut(HistoryPart) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if query.from > query.to {
        return Ok(());
    }
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(query.to - query.from + 1)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} blocks, {eta} left  {msg}") {
        bar.set_style(style);
    }
    let mut parts = std::pin::pin!(chain.weight_events(query));
    let mut found = 0;
    while let Some(part) = parts.try_next().await? {
        found += part.events.len();
        bar.set_position((part.to + 1).saturating_sub(query.from));
        bar.set_message(format!("{found} found"));
        take(part)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// The history as a table.
fn text(events: &[WeightEvent]) -> String {
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            let time =
                i64::try_from(event.time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let uid = event.validator_uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string());
            let validator = match event.mechanism {
                0 => uid,
                mechanism => format!("{uid} (mechanism {mechanism})"),
            };
            vec![
                event.block.to_string(),
                time.map_or_else(|| "?".to_owned(), |time| time.strftime("%F %T").to_string()),
                event.what.kind().replace('_', " "),
                validator,
                event.hotkey.to_string(),
                details(&event.what),
            ]
        })
        .collect();
    let last = "WEIGHTS (UID:OF 65535)";
    table(
        &["BLOCK", "TIME (UTC)", "WHAT", "VALIDATOR", "HOTKEY", last],
        &["TIME (UTC)", "WHAT", "HOTKEY", last],
        &rows,
    )
}

/// The weights, or what is known instead.
fn details(what: &WeightAction) -> String {
    let weights = what.weights().map(|weights| {
        weights.iter().map(|(uid, weight)| format!("{uid}:{weight}")).collect::<Vec<_>>().join(" ")
    });
    match (weights, what.commit()) {
        (Some(weights), Some(commit)) => format!("{weights} (committed at {})", commit.block),
        (Some(weights), None) => weights,
        (None, Some(commit)) => {
            let round = commit.reveal_round.map(|round| format!(" for round {round}")).unwrap_or_default();
            let at = match what {
                WeightAction::NeverRevealed { .. } => format!(" of block {}", commit.block),
                _ => String::new(),
            };
            let hash: String = commit.hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("{} 0x{hash}…{round}{at}", commit.scheme.name())
        }
        (None, None) => String::new(),
    }
}
