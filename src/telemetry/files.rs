//! Files that are either the old or the new one, never half of one.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

thread_local! {
    static PRETENDED: Cell<bool> = const { Cell::new(false) };
}

/// Lets everything that this thread writes with this module or into a score log fail as on a full disk, or no more: for simulations.
pub fn pretend_full_disk(full: bool) {
    PRETENDED.set(full);
}

/// Fails where the disk is full on purpose.
pub(super) fn has_room() -> io::Result<()> {
    if PRETENDED.get() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

/// Replaces a file: writes `bytes` to a new file beside it, waits until they are on disk, and renames it.
/// Whoever reads the path, and whatever happens to the machine, finds the old bytes or the new ones.
///
/// # Errors
///
/// What the system said; the old file is untouched then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |beside| {
        let mut file = File::create(beside)?;
        file.write_all(bytes)?;
        file.sync_all()
    })
}

/// As [`write_atomic`], for what can only be written by giving a path away. The path that `write` gets
/// has the same extension.
///
/// # Errors
///
/// What `write` or the system said; the old file is untouched then.
pub fn replace<E: From<io::Error>>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    has_room()?;
    let beside = beside(path)?;
    let written = write(&beside).and_then(|()| Ok(fs::rename(&beside, path)?));
    if written.is_err() {
        // There may be nothing to remove.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The rename itself is on disk once the folder is. Not every system can open a folder.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A path in the same folder that no other process writes: `.name.PID.ext`.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let stem = path
        .file_stem()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut name = std::ffi::OsString::from(".");
    name.push(stem);
    name.push(format!(".{}", std::process::id()));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_bytes_replace_the_old_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let failed: io::Result<()> = replace(&path, |beside| {
            fs::write(beside, b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(&folder.path().join("no/such/folder"), b"x").is_err());
        assert!(write_atomic(Path::new("/"), b"x").is_err());
        pretend_full_disk(true);
        let full = write_atomic(&path, b"three").unwrap_err();
        pretend_full_disk(false);
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
