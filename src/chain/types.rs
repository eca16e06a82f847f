//! What the chain says, in plain types: no type of any client library is in them.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::error::ChainError;
use crate::{wallet::AccountId, window::Block};

/// A block: a final one, but for those of [`Chain::best_heads`](crate::chain::Chain::best_heads).
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

/// Blocks as they come, whatever happens to the connection. [`Chain::heads`](crate::chain::Chain::heads) gives final ones, each
/// once, in order, none left out; what [`Chain::best_heads`](crate::chain::Chain::best_heads) gives may be replaced.
#[derive(Debug)]
pub struct Heads(mpsc::Receiver<Result<Head, ChainError>>);

impl Heads {
    /// From the receiving end of a channel that some implementation of [`crate::chain::Chain`] feeds.
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
