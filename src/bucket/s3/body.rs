//! The content of an object, piece by piece: no more of it and no longer than was said.

use super::S3Store;
use crate::bucket::BucketError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// An answer whose content is being read.
pub(super) struct Body {
    store: S3Store,
    key: String,
    body: ByteStream,
    /// The size, where the store stated one; a proxy may have taken it away.
    stated: Option<u64>,
    max_bytes: u64,
    /// What has come.
    had: u64,
    allowed: Duration,
    deadline: Instant,
}

impl Body {
    /// A content of at most `max_bytes`, which may take as long as the slowest accepted transfer of it: a server that trickles is
    /// cut off too.
    pub(super) fn new(
        store: S3Store,
        key: &str,
        body: ByteStream,
        stated: Option<u64>,
        max_bytes: u64,
    ) -> Self {
        let allowed = store.options.time_for(stated.unwrap_or(max_bytes));
        let deadline = Instant::now() + allowed;
        Self { store, key: key.to_owned(), body, stated, max_bytes, had: 0, allowed, deadline }
    }

    /// The next piece; `None` at the end of an object that is whole.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, BucketError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let next = timeout(left.min(self.store.options.request_timeout), self.body.next()).await;
        let at = self.store.at("read", &self.key, self.max_bytes);
        let piece = match next {
            Err(_) => return Err(at.timed_out(self.allowed)),
            Ok(Some(Err(e))) => return Err(at.unreachable(Box::new(e))),
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => {
                return match self.stated {
                    Some(stated) if stated != self.had => {
                        Err(at.bad_answer(&format!("{} bytes of {stated}", self.had)))
                    }
                    _ => Ok(None),
                };
            }
        };
        self.had += piece.len() as u64;
        if self.had > self.max_bytes {
            let (key, limit) = (self.key.clone(), self.max_bytes);
            return Err(BucketError::TooLarge { key, size: self.had, limit, exact: false });
        }
        Ok(Some(piece))
    }
}
