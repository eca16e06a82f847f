//! What changed in a subnet between two blocks.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    chain::metagraph::neuron::{Metagraph, Neuron},
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// What changed in a subnet between two blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetagraphDiff {
    /// The subnet.
    pub netuid: NetUid,
    /// The earlier block.
    pub from_block: Block,
    /// The later block.
    pub to_block: Block,
    /// The changes, by UID.
    pub changes: Vec<Change>,
}

/// What happened to one UID.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A neuron registered as a new UID.
    Joined {
        /// The UID.
        uid: Uid,
        /// Whose it is now.
        hotkey: AccountId,
    },
    /// The UID is gone, and its neuron with it.
    Left {
        /// The UID.
        uid: Uid,
        /// Whose it was.
        hotkey: AccountId,
    },
    /// Another hotkey has the UID.
    Replaced {
        /// The UID.
        uid: Uid,
        /// Whose it was.
        before: AccountId,
        /// Whose it is now.
        hotkey: AccountId,
    },
    /// The same neuron is in another state.
    Changed {
        /// The UID.
        uid: Uid,
        /// Whose it is.
        hotkey: AccountId,
        /// The field, by its name in [`Neuron`].
        field: &'static str,
        /// Its value at the earlier block.
        before: Value,
        /// Its value at the later block.
        after: Value,
    },
}

impl Change {
    /// The UID.
    pub fn uid(&self) -> Uid {
        match self {
            Self::Joined { uid, .. }
            | Self::Left { uid, .. }
            | Self::Replaced { uid, .. }
            | Self::Changed { uid, .. } => *uid,
        }
    }
}

impl MetagraphDiff {
    /// What changed from one metagraph to a later one of the same subnet.
    pub fn between(earlier: &Metagraph, later: &Metagraph) -> Self {
        let mut changes = Vec::new();
        let slots = earlier.neurons.len().max(later.neurons.len());
        for uid in (0..=Uid::MAX).take(slots) {
            match (earlier.uid(uid), later.uid(uid)) {
                (None, Some(new)) => changes.push(Change::Joined { uid, hotkey: new.hotkey.clone() }),
                (Some(old), None) => changes.push(Change::Left { uid, hotkey: old.hotkey.clone() }),
                (Some(old), Some(new)) if old.hotkey != new.hotkey => changes.push(Change::Replaced {
                    uid,
                    before: old.hotkey.clone(),
                    hotkey: new.hotkey.clone(),
                }),
                (Some(old), Some(new)) => changes.extend(changed(old, new)),
                (None, None) => {}
            }
        }
        Self { netuid: later.netuid, from_block: earlier.block, to_block: later.block, changes }
    }
}

/// The fields in which two states of one neuron differ.
fn changed(old: &Neuron, new: &Neuron) -> impl Iterator<Item = Change> {
    let axon = |neuron: &Neuron| {
        let axon = neuron.details.as_ref().and_then(|details| details.axon.as_ref());
        json!(axon.map(|axon| format!("{}:{}", axon.ip, axon.port)))
    };
    let fields = [
        ("coldkey", json!(old.coldkey), json!(new.coldkey)),
        ("stake", json!(old.stake), json!(new.stake)),
        ("active", json!(old.active), json!(new.active)),
        ("validator_permit", json!(old.validator_permit), json!(new.validator_permit)),
        ("consensus", json!(old.consensus), json!(new.consensus)),
        ("incentive", json!(old.incentive), json!(new.incentive)),
        ("dividends", json!(old.dividends), json!(new.dividends)),
        ("validator_trust", json!(old.validator_trust), json!(new.validator_trust)),
        ("emission", json!(old.emission), json!(new.emission)),
        ("last_update", json!(old.last_update), json!(new.last_update)),
        ("axon", axon(old), axon(new)),
    ];
    let (uid, hotkey) = (new.uid, new.hotkey.clone());
    fields.into_iter().filter(|(_, before, after)| before != after).map(move |(field, before, after)| {
        Change::Changed { uid, hotkey: hotkey.clone(), field, before, after }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neuron(uid: Uid, hotkey: u8, stake: u64) -> Neuron {
        Neuron { hotkey: AccountId::new([hotkey; 32]), ..Neuron::of_tests(uid, stake, false) }
    }

    fn metagraph(block: Block, neurons: Vec<Neuron>) -> Metagraph {
        Metagraph { netuid: 3, block, hash: [0; 32], tempo: 5, neurons, details: None }
    }

    #[test]
    fn who_came_went_and_changed() {
        let earlier = metagraph(5, vec![neuron(0, 1, 10), neuron(1, 2, 10), neuron(2, 3, 10)]);
        let later = metagraph(9, vec![neuron(0, 1, 11), neuron(1, 9, 10), neuron(2, 3, 10), neuron(3, 4, 0)]);
        let diff = MetagraphDiff::between(&earlier, &later);
        let json = serde_json::to_value(&diff).unwrap();
        assert_eq!((&json["from_block"], &json["to_block"]), (&json!(5), &json!(9)));
        let changes = json["changes"].as_array().unwrap();
        let kinds: Vec<_> = changes.iter().map(|change| (&change["uid"], &change["change"])).collect();
        assert_eq!(
            kinds,
            [(&json!(0), &json!("changed")), (&json!(1), &json!("replaced")), (&json!(3), &json!("joined"))]
        );
        assert_eq!(
            (&changes[0]["field"], &changes[0]["before"], &changes[0]["after"]),
            (&json!("stake"), &json!(10), &json!(11))
        );
        let back = MetagraphDiff::between(&later, &earlier);
        assert!(matches!(back.changes.last(), Some(Change::Left { uid: 3, .. })));
        assert!(MetagraphDiff::between(&later, &later).changes.is_empty());
    }
}
