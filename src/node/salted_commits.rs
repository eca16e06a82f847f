//! Salted weight commits on disk, until their time is over.

use super::NodeError;
use crate::{
    chain::{CommitBook, SaltedCommit},
    telemetry::files,
    window::Block,
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A file of salted commits. Several processes may use it; each change is whole, and on disk when it returns.
#[derive(Debug, Clone)]
pub struct CommitFile {
    path: PathBuf,
}

impl CommitFile {
    /// The file; it need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; nothing if it is not there.
    ///
    /// # Errors
    /// [`NodeError::File`] if it cannot be read or holds something else: it may be the only place of a salt, so it is never taken for empty.
    pub fn read(&self) -> Result<Vec<SaltedCommit>, NodeError> {
        read(&self.path).map_err(|source| self.failed(source))
    }

    /// Reads, changes and replaces the file, while nobody else does.
    fn change(&self, change: impl FnOnce(&mut Vec<SaltedCommit>)) -> Result<(), String> {
        let changed = || -> io::Result<()> {
            let mut lock = self.path.as_os_str().to_owned();
            lock.push(".lock");
            let lock = File::options().create(true).truncate(false).write(true).open(lock)?;
            lock.lock()?;
            let before = read(&self.path)?;
            let mut commits = before.clone();
            change(&mut commits);
            if commits != before {
                write(&self.path, &commits)?;
            }
            Ok(())
        };
        changed().map_err(|error| format!("cannot use {}: {error}", self.path.display()))
    }

    fn failed(&self, source: io::Error) -> NodeError {
        NodeError::File { path: self.path.display().to_string(), source }
    }
}

impl CommitBook for CommitFile {
    fn intend(&self, commit: &SaltedCommit) -> Result<(), String> {
        self.change(|commits| commits.push(commit.clone()))
    }

    fn confirm(&self, hash: &[u8; 32], block: Block) -> Result<(), String> {
        self.change(|commits| {
            commits.iter_mut().filter(|c| c.hash == *hash).for_each(|commit| commit.block = Some(block));
        })
    }

    fn forget(&self, hash: &[u8; 32]) -> Result<(), String> {
        self.change(|commits| commits.retain(|commit| commit.hash != *hash))
    }
}

fn read(path: &Path) -> io::Result<Vec<SaltedCommit>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Replaces the file in one step. Only its owner can read it: whoever has a salt can reveal the weights.
fn write(path: &Path, commits: &[SaltedCommit]) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(commits)?;
    files::replace(path, |beside| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(beside)?;
        file.write_all(&text)?;
        file.sync_all()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chain::WeightsRequest, wallet::Keypair};

    fn commit(salt: u16) -> SaltedCommit {
        let request = WeightsRequest { netuid: 3, mechanism: 0, weights: vec![(1, 65535)], version_key: 1 };
        SaltedCommit {
            request,
            salt: vec![salt],
            hash: [salt as u8; 32],
            hotkey: Some(Keypair::from_uri("//Alice").unwrap().account()),
            genesis: Some([7; 32]),
            block: None,
            until: Some(90),
            hotkeys: Vec::new(),
        }
    }

    #[test]
    fn what_is_intended_is_on_disk_and_a_damaged_file_is_never_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits.json");
        let file = CommitFile::new(&path);
        assert_eq!(file.read().unwrap(), []);
        file.intend(&commit(1)).unwrap();
        file.intend(&commit(2)).unwrap();
        file.confirm(&[1; 32], 77).unwrap();
        file.forget(&[9; 32]).unwrap();
        let kept = CommitFile::new(&path).read().unwrap();
        assert_eq!(kept, [SaltedCommit { block: Some(77), ..commit(1) }, commit(2)]);
        file.forget(&[1; 32]).unwrap();
        assert_eq!(file.read().unwrap(), [commit(2)]);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&path, "[{\"salt\": [1").unwrap();
        assert!(file.read().is_err() && file.intend(&commit(3)).is_err() && file.forget(&[2; 32]).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "[{\"salt\": [1");
        // Nowhere to write.
        let nowhere = CommitFile::new(folder.path().join("no/such/folder.json"));
        assert!(nowhere.intend(&commit(1)).unwrap_err().contains("no/such/folder.json"));
    }

    #[test]
    fn files_of_before_are_read() {
        let old = r#"[{"request":{"netuid":3,"weights":[[1,65535]],"version_key":1},"salt":[5],
            "hash":"0505050505050505050505050505050505050505050505050505050505050505","block":70}]"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits.json");
        fs::write(&path, old).unwrap();
        let read = CommitFile::new(&path).read().unwrap();
        assert_eq!((read[0].block, &read[0].hotkey, read[0].genesis), (Some(70), &None, None));
    }

    #[test]
    fn many_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = CommitFile::new(folder.path().join("commits.json"));
        std::thread::scope(|scope| {
            for salt in 0..8 {
                let file = file.clone();
                scope.spawn(move || file.intend(&commit(salt)).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().len(), 8);
    }
}
