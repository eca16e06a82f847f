//! What a validator publishes: the round, its progress, the score log, and weights on chain.

use super::copies::Copies;
use crate::context::NodeContext;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
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

/// Publishes the record that names the chosen pseudo-gradients. Copies of them are on this machine's disk before, so that what
/// was said can be shown after a crash too, and go out afterwards: nobody's step waits for them.
/// Returns the record with its pseudo-gradients in the same order.
pub async fn round(
    ctx: &NodeContext,
    copies: &mut Copies,
    window: Window,
    gathered: &Gathered,
    chosen: &BTreeSet<AccountId>,
) -> Result<(RoundRecord, Vec<Arc<PseudoGradient>>), NodeError> {
    let keys = ctx.identity.keys();
    let mut picked: Vec<_> = gathered.accepted().filter(|(hotkey, ..)| chosen.contains(hotkey)).collect();
    picked.sort_by_key(|(_, peer, ..)| peer.uid);
    let objects = picked.iter().map(|(hotkey, .., object)| (keys.round_object(window, hotkey), *object));
    copies.keep(objects).await?;
    let accepted = picked.iter().map(|(hotkey, peer, payload, _)| Accepted {
        uid: peer.uid,
        hotkey: (*hotkey).clone(),
        digest: hex::encode(payload.digest),
    });
    let record = RoundRecord {
        run: ctx.identity.run(),
        netuid: ctx.identity.netuid,
        window,
        round: ctx.replica.round,
        model: ctx.replica.hash.clone(),
        accepted: accepted.collect(),
    };
    node::publish_document(&ctx.identity, &keys.round(window), &record).await?;
    copies.publish(&ctx.identity.bucket);
    Ok((record, picked.into_iter().map(|(_, _, payload, _)| payload.clone()).collect()))
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
