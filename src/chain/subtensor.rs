//! [`Chain`] as a live node is asked for it, and what else a node can be asked.

use std::collections::BTreeMap;

use async_trait::async_trait;
use templar_metadata::api;

use super::{
    Chain,
    client::SubtensorClient,
    error::ChainError,
    ids::theirs,
    metagraph::{self, Rows, commitment, details::MetagraphSource, neuron::Metagraph},
    rpc::{best_heads, finalized_heads},
    types::{Head, Heads, Hyperparameters, Included},
    weights::{CommitBook, RevealState, SaltedCommit, SubmittedWeights, WeightsRequest},
    weights_history::{self, event::WeightSetting},
};
use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

impl SubtensorClient {
    /// The subnets there are, by number.
    pub async fn subnets(&self) -> Result<Vec<NetUid>, ChainError> {
        metagraph::subnets(&self.reader(None).await?).await
    }

    /// A hotkey's UID on a subnet, if it has one.
    pub async fn uid(&self, netuid: NetUid, hotkey: &AccountId) -> Result<Option<Uid>, ChainError> {
        metagraph::uid(&self.reader(None).await?, netuid, hotkey).await
    }

    /// What an account has to spend, rao.
    pub async fn balance(&self, account: &AccountId) -> Result<u64, ChainError> {
        let reader = self.reader(None).await?;
        let found = reader.read(api::storage().system().account(), (theirs(account),)).await?;
        Ok(found.map_or(0, |account| account.data.free))
    }

    /// The weights that stood in a validator's row, at a block or now; empty if it never set any.
    pub async fn weights(
        &self,
        netuid: NetUid,
        validator: Uid,
        at: Option<Block>,
    ) -> Result<Vec<(Uid, u16)>, ChainError> {
        let reader = self.reader(at).await?;
        let row = reader.read(api::storage().subtensor_module().weights(), (netuid, validator));
        Ok(row.await?.unwrap_or_default())
    }

    /// How many UIDs a subnet has in use, at a block or now.
    ///
    /// # Errors
    /// [`ChainError::NoSuchSubnet`].
    pub async fn subnet_size(&self, netuid: NetUid, at: Option<Block>) -> Result<u16, ChainError> {
        metagraph::size(&self.reader(at).await?, netuid).await
    }

    /// What every neuron holds of the others by one of a subnet's mechanisms, at a block or now: a row for each UID.
    ///
    /// # Errors
    /// As [`Chain::metagraph`]; [`ChainError::Missing`] where the runtime has no such rows.
    pub async fn rows(
        &self,
        netuid: NetUid,
        mechanism: u8,
        what: Rows,
        at: Option<Block>,
    ) -> Result<Vec<Vec<(Uid, u16)>>, ChainError> {
        metagraph::rows(&self.reader(at).await?, netuid, mechanism, what).await
    }

    /// The metagraph of one of a subnet's mechanisms, at a block or now: from where `source` says, or from
    /// storage where the runtime's interface does not answer.
    ///
    /// # Errors
    /// As [`Chain::metagraph`]; [`ChainError::Missing`] or [`ChainError::Decode`] if the source is the interface
    /// and the runtime has none like it.
    pub async fn metagraph_of(
        &self,
        netuid: NetUid,
        mechanism: u8,
        at: Option<Block>,
        source: Option<MetagraphSource>,
    ) -> Result<Metagraph, ChainError> {
        if at.is_none()
            && source != Some(MetagraphSource::Storage)
            && let Some(newest) = metagraph::newest(self.link(), netuid, mechanism, self.remembered()).await?
        {
            return Ok(newest);
        }
        metagraph::metagraph(&self.reader(at).await?, netuid, mechanism, source).await
    }
}

#[async_trait]
impl Chain for SubtensorClient {
    async fn head(&self) -> Result<Head, ChainError> {
        self.link().head().await
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        Ok(finalized_heads::follow(self.shared_link()))
    }

    async fn best_heads(&self) -> Result<Heads, ChainError> {
        Ok(best_heads::follow(self.shared_link()))
    }

    async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError> {
        self.link().block_hash(block).await
    }

    async fn timestamp_ms(&self, block: Block) -> Result<u64, ChainError> {
        let reader = self.reader(Some(block)).await?;
        Ok(reader.read(api::storage().timestamp().now(), ()).await?.unwrap_or(0))
    }

    async fn metagraph(&self, netuid: NetUid, at: Option<Block>) -> Result<Metagraph, ChainError> {
        self.metagraph_of(netuid, 0, at, None).await
    }

    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
        metagraph::hyperparameters(&self.reader(None).await?, netuid).await
    }

    async fn commitments(
        &self,
        netuid: NetUid,
        at: Option<Block>,
    ) -> Result<BTreeMap<AccountId, Vec<Vec<u8>>>, ChainError> {
        metagraph::commitments(&self.reader(at).await?, netuid).await
    }

    async fn weights_history(
        &self,
        netuid: NetUid,
        from: Block,
        to: Block,
        validator: Option<Uid>,
    ) -> Result<Vec<WeightSetting>, ChainError> {
        weights_history::weights(self, netuid, from, to, validator).await
    }

    async fn commit(
        &self,
        netuid: NetUid,
        fields: &[Vec<u8>],
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        let payload = commitment::call(netuid, fields)?;
        Ok(self.submit("set_commitment", payload, signer).await?.included)
    }

    async fn set_weights(
        &self,
        request: &WeightsRequest,
        signer: &Keypair,
        book: &dyn CommitBook,
    ) -> Result<SubmittedWeights, ChainError> {
        self.submit_weights(request, signer, book).await
    }

    async fn reveal_state(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError> {
        self.reveal_state_of(commit, hotkey).await
    }

    async fn reveal_weights(&self, commit: &SaltedCommit, signer: &Keypair) -> Result<Included, ChainError> {
        self.reveal(commit, signer).await
    }
}
