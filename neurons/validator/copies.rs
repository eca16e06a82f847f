//! What is on disk before the world hears of it, and in the bucket soon after: copies of what is aggregated or judged, and scores.

use futures::{StreamExt, TryStreamExt, stream};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use templar::{
    bucket::Store,
    node::{Backoff, NodeError},
    telemetry::files::write_atomic,
};
use tokio::task::JoinHandle;

/// Objects that go up side by side.
const AT_ONCE: usize = 4;

/// A folder of objects that have yet to be published. Each file is one object; its name is the object's key with `+`, which
/// no key has, for `/`. A file goes when its object is in the bucket, so what a crash leaves is published by the next start.
#[derive(Debug)]
pub struct Copies {
    dir: PathBuf,
    task: Option<JoinHandle<()>>,
}

impl Copies {
    /// A folder of the node's own.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(dir: PathBuf) -> Result<Self, NodeError> {
        fs::create_dir_all(&dir).map_err(|source| failed(&dir, source))?;
        for path in files(&dir)? {
            // It was being written when a process ended: nobody has heard of it.
            if is_hidden(&path) {
                fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            }
        }
        Ok(Self { dir, task: None })
    }

    /// Keeps one object until it is published, and waits for nothing.
    ///
    /// # Errors
    /// What the disk says.
    pub fn add(&self, key: &str, object: &[u8]) -> Result<(), NodeError> {
        let path = self.dir.join(key.replace('/', "+"));
        write_atomic(&path, object).map_err(|source| failed(&path, source))
    }

    /// Keeps objects, by key, until [`Self::publish`]. Waits for those of the round before.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn keep<'a>(
        &mut self,
        objects: impl Iterator<Item = (String, &'a bytes::Bytes)>,
    ) -> Result<(), NodeError> {
        self.done().await;
        objects.into_iter().try_for_each(|(key, object)| self.add(&key, object))
    }

    /// Begins to publish all that is kept, some objects side by side, each as often as it takes.
    pub fn publish(&mut self, bucket: &Arc<dyn Store>) {
        let (dir, bucket, before) = (self.dir.clone(), bucket.clone(), self.task.take());
        self.task = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let mut backoff = Backoff::default();
            while let Err(error) = publish(&dir, bucket.as_ref()).await {
                backoff.pause(&error).await;
            }
        }));
    }

    /// Whether nothing is on its way.
    pub fn are_out(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all are published.
    pub async fn done(&mut self) {
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

async fn publish(dir: &Path, bucket: &dyn Store) -> Result<(), NodeError> {
    let files = files(dir)?.into_iter().filter(|path| !is_hidden(path));
    let uploads = files.map(|path| async move {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let object = fs::read(&path).map_err(|source| failed(&path, source))?;
        bucket.put(&name.replace('+', "/"), object.into()).await?;
        fs::remove_file(&path).map_err(|source| failed(&path, source))
    });
    stream::iter(uploads).buffer_unordered(AT_ONCE).try_collect().await
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, NodeError> {
    let entries = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    Ok(entries.map_err(|source| failed(dir, source))?.iter().map(fs::DirEntry::path).collect())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'))
}

fn failed(path: &Path, source: io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use templar::bucket::{MemoryStore, system_clock};

    #[tokio::test]
    async fn what_a_crash_leaves_is_published_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("copies");
        let memory = MemoryStore::new("leader", system_clock());
        let bucket: Arc<dyn Store> = Arc::new(memory.clone());
        let (one, two) = ("run/round/0000000007/a.safetensors", "run/round/0000000007/b.safetensors");
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let mut copies = Copies::open(dir.clone()).unwrap();
        copies.keep([(one.to_owned(), &a), (two.to_owned(), &b)].into_iter()).await.unwrap();
        drop(copies);
        fs::write(dir.join(".run+round+0000000008+a.77.safetensors"), "hal").unwrap();
        assert!(memory.head(one).await.unwrap().is_none(), "kept, not published");

        let mut copies = Copies::open(dir.clone()).unwrap();
        copies.publish(&bucket);
        copies.done().await;
        assert_eq!(memory.get(one, 9).await.unwrap().bytes, a);
        assert_eq!(memory.get(two, 9).await.unwrap().bytes, b);
        assert_eq!(memory.list("", 9).await.unwrap(), [one, two]);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}
