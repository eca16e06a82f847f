//! The peers' objects of a window, looked at again.

use super::{AuditError, Auditor, is_gone};
use crate::{
    gauntlet::{ScoreRecord, stage1::Stage1},
    gradient::PseudoGradient,
    node::{
        NodeError, View, fetch_round_object,
        gather::{Delivered, Gathered, Peer, one},
    },
    round::RoundRecord,
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
                        match self.leaders_copy(view, round, record).await? {
                            Some(payload) => Some(Delivered::here(payload, Bytes::new())),
                            None => return Ok(Err(format!("the object of UID {uid} {how}"))),
                        }
                    } else {
                        None
                    };
                    let source = if delivered.is_some() {
                        "its content was taken from the leader's copy, its timing from the log"
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

    /// What was aggregated is kept by the leader, under its peer's signature.
    async fn leaders_copy(
        &self,
        view: &View<'_>,
        round: &RoundRecord,
        record: &ScoreRecord,
    ) -> Result<Option<PseudoGradient>, NodeError> {
        let Some(accepted) = round.accepted.iter().find(|a| a.hotkey == record.hotkey) else {
            return Ok(None);
        };
        let View { identity, directory, replica, .. } = view;
        match fetch_round_object(identity, directory, replica, round.window, accepted).await {
            Ok(payload) => Ok(Some(payload)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
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
