//! Catching up: from the newest checkpoint of the leader, then round by round.

use super::{
    Directory, Identity, Leader, NodeError, Prefetched, Replica, catch_up, publish::MODEL_FILE,
    sources::Sources,
};
use crate::{
    bucket::{BucketError, Store, keys::RunKeys},
    manifest::ManifestFile,
    round::{self, CheckpointRecord, Document, MAX_DOCUMENT_BYTES, RoundRecord, RunStart},
    wallet::AccountId,
    window::Window,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;

/// How far following got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowOutcome {
    /// The model is the one after the window that was asked for.
    Reached,
    /// The leader has not published the record of this window yet.
    Waiting(Window),
}

/// Records that are fetched side by side.
const RECORDS_AT_ONCE: usize = 32;
/// Longest manifest that is read from a bucket, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// Opens a signed document of a bucket; `None` where there is none.
pub(super) async fn document<D: Document>(
    store: &dyn Store,
    key: &str,
    signer: &AccountId,
) -> Result<Option<D>, NodeError> {
    match store.get(key, MAX_DOCUMENT_BYTES).await {
        Ok(object) => Ok(Some(round::open(&object.bytes, signer)?)),
        Err(BucketError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The manifest that the leader committed on chain and published in its bucket. `None` while the leader
/// has committed a run but not yet published it.
pub async fn fetch_manifest(directory: &Directory, netuid: u16) -> Result<Option<ManifestFile>, NodeError> {
    let Leader { store, run: committed, .. } = directory.led(netuid)?;
    let run_id = hex::encode(&committed[..8.min(committed.len())]);
    let object = match store.get(&RunKeys::new(run_id).manifest(), MAX_MANIFEST_BYTES).await {
        Ok(object) => object,
        Err(BucketError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let theirs = hex::encode(blake3::hash(&object.bytes).as_bytes());
    if theirs != hex::encode(committed) {
        return Err(NodeError::OtherRun { theirs, ours: hex::encode(committed) });
    }
    Ok(Some(ManifestFile::parse(&String::from_utf8_lossy(&object.bytes))?))
}

/// Where the run began, by the leader's word; refuses a leader that runs another manifest.
pub async fn fetch_start(identity: &Identity, directory: &Directory) -> Result<Option<RunStart>, NodeError> {
    fetch_start_of(directory, identity.netuid, &identity.manifest).await
}

/// [`fetch_start`], for those who are no node of the run.
pub async fn fetch_start_of(
    directory: &Directory,
    netuid: u16,
    manifest: &ManifestFile,
) -> Result<Option<RunStart>, NodeError> {
    let Leader { hotkey: leader, store, run: committed } = directory.led(netuid)?;
    let ours = manifest.hash();
    if committed != ours {
        return Err(NodeError::OtherRun { theirs: hex::encode(committed), ours: hex::encode(ours) });
    }
    document(store, &RunKeys::new(hex::encode(&ours[..8])).start(), leader).await
}

/// Loads the leader's newest checkpoint where it is ahead of the replica. A damaged one is left alone:
/// replaying from an earlier state gives the same model.
pub async fn restore(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
) -> Result<(), NodeError> {
    let Leader { hotkey: leader, store, .. } = directory.led(identity.netuid)?;
    let keys = identity.keys();
    let key = keys.latest_checkpoint();
    let Some(latest) = document::<CheckpointRecord>(store, &key, leader).await? else {
        return Ok(());
    };
    if latest.run != identity.run() || latest.window <= replica.window {
        return Ok(());
    }
    let object =
        store.get(&keys.checkpoint(latest.window, MODEL_FILE), replica.max_checkpoint_bytes()).await?;
    match replica.load(&object.bytes, latest.window, latest.round, &latest.model) {
        Ok(()) => tracing::info!(window = latest.window, "model loaded from the leader's checkpoint"),
        Err(error) => tracing::warn!(%error, "the checkpoint is not used; replaying from further back"),
    }
    Ok(())
}

/// Pseudo-gradients that were aggregated in the windows from the run's first to `last`, by the leader's records; a window without
/// a record counts for nothing.
///
/// # Errors
/// A record that cannot be read, or is not the leader's.
pub async fn count_accepted(
    directory: &Directory,
    netuid: u16,
    manifest: &ManifestFile,
    start: &RunStart,
    last: Window,
) -> Result<u64, NodeError> {
    let Leader { hotkey: leader, store, .. } = directory.led(netuid)?;
    let keys = RunKeys::new(hex::encode(&manifest.hash()[..8]));
    let run = hex::encode(manifest.hash());
    let run = run.as_str();
    let count = |window| {
        let key = keys.round(window);
        async move {
            let record: Option<RoundRecord> = document(store, &key, leader).await?;
            match record {
                Some(record)
                    if (record.run.as_str(), record.netuid, record.window) != (run, netuid, window) =>
                {
                    Err(NodeError::OutOfOrder { window })
                }
                record => Ok(record.map_or(0, |record| record.accepted.len() as u64)),
            }
        }
    };
    let counts = stream::iter((start.start_window..=last).map(count)).buffer_unordered(RECORDS_AT_ONCE);
    counts.try_fold(0, |sum, count| async move { Ok(sum + count) }).await
}

/// The leader's record of a window, if it is published.
pub async fn fetch_round(
    identity: &Identity,
    directory: &Directory,
    window: Window,
) -> Result<Option<RoundRecord>, NodeError> {
    let Leader { hotkey: leader, store, .. } = directory.led(identity.netuid)?;
    document(store, &identity.keys().round(window), leader).await
}

/// Applies the leader's rounds up to and including `target`, as far as they are published.
pub async fn follow(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    target: Window,
) -> Result<FollowOutcome, NodeError> {
    follow_with(identity, directory, replica, &Prefetched::default(), target).await
}

/// [`follow`], without a download of what is here already. Where several rounds are behind, those ahead are fetched and decoded
/// while one is applied.
///
/// # Errors
/// [`NodeError::Missing`] where neither a peer nor a validator has what a record names: they publish their copies after the
/// record, so a little later one of them may.
pub async fn follow_with(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    here: &Prefetched,
    target: Window,
) -> Result<FollowOutcome, NodeError> {
    if replica.window >= target {
        return Ok(FollowOutcome::Reached);
    }
    let sources = Arc::new(Sources::new(identity, directory, replica, here)?);
    let Some(first) = sources.record(replica.window + 1).await? else {
        return Ok(FollowOutcome::Waiting(replica.window + 1));
    };
    // Of a round that this model has no part in nothing need be fetched.
    replica.check(&first)?;
    let mut rounds = std::pin::pin!(catch_up::rounds(sources, first, target));
    while let Some(round) = rounds.try_next().await? {
        let (window, peers) = (round.record.window, round.payloads.len());
        tokio::task::block_in_place(|| replica.apply(&round.record, &round.payloads))?;
        here.forget(window);
        tracing::info!(window, peers, model = &replica.hash[..12], "round applied");
    }
    Ok(if replica.window == target {
        FollowOutcome::Reached
    } else {
        FollowOutcome::Waiting(replica.window + 1)
    })
}

#[cfg(test)]
mod tests;
