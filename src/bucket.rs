//! Object storage: where pseudo-gradients, round records, checkpoints and score logs are published.
//!
//! [`Store`] is the door: one bucket, a few operations, bounded reads. [`S3Store`] speaks to Cloudflare R2
//! and any other S3, [`MemoryStore`] is for tests and simulations, and [`server`] is an S3 server inside
//! this program. [`conformance`] holds what is true of all of them.
//!
//! A bucket belongs to a hotkey: its *read* credential is public, committed on chain
//! ([`ReadCredential`]), its *write* credential ([`WriteCredential`]) never leaves the owner.
//! Nothing that comes out of a bucket is trusted: a read says how many bytes it will take at most.

mod credential;
mod endpoint;
mod error;
mod fetch;
mod memory;
mod named;
mod own;
mod s3;

pub mod conformance;
pub mod keys;
pub mod server;

pub use credential::{CredentialError, ReadCredential, WriteCredential};
pub use endpoint::{Endpoint, EndpointError};
pub use error::BucketError;
pub use fetch::{FetchError, fetch_in_put_window};
pub use memory::{Clock, MemoryStore, system_clock};
pub use named::{NamedBucket, NamedBucketError};
pub use own::{OwnBucket, OwnBucketError};
pub use s3::{Connections, S3Options, S3Store};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use md5::{Digest, Md5};

/// What a store says about an object without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Bytes, as the store states them.
    pub size: u64,
    /// The store's `Last-Modified`: seconds since the Unix epoch, fraction cut off.
    pub last_modified_s: u64,
    /// The store's tag of this content, without quotes. Changes when the object is replaced.
    pub etag: Option<String>,
}

impl ObjectInfo {
    /// Whether the object surely is these bytes: its tag is their MD5, as S3 gives it to what came in one request. Any other tag says
    /// nothing.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.size == bytes.len() as u64 && self.etag.as_deref() == Some(&hex::encode(Md5::digest(bytes)))
    }

    /// Whether the object was uploaded in parts.
    ///
    /// S3 gives such an object the tag `<hash>-<number of parts>`, and may date it by the *start* of the
    /// upload: its time stamp then does not prove that the content existed at that time.
    pub fn uploaded_in_parts(&self) -> bool {
        let tail = self.etag.as_deref().and_then(|tag| tag.rsplit_once('-')).map(|(_, parts)| parts);
        tail.is_some_and(|parts| !parts.is_empty() && parts.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// An object that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// What the store said about exactly these bytes, in the answer that carried them.
    pub info: ObjectInfo,
}

/// An object that is read piece by piece, so that it need not be in memory.
pub struct Pieces {
    /// What the store said about it before its content.
    pub info: ObjectInfo,
    /// The content in order, not more than was allowed. It ends without an error where it is as long as the store said.
    pub content: BoxStream<'static, Result<Bytes, BucketError>>,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("info", &self.info).finish_non_exhaustive()
    }
}

/// One bucket.
///
/// Every implementation passes [`conformance::check`]. Keys follow [`check_key`]; no key may be the parent of
/// another (`a` and `a/b`), because a store may keep objects as files.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// The bucket's name.
    fn bucket(&self) -> &str;

    /// Writes an object, whole or not at all; a reader never sees half of it.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError>;

    /// Looks at an object; `None` where there is none.
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError>;

    /// Reads an object of at most `max_bytes`.
    ///
    /// An object that the store itself calls larger is refused before its content is read
    /// ([`BucketError::TooLarge`]); one that turns out larger than the store said is cut off there.
    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError>;

    /// As [`Self::get`], for an object that is too large to be held in memory. What breaks off is not tried again: the caller has
    /// seen the first half.
    async fn read(&self, key: &str, max_bytes: u64) -> Result<Pieces, BucketError> {
        let Object { bytes, info } = self.get(key, max_bytes).await?;
        Ok(Pieces { info, content: stream::once(async { Ok(bytes) }).boxed() })
    }

    /// Reads `length` bytes of an object from `start` on: so many, or it is an error.
    async fn get_range(&self, key: &str, start: u64, length: u64) -> Result<Bytes, BucketError> {
        let not_found = || BucketError::NotFound { bucket: self.bucket().to_owned(), key: key.to_owned() };
        let size = self.head(key).await?.ok_or_else(not_found)?.size;
        let object = self.get(key, size).await?;
        let end = start.checked_add(length).filter(|end| *end <= object.bytes.len() as u64);
        let end = end.ok_or_else(|| BucketError::BadAnswer {
            endpoint: self.bucket().to_owned(),
            problem: format!("`{key}` has no {length} bytes from {start} on"),
        })?;
        Ok(object.bytes.slice(start as usize..end as usize))
    }

    /// Keys that start with `prefix` and come after `after` (empty: from the start), in ascending order
    /// of their bytes, `limit` at most.
    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, BucketError>;

    /// The first `limit` keys that start with `prefix`, in ascending order.
    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        self.list_after(prefix, "", limit).await
    }

    /// Removes an object; it is no error if there is none.
    async fn delete(&self, key: &str) -> Result<(), BucketError>;
}

/// Longest key that is accepted, in bytes.
///
/// The embedded server keeps its notes on an object in a file whose name holds the bucket and the key in
/// base64; with a bucket name of 32 characters this length still fits the 255 bytes of a file name.
pub const MAX_KEY_BYTES: usize = 128;

/// Checks an object's key: 1 to [`MAX_KEY_BYTES`] characters `A-Z a-z 0-9 . _ - /`, of which no part
/// between slashes is empty, `.` or `..`.
///
/// Stricter than S3: such keys mean the same on every store, also on one that keeps objects as files.
pub fn check_key(key: &str) -> Result<(), BucketError> {
    let problem = if key.is_empty() {
        "is empty"
    } else if key.len() > MAX_KEY_BYTES {
        "is longer than 128 characters"
    } else if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) {
        "has characters other than A-Z a-z 0-9 . _ - /"
    } else if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "has an empty part, `.` or `..` between slashes"
    } else {
        return Ok(());
    };
    Err(BucketError::BadName { name: printable(key, 160), problem })
}

/// A stranger's text, made safe for a terminal and a log: what is not printable ASCII becomes `?`, and
/// what is longer than `limit` characters is cut.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut out: String = text.chars().take(limit).map(safe).collect();
    if text.chars().nth(limit).is_some() {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_their_bucket_are_refused() {
        for key in
            ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a b", "ä", "a\nb", &"k".repeat(129)]
        {
            assert!(matches!(check_key(key), Err(BucketError::BadName { .. })), "{key:?}");
        }
        for key in ["a", "run/gradient/0000000001.safetensors", "a..b", ".hidden", &"k".repeat(128)] {
            check_key(key).unwrap();
        }
    }

    #[test]
    fn parts_show_in_the_tag() {
        let tagged =
            |tag: Option<&str>| ObjectInfo { size: 1, last_modified_s: 1, etag: tag.map(str::to_owned) };
        assert!(tagged(Some("d41d8cd98f00b204e9800998ecf8427e-2")).uploaded_in_parts());
        assert!(!tagged(Some("d41d8cd98f00b204e9800998ecf8427e")).uploaded_in_parts());
        assert!(!tagged(Some("abc-")).uploaded_in_parts());
        assert!(!tagged(None).uploaded_in_parts());
    }

    #[test]
    fn a_strangers_text_cannot_drive_a_terminal() {
        assert_eq!(printable("a\x1b[31mb\n", 99), "a?[31mb?");
        assert_eq!(printable("abcdef", 3), "abc...");
    }
}
