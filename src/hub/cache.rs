//! The cache of Hugging Face's tools: `models--OWNER--NAME/` with `blobs/` by hash, `snapshots/COMMIT/` of links to them, and
//! `refs/` from branches to commits.

use super::{HubError, Repo};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// A repository's folder in the cache.
#[derive(Debug, Clone)]
pub(super) struct RepoCache(PathBuf);

fn disk(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HubError {
    let path = path.to_owned();
    move |source| HubError::Disk { verb, path, source }
}

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &Repo) -> Self {
        Self(cache.join(format!("{}--{}", repo.plural(), repo.id.replace('/', "--"))))
    }

    /// The commit that a revision was when it was last asked for.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join("refs").join(revision)).ok()?;
        let commit = text.trim();
        is_hash(commit).then(|| commit.to_owned())
    }

    pub(super) fn remember(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.0.join("refs").join(revision);
        // A revision may have a slash.
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(disk("write", folder))?;
        crate::telemetry::files::write_atomic(&path, commit.as_bytes()).map_err(disk("write", &path))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.0.join("snapshots").join(commit)
    }

    /// Where a file's content goes. `hash` is one of the Hub's, checked to be one.
    pub(super) fn blob(&self, hash: &str) -> PathBuf {
        self.0.join("blobs").join(hash)
    }

    pub(super) fn make_blobs(&self) -> Result<(), HubError> {
        let folder = self.0.join("blobs");
        fs::create_dir_all(&folder).map_err(disk("write", &folder))
    }

    /// Makes a file of a snapshot lead to its blob.
    pub(super) fn link(&self, commit: &str, file: &str, hash: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        let up = "../".repeat(1 + file.split('/').count());
        let target = PathBuf::from(format!("{up}blobs/{hash}"));
        if path.exists() && fs::read_link(&path).is_ok_and(|found| found == target) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(disk("write", folder))?;
        // It leads to a blob that was removed, or to another than the repository names now.
        let _ = fs::remove_file(&path);
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(&target, &path);
        #[cfg(not(unix))]
        let linked = fs::hard_link(self.blob(hash), &path).map(|()| drop(target));
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(disk("write", &path)(error)),
            _ => Ok(()),
        }
    }
}

/// Whether a text is a hash of the Hub: 40 or 64 hexadecimal digits.
pub(super) fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a file's name stays inside its repository.
pub(super) fn is_inside(name: &str) -> bool {
    let plain = |part| matches!(part, Component::Normal(_));
    !name.is_empty()
        && !name.contains('\\')
        && !name.contains('\0')
        && !name.contains("//")
        && Path::new(name).components().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_out() {
        for good in ["config.json", "a/b.json", "..a", "a..b/c"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "./a", "a\\b", "a\0", "a//b", "C:\\x"] {
            assert!(!is_inside(bad), "{bad}");
        }
        assert!(is_hash(&"a1".repeat(20)) && is_hash(&"0".repeat(64)));
        assert!(!is_hash("abc") && !is_hash(&"g".repeat(40)) && !is_hash(&"../".repeat(20)[..40]));
    }

    #[test]
    fn snapshots_lead_to_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let repo: Repo = "hf:o/n".parse().unwrap();
        let cache = RepoCache::new(folder.path(), &repo);
        cache.make_blobs().unwrap();
        let hash = "b".repeat(40);
        fs::write(cache.blob(&hash), "content").unwrap();
        let commit = "c".repeat(40);
        for file in ["one.json", "deep/er/two.json"] {
            cache.link(&commit, file, &hash).unwrap();
            cache.link(&commit, file, &hash).unwrap();
            let path = folder.path().join("models--o--n/snapshots").join(&commit).join(file);
            assert_eq!(fs::read_to_string(path).unwrap(), "content");
        }
        // A link to another blob is made anew.
        let other = "d".repeat(40);
        fs::write(cache.blob(&other), "other").unwrap();
        cache.link(&commit, "one.json", &other).unwrap();
        assert_eq!(fs::read_to_string(cache.snapshot(&commit).join("one.json")).unwrap(), "other");
        cache.remember("main", &commit).unwrap();
        assert_eq!(cache.commit_of("main"), Some(commit));
        assert_eq!(cache.commit_of("other"), None);
    }
}
