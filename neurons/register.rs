//! `templar register`: a hotkey becomes a neuron of a subnet.

use templar::{
    chain::{Chain, ChainError},
    wallet::{PasswordSources, Wallet},
    window::{NetUid, Uid},
};

use crate::{
    cli::{Exit, Failure, NetworkArgs, WalletArgs},
    failure::ToFailure,
    metagraph::connect,
    output::{print, print_json, tao},
};

/// What to register where. The coldkey pays.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// The most that it may cost, in TAO; whatever it costs unless given
    #[arg(long, value_name = "TAO")]
    max_cost: Option<f64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// Registers the wallet's hotkey, unless it is registered already.
pub async fn run(args: Args) -> Result<(), Failure> {
    let limit = match args.max_cost {
        None => None,
        Some(tao) if tao.is_finite() && tao >= 0.0 => Some((tao * 1e9) as u64),
        Some(_) => {
            return Err(Failure::new(Exit::Usage, "--max-cost is not an amount")
                .hint("give an amount of TAO, 0 or more"));
        }
    };
    let wallet = args.wallet.open()?;
    let hotkey = wallet.hotkey_account().map_err(|e| e.to_failure())?;
    let chain = connect(&args.network.network).await?;
    let (uid, new) = register(&chain, args.netuid, &wallet, &args.wallet.passwords.sources(), limit).await?;
    if args.json {
        return print_json(&serde_json::json!({
            "netuid": args.netuid, "uid": uid, "hotkey": hotkey, "registered_now": new,
        }));
    }
    let how = if new { "is now" } else { "was already" };
    print(&format!("{hotkey} {how} UID {uid} of subnet {}\n", args.netuid))
}

/// The slot, and whether it is a new one.
async fn register(
    chain: &dyn Chain,
    netuid: NetUid,
    wallet: &Wallet,
    passwords: &PasswordSources,
    limit: Option<u64>,
) -> Result<(Uid, bool), Failure> {
    let settings = chain.hyperparameters(netuid).await.map_err(|e| e.to_failure())?;
    let hotkey = wallet.hotkey_account().map_err(|e| e.to_failure())?;
    if let Some(uid) = chain.uid(netuid, &hotkey).await.map_err(|e| e.to_failure())? {
        return Ok((uid, false));
    }
    if limit.is_some_and(|limit| settings.burn > limit) {
        let price = tao(settings.burn);
        return Err(Failure::new(
            Exit::Chain,
            format!("registering costs {price} TAO, which is over --max-cost"),
        )
        .hint("the price falls while nobody registers: try again later, or allow more"));
    }
    let coldkey = wallet.coldkey_with(passwords).map_err(|e| e.to_failure())?;
    eprintln!("registering on subnet {netuid} for {} TAO", tao(settings.burn));
    match chain.register(netuid, &hotkey, &coldkey).await {
        Ok(uid) => Ok((uid, true)),
        // Another run of this command was faster.
        Err(ChainError::Refused { name, .. }) if name == "HotKeyAlreadyRegisteredInSubNet" => {
            let uid = chain.uid(netuid, &hotkey).await.map_err(|e| e.to_failure())?;
            uid.map(|uid| (uid, false))
                .ok_or_else(|| ChainError::NotRegistered { hotkey, netuid }.to_failure())
        }
        Err(e) => Err(e.to_failure()),
    }
}
