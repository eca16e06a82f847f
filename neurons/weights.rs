//! `templar weights`: what validators set.

pub mod set;

use templar::{
    chain::{Chain, ChainError, WeightSetting},
    window::{Block, NetUid, Uid},
};

use crate::{
    cli::{Exit, Failure, NetworkArgs},
    failure::ToFailure,
    metagraph::connect,
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
    /// Every setting of weights in a range of blocks, with the vector as it stood at that block
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
    /// Only the settings of the validator in this slot
    #[arg(long, value_name = "UID")]
    validator: Option<Uid>,
    /// The first block; 7200 blocks (a day of the main network) before the last unless given
    #[arg(long, value_name = "BLOCK")]
    from: Option<Block>,
    /// The last block; the newest final one unless given
    #[arg(long, value_name = "BLOCK")]
    to: Option<Block>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Prints the history.
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
    let chain = connect(&args.network.network).await?;
    let settings = history(&chain, &args).await.map_err(|e| e.to_failure())?;
    if args.json {
        return print_json(&settings);
    }
    if settings.is_empty() {
        eprintln!("no weights were set in these blocks");
        return Ok(());
    }
    print(&text(&settings))
}

async fn history(chain: &dyn Chain, args: &History) -> Result<Vec<WeightSetting>, ChainError> {
    // A subnet that is not there has no history either, and a wrong number should be told from a quiet one.
    chain.hyperparameters(args.netuid).await?;
    let newest = chain.head().await?.number;
    let to = args.to.unwrap_or(newest);
    let from = args.from.unwrap_or_else(|| to.saturating_sub(BLOCKS));
    chain.weights_history(args.netuid, from, to, args.validator).await
}

fn text(settings: &[WeightSetting]) -> String {
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|setting| {
            let time =
                i64::try_from(setting.time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let weights = setting.weights.iter().map(|(uid, weight)| format!("{uid}:{weight}"));
            let validator = match setting.mechanism {
                0 => setting.validator_uid.to_string(),
                mechanism => format!("{} (mechanism {mechanism})", setting.validator_uid),
            };
            vec![
                setting.block.to_string(),
                time.map_or_else(|| "?".to_owned(), |time| time.strftime("%F %T").to_string()),
                validator,
                setting.hotkey.to_string(),
                weights.collect::<Vec<_>>().join(" "),
            ]
        })
        .collect();
    table(
        &["BLOCK", "TIME (UTC)", "VALIDATOR", "HOTKEY", "WEIGHTS (UID:OF 65535)"],
        &["TIME (UTC)", "HOTKEY", "WEIGHTS (UID:OF 65535)"],
        &rows,
    )
}
