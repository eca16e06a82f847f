use super::{BucketError, Object, ObjectInfo, Store, check_key};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// Tells the time, in milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

/// A bucket in memory, for tests and simulations. Clones are the same bucket.
#[derive(Clone)]
pub struct MemoryStore {
    bucket: String,
    clock: Clock,
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
}

impl MemoryStore {
    /// An empty bucket whose objects are dated by `clock`.
    pub fn new(bucket: impl Into<String>, clock: Clock) -> Self {
        Self { bucket: bucket.into(), clock, objects: Arc::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        // Every change is one insertion or removal, so what a panicking thread left is whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        check_key(key)?;
        let info = ObjectInfo {
            size: bytes.len() as u64,
            last_modified_s: (self.clock)() / 1000,
            etag: Some(blake3::hash(&bytes).to_hex()[..32].to_owned()),
        };
        self.objects().insert(key.to_owned(), Object { bytes, info });
        Ok(())
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
        check_key(key)?;
        Ok(self.objects().get(key).map(|object| object.info.clone()))
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        check_key(key)?;
        let object = self
            .objects()
            .get(key)
            .cloned()
            .ok_or_else(|| BucketError::NotFound { bucket: self.bucket.clone(), key: key.to_owned() })?;
        if object.info.size > max_bytes {
            let (size, limit) = (object.info.size, max_bytes);
            return Err(BucketError::TooLarge { key: key.to_owned(), size, limit, exact: true });
        }
        Ok(object)
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        let objects = self.objects();
        let keys = objects.range(prefix.max(after).to_owned()..).map(|(key, _)| key);
        let matching = keys.skip_while(|key| key.as_str() <= after).take_while(|key| key.starts_with(prefix));
        Ok(matching.take(limit).cloned().collect())
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        check_key(key)?;
        self.objects().remove(key);
        Ok(())
    }
}
