use super::{BucketError, Object, ObjectInfo, Store};
use crate::window::{PutWindow, Timing};

/// Why an object does not count as uploaded in its put window.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It came before the put window opened.
    #[error("uploaded {seconds} s before the put window opened")]
    Early {
        /// Whole seconds.
        seconds: u64,
    },
    /// It came after the put window closed.
    #[error("uploaded {seconds} s after the put window closed")]
    Late {
        /// Whole seconds.
        seconds: u64,
    },
    /// It was uploaded in parts, so its time stamp proves nothing.
    #[error("uploaded in parts, so that its time stamp may be older than its content")]
    InParts,
    /// It could not be read, or there is none.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl FetchError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Early { .. } => "Upload only when the first block of the next window has been seen.",
            Self::Late { .. } => {
                "Upload sooner after the window's end, and never twice: the store keeps the last time stamp only."
            }
            Self::InParts => "Upload a pseudo-gradient with one PUT request.",
            Self::Bucket(e) => e.hint(),
        }
    }
}

/// How often a read that found a replaced object is begun again.
const MAX_ATTEMPTS: u32 = 3;

/// Reads an object if the store says that it was uploaded inside of `put_window`.
///
/// The store is asked for the time stamp first, so that nothing is downloaded in vain. The answer that
/// carries the content is judged again: if the object was replaced in between, the read is begun again,
/// and given up as [`BucketError::Changed`] when that goes on. What is returned therefore never has
/// another time stamp than the one that was judged.
///
/// The `u64` is whole seconds between the opening second and the upload.
pub async fn fetch_in_put_window(
    store: &dyn Store,
    key: &str,
    max_bytes: u64,
    put_window: &PutWindow,
) -> Result<(Object, u64), FetchError> {
    for _ in 0..MAX_ATTEMPTS {
        let Some(seen) = store.head(key).await? else {
            let (bucket, key) = (store.bucket().to_owned(), key.to_owned());
            return Err(BucketError::NotFound { bucket, key }.into());
        };
        judge(&seen, put_window)?;
        if seen.size > max_bytes {
            let (size, limit) = (seen.size, max_bytes);
            return Err(BucketError::TooLarge { key: key.to_owned(), size, limit, exact: true }.into());
        }
        let object = store.get(key, max_bytes).await?;
        let seconds = judge(&object.info, put_window)?;
        if object.info == seen {
            return Ok((object, seconds));
        }
    }
    Err(BucketError::Changed { key: key.to_owned() }.into())
}

fn judge(info: &ObjectInfo, put_window: &PutWindow) -> Result<u64, FetchError> {
    if info.uploaded_in_parts() {
        return Err(FetchError::InParts);
    }
    match put_window.judge(info.last_modified_s) {
        Timing::OnTime { seconds } => Ok(seconds),
        Timing::Early { seconds } => Err(FetchError::Early { seconds }),
        Timing::Late { seconds } => Err(FetchError::Late { seconds }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::MemoryStore;
    use async_trait::async_trait;
    use bytes::Bytes;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    const KEY: &str = "run/gradient/0000000001.safetensors";

    fn clocked() -> (MemoryStore, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(0));
        let clock = now.clone();
        (MemoryStore::new("bucket", Arc::new(move || clock.load(Ordering::SeqCst))), now)
    }

    #[tokio::test]
    async fn both_edges_count_and_nothing_beyond() {
        let (store, now) = clocked();
        // Opens at 100.700 s, closes at 104.700 s: the seconds 100 to 104 count.
        let put_window = PutWindow { open_ms: 100_700, close_ms: 104_700 };
        let mut verdicts = Vec::new();
        for uploaded_ms in [99_999, 100_000, 100_699, 100_700, 104_700, 104_999, 105_000] {
            now.store(uploaded_ms, Ordering::SeqCst);
            store.put(KEY, Bytes::from_static(b"x")).await.unwrap();
            verdicts.push(match fetch_in_put_window(&store, KEY, 9, &put_window).await {
                Ok((_, seconds)) => format!("{seconds}"),
                Err(e) => e.to_string(),
            });
        }
        let early = "uploaded 1 s before the put window opened";
        let late = "uploaded 1 s after the put window closed";
        assert_eq!(verdicts, [early, "0", "0", "0", "4", "4", late]);
    }

    /// Replaces the object after the first so many HEADs, each time by another one, as a peer might that
    /// wants to be judged by another's time.
    #[derive(Debug)]
    struct Swapping(MemoryStore, AtomicU64, usize);

    #[async_trait]
    impl Store for Swapping {
        fn bucket(&self) -> &str {
            self.0.bucket()
        }
        async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
            self.0.put(key, bytes).await
        }
        async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
            let seen = self.0.head(key).await;
            let left = self.1.load(Ordering::SeqCst);
            if left > 0 {
                self.1.store(left - 1, Ordering::SeqCst);
                self.0.put(key, vec![left as u8; self.2].into()).await?;
            }
            seen
        }
        async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
            self.0.get(key, max_bytes).await
        }
        async fn list_after(&self, p: &str, a: &str, limit: usize) -> Result<Vec<String>, BucketError> {
            self.0.list_after(p, a, limit).await
        }
        async fn delete(&self, key: &str) -> Result<(), BucketError> {
            self.0.delete(key).await
        }
    }

    #[tokio::test]
    async fn a_swap_between_head_and_get_is_noticed() {
        let (store, now) = clocked();
        let put_window = PutWindow { open_ms: 100_000, close_ms: 104_000 };
        now.store(101_000, Ordering::SeqCst);
        store.put(KEY, Bytes::from_static(b"first")).await.unwrap();
        let swapping = |times, length| Swapping(store.clone(), AtomicU64::new(times), length);
        // In the same second only the tag tells.
        let restless = fetch_in_put_window(&swapping(9, 5), KEY, 9, &put_window).await;
        assert!(matches!(restless, Err(FetchError::Bucket(BucketError::Changed { .. }))), "{restless:?}");
        // Replaced once: what was there in the end is read.
        let (settled, _) = fetch_in_put_window(&swapping(1, 5), KEY, 9, &put_window).await.unwrap();
        assert_eq!(settled.bytes.as_ref(), [1; 5]);
        // A swap for something large is refused by the read's own limit.
        let large = fetch_in_put_window(&swapping(1, 10), KEY, 9, &put_window).await;
        let refused = matches!(
            large,
            Err(FetchError::Bucket(BucketError::TooLarge { size: 10, limit: 9, exact: true, .. }))
        );
        assert!(refused, "{large:?}");
        // After the close, what was read is late, whatever HEAD said.
        store.put(KEY, Bytes::from_static(b"first")).await.unwrap();
        now.store(109_000, Ordering::SeqCst);
        let late = fetch_in_put_window(&swapping(1, 5), KEY, 9, &put_window).await;
        assert!(matches!(late, Err(FetchError::Late { seconds: 5 })), "{late:?}");
    }

    /// Gives every object the tag of an upload in two parts.
    #[derive(Debug)]
    struct Parts(MemoryStore);

    #[async_trait]
    impl Store for Parts {
        fn bucket(&self) -> &str {
            self.0.bucket()
        }
        async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
            self.0.put(key, bytes).await
        }
        async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
            Ok(self.0.head(key).await?.map(|info| ObjectInfo { etag: Some("abc-2".into()), ..info }))
        }
        async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
            self.0.get(key, max_bytes).await
        }
        async fn list_after(&self, p: &str, a: &str, limit: usize) -> Result<Vec<String>, BucketError> {
            self.0.list_after(p, a, limit).await
        }
        async fn delete(&self, key: &str) -> Result<(), BucketError> {
            self.0.delete(key).await
        }
    }

    #[tokio::test]
    async fn absent_and_assembled_objects_do_not_count() {
        let (store, now) = clocked();
        let put_window = PutWindow { open_ms: 100_000, close_ms: 104_000 };
        let absent = fetch_in_put_window(&store, KEY, 9, &put_window).await;
        assert!(matches!(absent, Err(FetchError::Bucket(BucketError::NotFound { .. }))));
        now.store(101_000, Ordering::SeqCst);
        store.put(KEY, Bytes::from_static(b"x")).await.unwrap();
        let parts = fetch_in_put_window(&Parts(store), KEY, 9, &put_window).await;
        assert!(matches!(parts, Err(FetchError::InParts)));
    }
}
