//! Methods that go on answering: new blocks, storage, an extrinsic's way into a block.

use super::{calls::submit, header, hex, invalid_params, runtime_version, unhex};
use crate::{
    chain::{Block, Chain},
    pool::Status,
};
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule, SubscriptionMessage, SubscriptionSink,
    core::{RegisterMethodError, SubscriptionError},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, json};
use sp_core::H256;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::sync::mpsc;

/// Keys that one subscription can follow.
const MAX_KEYS: usize = 1_000;

/// Which blocks are followed.
#[derive(Clone, Copy)]
enum Heads {
    Best,
    Final,
}

type Done = Result<(), SubscriptionError>;

pub(super) fn register(module: &mut RpcModule<Chain>) -> Result<(), RegisterMethodError> {
    for (subscribe, notify, unsubscribe, which) in [
        ("chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads", Heads::Best),
        ("chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads", Heads::Best),
        (
            "chain_subscribeFinalizedHeads",
            "chain_finalizedHead",
            "chain_unsubscribeFinalizedHeads",
            Heads::Final,
        ),
    ] {
        module.register_subscription(subscribe, notify, unsubscribe, move |_, pending, chain, _| {
            heads(pending, chain, which)
        })?;
    }
    for (subscribe, notify, unsubscribe) in [
        ("state_subscribeRuntimeVersion", "state_runtimeVersion", "state_unsubscribeRuntimeVersion"),
        ("chain_subscribeRuntimeVersion", "chain_runtimeVersion", "chain_unsubscribeRuntimeVersion"),
    ] {
        module.register_subscription(subscribe, notify, unsubscribe, |_, pending, chain, _| {
            version(pending, chain)
        })?;
    }
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, pending, chain, _| storage(keys(&params), pending, chain),
    )?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, chain, _| extrinsic(params.one(), pending, chain),
    )?;
    Ok(())
}

fn keys(params: &Params<'_>) -> Result<Vec<Vec<u8>>, ErrorObjectOwned> {
    let keys: Option<Vec<String>> = params.sequence().optional_next()?;
    let keys = keys.filter(|keys| keys.len() <= MAX_KEYS);
    let keys = keys.ok_or_else(|| invalid_params("name the keys, a thousand at most"))?;
    keys.iter().map(|key| unhex(key)).collect()
}

async fn send(sink: &SubscriptionSink, value: &Value) -> Done {
    let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), value)?;
    Ok(sink.send(message).await?)
}

/// Sends a message for each block from the newest on, none left out, however slow the reader is, but for those
/// that were replaced before their turn; what replaces one that was sent is sent too. Ends when the reader is
/// gone. The function is told whether the block is the first.
async fn each_block(
    chain: &Chain,
    which: Heads,
    sink: &SubscriptionSink,
    message: impl Fn(&Block, bool) -> Option<Value>,
) -> Done {
    let mut newest = match which {
        Heads::Best => chain.watch_best(),
        Heads::Final => chain.watch_final(),
    };
    let first = *newest.borrow_and_update();
    let (mut next, mut told) = (first, None);
    loop {
        let known = *newest.borrow_and_update();
        // The last one again, if it is another now.
        next = next.min(known);
        while next <= known
            && let Some(block) = chain.by_number(next)
        {
            if told.replace(block.hash) != Some(block.hash)
                && let Some(value) = message(&block, next == first)
            {
                send(sink, &value).await?;
            }
            next = next.saturating_add(1);
        }
        tokio::select! {
            changed = newest.changed() => changed.map_err(|_| "the chain has ended")?,
            () = sink.closed() => return Ok(()),
        }
    }
}

async fn heads(pending: PendingSubscriptionSink, chain: Arc<Chain>, which: Heads) -> Done {
    let sink = pending.accept().await?;
    each_block(&chain, which, &sink, |block, _| Some(header(&block.header))).await
}

/// The runtime's version: now, and whenever it changes.
async fn version(pending: PendingSubscriptionSink, chain: Arc<Chain>) -> Done {
    let sink = pending.accept().await?;
    let told = AtomicU32::new(0);
    each_block(&chain, Heads::Best, &sink, |block, _| {
        let spec = (chain.runtime(block).version)().spec_version;
        (told.swap(spec, Ordering::Relaxed) != spec).then(|| runtime_version(&chain, block))
    })
    .await
}

/// The values under some keys: all of them first, then those that change.
async fn storage(
    keys: Result<Vec<Vec<u8>>, ErrorObjectOwned>,
    pending: PendingSubscriptionSink,
    chain: Arc<Chain>,
) -> Done {
    let keys = match keys {
        Ok(keys) => keys,
        Err(refusal) => {
            pending.reject(refusal).await;
            return Ok(());
        }
    };
    let sink = pending.accept().await?;
    each_block(&chain, Heads::Best, &sink, |block, first| {
        let changed = keys.iter().filter(|key| first || chain.changed(block, key));
        let changes: Vec<_> = changed.map(|key| (hex(key), chain.value(block, key).map(hex))).collect();
        (!changes.is_empty()).then(|| json!({ "block": hex(block.hash), "changes": changes }))
    })
    .await
}

/// Submits an extrinsic and tells what becomes of it.
async fn extrinsic(
    bytes: Result<String, ErrorObjectOwned>,
    pending: PendingSubscriptionSink,
    chain: Arc<Chain>,
) -> Done {
    let (watcher, mut statuses) = mpsc::unbounded_channel();
    let submitted = match bytes {
        Ok(bytes) => {
            let chain = chain.clone();
            tokio::task::spawn_blocking(move || submit(&chain, &bytes, Some(watcher))).await?
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = submitted {
        pending.reject(refusal).await;
        return Ok(());
    }
    let sink = pending.accept().await?;
    loop {
        let status = tokio::select! {
            status = statuses.recv() => status,
            () = sink.closed() => return Ok(()),
        };
        match status {
            Some(Status::Future) => send(&sink, &json!("future")).await?,
            Some(Status::Ready) => send(&sink, &json!("ready")).await?,
            Some(Status::Included(block)) => {
                send(&sink, &json!({ "inBlock": hex(block) })).await?;
                return finality(&chain, &sink, block).await;
            }
            Some(Status::Invalid) => return send(&sink, &json!("invalid")).await,
            None => return Ok(()),
        }
    }
}

/// Tells when the block in which an extrinsic is becomes final, and of the one that took its place until then.
async fn finality(chain: &Chain, sink: &SubscriptionSink, mut included: H256) -> Done {
    let (mut best, mut last_final) = (chain.watch_best(), chain.watch_final());
    let Some(block) = chain.by_hash(&included) else { return Ok(()) };
    let number = block.header.number;
    loop {
        best.mark_unchanged();
        let is_final = *last_final.borrow_and_update() >= number;
        if let Some(now) = chain.by_number(number).filter(|now| now.hash != included) {
            send(sink, &json!({ "retracted": hex(included) })).await?;
            included = now.hash;
            send(sink, &json!({ "inBlock": hex(included) })).await?;
        }
        if is_final {
            return send(sink, &json!({ "finalized": hex(included) })).await;
        }
        tokio::select! {
            changed = best.changed() => changed.map_err(|_| "the chain has ended")?,
            changed = last_final.changed() => changed.map_err(|_| "the chain has ended")?,
            () = sink.closed() => return Ok(()),
        }
    }
}
