//! `templar register`: a hotkey becomes a neuron of a subnet.

use indicatif::ProgressBar;
use std::sync::atomic::Ordering;
use templar::{
    chain::{Chain, ChainError, PowProgress, Preview, SubtensorClient},
    wallet::{PasswordSources, Wallet},
    window::{NetUid, Uid},
};

use crate::cli::{
    Exit, Failure, NetworkArgs, WalletArgs,
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
    /// Register by proof of work, with all cores, rather than pay; only some runtimes and subnets take that
    #[arg(long, conflicts_with = "max_cost")]
    pow: bool,
    /// Show what would be signed, the price and the fee, and sign nothing
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

/// Whose coldkey gets it.
#[derive(Debug, clap::Args)]
pub struct FaucetArgs {
    /// Show what would be signed and how much work it takes, and sign nothing
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

/// Works for TAO.
pub async fn faucet(args: FaucetArgs) -> Result<(), Failure> {
    let wallet = args.wallet.open()?;
    if args.dry_run {
        let coldkey = wallet.coldkey_account()?;
        let chain = args.network.connect().await?;
        let (tries, preview) = chain.preview_faucet(&coldkey).await?;
        if args.json {
            return print_json(&serde_json::json!({ "expected_tries": tries, "preview": preview }));
        }
        return print(&format!("{}{}", work(tries), previewed(&preview)));
    }
    let coldkey = wallet.coldkey_with(&args.wallet.passwords.sources())?;
    let chain = args.network.connect().await?;
    let search = PowProgress::default();
    let bar = Progress::show(&search);
    let included = chain.faucet(&coldkey, &search).await;
    bar.end();
    included?;
    let balance = chain.balance(&coldkey.account()).await?;
    if args.json {
        return print_json(&serde_json::json!({ "coldkey": coldkey.account(), "balance_rao": balance }));
    }
    print(&format!("{} has {} TAO\n", coldkey.account(), tao(balance)))
}

/// Shows a search for a proof of work, where there is a terminal.
struct Progress {
    bar: ProgressBar,
    shower: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn show(search: &PowProgress) -> Self {
        let bar = ProgressBar::new_spinner();
        let (shown, search) = (bar.clone(), search.clone());
        let start = std::time::Instant::now();
        let shower = tokio::spawn(async move {
            loop {
                let (tried, expected) =
                    (search.tried.load(Ordering::Relaxed), search.difficulty.load(Ordering::Relaxed));
                let rate = tried as f64 / start.elapsed().as_secs_f64().max(1e-3);
                let odds = 1.0 - (-(tried as f64) / expected.max(1) as f64).exp();
                shown.set_message(format!(
                    "{:.1} million tries, {:.2} million a second; one in {expected} is enough, {:.0} % of searches are over by now",
                    tried as f64 / 1e6,
                    rate / 1e6,
                    100.0 * odds
                ));
                shown.tick();
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        });
        Self { bar, shower }
    }

    fn end(self) {
        self.shower.abort();
        self.bar.finish_and_clear();
    }
}

/// What a proof of work takes, for people.
fn work(tries: u64) -> String {
    format!("the proof of work takes {tries} tries on average; here it is left as zeros\n")
}

/// A transaction that was not signed, as a person reads it.
pub fn previewed(preview: &Preview) -> String {
    format!(
        "{}\n  arguments  {}\n  bytes      {}\n  signer     {}\n  fee        {}\n  runtime    specification {} at block {}\nnothing was signed\n",
        preview.call,
        preview.arguments,
        preview.bytes,
        preview.signer,
        crate::cli::weights::set::fee(preview.fee),
        preview.spec_version,
        preview.block
    )
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
    let hotkey = wallet.hotkey_account()?;
    let chain = args.network.connect().await?;
    if args.dry_run {
        return dry_run(&chain, &args, &wallet, limit).await;
    }
    let passwords = args.wallet.passwords.sources();
    let (uid, new) = register(&chain, &args, &wallet, &passwords, limit).await?;
    if args.json {
        return print_json(&serde_json::json!({
            "netuid": args.netuid, "uid": uid, "hotkey": hotkey, "registered_now": new,
        }));
    }
    let how = if new { "is now" } else { "was already" };
    print(&format!("{hotkey} {how} UID {uid} of subnet {}\n", args.netuid))
}

async fn dry_run(
    chain: &SubtensorClient,
    args: &Args,
    wallet: &Wallet,
    limit: Option<u64>,
) -> Result<(), Failure> {
    let settings = chain.hyperparameters(args.netuid).await?;
    let hotkey = wallet.hotkey_account()?;
    let coldkey = wallet.coldkey_account()?;
    let known = chain.uid(args.netuid, &hotkey).await?;
    let balance = chain.balance(&coldkey).await?;
    let (tries, preview) = if args.pow {
        let worked = chain.preview_register_by_work(args.netuid, &hotkey, &coldkey).await;
        worked.map(|(tries, preview)| (Some(tries), preview))
    } else {
        chain.preview_register(args.netuid, &hotkey, limit, &coldkey).await.map(|preview| (None, preview))
    }?;
    if args.json {
        return print_json(&serde_json::json!({
            "price_rao": settings.burn, "limit_rao": limit, "balance_rao": balance, "registered_as": known,
            "registration_allowed": settings.registration_allowed, "expected_tries": tries, "preview": preview,
        }));
    }
    let already =
        known.map_or(String::new(), |uid| format!("  NO   it is registered already, as UID {uid}\n"));
    let open =
        if settings.registration_allowed { "yes  the subnet takes" } else { "NO   the subnet takes no" };
    let (costs, enough) = match tries {
        Some(tries) => (work(tries), String::new()),
        None => {
            let enough = if balance >= settings.burn { "yes" } else { "NO " };
            let costs = format!("registering costs {} TAO now\n", tao(settings.burn));
            (costs, format!("  {enough}  the coldkey has {} TAO\n", tao(balance)))
        }
    };
    print(&format!("{costs}  {open} registrations\n{already}{enough}{}", previewed(&preview)))
}

/// The UID, and whether it is a new one.
async fn register(
    chain: &SubtensorClient,
    args: &Args,
    wallet: &Wallet,
    passwords: &PasswordSources,
    limit: Option<u64>,
) -> Result<(Uid, bool), Failure> {
    let netuid = args.netuid;
    let settings = chain.hyperparameters(netuid).await?;
    let hotkey = wallet.hotkey_account()?;
    if let Some(uid) = chain.uid(netuid, &hotkey).await? {
        return Ok((uid, false));
    }
    // Before a password is asked for.
    if let Some(limit) = limit.filter(|limit| settings.burn > *limit) {
        return Err(ChainError::PriceAboveLimit { price: settings.burn, limit }.into());
    }
    let coldkey = wallet.coldkey_with(passwords)?;
    let registered = if args.pow {
        eprintln!("searching for a proof of work to register on subnet {netuid} with");
        let search = PowProgress::default();
        let bar = Progress::show(&search);
        let registered = chain.register_by_work(netuid, &hotkey, &coldkey, &search).await;
        bar.end();
        registered
    } else {
        eprintln!("registering on subnet {netuid} for {} TAO", tao(settings.burn));
        match limit {
            Some(limit) => chain.register_within(netuid, &hotkey, limit, &coldkey).await,
            None => chain.register(netuid, &hotkey, &coldkey).await,
        }
    };
    match registered {
        Ok(uid) => Ok((uid, true)),
        // Another run of this command was faster.
        Err(ChainError::Refused { name, .. }) if name == "HotKeyAlreadyRegisteredInSubNet" => {
            let uid = chain.uid(netuid, &hotkey).await?;
            uid.map(|uid| (uid, false)).ok_or_else(|| ChainError::NotRegistered { hotkey, netuid }.into())
        }
        Err(e) => Err(e.into()),
    }
}
