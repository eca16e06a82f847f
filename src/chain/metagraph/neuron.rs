//! Neurons, and the metagraph that they make.

use serde::{Deserialize, Serialize};

use super::details::{NeuronDetails, SubnetDetails};
use crate::{
    chain::types::hex_bytes,
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// One neuron of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neuron {
    /// Its UID.
    pub uid: Uid,
    /// The key it works with.
    pub hotkey: AccountId,
    /// The key that owns it.
    pub coldkey: AccountId,
    /// Stake weight in rao: its alpha on this subnet, and `TaoWeight / 2^64` of what it has on the root.
    pub stake: u64,
    /// Whether it has set weights within the activity cutoff.
    pub active: bool,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// Consensus weight, of 65535.
    pub consensus: u16,
    /// Share of the miners' emission, of 65535.
    pub incentive: u16,
    /// Share of the validators' emission, of 65535.
    pub dividends: u16,
    /// How much of its weight the consensus kept, of 65535.
    pub validator_trust: u16,
    /// Alpha (in rao) it earned in the last epoch.
    pub emission: u64,
    /// The block of its last weights, or of its registration.
    pub last_update: Block,
    /// The block of its registration.
    pub block_at_registration: Block,
    /// What is shown and not acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<NeuronDetails>,
}

/// A subnet's neurons as they stood at one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metagraph {
    /// The subnet.
    pub netuid: NetUid,
    /// The block.
    pub block: Block,
    /// That block's hash.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
    /// Blocks between two epochs.
    pub tempo: u16,
    /// The neurons; the one at index i has UID i.
    pub neurons: Vec<Neuron>,
    /// The subnet's own facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<SubnetDetails>,
}

impl Metagraph {
    /// The neuron with this hotkey.
    pub fn neuron(&self, hotkey: &AccountId) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The neuron with this UID.
    pub fn uid(&self, uid: Uid) -> Option<&Neuron> {
        self.neurons.get(usize::from(uid))
    }

    /// Who publishes the rounds: the highest stake among those with a validator permit, the lowest UID of equals.
    pub fn leader(&self) -> Option<&Neuron> {
        self.neurons
            .iter()
            .filter(|neuron| neuron.validator_permit)
            .min_by_key(|neuron| (std::cmp::Reverse(neuron.stake), neuron.uid))
    }

    /// Those who may set weights, by UID.
    pub fn validators(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.iter().filter(|neuron| neuron.validator_permit)
    }
}

/// `alpha + root * tao_weight / (2^64 - 1)`, rounded down; what children and parents pass on is not in it.
pub(in crate::chain) fn stake_weight(alpha: u64, root: u64, tao_weight: u64) -> u64 {
    let from_root = u128::from(root) * u128::from(tao_weight) / u128::from(u64::MAX);
    alpha.saturating_add(from_root as u64)
}

#[cfg(test)]
impl Neuron {
    /// An active neuron whose keys are made of its UID and whose numbers are 0.
    pub(crate) fn of_tests(uid: Uid, stake: u64, validator_permit: bool) -> Self {
        let key = AccountId::new([uid as u8; 32]);
        Self {
            uid,
            hotkey: key.clone(),
            coldkey: key,
            stake,
            active: true,
            validator_permit,
            consensus: 0,
            incentive: 0,
            dividends: 0,
            validator_trust: 0,
            emission: 0,
            last_update: 0,
            block_at_registration: 0,
            details: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::types::Head;

    fn neuron(uid: Uid, stake: u64, validator_permit: bool) -> Neuron {
        Neuron::of_tests(uid, stake, validator_permit)
    }

    #[test]
    fn the_leader_has_the_most_stake_of_those_with_a_permit() {
        let mut metagraph =
            Metagraph { netuid: 3, block: 9, hash: [0; 32], tempo: 10, neurons: vec![], details: None };
        assert_eq!(metagraph.leader(), None);
        metagraph.neurons =
            vec![neuron(0, 90, false), neuron(1, 20, true), neuron(2, 50, true), neuron(3, 50, true)];
        assert_eq!(metagraph.leader().unwrap().uid, 2);
        assert_eq!(metagraph.neuron(&AccountId::new([3; 32])).unwrap().uid, 3);
        assert_eq!(metagraph.validators().count(), 3);
        assert_eq!(metagraph.uid(4), None);
    }

    #[test]
    fn json_shows_addresses_and_hashes_as_text() {
        let head = Head { number: 7, hash: [0xab; 32] };
        let text = serde_json::to_string(&head).unwrap();
        assert_eq!(text, format!(r#"{{"number":7,"hash":"0x{}"}}"#, "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), head);
        let json = serde_json::to_value(neuron(1, 2, true)).unwrap();
        assert_eq!(json["hotkey"], AccountId::new([1; 32]).to_string());
        // What was written before there were details reads as before.
        assert_eq!(serde_json::from_value::<Neuron>(json).unwrap(), neuron(1, 2, true));
    }

    #[test]
    fn root_stake_counts_in_part() {
        assert_eq!(stake_weight(5, 0, u64::MAX), 5);
        assert_eq!(stake_weight(5, 1_000, u64::MAX), 1_005);
        // The chain's default, about 0.0527 of a TAO for each TAO on the root.
        assert_eq!(stake_weight(0, 1_000_000_000, 971_718_665_099_567_868), 52_676_974);
        assert_eq!(stake_weight(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }
}
