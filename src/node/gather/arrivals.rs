//! Looking on while the put window is open.

use super::{AT_ONCE, Peer, look::look};
use crate::{
    bucket::{ObjectInfo, Store},
    node::{Clock, View},
    wallet::AccountId,
    window::{PutWindow, Uid, Window},
};
use futures::future::join_all;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Pause between two looks for an object that is not there yet.
const POLL: Duration = Duration::from_millis(200);

/// What was fetched and decoded before the put window closed, by hotkey: at most one object of each peer.
#[derive(Debug, Default)]
pub struct Arrivals(BTreeMap<AccountId, Arrived>);

/// An object that was read inside of the put window, and what it is worth if it stays.
#[derive(Debug)]
pub(super) struct Arrived {
    store: Arc<dyn Store>,
    info: ObjectInfo,
    peer: Peer,
}

impl Arrivals {
    /// Objects that are here.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A peer's object, if it is still the same peer with the same bucket.
    pub(super) fn take(&mut self, uid: Uid, hotkey: &AccountId, store: &Arc<dyn Store>) -> Option<Arrived> {
        let arrived = self.0.remove(hotkey)?;
        (arrived.peer.uid == uid && Arc::ptr_eq(&arrived.store, store)).then_some(arrived)
    }
}

impl Arrived {
    /// The verdict, if the store has the same object still. A store that gives no tags cannot show that.
    pub(super) async fn if_unchanged(self, key: &str) -> Option<Peer> {
        let now = self.store.head(key).await;
        let same = self.info.etag.is_some() && matches!(&now, Ok(Some(info)) if *info == self.info);
        same.then_some(self.peer)
    }
}

/// Fetches and decodes the peers' objects as they appear, until no upload can be inside of the put window any more; returns
/// at once where that is so already.
///
/// Each peer's object is read once: one that is replaced later is [`super::gather`]'s to fetch, so that nobody makes a validator
/// download without end. A bucket that does not answer is asked again, and holds up no other peer's.
pub async fn watch(view: &View<'_>, window: Window, put: &PutWindow, clock: &Clock) -> Arrivals {
    let closed = put.last_accepted_ms() + 1;
    if clock.now_ms() >= closed {
        return Arrivals::default();
    }
    let me = view.identity.account();
    let turns = &Semaphore::new(AT_ONCE);
    let peers = view.directory.peers().filter(|(neuron, _)| neuron.hotkey != me);
    let jobs = peers.map(|(neuron, store)| async move {
        let (uid, hotkey) = (neuron.uid, &neuron.hotkey);
        while clock.now_ms() < closed {
            let turn = turns.acquire().await;
            let seen = look(view, window, put, uid, hotkey, store.as_ref()).await;
            drop(turn);
            if let Ok(look) = seen
                && let Some(info) = look.info
            {
                return Some((hotkey.clone(), Arrived { store: store.clone(), info, peer: look.peer }));
            }
            clock.sleep_until_ms(closed.min(clock.now_ms() + POLL.as_millis() as u64)).await;
        }
        None
    });
    let (arrived, ()) = futures::join!(join_all(jobs), clock.sleep_until_ms(closed));
    Arrivals(arrived.into_iter().flatten().collect())
}
