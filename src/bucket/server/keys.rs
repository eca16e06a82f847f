use crate::bucket::{Endpoint, OwnBucket, ReadCredential, WriteCredential, endpoint::check_account_id};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    io::Write,
    path::{Path, PathBuf},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What a key may do in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read and list.
    Read,
    /// Read, list, write and delete.
    Write,
}

/// One key of the server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The access key id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The only bucket that it reaches.
    pub bucket: String,
    /// What it may do there.
    #[zeroize(skip)]
    pub access: Access,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AccessKey");
        shown.field("bucket", &self.bucket).field("access", &self.access).finish_non_exhaustive()
    }
}

/// The keys of a server, and its file: `{"keys": [{"access_key", "secret_key", "bucket", "access"}]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// One for each key.
    pub keys: Vec<AccessKey>,
}

/// The two keys of a new bucket.
#[derive(Debug, Clone)]
pub struct BucketKeys {
    /// What the owner commits on chain.
    pub read: ReadCredential,
    /// What the owner keeps.
    pub write: WriteCredential,
}

/// Why a server's keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be read or written.
    #[error("cannot {action} the keys file {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("the keys file {} can be read by other users", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file is no keys file. The text of the error is left out: it may quote a secret.
    #[error("the keys file {} is malformed at line {line}, column {column}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A key makes no sense.
    #[error("the key number {number} {problem}")]
    Key {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes")]
    Random,
}

impl KeysError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "Check that the file is there and that this user may use it.",
            Self::Exposed { .. } => "Make it private: chmod 600.",
            Self::Malformed { .. } | Self::Key { .. } => {
                r#"Write {"keys": [{"access_key": "...", "secret_key": "...", "bucket": "...", "access": "read" or "write"}]}."#
            }
            Self::Random => "Try again; if it stays so, the system is broken.",
        }
    }
}

impl BucketKeys {
    /// Draws a bucket name and two keys from the system's randomness, in the form of R2's.
    pub fn generate() -> Result<Self, KeysError> {
        let account_id = random_hex(16)?;
        let malformed = |_| KeysError::Random;
        let (id, secret) = (random_hex(16)?, random_hex(32)?);
        let read = ReadCredential::new(&account_id, &id, &secret).map_err(malformed)?;
        let (id, secret) = (random_hex(16)?, random_hex(32)?);
        let write = WriteCredential::new(&account_id, &id, &secret).map_err(malformed)?;
        Ok(Self { read, write })
    }

    /// The bucket as its owner sees it, on a server at `endpoint`.
    pub fn own(&self, endpoint: Endpoint) -> OwnBucket {
        OwnBucket { read: self.read.clone(), write: self.write.clone(), endpoint }
    }
}

fn random_hex(bytes: usize) -> Result<Zeroizing<String>, KeysError> {
    let mut drawn = Zeroizing::new(vec![0; bytes]);
    OsRng.try_fill_bytes(&mut drawn).map_err(|_| KeysError::Random)?;
    Ok(Zeroizing::new(hex::encode(&*drawn)))
}

impl Keys {
    /// Adds both keys of a bucket.
    pub fn add(&mut self, bucket: &BucketKeys) {
        let key = |id: &str, secret: &str, bucket: &str, access| AccessKey {
            access_key: id.to_owned(),
            secret_key: secret.to_owned(),
            bucket: bucket.to_owned(),
            access,
        };
        let (read, write) = (&bucket.read, &bucket.write);
        self.keys.push(key(read.access_key_id(), read.secret(), read.account_id(), Access::Read));
        self.keys.push(key(write.access_key_id(), write.secret(), write.account_id(), Access::Write));
    }

    /// The names of the buckets that there is a key for.
    pub fn buckets(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|key| key.bucket.as_str()).collect()
    }

    /// Reads a keys file, which no other user may be able to read.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let fail = |source| KeysError::File { action: "read", path: path.to_owned(), source };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(KeysError::Exposed { path: path.to_owned() });
            }
        }
        let text = Zeroizing::new(std::fs::read(path).map_err(fail)?);
        let keys: Self = serde_json::from_slice(&text).map_err(|e| KeysError::Malformed {
            path: path.to_owned(),
            line: e.line(),
            column: e.column(),
        })?;
        keys.check()?;
        Ok(keys)
    }

    /// Writes a keys file that only this user can read, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), KeysError> {
        let fail =
            |source: std::io::Error| KeysError::File { action: "write", path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let text = serde_json::to_vec_pretty(self).map_err(|e| fail(e.into()))?;
        let text = Zeroizing::new(text);
        // Such a file is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(fail)?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(path).map(drop).map_err(|e| fail(e.error))
    }

    /// Checks that every key can be used and that no id is given twice.
    pub fn check(&self) -> Result<(), KeysError> {
        let mut seen = HashSet::new();
        for (number, key) in (1..).zip(&self.keys) {
            let fail = |problem| Err(KeysError::Key { number, problem });
            if check_account_id(&key.bucket).is_err() {
                return fail("has a bucket name that is not 3 to 63 of a-z, 0-9 and -");
            }
            if WriteCredential::new(&key.bucket, &key.access_key, &key.secret_key).is_err() {
                return fail("has an empty or malformed access key id or secret");
            }
            if !seen.insert(&key.access_key) {
                return fail("has an access key id that another one has too");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let bucket = BucketKeys::generate().unwrap();
        let mut keys = Keys::default();
        keys.add(&bucket);
        keys.write(&path).unwrap();
        assert_eq!(Keys::read(&path).unwrap(), keys);
        assert_eq!(keys.buckets().into_iter().collect::<Vec<_>>(), [bucket.read.account_id()]);
        let shown = format!("{keys:?}");
        assert!(!shown.contains(bucket.write.secret()) && !shown.contains(bucket.read.secret()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(Keys::read(&path), Err(KeysError::Exposed { .. })));
        }
    }

    #[test]
    fn malformed_keys_are_refused_without_quoting_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let mut file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
        file.write_all(br#"{"keys": [{"access_key": "a", "secret_key": "topsecret", "bucket": 7}]}"#)
            .unwrap();
        file.persist(&path).unwrap();
        let error = Keys::read(&path).unwrap_err();
        assert!(matches!(error, KeysError::Malformed { .. }));
        assert!(!format!("{error} {error:?}").contains("topsecret"));

        let mut keys = Keys::default();
        keys.add(&BucketKeys::generate().unwrap());
        keys.keys[1].bucket = "../other".into();
        assert!(matches!(keys.check(), Err(KeysError::Key { number: 2, .. })));
        let mut keys = Keys::default();
        keys.add(&BucketKeys::generate().unwrap());
        keys.keys[1].access_key = keys.keys[0].access_key.clone();
        assert!(matches!(keys.check(), Err(KeysError::Key { number: 2, .. })));
    }
}
