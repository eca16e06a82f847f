//! The chain: who takes part, what they stake and commit, how they are weighted, and what time it is.
//!
//! [`Chain`] is the door; [`SubtensorClient`] is the way to a live node, be it of the main network or the
//! development chain. Nothing of the client library shows through, so a simulator can stand in its place.
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

mod client;
mod commitment;
mod commits;
mod details;
mod diff;
mod endpoint;
mod error;
mod every_block;
mod fields;
mod happened;
mod heads;
mod history;
pub mod interface;
mod link;
mod metagraph;
mod metagraph_api;
mod metagraph_storage;
mod pool;
mod preview;
mod range;
mod read;
mod refusal;
mod registration;
mod setting;
mod story;
mod submit;
pub mod timelock;
mod touches;
mod types;
#[cfg(test)]
mod vectors;
mod weight_event;
mod weights;
pub mod work;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use client::SubtensorClient;
pub use commitment::{MAX_FIELD_BYTES, MAX_FIELDS};
pub use details::{Axon, MetagraphSource, NeuronDetails, SubnetDetails};
pub use diff::{Change, MetagraphDiff};
pub use endpoint::{Endpoints, NETWORKS, endpoint};
pub use error::ChainError;
pub use history::{HistoryPart, HistoryQuery};
pub use preview::{Interface, Preview};
pub use registration::Search;
pub use setting::{Check, Plan, RevealState, SaltedCommit, Way, WeightsGiven, WeightsOrder};
pub use types::{
    AdminCall, Head, Heads, Hyperparameters, Included, Metagraph, Neuron, RAO_PER_TAO, WeightSetting,
};
pub use weight_event::{CommitRef, CommitScheme, WeightAction, WeightEvent};
pub use weights::{WeightsError, to_u16};

use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

/// A chain, as this program needs it. All blocks are final ones.
///
/// Every method that reads may fail with [`ChainError::Timeout`], [`ChainError::Disconnected`] or
/// [`ChainError::Node`]; one that takes a block also with [`ChainError::NoSuchBlock`] and [`ChainError::Pruned`].
/// Every method with a signer sends a transaction and returns once it is final and has succeeded, else
/// [`ChainError::Refused`] with the reason's name, or [`ChainError::NotIncluded`].
#[async_trait]
pub trait Chain: Send + Sync {
    /// The newest block.
    async fn head(&self) -> Result<Head, ChainError>;

    /// Blocks as they come, from the newest on.
    async fn heads(&self) -> Result<Heads, ChainError>;

    /// The hash of a block, if the chain has come so far.
    async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError>;

    /// The chain's time at a block, milliseconds since the Unix epoch.
    async fn timestamp_ms(&self, block: Block) -> Result<u64, ChainError>;

    /// The subnets there are, by number.
    async fn subnets(&self) -> Result<Vec<NetUid>, ChainError>;

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

    /// A hotkey's slot on a subnet, if it has one.
    async fn uid(&self, netuid: NetUid, hotkey: &AccountId) -> Result<Option<Uid>, ChainError>;

    /// What an account has to spend, rao.
    async fn balance(&self, account: &AccountId) -> Result<u64, ChainError>;

    /// What the subnet's neurons have committed, at a block or now. Only raw fields; a commitment with any other
    /// field is left out, as is that of a hotkey which is no neuron.
    async fn commitments(
        &self,
        netuid: NetUid,
        at: Option<Block>,
    ) -> Result<BTreeMap<AccountId, Vec<Vec<u8>>>, ChainError>;

    /// The weights that stood in a validator's row, at a block or now; empty if it never set any.
    async fn weights(
        &self,
        netuid: NetUid,
        validator: Uid,
        at: Option<Block>,
    ) -> Result<Vec<(Uid, u16)>, ChainError>;

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

    /// Sets the weights of the hotkey `signer` plainly, whatever the subnet's settings are: [`Self::give_weights`]
    /// looks at them. The chain scales the weights so that the largest is 65535.
    async fn set_weights(
        &self,
        netuid: NetUid,
        uids: &[Uid],
        weights: &[u16],
        version_key: u64,
        signer: &Keypair,
    ) -> Result<Included, ChainError>;

    /// What [`Self::give_weights`] would do now: the path, and each of the chain's rules with what was found.
    async fn plan_weights(&self, order: &WeightsOrder, hotkey: &AccountId) -> Result<Plan, ChainError>;

    /// Sets weights by the path that the subnet takes: plainly, or by a commit. Whatever can be known before is
    /// checked before anything is signed.
    ///
    /// # Errors
    /// [`ChainError::TooSoon`] inside of the rate limit; [`ChainError::Refused`] with the name that the chain would
    /// give.
    async fn give_weights(&self, order: &WeightsOrder, signer: &Keypair) -> Result<WeightsGiven, ChainError>;

    /// Where a salted commit stands.
    async fn reveal_state(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError>;

    /// Reveals a salted commit.
    async fn reveal_weights(&self, commit: &SaltedCommit, signer: &Keypair) -> Result<Included, ChainError>;

    /// Registers a hotkey on a subnet, paid by the coldkey; returns its slot.
    async fn register(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError>;

    /// [`Self::register`], for `limit` rao at most.
    ///
    /// # Errors
    /// [`ChainError::TooDear`] if it costs more.
    async fn register_within(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        limit: u64,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError>;

    /// Registers a hotkey by proof of work; `search` shows how far that is.
    ///
    /// # Errors
    /// [`ChainError::Missing`] where the runtime has no such thing.
    async fn register_by_work(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
        search: &Search,
    ) -> Result<Uid, ChainError>;

    /// TAO from a development chain's faucet, by proof of work.
    ///
    /// # Errors
    /// [`ChainError::Missing`] on every other chain.
    async fn faucet(&self, coldkey: &Keypair, search: &Search) -> Result<Included, ChainError>;

    /// Stakes `rao` of the coldkey's TAO to a hotkey on a subnet; 0 is the root.
    async fn add_stake(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        rao: u64,
        coldkey: &Keypair,
    ) -> Result<Included, ChainError>;

    /// Sends `rao` to another account, and keeps the sender's alive.
    async fn transfer(&self, to: &AccountId, rao: u64, from: &Keypair) -> Result<Included, ChainError>;

    /// Makes a new subnet owned by `coldkey`, with `hotkey` as its first neuron; returns its number.
    async fn register_network(&self, hotkey: &AccountId, coldkey: &Keypair) -> Result<NetUid, ChainError>;

    /// Starts a subnet's emission and the trade in its alpha, as its owner.
    async fn start_call(&self, netuid: NetUid, owner: &Keypair) -> Result<Included, ChainError>;

    /// Changes a setting, as the chain's administrator.
    async fn sudo(&self, call: AdminCall, signer: &Keypair) -> Result<Included, ChainError>;
}
