//! `templar balance`, `transfer` and `stake`: what a coldkey has and does with it.

use templar::{
    chain::{Exchange, Included, Payment, PaymentPlan, Stake, SubtensorClient},
    wallet::{AccountId, parse_address},
    window::NetUid,
};

use crate::cli::{
    Amount, ConsentArgs, Exit, Failure, NetworkArgs, WalletArgs,
    output::{print, print_json, table, tao},
    preview,
};

/// Whose balance.
#[derive(Debug, clap::Args)]
pub struct BalanceArgs {
    /// Addresses; the wallet's coldkey unless given
    #[arg(value_name = "ADDRESS", value_parser = address)]
    addresses: Vec<AccountId>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// What to send where.
#[derive(Debug, clap::Args)]
pub struct TransferArgs {
    /// Whose it becomes
    #[arg(long, value_name = "ADDRESS", visible_alias = "dest", value_parser = address)]
    to: AccountId,
    /// How much, in TAO
    #[arg(long, value_name = "TAO", required_unless_present = "all")]
    amount: Option<Amount>,
    /// Everything, and close the account
    #[arg(long, conflicts_with = "amount")]
    all: bool,
    #[command(flatten)]
    pay: PayArgs,
}

/// What all payments share.
#[derive(Debug, clap::Args)]
pub struct PayArgs {
    /// Show what would be signed, every check and the fee, and sign nothing; exit code 5 if the chain would refuse it
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

/// What to do with stake.
#[derive(Debug, clap::Args)]
pub struct StakeArgs {
    #[command(subcommand)]
    verb: StakeVerb,
}

#[derive(Debug, clap::Subcommand)]
enum StakeVerb {
    /// Show what a coldkey has staked, and what it is worth
    Show(BalanceArgs),
    /// Buy a hotkey's alpha on a subnet, or stake on the root
    Add(AddArgs),
    /// Sell a hotkey's alpha on a subnet, or take stake from the root
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The subnet; 0 is the root
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// How much, in TAO
    #[arg(long, value_name = "TAO")]
    amount: Amount,
    #[command(flatten)]
    market: MarketArgs,
    #[command(flatten)]
    pay: PayArgs,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// The subnet; 0 is the root
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// How much, in alpha; on the root in TAO
    #[arg(long, value_name = "ALPHA", required_unless_present = "all")]
    amount: Option<Amount>,
    /// All that the coldkey has there
    #[arg(long, conflicts_with = "amount")]
    all: bool,
    #[command(flatten)]
    market: MarketArgs,
    #[command(flatten)]
    pay: PayArgs,
}

/// Whose stake, and at what price.
#[derive(Debug, clap::Args)]
struct MarketArgs {
    /// The hotkey's address; the wallet's hotkey unless given
    #[arg(id = "for", long = "for", value_name = "ADDRESS", value_parser = address)]
    hotkey: Option<AccountId>,
    /// How far the price may move against you until the exchange is done, in percent; otherwise nothing is exchanged
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5, value_parser = percent)]
    tolerance: f64,
}

/// An address with this chain's prefix.
pub fn address(text: &str) -> Result<AccountId, String> {
    parse_address(text).map_err(|error| error.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| format!("{text:?} is no number from 0 to 100"))
}

/// A price that is worse by this many percent, rao; `up` where a higher one is worse.
fn worse(price: u64, percent: f64, up: bool) -> u64 {
    let factor = if up { 1.0 + percent / 100.0 } else { 1.0 - percent / 100.0 };
    (price as f64 * factor).round() as u64
}

impl BalanceArgs {
    fn accounts(&self) -> Result<Vec<AccountId>, Failure> {
        match self.addresses.is_empty() {
            true => Ok(vec![self.wallet.open()?.coldkey_account()?]),
            false => Ok(self.addresses.clone()),
        }
    }
}

/// Shows what accounts have.
pub async fn balance(args: BalanceArgs) -> Result<(), Failure> {
    let accounts = args.accounts()?;
    let chain = args.network.connect().await?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for account in accounts {
        let (free, stakes) = (chain.balance(&account).await?, chain.stakes(&account).await?);
        let staked: Option<u64> = stakes.iter().map(Stake::worth).sum();
        all.push(serde_json::json!({
            "address": account, "free_rao": free, "staked_rao": staked, "stakes": stakes.len(),
        }));
        let total = staked.map(|staked| staked.saturating_add(free));
        let or_unknown = |rao: Option<u64>| rao.map_or_else(|| "?".to_owned(), tao);
        rows.push(vec![account.to_string(), tao(free), or_unknown(staked), or_unknown(total)]);
    }
    if args.json {
        return print_json(&all);
    }
    print(&table(&["ADDRESS", "FREE (TAO)", "STAKED (WORTH TAO)", "TOTAL"], &["ADDRESS"], &rows))
}

/// Sends TAO.
pub async fn transfer(args: TransferArgs) -> Result<(), Failure> {
    let to = args.to;
    let (payment, what) = match args.amount {
        Some(amount) => {
            let what = format!("sends {amount} TAO to {to}");
            (Payment::Transfer { to, rao: amount.0 }, what)
        }
        None => {
            let what = format!("sends all of it to {to}");
            (Payment::TransferAll { to }, what)
        }
    };
    let chain = args.pay.network.connect().await?;
    let included = pay(&chain, &args.pay, &payment, &what).await?;
    report(&args.pay, included, "sent")
}

/// Shows, adds or removes stake.
pub async fn stake(args: StakeArgs) -> Result<(), Failure> {
    match args.verb {
        StakeVerb::Show(args) => show(args).await,
        StakeVerb::Add(args) => add(args).await,
        StakeVerb::Remove(args) => remove(args).await,
    }
}

async fn show(args: BalanceArgs) -> Result<(), Failure> {
    let accounts = args.accounts()?;
    let chain = args.network.connect().await?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for account in accounts {
        for stake in chain.stakes(&account).await? {
            let or_unknown = |rao: Option<u64>| rao.map_or_else(|| "?".to_owned(), tao);
            rows.push(vec![
                stake.netuid.to_string(),
                stake.hotkey.to_string(),
                tao(stake.alpha),
                or_unknown(stake.price),
                or_unknown(stake.worth()),
                if stake.registered { "yes" } else { "no" }.to_owned(),
            ]);
            all.push(serde_json::json!({ "coldkey": account, "stake": stake, "worth_rao": stake.worth() }));
        }
    }
    if args.json {
        return print_json(&all);
    }
    if rows.is_empty() {
        eprintln!("nothing is staked");
        return Ok(());
    }
    let heading = ["SUBNET", "HOTKEY", "ALPHA", "PRICE (TAO)", "WORTH (TAO)", "REGISTERED"];
    print(&table(&heading, &["HOTKEY", "REGISTERED"], &rows))
}

async fn add(args: AddArgs) -> Result<(), Failure> {
    let hotkey = hotkey(&args.market, &args.pay)?;
    let chain = args.pay.network.connect().await?;
    let price = chain.alpha_price(args.netuid).await?;
    let worst_price = price.map(|price| worse(price, args.market.tolerance, true));
    let (netuid, rao) = (args.netuid, args.amount.0);
    let what = format!("stakes {} TAO to {hotkey} on subnet {netuid}", args.amount);
    let payment = Payment::AddStake { netuid, hotkey, rao, worst_price };
    let included = pay(&chain, &args.pay, &payment, &what).await?;
    report(&args.pay, included, "staked")
}

async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let (hotkey, netuid) = (hotkey(&args.market, &args.pay)?, args.netuid);
    let chain = args.pay.network.connect().await?;
    let alpha = match args.amount {
        Some(amount) => amount.0,
        None => {
            let stakes = chain.stakes(&args.pay.wallet.open()?.coldkey_account()?).await?;
            let there = stakes.iter().find(|stake| (stake.netuid, &stake.hotkey) == (netuid, &hotkey));
            let nothing = || {
                Failure::new(Exit::Chain, format!("there is no stake on {hotkey} on subnet {netuid}"))
                    .hint("`templar stake show` lists all there is")
            };
            there.ok_or_else(nothing)?.alpha
        }
    };
    let price = chain.alpha_price(netuid).await?;
    let worst_price = price.map(|price| worse(price, args.market.tolerance, false));
    let what = format!("takes {} alpha from {hotkey} on subnet {netuid}", Amount(alpha));
    let payment = Payment::RemoveStake { netuid, hotkey, alpha, worst_price };
    let included = pay(&chain, &args.pay, &payment, &what).await?;
    report(&args.pay, included, "taken")
}

fn hotkey(market: &MarketArgs, pay: &PayArgs) -> Result<AccountId, Failure> {
    match &market.hotkey {
        Some(hotkey) => Ok(hotkey.clone()),
        None => Ok(pay.wallet.open()?.hotkey_account()?),
    }
}

/// Shows what would be done and ends there, or asks, signs and waits. None after a dry run.
pub async fn pay(
    chain: &SubtensorClient,
    args: &PayArgs,
    payment: &Payment,
    what: &str,
) -> Result<Option<Included>, Failure> {
    let Some(coldkey) = agree(chain, args, payment, what).await? else { return Ok(None) };
    Ok(Some(chain.pay(payment, &coldkey).await?))
}

/// The key that signs, once everything was looked at and agreed to; none after a dry run.
pub async fn agree(
    chain: &SubtensorClient,
    args: &PayArgs,
    payment: &Payment,
    what: &str,
) -> Result<Option<templar::wallet::Keypair>, Failure> {
    let wallet = args.wallet.open()?;
    let coldkey = wallet.coldkey_account()?;
    let plan = chain.plan_payment(payment, &coldkey).await?;
    if args.dry_run {
        if args.json {
            print_json(&plan)?;
        } else {
            let (sentence, exchange) = (said(&coldkey, what), exchanged(payment, &plan));
            print(&format!(
                "{sentence}{exchange}\n{}{}",
                preview::checks(&plan.checks),
                preview::text(&plan.preview)
            ))?;
        }
        return plan.refuse().map(|()| None).map_err(Failure::from);
    }
    plan.refuse()?;
    let (balance, fee) = (Amount(plan.balance), Amount(plan.preview.fee));
    let sentence = format!(
        "{}{}; it has {balance} TAO, the fee is {fee}",
        said(&coldkey, what),
        exchanged(payment, &plan)
    );
    args.consent.ask(&sentence, None)?;
    Ok(Some(wallet.coldkey_with(&args.wallet.passwords.sources())?))
}

fn said(coldkey: &AccountId, what: &str) -> String {
    format!("the coldkey {coldkey} {what}")
}

/// What an exchange brings, in words; nothing where there is none.
fn exchanged(payment: &Payment, plan: &PaymentPlan) -> String {
    let Some(Exchange { price, amount, fee }) = plan.exchange else { return String::new() };
    let (out, of) = match payment {
        Payment::AddStake { .. } => ("alpha", "TAO"),
        _ => ("TAO", "alpha"),
    };
    let fee = if fee == 0 { String::new() } else { format!(", the pool keeps {} {of}", Amount(fee)) };
    let limit = if plan.price_is_limited { "" } else { ", and this runtime keeps no limit on it" };
    format!(" for about {} {out} (one alpha is {} TAO{fee}{limit})", Amount(amount), Amount(price))
}

/// What was done, as the result.
pub fn report(args: &PayArgs, included: Option<Included>, done: &str) -> Result<(), Failure> {
    let Some(included) = included else { return Ok(()) };
    if args.json { print_json(&included) } else { print(&format!("{done} in block {}\n", included.block)) }
}

impl PayArgs {
    /// Whether the result is JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whose keys.
    pub fn wallet(&self) -> &WalletArgs {
        &self.wallet
    }

    /// The chain.
    pub async fn connect(&self) -> Result<SubtensorClient, Failure> {
        self.network.connect().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar::chain::RAO_PER_TAO;

    #[test]
    fn a_tolerance_is_on_the_side_that_hurts() {
        assert_eq!((worse(1000, 0.5, true), worse(1000, 0.5, false)), (1005, 995));
        assert_eq!((worse(RAO_PER_TAO, 0.0, true), worse(RAO_PER_TAO, 100.0, false)), (RAO_PER_TAO, 0));
        assert!(percent("101").is_err() && percent("-1").is_err() && percent("x").is_err());
    }
}
