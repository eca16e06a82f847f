//! Catching up, round by round.

use super::{
    Directory, Identity, Leader, Mirrors, NodeError, Prefetched, Replica, catch_up,
    prefetch::Payload,
    sources::{Round, Said, Sources},
};
use crate::{
    bucket::{BucketError, Store, keys::RunKeys},
    manifest::ManifestFile,
    round::{self, Document, MAX_DOCUMENT_BYTES, RoundRecord, RunStart},
    wallet::AccountId,
    window::Window,
};
use bytes::Bytes;
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

/// What a validator of this run says of a window, if its bucket can be read and has a record of it.
///
/// # Errors
/// What the bucket says; [`NodeError::OutOfOrder`] for a record of another run or window.
pub async fn fetch_round_of(
    identity: &Identity,
    directory: &Directory,
    validator: &AccountId,
    window: Window,
) -> Result<Option<RoundRecord>, NodeError> {
    let ours = directory.run(validator) == Some(identity.manifest.hash().as_slice());
    let Some(store) = directory.store(validator).filter(|_| ours) else { return Ok(None) };
    let record: Option<RoundRecord> =
        document(store.as_ref(), &identity.keys().round(window), validator).await?;
    match record {
        Some(record)
            if record.run != identity.run()
                || (record.netuid, record.window) != (identity.netuid, window) =>
        {
            Err(NodeError::OutOfOrder { window })
        }
        record => Ok(record),
    }
}

/// Applies the leader's rounds up to and including `target`, as far as they are published.
pub async fn follow(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    target: Window,
) -> Result<FollowOutcome, NodeError> {
    follow_with(identity, directory, replica, &Following::default(), target).await
}

/// What following uses beside the model, and whom it tells.
#[derive(Default)]
pub struct Following<'a> {
    /// What is here is not downloaded.
    pub here: Prefetched,
    /// Whose records can stand in for the leader's. The same one in every call of a process.
    pub mirrors: Mirrors,
    /// The first window that may be undecided still: of it and of later ones nobody but the leader is asked. By default the target.
    pub deciding: Option<Window>,
    /// Hears of each round after its step.
    pub applied: Option<&'a (dyn Fn(Applied) + Send + Sync)>,
}

impl std::fmt::Debug for Following<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("here", &self.here.len()).finish_non_exhaustive()
    }
}

/// A round that was applied.
#[derive(Debug)]
pub struct Applied {
    /// Its record.
    pub record: RoundRecord,
    /// Who said so.
    pub by: AccountId,
    /// The objects of its pseudo-gradients, in the record's order; those that were decoded here alone are not among them.
    pub objects: Vec<(AccountId, Bytes)>,
}

/// [`follow`] with help. Where several rounds are behind, those ahead are fetched and decoded while one is applied.
///
/// # Errors
/// [`NodeError::Missing`] where neither a peer nor a validator has what a record names: they publish their copies after the
/// record, so a little later one of them may. [`NodeError::Diverged`] where the model is not the run's.
pub async fn follow_with(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    following: &Following<'_>,
    target: Window,
) -> Result<FollowOutcome, NodeError> {
    let deciding = following.deciding.unwrap_or(target).min(target);
    while replica.window < target {
        let sources = Arc::new(Sources::new(identity, directory, replica, following)?);
        let window = replica.window + 1;
        let Some(first) = sources.record(window, window >= deciding).await? else {
            return match following.mirrors.stuck() {
                Some(theirs) => Err(NodeError::Diverged { window, ours: replica.hash.clone(), theirs }),
                None => Ok(FollowOutcome::Waiting(window)),
            };
        };
        // Of a round that this model has no part in nothing need be fetched.
        if !fits(replica, &sources, &first, following)? {
            continue;
        }
        let mut rounds = std::pin::pin!(catch_up::rounds(sources.clone(), first, deciding, target));
        loop {
            let Some(Round { said, payloads }) = rounds.try_next().await? else {
                let reached = replica.window == target;
                let waiting = FollowOutcome::Waiting(replica.window + 1);
                return Ok(if reached { FollowOutcome::Reached } else { waiting });
            };
            if !fits(replica, &sources, &said, following)? {
                break;
            }
            if said.by != *sources.leader() {
                following.mirrors.trust(&said.by);
            }
            take(replica, following, said, payloads)?;
        }
    }
    Ok(FollowOutcome::Reached)
}

/// Takes the step of a record that this node, which leads, takes over from whoever led before.
///
/// # Errors
/// Those of [`follow_with`]; then no step was taken.
pub async fn take_round(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    following: &Following<'_>,
    by: &AccountId,
    record: RoundRecord,
) -> Result<(), NodeError> {
    replica.check(&record)?;
    let sources = Sources::new(identity, directory, replica, following)?;
    let Round { said, payloads } = sources.round(Said { record, by: by.clone() }).await?;
    take(replica, following, said, payloads)
}

/// Whether a record comes next for this model; false for one of a mirror that does not, and is not asked again for now.
fn fits(
    replica: &Replica,
    sources: &Sources,
    said: &Said,
    following: &Following<'_>,
) -> Result<bool, NodeError> {
    let (mirrors, led) = (&following.mirrors, said.by == *sources.leader());
    match replica.check(&said.record) {
        Ok(()) if led => {
            mirrors.confirm();
            Ok(true)
        }
        Ok(()) => Ok(true),
        Err(error) if led => {
            // What mirrors said since the leader's last record was not the run's; starting over may help.
            let (window, trusting) = (said.record.window, mirrors.trusting());
            mirrors.contradict();
            Err(match error {
                NodeError::OutOfOrder { .. } if trusting => NodeError::Diverged {
                    window,
                    ours: replica.hash.clone(),
                    theirs: said.record.model.clone(),
                },
                error => error,
            })
        }
        Err(error) => {
            tracing::warn!(hotkey = %said.by, %error, "a validator's record is not used");
            mirrors.pass_over(&said.by, &said.record.model);
            Ok(false)
        }
    }
}

/// Takes the step of a round that fits, and tells of it.
fn take(
    replica: &mut Replica,
    following: &Following<'_>,
    Said { record, by }: Said,
    payloads: Vec<Payload>,
) -> Result<(), NodeError> {
    let (window, peers) = (record.window, payloads.len());
    let gradients: Vec<_> = payloads.iter().map(|payload| payload.gradient.clone()).collect();
    tokio::task::block_in_place(|| replica.apply(&record, &gradients))?;
    following.here.forget(window);
    tracing::info!(window, peers, model = &replica.hash[..12], "round applied");
    if let Some(applied) = following.applied {
        let owned = record.accepted.iter().zip(payloads);
        let objects =
            owned.filter_map(|(accepted, payload)| Some((accepted.hotkey.clone(), payload.object?)));
        let objects = objects.collect();
        applied(Applied { record, by, objects });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
