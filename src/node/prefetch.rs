//! Pseudo-gradients that are fetched before the round record names them, so that the step can be taken when it does.

use super::{Clock, Directory, Identity, Replica};
use crate::{
    bucket::{Store, fetch_in_put_window},
    gradient::{self, Expected, Layout, PseudoGradient},
    round::Accepted,
    wallet::{AccountId, verify},
    window::{PutWindow, Window},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// Objects that are fetched at the same time.
const AT_ONCE: usize = 4;
/// Pause between two looks for an object that is not there yet, in milliseconds.
const POLL_MS: u64 = 500;
/// How long after the put window objects are still looked for, in milliseconds: by then the record is out.
const AFTERWARDS_MS: u64 = 5_000;

/// Pseudo-gradients that are here, by content digest. The digest decides whether one is used, so whatever was fetched early can
/// do no harm. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct Prefetched(Arc<Mutex<BTreeMap<String, Payload>>>);

/// A pseudo-gradient, and where somebody wants to pass it on the object that it came in.
#[derive(Debug, Clone)]
pub struct Payload {
    /// What it says.
    pub gradient: Arc<PseudoGradient>,
    /// The object.
    pub object: Option<Bytes>,
}

impl Prefetched {
    /// Keeps one that was decoded for the run.
    pub fn add(&self, gradient: Arc<PseudoGradient>) {
        self.keep(Payload { gradient, object: None });
    }

    /// The same with the object that it came in.
    pub fn keep(&self, payload: Payload) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(hex::encode(payload.gradient.digest), payload);
    }

    /// The one that a record names; the digest covers who sent it for which window.
    pub fn get(&self, accepted: &Accepted) -> Option<Payload> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&accepted.digest).cloned()
    }

    /// Forgets those of a window that was applied, and of earlier ones.
    pub fn forget(&self, window: Window) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, payload| payload.gradient.header.window > window);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Fetches in the background; ends when it is dropped.
#[derive(Debug)]
pub struct Prefetch {
    here: Prefetched,
    task: JoinHandle<()>,
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whose objects the next record will name, as far as anyone can tell: everybody's where peers are few, else those of the last
/// round. Never more than twice `top_g`, which bounds what is kept in memory.
pub fn likely(directory: &Directory, replica: &Replica, top_g: usize) -> Vec<AccountId> {
    let most = top_g.saturating_mul(2);
    let all: Vec<AccountId> = directory.peers().map(|(neuron, _)| neuron.hotkey.clone()).collect();
    if all.len() <= most { all } else { replica.members.iter().take(most).cloned().collect() }
}

impl Prefetch {
    /// From the opening of the window's put window on, looks for the objects of `peers`, but this node's own. Each is fetched once, when it appears in the put window.
    pub fn start(
        identity: &Identity,
        directory: &Directory,
        layout: &Layout,
        peers: &[AccountId],
        window: Window,
        mut clock: Clock,
    ) -> Self {
        let here = Prefetched::default();
        let key = identity.keys().gradient(window);
        let me = identity.account();
        let wanted = |hotkey: &AccountId| {
            let uid = directory.metagraph.neuron(hotkey).filter(|_| *hotkey != me)?.uid;
            let (run, netuid, hotkey) = (identity.manifest.hash(), identity.netuid, hotkey.clone());
            let store = directory.store(&hotkey)?.clone();
            Some(Wanted { store, key: key.clone(), expected: Expected { run, netuid, window, uid, hotkey } })
        };
        let wanted: Vec<Wanted> = peers.iter().filter_map(wanted).collect();
        let (layout, found) = (Arc::new(layout.clone()), here.clone());
        let task = tokio::spawn(async move {
            // Without the chain's word nothing is looked for; following the record will fetch it all.
            let Ok(put) = clock.put_window(window).await else { return };
            let until = put.last_accepted_ms() + AFTERWARDS_MS;
            let mut missing = wanted;
            loop {
                let looks = missing.into_iter().map(|wanted| wanted.look(layout.clone(), put, &found));
                missing =
                    stream::iter(looks).buffer_unordered(AT_ONCE).filter_map(|w| async { w }).collect().await;
                if missing.is_empty() || clock.now_ms() >= until {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            }
        });
        Self { here, task }
    }

    /// What is here so far, and what comes.
    pub fn here(&self) -> &Prefetched {
        &self.here
    }
}

/// One object that is looked for.
struct Wanted {
    store: Arc<dyn Store>,
    key: String,
    expected: Expected,
}

impl Wanted {
    /// Looks once; gives itself back where the object is not there yet.
    async fn look(self, layout: Arc<Layout>, put: PutWindow, here: &Prefetched) -> Option<Self> {
        let limit = layout.max_object_bytes() as u64;
        let Ok((object, _)) = fetch_in_put_window(self.store.as_ref(), &self.key, limit, &put).await else {
            return Some(self);
        };
        let decode = move || gradient::decode(&object.bytes, &layout, &self.expected, verify);
        // What cannot be read is no member of a round.
        if let Ok(Ok(payload)) = tokio::task::spawn_blocking(decode).await {
            here.add(Arc::new(payload));
        }
        None
    }
}
