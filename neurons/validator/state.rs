//! What a validator remembers: Gauntlet's state, the score log and the loss curve, all on disk.

use crate::setup::Ready;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use templar::{
    gauntlet::{Gauntlet, Observation, Peer},
    node::NodeError,
    report::LossPoint,
    telemetry::{
        files::write_atomic,
        score_log::{ScoreLog, sign_window},
    },
    window::Window,
};

/// Kept on disk, written as a whole after every window.
#[derive(Serialize, Deserialize)]
struct Saved {
    gauntlet: Gauntlet,
    losses: Vec<LossPoint>,
    /// The newest window's part of the score log. It is here first, so that state and log can never
    /// differ by more than what the next start puts right.
    newest: Option<(Window, String)>,
}

/// What a validator remembers.
pub struct State {
    /// Ratings, averages and scores.
    pub gauntlet: Gauntlet,
    /// Mean loss on held-out text after the step of each window.
    pub losses: Vec<LossPoint>,
    log: ScoreLog,
    path: PathBuf,
}

impl State {
    /// Takes up the state of an earlier run of this validator, or starts afresh.
    pub fn open(ready: &Ready) -> Result<Self, NodeError> {
        let path = ready.dir.join("validator.json");
        let mut log = ScoreLog::open(&ready.dir.join("scores.jsonl"))?;
        match std::fs::read(&path) {
            Ok(bytes) => {
                let saved: Saved = serde_json::from_slice(&bytes).map_err(|e| file(&path, e.into()))?;
                tracing::info!(
                    window = saved.gauntlet.last_window(),
                    "ratings and scores taken up from disk"
                );
                if let Some((window, text)) = saved.newest.filter(|(w, _)| Some(*w) > log.last_window()) {
                    log.append(window, &text)?;
                }
                Ok(Self { gauntlet: saved.gauntlet, losses: saved.losses, log, path })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let gauntlet = Gauntlet::new(&ready.identity.manifest.manifest.gauntlet);
                Ok(Self { gauntlet, losses: Vec::new(), log, path })
            }
            Err(source) => Err(file(&path, source)),
        }
    }

    /// Tells Gauntlet who is registered; whoever took over a slot starts from nothing.
    pub fn roster(&mut self, ready: &Ready) {
        let me = ready.identity.account();
        let neurons = ready.directory.metagraph.neurons.iter().filter(|n| n.hotkey != me);
        let peers: Vec<Peer> = neurons
            .map(|n| Peer {
                hotkey: n.hotkey.clone(),
                uid: n.uid,
                registered_at_block: n.block_at_registration,
            })
            .collect();
        self.gauntlet.roster(&peers);
    }

    /// Scores a window, once; keeps the result on disk and publishes the window's part of the score log.
    pub async fn score(
        &mut self,
        ready: &Ready,
        window: Window,
        step: f64,
        observations: &[Observation],
    ) -> Result<(), NodeError> {
        let records = self.gauntlet.update(window, step, observations)?;
        let identity = &ready.identity;
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let text = sign_window(&identity.manifest.run_id(), window, &identity.account(), &records, sign)?;
        let saved = Saved {
            gauntlet: self.gauntlet.clone(),
            losses: self.losses.clone(),
            newest: Some((window, text.clone())),
        };
        let bytes = serde_json::to_vec(&saved).map_err(|e| file(&self.path, e.into()))?;
        write_atomic(&self.path, &bytes).map_err(|source| file(&self.path, source))?;
        self.log.append(window, &text)?;
        identity.bucket.put(&identity.keys().scores(window), text.into()).await?;
        Ok(())
    }
}

fn file(path: &Path, source: std::io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}
