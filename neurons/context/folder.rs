//! A node's state folder: one process at a time, in a form that the program knows.

use crate::cli::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
};
use templar::telemetry::files::write_atomic;

/// The form of everything in the folder. A program that changes what an older one would misread or cut counts it up.
const FORMAT: u32 = 1;
/// Says the form. A newer program may add fields of its own.
const FORMAT_FILE: &str = "format.json";
/// Locked by the process that uses the folder; empty, and never removed, because a lock is on the file and not on its name.
const LOCK_FILE: &str = "lock";

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// A state folder that belongs to this process for as long as this lives: the system lets go of the lock when the process ends,
/// however that ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and takes it. One that has files and says no form is of a time before there were forms: it
    /// is the first one, and is taken up.
    ///
    /// # Errors
    /// Another process has it, a newer program wrote it, or the disk says no. Nothing in it was touched then.
    pub fn take(path: PathBuf) -> Result<Self, Failure> {
        let failed = |what: &str, e: std::io::Error| {
            Failure::new(Exit::Storage, format!("cannot {what} the folder {}: {e}", path.display()))
                .hint("check the disk, or name another folder with --dir")
        };
        std::fs::create_dir_all(&path).map_err(|e| failed("make", e))?;
        // Before the lock, so that not even its file is made in a folder of another form.
        known(&path)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK_FILE));
        let lock = lock.map_err(|e| failed("lock", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    Exit::InUse,
                    format!("another process uses the folder {}", path.display()),
                )
                .hint("stop that one first, or give this one a folder of its own with --dir"));
            }
            Err(TryLockError::Error(e)) => return Err(failed("lock", e)),
        }
        // It may have been made meanwhile.
        if !known(&path)? {
            let text =
                serde_json::to_vec(&Format { format: FORMAT }).map_err(|e| failed("describe", e.into()))?;
            write_atomic(&path.join(FORMAT_FILE), &text).map_err(|e| failed("write into", e))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a folder says its form; an error where that is not this program's.
fn known(path: &Path) -> Result<bool, Failure> {
    let (file, folder) = (path.join(FORMAT_FILE), path.display());
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => {
            return Err(Failure::new(Exit::Storage, format!("cannot read {}: {e}", file.display()))
                .hint("check the disk, or name another folder with --dir"));
        }
    };
    match serde_json::from_slice::<Format>(&text) {
        Ok(Format { format: FORMAT }) => Ok(true),
        Ok(Format { format }) => Err(Failure::new(
            Exit::Data,
            format!("the folder {folder} has format {format}, and this program knows {FORMAT} only"),
        )
        .hint("start the program that wrote it, or name another folder with --dir; nothing in it was touched")),
        Err(e) => Err(Failure::new(Exit::Data, format!("{} does not say a format: {e}", file.display()))
            .hint(format!("where it is damaged, write {{\"format\":{FORMAT}}} into it; else name another folder with --dir"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/for/it");
        let first = Folder::take(path.clone()).unwrap();
        let refused = Folder::take(path.clone()).unwrap_err();
        assert_eq!(refused.exit(), Exit::InUse);
        assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
        assert_eq!(std::fs::read_to_string(path.join(FORMAT_FILE)).unwrap(), r#"{"format":1}"#);
        drop(first);
        assert_eq!(Folder::take(path.clone()).unwrap().path(), path);
    }

    #[test]
    fn a_folder_of_a_newer_program_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        for text in [r#"{"format":2,"more":true}"#, "not a word"] {
            std::fs::write(dir.path().join(FORMAT_FILE), text).unwrap();
            let refused = Folder::take(dir.path().to_owned()).unwrap_err();
            assert_eq!(refused.exit(), Exit::Data, "{refused}");
            assert_eq!(names(dir.path()), [FORMAT_FILE]);
            assert_eq!(std::fs::read_to_string(dir.path().join(FORMAT_FILE)).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_from_before_there_were_formats_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("validator.json"), "{}").unwrap();
        drop(Folder::take(dir.path().to_owned()).unwrap());
        assert_eq!(names(dir.path()), [FORMAT_FILE, LOCK_FILE, "validator.json"]);
        assert_eq!(std::fs::read_to_string(dir.path().join("validator.json")).unwrap(), "{}");
        Folder::take(dir.path().to_owned()).unwrap();
    }
}
