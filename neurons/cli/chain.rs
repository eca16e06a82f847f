//! `templar chain`: whether this program and a chain understand each other.

use templar::chain::interface::{Item, Verdict};

use crate::cli::{
    Exit, Failure, NetworkArgs,
    output::{print, print_json},
};

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Compare all that this program asks of a chain with its runtime, item by item
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Print every item, not only those that differ
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Verb::Check(args) = args.verb;
    let chain = args.network.connect().await?;
    let interface = chain.interface().await?;
    if args.json {
        print_json(&interface)?;
    } else {
        let lines: String = interface
            .items
            .iter()
            .filter(|item| args.all || item.verdict != Verdict::Same)
            .map(line)
            .collect();
        let same = interface.items.iter().filter(|item| item.verdict == Verdict::Same).count();
        print(&format!(
            "{lines}{same} of {} items are as this program knows them (specification {}, block {})\n",
            interface.items.len(),
            interface.spec_version,
            interface.block
        ))?;
    }
    let wrong = interface.items.iter().filter(|i| matches!(i.verdict, Verdict::Differs | Verdict::Missing));
    match wrong.count() {
        0 => Ok(()),
        count => {
            Err(Failure::new(Exit::Chain, format!("{count} items of the chain's interface have changed"))
                .hint("calls that have changed are not signed; update templar"))
        }
    }
}

fn line(item: &Item) -> String {
    match item.verdict {
        Verdict::Same => format!("same     {}\n", item.item),
        Verdict::Differs => {
            format!(
                "differs  {}\n           known  {}\n           found  {}\n",
                item.item, item.stated, item.found
            )
        }
        Verdict::Missing => format!("missing  {}\n", item.item),
        Verdict::Absent => {
            format!("absent   {}: needed for {}\n", item.item, item.needed_for.unwrap_or("nothing"))
        }
    }
}
