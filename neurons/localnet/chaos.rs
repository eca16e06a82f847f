//! `--chaos SCRIPT.toml`: what goes wrong in a localnet, and when.

use super::{plan::Plan, processes::Processes};
use crate::cli::{Exit, Failure};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use templar::{bucket::server::Faults, chain::SubtensorClient, telemetry::files::write_atomic};

/// Where the storage reads how to misbehave.
pub const FAULTS: &str = "storage-faults.json";

/// A script, as its file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    at: Vec<Event>,
}

/// What happens when so many windows are over. Processes are called as in the list that `processes.json` has: `chain`, `storage`,
/// `validator-1`, `miner-1`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    /// Windows that are over by then.
    window: u64,
    /// It does not happen at once, but when the log of `of` next says that this phase of its work is done.
    #[serde(default)]
    phase: Option<Phase>,
    /// Whose phase: the first process that something happens to, unless given.
    #[serde(default)]
    of: Option<String>,
    /// These are killed, as by the kernel, and started again.
    #[serde(default)]
    kill: Vec<String>,
    /// These are killed and not started again.
    #[serde(default)]
    end: Vec<String>,
    /// These stand still, neither alive nor dead.
    #[serde(default)]
    stop: Vec<String>,
    /// These go on.
    #[serde(default, rename = "continue")]
    go_on: Vec<String>,
    /// How the storage misbehaves from now on.
    #[serde(default)]
    storage: Option<Faults>,
    /// How many blocks finality is behind from now on.
    #[serde(default)]
    finality_lag: Option<u32>,
}

/// A phase of a node's work in a window, as its log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// A validator has what the peers published.
    Gather,
    /// It has published the round.
    Publish,
    /// It has taken the step.
    Aggregate,
    /// It has judged.
    Evaluate,
    /// A miner has trained.
    Train,
    /// It has compressed.
    Compress,
    /// It has uploaded.
    Upload,
    /// It has followed the round.
    Follow,
}

impl Phase {
    /// What a line of the log has in it.
    fn mark(self) -> String {
        format!("phase=\"{self:?}\"").to_lowercase()
    }
}

impl Event {
    /// Whom something happens to.
    fn named(&self) -> impl Iterator<Item = &String> {
        [&self.kill, &self.end, &self.stop, &self.go_on].into_iter().flatten().chain(&self.of)
    }
}

/// An event that waits for a phase.
#[derive(Debug)]
struct Waiting {
    event: Event,
    mark: String,
    log: PathBuf,
    /// What of the log was there before, or has been looked at.
    read: u64,
}

impl Waiting {
    /// Whether the phase has come, by what the log says since the last look.
    fn comes(&mut self) -> bool {
        let mut text = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(self.read))?;
            log.read_to_end(&mut text)
        });
        // Whole lines: the rest is looked at when it is there.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        read.is_ok() && String::from_utf8_lossy(&text[..whole]).contains(&self.mark)
    }
}

/// The events that have not come yet.
#[derive(Debug, Default)]
pub struct Chaos {
    events: VecDeque<Event>,
    waiting: Vec<Waiting>,
    stopped: BTreeSet<String>,
}

impl Chaos {
    /// Reads a script.
    ///
    /// # Errors
    /// [`Failure`] where it cannot be read, or names a process that the localnet does not have.
    pub fn read(path: &Path, names: &[&str]) -> Result<Self, Failure> {
        let wrong = |what: String| {
            Failure::new(Exit::Usage, format!("{}: {what}", path.display()))
                .hint("docs/reliability.md says what a script is made of")
        };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let Script { at: mut events } = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        events.sort_by_key(|event| event.window);
        for event in &events {
            if event.phase.is_some() && event.named().next().is_none() {
                return Err(wrong("a phase is that of a process: name one with `of`".to_owned()));
            }
            if let Some(stranger) = event.named().find(|name| !names.contains(&name.as_str())) {
                return Err(wrong(format!(
                    "there is no process `{stranger}`; there are {}",
                    names.join(", ")
                )));
            }
        }
        Ok(Self { events: events.into(), ..Self::default() })
    }

    /// Does what is due when so many windows are over, and begins to wait for the phase of what has one.
    ///
    /// # Errors
    /// Where a process cannot be reached, or the chain.
    pub async fn play(
        &mut self,
        done: u64,
        plan: &Plan,
        processes: &mut Processes,
        chain: &SubtensorClient,
    ) -> Result<(), Failure> {
        while let Some(event) = self.events.pop_front_if(|event| event.window <= done) {
            let whose = event.of.as_ref().or_else(|| event.named().next());
            if let (Some(phase), Some(whose)) = (event.phase, whose) {
                let log = processes.log(whose);
                let read = log.metadata().map_or(0, |metadata| metadata.len());
                self.waiting.push(Waiting { mark: phase.mark(), log, read, event });
            } else {
                self.happen(&event, plan, processes, chain).await?;
            }
        }
        Ok(())
    }

    /// Does what has waited for its phase. To be called often: phases are short.
    ///
    /// # Errors
    /// Those of [`Self::play`].
    pub async fn look(
        &mut self,
        plan: &Plan,
        processes: &mut Processes,
        chain: &SubtensorClient,
    ) -> Result<(), Failure> {
        for waiting in self.waiting.extract_if(.., Waiting::comes).collect::<Vec<_>>() {
            self.happen(&waiting.event, plan, processes, chain).await?;
        }
        Ok(())
    }

    async fn happen(
        &mut self,
        event: &Event,
        plan: &Plan,
        processes: &mut Processes,
        chain: &SubtensorClient,
    ) -> Result<(), Failure> {
        for name in &event.kill {
            eprintln!("chaos: {name} is killed");
            // It may be dead already, and be about to be started again.
            if let Err(error) = processes.signal(name, "-KILL") {
                eprintln!("{error}");
            }
        }
        for name in &event.end {
            eprintln!("chaos: {name} ends for good");
            self.stopped.remove(name);
            processes.end(name);
        }
        for name in &event.stop {
            eprintln!("chaos: {name} stands still");
            self.stopped.insert(name.clone());
            processes.signal(name, "-STOP")?;
        }
        for name in &event.go_on {
            eprintln!("chaos: {name} goes on");
            self.stopped.remove(name);
            processes.signal(name, "-CONT")?;
        }
        if let Some(faults) = &event.storage {
            eprintln!("chaos: storage with {faults:?}");
            let text = serde_json::to_vec(faults).map_err(|e| Failure::new(Exit::Unexpected, e))?;
            write_atomic(&plan.dir.join(FAULTS), &text)
                .map_err(|e| Failure::new(Exit::Storage, format!("cannot write {FAULTS}: {e}")))?;
        }
        if let Some(blocks) = event.finality_lag {
            eprintln!("chaos: blocks are final {blocks} blocks late");
            chain.set_finality_lag(blocks).await?;
        }
        Ok(())
    }

    /// Lets those that stand still go on, where everybody else is done: so many processes run.
    ///
    /// # Errors
    /// Where a process cannot be reached.
    pub fn release(&mut self, running: usize, processes: &Processes) -> Result<(), Failure> {
        if running == self.stopped.len() {
            for name in std::mem::take(&mut self.stopped) {
                eprintln!("chaos: {name} goes on, because everybody else is done");
                processes.signal(&name, "-CONT")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["storage", "validator-1", "miner-1"];

    fn read(text: &str) -> Result<Chaos, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chaos.toml");
        std::fs::write(&path, text).unwrap();
        Chaos::read(&path, &NAMES).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_script_is_read_in_the_order_of_windows() {
        let chaos = read(
            "[[at]]\nwindow = 5\ncontinue = [\"validator-1\"]\nstorage = { errors = 0.05, latency_ms = 300 }\n\
             [[at]]\nwindow = 3\nstop = [\"validator-1\"]\nkill = [\"miner-1\"]\nfinality_lag = 3\n",
        )
        .unwrap();
        let windows: Vec<u64> = chaos.events.iter().map(|event| event.window).collect();
        assert_eq!(windows, [3, 5]);
        assert_eq!(chaos.events[1].storage.as_ref().unwrap().latency_ms, 300);
        assert!(read("").unwrap().events.is_empty());
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let stranger = read("[[at]]\nwindow = 1\nkill = [\"validator-9\"]\n").unwrap_err();
        assert!(stranger.contains("there is no process `validator-9`"), "{stranger}");
        let field = read("[[at]]\nwindow = 1\nkil = []\n").unwrap_err();
        assert!(field.contains("kil"), "{field}");
        let nobody = read("[[at]]\nwindow = 1\nphase = \"publish\"\nfinality_lag = 2\n").unwrap_err();
        assert!(nobody.contains("name one with `of`"), "{nobody}");
    }

    #[test]
    fn a_phase_has_come_when_the_log_says_so_in_a_whole_line() {
        let chaos = read("[[at]]\nwindow = 1\nphase = \"publish\"\nkill = [\"validator-1\"]\n").unwrap();
        let event = chaos.events[0].clone();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("validator-1.log");
        let before = "INFO round published window=3 phase=\"publish\"\n";
        std::fs::write(&log, before).unwrap();
        let (mark, read) = (event.phase.unwrap().mark(), before.len() as u64);
        let mut waiting = Waiting { event, mark, log: log.clone(), read };
        assert!(!waiting.comes(), "that was before");
        let torn =
            format!("{before}INFO gathered phase=\"gather\"\nINFO round published window=4 phase=\"publ");
        std::fs::write(&log, &torn).unwrap();
        assert!(!waiting.comes());
        std::fs::write(&log, torn + "ish\" peers=3\n").unwrap();
        assert!(waiting.comes());
        assert!(!waiting.comes(), "once");
    }
}
