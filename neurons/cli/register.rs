//! `templar register`: a hotkey becomes a neuron of a subnet.

use indicatif::ProgressBar;
use std::sync::atomic::Ordering;
use templar::{
    chain::{ChainError, PowProgress, RegistrationPlan, SubtensorClient},
    wallet::{AccountId, Wallet},
    window::{NetUid, Uid},
};

use crate::cli::{
    Amount, ConsentArgs, Failure, NetworkArgs, WalletArgs,
    output::{print, print_json, tao},
    preview,
};

/// What to register where. The coldkey pays.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// The most that it may cost, in TAO; whatever it costs unless given
    #[arg(long, value_name = "TAO")]
    max_cost: Option<Amount>,
    /// Register by proof of work, with all cores, rather than pay; only some runtimes and subnets take that
    #[arg(long, conflicts_with = "max_cost")]
    pow: bool,
    /// Show what would be signed, the price and the fee, and sign nothing; exit code 5 if the chain would refuse it
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    consent: ConsentArgs,
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
        return print(&format!("{}{}", work(tries), preview::text(&preview)));
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

/// Registers the wallet's hotkey, unless it is registered already.
pub async fn run(args: Args) -> Result<(), Failure> {
    let wallet = args.wallet.open()?;
    let (hotkey, coldkey) = (wallet.hotkey_account()?, wallet.coldkey_account()?);
    let chain = args.network.connect().await?;
    let limit = args.max_cost.map(|amount| amount.0);
    let plan = chain.plan_registration(args.netuid, &hotkey, &coldkey, limit, args.pow).await?;
    if args.dry_run {
        if args.json {
            print_json(&plan)?;
        } else {
            print(&shown(&plan))?;
        }
        return Ok(plan.refuse()?);
    }
    let (uid, new) = match plan.registered_as {
        Some(uid) => (uid, false),
        None => register(&chain, &args, &wallet, &hotkey, &plan).await?,
    };
    if args.json {
        return print_json(&serde_json::json!({
            "netuid": args.netuid, "uid": uid, "hotkey": hotkey, "registered_now": new,
        }));
    }
    let how = if new { "is now" } else { "was already" };
    print(&format!("{hotkey} {how} UID {uid} of subnet {}\n", args.netuid))
}

/// The plan as a person reads it.
fn shown(plan: &RegistrationPlan) -> String {
    let costs = match plan.expected_tries {
        Some(tries) => work(tries),
        None => format!("registering costs {} TAO now\n", tao(plan.price)),
    };
    let already = plan.registered_as.map_or(String::new(), |uid| {
        format!("  it is registered already, as UID {uid}: there is nothing to do\n")
    });
    format!("{costs}{already}{}{}", preview::checks(&plan.checks), preview::text(&plan.preview))
}

/// The UID, and whether it is a new one.
async fn register(
    chain: &SubtensorClient,
    args: &Args,
    wallet: &Wallet,
    hotkey: &AccountId,
    plan: &RegistrationPlan,
) -> Result<(Uid, bool), Failure> {
    let netuid = args.netuid;
    // Before anything is asked.
    plan.refuse()?;
    if !args.pow {
        let (price, fee, balance) = (Amount(plan.price), Amount(plan.preview.fee), Amount(plan.balance));
        let what = format!(
            "registering {hotkey} on subnet {netuid} costs {price} TAO and a fee of {fee}; the coldkey has {balance}"
        );
        args.consent.ask(&what, Some(("--max-cost TAO", args.max_cost.is_some())))?;
    }
    let coldkey = wallet.coldkey_with(&args.wallet.passwords.sources())?;
    let registered = if args.pow {
        eprintln!("searching for a proof of work to register on subnet {netuid} with");
        let search = PowProgress::default();
        let bar = Progress::show(&search);
        let registered = chain.register_by_work(netuid, hotkey, &coldkey, &search).await;
        bar.end();
        registered
    } else {
        // What was agreed to: with --yes alone whatever it costs when it comes in.
        let agreed = plan.limit.or((!args.consent.yes).then_some(plan.price));
        match agreed {
            Some(limit) => chain.register_within(netuid, hotkey, limit, &coldkey).await,
            None => chain.register(netuid, hotkey, &coldkey).await,
        }
    };
    match registered {
        Ok(uid) => Ok((uid, true)),
        // Another run of this command was faster.
        Err(ChainError::Refused { name, .. }) if name == "HotKeyAlreadyRegisteredInSubNet" => {
            let uid = chain.uid(netuid, hotkey).await?;
            let gone = || ChainError::NotRegistered { hotkey: hotkey.clone(), netuid };
            uid.map(|uid| (uid, false)).ok_or_else(|| gone().into())
        }
        Err(e) => Err(e.into()),
    }
}
