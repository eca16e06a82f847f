//! How far a preparation came: a small file beside the shards, replaced as a whole.

use super::documents::{LeftOut, Position};
use crate::{
    data::{DataError, format::Shard},
    telemetry::files::write_atomic,
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The journal's file.
const NAME: &str = "prepare.json";

/// Everything that going on needs. What it says is on disk when it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Hash of what is prepared and how: another preparation does not go on with this one.
    pub settings: String,
    /// Shards that are whole.
    pub shards: Vec<Shard>,
    /// Tokens of the next one.
    pub tokens: u64,
    /// The first document that is not in them.
    pub next: Position,
    pub documents: u64,
    pub left_out: LeftOut,
    pub text_bytes: u64,
}

impl Journal {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// The journal of an earlier start of the same preparation, or a new one.
    pub fn open(dir: &Path, settings: &str) -> Result<Self, DataError> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { settings: settings.to_owned(), ..Self::default() });
            }
            Err(source) => return Err(DataError::File { action: "read", path, source }),
        };
        let journal: Self = serde_json::from_slice(&bytes)
            .map_err(|e| DataError::Differs { path: path.clone(), problem: e.to_string() })?;
        if journal.settings != settings {
            return Err(DataError::OtherPreparation { path: dir.to_owned() });
        }
        Ok(journal)
    }

    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
        let path = Self::path(dir);
        let bytes = serde_json::to_vec(self).map_err(|e| io::Error::other(e.to_string()));
        let written = bytes.and_then(|bytes| write_atomic(&path, &bytes));
        written.map_err(|source| DataError::File { action: "write", path, source })
    }

    /// There is nothing to go on with any more.
    pub fn remove(dir: &Path) -> Result<(), DataError> {
        let path = Self::path(dir);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DataError::File { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}
