//! Salted weight commits on disk, until they are revealed.

use super::NodeError;
use crate::{chain::SaltedCommit, telemetry::files};
use std::{fs, io, io::Write as _, path::Path};

/// Commits that wait, from a file; none if it is not there.
///
/// # Errors
/// [`NodeError::File`] if it cannot be read or holds something else.
pub fn read(path: &Path) -> Result<Vec<SaltedCommit>, NodeError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| failed(path, e.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(failed(path, e)),
    }
}

/// Replaces the file in one step, which is on disk when this returns. Only its owner can read it: whoever has a salt
/// can reveal the weights.
///
/// # Errors
/// [`NodeError::File`] if it cannot be written; the old file is untouched then.
pub fn write(path: &Path, commits: &[SaltedCommit]) -> Result<(), NodeError> {
    let text = serde_json::to_vec_pretty(commits).map_err(|e| failed(path, e.into()))?;
    let written = files::replace(path, |beside| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(beside)?;
        file.write_all(&text)?;
        file.sync_all()
    });
    written.map_err(|e: io::Error| failed(path, e))
}

fn failed(path: &Path, source: io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}
