//! A checkpoint on its way into the node's own bucket.

use super::{CheckpointError, RECORD_FILE, Thinning, shelf::failed};
use crate::{
    bucket::{
        BucketError, Store,
        keys::{Key, RunKeys},
    },
    round::{self, CheckpointFile, CheckpointRecord, MAX_DOCUMENT_BYTES},
    wallet::AccountId,
    window::Window,
};
use bytes::Bytes;
use futures::TryStreamExt;
use md5::{Digest, Md5};
use std::path::Path;

/// Keys that are listed at once.
const PAGE: usize = 1000;

/// The node's own bucket, as checkpoints see it.
#[derive(Debug)]
pub struct Target<'a> {
    /// The bucket, to write to.
    pub store: &'a dyn Store,
    /// The keys of the run.
    pub keys: &'a RunKeys,
    /// Whose bucket it is.
    pub owner: &'a AccountId,
}

impl Target<'_> {
    /// Puts a checkpoint that lies in a folder into the bucket: file by file, each looked at when it is there, then the record beside
    /// them, and at last the one that names it the newest. What is there already is not sent again. Returns false, and writes nothing,
    /// where the bucket's newest one is newer.
    ///
    /// One file is in memory at a time.
    ///
    /// # Errors
    /// What the bucket or the disk says; [`CheckpointError::Damaged`] for a file on disk that is not what the record says,
    /// [`CheckpointError::NotStored`] for one in the bucket that is not what was sent.
    pub async fn publish(
        &self,
        folder: &Path,
        record: &CheckpointRecord,
        signed: &[u8],
    ) -> Result<bool, CheckpointError> {
        let beside = self.keys.checkpoint(record.window, RECORD_FILE);
        match self.newest().await? {
            Some(newest) if newest.window > record.window => return Ok(false),
            Some(newest) if newest.window == record.window && newest != *record => {
                // The files are about to become another model's.
                self.store.delete(&beside).await?;
            }
            _ => {}
        }
        for file in &record.files {
            self.send(folder, record.window, file).await?;
        }
        let signed = Bytes::copy_from_slice(signed);
        self.store.put(&beside, signed.clone()).await?;
        self.store.put(&self.keys.latest_checkpoint(), signed).await?;
        Ok(true)
    }

    /// What the bucket says its newest checkpoint is. What is not this node's word counts as nothing.
    async fn newest(&self) -> Result<Option<CheckpointRecord>, CheckpointError> {
        match self.store.get(&self.keys.latest_checkpoint(), MAX_DOCUMENT_BYTES).await {
            Ok(object) => Ok(round::open(&object.bytes, self.owner).ok()),
            Err(BucketError::NotFound { .. } | BucketError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn send(
        &self,
        folder: &Path,
        window: Window,
        file: &CheckpointFile,
    ) -> Result<(), CheckpointError> {
        let path = folder.join(&file.name);
        let read = {
            let path = path.clone();
            move || {
                let bytes = std::fs::read(&path).map_err(|source| failed(&path, source))?;
                let (hash, tag) = (blake3::hash(&bytes), hex::encode(Md5::digest(&bytes)));
                Ok::<_, CheckpointError>((Bytes::from(bytes), hash.to_hex().to_string(), tag))
            }
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (bytes, hash, tag) = read.map_err(|_| CheckpointError::Interrupted { window })??;
        if bytes.len() as u64 != file.bytes || hash != file.hash {
            let (file, place) = (file.name.clone(), path.display().to_string());
            return Err(CheckpointError::Damaged { window, file, place });
        }
        let key = self.keys.checkpoint(window, &file.name);
        if self.holds(&key, file, &tag).await? {
            return Ok(());
        }
        self.store.put(&key, bytes).await?;
        if self.holds(&key, file, &tag).await? {
            return Ok(());
        }
        let (file, bucket) = (file.name.clone(), self.store.bucket().to_owned());
        Err(CheckpointError::NotStored { window, file, bucket })
    }

    /// Whether an object is this file. A tag that is the MD5 of the file says so, as S3 gives it to what came in one request; any
    /// other tag says nothing, and the object is read.
    async fn holds(&self, key: &str, file: &CheckpointFile, md5: &str) -> Result<bool, CheckpointError> {
        match self.store.head(key).await? {
            None => return Ok(false),
            Some(info) if info.size != file.bytes => return Ok(false),
            Some(info) if info.etag.as_deref() == Some(md5) => return Ok(true),
            Some(_) => {}
        }
        let read = self.store.read(key, file.bytes).await?.content;
        let hashed = read.try_fold(blake3::Hasher::new(), async |mut hasher, piece| {
            hasher.update(&piece);
            Ok(hasher)
        });
        Ok(hashed.await?.finalize().to_hex().as_str() == file.hash)
    }

    /// Removes the checkpoints that the rule gives up, and what is left of half ones, before `newest`; each one's record goes first.
    ///
    /// # Errors
    /// What the bucket says.
    pub async fn thin(&self, thinning: &Thinning, newest: Window) -> Result<(), CheckpointError> {
        for (window, whole) in self.windows().await? {
            if window >= newest || (whole && thinning.keeps(window, newest)) {
                continue;
            }
            self.store.delete(&self.keys.checkpoint(window, RECORD_FILE)).await?;
            let prefix = self.keys.checkpoint(window, "");
            loop {
                let page = self.store.list(&prefix, PAGE).await?;
                if page.is_empty() {
                    break;
                }
                for key in page {
                    self.store.delete(&key).await?;
                }
            }
            tracing::debug!(window, "an old checkpoint is removed from the bucket");
        }
        Ok(())
    }

    /// Windows with anything of a checkpoint, and whether they have a record.
    async fn windows(&self) -> Result<Vec<(Window, bool)>, CheckpointError> {
        let prefix = self.keys.prefix("checkpoint");
        let (mut windows, mut after): (Vec<(Window, bool)>, _) = (Vec::new(), prefix.clone());
        loop {
            let page = self.store.list_after(&prefix, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(windows) };
            after = last.clone();
            for key in &page {
                let Some(Key::Checkpoint { window, file }) = self.keys.parse(key) else { continue };
                let is_record = file == RECORD_FILE;
                match windows.last_mut() {
                    Some((known, whole)) if *known == window => *whole |= is_record,
                    _ => windows.push((window, is_record)),
                }
            }
        }
    }
}
