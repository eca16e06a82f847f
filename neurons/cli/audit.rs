//! `templar audit`: repeat what a validator did, without keys of one's own.

use crate::{
    cli::{
        Exit, Failure,
        output::{print, print_json, table},
        scores::source::{BucketArgs, Range, Subnet},
    },
    context,
};
use std::sync::Arc;
use templar::{
    audit::{AuditReport, Audited, Auditor, Outcome, Tolerance},
    bucket::{MemoryStore, system_clock},
    device,
    node::{self, Clock, Identity},
    wallet::Keypair,
    window::Uid,
};

/// Which validator, which windows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The validator's UID; the leader's (the highest stake of those with a permit) unless given
    #[arg(long, value_name = "UID")]
    validator: Option<Uid>,
    /// The windows, both ends included
    #[arg(long, value_name = "A..B")]
    window: String,
    #[command(flatten)]
    at: BucketArgs,
    #[command(flatten)]
    text: context::TextArgs,
    /// What computes: `auto`, `cpu` or `cuda:N`; bits are the same on the validator's kind of device
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the tensor library
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How far a number may differ, as a share of it, where the device is another; 0 means not by a bit
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    tolerance: f64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Audits, and fails where there is a difference.
pub async fn run(args: Args) -> Result<(), Failure> {
    let range = Range::parse(&args.window)?;
    if !(0.0..1.0).contains(&args.tolerance) {
        return Err(Failure::new(Exit::Usage, format!("--tolerance {} is no share", args.tolerance))
            .hint("give 0 for the same device, or something small such as 1e-4 for another"));
    }
    let device = device::open(&args.device)?;
    device::set_threads(args.threads);
    let subnet = args.at.open().await?;
    let report = tokio::select! {
        report = audit(&args, subnet, range, device) => report?,
        () = context::told_to_stop(false) => {
            return Err(Failure::new(Exit::Interrupted, "stopped before the last window")
                .hint("nothing was changed anywhere; start again at any time"));
        }
    };
    if args.json {
        let value = report.to_json();
        print_json(&value.map_err(|e| Failure::new(Exit::Unexpected, e))?)?;
    } else {
        print(&text(&report))?;
    }
    verdict(&report)
}

async fn audit(
    args: &Args,
    subnet: Subnet,
    range: Range,
    device: tch::Device,
) -> Result<AuditReport, Failure> {
    let validator = subnet.validator(args.validator)?;
    let audited = Audited { uid: validator.uid, hotkey: validator.hotkey.clone() };
    let scores = subnet.scores(validator)?;
    if scores.windows(range.from, range.to).await?.is_empty() {
        return Err(Failure::new(
            Exit::Data,
            format!("UID {} has no score log of windows {range}", audited.uid),
        )
        .hint(match scores.newest().await? {
            Some(newest) => format!("its newest one is of window {newest}"),
            None => "it has none at all; name another validator".to_owned(),
        }));
    }
    let Subnet { chain, netuid, buckets, directory } = subnet;
    let manifest = node::fetch_manifest(&directory).await?;
    let manifest = manifest.ok_or_else(|| {
        Failure::new(Exit::Data, "no validator has published the run's manifest")
            .hint("wait until it has; without it nothing can be repeated")
    })?;
    // It signs nothing, and what it could publish would stay in memory.
    let (hotkey, _) = Keypair::generate();
    let bucket = Arc::new(MemoryStore::new("auditor", system_clock()));
    let identity = Identity { chain, netuid, hotkey, manifest: Arc::new(manifest), bucket };
    if directory.run(&audited.hotkey).is_some_and(|run| run != identity.manifest.hash()) {
        return Err(Failure::new(
            Exit::Data,
            format!("UID {} judges another run than the validator with the highest stake", audited.uid),
        )
        .hint("only validators of that run can be audited"));
    }
    let start = node::fetch_start(&directory, &identity.manifest).await?;
    let start = start.ok_or_else(|| {
        Failure::new(Exit::Data, "no validator has said where the run began")
            .hint("wait until the run has begun")
    })?;
    let folder = tempfile::tempdir()
        .map_err(|e| Failure::new(Exit::Storage, format!("cannot make a temporary folder: {e}")))?;
    let corpus = args.text.open(&identity.manifest, folder.path()).await?;
    let schedule = identity.manifest.parsed.schedule();
    let clock = Clock::start(identity.chain.clone(), schedule).await?;
    let tolerance = Tolerance(args.tolerance);
    let mut auditor = Auditor { identity, clock, buckets, start, corpus, device, audited, scores, tolerance };
    auditor.audit(range.from..=range.to).await.map_err(Failure::from)
}

fn text(report: &AuditReport) -> String {
    let rows: Vec<Vec<String>> = report
        .windows
        .iter()
        .map(|window| {
            vec![
                window.window.to_string(),
                window.outcome.name().to_owned(),
                window.records.to_string(),
                window.judged.to_string(),
                window.notes.join("; "),
            ]
        })
        .collect();
    let heading = ["WINDOW", "OUTCOME", "RECORDS", "JUDGED", "NOTES"];
    let on_chain = &report.weights_on_chain;
    let mut text = table(&heading, &["OUTCOME", "NOTES"], &rows);
    if let (Some(from), Some(to)) = (on_chain.from_block, on_chain.to_block) {
        text.push_str(&format!(
            "{} settings of weights on chain compared, blocks {from} to {to}\n",
            on_chain.settings
        ));
    }
    if !on_chain.not_set_after.is_empty() {
        let windows: Vec<String> = on_chain.not_set_after.iter().map(u64::to_string).collect();
        text.push_str(&format!("no weights were set when due after window {}\n", windows.join(", ")));
    }
    let same = report.count(Outcome::Same);
    if report.difference().is_none() && same > 0 {
        text.push_str(&format!(
            "UID {} did what it says in {same} of {} windows, {}\n",
            report.validator,
            report.to - report.from + 1,
            if report.tolerance.0 > 0.0 {
                format!("within {}", report.tolerance.0)
            } else {
                "to the last bit".to_owned()
            }
        ));
    }
    text
}

/// The exit code that the outcome deserves.
fn verdict(report: &AuditReport) -> Result<(), Failure> {
    if let Some(difference) = report.difference() {
        return Err(Failure::new(Exit::Differs, format!("the first difference is in {difference}")).hint(
            "repeat it on the validator's kind of device, or with --tolerance 1e-4, before you call it a lie",
        ));
    }
    // What was not checked has not passed: a peer that deletes its object, or a validator that is its friend, has no say in that.
    let unchecked = report.count(Outcome::NotChecked);
    let all = unchecked + report.count(Outcome::Same);
    if unchecked > 0 || all == 0 {
        let why = report.windows.iter().find(|window| window.outcome == Outcome::NotChecked);
        let why =
            why.and_then(|window| Some(format!(": window {}, {}", window.window, window.notes.last()?)));
        let which = if unchecked == all { "none".to_owned() } else { format!("{unchecked} of {all}") };
        let verb = if unchecked == all { "could be checked" } else { "could not be checked" };
        return Err(Failure::new(
            Exit::Data,
            format!("{which} of the windows {verb}{}", why.unwrap_or_default()),
        )
        .hint("what was checked is as the validator says; peers keep their objects for 100 windows, audit newer ones"));
    }
    Ok(())
}
