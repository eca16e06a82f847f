//! What the chain says, in plain types: no type of any client library is in them.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{ChainError, NeuronDetails, SubnetDetails};
use crate::{
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// Rao in one TAO.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// A finalized block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub number: Block,
    /// Its hash.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
}

/// Where a transaction ended up: it is final, and it succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Included {
    /// The block's number.
    pub block: Block,
    /// The block's hash.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
}

/// Finalized blocks as they come: each once, in order, none left out, whatever happens to the connection.
#[derive(Debug)]
pub struct Heads(mpsc::Receiver<Result<Head, ChainError>>);

impl Heads {
    /// From the receiving end of a channel that some implementation of [`super::Chain`] feeds.
    pub fn new(receiver: mpsc::Receiver<Result<Head, ChainError>>) -> Self {
        Self(receiver)
    }

    /// The next block; waits for it.
    ///
    /// # Errors
    /// [`ChainError::OtherChain`] if the node has begun to serve another chain; [`ChainError::Closed`] after that,
    /// or once the client is gone. A lost connection is no error: it is made again.
    pub async fn next(&mut self) -> Result<Head, ChainError> {
        self.0.recv().await.unwrap_or(Err(ChainError::Closed))
    }
}

/// One neuron of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neuron {
    /// Its slot.
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

    /// The neuron in this slot.
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
    /// The validator's slot.
    pub validator_uid: Uid,
    /// The hotkey in that slot at that block.
    pub hotkey: AccountId,
    /// UID and weight; the largest weight is 65535.
    pub weights: Vec<(Uid, u16)>,
}

/// The settings of a subnet that neurons act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Blocks between two epochs; 0 means no epochs.
    pub tempo: u16,
    /// Blocks that must lie between two settings of weights.
    pub weights_rate_limit: u64,
    /// The lowest version key that weights may carry; 0 takes any.
    pub weights_version: u64,
    /// Whether weights must be committed and revealed.
    pub commit_reveal_weights_enabled: bool,
    /// The fewest weights in one setting.
    pub min_allowed_weights: u16,
    /// The most neurons.
    pub max_uids: u16,
    /// The most validators.
    pub max_validators: u16,
    /// Blocks in which a new neuron is not replaced.
    pub immunity_period: u16,
    /// Whether neurons may register.
    pub registration_allowed: bool,
    /// What registering costs now, rao.
    pub burn: u64,
    /// The stake weight needed to set weights, rao.
    pub stake_threshold: u64,
    /// Whether alpha may be bought and sold: false until the owner has started the subnet.
    pub subtoken_enabled: bool,
    /// The coldkey that owns the subnet.
    pub owner: AccountId,
}

/// A setting that only the chain's administrator (on a development chain: `//Alice`) may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "every field is the subnet, or the new value of what the variant names")]
pub enum AdminCall {
    /// Blocks before an epoch in which nothing may be changed.
    AdminFreezeWindow { blocks: u16 },
    /// Blocks between two epochs.
    Tempo { netuid: NetUid, blocks: u16 },
    /// Blocks between two settings of weights.
    WeightsSetRateLimit { netuid: NetUid, blocks: u64 },
    /// The lowest version key that weights may carry.
    WeightsVersionKey { netuid: NetUid, key: u64 },
    /// Whether weights must be committed and revealed.
    CommitRevealWeightsEnabled { netuid: NetUid, enabled: bool },
    /// Blocks in which a new neuron is not replaced.
    ImmunityPeriod { netuid: NetUid, blocks: u16 },
    /// The fewest weights in one setting.
    MinAllowedWeights { netuid: NetUid, count: u16 },
    /// The most neurons.
    MaxAllowedUids { netuid: NetUid, count: u16 },
    /// The most validators.
    MaxAllowedValidators { netuid: NetUid, count: u16 },
    /// The stake weight needed to set weights, rao.
    StakeThreshold { rao: u64 },
    /// Whether neurons may register.
    NetworkRegistrationAllowed { netuid: NetUid, allowed: bool },
    /// The least that registering costs, rao.
    MinBurn { netuid: NetUid, rao: u64 },
    /// The most that registering costs, rao.
    MaxBurn { netuid: NetUid, rao: u64 },
    /// Whether alpha may be bought and sold.
    SubtokenEnabled { netuid: NetUid, enabled: bool },
    /// The kind of timelocked weight commit that the runtime takes; 4 is the newest.
    CommitRevealVersion { version: u16 },
    /// Epochs between a weight commit and its reveal.
    RevealPeriod { netuid: NetUid, epochs: u64 },
    /// Tries that a registration by proof of work takes on average.
    Difficulty { netuid: NetUid, difficulty: u64 },
    /// The most registrations in one block.
    MaxRegistrationsPerBlock { netuid: NetUid, count: u16 },
    /// Registrations that are expected in one interval of their price; three times as many are taken.
    TargetRegistrations { netuid: NetUid, count: u16 },
}

/// Bytes as `0x` and hex in serde's human formats.
pub(crate) mod hex_bytes {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0x{}", hex::encode(bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("a hash has 32 bytes"))
    }
}

#[cfg(test)]
impl Neuron {
    /// An active neuron whose keys are made of its slot and whose numbers are 0.
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
}
