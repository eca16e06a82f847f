//! `templar evaluator`: follows a run without keys of its own, and evaluates its checkpoints.

use crate::{
    cli::{
        Exit, Failure,
        eval::{Evaluated, QuestionArgs, Questions, add_to_history},
        model::{
            computing_on,
            source::{Followed, Opened},
        },
        output::print,
        scores::source::BucketArgs,
    },
    context,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use templar::{eval::history, telemetry::files::write_atomic, window::Window};

/// Which run, what to ask of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: BucketArgs,
    #[command(flatten)]
    questions: QuestionArgs,
    /// The folder of the run's tokenizer, where its tokens are not bytes
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Evaluate a checkpoint only if it is at least so many windows after the last that was evaluated
    #[arg(long, value_name = "WINDOWS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Where the results go: history.jsonl, its pictures, and window-N.json in lm-evaluation-harness's form
    #[arg(long, value_name = "DIR", default_value = "evaluation")]
    out: PathBuf,
    /// End after the run's last window, or after so many evaluations
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Pause between two looks for a checkpoint.
const POLL: Duration = Duration::from_secs(5);

/// Runs until the run ends, or the process is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    tokio::select! {
        done = evaluate(&args) => done,
        () = context::told_to_stop(false) => Ok(()),
    }
}

async fn evaluate(args: &Args) -> Result<(), Failure> {
    let questions = Arc::new(Questions::read(&args.questions).await?);
    let device = computing_on(&args.questions.device, args.questions.threads)?;
    fs::create_dir_all(&args.out).map_err(|e| {
        Failure::new(Exit::Storage, format!("cannot write {}: {e}", args.out.display()))
            .hint("name another folder with --out")
    })?;
    let log = args.out.join("history.jsonl");
    // What was evaluated before a restart counts.
    let before = history::read(&log).map_err(|e| {
        Failure::new(Exit::Data, format!("cannot read {}: {e}", log.display()))
            .hint("move it away, or name another folder with --out")
    })?;
    let mut last: Option<Window> = before.iter().filter_map(|point| point.window).max();
    let mut followed = Followed::open(&args.at, args.tokenizer.clone()).await?;
    let mut count = 0;
    loop {
        match followed.newest(device).await {
            Ok(Some(opened)) => {
                let window = opened.about.window().unwrap_or_default();
                if last.is_none_or(|last| window >= last.saturating_add(args.every)) {
                    let (questions, out) = (questions.clone(), args.out.clone());
                    let shown = context::blocking(move || one(&questions, &opened, &out)).await?;
                    print(&format!("window {window}\n{shown}\n"))?;
                    last = Some(window);
                    count += 1;
                }
            }
            Ok(None) => {}
            Err(failure) => tracing::warn!(%failure, "the newest checkpoint could not be read; trying again"),
        }
        let start = followed.start().map(|start| start.start_window);
        let end =
            start.and_then(|start| templar::node::window::last_window(&followed.manifest().parsed, start));
        let ended = end.is_some_and(|end| last.is_some_and(|last| last >= end));
        if ended || args.count.is_some_and(|most| count >= most) {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Evaluates one checkpoint and keeps what came of it.
fn one(questions: &Questions, opened: &Opened, out: &Path) -> Result<String, Failure> {
    let evaluated: Evaluated = questions.ask(opened)?;
    let path = out.join(format!("window-{}.json", opened.about.window().unwrap_or_default()));
    let document = format!("{:#}\n", evaluated.json(opened));
    write_atomic(&path, document.as_bytes()).map_err(|e| {
        Failure::new(Exit::Storage, format!("cannot write {}: {e}", path.display())).hint("check the disk")
    })?;
    add_to_history(&out.join("history.jsonl"), opened, &evaluated)?;
    Ok(evaluated.table())
}
