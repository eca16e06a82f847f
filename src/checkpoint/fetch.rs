//! A checkpoint on its way from others' buckets to a folder of one's own.

use super::{CheckpointError, Form, shelf::failed};
use crate::{
    bucket::{Store, keys::RunKeys},
    round::{CheckpointFile, CheckpointRecord},
    wallet::AccountId,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

/// Files that are fetched side by side.
const AT_ONCE: usize = 4;
/// How often all sources are asked for a file.
const ROUNDS: usize = 3;
/// Pause before they are asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// A source must give this many bytes a second, after a moment to begin, while there is another one.
const SLOWEST: u64 = 1 << 20;
const MOMENT: Duration = Duration::from_secs(30);

/// A bucket that may have a checkpoint.
#[derive(Debug, Clone)]
pub struct Source {
    /// Whose it is.
    pub owner: AccountId,
    /// The bucket, to read from.
    pub store: Arc<dyn Store>,
}

/// What is to be fetched, and from where.
#[derive(Debug)]
pub struct Fetch<'a> {
    /// The files that the run's manifest gives.
    pub form: &'a Form,
    /// What the checkpoint is, by a record that was believed.
    pub record: &'a CheckpointRecord,
    /// The keys of the run.
    pub keys: &'a RunKeys,
    /// Who may have it, in the order in which they are asked. The hash of each file decides, so it does not matter who gives it.
    pub sources: &'a [Source],
}

impl Fetch<'_> {
    /// Brings all files into a folder, a few side by side; `told` hears the bytes of what is there and of what comes, and takes back
    /// what came to nothing. A file that is there whole is not fetched again; one that breaks off, is damaged or comes too slowly is left for the next source.
    ///
    /// A file goes to disk as it comes: no more than a few pieces are in memory.
    ///
    /// # Errors
    /// [`CheckpointError::NoSource`] where nobody gives a file; what came until then stays for the next time.
    pub async fn fetch(&self, folder: &Path, told: &(dyn Fn(i64) + Sync)) -> Result<(), CheckpointError> {
        self.form.check(self.record)?;
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let refusals: Vec<AtomicU32> = self.sources.iter().map(|_| AtomicU32::new(0)).collect();
        // Made before they are polled, so that whoever spawns this need not prove anything of a closure's lifetimes.
        let files: Vec<_> =
            self.record.files.iter().map(|file| self.file(folder, file, &refusals, told)).collect();
        // What a power cut takes of the names is fetched again.
        stream::iter(files).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn file(
        &self,
        folder: &Path,
        file: &CheckpointFile,
        refusals: &[AtomicU32],
        told: &(dyn Fn(i64) + Sync),
    ) -> Result<(), CheckpointError> {
        let window = self.record.window;
        let path = folder.join(&file.name);
        let there = (path.clone(), file.clone());
        let there = tokio::task::spawn_blocking(move || is_there(&there.0, &there.1)).await;
        if there.map_err(|_| CheckpointError::Interrupted { window })? {
            told(file.bytes as i64);
            return Ok(());
        }
        let mut last = None;
        for round in 0..ROUNDS {
            // Who has refused least is asked first; of equals, who stands first.
            let mut order: Vec<usize> = (0..self.sources.len()).collect();
            order.sort_by_key(|at| refusals.get(*at).map_or(0, |refusals| refusals.load(Relaxed)));
            for (asked, at) in order.iter().enumerate() {
                let Some(source) = self.sources.get(*at) else { continue };
                let others = asked + 1 < order.len();
                match self.from(source, &path, file, others, told).await {
                    Ok(()) => return Ok(()),
                    Err(error @ CheckpointError::File { .. }) => return Err(error),
                    Err(error) => {
                        if let Some(refusals) = refusals.get(*at) {
                            refusals.fetch_add(1, Relaxed);
                        }
                        let (source, file) = (&source.owner, &file.name);
                        tracing::debug!(window, file, %source, %error, "this source is left for the next one");
                        last = Some(error);
                    }
                }
            }
            if round + 1 == ROUNDS || !last.as_ref().is_some_and(CheckpointError::is_transient) {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        let (file, sources) = (file.name.clone(), self.sources.len());
        Err(CheckpointError::NoSource { window, file, sources, source: last.map(Box::new) })
    }

    /// Fetches a file from one source. Where there are `others`, it must be quick.
    async fn from(
        &self,
        source: &Source,
        path: &Path,
        file: &CheckpointFile,
        others: bool,
        told: &(dyn Fn(i64) + Sync),
    ) -> Result<(), CheckpointError> {
        let window = self.record.window;
        let place = || format!("the bucket {}", source.store.bucket());
        let key = self.keys.checkpoint(window, &file.name);
        let mut part = Part::begin(path, told)?;
        let work = async {
            let mut read = source.store.read(&key, file.bytes).await?;
            while let Some(piece) = read.content.try_next().await? {
                part.add(&piece)?;
            }
            Ok::<_, CheckpointError>(())
        };
        let limit = MOMENT + Duration::from_secs(file.bytes / SLOWEST);
        if others {
            let slow = |_| CheckpointError::Slow { window, file: file.name.clone(), place: place() };
            tokio::time::timeout(limit, work).await.map_err(slow)??;
        } else {
            work.await?;
        }
        if part.finish(file)? {
            return Ok(());
        }
        Err(CheckpointError::Damaged { window, file: file.name.clone(), place: place() })
    }
}

/// A file that is coming, under a name that no reader looks for. It goes, and what was told of it is taken back, unless it becomes
/// whole.
struct Part<'a> {
    path: &'a Path,
    beside: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    had: u64,
    whole: bool,
    told: &'a (dyn Fn(i64) + Sync),
}

impl<'a> Part<'a> {
    fn begin(path: &'a Path, told: &'a (dyn Fn(i64) + Sync)) -> Result<Self, CheckpointError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(|source| failed(&beside, source))?;
        Ok(Self { path, beside, file, hasher: blake3::Hasher::new(), had: 0, whole: false, told })
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), CheckpointError> {
        self.file.write_all(piece).map_err(|source| failed(&self.beside, source))?;
        self.hasher.update(piece);
        self.had += piece.len() as u64;
        (self.told)(piece.len() as i64);
        Ok(())
    }

    /// Gives the file its name, if it is the one that was wanted.
    fn finish(mut self, wanted: &CheckpointFile) -> Result<bool, CheckpointError> {
        if self.had != wanted.bytes || self.hasher.finalize().to_hex().as_str() != wanted.hash {
            return Ok(false);
        }
        let named = self.file.sync_all().and_then(|()| fs::rename(&self.beside, self.path));
        named.map_err(|source| failed(self.path, source))?;
        self.whole = true;
        Ok(true)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.whole {
            (self.told)(-(self.had as i64));
            // The next try would write over it.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Whether a file is there whole.
fn is_there(path: &Path, wanted: &CheckpointFile) -> bool {
    let hash = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() != wanted.bytes {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut file)?;
        Ok(hasher.finalize().to_hex().as_str() == wanted.hash)
    };
    hash().unwrap_or(false)
}
