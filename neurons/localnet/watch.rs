//! Watches a localnet to its end, and shows where it is.

use super::{
    chaos::Chaos,
    keeper::Fate,
    plan::{Kind, Neuron, Plan},
    processes::Processes,
};
use crate::{
    cli::{Exit, Failure},
    validator::publish::Progress as Published,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use templar::{
    bucket::keys::RunKeys,
    chain::{Chain, SubtensorClient},
    window::Window,
};

/// Longest progress object that is read, in bytes.
const MAX_PROGRESS_BYTES: u64 = 4 << 20;

/// A progress bar on standard error; plain lines where that is no terminal.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// A bar of so many windows.
    pub fn new(windows: u64) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = if terminal { ProgressBar::new(windows) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} window {pos}/{len} {wide_bar:.green} {elapsed_precise} {msg}",
        ) {
            bar.set_style(style);
        }
        bar.set_length(windows);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, terminal }
    }

    /// Says what is done now.
    pub fn stage(&self, what: &str) {
        if self.terminal {
            self.bar.set_message(what.to_owned());
        } else {
            eprintln!("{what}");
        }
    }

    /// A window is over.
    fn window(&self, done: u64, windows: u64, text: String) {
        if self.terminal {
            self.bar.set_position(done);
            self.bar.set_message(text);
        } else {
            eprintln!("window {done}/{windows}: {text}");
        }
    }

    /// Everything is over.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

/// Pause between two looks for the phase of a chaos script, and how many of them there are from one look at everything to the next.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: u32 = 30;

/// Returns when every neuron has ended by itself; fails when one cannot, or when the run stands still.
pub async fn until_the_end(
    chain: &SubtensorClient,
    plan: &Plan,
    processes: &mut Processes,
    progress: &Progress,
    chaos: &mut Chaos,
) -> Result<(), Failure> {
    let manifest = &plan.manifest.parsed;
    let window_time = Duration::from_millis(manifest.schedule.blocks_per_window * plan.block_ms);
    let patience = window_time * 4 + Duration::from_secs(120);
    let mut seen: Option<(Window, Option<u16>)> = None;
    let mut moved = Instant::now();
    let mut replace_leader = plan.replace_leader;
    let mut gone = BTreeSet::new();
    loop {
        if let Some((_, published)) = furthest(plan).await?
            && seen.is_none_or(|(window, _)| window <= published.window)
            && seen != Some((published.window, published.judging))
        {
            let fresh_window = seen.map(|(w, _)| w) != Some(published.window);
            seen = Some((published.window, published.judging));
            moved = Instant::now();
            let done = published.done;
            if progress.terminal || fresh_window {
                let block = chain.head().await.map(|h| h.number).unwrap_or_default();
                progress.window(done, manifest.schedule.windows, describe(&published, block));
            }
            processes.start_neurons(plan, done)?;
            chaos.play(done, plan, processes, chain).await?;
            if replace_leader.take_if(|at| *at <= done).is_some() {
                processes.end(&plan.neurons[0].name);
                super::chain::lead(chain, plan, &plan.neurons[1]).await?;
            }
        }
        for name in ["chain", "storage"] {
            check(processes, name)?;
        }
        let mut running = 0;
        for neuron in &plan.neurons {
            match check(processes, &neuron.name) {
                Ok(true) => running += 1,
                Ok(false) => {}
                // A network without one of its miners is still a network.
                Err(error) if neuron.kind != Kind::Validator => {
                    if gone.insert(&neuron.name) {
                        let log = processes.log(&neuron.name);
                        eprintln!("{error}; the run goes on without it, its log is {}", log.display());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if running == 0 {
            return Ok(());
        }
        chaos.release(running, processes)?;
        if moved.elapsed() > patience {
            return Err(Failure::new(
                Exit::Unexpected,
                format!("nothing has moved for {} seconds", patience.as_secs()),
            )
            .hint(format!("look at the logs in {}", plan.dir.join("logs").display())));
        }
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            chaos.look(plan, processes, chain).await?;
        }
    }
}

/// The validator that is furthest, and where it is; none before one has said so. Of equals the one with the highest stake.
pub async fn furthest(plan: &Plan) -> Result<Option<(&Neuron, Published)>, Failure> {
    let key = RunKeys::new(plan.manifest.run_id()).progress();
    let mut furthest: Option<(&Neuron, Published)> = None;
    for validator in plan.validators() {
        let Ok(object) = plan.bucket(validator)?.get(&key, MAX_PROGRESS_BYTES).await else { continue };
        let Ok(published) = serde_json::from_slice::<Published>(&object.bytes) else { continue };
        if furthest.as_ref().is_none_or(|(_, known)| known.window < published.window) {
            furthest = Some((validator, published));
        }
    }
    Ok(furthest)
}

fn describe(published: &Published, block: u64) -> String {
    let loss = published.loss.unwrap_or(f64::NAN);
    let who = published.judging.map(|uid| format!(", judging UID {uid}")).unwrap_or_default();
    format!("block {block}, held-out loss {loss:.3}{who}")
}

/// Whether a process still runs; an error where it failed.
fn check(processes: &Processes, name: &str) -> Result<bool, Failure> {
    match processes.fate(name) {
        Fate::Running => Ok(true),
        Fate::Finished => Ok(false),
        Fate::Failed(how) => Err(Failure::new(Exit::Unexpected, format!("`{name}` ended: {how}"))
            .hint(format!("its log is {}", processes.log(name).display()))),
    }
}
