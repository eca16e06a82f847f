//! Stage 1: fetch every peer's pseudo-gradient of a window and say what is wrong with it. The validator
//! and the audit run this code.

use super::View;
use crate::{
    bucket::{BucketError, FetchError, Store, fetch_in_put_window},
    gauntlet::{
        Evidence, Observation, overlap,
        stage1::{self, Found, Stage1},
        sync,
    },
    gradient::{self, Expected, Layout, PseudoGradient},
    wallet::{AccountId, verify},
    window::{PutWindow, Timing, Uid, Window},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
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
    /// Its pseudo-gradient and the object it came in, where stage 1 accepted it.
    pub payload: Option<(PseudoGradient, Bytes)>,
}

/// Every peer of a window, by hotkey.
#[derive(Debug)]
pub struct Gathered {
    /// The peers.
    pub peers: BTreeMap<AccountId, Peer>,
}

impl Gathered {
    /// Peers that passed stage 1, with their pseudo-gradients and objects.
    pub fn accepted(&self) -> impl Iterator<Item = (&AccountId, &Peer, &PseudoGradient, &Bytes)> {
        self.peers.iter().filter_map(|(hotkey, peer)| {
            let (payload, object) = peer.payload.as_ref()?;
            Some((hotkey, peer, payload, object))
        })
    }

    /// The hotkeys of the peers that passed stage 1.
    pub fn hotkeys(&self) -> Vec<AccountId> {
        self.accepted().map(|(hotkey, ..)| hotkey.clone()).collect()
    }

    /// The pairs of objects that overlap too much; `seed` draws the chunks that are compared of a large model.
    pub fn overlapping(&self, layout: &Layout, seed: &[u8; 32], limit: f64) -> Vec<overlap::Pair> {
        let candidates: Vec<_> = self
            .accepted()
            .map(|(hotkey, _, payload, _)| overlap::Candidate { hotkey, tensors: &payload.tensors })
            .collect();
        overlap::find(&candidates, layout, seed, limit)
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

/// Fetches and checks every peer but this validator itself. No peer's trouble reaches another.
pub async fn gather(view: &View<'_>, window: Window, put: PutWindow) -> Gathered {
    let me = view.identity.account();
    let peers = view.directory.peers().filter(|(neuron, _)| neuron.hotkey != me);
    let jobs: Vec<_> = peers.map(|(n, store)| (n.uid, n.hotkey.clone(), store.clone())).collect();
    let peers = stream::iter(jobs)
        .map(|(uid, hotkey, store)| async move {
            let peer = one(view, window, &put, uid, &hotkey, store).await;
            if let Some(peer) = &peer
                && !peer.stage1.is_accepted()
                && peer.stage1 != Stage1::Absent
            {
                tracing::warn!(window, uid, %hotkey, "refused: {}", peer.stage1.describe());
            }
            peer.map(|peer| (hotkey, peer))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|peer| async { peer })
        .collect()
        .await;
    Gathered { peers }
}

/// Looks at one peer. `None` where its bucket cannot be asked for a reason that need not be the peer's:
/// nothing happens to a peer that was not looked at.
pub(crate) async fn one(
    view: &View<'_>,
    window: Window,
    put: &PutWindow,
    uid: Uid,
    hotkey: &AccountId,
    store: Arc<dyn Store>,
) -> Option<Peer> {
    let sync_max = view.identity.manifest.parsed.gauntlet.sync_max;
    let limit = view.replica.layout().max_object_bytes() as u64;
    let key = view.identity.keys().gradient(window);
    let refused = |timing, content| {
        let stage1 = stage1::judge(Some(Found { timing, content }), sync_max);
        Some(Peer { uid, stage1, payload: None })
    };
    let on_time = Timing::OnTime { seconds: 0 };
    let (object, seconds) = match fetch_in_put_window(store.as_ref(), &key, limit, put).await {
        Ok(found) => found,
        Err(FetchError::Early { seconds }) => return refused(Timing::Early { seconds }, Ok(0.0)),
        Err(FetchError::Late { seconds }) => return refused(Timing::Late { seconds }, Ok(0.0)),
        Err(error @ FetchError::Bucket(BucketError::TooLarge { .. } | BucketError::Changed { .. }))
        | Err(error @ FetchError::InParts) => return refused(on_time, Err(error.to_string())),
        Err(FetchError::Bucket(BucketError::NotFound { .. } | BucketError::PermissionDenied { .. })) => {
            return Some(Peer { uid, stage1: stage1::judge(None, sync_max), payload: None });
        }
        Err(error) => {
            tracing::warn!(window, uid, %hotkey, %error, "the peer's bucket could not be asked");
            return None;
        }
    };
    let timing = Timing::OnTime { seconds };
    match tokio::task::block_in_place(|| check(view, window, uid, hotkey, &object.bytes)) {
        Ok((payload, steps_behind)) => {
            let stage1 = stage1::judge(Some(Found { timing, content: Ok(steps_behind) }), sync_max);
            let payload = stage1.is_accepted().then_some((payload, object.bytes));
            Some(Peer { uid, stage1, payload })
        }
        Err(reason) => refused(timing, Err(reason)),
    }
}

/// Decodes an object and compares what it claims with what the window assigns and with our model.
fn check(
    view: &View<'_>,
    window: Window,
    uid: Uid,
    hotkey: &AccountId,
    object: &[u8],
) -> Result<(PseudoGradient, f64), String> {
    let identity = &view.identity;
    let run = identity.manifest.hash();
    let expected = Expected { run, netuid: identity.netuid, window, uid, hotkey: hotkey.clone() };
    let payload =
        gradient::decode(object, view.replica.layout(), &expected, verify).map_err(|e| e.to_string())?;
    let assigned = view.assigned(hotkey.as_ref(), window);
    if payload.header.sample_digest != view.sample_digest(&assigned) {
        return Err("it does not claim the data that the window assigns".to_owned());
    }
    let ours = view.replica.shown(&run, hotkey, window);
    let step = view.replica.last_step();
    let steps_behind = sync::steps_behind(&ours, &payload.header.model_samples, step);
    Ok((payload, steps_behind))
}
