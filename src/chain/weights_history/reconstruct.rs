//! What one block's events tell of weights: each row that changed, each commit that was made or ended.

use std::collections::BTreeMap;

use crate::{
    chain::{
        ids,
        weights_history::{
            block::{BlockContent, BlockEvent, Row},
            event::{CommitScheme, WeightAction, WeightEvent},
            pending_commits::CommitId,
        },
    },
    wallet::AccountId,
    window::{NetUid, Uid},
};

/// A commit, as far as it is known besides its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chain) struct KnownCommit {
    pub(in crate::chain) who: AccountId,
    pub(in crate::chain) round: Option<u64>,
    /// Its validator's UID when it was first seen.
    pub(in crate::chain) uid: Option<Uid>,
}

/// A commit that ended in the block, one way or the other.
#[derive(Debug, Clone)]
pub(in crate::chain) struct EndedCommit {
    pub(in crate::chain) name: CommitId,
    pub(in crate::chain) known: KnownCommit,
    /// Whether it was lost already in an earlier block, which was told there.
    pub(in crate::chain) told: bool,
}

/// Which of the commits that ended in a block were revealed in it: one for each.
pub(in crate::chain) fn revealed(content: &BlockContent, ended: &[EndedCommit]) -> Vec<bool> {
    let mut is = vec![false; ended.len()];
    for event in &content.happened {
        let BlockEvent::Revealed { who, index, scheme, hashes } = event else { continue };
        let same = |at: &usize| {
            let ended = &ended[*at];
            (ended.name.index, ended.name.scheme) == (*index, *scheme)
        };
        match scheme {
            CommitScheme::Salted => {
                for hash in hashes {
                    let mut with_hash =
                        (0..ended.len()).filter(same).filter(|at| ended[*at].name.hash == *hash);
                    let own = with_hash.clone().find(|at| !is[*at] && ended[*at].known.who == *who);
                    if let Some(at) = own.or_else(|| with_hash.find(|at| !is[*at])) {
                        is[at] = true;
                    }
                }
            }
            // The event does not say which. They are opened in their order; if some did not open, the chain
            // does not say either which ones, and the newest are taken.
            CommitScheme::Timelocked => {
                let own = (0..ended.len()).filter(same).filter(|at| ended[*at].known.who == *who && !is[*at]);
                if let Some(at) = own.max_by_key(|at| ended[*at].name.block) {
                    is[at] = true;
                }
            }
        }
    }
    is
}

/// What happened in the block, of which `ended` are the commits that went and `lost` those whose time was up.
pub(in crate::chain) fn reconstruct(
    content: &BlockContent,
    netuid: NetUid,
    ended: &[EndedCommit],
    lost: &[(CommitId, KnownCommit)],
) -> Vec<WeightEvent> {
    let event = |index: u16, uid: Option<Uid>, hotkey: &AccountId, what: WeightAction| WeightEvent {
        block: content.head.number,
        hash: content.head.hash,
        time_ms: content.time_ms,
        netuid,
        mechanism: ids::mechanism_of(index),
        validator_uid: uid,
        hotkey: hotkey.clone(),
        what,
    };
    let is_revealed = revealed(content, ended);
    let mut events = Vec::new();
    for (row, was_revealed) in rows(content) {
        let nobody = AccountId::new([0; 32]);
        let hotkey = content.hotkeys.get(&row.1).unwrap_or(&nobody);
        let weights = content.rows.get(&row).cloned().unwrap_or_default();
        if !was_revealed {
            events.push(event(row.0, Some(row.1), hotkey, WeightAction::Set { weights }));
            continue;
        }
        let own = ended.iter().zip(&is_revealed).filter(|(ended, revealed)| {
            **revealed && ended.name.index == row.0 && ended.known.who == *hotkey
        });
        let mut commits: Vec<_> = own.map(|(ended, _)| Some(ended.name.shown(ended.known.round))).collect();
        if commits.is_empty() {
            commits.push(None);
        }
        events.extend(commits.into_iter().map(|commit| {
            let what = WeightAction::Reveal { commit, weights: weights.clone() };
            event(row.0, Some(row.1), hotkey, what)
        }));
    }
    for happened in &content.happened {
        if let BlockEvent::Committed { who, index, scheme, hash, round } = happened {
            let (index, scheme) = (*index, *scheme);
            let name = CommitId { index, scheme, block: content.head.number, hash: *hash };
            let what = WeightAction::Commit { commit: name.shown(*round) };
            events.push(event(index, content.uid(who), who, what));
        }
    }
    let unrevealed = ended.iter().zip(is_revealed).filter(|(ended, revealed)| !revealed && !ended.told);
    let unrevealed = unrevealed.map(|(ended, _)| (&ended.name, &ended.known));
    for (name, known) in unrevealed.chain(lost.iter().map(|(name, known)| (name, known))) {
        let what = WeightAction::NeverRevealed { commit: name.shown(known.round) };
        events.push(event(name.index, known.uid, &known.who, what));
    }
    events
}

/// The rows that were set, and whether what stands there was revealed. The event of a reveal comes after those
/// of the rows that it sets.
fn rows(content: &BlockContent) -> BTreeMap<Row, bool> {
    let mut rows = BTreeMap::new();
    for event in &content.happened {
        match event {
            BlockEvent::Set { row } => _ = rows.insert(*row, false),
            BlockEvent::Revealed { who, index, .. } => {
                if let Some(revealed) = content.uid(who).and_then(|uid| rows.get_mut(&(*index, uid))) {
                    *revealed = true;
                }
            }
            BlockEvent::Committed { .. } => {}
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Head;

    fn key(of: u8) -> AccountId {
        AccountId::new([of; 32])
    }

    fn block(happened: Vec<BlockEvent>) -> BlockContent {
        BlockContent {
            head: Head { number: 50, hash: [9; 32] },
            time_ms: 1,
            happened,
            updates: BTreeMap::new(),
            rows: BTreeMap::from([((3, 1), vec![(0, 65535)])]),
            hotkeys: BTreeMap::from([(1, key(1)), (2, key(2))]),
        }
    }

    fn ended(scheme: CommitScheme, block: u64, hash: u8, who: u8) -> EndedCommit {
        EndedCommit {
            name: CommitId { index: 3, scheme, block, hash: [hash; 32] },
            known: KnownCommit { who: key(who), round: None, uid: Some(who.into()) },
            told: false,
        }
    }

    fn kinds(events: &[WeightEvent]) -> Vec<(&str, Option<u64>, Option<Uid>)> {
        events.iter().map(|e| (e.what.kind(), e.what.commit().map(|c| c.block), e.validator_uid)).collect()
    }

    #[test]
    fn a_salted_reveal_names_its_commit_and_drops_those_before_it() {
        use CommitScheme::Salted;
        let content = block(vec![
            BlockEvent::Set { row: (3, 1) },
            BlockEvent::Revealed { who: key(1), index: 3, scheme: Salted, hashes: vec![[5; 32]] },
        ]);
        // Somebody repeated the hash: it is the revealer's own commit that was revealed.
        let ended = [ended(Salted, 30, 4, 1), ended(Salted, 31, 5, 2), ended(Salted, 32, 5, 1)];
        let told = reconstruct(&content, 3, &ended, &[]);
        assert_eq!(
            kinds(&told),
            [
                ("reveal", Some(32), Some(1)),
                ("never_revealed", Some(30), Some(1)),
                ("never_revealed", Some(31), Some(2))
            ]
        );
    }

    #[test]
    fn of_timelocked_ones_as_many_are_revealed_as_the_chain_says() {
        use CommitScheme::Timelocked;
        let reveal = || BlockEvent::Revealed { who: key(1), index: 3, scheme: Timelocked, hashes: vec![] };
        let set = || BlockEvent::Set { row: (3, 1) };
        let both = [ended(Timelocked, 30, 4, 1), ended(Timelocked, 31, 5, 1)];
        let one = reconstruct(&block(vec![set(), reveal()]), 3, &both, &[]);
        assert_eq!(kinds(&one), [("reveal", Some(31), Some(1)), ("never_revealed", Some(30), Some(1))]);
        let two = reconstruct(&block(vec![set(), reveal(), set(), reveal()]), 3, &both, &[]);
        assert_eq!(kinds(&two), [("reveal", Some(30), Some(1)), ("reveal", Some(31), Some(1))]);
        let none = reconstruct(&block(vec![]), 3, &both, &[]);
        assert_eq!(none.len(), 2);
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let mut dropped = ended(CommitScheme::Salted, 30, 4, 1);
        dropped.told = true;
        let events = reconstruct(&block(vec![BlockEvent::Set { row: (3, 1) }]), 3, &[dropped], &[]);
        assert_eq!(kinds(&events), [("set", None, Some(1))]);
    }
}
