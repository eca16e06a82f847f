//! Stage 1: fetch every peer's pseudo-gradient of a window and say what is wrong with it. The validator
//! and the audit run this code.
//!
//! A validator looks on while the put window is open ([`watch`]), so that nearly everything is there and decoded when it
//! closes; what counts is what [`gather`] sees afterwards.

mod arrivals;
mod look;
mod spool;

#[cfg(test)]
mod tests;

pub use arrivals::{Arrivals, watch};
pub(crate) use look::one;
pub use spool::{Delivered, Spool};

use super::{NodeError, View};
use crate::{
    gauntlet::{Evidence, Observation, overlap, stage1::Stage1},
    gradient::Layout,
    wallet::AccountId,
    window::{PutWindow, Uid, Window},
};
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Peers whose objects are fetched at the same time.
const AT_ONCE: usize = 16;

/// What came of one peer in one window.
#[derive(Debug)]
pub struct Peer {
    /// Its UID.
    pub uid: Uid,
    /// The verdict of stage 1.
    pub stage1: Stage1,
    /// Its pseudo-gradient, where stage 1 accepted it.
    pub delivered: Option<Delivered>,
}

/// Every peer of a window, by hotkey.
#[derive(Debug)]
pub struct Gathered {
    /// The peers.
    pub peers: BTreeMap<AccountId, Peer>,
}

impl Gathered {
    /// Peers that passed stage 1, with their pseudo-gradients.
    pub fn accepted(&self) -> impl Iterator<Item = (&AccountId, &Peer, &Delivered)> {
        self.peers.iter().filter_map(|(hotkey, peer)| Some((hotkey, peer, peer.delivered.as_ref()?)))
    }

    /// The hotkeys of the peers that passed stage 1.
    pub fn hotkeys(&self) -> Vec<AccountId> {
        self.accepted().map(|(hotkey, ..)| hotkey.clone()).collect()
    }

    /// The pairs of objects that overlap too much; `seed` draws the chunks that are compared of a large model.
    ///
    /// # Errors
    /// Those of [`Delivered::gradient`].
    pub fn overlapping(
        &self,
        layout: &Layout,
        seed: &[u8; 32],
        limit: f64,
    ) -> Result<Vec<overlap::Pair>, NodeError> {
        let mut comparison = overlap::Comparison::new(layout, seed, limit);
        for (hotkey, _, delivered) in self.accepted() {
            if comparison.is_needed() {
                comparison.add(hotkey, &delivered.gradient()?.tensors);
            }
        }
        Ok(comparison.pairs())
    }

    /// What Gauntlet is told, given which peers were aggregated and the evidence of those that were judged.
    pub fn observations(
        &self,
        chosen: &BTreeSet<AccountId>,
        mut evidence: BTreeMap<AccountId, Evidence>,
    ) -> Vec<Observation> {
        self.peers
            .iter()
            .map(|(hotkey, peer)| Observation {
                hotkey: hotkey.clone(),
                stage1: peer.stage1.clone(),
                evidence: evidence.remove(hotkey),
                aggregated: chosen.contains(hotkey),
            })
            .collect()
    }
}

/// When gathering ends and whom it begins with.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The put window of what is gathered.
    pub put: PutWindow,
    /// How long it may take: a peer whose bucket is not done by then has not answered.
    pub within: Duration,
    /// Who comes first, in this order: those who would be aggregated, so that a slow stranger holds up nobody's round.
    pub first: &'a [AccountId],
}

/// Checks every peer but this validator itself. No peer's trouble reaches another. One without a bucket that can be read, whatever it
/// has committed, is absent.
///
/// To be called when the put window has closed. What `arrivals` holds is taken where one question to the store shows that the
/// object is the same still; every other peer's is fetched now. The verdicts are those of a look that begins now.
pub async fn gather(view: &View<'_>, window: Window, order: Order<'_>, arrivals: Arrivals) -> Gathered {
    let (me, put) = (view.identity.account(), order.put);
    let key = view.identity.keys().gradient(window);
    let mut arrivals = arrivals;
    let peers = view.directory.metagraph.neurons.iter().filter(|neuron| neuron.hotkey != me);
    let mut jobs: Vec<_> = peers
        .map(|n| {
            let store = view.directory.store(&n.hotkey).cloned();
            let arrived = store.as_ref().and_then(|store| arrivals.take(n.uid, &n.hotkey, store));
            (n.uid, n.hotkey.clone(), store, arrived)
        })
        .collect();
    drop(arrivals);
    let place = |hotkey: &AccountId| order.first.iter().position(|first| first == hotkey);
    jobs.sort_by_key(|(_, hotkey, ..)| place(hotkey).unwrap_or(usize::MAX));
    let silent =
        |(uid, hotkey): (Uid, AccountId)| (hotkey, Peer { uid, stage1: Stage1::Unanswered, delivered: None });
    let everybody = jobs.iter().map(|(uid, hotkey, ..)| (*uid, hotkey.clone()));
    let mut peers: BTreeMap<AccountId, Peer> = everybody.map(silent).collect();
    let key = key.as_str();
    let looks = stream::iter(jobs).map(|(uid, hotkey, store, arrived)| async move {
        let unchanged = match arrived {
            Some(arrived) => arrived.if_unchanged(key).await,
            None => None,
        };
        let peer = match unchanged {
            Some(peer) => peer,
            None => one(view, window, &put, uid, &hotkey, store).await,
        };
        (hotkey, peer)
    });
    let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
    let mut end = std::pin::pin!(tokio::time::sleep(order.within));
    loop {
        tokio::select! {
            // What is done by then counts.
            biased;
            look = looks.next() => match look {
                Some((hotkey, peer)) => _ = peers.insert(hotkey, peer),
                None => break,
            },
            () = &mut end => {
                let missing = peers.values().filter(|peer| peer.stage1 == Stage1::Unanswered).count();
                tracing::warn!(window, missing, "gathering has taken its time; whoever is not done has not answered");
                break;
            }
        }
    }
    for (hotkey, Peer { uid, stage1, .. }) in &peers {
        if !stage1.is_accepted() && *stage1 != Stage1::Absent {
            tracing::warn!(window, uid, %hotkey, "refused: {}", stage1.describe());
        }
    }
    Gathered { peers }
}
