//! The chain: who takes part, what they stake and commit, how they are weighted, and what time it is.
//!
//! [`Chain`] is what the rest of the library asks for; [`SubtensorClient`] asks a live node, be it of the main network or
//! of the development chain. No type of the client library shows through.
//!
//! ```no_run
//! use templar::chain::{Chain, SubtensorClient, endpoint};
//! # async fn example() -> Result<(), templar::chain::ChainError> {
//! let chain = SubtensorClient::connect(&endpoint("local")?).await?;
//! let metagraph = chain.metagraph(2, None).await?;
//! if let Some(leader) = metagraph.leader() {
//!     println!("{} leads subnet 2 at block {}", leader.hotkey, metagraph.block);
//! }
//! # Ok(())
//! # }
//! ```

mod admin;
mod arguments;
pub mod axon;
mod check;
mod client;
mod dry_run;
mod error;
mod extrinsic;
pub mod ids;
pub mod interface;
mod memory;
pub mod metagraph;
pub mod payment;
mod proxied;
pub mod registration;
mod rpc;
pub mod subnets;
mod subtensor;
pub mod timelock;
mod types;
#[cfg(test)]
mod vectors;
pub mod weights;
pub mod weights_history;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use admin::AdminCall;
pub use axon::{Announcement, AxonPlan};
pub use check::Check;
pub use client::SubtensorClient;
pub use dry_run::{Interface, Preview};
pub use error::ChainError;
pub use ids::RAO_PER_TAO;
pub use memory::MemoryChain;
pub use metagraph::{
    Rows,
    commitment::{MAX_FIELD_BYTES, MAX_FIELDS},
    details::{Axon, MetagraphSource, NeuronDetails, SubnetDetails},
    diff::{Change, MetagraphDiff},
    neuron::{Metagraph, Neuron},
};
pub use payment::{Exchange, Payment, PaymentPlan, stakes::Stake};
pub use registration::{PowProgress, RegistrationPlan};
pub use rpc::endpoint::{Endpoints, NETWORKS, endpoint};
pub use subnets::{Hyperparameter, HyperparameterValue, SubnetSummary};
pub use types::{Head, Heads, Hyperparameters, Included};
pub use weights::{
    CommitBook, MemoryBook, Plan, RevealState, SaltedCommit, SubmittedWeights, WeightsPath, WeightsRequest,
};
pub use weights_history::{
    HistoryPart, HistoryQuery,
    event::{CommitRef, CommitScheme, WeightAction, WeightEvent, WeightSetting},
};

use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

/// A chain, as a miner, a validator and an audit need it. All blocks are final ones, but for those of [`best_heads`](Self::best_heads),
/// which tell the time: a block comes every 12 s or so, and is final a dozen seconds later or more.
///
/// [`SubtensorClient`] asks a live node, and can do more; [`MemoryChain`] is a chain in memory, for tests.
///
/// Every method that reads may fail with [`ChainError::Timeout`], [`ChainError::Disconnected`] or
/// [`ChainError::Node`]; one that takes a block also with [`ChainError::NoSuchBlock`] and [`ChainError::Pruned`].
/// Every method with a signer sends a transaction and returns once it is final and has succeeded, else
/// [`ChainError::Refused`] with the reason's name, or [`ChainError::NotIncluded`].
#[async_trait]
pub trait Chain: std::fmt::Debug + Send + Sync {
    /// The newest final block.
    async fn head(&self) -> Result<Head, ChainError>;

    /// Final blocks as they come, from the newest on.
    async fn heads(&self) -> Result<Heads, ChainError>;

    /// The newest block whenever it changes, final or not. Numbers may be left out, and one comes again with another hash where
    /// a block was replaced before it was final. Nothing that has to stay true may rest on such a block.
    async fn best_heads(&self) -> Result<Heads, ChainError>;

    /// The hash of a block, if the chain has come so far. That of a block that is not final yet may become another.
    async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError>;

    /// The chain's time at a block, milliseconds since the Unix epoch. The block need not be final; one that replaces it may have
    /// another time.
    async fn timestamp_ms(&self, block: Block) -> Result<u64, ChainError>;

    /// A subnet's neurons, at a block or now.
    ///
    /// # Errors
    /// [`ChainError::NoSuchSubnet`].
    async fn metagraph(&self, netuid: NetUid, at: Option<Block>) -> Result<Metagraph, ChainError>;

    /// A subnet's settings.
    ///
    /// # Errors
    /// [`ChainError::NoSuchSubnet`].
    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError>;

    /// What the subnet's neurons have committed, at a block or now. Only raw fields; a commitment with any other
    /// field is left out, as is that of a hotkey which is no neuron.
    async fn commitments(
        &self,
        netuid: NetUid,
        at: Option<Block>,
    ) -> Result<BTreeMap<AccountId, Vec<Vec<u8>>>, ChainError>;

    /// Every setting of weights in the blocks `from..=to`, oldest first, of one validator or of all.
    async fn weights_history(
        &self,
        netuid: NetUid,
        from: Block,
        to: Block,
        validator: Option<Uid>,
    ) -> Result<Vec<WeightSetting>, ChainError>;

    /// Commits up to [`MAX_FIELDS`] fields of up to [`MAX_FIELD_BYTES`] bytes as the hotkey `signer`, in place
    /// of what it committed before.
    async fn commit(
        &self,
        netuid: NetUid,
        fields: &[Vec<u8>],
        signer: &Keypair,
    ) -> Result<Included, ChainError>;

    /// Sets weights by the path that the subnet takes: plainly, or by a commit. Whatever can be known before is
    /// checked before anything is signed. A salted commit is in `book` before it is sent.
    ///
    /// # Errors
    /// [`ChainError::TooSoon`] inside of the rate limit; [`ChainError::WouldRefuse`] with the name that the chain would
    /// give.
    async fn set_weights(
        &self,
        request: &WeightsRequest,
        signer: &Keypair,
        book: &dyn CommitBook,
    ) -> Result<SubmittedWeights, ChainError>;

    /// Where a salted commit stands.
    async fn reveal_state(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError>;

    /// Reveals a salted commit.
    async fn reveal_weights(&self, commit: &SaltedCommit, signer: &Keypair) -> Result<Included, ChainError>;
}
