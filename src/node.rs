//! What a miner and a validator share: the chain's clock, the directory of peers and their buckets, the
//! replica of the model, following the leader's rounds, and judging ([`gather`], [`judge`]). [`Scores`] reads
//! what a validator published of its judgement.

mod assignments;
mod backoff;
mod catch_up;
mod checkpoint;
mod clock;
mod directory;
mod error;
mod follow;
pub mod gather;
pub mod judge;
mod mirrors;
mod prefetch;
mod publish;
mod replay;
mod replica;
pub mod salted_commits;
mod scores;
mod skew;
mod sources;
mod start;
mod time;
mod turns;
mod view;
pub mod window;

pub use assignments::{Assignments, seed_block};
pub use backoff::{Backoff, persist};
pub use checkpoint::{Checkpoints, fetch_checkpoint, newest_checkpoint, restore, stand};
pub use clock::Clock;
pub use directory::{BucketCache, Directory, Leader};
pub use error::NodeError;
pub use follow::{
    Applied, FollowOutcome, Following, count_accepted, fetch_manifest, fetch_round, fetch_start, follow,
    follow_with, recall, reconsider,
};
pub use mirrors::Mirrors;
pub use prefetch::{Payload, Prefetch, Prefetched, likely};
pub use publish::publish_document;
pub use replay::{fetch_round_object, replay_before};
pub use replica::{Last, Replica};
pub use scores::{Scores, ScoresError, StateRecord};
pub use skew::Skew;
pub use start::publish_start;
pub use time::{heavy, now_ms, simulate};
pub use turns::{Orders, Turn, Turns};
pub use view::View;

use crate::{
    bucket::{Store, keys::RunKeys},
    chain::Chain,
    manifest::ManifestFile,
    wallet::{AccountId, Keypair},
    window::NetUid,
};
use std::sync::Arc;

/// Version of the scoring rules, as `set_weights` carries it: major * 10^6 + minor * 10^3 + patch.
pub const VERSION_KEY: u64 = 1_000;

/// Who a node is and what it works on; does not change while it runs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// The subnet.
    pub netuid: NetUid,
    /// The hotkey that signs.
    pub hotkey: Keypair,
    /// The run.
    pub manifest: Arc<ManifestFile>,
    /// The node's own bucket, to write to.
    pub bucket: Arc<dyn Store>,
}

impl Identity {
    /// The account of the hotkey.
    pub fn account(&self) -> AccountId {
        self.hotkey.account()
    }

    /// The keys of the run's objects.
    pub fn keys(&self) -> RunKeys {
        RunKeys::new(self.manifest.run_id())
    }

    /// The manifest's hash in hex, as documents carry it.
    pub fn run(&self) -> String {
        hex::encode(self.manifest.hash())
    }
}
