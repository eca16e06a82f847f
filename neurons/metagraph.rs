//! `templar metagraph`: the neurons of a subnet.

use templar::{
    chain::{Chain, Endpoints, Metagraph, SubtensorClient},
    window::{Block, NetUid},
};

use crate::{
    cli::{Failure, NetworkArgs},
    failure::ToFailure,
    output::{print, print_json, share, table, tao},
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
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Prints the subnet's neurons.
pub async fn run(args: Args) -> Result<(), Failure> {
    let chain = connect(&args.network.network).await?;
    let metagraph = chain.metagraph(args.netuid, args.block).await.map_err(|e| e.to_failure())?;
    if args.json { print_json(&json(&metagraph)) } else { print(&text(&metagraph)) }
}

/// A connection to a network, by its name or URL.
pub async fn connect(network: &str) -> Result<SubtensorClient, Failure> {
    let endpoints = Endpoints::from_env(network).map_err(|e| e.to_failure())?;
    SubtensorClient::connect_to(endpoints).await.map_err(|e| e.to_failure())
}

/// The metagraph as `--json` prints it: its own fields, and the leader's slot.
fn json(metagraph: &Metagraph) -> serde_json::Value {
    let mut value = serde_json::json!(metagraph);
    value["leader"] = serde_json::json!(metagraph.leader().map(|leader| leader.uid));
    value
}

/// The metagraph as a table. The leader is marked with a star, a validator with its permit.
fn text(metagraph: &Metagraph) -> String {
    let heading = [
        "UID",
        "ROLE",
        "STAKE",
        "CONSENSUS",
        "INCENTIVE",
        "DIVIDENDS",
        "VTRUST",
        "EMISSION",
        "UPDATED",
        "HOTKEY",
        "COLDKEY",
    ];
    let leader = metagraph.leader().map(|leader| leader.uid);
    let rows: Vec<Vec<String>> = metagraph
        .neurons
        .iter()
        .map(|neuron| {
            let role = match (Some(neuron.uid) == leader, neuron.validator_permit, neuron.active) {
                (true, ..) => "leader",
                (_, true, _) => "validator",
                (_, _, true) => "miner",
                _ => "inactive",
            };
            vec![
                neuron.uid.to_string(),
                role.to_owned(),
                tao(neuron.stake),
                share(neuron.consensus),
                share(neuron.incentive),
                share(neuron.dividends),
                share(neuron.validator_trust),
                tao(neuron.emission),
                metagraph.block.saturating_sub(neuron.last_update).to_string(),
                neuron.hotkey.to_string(),
                neuron.coldkey.to_string(),
            ]
        })
        .collect();
    let neurons = match rows.len() {
        1 => "1 neuron".to_owned(),
        n => format!("{n} neurons"),
    };
    format!(
        "subnet {} at block {}: {neurons}, tempo {}; UPDATED counts blocks since\n{}",
        metagraph.netuid,
        metagraph.block,
        metagraph.tempo,
        table(&heading, &["ROLE", "HOTKEY", "COLDKEY"], &rows)
    )
}
