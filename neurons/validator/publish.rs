//! What a validator publishes: the round, its progress, the score log, and weights on chain.

use super::copies::Copies;
use crate::context::NodeContext;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
use templar::{
    gradient::PseudoGradient,
    node::{NodeError, gather::Gathered},
    report::LossPoint,
    round::{Accepted, Null, RoundRecord, SignedRound},
    succession::{self, Rules},
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
    /// Windows whose loss is known.
    pub done: u64,
    /// Mean loss on held-out text after the last of them.
    pub loss: Option<f64>,
}

/// A round that this validator has decided.
pub struct Decided {
    /// Its record.
    pub signed: SignedRound,
    /// The pseudo-gradients, in the record's order.
    pub payloads: Vec<Arc<PseudoGradient>>,
    /// The store's date of the record, in seconds.
    pub said_s: u64,
}

/// Publishes the record that names the chosen pseudo-gradients. Copies of them are on this machine's disk before, so that what
/// was said can be shown after a crash too, and go out afterwards: nobody's step waits for them.
///
/// `None` where the store's date says that this validator's turn was over by then: such a record counts for nobody, and is removed.
pub async fn round(
    ctx: &mut NodeContext,
    copies: &mut Copies,
    window: Window,
    gathered: &Gathered,
    chosen: &BTreeSet<AccountId>,
    null: Option<Null>,
) -> Result<Option<Decided>, NodeError> {
    // Records are a chain: who came from a checkpoint and could not be told the record before looks for it now.
    ctx.recall().await?;
    let (keys, me) = (ctx.identity.keys(), ctx.identity.account());
    let mut picked: Vec<_> = gathered.accepted().filter(|(hotkey, ..)| chosen.contains(hotkey)).collect();
    picked.sort_by_key(|(_, peer, ..)| peer.uid);
    copies.done().await;
    for (hotkey, _, delivered) in &picked {
        copies.add(&keys.round_object(window, hotkey), &delivered.object()?)?;
    }
    let accepted = picked.iter().map(|(hotkey, peer, payload)| Accepted {
        uid: peer.uid,
        hotkey: (*hotkey).clone(),
        digest: hex::encode(payload.digest),
    });
    let accepted = accepted.collect();
    let turns = ctx.turns(window).await?;
    let manifest = &ctx.identity.manifest.parsed;
    let rules = Rules::new(&manifest.succession, &manifest.schedule());
    let last = ctx.replica.last();
    let before = last.map(|last| last.passed.clone()).unwrap_or_default();
    let record = RoundRecord {
        run: ctx.identity.run(),
        netuid: ctx.identity.netuid,
        by: me.clone(),
        previous: last.map(|last| last.hash.clone()),
        passed: rules.passed(&turns.order(), &me, &before, window),
        null,
        window,
        round: ctx.replica.round,
        model: ctx.replica.hash.clone(),
        accepted,
    };
    let signed = SignedRound::sign(record, &ctx.identity.hotkey)?;
    let key = keys.round(window);
    ctx.identity.bucket.put(&key, signed.bytes.clone()).await?;
    let said_s = ctx.identity.bucket.head(&key).await?.map_or(0, |info| info.last_modified_s);
    // The block that ends the turn may have come meanwhile.
    let turns = ctx.turns(window).await?;
    let end_ms = turns.turns.iter().find(|turn| turn.hotkey == me).and_then(|turn| turn.end_ms);
    if !succession::in_time(said_s, end_ms) {
        tracing::warn!(window, "this validator's record came after its turn; it is taken back");
        ctx.identity.bucket.delete(&key).await?;
        return Ok(None);
    }
    copies.publish(&ctx.identity.bucket);
    let payloads = picked.iter().map(|(.., delivered)| delivered.gradient());
    let payloads = payloads.collect::<Result<_, _>>()?;
    Ok(Some(Decided { signed, payloads, said_s }))
}

/// Publishes copies of what was accepted and is not in the round, where the manifest asks for it: with them an audit goes through although a peer
/// has deleted its object, also one that there was no time to judge. Nothing waits for them; where those of the window before are still on their way, there are none.
pub fn judged(
    ctx: &NodeContext,
    copies: &mut Copies,
    window: Window,
    gathered: &Gathered,
    chosen: &BTreeSet<AccountId>,
) {
    let kept = ctx.identity.manifest.parsed.gauntlet.audit.map_or(0, |audit| audit.copies);
    if kept == 0 {
        return;
    }
    if !copies.are_out() {
        tracing::warn!(
            window,
            "no copies of what was judged: those of the window before are still on their way"
        );
        return;
    }
    let keys = ctx.identity.keys();
    for (hotkey, _, delivered) in gathered.accepted().filter(|(hotkey, ..)| !chosen.contains(*hotkey)) {
        let kept = delivered.object().and_then(|object| copies.add(&keys.judged(window, hotkey), &object));
        if let Err(error) = kept {
            tracing::warn!(window, %hotkey, %error, "no copy of a judged object");
        }
    }
    copies.publish(&ctx.identity.bucket);
}

/// Shows where the validator is. A failure costs nothing but the news.
pub async fn progress(ctx: &NodeContext, window: Window, losses: &[LossPoint], judging: Option<Uid>) {
    let (done, loss) = (losses.len() as u64, losses.last().map(|point| point.loss));
    let progress = Progress { window, judging, done, loss };
    let Ok(bytes) = serde_json::to_vec(&progress) else { return };
    let key = ctx.identity.keys().progress();
    if let Err(error) = ctx.identity.bucket.put(&key, bytes.into()).await {
        tracing::debug!(%error, "progress could not be published");
    }
}
