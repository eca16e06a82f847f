//! The peers' objects of a window, looked at again.

use super::{AuditError, Auditor, is_gone};
use crate::{
    bucket::BucketError,
    gauntlet::{ScoreRecord, stage1::Stage1},
    gradient::{self, Expected, PseudoGradient},
    node::{
        NodeError, View, fetch_round_object,
        gather::{Delivered, Gathered, Peer, one},
    },
    round::RoundRecord,
    wallet::verify,
    window::{PutWindow, Window},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What was found, and what had to be taken from the log.
pub(super) struct Found {
    pub(super) gathered: Gathered,
    pub(super) notes: Vec<String>,
}

/// What today's look at an object says about the look that the validator took.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// It is comparable.
    Stands,
    /// The object was removed or replaced since; the words say which.
    Moved(&'static str),
}

impl Auditor {
    /// Looks at the object of every peer that the log has a record of. `Err` of the inner result says why
    /// the window cannot be repeated.
    pub(super) async fn objects(
        &self,
        view: &View<'_>,
        window: Window,
        put: &PutWindow,
        round: &RoundRecord,
        records: &[ScoreRecord],
    ) -> Result<Result<Found, String>, AuditError> {
        let mut found = Found { gathered: Gathered { peers: BTreeMap::new() }, notes: Vec::new() };
        for record in records {
            let (uid, hotkey) = (record.uid, &record.hotkey);
            let store = view.directory.store(hotkey).cloned();
            let seen = one(view, window, put, uid, hotkey, store).await;
            let peer = match compare(&record.stage1, &seen.stage1) {
                Now::Stands => seen,
                Now::Moved(how) => {
                    let stage1 = record.stage1.clone();
                    let delivered = if stage1.is_accepted() {
                        match self.copy(view, round, record).await? {
                            Some(payload) => Some(Delivered::here(payload, Bytes::new())),
                            None => return Ok(Err(format!("the object of UID {uid} {how}"))),
                        }
                    } else {
                        None
                    };
                    let source = if delivered.is_some() {
                        "its content was taken from a validator's copy, its timing from the log"
                    } else {
                        "the verdict on it was taken from the log"
                    };
                    found.notes.push(format!("the object of UID {uid} {how}: {source}"));
                    Peer { uid, stage1, delivered }
                }
            };
            found.gathered.peers.insert(hotkey.clone(), peer);
        }
        Ok(Ok(found))
    }

    /// What was aggregated is kept by the leader, and what was judged by the validator that judged it, under its peer's signature.
    async fn copy(
        &self,
        view: &View<'_>,
        round: &RoundRecord,
        record: &ScoreRecord,
    ) -> Result<Option<PseudoGradient>, NodeError> {
        let View { identity, directory, replica, .. } = view;
        let found = match round.accepted.iter().find(|a| a.hotkey == record.hotkey) {
            Some(accepted) => {
                fetch_round_object(identity, directory, replica, round.window, accepted).await.map(Some)
            }
            None => self.judged_copy(view, round.window, record).await,
        };
        match found {
            Err(error) if is_gone(&error) => Ok(None),
            found => found,
        }
    }

    /// The audited validator's copy of an object that was not aggregated. The digest in its log decides, which is of what the peer has signed.
    async fn judged_copy(
        &self,
        view: &View<'_>,
        window: Window,
        record: &ScoreRecord,
    ) -> Result<Option<PseudoGradient>, NodeError> {
        let View { identity, directory, replica, .. } = view;
        let (Some(digest), Some(store)) = (&record.digest, directory.store(&self.audited.hotkey)) else {
            return Ok(None);
        };
        let (uid, hotkey) = (record.uid, record.hotkey.clone());
        let layout = replica.layout();
        let key = identity.keys().judged(window, &hotkey);
        let object = match store.get(&key, layout.max_object_bytes() as u64).await {
            Err(BucketError::NotFound { .. }) => return Ok(None),
            object => object?,
        };
        let run = identity.manifest.hash();
        let expected = Expected { run, netuid: identity.netuid, window, uid, hotkey };
        let payload = gradient::decode(&object.bytes, layout, &expected, verify);
        Ok(payload.ok().filter(|payload| hex::encode(payload.digest) == *digest))
    }
}

/// An object can only have become later, or have gone, since the validator looked. Everything else is a
/// difference.
fn compare(logged: &Stage1, now: &Stage1) -> Now {
    match (logged, now) {
        (Stage1::Absent, Stage1::Absent) => Now::Stands,
        (Stage1::Unanswered, _) => Now::Moved("did not answer then"),
        (_, Stage1::Unanswered) => Now::Moved("cannot be asked for now"),
        (_, Stage1::Absent) => Now::Moved("is not there any more"),
        (Stage1::Late { seconds: then }, Stage1::Late { seconds }) if seconds <= then => Now::Stands,
        // An object that came after the validator had looked does not make its verdict wrong.
        (_, Stage1::Late { .. }) => Now::Moved("was uploaded or replaced after the put window"),
        _ => Now::Stands,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauntlet::stage1::malformed;

    #[test]
    fn only_what_can_have_happened_since_excuses_the_log() {
        let accepted = Stage1::Accepted { seconds: 1, steps_behind: 0.0 };
        let late = |seconds| Stage1::Late { seconds };
        assert_eq!(compare(&accepted, &accepted), Now::Stands);
        assert_eq!(compare(&accepted, &malformed("x")), Now::Stands, "a difference, to be found as one");
        assert_eq!(compare(&Stage1::Absent, &accepted), Now::Stands, "it was there in time");
        assert_eq!(compare(&late(9), &accepted), Now::Stands);
        assert_eq!(compare(&late(9), &late(3)), Now::Stands);
        for (logged, now) in [
            (accepted.clone(), Stage1::Absent),
            (accepted, late(100)),
            (Stage1::Absent, late(100)),
            (late(3), late(100)),
            (malformed("x"), Stage1::Absent),
        ] {
            assert!(matches!(compare(&logged, &now), Now::Moved(_)), "{logged:?} {now:?}");
        }
    }
}
