//! `templar chain`: whether this program and a chain understand each other.

use templar::chain::interface::{Ability, Item, Verdict};

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
        let lines = lines + &able(&interface.abilities);
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

/// What can be read and what can be signed, and why the rest cannot.
fn able(abilities: &[Ability]) -> String {
    let all = |signed: bool| {
        let names = abilities.iter().filter(|one| one.possible && one.signed == signed);
        let names: Vec<&str> = names.map(|one| one.name.trim_start_matches("SubtensorModule.")).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let verb = |one: &Ability| if one.signed { "signed" } else { "read" };
    let cannot = abilities.iter().filter(|one| !one.possible);
    let cannot: String =
        cannot.map(|one| format!("cannot be {}: {} ({})\n", verb(one), one.name, one.why)).collect();
    format!("can be read: {}\ncan be signed: {}\n{cannot}", all(false), all(true))
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
