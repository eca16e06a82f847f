//! The leader's copies of what it aggregates: on disk before the record, in its bucket soon after it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use templar::{bucket::Store, node::NodeError, telemetry::files::write_atomic};
use tokio::task::JoinHandle;

/// Pause before an upload that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

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
        Ok(Self { dir, task: None })
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
        for (key, object) in objects {
            let path = self.dir.join(key.replace('/', "+"));
            write_atomic(&path, object).map_err(|source| failed(&path, source))?;
        }
        Ok(())
    }

    /// Begins to publish all that is kept, one object after the other, each as often as it takes.
    pub fn publish(&mut self, bucket: &Arc<dyn Store>) {
        let (dir, bucket, before) = (self.dir.clone(), bucket.clone(), self.task.take());
        self.task = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            while let Err(error) = publish(&dir, bucket.as_ref()).await {
                tracing::warn!(%error, "a copy of the round could not be published; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    /// Waits until all are published.
    pub async fn done(&mut self) {
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

async fn publish(dir: &Path, bucket: &dyn Store) -> Result<(), NodeError> {
    let entries = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    for entry in entries.map_err(|source| failed(dir, source))? {
        let path = entry.path();
        let name = entry.file_name();
        // A hidden file was being written when a process ended: no record names it.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            continue;
        };
        let object = fs::read(&path).map_err(|source| failed(&path, source))?;
        bucket.put(&name.replace('+', "/"), object.into()).await?;
        fs::remove_file(&path).map_err(|source| failed(&path, source))?;
    }
    Ok(())
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
