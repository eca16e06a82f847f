//! What to set, what was set, and the calls that do it.

use serde::{Deserialize, Serialize};
use subxt::{
    ext::scale_value::{Composite, Value},
    tx::DynamicPayload,
};

use crate::{
    chain::{
        ids,
        timelock::{self, COMMIT_REVEAL_VERSION},
        types::Included,
    },
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// Numbers in a salt; eight are the custom.
const SALT: usize = 8;

/// How weights get on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsPath {
    /// `set_weights`: for all to see, at once.
    Plain,
    /// `commit_timelocked_weights`: the chain opens them by itself.
    Timelocked,
    /// `commit_weights`, and `reveal_weights` one reveal period later.
    Salted,
}

/// What to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsRequest {
    /// The subnet.
    pub netuid: NetUid,
    /// The mechanism of the subnet; the first is 0.
    #[serde(default)]
    pub mechanism: u8,
    /// UID and weight; the chain scales them so that the largest is 65535.
    pub weights: Vec<(Uid, u16)>,
    /// Version of the rules by which they were made; a subnet may ask for a lowest one.
    pub version_key: u64,
}

/// What was set, or committed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubmittedWeights {
    /// Where the transaction is.
    pub included: Included,
    /// How they got there.
    pub path: WeightsPath,
    /// For a timelocked commit: the beacon's round that opens it.
    pub round: Option<u64>,
    /// For a timelocked commit: the first block in which the chain can open it.
    pub opens_at: Option<Block>,
    /// For a salted commit: what has to be revealed. Nobody else may see it before.
    #[serde(skip)]
    pub salted: Option<SaltedCommit>,
}

/// A salted commit and what is behind it, to be kept until it is revealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaltedCommit {
    /// What was committed to.
    pub request: WeightsRequest,
    /// Keeps others from guessing.
    pub salt: Vec<u16>,
    /// The hash that is on chain.
    #[serde(with = "crate::chain::types::hex_bytes")]
    pub hash: [u8; 32],
    /// Whose commit it is. Not in files of earlier versions.
    #[serde(default)]
    pub hotkey: Option<AccountId>,
    /// The hash of the first block of its chain. Not in files of earlier versions.
    #[serde(default, with = "hex_if_known")]
    pub genesis: Option<[u8; 32]>,
    /// The block that the commit is in; none while that is not known.
    pub block: Option<Block>,
    /// The last block that it can be in, where it is not known to be in one.
    #[serde(default)]
    pub until: Option<Block>,
    /// Whose each UID was at the commit, in the request of the weights. Empty where that is not to be compared when
    /// it is revealed.
    #[serde(default)]
    pub hotkeys: Vec<AccountId>,
}

/// Where a salted commit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevealState {
    /// Its time has not come.
    Early,
    /// It can be revealed now.
    Due,
    /// The chain does not have it (any more): it was revealed, its time is over, or it never came.
    Gone,
    /// Whether it gets into the chain is not certain, or the endpoint is behind.
    Unknown,
}

impl WeightsRequest {
    /// The index under which the chain keeps the mechanism's weights.
    pub fn storage_index(&self) -> u16 {
        ids::storage_index(self.netuid, self.mechanism)
    }

    pub(in crate::chain) fn uids(&self) -> Vec<Uid> {
        self.weights.iter().map(|(uid, _)| *uid).collect()
    }

    pub(in crate::chain) fn values(&self) -> Vec<u16> {
        self.weights.iter().map(|(_, weight)| *weight).collect()
    }

    /// The commit's hash with this salt.
    pub(in crate::chain) fn hash(&self, hotkey: &AccountId, salt: &[u16]) -> [u8; 32] {
        let (uids, values) = (self.uids(), self.values());
        timelock::commit_hash(hotkey.as_ref(), self.storage_index(), &uids, &values, salt, self.version_key)
    }
}

pub(in crate::chain) fn new_salt() -> Vec<u16> {
    (0..SALT).map(|_| rand::random()).collect()
}

fn numbers(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| Value::u128(u128::from(*value))))
}

/// A call of the pallet of subnets, its arguments by name.
fn call<const N: usize>(name: &str, arguments: [(&str, Value); N]) -> DynamicPayload<Composite<()>> {
    subxt::tx::dynamic("SubtensorModule", name, Composite::named(arguments))
}

impl WeightsRequest {
    fn mechanism_argument(&self) -> (&'static str, Value) {
        ("mecid", Value::u128(u128::from(self.mechanism)))
    }

    pub(in crate::chain) fn plain(&self) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let dests = ("dests", numbers(&self.uids()));
        let weights = ("weights", numbers(&self.values()));
        let version = ("version_key", Value::u128(u128::from(self.version_key)));
        match self.mechanism {
            0 => call("set_weights", [netuid, dests, weights, version]),
            _ => call("set_mechanism_weights", [netuid, self.mechanism_argument(), dests, weights, version]),
        }
    }

    pub(in crate::chain) fn salted(&self, hash: [u8; 32]) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let hash = ("commit_hash", Value::from_bytes(hash));
        match self.mechanism {
            0 => call("commit_weights", [netuid, hash]),
            _ => call("commit_mechanism_weights", [netuid, self.mechanism_argument(), hash]),
        }
    }

    pub(in crate::chain) fn timelocked(&self, sealed: &[u8], round: u64) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let commit = ("commit", Value::from_bytes(sealed));
        let round = ("reveal_round", Value::u128(u128::from(round)));
        let version = ("commit_reveal_version", Value::u128(u128::from(COMMIT_REVEAL_VERSION)));
        match self.mechanism {
            0 => call("commit_timelocked_weights", [netuid, commit, round, version]),
            _ => call(
                "commit_timelocked_mechanism_weights",
                [netuid, self.mechanism_argument(), commit, round, version],
            ),
        }
    }

    pub(in crate::chain) fn reveal(&self, salt: &[u16]) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let uids = ("uids", numbers(&self.uids()));
        let values = ("values", numbers(&self.values()));
        let salt = ("salt", numbers(salt));
        let version = ("version_key", Value::u128(u128::from(self.version_key)));
        match self.mechanism {
            0 => call("reveal_weights", [netuid, uids, values, salt, version]),
            _ => call(
                "reveal_mechanism_weights",
                [netuid, self.mechanism_argument(), uids, values, salt, version],
            ),
        }
    }
}

/// A hash in hex, or nothing.
mod hex_if_known {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(hash: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
        hash.map(hex::encode).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        let bytes = |text| hex::FromHex::from_hex(text).map_err(serde::de::Error::custom);
        text.map(|text: String| bytes(text)).transpose()
    }
}

impl SaltedCommit {
    /// Whether this hotkey made it, by its hash, which the hotkey is a part of.
    pub fn is_of(&self, hotkey: &AccountId) -> bool {
        self.request.hash(hotkey, &self.salt) == self.hash
    }

    /// Whether it may still come into the chain after a block, as far as is known.
    pub(in crate::chain) fn may_come_after(&self, block: Block) -> bool {
        self.block.or(self.until).is_some_and(|last| last > block)
    }

    /// What reveals it.
    pub(in crate::chain) fn payload(&self) -> DynamicPayload<Composite<()>> {
        self.request.reveal(&self.salt)
    }
}
