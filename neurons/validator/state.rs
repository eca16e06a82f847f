//! What a validator remembers: Gauntlet's state, the score log and the loss curve, all on disk.

use crate::context::NodeContext;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use templar::{
    chain::SaltedCommit,
    gauntlet::{Gauntlet, GauntletError, Peer, PeerState, ScoreRecord},
    node::{self, NodeError, StateRecord, salted_commits},
    report::LossPoint,
    telemetry::{
        files::write_atomic,
        score_log::{ScoreLog, sign_window},
    },
    wallet::AccountId,
    window::Window,
};

/// Scored windows in a row that a peer may have missed and still counts as one that delivers.
const ACTIVE: u64 = 3;

/// Kept on disk, written as a whole after every window.
#[derive(Serialize, Deserialize)]
struct Saved {
    gauntlet: Gauntlet,
    losses: Vec<LossPoint>,
    /// The newest window's part of the score log. It is here first, so that state and log can never
    /// differ by more than what the next start puts right.
    newest: Option<(Window, String)>,
    /// The window that was scored before it.
    #[serde(default)]
    previous: Option<Window>,
}

/// What a validator remembers.
pub struct State {
    /// Ratings, averages and scores.
    pub gauntlet: Gauntlet,
    /// Mean loss on held-out text after the step of each window.
    pub losses: Vec<LossPoint>,
    log: ScoreLog,
    path: PathBuf,
    newest: Option<(Window, String)>,
    previous: Option<Window>,
}

impl State {
    /// Takes up the state of an earlier run of this validator, or starts afresh.
    pub fn open(ctx: &NodeContext) -> Result<Self, NodeError> {
        let path = ctx.dir.join("validator.json");
        let mut log = ScoreLog::open(&ctx.dir.join("scores.jsonl"))?;
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
                let Saved { gauntlet, losses, newest, previous } = saved;
                Ok(Self { gauntlet, losses, log, path, newest, previous })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let gauntlet = Gauntlet::new(&ctx.identity.manifest.parsed.gauntlet);
                Ok(Self { gauntlet, losses: Vec::new(), log, path, newest: None, previous: None })
            }
            Err(source) => Err(file(&path, source)),
        }
    }

    /// Salted weight commits that wait to be revealed.
    pub fn commits(&self) -> Vec<SaltedCommit> {
        salted_commits::read(&self.commits_path()).unwrap_or_else(|error| {
            tracing::warn!(%error, "weight commits on disk are lost");
            Vec::new()
        })
    }

    /// Replaces those commits. A failure is told: a commit that is lost is never revealed.
    pub fn set_commits(&self, commits: Vec<SaltedCommit>) {
        if commits.is_empty() && !self.commits_path().exists() {
            return;
        }
        if let Err(error) = salted_commits::write(&self.commits_path(), &commits) {
            tracing::warn!(%error, "weight commits could not be kept");
        }
    }

    /// Keeps one more.
    pub fn keep(&self, commit: SaltedCommit) {
        let mut commits = self.commits();
        commits.push(commit);
        self.set_commits(commits);
    }

    fn commits_path(&self) -> PathBuf {
        self.path.with_file_name("weight-commits.json")
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

    /// Scores a window, once; keeps the result on disk and publishes it.
    pub async fn score(
        &mut self,
        ctx: &NodeContext,
        window: Window,
        score: impl FnOnce(&mut Gauntlet) -> Result<Vec<ScoreRecord>, GauntletError>,
    ) -> Result<(), NodeError> {
        let previous = self.gauntlet.last_window();
        let records = score(&mut self.gauntlet)?;
        let identity = &ctx.identity;
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let text = sign_window(&identity.manifest.run_id(), window, &identity.account(), &records, sign)?;
        let saved = Saved {
            gauntlet: self.gauntlet.clone(),
            losses: self.losses.clone(),
            newest: Some((window, text.clone())),
            previous,
        };
        let bytes = serde_json::to_vec(&saved).map_err(|e| file(&self.path, e.into()))?;
        write_atomic(&self.path, &bytes).map_err(|source| file(&self.path, source))?;
        self.log.append(window, &text)?;
        (self.newest, self.previous) = (saved.newest, previous);
        self.publish_newest(ctx).await
    }

    /// Writes down that nobody is scored for a window: its part of the score log is empty.
    ///
    /// # Errors
    /// What the disk or the bucket says.
    pub async fn null(&mut self, ctx: &NodeContext, window: Window) -> Result<(), NodeError> {
        let identity = &ctx.identity;
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let text = sign_window(&identity.manifest.run_id(), window, &identity.account(), &[], sign)?;
        if self.log.last_window().is_none_or(|last| last < window) {
            self.log.append(window, &text)?;
        }
        Ok(identity.bucket.put(&identity.keys().scores(window), text.into()).await?)
    }

    /// Whom an outage would have hit: peers that have delivered not long ago.
    pub fn active(&self) -> impl Iterator<Item = &AccountId> {
        let active = |state: &PeerState| state.is_known() && state.missed < ACTIVE;
        self.gauntlet.peers().filter(move |(_, state)| active(state)).map(|(hotkey, _)| hotkey)
    }

    /// Publishes the newest window's part of the score log, and the state after it. Said again after a
    /// restart, because the last one may have come before it was said.
    pub async fn publish_newest(&self, ctx: &NodeContext) -> Result<(), NodeError> {
        let Some((window, text)) = &self.newest else { return Ok(()) };
        let (identity, keys) = (&ctx.identity, ctx.identity.keys());
        identity.bucket.put(&keys.scores(*window), text.clone().into()).await?;
        let state = StateRecord {
            run: identity.run(),
            netuid: identity.netuid,
            window: *window,
            previous: self.previous,
            gauntlet: self.gauntlet.clone(),
        };
        node::publish_document(identity, &keys.state(*window), &state).await
    }
}

fn file(path: &Path, source: std::io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}
