//! Writes a node's checkpoints and publishes them, while the node goes on.

use super::{CheckpointError, Shelf, Stand, Target, Thinning};
use crate::{
    bucket::{Store, keys::RunKeys},
    model::Lent,
    wallet::Keypair,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// Pause before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What a [`Writer`] works with.
#[derive(Debug)]
pub struct Desk {
    /// Where checkpoints lie before they are published, and the newest after that.
    pub shelf: Shelf,
    /// The node's bucket.
    pub bucket: Arc<dyn Store>,
    /// The keys of the run.
    pub keys: RunKeys,
    /// Who signs.
    pub hotkey: Keypair,
    /// Which of them stay in the bucket.
    pub thinning: Thinning,
}

/// Writes checkpoints to disk and publishes them from there, both beside the node's work. What a crash interrupts, the next start goes
/// on with.
#[derive(Debug)]
pub struct Writer {
    desk: Arc<Desk>,
    task: Option<JoinHandle<()>>,
}

impl Writer {
    /// A writer, which begins with what the process before it has left.
    pub fn start(desk: Desk) -> Self {
        let mut writer = Self { desk: Arc::new(desk), task: None };
        writer.publish_after(None);
        writer
    }

    /// Begins to write a checkpoint, and to publish it when it is on disk. The weights are given back as soon as they are written.
    pub fn write(&mut self, stand: Stand, weights: Lent) {
        let (desk, (tell, written)) = (self.desk.clone(), oneshot::channel());
        // A thread of its own: the runtime would wait for one of its own at the end.
        std::thread::spawn(move || {
            let (window, started) = (stand.window, Instant::now());
            let result = desk.shelf.write(stand, weights.parameters(), &desk.hotkey);
            drop(weights);
            match result {
                Ok(()) => {
                    tracing::info!(window, seconds = started.elapsed().as_secs_f64(), "checkpoint written")
                }
                Err(error) => {
                    tracing::warn!(window, %error, "the checkpoint could not be written; the next one will be")
                }
            }
            let _ = tell.send(());
        });
        self.publish_after(Some(written));
    }

    /// Waits until what was begun is published.
    pub async fn done(&mut self) {
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }

    fn publish_after(&mut self, written: Option<oneshot::Receiver<()>>) {
        let (desk, before) = (self.desk.clone(), self.task.take());
        self.task = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            if let Some(written) = written {
                // It ends without a word only together with the process.
                let _ = written.await;
            }
            while let Err(error) = desk.publish_newest().await {
                tracing::warn!(%error, "the checkpoint could not be published; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }
}

impl Desk {
    /// Publishes the newest whole checkpoint, unless the bucket has it; older ones are given up, for the bucket is behind.
    ///
    /// # Errors
    /// What the bucket or the disk says.
    pub async fn publish_newest(&self) -> Result<(), CheckpointError> {
        let windows = self.shelf.windows()?;
        let Some((&window, older)) = windows.split_last() else { return Ok(()) };
        let owner = self.hotkey.account();
        if !self.shelf.is_published(window) {
            let started = Instant::now();
            let (record, signed) = match self.shelf.record(window, &owner) {
                Ok(found) => found,
                Err(error @ CheckpointError::File { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(window, %error, "a checkpoint on this disk is not this run's and is removed");
                    return self.shelf.remove(window);
                }
            };
            let target = Target { store: self.bucket.as_ref(), keys: &self.keys, owner: &owner };
            let folder = self.shelf.folder(window);
            match target.publish(&folder, &record, &signed).await {
                Ok(true) => {
                    let (files, bytes) = (record.files.len(), record.bytes());
                    tracing::info!(
                        window,
                        files,
                        bytes,
                        seconds = started.elapsed().as_secs_f64(),
                        "checkpoint published"
                    );
                }
                Ok(false) => tracing::warn!(window, "the bucket has a newer checkpoint than this disk"),
                Err(error @ CheckpointError::Damaged { .. }) => {
                    tracing::warn!(window, %error, "the checkpoint is given up; the next one will be published");
                    return self.shelf.remove(window);
                }
                Err(error) => return Err(error),
            }
            self.shelf.set_published(window)?;
            if let Err(error) = target.thin(&self.thinning, window).await {
                tracing::warn!(%error, "old checkpoints stay in the bucket until the next one comes");
            }
        }
        // The one before stays on disk: a validator that has to score a window again needs the model before it.
        let (_, too_old) = older.split_last().unwrap_or((&0, &[]));
        too_old.iter().try_for_each(|window| self.shelf.remove(*window))
    }
}
