//! What a miner keeps in its bucket: docs/protocol.md, "What is kept".

use std::sync::Arc;
use templar::{
    bucket::{BucketError, Store, keys::RunKeys},
    window::Window,
};
use tokio::task::JoinHandle;

/// Windows whose objects stay: the newest so many.
const KEPT_WINDOWS: u64 = 100;
/// Windows from one look to the next: listing costs a request a family, and a few objects more harm nobody.
const EVERY: u64 = 10;
/// What a miner writes once a window.
const FAMILIES: [&str; 2] = ["gradient", "sync"];
/// Keys of one answer, and the most that one look deletes of a family: after a long absence the next looks go on.
const PAGE: usize = 1000;

/// Deletes a miner's old objects now and then, beside everything else.
#[derive(Debug, Default)]
pub struct Retention {
    looked: Option<Window>,
    task: Option<JoinHandle<()>>,
}

impl Retention {
    /// Begins to delete what is too old in a window, where it is time for a look. Old objects are found by listing, so that those of a time
    /// before this process are found too. What cannot be deleted costs storage and harms nobody: the next look finds it again.
    pub fn look(&mut self, bucket: &Arc<dyn Store>, keys: &RunKeys, window: Window) {
        let due = self.looked.is_none_or(|looked| window >= looked + EVERY);
        if !due || self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.looked = Some(window);
        let (bucket, keys) = (bucket.clone(), keys.clone());
        self.task = Some(tokio::spawn(async move {
            match tidy(bucket.as_ref(), &keys, window).await {
                Ok(0) => {}
                Ok(objects) => tracing::debug!(window, objects, "old objects are deleted"),
                Err(error) => tracing::debug!(window, %error, "old objects stay for now"),
            }
        }));
    }
}

/// Deletes the objects of windows before the kept ones; says how many.
async fn tidy(bucket: &dyn Store, keys: &RunKeys, window: Window) -> Result<usize, BucketError> {
    let Some(kept_from) = (window + 1).checked_sub(KEPT_WINDOWS) else { return Ok(0) };
    let mut deleted = 0;
    for family in FAMILIES {
        // The order of keys is that of windows, and all old ones sort before this.
        let end = keys.before(family, kept_from);
        let page = bucket.list_after(&keys.prefix(family), "", PAGE).await?;
        for key in page.iter().take_while(|key| **key < end) {
            // What is not a key of the run is somebody else's.
            if keys.parse(key).and_then(|parsed| parsed.window()).is_some_and(|old| old < kept_from) {
                bucket.delete(key).await?;
                deleted += 1;
            }
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use templar::bucket::{MemoryStore, system_clock};

    async fn put(bucket: &dyn Store, key: &str) {
        bucket.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    #[tokio::test]
    async fn what_an_absence_left_behind_goes_and_nothing_else() {
        let (bucket, keys) = (MemoryStore::new("own", system_clock()), RunKeys::new("0123456789abcdef"));
        let other = RunKeys::new("fedcba9876543210");
        // A gap of an absence, and then the newest hundred.
        for window in (0..50).chain(300..=400) {
            for key in [keys.gradient(window), keys.sync(window), keys.round(window), other.gradient(window)]
            {
                put(&bucket, &key).await;
            }
        }
        put(&bucket, "0123456789abcdef/gradient/0-notes.txt").await;
        let kept = async |prefix: String| bucket.list(&prefix, 1000).await.unwrap();
        assert_eq!(tidy(&bucket, &keys, 99).await.unwrap(), 0);
        assert_eq!(tidy(&bucket, &keys, 400).await.unwrap(), 2 * 51);
        let gradients = kept(keys.prefix("gradient")).await;
        assert_eq!((gradients.len(), &gradients[1]), (101, &keys.gradient(301)));
        assert_eq!(kept(keys.prefix("sync")).await.len(), 100);
        assert_eq!(kept(keys.prefix("round")).await.len(), 151);
        assert_eq!(kept(other.prefix("gradient")).await.len(), 151);
        assert_eq!(tidy(&bucket, &keys, 400).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn it_looks_now_and_then() {
        let bucket: Arc<dyn Store> = Arc::new(MemoryStore::new("own", system_clock()));
        let (keys, mut retention) = (RunKeys::new("0123456789abcdef"), Retention::default());
        for window in 0..25 {
            put(bucket.as_ref(), &keys.gradient(window)).await;
        }
        for (window, left) in [(105, 19), (106, 19), (115, 9)] {
            retention.look(&bucket, &keys, window);
            if let Some(task) = &mut retention.task.take() {
                task.await.unwrap();
            }
            assert_eq!(bucket.list(&keys.prefix("gradient"), 100).await.unwrap().len(), left, "{window}");
        }
    }
}
