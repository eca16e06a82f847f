//! What a validator publishes: the round, its progress, the score log, and weights on chain.

use crate::context::NodeContext;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use templar::{
    gradient::PseudoGradient,
    node::{self, NodeError, gather::Gathered},
    report::LossPoint,
    round::{Accepted, RoundRecord},
    wallet::AccountId,
    window::{Uid, Window},
};

/// Where a validator is, for people who watch: an unsigned object that is written over and over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Progress {
    /// The window that is judged.
    pub window: Window,
    /// Who is being measured.
    pub judging: Option<Uid>,
    /// Mean loss on held-out text after the step of each window.
    pub losses: Vec<LossPoint>,
}

/// Publishes copies of the chosen pseudo-gradients and, after them, the record that names them.
/// Returns the record with its pseudo-gradients in the same order.
pub async fn round(
    ctx: &NodeContext,
    window: Window,
    gathered: &Gathered,
    chosen: &BTreeSet<AccountId>,
) -> Result<(RoundRecord, Vec<PseudoGradient>), NodeError> {
    let keys = ctx.identity.keys();
    let mut picked: Vec<_> = gathered.accepted().filter(|(hotkey, ..)| chosen.contains(hotkey)).collect();
    picked.sort_by_key(|(_, peer, ..)| peer.uid);
    let mut accepted = Vec::new();
    let mut payloads = Vec::new();
    for (hotkey, peer, payload, object) in picked {
        ctx.identity.bucket.put(&keys.round_object(window, hotkey), object.clone()).await?;
        accepted.push(Accepted {
            uid: peer.uid,
            hotkey: hotkey.clone(),
            digest: hex::encode(payload.digest),
        });
        payloads.push(payload.clone());
    }
    let record = RoundRecord {
        run: ctx.identity.run(),
        netuid: ctx.identity.netuid,
        window,
        round: ctx.replica.round,
        model: ctx.replica.hash.clone(),
        accepted,
    };
    node::publish_document(&ctx.identity, &keys.round(window), &record).await?;
    Ok((record, payloads))
}

/// Shows where the validator is. A failure costs nothing but the news.
pub async fn progress(ctx: &NodeContext, window: Window, losses: &[LossPoint], judging: Option<Uid>) {
    let progress = Progress { window, judging, losses: losses.to_vec() };
    let Ok(bytes) = serde_json::to_vec(&progress) else { return };
    let key = ctx.identity.keys().progress();
    if let Err(error) = ctx.identity.bucket.put(&key, bytes.into()).await {
        tracing::debug!(%error, "progress could not be published");
    }
}
