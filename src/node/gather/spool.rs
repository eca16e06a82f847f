//! Accepted objects: a stated number of them in memory, the others on disk.

use crate::{
    gradient::{self, Expected, Header, Layout, PseudoGradient},
    node::NodeError,
    wallet::{AccountId, verify},
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempPath;

/// Where accepted objects are kept while their window is judged. Clones are the same.
///
/// 250 decoded objects of 1.2 billion parameters are 12 GB. Those of peers that are likely to be aggregated stay in memory, and so many
/// others; the rest is written to disk as it came, and decoded again, one at a time, when its turn comes.
#[derive(Debug, Clone, Default)]
pub struct Spool(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// None where everything stays in memory.
    folder: Option<PathBuf>,
    /// Objects in memory, at most, of peers that are not preferred.
    most: usize,
    here: Arc<AtomicUsize>,
    preferred: Mutex<BTreeSet<AccountId>>,
}

impl Spool {
    /// Keeps at most so many objects in memory, beside those that are [preferred](Self::prefer), and the others in a folder of its own, which
    /// is emptied: what is in it is of a process that was killed.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(folder: PathBuf, most: usize) -> Result<Self, NodeError> {
        let failed = |source| NodeError::File { path: folder.display().to_string(), source };
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir_all(&folder).map_err(failed)?,
        }
        Ok(Self(Arc::new(Inner { folder: Some(folder), most, ..Inner::default() })))
    }

    /// Whose objects stay in memory in any case, from now on.
    pub fn prefer(&self, hotkeys: impl IntoIterator<Item = AccountId>) {
        *self.0.preferred.lock().unwrap_or_else(PoisonError::into_inner) = hotkeys.into_iter().collect();
    }

    /// Keeps an object, as it came and as it was read.
    pub(crate) fn keep(
        &self,
        gradient: PseudoGradient,
        object: Bytes,
        expected: &Expected,
        layout: &Arc<Layout>,
    ) -> Delivered {
        let (header, digest) = (gradient.header.clone(), gradient.digest);
        let held = match self.place(&expected.hotkey) {
            Place::Memory(place) => Held::Here { gradient: Arc::new(gradient), object, _place: place },
            Place::Disk(folder) => match spool(&folder, &object) {
                Ok(file) => Held::Spooled(file, expected.clone(), layout.clone()),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "an object stays in memory: it cannot be written");
                    Held::Here { gradient: Arc::new(gradient), object, _place: None }
                }
            },
        };
        Delivered { header, digest, held }
    }

    fn place(&self, hotkey: &AccountId) -> Place {
        let Inner { folder, most, here, preferred } = self.0.as_ref();
        let Some(folder) = folder else { return Place::Memory(None) };
        if preferred.lock().unwrap_or_else(PoisonError::into_inner).contains(hotkey) {
            return Place::Memory(None);
        }
        match here
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| (taken < *most).then_some(taken + 1))
        {
            Ok(_) => Place::Memory(Some(Taken(here.clone()))),
            Err(_) => Place::Disk(folder.clone()),
        }
    }
}

enum Place {
    Memory(Option<Taken>),
    Disk(PathBuf),
}

/// One of the places in memory; free again when it is dropped.
#[derive(Debug)]
struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Nothing is lost with it but the time to fetch it once more: it need not be synced.
fn spool(folder: &Path, object: &[u8]) -> io::Result<TempPath> {
    let file = tempfile::NamedTempFile::new_in(folder)?.into_temp_path();
    fs::write(&file, object)?;
    Ok(file)
}

/// A pseudo-gradient that stage 1 accepted.
#[derive(Debug)]
pub struct Delivered {
    /// What it says about itself.
    pub header: Header,
    /// The content digest that the sender signed.
    pub digest: [u8; 32],
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// With its place among those in memory, which is free again when this goes.
    Here { gradient: Arc<PseudoGradient>, object: Bytes, _place: Option<Taken> },
    /// Goes when this does.
    Spooled(TempPath, Expected, Arc<Layout>),
}

impl Delivered {
    /// One that is in memory.
    pub fn here(gradient: PseudoGradient, object: Bytes) -> Self {
        let (header, digest) = (gradient.header.clone(), gradient.digest);
        Self { header, digest, held: Held::Here { gradient: Arc::new(gradient), object, _place: None } }
    }

    /// The pseudo-gradient; where it is on disk it is decoded now.
    ///
    /// # Errors
    /// What the disk says; what was on it is not what was written.
    pub fn gradient(&self) -> Result<Arc<PseudoGradient>, NodeError> {
        match &self.held {
            Held::Here { gradient, .. } => Ok(gradient.clone()),
            Held::Spooled(_, expected, layout) => {
                Ok(Arc::new(gradient::decode(&self.object()?, layout, expected, verify)?))
            }
        }
    }

    /// The object as it came.
    ///
    /// # Errors
    /// What the disk says.
    pub fn object(&self) -> Result<Bytes, NodeError> {
        match &self.held {
            Held::Here { object, .. } => Ok(object.clone()),
            Held::Spooled(file, ..) => {
                let read = fs::read(file);
                read.map(Bytes::from)
                    .map_err(|source| NodeError::File { path: file.display().to_string(), source })
            }
        }
    }

    /// Both, if they are in memory.
    pub fn in_memory(&self) -> Option<(&Arc<PseudoGradient>, &Bytes)> {
        match &self.held {
            Held::Here { gradient, object, .. } => Some((gradient, object)),
            Held::Spooled(..) => None,
        }
    }
}
