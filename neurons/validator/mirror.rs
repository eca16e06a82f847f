//! What a validator passes on of rounds that another one decided: the record, as that one signed it, and copies of what was
//! aggregated. So the run can be replayed, and goes on, whoever is gone. Nothing waits for it.

use super::copies::Copies;
use bytes::Bytes;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use templar::{
    node::{Applied, Identity, NodeError},
    round::SignedRound,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

/// Copies that wait to be published, in bytes. A validator that replays a run soon has more: of those rounds it passes on the records
/// and no more, because whoever it had the copies from has them still.
const MOST_WAITING: usize = 256 << 20;
/// Pause before a record that could not be published is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Publishes in the background, in order.
#[derive(Debug)]
pub struct Mirror {
    tell: UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// One round.
#[derive(Debug)]
struct Item {
    signed: SignedRound,
    /// By key.
    copies: Vec<(String, Bytes)>,
    bytes: usize,
}

impl Mirror {
    /// Keeps copies in a folder until they are published; what a crash left there is published now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(identity: &Identity, dir: PathBuf) -> Result<Self, NodeError> {
        let mut copies = Copies::open(dir)?;
        copies.publish(&identity.bucket);
        let (tell, items) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(publish(identity.clone(), copies, items, waiting.clone()));
        Ok(Self { tell, waiting, task })
    }

    /// What hears of each round that is followed.
    pub fn listener(&self, identity: &Identity) -> Box<dyn Fn(Applied) + Send + Sync> {
        let (tell, waiting) = (self.tell.clone(), self.waiting.clone());
        let (me, keys) = (identity.account(), identity.keys());
        Box::new(move |Applied { signed, from, objects }| {
            // It is in this validator's bucket already.
            if from == me {
                return;
            }
            let window = signed.record.window;
            let mut bytes: usize = objects.iter().map(|(_, object)| object.len()).sum();
            let mut copies = Vec::new();
            if waiting.load(Ordering::Relaxed) + bytes <= MOST_WAITING {
                let keyed =
                    objects.into_iter().map(|(hotkey, object)| (keys.round_object(window, &hotkey), object));
                copies.extend(keyed);
            } else {
                tracing::debug!(window, "no copies of this round: too many wait to be published");
                bytes = 0;
            }
            waiting.fetch_add(bytes, Ordering::Relaxed);
            // The other end is there for as long as the process runs.
            let _ = tell.send(Item { signed, copies, bytes });
        })
    }

    /// Waits until everything is published; the listeners must be gone.
    pub async fn done(self) {
        drop(self.tell);
        let _ = self.task.await;
    }
}

/// The record first, for others may wait for it; the copies are on disk by then, as a leader's are.
async fn publish(
    identity: Identity,
    mut copies: Copies,
    mut items: UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
) {
    let keys = identity.keys();
    while let Some(Item { signed, copies: objects, bytes }) = items.recv().await {
        let window = signed.record.window;
        let objects = objects.iter().map(|(key, object)| (key.clone(), object));
        if let Err(error) = copies.keep(objects).await {
            tracing::warn!(window, %error, "copies of a round could not be kept");
        }
        while let Err(error) = identity.bucket.put(&keys.round(window), signed.bytes.clone()).await {
            tracing::warn!(window, %error, "the record could not be passed on; trying once more");
            tokio::time::sleep(AGAIN).await;
        }
        copies.publish(&identity.bucket);
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
    copies.done().await;
}
