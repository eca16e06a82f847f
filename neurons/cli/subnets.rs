//! `templar subnets`: which there are, what their settings are, and a new one.

use templar::{
    chain::{Chain as _, HyperparameterValue, Payment, SubnetSummary},
    window::NetUid,
};

use crate::cli::{
    Amount, Failure, NetworkArgs,
    output::{print, print_json, table, tao},
    pay::{self, PayArgs},
};

/// What to do with subnets.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List all subnets
    List(List),
    /// Show every setting of a subnet
    Show(Show),
    /// Make a new subnet; the coldkey owns it, the hotkey is its first neuron
    Create(PayArgs),
    /// Start a subnet's emission and the trade in its alpha, as its owner
    Start(Start),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    #[command(flatten)]
    pay: PayArgs,
}

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::List(args) => list(args).await,
        Verb::Show(args) => show(args).await,
        Verb::Create(args) => create(args).await,
        Verb::Start(args) => {
            let chain = args.pay.connect().await?;
            let payment = Payment::StartSubnet { netuid: args.netuid };
            let included =
                pay::pay(&chain, &args.pay, &payment, &format!("starts subnet {}", args.netuid)).await?;
            pay::report(&args.pay, included, "started")
        }
    }
}

async fn list(args: List) -> Result<(), Failure> {
    let subnets = args.network.connect().await?.subnet_summaries().await?;
    if args.json {
        return print_json(&subnets);
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let yes = |flag: Option<bool>| or_none(flag.map(|flag| if flag { "yes" } else { "no" }.to_owned()));
    let row = |subnet: &SubnetSummary| {
        vec![
            subnet.netuid.to_string(),
            or_none(subnet.name.clone()),
            or_none(subnet.symbol.clone()),
            match subnet.max_uids {
                Some(most) => format!("{} of {most}", subnet.neurons),
                None => subnet.neurons.to_string(),
            },
            or_none(subnet.tempo.map(|tempo| tempo.to_string())),
            or_none(subnet.burn.map(tao)),
            yes(subnet.registration_allowed),
            yes(subnet.commit_reveal),
            or_none(subnet.moving_price.map(tao)),
            or_none(subnet.owner.as_ref().map(ToString::to_string)),
        ]
    };
    let heading = [
        "SUBNET",
        "NAME",
        "ALPHA",
        "NEURONS",
        "TEMPO",
        "BURN (TAO)",
        "OPEN",
        "COMMIT-REVEAL",
        "PRICE (TAO)",
        "OWNER",
    ];
    let rows: Vec<_> = subnets.iter().map(row).collect();
    print(&table(&heading, &["NAME", "ALPHA", "OPEN", "COMMIT-REVEAL", "OWNER"], &rows))
}

async fn show(args: Show) -> Result<(), Failure> {
    let chain = args.network.connect().await?;
    let settings = chain.hyperparameter_list(args.netuid).await?;
    let usual = chain.hyperparameters(args.netuid).await?;
    if args.json {
        let values: serde_json::Map<_, _> =
            settings.iter().map(|one| (one.name.clone(), serde_json::json!(one.value))).collect();
        return print_json(&serde_json::json!({
            "netuid": args.netuid, "owner": usual.owner, "burn_rao": usual.burn, "max_uids": usual.max_uids,
            "hyperparameters": values,
        }));
    }
    let value = |value: HyperparameterValue| match value {
        HyperparameterValue::Flag(flag) => flag.to_string(),
        HyperparameterValue::Number(number) => number.to_string(),
        HyperparameterValue::Rao(rao) => format!("{} TAO", Amount(rao)),
        HyperparameterValue::Fraction(fraction) => fraction.to_string(),
    };
    let rows: Vec<_> = settings.iter().map(|one| vec![one.name.clone(), value(one.value)]).collect();
    print(&format!(
        "subnet {} of {}, at most {} neurons; registering costs {} TAO\n{}",
        args.netuid,
        usual.owner,
        usual.max_uids,
        Amount(usual.burn),
        table(&["SETTING", "VALUE"], &["SETTING", "VALUE"], &rows)
    ))
}

async fn create(args: PayArgs) -> Result<(), Failure> {
    let hotkey = args.wallet().open()?.hotkey_account()?;
    let chain = args.connect().await?;
    let cost = chain.subnet_cost().await?;
    let what = match cost {
        Some(cost) => {
            format!("makes a new subnet for {} TAO, with {hotkey} as its first neuron", Amount(cost))
        }
        None => format!(
            "makes a new subnet, with {hotkey} as its first neuron; the runtime does not tell the price"
        ),
    };
    let payment = Payment::NewSubnet { hotkey: hotkey.clone() };
    let Some(coldkey) = pay::agree(&chain, &args, &payment, &what).await? else { return Ok(()) };
    let (netuid, included) = chain.create_subnet(&hotkey, &coldkey).await?;
    if args.json() {
        return print_json(&serde_json::json!({ "netuid": netuid, "included": included }));
    }
    print(&format!(
        "subnet {netuid} is there since block {}; start it with `templar subnets start --netuid {netuid}`\n",
        included.block
    ))
}
