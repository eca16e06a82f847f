//! `templar sim`: a whole economy in one process, from a file that says who takes part.

use crate::cli::{Exit, Failure, output};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use templar::{
    data::Corpus,
    sim::{self, Defence, History, Scenario, SimReport, text::Text},
};

/// Flags of `templar sim`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The scenario; tests/sim/everyone.toml is one with every kind of attacker
    file: PathBuf,
    /// Draw everything from this number instead of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Simulate this many windows instead of the scenario's
    #[arg(long, value_name = "N")]
    windows: Option<u64>,
    /// Take a defence away, to see what it is good for; may be given more than once
    #[arg(long, value_name = "DEFENCE", value_parser = defence)]
    without: Vec<Defence>,
    /// Text files or folders to learn from; text that the seed makes unless given
    #[arg(long, value_name = "PATH")]
    text: Vec<PathBuf>,
    /// Leave out the run without attackers, to which the loss is compared
    #[arg(long)]
    no_clean: bool,
    /// Write the report, its tables and its pictures into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn defence(name: &str) -> Result<Defence, String> {
    let known = |defence: &Defence| serde_json::to_value(defence).ok().is_some_and(|value| value == name);
    Defence::ALL.into_iter().find(known).ok_or_else(|| {
        let names =
            Defence::ALL.iter().filter_map(|d| Some(serde_json::to_value(d).ok()?.as_str()?.to_owned()));
        format!("it is none of {}", names.collect::<Vec<_>>().join(", "))
    })
}

/// Runs the scenario and, beside it, the same without attackers, and says what came of it.
pub async fn run(args: Args) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || simulate(&args))
        .await
        .map_err(|e| Failure::new(Exit::Unexpected, format!("the simulation ended early: {e}")))?
}

fn simulate(args: &Args) -> Result<(), Failure> {
    let file = args.file.display();
    let source = std::fs::read_to_string(&args.file).map_err(|e| {
        Failure::new(Exit::Data, format!("cannot read {file}: {e}"))
            .hint("tests/sim/everyone.toml is a scenario")
    })?;
    let mut scenario = Scenario::parse(&source)?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.windows = args.windows.unwrap_or(scenario.windows);
    scenario.without.extend(&args.without);
    if scenario.windows <= scenario.settle {
        let message =
            format!("{} windows leave none to count after the first {}", scenario.windows, scenario.settle);
        return Err(Failure::new(Exit::Usage, message).hint("give more with --windows"));
    }
    let (text, hash) = the_text(args, &scenario)?;
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let clean = scenario.clean();
    let compare = !args.no_clean && clean.peers.len() < scenario.peers.len();
    // Two runs at once keep all cores busy where the threads of one would wait for each other.
    let share = if compare { threads.div_ceil(2) } else { threads };
    let (with, clean) = thread::scope(|scope| {
        let clean = compare.then(|| scope.spawn(|| sim::run(&clean, &text, share, |_, _| ())));
        let with = follow(&scenario, &text, share);
        (with, clean.map(|clean| clean.join().unwrap_or_else(|panic| resume_unwind(panic))))
    });
    let (with, clean) = (with?, clean.transpose()?);
    let report = SimReport::new(&scenario, hash, &with, clean.as_ref(), started.elapsed().as_secs_f64());
    if let Some(folder) = &args.out {
        report.write(folder, &with, clean.as_ref()).map_err(|e| {
            Failure::from_error(Exit::Unexpected, &e)
                .hint(format!("see that {} can be written", folder.display()))
        })?;
    }
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&describe(&report, args.out.as_deref()))?;
    }
    let Some(first) = report.shortfalls.first() else { return Ok(()) };
    let more = match report.shortfalls.len() - 1 {
        0 => String::new(),
        more => format!(", and in {more} more"),
    };
    Err(Failure::new(Exit::Differs, format!("the rules fall short in this scenario: {first}{more}"))
        .hint("`shortfalls` of the report has them all; docs/gauntlet.md says what each defence is good for"))
}

/// The text, and its hash in hex: made from the scenario's seed, or read.
fn the_text(args: &Args, scenario: &Scenario) -> Result<(Text, String), Failure> {
    if args.text.is_empty() {
        let bytes = sim::text::made(scenario.seed, scenario.text_bytes);
        let text = Text::new(&bytes, scenario.sequence_length).ok_or(sim::ScenarioError::Text)?;
        return Ok((text, blake3::hash(&bytes).to_hex().to_string()));
    }
    let folder = tempfile::tempdir()
        .map_err(|e| Failure::new(Exit::Unexpected, format!("cannot make a temporary folder: {e}")))?;
    Corpus::prepare(&args.text, folder.path(), scenario.text_bytes)?;
    let corpus = Corpus::open(folder.path())?;
    let text = Text::new(&corpus.token_bytes()?, scenario.sequence_length).ok_or(sim::ScenarioError::Text)?;
    Ok((text, corpus.hash().to_owned()))
}

/// Runs a scenario under a progress bar.
fn follow(scenario: &Scenario, text: &Text, threads: usize) -> Result<History, Failure> {
    let bar = ProgressBar::new(scenario.windows);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} windows, {eta} left  {prefix}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let history = sim::run(scenario, text, threads, |_, loss| {
        bar.inc(1);
        bar.set_prefix(format!("loss {loss:.4}"));
    });
    bar.finish_and_clear();
    history.map_err(Failure::from)
}

fn describe(report: &SimReport, folder: Option<&Path>) -> String {
    let mut text = output::table(&sim::HEADING, &["KIND", "CLASS"], &report.rows());
    text.push_str(&format!(
        "\nseed {}, {} windows, the first {} not counted; pay, work and benefit of one peer over the median honest one\n",
        report.seed, report.windows, report.settle
    ));
    text.push_str(&format!(
        "rank correlation of pay among honest peers: {:.3} with contribution, {:.3} with work\n",
        report.outcome.spearman, report.outcome.spearman_work
    ));
    if let Some(ratio) = report.loss_ratio_vs_clean {
        text.push_str(&format!(
            "the loss ends at {:.4}, {ratio:.4} of the run without attackers\n",
            report.outcome.loss
        ));
    }
    text.push_str(&format!("{:.1} s", report.seconds));
    if let Some(bytes) = report.peak_bytes {
        text.push_str(&format!(", at most {} MiB of memory", bytes >> 20));
    }
    text.push('\n');
    for shortfall in &report.shortfalls {
        text.push_str(&format!("falls short: {shortfall}\n"));
    }
    if let Some(folder) = folder {
        text.push_str(&format!("report and pictures: {}\n", folder.display()));
    }
    text
}
