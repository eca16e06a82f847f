//! `templar localnet`: a whole network on one machine. Every neuron is a process of this program, and
//! they talk to each other only through the chain's RPC and the S3 API.

use crate::{
    cli::{Exit, Failure, output::print},
    context,
};
use std::{path::PathBuf, time::Duration};
use templar::{report::Report, wallet::Keypair};

mod chain;
mod chaos;
mod keeper;
mod outcome;
mod pace;
mod plan;
mod processes;
mod watch;

use plan::{Late, Plan, Saboteurs};
use processes::{Processes, Programs};

/// Flags of `templar localnet`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Honest miners.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub miners: u16,
    /// Validators; the first has the highest stake and leads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub validators: u16,
    /// How the miners train: `local`, one gradient a window (DeMo), or `sparseloco`, several steps of AdamW. The model is the same.
    #[arg(long, value_enum, default_value_t = Preset::Local)]
    pub preset: Preset,
    /// Micro-batches that a window assigns at most, with `--preset local`: a miner does as many as it has time for, and more work is
    /// harder to prove from losses. By default the usual four.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(4..))]
    pub max_batches: Option<u16>,
    /// Windows to train.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub windows: u64,
    /// Miners that misbehave, beside the honest ones: `noise` publishes random values, `lazy` trains on
    /// other data than its own. `none` for no saboteur.
    #[arg(long = "saboteur", value_name = "KIND:N", default_value = "noise:1")]
    pub saboteurs: Vec<Saboteurs>,
    /// Honest miners that join when so many windows are over: from the newest checkpoint, or with `:start` by replaying the run.
    #[arg(long = "late", value_name = "N:WINDOW[:start]", hide = true)]
    pub late: Vec<Late>,
    /// When so many windows are over, the first validator ends for good, and the second has the highest stake from then on.
    #[arg(long, value_name = "WINDOW", hide = true)]
    pub replace_leader: Option<u64>,
    /// A script of what goes wrong, and when: processes that are killed or stand still, trouble of the storage, late finality.
    #[arg(long, value_name = "SCRIPT.toml")]
    pub chaos: Option<PathBuf>,
    /// How many blocks the chain's last final one is behind the newest.
    #[arg(long, value_name = "BLOCKS", default_value_t = 0, hide = true)]
    pub finality_lag: u32,
    /// Text to train on: a corpus that `templar data prepare` made, or text files and folders. By default the
    /// sources of some of this program's dependencies, the same on every machine.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Where the nodes fetch a prepared corpus from, instead of its folder: https://HOST/PATH, s3://BUCKET/PREFIX;
    /// may be given several times.
    #[arg(long = "mirror", value_name = "URL", requires = "data")]
    pub mirrors: Vec<String>,
    /// The most disk that each node takes for fetched text, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub data_cache: u64,
    /// Where logs, results and state go; must be empty or not exist. By default a new folder under
    /// `localnet/`.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Seconds of one window. Without it this machine is measured for a second.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub window_seconds: Option<f64>,
    /// Keep the chain and the storage running when the run is over, until Ctrl-C: to audit it, to look at
    /// weights and buckets.
    #[arg(long)]
    pub keep: bool,
    /// Print the report as JSON, and nothing else, on standard output.
    #[arg(long)]
    pub json: bool,
}

/// How the miners of a localnet train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    Local,
    #[value(name = "sparseloco")]
    SparseLoco,
}

impl Preset {
    /// The manifest's preset.
    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::SparseLoco => "local-sparseloco",
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if (1.0..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("it must be from 1 to 3600".to_owned()) }
}

/// Starts the network, watches it to its end and reports.
pub async fn run(args: Args) -> Result<(), Failure> {
    let programs = Programs::find()?;
    let plan = Plan::make(&args)?;
    eprintln!("localnet in {}", plan.dir.display());
    let mut processes = Processes::new(&plan, programs);
    let outcome = tokio::select! {
        outcome = play(&args, &plan, &mut processes) => outcome,
        () = context::told_to_stop(false) => {
            processes.stop().await;
            return Err(Failure::new(Exit::Interrupted, "stopped before the last window")
                .hint(format!("logs and what was trained so far are in {}", plan.dir.display())));
        }
    };
    let shown = match outcome {
        Ok(report) => show(&args, &plan, &report).await.map(|()| report),
        Err(failure) => Err(failure),
    };
    if let (true, Ok(report)) = (args.keep, &shown) {
        eprintln!("{}", kept(&plan, report));
        context::told_to_stop(false).await;
    }
    processes.stop().await;
    shown.map(drop)
}

async fn show(args: &Args, plan: &Plan, report: &Report) -> Result<(), Failure> {
    outcome::write(plan, report).await?;
    if args.json {
        return print(&report.to_json()?);
    }
    print(&report.table())?;
    eprintln!("report, logs and the loss curve are in {}", plan.dir.display());
    Ok(())
}

/// How to look at what is kept.
fn kept(plan: &Plan, report: &Report) -> String {
    let (network, storage) = (plan.chain_url(), plan.storage_url());
    let flags = format!("--network {network} --bucket-endpoint {storage} --netuid {}", plan.netuid);
    let miner = report.peers.iter().find(|peer| peer.role == "miner").map_or(0, |peer| peer.uid);
    let windows = report.loss.iter().map(|point| point.window);
    let (from, to) = (windows.clone().min().unwrap_or(0), windows.max().unwrap_or(0));
    let data = &plan.data;
    format!(
        "chain and storage stay up until Ctrl-C; for example\n  \
         templar why {miner} {flags}\n  \
         templar audit --window {from}..{to} --data {} {flags}",
        data.display()
    )
}

async fn play(args: &Args, plan: &Plan, processes: &mut Processes) -> Result<Report, Failure> {
    let names: Vec<&str> = plan.neurons.iter().map(|neuron| neuron.name.as_str()).collect();
    let names = [&["chain", "storage"][..], &names].concat();
    let mut chaos = match &args.chaos {
        Some(script) => chaos::Chaos::read(script, &names)?,
        None => chaos::Chaos::default(),
    };
    let progress = watch::Progress::new(args.windows);
    progress.stage("starting the chain and the storage");
    processes.start_chain(plan).await?;
    processes.start_storage(plan).await?;
    let client = plan.connect().await?;
    let alice = Keypair::from_uri("//Alice")?;
    chain::set_up(&client, plan, &alice, |what| progress.stage(what)).await?;
    progress.stage("starting the neurons");
    processes.start_neurons(plan, 0)?;
    watch::until_the_end(&client, plan, processes, &progress, &mut chaos).await?;
    progress.stage("waiting for the chain to pay for the last weights");
    chain::next_epoch(&client, plan, Duration::from_secs(60)).await?;
    let report = outcome::read(&client, plan).await?;
    progress.done();
    Ok(report)
}
