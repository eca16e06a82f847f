//! Catching up, round by round.

use super::{
    Directory, Identity, Leader, Mirrors, NodeError, Prefetched, Replica, Turns, catch_up,
    prefetch::Payload,
    sources::{Decision, Round, Said, Sources},
    time::heavy,
};
use crate::{
    bucket::{BucketError, Store, keys::RunKeys},
    manifest::ManifestFile,
    round::{self, Document, MAX_DOCUMENT_BYTES, RunStart, SignedRound},
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
    /// This window is not decided yet, or nothing is known of it.
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

/// A round record of a bucket, with the store's date in seconds; `None` where there is none.
pub(super) async fn signed_round(
    store: &dyn Store,
    key: &str,
) -> Result<Option<(SignedRound, u64)>, NodeError> {
    match store.get(key, MAX_DOCUMENT_BYTES).await {
        Ok(object) => Ok(Some((SignedRound::open(object.bytes)?, object.info.last_modified_s))),
        Err(BucketError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The manifest that the validator with the highest stake committed on chain and published in its bucket. `None` while it has
/// committed a run but not yet published it.
pub async fn fetch_manifest(directory: &Directory) -> Result<Option<ManifestFile>, NodeError> {
    let Leader { run: committed, .. } = directory.any_leader()?;
    let run: [u8; 32] = committed.try_into().map_err(|_| NodeError::NoLeader(directory.metagraph.netuid))?;
    let key = RunKeys::new(hex::encode(&run[..8])).manifest();
    let mut failed = None;
    for (hotkey, store) in directory.validators(&run) {
        let object = match store.get(&key, MAX_MANIFEST_BYTES).await {
            Ok(object) => object,
            Err(BucketError::NotFound { .. }) => continue,
            Err(error) => {
                failed = failed.or(Some(error));
                continue;
            }
        };
        if blake3::hash(&object.bytes) == run {
            return Ok(Some(ManifestFile::parse(&String::from_utf8_lossy(&object.bytes))?));
        }
        tracing::warn!(%hotkey, "the manifest in this bucket is not the one that was committed");
    }
    failed.map_or(Ok(None), |error| Err(error.into()))
}

/// Where the run began, by the word of the validator with the highest stake that says so; refuses a subnet that runs another
/// manifest. A window that has not come yet, but for the two of notice that a new run gives, is nobody's first.
///
/// # Errors
/// [`NodeError::OtherRun`], [`NodeError::NoLeader`]; where nobody says so, that a validator of the run could not be asked.
pub async fn fetch_start(
    directory: &Directory,
    manifest: &ManifestFile,
) -> Result<Option<RunStart>, NodeError> {
    let (ours, netuid) = (manifest.hash(), directory.metagraph.netuid);
    directory.leader(&ours)?;
    let (run, key) = (hex::encode(ours), RunKeys::new(manifest.run_id()).start());
    // Somebody may have seen some blocks more than this node.
    let next = manifest.parsed.schedule().window_of(directory.metagraph.block) + 4;
    let mut unheard = None;
    for (hotkey, store) in directory.validators(&ours) {
        match document::<RunStart>(store.as_ref(), &key, &hotkey).await {
            Ok(Some(start))
                if start.run == run && start.netuid == netuid && (1..=next).contains(&start.start_window) =>
            {
                return Ok(Some(start));
            }
            Ok(_) => {}
            Err(error) if error.is_transient() => unheard = unheard.or(Some(error)),
            Err(error) => tracing::debug!(%hotkey, %error, "no usable start of the run"),
        }
    }
    unheard.map_or(Ok(None), Err)
}

/// Pseudo-gradients that were aggregated in the windows from the run's first to `last`, by the records of the validators; a window
/// without a record counts for nothing.
///
/// # Errors
/// A record of the leader that cannot be read.
pub async fn count_accepted(
    directory: &Directory,
    manifest: &ManifestFile,
    start: &RunStart,
    last: Window,
) -> Result<u64, NodeError> {
    let count = |window| async move {
        let record = fetch_round(directory, manifest, window).await?;
        Ok::<_, NodeError>(record.map_or(0, |signed| signed.record.accepted.len() as u64))
    };
    let counts = stream::iter((start.start_window..=last).map(count)).buffer_unordered(RECORDS_AT_ONCE);
    counts.try_fold(0, |sum, count| async move { Ok(sum + count) }).await
}

/// Windows before a checkpoint's in which the record that led to it is looked for.
const RECALLED: usize = 200;

/// Learns which record led to a model that came from a checkpoint: the next record names it, and who has missed a turn is in it. It may be
/// some windows older than the checkpoint, where nobody has decided since.
///
/// # Errors
/// As [`fetch_round`]: who does not know the record before must not decide.
pub async fn recall(
    directory: &Directory,
    manifest: &ManifestFile,
    replica: &mut Replica,
) -> Result<(), NodeError> {
    for window in replica.unrecalled().rev().take(RECALLED) {
        if let Some(signed) = fetch_round(directory, manifest, window).await?
            && replica.recall(&signed)
        {
            break;
        }
    }
    Ok(())
}

/// The record of a window that is over: as the validator with the highest stake has it, else as another one of the run does.
///
/// # Errors
/// Nobody's bucket can be asked, or what one has is no record of this window and nobody else has another.
pub async fn fetch_round(
    directory: &Directory,
    manifest: &ManifestFile,
    window: Window,
) -> Result<Option<SignedRound>, NodeError> {
    let (ours, netuid) = (manifest.hash(), directory.metagraph.netuid);
    directory.leader(&ours)?;
    let key = RunKeys::new(manifest.run_id()).round(window);
    let (mut failed, mut answered) = (None, false);
    for (hotkey, store) in directory.validators(&ours) {
        match signed_round(store.as_ref(), &key).await {
            Ok(Some((signed, _)))
                if (&signed.record.run, signed.record.netuid, signed.record.window)
                    == (&hex::encode(ours), netuid, window) =>
            {
                return Ok(Some(signed));
            }
            Ok(Some(_)) => failed = Some(NodeError::OutOfOrder { window }),
            Ok(None) => answered = true,
            Err(error) => {
                tracing::debug!(window, %hotkey, %error, "no record can be read");
                failed = failed.or(Some(error));
            }
        }
    }
    // A validator whose bucket is gone for good must not be waited for.
    let gone = matches!(failed, Some(NodeError::Bucket(_))) && answered;
    failed.filter(|_| !gone).map_or(Ok(None), Err)
}

/// Applies the run's rounds up to and including `target`, as far as there are records. A window without one is null where there is a
/// later one that follows on what is here.
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
    /// The first window that is not settled: its record must be of whoever's turn it is. Windows before it without a record are
    /// null, and of those after it nothing is asked. By default every window is settled, and none of the last ones is null.
    pub turns: Option<Turns>,
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
    pub signed: SignedRound,
    /// Whose bucket it was in.
    pub from: AccountId,
    /// The objects of its pseudo-gradients, in the record's order; those that were decoded here alone are not among them.
    pub objects: Vec<(AccountId, Bytes)>,
}

/// [`follow`] with help. Where several rounds are behind, those ahead are fetched and decoded while one is applied.
///
/// A record that is to be believed and follows on another one than the last that was applied takes that one's place: one step is taken
/// back, if [`Replica::keep_a_step`] was said.
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
    let turns = following.turns.as_ref();
    let settled = turns.map_or(target, |turns| target.min(turns.window.saturating_sub(1)));
    while replica.window < target {
        let sources = Arc::new(Sources::new(identity, directory, replica, following)?);
        let window = replica.window + 1;
        let first = if window <= settled {
            match sources.record(window).await? {
                Some(said) => said,
                None => match after_a_gap(replica, &sources, following, settled).await? {
                    Gap::Ends(said) => *said,
                    Gap::Open => continue,
                    Gap::Unknown => {
                        return match following.mirrors.stuck() {
                            Some(theirs) => {
                                Err(NodeError::Diverged { window, ours: replica.hash.clone(), theirs })
                            }
                            None => Ok(FollowOutcome::Waiting(window)),
                        };
                    }
                },
            }
        } else {
            let Some(turns) = turns.filter(|turns| turns.window == window) else {
                return Ok(FollowOutcome::Waiting(window));
            };
            match sources.decide(turns).await? {
                Decision::Said(said) => *said,
                Decision::Null => {
                    tracing::warn!(window, "nobody has decided this window: it is null");
                    replica.skip_to(window);
                    continue;
                }
                Decision::Waiting => return Ok(FollowOutcome::Waiting(window)),
            }
        };
        // Of a round that this model has no part in nothing need be fetched.
        match fits(replica, &sources, &first, following).await? {
            Fit::Next => {}
            Fit::Again => continue,
            Fit::Later => return Ok(FollowOutcome::Waiting(replica.window + 1)),
        }
        let mut rounds = std::pin::pin!(catch_up::rounds(sources.clone(), first, settled));
        while let Some(Round { said, payloads }) = rounds.try_next().await? {
            match fits(replica, &sources, &said, following).await? {
                Fit::Next => {}
                Fit::Again => break,
                Fit::Later => return Ok(FollowOutcome::Waiting(replica.window + 1)),
            }
            if !said.decides {
                following.mirrors.trust(&said.from);
            }
            take(replica, following, said, payloads)?;
        }
    }
    Ok(FollowOutcome::Reached)
}

/// Looks once more at the last window, whose turns are over by now, and takes the record that counts in the place of the one that was
/// applied, if that is another: a validator's bucket may not have answered when its record was looked for, and then another's was taken, by which the
/// order of those who decide is another too. Without this look the two orders would go on side by side.
///
/// Returns whether the model is another one now.
///
/// # Errors
/// Those of [`follow_with`].
pub async fn reconsider(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    following: &Following<'_>,
    turns: &Turns,
) -> Result<bool, NodeError> {
    if turns.window != replica.window || !turns.are_over() {
        return Ok(false);
    }
    let sources = Sources::new(identity, directory, replica, following)?;
    let Decision::Said(said) = sources.decide(turns).await? else { return Ok(false) };
    if replica.skipped() > 0 {
        // It was passed over as null, and is not.
        replica.unskip();
        return Ok(true);
    }
    let same = replica.taken(turns.window).is_none_or(|last| last.hash == said.signed.hash);
    if same || !replica.could_replace(said.record()) {
        return Ok(false);
    }
    let Round { said, payloads } = sources.round(*said).await?;
    if !replica.go_back() {
        return Ok(false);
    }
    let (window, by) = (said.window(), &said.record().by);
    tracing::warn!(window, %by, "another record counts than the one that was applied: it takes its place");
    take(replica, following, said, payloads)?;
    Ok(true)
}

/// What comes after the last record that was applied, where the next window has none.
enum Gap {
    /// This record, which follows on it: the windows between are null.
    Ends(Box<Said>),
    /// Nothing, and it is settled: the windows are null, and passed over.
    Open,
    /// Nothing that says so.
    Unknown,
}

async fn after_a_gap(
    replica: &mut Replica,
    sources: &Sources,
    following: &Following<'_>,
    settled: Window,
) -> Result<Gap, NodeError> {
    let window = replica.window + 1;
    match sources.later(window).await? {
        Some(later) if later <= settled => {
            let said = sources.record(later).await?;
            let fits = said.filter(|said| replica.check(said.record()).is_ok());
            Ok(fits.map_or(Gap::Unknown, |said| Gap::Ends(Box::new(said))))
        }
        _ if following.turns.is_some() => {
            tracing::warn!(from = window, to = settled, "nobody has decided these windows: they are null");
            replica.skip_to(settled);
            Ok(Gap::Open)
        }
        _ => Ok(Gap::Unknown),
    }
}

/// Whether a record comes next.
enum Fit {
    /// It does.
    Next,
    /// Not now; something has changed, so that it is to be asked again.
    Again,
    /// Not now; what comes before it cannot be read at the moment.
    Later,
}

/// Whether a record comes next for this model. One of a mirror that does not is not asked again for now. One that is to be believed
/// and does not may show that the last step was taken on the word of somebody whose word did not count.
async fn fits(
    replica: &mut Replica,
    sources: &Sources,
    said: &Said,
    following: &Following<'_>,
) -> Result<Fit, NodeError> {
    let mirrors = &following.mirrors;
    let error = match replica.check(said.record()) {
        Ok(()) => {
            if said.decides {
                mirrors.confirm();
            }
            replica.skip_to(said.window() - 1);
            return Ok(Fit::Next);
        }
        Err(error) => error,
    };
    if !said.decides {
        tracing::warn!(hotkey = %said.from, %error, "a validator's record is not used");
        mirrors.pass_over(&said.from, &said.record().model);
        return Ok(Fit::Again);
    }
    if replica.skipped() > 0 {
        tracing::warn!(window = said.window(), "windows that were taken for null have a record after all");
        replica.unskip();
        // It is in a bucket that could not be asked then, and perhaps cannot now.
        return match sources.record(replica.window + 1).await {
            Ok(Some(_)) => Ok(Fit::Again),
            _ => Ok(Fit::Later),
        };
    }
    if instead(replica, sources, said, following).await? {
        return Ok(Fit::Again);
    }
    // What was applied before was not the run's, further back than can be taken back: mirrors said so, or two parts of the validators
    // could not reach each other for several windows. From a checkpoint on there is one run.
    let window = said.window();
    mirrors.contradict();
    Err(match error {
        NodeError::OutOfOrder { .. } => {
            let theirs = said.record().model.clone();
            NodeError::Diverged { window, ours: replica.hash.clone(), theirs }
        }
        error => error,
    })
}

/// Puts the record on which `said` follows in the place of the last one that was applied, if that is another and can be had.
///
/// # Errors
/// Where it may be cannot be asked for the moment.
async fn instead(
    replica: &mut Replica,
    sources: &Sources,
    said: &Said,
    following: &Following<'_>,
) -> Result<bool, NodeError> {
    let Some(last) = replica.last().cloned() else { return Ok(false) };
    let Some(previous) = said.record().previous.as_ref().filter(|hash| **hash != last.hash) else {
        return Ok(false);
    };
    // Without the last one it may fit as it is: then that window was null.
    if replica.could_replace(said.record()) {
        tracing::warn!(window = last.window, "the run goes on without this round: it is taken back");
        return Ok(replica.go_back());
    }
    let Some(other) = sources.record_with(last.window, previous).await? else { return Ok(false) };
    if !replica.could_replace(other.record()) {
        return Ok(false);
    }
    let Round { said: other, payloads } = sources.round(other).await?;
    if !replica.go_back() {
        return Ok(false);
    }
    let (window, by) = (last.window, &other.record().by);
    tracing::warn!(window, %by, "the run goes on from another round: it takes the place of the one that was applied");
    take(replica, following, other, payloads)?;
    Ok(true)
}

/// Takes the step of a round that fits, and tells of it.
fn take(
    replica: &mut Replica,
    following: &Following<'_>,
    Said { signed, from, said_s, .. }: Said,
    payloads: Vec<Payload>,
) -> Result<(), NodeError> {
    let (window, peers) = (signed.record.window, payloads.len());
    let gradients: Vec<_> = payloads.iter().map(|payload| payload.gradient.clone()).collect();
    heavy(|| replica.apply(&signed, &gradients, Some(said_s)))?;
    following.here.forget(window);
    match signed.record.null {
        Some(null) => tracing::warn!(window, why = null.describe(), "this window is null"),
        None => tracing::info!(window, peers, model = &replica.hash[..12], "round applied"),
    }
    if let Some(applied) = following.applied {
        let owned = signed.record.accepted.iter().zip(payloads);
        let objects =
            owned.filter_map(|(accepted, payload)| Some((accepted.hotkey.clone(), payload.object?)));
        let objects = objects.collect();
        applied(Applied { signed, from, objects });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
