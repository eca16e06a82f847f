//! `templar metagraph`: the neurons of a subnet.

mod columns;

use std::collections::BTreeMap;

use columns::{Column, Extra, View};
use templar::{
    chain::{Chain as _, ChainError, Change, Metagraph, MetagraphDiff, Rows, SubtensorClient},
    window::{Block, NetUid},
};

use crate::cli::{
    Failure, NetworkArgs,
    output::{print, print_json, table},
};

/// Which subnet, at which block.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// The block to look at; the newest final one unless given
    #[arg(long, value_name = "BLOCK")]
    block: Option<Block>,
    /// Show what changed since this block instead
    #[arg(long, value_name = "BLOCK", conflicts_with_all = ["columns", "csv"])]
    diff: Option<Block>,
    /// The mechanism whose incentives and updates are shown
    #[arg(long, value_name = "N", default_value_t = 0)]
    mechanism: u8,
    /// Only these columns, with commas between, or `all` but weights and bonds; an unknown one is answered with a list
    #[arg(long, value_name = "A,B,C")]
    columns: Option<String>,
    /// Print one JSON document
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV: amounts in rao, shares of 65535
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Prints the subnet's neurons.
pub async fn run(args: Args) -> Result<(), Failure> {
    let chosen = args.columns.as_deref().map(columns::choose).transpose()?;
    let chain = args.network.connect().await?;
    let at = async |block| {
        let metagraph = chain.metagraph_of(args.netuid, args.mechanism, block, None).await;
        metagraph.map_err(Failure::from)
    };
    let metagraph = at(args.block).await?;
    if let Some(other) = args.diff {
        let other = at(Some(other)).await?;
        // Whichever way round they were given.
        let (earlier, later) =
            if other.block <= metagraph.block { (&other, &metagraph) } else { (&metagraph, &other) };
        let diff = MetagraphDiff::between(earlier, later);
        return if args.json { print_json(&diff) } else { print(&changes(&diff)) };
    }
    let extra = extra(&chain, &args, &metagraph, chosen.as_deref()).await?;
    if args.json {
        return print_json(&json(&metagraph, &extra, chosen.as_deref()));
    }
    if args.csv {
        return print(&csv(&metagraph, &extra, &chosen.unwrap_or_else(columns::all)));
    }
    print(&text(&metagraph, &extra, &chosen.unwrap_or_else(columns::usual)))
}

/// What the chosen columns show besides the metagraph, as it stood at the same block.
async fn extra(
    chain: &SubtensorClient,
    args: &Args,
    metagraph: &Metagraph,
    columns: Option<&[&Column]>,
) -> Result<Extra, Failure> {
    let at = Some(metagraph.block);
    let asks = |name: &str| columns.is_some_and(|columns| columns.iter().any(|column| column.name == name));
    let rows = async |wanted, what| match wanted {
        true => chain.rows(args.netuid, args.mechanism, what, at).await,
        false => Ok(Vec::new()),
    };
    // Who commits what is not always there to be read, as in a runtime that keeps it in another form.
    let (commitments, weights, bonds) = futures::join!(
        chain.commitments(args.netuid, at),
        rows(asks("weights"), Rows::Weights),
        rows(asks("bonds"), Rows::Bonds)
    );
    let commitments = match commitments {
        Err(ChainError::Missing { .. } | ChainError::Decode { .. }) => BTreeMap::new(),
        commitments => commitments?,
    };
    Ok(Extra { commitments, weights: weights?, bonds: bonds? })
}

/// The metagraph as `--json` prints it: its own fields, and the leader's UID; of the neurons only the columns
/// that were asked for, if any were.
fn json(metagraph: &Metagraph, extra: &Extra, columns: Option<&[&Column]>) -> serde_json::Value {
    let mut value = serde_json::json!(metagraph);
    value["leader"] = serde_json::json!(columns::leader(metagraph, extra));
    for (i, view) in View::all(metagraph, extra).enumerate() {
        value["neurons"][i]["role"] = serde_json::json!(view.role());
    }
    if let Some(columns) = columns {
        let row = |view: View<'_>| -> serde_json::Map<String, serde_json::Value> {
            columns.iter().map(|column| (column.name.to_owned(), (column.cell)(&view).json())).collect()
        };
        value["neurons"] = View::all(metagraph, extra).map(row).collect();
    }
    value
}

/// The metagraph as CSV: names of columns, then one line for each neuron.
fn csv(metagraph: &Metagraph, extra: &Extra, columns: &[&Column]) -> String {
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let mut text = line(columns.iter().map(|column| column.name.to_owned()).collect());
    for view in View::all(metagraph, extra) {
        text += &line(columns.iter().map(|column| (column.cell)(&view).csv()).collect());
    }
    text
}

/// The metagraph as a table.
fn text(metagraph: &Metagraph, extra: &Extra, columns: &[&Column]) -> String {
    let heading: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    let left: Vec<&str> = columns.iter().filter(|column| column.left).map(|column| column.heading).collect();
    let rows: Vec<Vec<String>> = View::all(metagraph, extra)
        .map(|view| columns.iter().map(|column| (column.cell)(&view).text()).collect())
        .collect();
    let neurons = match rows.len() {
        1 => "1 neuron".to_owned(),
        n => format!("{n} neurons"),
    };
    let units = if heading.contains(&"UPDATED") { "; UPDATED counts blocks since" } else { "" };
    format!(
        "subnet {} at block {}: {neurons}, tempo {}{units}\n{}",
        metagraph.netuid,
        metagraph.block,
        metagraph.tempo,
        table(&heading, &left, &rows)
    )
}

/// What changed, as a table.
fn changes(diff: &MetagraphDiff) -> String {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = |change: &Change| {
        let (what, hotkey, field, before, after) = match change {
            Change::Joined { hotkey, .. } => ("joined", hotkey, "", String::new(), String::new()),
            Change::Left { hotkey, .. } => ("left", hotkey, "", String::new(), String::new()),
            Change::Replaced { before, hotkey, .. } => {
                ("replaced", hotkey, "hotkey", before.to_string(), hotkey.to_string())
            }
            Change::Changed { hotkey, field, before, after, .. } => {
                ("changed", hotkey, *field, shown(before), shown(after))
            }
        };
        let cells = [&change.uid().to_string(), what, &hotkey.to_string(), field, &before, &after];
        cells.map(str::to_owned).to_vec()
    };
    let rows: Vec<Vec<String>> = diff.changes.iter().map(row).collect();
    let heading = ["UID", "CHANGE", "HOTKEY", "FIELD", "BEFORE", "AFTER"];
    let changes = match rows.len() {
        0 => return format!("{}: nothing changed\n", span(diff)),
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    };
    format!("{}: {changes}; amounts in rao\n{}", span(diff), table(&heading, &heading[1..], &rows))
}

fn span(diff: &MetagraphDiff) -> String {
    format!("subnet {} from block {} to block {}", diff.netuid, diff.from_block, diff.to_block)
}
