//! What validators did with their weights, one thing after another.

use serde::{Deserialize, Serialize};

use crate::{
    chain::types::hex_bytes,
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// One setting of weights: who set them, when, and the vector as it stood at the end of that block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSetting {
    /// The block.
    pub block: Block,
    /// The block's hash.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
    /// The chain's time at that block, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Which of the subnet's mechanisms; 0 where it has one.
    pub mechanism: u8,
    /// The validator's UID.
    pub validator_uid: Uid,
    /// Its hotkey at that block.
    pub hotkey: AccountId,
    /// UID and weight; the largest weight is 65535.
    pub weights: Vec<(Uid, u16)>,
}

/// One thing that a validator did with its weights, or that became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightEvent {
    /// The block.
    pub block: Block,
    /// The block's hash.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
    /// The chain's time at that block, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The subnet.
    pub netuid: NetUid,
    /// Which of the subnet's mechanisms; 0 where it has one.
    pub mechanism: u8,
    /// The validator's UID at that block; for what was never revealed, at the block of the commit, and none if
    /// the hotkey had lost its UID by then.
    pub validator_uid: Option<Uid>,
    /// The validator's hotkey.
    pub hotkey: AccountId,
    /// What happened.
    #[serde(flatten)]
    pub what: WeightAction,
}

/// What happened to a validator's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WeightAction {
    /// They were set in the open.
    Set {
        /// UID and weight as they stood at the end of the block; the largest weight is 65535.
        weights: Vec<(Uid, u16)>,
    },
    /// They were committed to, and nobody knows them yet.
    Commit {
        /// The commit.
        commit: CommitRef,
    },
    /// A commit was opened, and its weights count from here on.
    Reveal {
        /// The commit; none if the chain had it under another name, as after a change of hotkey in that block.
        commit: Option<CommitRef>,
        /// UID and weight as they stood at the end of the block. Of several commits of one validator that were
        /// opened in one block, the last one's.
        weights: Vec<(Uid, u16)>,
    },
    /// A commit ended without its weights: its time ran out, it did not open, or a later one was revealed
    /// before it.
    NeverRevealed {
        /// The commit.
        commit: CommitRef,
    },
}

/// A commit to weights.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommitRef {
    /// How it hides the weights.
    pub scheme: CommitScheme,
    /// The block in which it was made.
    pub block: Block,
    /// BLAKE2b-256 of what is hidden: of the weights with their salt, or of the ciphertext.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
    /// The round of the randomness beacon that opens a timelocked one; old runtimes do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveal_round: Option<u64>,
}

/// How a commit hides weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitScheme {
    /// A hash, which the validator opens itself.
    Salted,
    /// A ciphertext, which the chain opens when its round of the beacon has come.
    Timelocked,
}

impl WeightAction {
    /// `set`, `commit`, `reveal` or `never_revealed`, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set",
            Self::Commit { .. } => "commit",
            Self::Reveal { .. } => "reveal",
            Self::NeverRevealed { .. } => "never_revealed",
        }
    }

    /// The weights that began to count, if it is one of the kinds that has any.
    pub fn weights(&self) -> Option<&[(Uid, u16)]> {
        match self {
            Self::Set { weights } | Self::Reveal { weights, .. } => Some(weights),
            Self::Commit { .. } | Self::NeverRevealed { .. } => None,
        }
    }

    /// The commit that it is about, if it is about one.
    pub fn commit(&self) -> Option<&CommitRef> {
        match self {
            Self::Set { .. } => None,
            Self::Reveal { commit, .. } => commit.as_ref(),
            Self::Commit { commit } | Self::NeverRevealed { commit } => Some(commit),
        }
    }
}

impl CommitScheme {
    /// `salted` or `timelocked`, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Salted => "salted",
            Self::Timelocked => "timelocked",
        }
    }
}

/// The settings among the events: each row that changed, once for each block.
pub(in crate::chain) fn settings(events: Vec<WeightEvent>) -> Vec<WeightSetting> {
    let mut settings: Vec<WeightSetting> = Vec::new();
    for event in events {
        let (Some(weights), Some(validator_uid)) = (event.what.weights(), event.validator_uid) else {
            continue;
        };
        let same = |s: &&WeightSetting| s.block == event.block;
        let same =
            settings.iter().rev().take_while(same).any(|setting| {
                (setting.mechanism, setting.validator_uid) == (event.mechanism, validator_uid)
            });
        if !same {
            settings.push(WeightSetting {
                block: event.block,
                hash: event.hash,
                time_ms: event.time_ms,
                mechanism: event.mechanism,
                validator_uid,
                weights: weights.to_vec(),
                hotkey: event.hotkey,
            });
        }
    }
    settings.sort_by_key(|setting| (setting.block, setting.mechanism, setting.validator_uid));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_flat_with_the_kind_and_reads_back() {
        let commit =
            CommitRef { scheme: CommitScheme::Timelocked, block: 3, hash: [1; 32], reveal_round: Some(9) };
        let actions = [
            WeightAction::Set { weights: vec![(1, 65535)] },
            WeightAction::Commit { commit: commit.clone() },
            WeightAction::Reveal { commit: Some(commit.clone()), weights: vec![] },
            WeightAction::Reveal { commit: None, weights: vec![] },
            WeightAction::NeverRevealed { commit },
        ];
        for what in actions {
            let kind = what.kind();
            let event = WeightEvent {
                block: 7,
                hash: [2; 32],
                time_ms: 8,
                netuid: 3,
                mechanism: 1,
                validator_uid: None,
                hotkey: AccountId::new([4; 32]),
                what,
            };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!((&json["kind"], &json["block"]), (&kind.into(), &7.into()));
            assert_eq!(serde_json::from_value::<WeightEvent>(json).unwrap(), event);
        }
    }
}
