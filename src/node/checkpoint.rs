//! Checkpoints of the run: who has them, which of them are believed, and how they become a model.

use super::{
    Directory, Identity, NodeError, Replica,
    follow::{document, signed_round},
    time::heavy,
};
use crate::{
    bucket::keys::{Key, RunKeys},
    checkpoint::{CheckpointError, Fetch, Form, RECORD_FILE, Shelf, Source, Stand},
    manifest::ManifestFile,
    model::Llama,
    round::{CheckpointRecord, RoundRecord, SignedRound},
    wallet::AccountId,
    window::{NetUid, Window},
};
use futures::future::join_all;
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tch::Device;
use tokio::time::timeout;

/// Rounds that are replayed rather than to take a checkpoint of a window that is still to be scored.
const REPLAYED: u64 = 50;
/// Keys of checkpoints that are listed at once.
const PAGE: usize = 1000;
/// How long a validator that does not lead may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two words about a download.
const TELL: Duration = Duration::from_secs(10);

/// Everybody's checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints<'a> {
    directory: &'a Directory,
    manifest: &'a ManifestFile,
    netuid: NetUid,
    leader: &'a AccountId,
    /// Validators that committed this run: the leader, then by stake.
    sources: Vec<Source>,
    form: Form,
    keys: RunKeys,
}

impl<'a> Checkpoints<'a> {
    /// Finds out who may have checkpoints.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`].
    pub fn new(
        directory: &'a Directory,
        netuid: NetUid,
        manifest: &'a ManifestFile,
    ) -> Result<Self, NodeError> {
        let leader = directory.leader(&manifest.hash())?.hotkey;
        let mut validators = directory.validators(&manifest.hash());
        validators.sort_by_key(|(owner, _)| owner != leader);
        let sources = validators.into_iter().map(|(owner, store)| Source { owner, store }).collect();
        let (form, keys) = (Form::new(&manifest.parsed), RunKeys::new(manifest.run_id()));
        Ok(Self { directory, manifest, netuid, leader, sources, form, keys })
    }

    /// What checkpoints of the run are made of.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Records of the newest checkpoints of everybody that are of a window after `after`, the newest first. The leader's word is
    /// believed; another's is if the record of the next window names the same model.
    ///
    /// # Errors
    /// The leader's bucket cannot be asked at the moment, and nobody else has one.
    pub async fn newest(&self, after: Option<Window>) -> Result<Vec<CheckpointRecord>, NodeError> {
        let key = self.keys.latest_checkpoint();
        let said = self.records(&key).await;
        // Somebody may have seen a block more than this node.
        let now = self.manifest.parsed.schedule().window_of(self.directory.metagraph.block) + 1;
        let mut found: Vec<CheckpointRecord> = Vec::new();
        let mut failed = None;
        for (owner, record) in said {
            let leads = owner == self.leader;
            let record = match record {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    if leads {
                        tracing::warn!(%error, "the leader's newest checkpoint cannot be read");
                    }
                    failed = failed.or((leads && error.is_transient()).then_some(error));
                    continue;
                }
            };
            let wanted = record.window <= now && after.is_none_or(|after| record.window > after);
            if !wanted || found.contains(&record) {
                continue;
            }
            if leads || self.is_the_runs(&record).await {
                found.push(record);
            }
        }
        found.sort_by_key(|record| Reverse(record.window));
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// Everybody's record under a key, in the order of the sources. One of another run, or of other files, is an error of its owner's.
    async fn records(&self, key: &str) -> Vec<(&AccountId, Result<Option<CheckpointRecord>, NodeError>)> {
        let run = hex::encode(self.manifest.hash());
        let run = run.as_str();
        join_all(self.sources.iter().map(|source| async move {
            let asked = document::<CheckpointRecord>(source.store.as_ref(), key, &source.owner);
            let record = match source.owner == *self.leader {
                true => asked.await,
                // Nobody waits long for a stranger.
                false => timeout(PATIENCE, asked).await.unwrap_or(Ok(None)),
            };
            let checked = record.and_then(|record| match record {
                Some(record) if record.run == run => {
                    self.form.check(&record).map(|()| Some(record)).map_err(NodeError::from)
                }
                Some(_) | None => Ok(None),
            });
            (&source.owner, checked)
        }))
        .await
    }

    /// Whether the record of the window after it names this model.
    async fn is_the_runs(&self, record: &CheckpointRecord) -> bool {
        match self.round(record.window + 1).await {
            Ok(Some(next)) => next.model == record.model && next.round == record.round,
            _ => false,
        }
    }

    /// The record of a window, from whoever has it, the leader first.
    async fn round(&self, window: Window) -> Result<Option<RoundRecord>, NodeError> {
        let (key, run) = (self.keys.round(window), hex::encode(self.manifest.hash()));
        let mut failed = None;
        for source in &self.sources {
            match signed_round(source.store.as_ref(), &key).await {
                Ok(Some((SignedRound { record, .. }, _)))
                    if (&record.run, record.netuid, record.window) == (&run, self.netuid, window) =>
                {
                    return Ok(Some(record));
                }
                Ok(_) => {}
                Err(error) if source.owner == *self.leader => failed = Some(error),
                Err(_) => {}
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Brings a checkpoint's files into a folder; `told` hears the bytes that came.
    ///
    /// # Errors
    /// As [`Fetch::fetch`].
    pub async fn fetch(
        &self,
        record: &CheckpointRecord,
        folder: &Path,
        told: &(dyn Fn(i64) + Sync),
    ) -> Result<(), CheckpointError> {
        let (form, keys, sources) = (&self.form, &self.keys, self.sources.as_slice());
        Fetch { form, record, keys, sources }.fetch(folder, told).await
    }

    /// Fetches a checkpoint into a folder and puts it into the replica.
    async fn load(
        &self,
        replica: &mut Replica,
        record: &CheckpointRecord,
        folder: &Path,
    ) -> Result<(), CheckpointError> {
        let telling = Telling::new(record);
        self.fetch(record, folder, &|bytes| telling.add(bytes)).await?;
        heavy(|| replica.load(&self.form, folder, record))
    }

    /// The newest checkpoint that is ahead of the model and not beyond `target`, if there is one that can be used. The record
    /// of the window after it says what the model must be; at the newest end there may be none yet.
    ///
    /// # Errors
    /// What a bucket says that may be asked again a little later.
    pub async fn load_before(&self, replica: &mut Replica, target: Window) -> Result<(), NodeError> {
        let mut windows = self.windows(replica.window + 1, target).await?;
        while let Some(window) = windows.pop_last() {
            let Some(next) = self.round(window + 1).await? else { continue };
            let said = self.records(&self.keys.checkpoint(window, RECORD_FILE)).await;
            let fits = |record: &CheckpointRecord| {
                (record.window, record.round, &record.model) == (window, next.round, &next.model)
            };
            let record = said.into_iter().filter_map(|(_, record)| record.ok().flatten()).find(fits);
            let Some(record) = record else { continue };
            let folder = tempfile::tempdir().map_err(|source| own_file(&std::env::temp_dir(), source))?;
            match self.load(replica, &record, folder.path()).await {
                Ok(()) => {
                    tracing::info!(window, "model loaded from a checkpoint");
                    return Ok(());
                }
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(error) => tracing::warn!(window, %error, "the checkpoint is not used"),
            }
        }
        Ok(())
    }

    /// The windows from `from` to `to` of which somebody has a checkpoint.
    async fn windows(&self, from: Window, to: Window) -> Result<BTreeSet<Window>, NodeError> {
        let listed = join_all(self.sources.iter().map(|source| self.windows_of(source, from, to))).await;
        let mut windows = BTreeSet::new();
        let mut failed = None;
        for (source, listed) in self.sources.iter().zip(listed) {
            match listed {
                Ok(listed) => windows.extend(listed),
                Err(error) if source.owner == *self.leader => failed = Some(error),
                Err(error) => {
                    tracing::debug!(owner = %source.owner, %error, "no checkpoint from this bucket")
                }
            }
        }
        match failed {
            Some(error) if windows.is_empty() => Err(error),
            _ => Ok(windows),
        }
    }

    async fn windows_of(&self, source: &Source, from: Window, to: Window) -> Result<Vec<Window>, NodeError> {
        let (prefix, mut after) = (self.keys.prefix("checkpoint"), self.keys.before("checkpoint", from));
        let mut windows = Vec::new();
        // A bucket can be filled with keys: one that has more than a checkpoint for every window is not read to its end.
        for _ in
            0..=(to.saturating_sub(from) + 1).saturating_mul(self.form.files().len() as u64 + 1) / PAGE as u64
        {
            let page = source.store.list_after(&prefix, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.clone();
            for key in &page {
                match self.keys.parse(key) {
                    Some(Key::Checkpoint { window, .. }) if window > to => return Ok(windows),
                    Some(Key::Checkpoint { window, file }) if file == RECORD_FILE => windows.push(window),
                    _ => {}
                }
            }
        }
        Ok(windows)
    }
}

/// Loads the newest checkpoint where it is ahead of the replica: one of this node's own disk where that is as new as any, else one that
/// is fetched into `incoming`, where what is there whole is not fetched again. A damaged one is passed over: replaying from an earlier
/// state gives the same model. With `before`, one of a later window is not taken, if that does not mean to replay more than
/// 50 windows.
///
/// # Errors
/// What a bucket says that may be asked again a little later; what the disk says.
pub async fn restore(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    own: Option<&Shelf>,
    before: Option<Window>,
    incoming: &Path,
) -> Result<(), NodeError> {
    let checkpoints = Checkpoints::new(directory, identity.netuid, &identity.manifest)?;
    let mut found = checkpoints.newest(Some(replica.window)).await?;
    let near = |before: &Window| {
        let on_disk = own.and_then(|shelf| shelf.windows().ok()).unwrap_or_default();
        let usable = on_disk.into_iter().filter(|window| window <= before).max();
        before.saturating_sub(usable.unwrap_or(replica.window)) <= REPLAYED
    };
    let before = before.filter(near);
    found.retain(|record| before.is_none_or(|before| record.window <= before));
    let newest = found.first().map(|record| record.window);
    if let Some(shelf) = own
        && load_own(identity, &checkpoints, replica, shelf, newest, before).await?
    {
        // What was fetched before is older.
        return fs::remove_dir_all(incoming).or_else(absent).map_err(|source| own_file(incoming, source));
    }
    for record in found {
        let window = record.window;
        let folder = incoming.join(format!("{window:010}"));
        forget_others(incoming, &folder).map_err(|source| own_file(incoming, source))?;
        match checkpoints.load(replica, &record, &folder).await {
            Ok(()) => {
                tracing::info!(window, "model loaded from a checkpoint");
                return Ok(());
            }
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => tracing::warn!(window, %error, "the checkpoint is not used"),
        }
    }
    Ok(())
}

/// Loads the newest checkpoint of the node's own disk, unless there is a newer one elsewhere or it is not the run's.
async fn load_own(
    identity: &Identity,
    checkpoints: &Checkpoints<'_>,
    replica: &mut Replica,
    shelf: &Shelf,
    newest: Option<Window>,
    before: Option<Window>,
) -> Result<bool, NodeError> {
    let on_disk = shelf.windows()?.into_iter().filter(|window| before.is_none_or(|before| *window <= before));
    let Some(window) = on_disk.max() else { return Ok(false) };
    if window <= replica.window || newest.is_some_and(|newest| newest > window) {
        return Ok(false);
    }
    let record = match shelf.record(window, &identity.account()) {
        Ok((record, _)) if record.window == window && record.run == identity.run() => record,
        _ => return Ok(false),
    };
    // Where there is no record after it yet, the next round will tell.
    if let Some(next) = checkpoints.round(window + 1).await?
        && next.model != record.model
    {
        tracing::warn!(window, "the checkpoint on this disk is not of the run's model");
        return Ok(false);
    }
    match heavy(|| replica.load(shelf.form(), &shelf.folder(window), &record)) {
        Ok(()) => tracing::info!(window, "model loaded from this node's own checkpoint"),
        Err(error) => tracing::warn!(window, %error, "the checkpoint on this disk is not used"),
    }
    Ok(replica.window == window)
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Removes what was fetched of other checkpoints.
fn forget_others(incoming: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(incoming)?;
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        if path != folder && path.is_dir() {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// What is believed to be the newest checkpoint; `None` before there is one.
///
/// # Errors
/// [`NodeError`] where there is no leader, or its bucket cannot be read.
pub async fn newest_checkpoint(
    directory: &Directory,
    netuid: NetUid,
    manifest: &ManifestFile,
) -> Result<Option<CheckpointRecord>, NodeError> {
    let found = Checkpoints::new(directory, netuid, manifest)?.newest(None).await?;
    Ok(found.into_iter().next())
}

/// The model of a checkpoint, which has the hash that its record names; `told` hears the bytes that came.
///
/// # Errors
/// [`CheckpointError`] where nobody has it, or it is another model.
pub async fn fetch_checkpoint(
    directory: &Directory,
    netuid: NetUid,
    manifest: &ManifestFile,
    record: &CheckpointRecord,
    device: Device,
    told: &(dyn Fn(i64) + Sync),
) -> Result<Llama, NodeError> {
    let checkpoints = Checkpoints::new(directory, netuid, manifest)?;
    let folder = tempfile::tempdir().map_err(|source| own_file(&std::env::temp_dir(), source))?;
    checkpoints.fetch(record, folder.path(), told).await?;
    let (window, hash, config) = (record.window, record.model.clone(), manifest.parsed.model.clone());
    let form = checkpoints.form.clone();
    let load = move || {
        let model = form.read(folder.path(), &config, device).map_err(CheckpointError::from)?;
        if hex::encode(model.hash()) == hash {
            Ok(model)
        } else {
            Err(CheckpointError::OtherModel { window })
        }
    };
    // Reading and hashing take a while: other tasks of the runtime go on.
    let loaded = tokio::task::spawn_blocking(load).await;
    Ok(loaded.map_err(|_| CheckpointError::Interrupted { window })??)
}

/// What a checkpoint of the replica, as it is now, is of.
pub fn stand(identity: &Identity, replica: &Replica) -> Stand {
    let (window, round, model) = (replica.window, replica.round, replica.hash.clone());
    Stand { run: identity.run(), window, round, model }
}

/// Says now and then how far a download is.
struct Telling {
    window: Window,
    of: u64,
    had: Mutex<(i64, Instant)>,
}

impl Telling {
    fn new(record: &CheckpointRecord) -> Self {
        let (window, of) = (record.window, record.bytes());
        tracing::info!(window, bytes = of, "a checkpoint is fetched");
        Self { window, of, had: Mutex::new((0, Instant::now())) }
    }

    fn add(&self, bytes: i64) {
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        had.0 += bytes;
        if had.1.elapsed() >= TELL {
            had.1 = Instant::now();
            tracing::info!(window = self.window, bytes = had.0, of = self.of, "the checkpoint is coming");
        }
    }
}

fn own_file(path: &Path, source: io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
