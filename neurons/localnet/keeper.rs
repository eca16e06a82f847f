//! Watches one process of a localnet: starts it again when it dies, and says once why where that does not help.

use crate::cli::Exit;
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    sync::watch,
};

/// How a process fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Running,
    /// It ended by itself, without a complaint.
    Finished,
    /// It failed for good.
    Failed(String),
}

/// What to start, as often as it takes.
#[derive(Clone)]
pub struct Recipe {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    pub log: PathBuf,
    /// Whether it takes only the time that the others leave.
    pub patient: bool,
}

impl Recipe {
    pub fn start(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        if self.patient && cfg!(unix) {
            // `nice` becomes the program, so the process id is the program's.
            command = Command::new("nice");
            command.args(["-n", "19"]).arg(&self.program);
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            // Held open by this process: it ends when this process does, however that ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        // Ctrl-C reaches the whole group of the terminal; this process passes it on in its own order.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }
}

/// How often, and after what pause, a process that died is started again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Starts in a row, each of which ended before `well`, after which it is given up.
    pub restarts: u32,
    /// The pause before the first of them; each further one is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// A process that ran for so long did well: the next death counts as its first.
    pub well: Duration,
}

impl Default for Patience {
    /// Some half a minute of trying in all: what a neighbour needs that is started again itself.
    fn default() -> Self {
        Self {
            restarts: 8,
            pause: Duration::from_millis(250),
            longest: Duration::from_secs(8),
            well: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The pause before start number `tried`, counted from 1; none where it was tried often enough.
    fn before(&self, tried: u32) -> Option<Duration> {
        let factor = 2u32.saturating_pow(tried.saturating_sub(1));
        (tried <= self.restarts).then(|| self.pause.saturating_mul(factor).min(self.longest))
    }
}

/// Watches one process.
pub struct Keeper {
    pub recipe: Recipe,
    pub patience: Patience,
    pub tell: watch::Sender<Fate>,
    pub stop: watch::Receiver<bool>,
    pub pids: Arc<Mutex<BTreeMap<String, u32>>>,
    pub pid_file: PathBuf,
}

impl Keeper {
    /// Returns when the process ended for good, or everything is to stop.
    pub async fn keep(mut self, mut child: Child) {
        let mut tried = 0;
        loop {
            let started = Instant::now();
            // Taken out, because waiting for a child closes its standard input, and that is its word to
            // stop.
            let stdin = child.stdin.take();
            let ended = tokio::select! {
                ended = child.wait() => ended,
                () = told(&mut self.stop) => {
                    drop(stdin);
                    end(&mut child).await;
                    return;
                }
            };
            if started.elapsed() >= self.patience.well {
                tried = 0;
            }
            let fate = match ended {
                Ok(status) if status.success() => Fate::Finished,
                Ok(status) if !again(status) => Fate::Failed(status.to_string()),
                Ok(status) => match self.start_again(&status.to_string(), &mut tried).await {
                    Ok(next) => {
                        child = next;
                        continue;
                    }
                    Err(Some(how)) => Fate::Failed(how),
                    Err(None) => return,
                },
                Err(error) => Fate::Failed(error.to_string()),
            };
            let _ = self.tell.send(fate);
            return;
        }
    }

    /// Starts a process that died once more, after a pause, until it can be started; why it is given up, or nothing where everything
    /// is to stop.
    async fn start_again(&mut self, how: &str, tried: &mut u32) -> Result<Child, Option<String>> {
        let name = self.recipe.name.clone();
        let mut cannot: Option<String> = None;
        loop {
            *tried += 1;
            let Some(pause) = self.patience.before(*tried) else {
                return Err(Some(match cannot {
                    Some(error) => format!("{how}, and it cannot be started again: {error}"),
                    None => format!("{how}, {} times in a row", *tried),
                }));
            };
            if cannot.is_none() {
                eprintln!("{name} ended ({how}); starting it again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = told(&mut self.stop) => return Err(None),
            }
            match self.recipe.start() {
                Ok(child) => {
                    self.note(&child);
                    return Ok(child);
                }
                Err(error) => {
                    // Said once: the next tries most likely end in the same way.
                    if cannot.is_none() {
                        eprintln!("{name} cannot be started again, trying for a while: {error}");
                    }
                    cannot = Some(error.to_string());
                }
            }
        }
    }

    /// Keeps the list of process ids on disk, for people who want to look at one, or kill it.
    pub fn note(&self, child: &Child) {
        let Ok(mut pids) = self.pids.lock() else { return };
        if let Some(pid) = child.id() {
            pids.insert(self.recipe.name.clone(), pid);
        }
        if let Ok(text) = serde_json::to_vec_pretty(&*pids) {
            let _ = templar::telemetry::files::write_atomic(Path::new(&self.pid_file), &text);
        }
    }
}

/// Whether it helps to start a process again that ended like this: a signal came from outside, and some troubles pass. Any other code
/// of its own means that it said why it cannot go on.
fn again(status: ExitStatus) -> bool {
    status.code().is_none_or(Exit::passes)
}

/// Returns when it is time to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// Waits for a process whose standard input was closed, and kills it after a while.
async fn end(child: &mut Child) {
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Patience = Patience {
        restarts: 3,
        pause: Duration::from_millis(10),
        longest: Duration::from_millis(20),
        well: Duration::from_secs(60),
    };

    struct Kept {
        dir: tempfile::TempDir,
        fate: watch::Receiver<Fate>,
        task: tokio::task::JoinHandle<()>,
        _stop: watch::Sender<bool>,
    }

    /// Keeps a process that counts its starts in `starts`, in a folder of its own, and then does as `script` says.
    fn kept(script: &str, patience: Patience, program: Option<PathBuf>) -> Kept {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("cd {}; echo >> starts; n=$(wc -l < starts); {script}", dir.path().display());
        let mut recipe = Recipe {
            name: "one".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script],
            environment: vec![],
            log: dir.path().join("log"),
            patient: false,
        };
        let child = recipe.start().unwrap();
        recipe.program = program.unwrap_or(recipe.program);
        let (tell, fate) = watch::channel(Fate::Running);
        let (stop, stopped) = watch::channel(false);
        let (pids, pid_file) = (Arc::default(), dir.path().join("pids.json"));
        let keeper = Keeper { recipe, patience, tell, stop: stopped, pids, pid_file };
        Kept { dir, fate, task: tokio::spawn(keeper.keep(child)), _stop: stop }
    }

    impl Kept {
        async fn ended(self) -> (Fate, usize) {
            tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
            let starts = std::fs::read_to_string(self.dir.path().join("starts")).unwrap();
            (self.fate.borrow().clone(), starts.lines().count())
        }
    }

    #[tokio::test]
    async fn what_passes_is_started_again_and_what_was_explained_is_not() {
        for (ending, starts) in [("exit 4", 2), ("exit 6", 2), ("kill -9 $$", 2), ("exit 7", 1)] {
            let kept = kept(&format!("[ $n -ge 2 ] || {ending}"), QUICK, None);
            let (fate, found) = kept.ended().await;
            assert_eq!(found, starts, "{ending}: {fate:?}");
            assert_eq!(fate == Fate::Finished, starts == 2, "{ending}: {fate:?}");
        }
    }

    #[tokio::test]
    async fn one_that_dies_at_once_is_given_up_and_one_that_ran_well_is_not() {
        let (fate, starts) = kept("exit 4", QUICK, None).ended().await;
        assert_eq!(starts, 4);
        assert!(matches!(&fate, Fate::Failed(how) if how.contains("4 times in a row")), "{fate:?}");
        // Every run counts as a good one here.
        let well = Patience { well: Duration::ZERO, ..QUICK };
        let (fate, starts) = kept("[ $n -ge 8 ] || exit 4", well, None).ended().await;
        assert_eq!((fate, starts), (Fate::Finished, 8));
    }

    #[tokio::test]
    async fn a_program_that_is_gone_is_named() {
        let (fate, starts) = kept("exit 4", QUICK, Some("/nowhere/program".into())).ended().await;
        assert_eq!(starts, 1);
        assert!(matches!(&fate, Fate::Failed(how) if how.contains("cannot be started again")), "{fate:?}");
    }

    #[test]
    fn pauses_grow_to_the_longest_and_end() {
        let pauses: Vec<_> = (1..=9).map_while(|tried| Patience::default().before(tried)).collect();
        let millis: Vec<_> = pauses.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }
}
