//! What a validator remembers: Gauntlet's state, the score log and the loss curve, all on disk.

use super::{copies::Copies, losses::Losses};
use crate::context::NodeContext;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use templar::{
    gauntlet::{Gauntlet, GauntletError, Peer, PeerState, ScoreRecord},
    node::{NodeError, StateRecord, salted_commits::CommitFile},
    report::LossPoint,
    round,
    telemetry::{
        files::write_atomic,
        score_log::{ScoreLog, sign_window},
    },
    wallet::AccountId,
    window::{Uid, Window},
};

/// Scored windows in a row that a peer may have missed and still counts as one that delivers.
const ACTIVE: u64 = 3;

const FILE: &str = "validator.json";

/// Kept on disk, written as a whole after every window.
#[derive(Serialize, Deserialize)]
struct Saved {
    gauntlet: Gauntlet,
    /// The newest window's part of the score log. It is here first, so that state and log can never
    /// differ by more than what the next start puts right.
    newest: Option<(Window, String)>,
    /// The window that was scored before it.
    #[serde(default)]
    previous: Option<Window>,
    /// Weights that were due after a window and are not on chain yet.
    #[serde(default)]
    unpaid: Option<Unpaid>,
}

/// Weights that were due after a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpaid {
    /// The window.
    pub window: Window,
    /// By UID.
    pub weights: Vec<(Uid, u16)>,
}

/// What a validator remembers.
pub struct State {
    /// Ratings, averages and scores.
    pub gauntlet: Gauntlet,
    losses: Losses,
    log: ScoreLog,
    path: PathBuf,
    newest: Option<(Window, String)>,
    previous: Option<Window>,
    unpaid: Option<Unpaid>,
    /// Scores and states that are on their way into the bucket.
    outbox: Copies,
}

impl State {
    /// Takes up the state of an earlier run of this validator, or starts afresh.
    pub fn open(ctx: &NodeContext) -> Result<Self, NodeError> {
        let path = ctx.dir.join(FILE);
        let mut log = ScoreLog::open(&ctx.dir.join("scores.jsonl"))?;
        let outbox = Copies::open(ctx.dir.join("outbox"))?;
        let losses = Losses::open(&ctx.dir)?;
        match std::fs::read(&path) {
            Ok(bytes) => {
                let saved: Saved = serde_json::from_slice(&bytes).map_err(|e| file(&path, e.into()))?;
                tracing::info!(
                    window = saved.gauntlet.last_window(),
                    "ratings and scores taken up from disk"
                );
                if let Some((window, text)) =
                    saved.newest.as_ref().filter(|(w, _)| Some(*w) > log.last_window())
                {
                    log.append(*window, text)?;
                }
                let Saved { gauntlet, newest, previous, unpaid } = saved;
                Ok(Self { gauntlet, losses, log, path, newest, previous, unpaid, outbox })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let gauntlet = Gauntlet::new(&ctx.identity.manifest.parsed.gauntlet);
                let (newest, previous, unpaid) = (None, None, None);
                Ok(Self { gauntlet, losses, log, path, newest, previous, unpaid, outbox })
            }
            Err(source) => Err(file(&path, source)),
        }
    }

    /// Where salted weight commits are until their time is over.
    pub fn commits(&self) -> CommitFile {
        CommitFile::new(self.path.with_file_name("weight-commits.json"))
    }

    /// Tells Gauntlet which peers are registered; a hotkey that took over a UID starts from nothing.
    pub fn roster(&mut self, ctx: &NodeContext) {
        let me = ctx.identity.account();
        let neurons = ctx.directory.metagraph.neurons.iter().filter(|n| n.hotkey != me);
        let peers: Vec<Peer> = neurons
            .map(|n| Peer {
                hotkey: n.hotkey.clone(),
                uid: n.uid,
                registered_at_block: n.block_at_registration,
            })
            .collect();
        self.gauntlet.roster(&peers);
    }

    /// The last window that a validator with this folder has scored.
    pub fn scored(dir: &Path) -> Option<Window> {
        let bytes = std::fs::read(dir.join(FILE)).ok()?;
        serde_json::from_slice::<Saved>(&bytes).ok()?.gauntlet.last_window()
    }

    /// The last window that is settled for this validator: scored, or written down as null.
    pub fn last_window(&self) -> Option<Window> {
        self.gauntlet.last_window().max(self.log.last_window())
    }

    /// Scores a window, once, and keeps the result on disk, with the weights where they are `due`. Where that fails nothing has
    /// happened.
    ///
    /// # Errors
    /// What the disk says; [`GauntletError::AlreadyScored`].
    pub fn score(
        &mut self,
        ctx: &NodeContext,
        window: Window,
        due: bool,
        score: impl FnOnce(&mut Gauntlet) -> Result<Vec<ScoreRecord>, GauntletError>,
    ) -> Result<(), NodeError> {
        // It was written down, but not in the log.
        if let Some((newest, text)) = self.newest.as_ref().filter(|(newest, _)| *newest == window) {
            return Ok(self.log.append(*newest, text)?);
        }
        let previous = self.gauntlet.last_window();
        let mut gauntlet = self.gauntlet.clone();
        let records = score(&mut gauntlet)?;
        let identity = &ctx.identity;
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let text = sign_window(&identity.manifest.run_id(), window, &identity.account(), &records, sign)?;
        let weights = due.then(|| Unpaid { window, weights: gauntlet.weights() });
        let saved = Saved {
            gauntlet,
            newest: Some((window, text.clone())),
            previous,
            unpaid: weights.or_else(|| self.unpaid.clone()),
        };
        self.write(&saved)?;
        Saved {
            gauntlet: self.gauntlet,
            newest: self.newest,
            previous: self.previous,
            unpaid: self.unpaid,
            ..
        } = saved;
        Ok(self.log.append(window, &text)?)
    }

    fn write(&self, saved: &Saved) -> Result<(), NodeError> {
        let bytes = serde_json::to_vec(saved).map_err(|e| file(&self.path, e.into()))?;
        write_atomic(&self.path, &bytes).map_err(|source| file(&self.path, source))
    }

    /// The weights that are to be set.
    pub fn unpaid(&self) -> Option<&Unpaid> {
        self.unpaid.as_ref()
    }

    /// They are on chain. A failure to write that down is told: they would be set once more after a restart.
    pub fn paid(&mut self) {
        self.unpaid = None;
        let saved = Saved {
            gauntlet: self.gauntlet.clone(),
            newest: self.newest.clone(),
            previous: self.previous,
            unpaid: None,
        };
        if let Err(error) = self.write(&saved) {
            tracing::warn!(%error, "that the weights are set could not be written down");
        }
    }

    /// Writes down that nobody is scored for a window: its part of the score log is empty.
    ///
    /// # Errors
    /// What the disk says.
    pub fn null(&mut self, ctx: &NodeContext, window: Window) -> Result<(), NodeError> {
        let identity = &ctx.identity;
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let text = sign_window(&identity.manifest.run_id(), window, &identity.account(), &[], sign)?;
        if self.log.last_window().is_none_or(|last| last < window) {
            self.log.append(window, &text)?;
        }
        self.outbox.add(&identity.keys().scores(window), text.as_bytes())?;
        self.outbox.publish(&identity.bucket);
        Ok(())
    }

    /// The loss curve so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Adds a window to the loss curve, and begins to publish that.
    ///
    /// # Errors
    /// What the disk says.
    pub fn add_loss(&mut self, ctx: &NodeContext, point: LossPoint) -> Result<(), NodeError> {
        if !self.losses.has(point.window) {
            self.losses.add(point)?;
        }
        let (key, object) = self.losses.object(&ctx.identity.keys(), point.window);
        self.outbox.add(&key, &object)?;
        self.outbox.publish(&ctx.identity.bucket);
        Ok(())
    }

    /// Whom an outage would have hit: peers that have delivered not long ago.
    pub fn active(&self) -> impl Iterator<Item = &AccountId> {
        let active = |state: &PeerState| state.is_known() && state.missed < ACTIVE;
        self.gauntlet.peers().filter(move |(_, state)| active(state)).map(|(hotkey, _)| hotkey)
    }

    /// Begins to publish the newest window's part of the score log, and the state after it; both are tried until they are in the
    /// bucket. Said again after a restart, because the last one may have come before it was said.
    ///
    /// # Errors
    /// What the disk says.
    pub fn publish_newest(&mut self, ctx: &NodeContext) -> Result<(), NodeError> {
        let Some((window, text)) = &self.newest else { return Ok(()) };
        let (identity, keys) = (&ctx.identity, ctx.identity.keys());
        let state = StateRecord {
            run: identity.run(),
            netuid: identity.netuid,
            window: *window,
            previous: self.previous,
            gauntlet: self.gauntlet.clone(),
        };
        let state = round::sign(&state, &identity.hotkey)?;
        self.outbox.add(&keys.scores(*window), text.as_bytes())?;
        self.outbox.add(&keys.state(*window), &state)?;
        self.outbox.publish(&identity.bucket);
        Ok(())
    }

    /// Waits until all of them are in the bucket.
    pub async fn published(&mut self) {
        self.outbox.done().await;
    }
}

fn file(path: &Path, source: std::io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}
