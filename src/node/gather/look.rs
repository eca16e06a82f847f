//! One look at one peer's bucket.

use super::Peer;
use crate::{
    bucket::{BucketError, FetchError, ObjectInfo, Store, fetch_in_put_window},
    gauntlet::{
        stage1::{self, Found, Stage1},
        sync,
    },
    gradient::{self, Expected, PseudoGradient},
    node::{View, time::heavy},
    wallet::{AccountId, verify},
    window::{PutWindow, Timing, Uid, Window},
};
use std::sync::Arc;

/// What a look found.
#[derive(Debug)]
pub(super) struct Look {
    /// The verdict.
    pub(super) peer: Peer,
    /// What the store said of the object whose content was read; `None` where none was.
    pub(super) info: Option<ObjectInfo>,
}

/// Looks at one peer. Without a bucket it is absent; where its bucket cannot be asked for a reason that need not be the peer's, it is
/// [`Stage1::Unanswered`].
pub(crate) async fn one(
    view: &View<'_>,
    window: Window,
    put: &PutWindow,
    uid: Uid,
    hotkey: &AccountId,
    store: Option<Arc<dyn Store>>,
) -> Peer {
    let nothing = |stage1| Peer { uid, stage1, delivered: None };
    let Some(store) = store else { return nothing(Stage1::Absent) };
    match look(view, window, put, uid, hotkey, store.as_ref()).await {
        Ok(look) => look.peer,
        Err(error) => {
            tracing::warn!(window, uid, %hotkey, %error, "the peer's bucket could not be asked");
            nothing(Stage1::Unanswered)
        }
    }
}

/// [`one`], with what the store said of what was read. The content is fetched only where the object's time stamp lies inside the
/// put window and its size is one that it can have.
///
/// # Errors
/// What the bucket said, where that need not be the peer's fault.
pub(super) async fn look(
    view: &View<'_>,
    window: Window,
    put: &PutWindow,
    uid: Uid,
    hotkey: &AccountId,
    store: &dyn Store,
) -> Result<Look, FetchError> {
    let sync_max = view.identity.manifest.parsed.gauntlet.sync_max;
    let limit = view.replica.layout().max_object_bytes() as u64;
    let key = view.identity.keys().gradient(window);
    let verdict = |found| Peer { uid, stage1: stage1::judge(found, sync_max), delivered: None };
    let unread = |found| Ok(Look { peer: verdict(found), info: None });
    let on_time = Timing::OnTime { seconds: 0 };
    let (object, seconds) = match fetch_in_put_window(store, &key, limit, put).await {
        Ok(found) => found,
        Err(FetchError::Early { seconds }) => {
            return unread(Some(Found { timing: Timing::Early { seconds }, content: Ok(0.0) }));
        }
        Err(FetchError::Late { seconds }) => {
            return unread(Some(Found { timing: Timing::Late { seconds }, content: Ok(0.0) }));
        }
        Err(error @ FetchError::Bucket(BucketError::TooLarge { .. } | BucketError::Changed { .. }))
        | Err(error @ FetchError::InParts) => {
            return unread(Some(Found { timing: on_time, content: Err(error.to_string()) }));
        }
        Err(FetchError::Bucket(BucketError::NotFound { .. } | BucketError::PermissionDenied { .. })) => {
            return unread(None);
        }
        Err(error) => return Err(error),
    };
    let timing = Timing::OnTime { seconds };
    // Decoding goes on beside the downloads of others.
    let identity = &view.identity;
    let (run, netuid) = (identity.manifest.hash(), identity.netuid);
    let expected = Expected { run, netuid, window, uid, hotkey: hotkey.clone() };
    let (bytes, layout) = (object.bytes.clone(), view.replica.shared_layout());
    let (same, of) = (layout.clone(), expected.clone());
    let decode = tokio::task::spawn_blocking(move || gradient::decode(&bytes, &same, &of, verify));
    let decoded = match decode.await {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(_) => Err("it could not be decoded".to_owned()),
    };
    let checked = decoded.and_then(|payload| heavy(|| check(view, window, hotkey, payload)));
    let peer = match checked {
        Ok((payload, steps_behind)) => {
            let mut peer = verdict(Some(Found { timing, content: Ok(steps_behind) }));
            if peer.stage1.is_accepted() {
                peer.delivered = Some(heavy(|| view.spool.keep(payload, object.bytes, &expected, &layout)));
            }
            peer
        }
        Err(reason) => verdict(Some(Found { timing, content: Err(reason) })),
    };
    Ok(Look { peer, info: Some(object.info) })
}

/// Compares what an object claims with what the window assigns and with our model.
fn check(
    view: &View<'_>,
    window: Window,
    hotkey: &AccountId,
    payload: PseudoGradient,
) -> Result<(PseudoGradient, f64), String> {
    let run = view.identity.manifest.hash();
    let claimed = view.claimed(hotkey, window, payload.header.sample_count)?;
    match view.sample_digest(&claimed) {
        Ok(digest) if digest != payload.header.sample_digest => {
            return Err("it does not claim the data that the window assigns".to_owned());
        }
        Ok(_) => {}
        // That this node cannot read its text is not the peer's fault.
        Err(error) => tracing::error!(%hotkey, %error, "the digest of a peer's data could not be checked"),
    }
    let ours = view.replica.shown(&run, hotkey, window);
    let step = view.replica.sync_unit();
    let steps_behind = sync::steps_behind(&ours, &payload.header.model_samples, step);
    Ok((payload, steps_behind))
}
