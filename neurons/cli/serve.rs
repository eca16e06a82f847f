//! `templar serve`: tells the chain where a neuron can be reached.

use std::net::IpAddr;

use templar::{chain::Announcement, window::NetUid};

use crate::cli::{
    Failure, NetworkArgs, WalletArgs,
    output::{print, print_json},
    preview,
};

/// What to announce.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Announce the address of a hotkey's axon; it costs nothing. Miners and validators of templar need none
    Axon(Axon),
}

#[derive(Debug, clap::Args)]
struct Axon {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// The address that others reach it at
    #[arg(long, value_name = "ADDRESS")]
    ip: IpAddr,
    /// Its port
    #[arg(long, value_name = "PORT")]
    port: u16,
    /// The number of the protocol that is spoken there; 4 is what Bittensor's SDK gives
    #[arg(long, value_name = "N", default_value_t = 4)]
    protocol: u8,
    /// Show what would be signed and every check, and sign nothing; exit code 5 if the chain would refuse it
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Verb::Axon(args) = args.verb;
    let wallet = args.wallet.open()?;
    let hotkey = wallet.hotkey_account()?;
    let announcement =
        Announcement { netuid: args.netuid, ip: args.ip, port: args.port, protocol: args.protocol };
    let chain = args.network.connect().await?;
    let plan = chain.plan_axon(&announcement, &hotkey).await?;
    if args.dry_run {
        if args.json {
            print_json(&plan)?;
        } else {
            print(&format!("{}{}", preview::checks(&plan.checks), preview::text(&plan.preview)))?;
        }
        return Ok(plan.refuse()?);
    }
    plan.refuse()?;
    let hotkey = wallet.hotkey_with(&args.wallet.passwords.sources())?;
    let included = chain.serve_axon(&announcement, &hotkey).await?;
    let (ip, port) = (args.ip, args.port);
    match args.json {
        true => print_json(&included),
        false => {
            print(&format!("announced {} in block {}\n", std::net::SocketAddr::new(ip, port), included.block))
        }
    }
}
