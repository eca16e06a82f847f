//! The checkpoints on a node's own disk: a folder for each, whole once it has its record.

use super::{CheckpointError, Form, RECORD_FILE};
use crate::{
    round::{self, CheckpointRecord},
    telemetry::files::write_atomic,
    wallet::{AccountId, Keypair},
    window::Window,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// Says of a whole checkpoint that the node's bucket has it.
const PUBLISHED_FILE: &str = "published";
/// Windows have this many digits in a folder's name.
const DIGITS: usize = 10;

/// What a checkpoint is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Hash of the run manifest, hex.
    pub run: String,
    /// The last window whose round the model contains.
    pub window: Window,
    /// Steps taken.
    pub round: u64,
    /// Hash of the model, hex.
    pub model: String,
}

/// A folder of checkpoints that this node wrote.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
    form: Form,
}

impl Shelf {
    /// A folder of the node's own. What a crash left half written goes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(dir: PathBuf, form: Form) -> Result<Self, CheckpointError> {
        fs::create_dir_all(&dir).map_err(|source| failed(&dir, source))?;
        let shelf = Self { dir, form };
        for window in shelf.folders()? {
            if !shelf.folder(window).join(RECORD_FILE).is_file() {
                shelf.remove(window)?;
            }
        }
        Ok(shelf)
    }

    /// Where the checkpoint of a window lies.
    pub fn folder(&self, window: Window) -> PathBuf {
        self.dir.join(format!("{window:010}"))
    }

    /// How a checkpoint is cut.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Writes a checkpoint: its files, and when all of them are on disk the signed record that makes it one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(
        &self,
        stand: Stand,
        parameters: &[(String, Tensor)],
        signer: &Keypair,
    ) -> Result<(), CheckpointError> {
        let Stand { run, window, round, model } = stand;
        let folder = self.folder(window);
        // One of the same window may be there: of a model that turned out not to be the run's.
        self.remove(window)?;
        fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
        let files = self.form.write(&folder, parameters)?;
        let record = round::sign(&CheckpointRecord { run, window, round, model, files }, signer)?;
        let path = folder.join(RECORD_FILE);
        write_atomic(&path, &record).map_err(|source| failed(&path, source))
    }

    /// Windows of whole checkpoints, ascending.
    ///
    /// # Errors
    /// What the disk says.
    pub fn windows(&self) -> Result<Vec<Window>, CheckpointError> {
        let mut windows = self.folders()?;
        windows.retain(|window| self.folder(*window).join(RECORD_FILE).is_file());
        windows.sort_unstable();
        Ok(windows)
    }

    /// The record of a whole checkpoint, and the bytes that were signed.
    ///
    /// # Errors
    /// What the disk says; a record that is not this node's, or not of this run's form.
    pub fn record(
        &self,
        window: Window,
        signer: &AccountId,
    ) -> Result<(CheckpointRecord, Vec<u8>), CheckpointError> {
        let path = self.folder(window).join(RECORD_FILE);
        let signed = fs::read(&path).map_err(|source| failed(&path, source))?;
        let record: CheckpointRecord = round::open(&signed, signer)?;
        self.form.check(&record)?;
        Ok((record, signed))
    }

    /// Whether the node's bucket has it.
    pub fn is_published(&self, window: Window) -> bool {
        self.folder(window).join(PUBLISHED_FILE).is_file()
    }

    /// Notes that the node's bucket has it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set_published(&self, window: Window) -> Result<(), CheckpointError> {
        let path = self.folder(window).join(PUBLISHED_FILE);
        write_atomic(&path, b"").map_err(|source| failed(&path, source))
    }

    /// Removes a checkpoint, its record first: what is left of it after a crash is not one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self, window: Window) -> Result<(), CheckpointError> {
        let folder = self.folder(window);
        for path in [folder.join(RECORD_FILE), folder] {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(source) = removed
                && source.kind() != io::ErrorKind::NotFound
            {
                return Err(failed(&path, source));
            }
        }
        Ok(())
    }

    /// Windows that have a folder; other entries are not the shelf's.
    fn folders(&self) -> Result<Vec<Window>, CheckpointError> {
        let entries = fs::read_dir(&self.dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let entries = entries.map_err(|source| failed(&self.dir, source))?;
        let window = |name: &str| {
            let digits = name.len() >= DIGITS && name.bytes().all(|b| b.is_ascii_digit());
            let window = digits.then(|| name.parse::<Window>().ok()).flatten()?;
            (format!("{window:010}") == name).then_some(window)
        };
        Ok(entries.iter().filter_map(|entry| window(entry.file_name().to_str()?)).collect())
    }
}

pub(super) fn failed(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::File { path: path.display().to_string(), source }
}
