//! The client of a live node: its connections, reads at a block, and sending.

use std::sync::Arc;

use subxt::tx::{Payload, StaticPayload};
use url::Url;

use super::{
    error::ChainError,
    extrinsic::{self, NonceLocks, Settled},
    metagraph::Remembered,
    rpc::{connection::Connection, endpoint::Endpoints, storage::Reader},
};
use crate::{
    wallet::{AccountId, Keypair},
    window::Block,
};

/// A Subtensor node, reached by its JSON-RPC. Cloning shares the connection, which is made again when it is lost.
#[derive(Debug, Clone)]
pub struct SubtensorClient {
    link: Arc<Connection>,
    archive: Arc<Archive>,
    turns: Arc<NonceLocks>,
    remembered: Arc<Remembered>,
    /// Whose weights are set, where it is not the signer.
    real: Option<AccountId>,
}

/// The endpoints with old states; connected to when they are needed.
#[derive(Debug)]
struct Archive {
    endpoints: Vec<Url>,
    link: tokio::sync::OnceCell<Connection>,
}

impl Archive {
    fn new(endpoints: Vec<Url>) -> Self {
        Self { endpoints, link: tokio::sync::OnceCell::new() }
    }

    /// The connection; none where there are no endpoints.
    async fn link(&self) -> Result<Option<&Connection>, ChainError> {
        if self.endpoints.is_empty() {
            return Ok(None);
        }
        self.link.get_or_try_init(|| Connection::connect(self.endpoints.clone())).await.map(Some)
    }
}

impl SubtensorClient {
    /// Connects to the endpoint of [`endpoint`](crate::chain::endpoint).
    ///
    /// # Errors
    /// [`ChainError::Connect`] if nobody answers there within seconds. A connection that is lost later is made
    /// again for as long as it takes.
    pub async fn connect(endpoint: &Url) -> Result<Self, ChainError> {
        Self::connect_to(Endpoints { main: vec![endpoint.clone()], archive: Vec::new() }).await
    }

    /// Connects to the first of several endpoints that answers. When it breaks, the next one takes over; what none
    /// of them has the state for is asked of an archive.
    ///
    /// # Errors
    /// As [`Self::connect`], if none answers; [`ChainError::NotSubtensor`] if it is a chain of another kind.
    pub async fn connect_to(endpoints: Endpoints) -> Result<Self, ChainError> {
        let link = Arc::new(Connection::connect(endpoints.main).await?);
        let runtime = link.at(link.head().await?).await?;
        if runtime.metadata_ref().pallet_by_name("SubtensorModule").is_none() {
            return Err(ChainError::NotSubtensor { endpoint: link.endpoint.clone() });
        }
        Ok(Self {
            link,
            archive: Arc::new(Archive::new(endpoints.archive)),
            turns: Arc::default(),
            remembered: Arc::default(),
            real: None,
        })
    }

    /// The same, to set and reveal the weights of `hotkey` with the key of one of its proxies: every signer of weights is taken for the
    /// proxy, and the proxy pays the fee. What else is signed stays the signer's own.
    pub fn acting_for(self, hotkey: AccountId) -> Self {
        Self { real: Some(hotkey), ..self }
    }

    /// Whose weights this signer sets: the account of [`Self::acting_for`], or else its own.
    pub(in crate::chain) fn whose<'a>(&'a self, signer: &'a AccountId) -> &'a AccountId {
        self.real.as_ref().unwrap_or(signer)
    }

    /// The account of [`Self::acting_for`].
    pub(in crate::chain) fn real(&self) -> Option<&AccountId> {
        self.real.as_ref()
    }

    /// The endpoint, as it may be shown.
    pub fn endpoint(&self) -> &str {
        &self.link.endpoint
    }

    /// The hash of the chain's first block, which tells chains apart.
    pub fn genesis_hash(&self) -> [u8; 32] {
        self.link.client.genesis_hash().0
    }

    /// How many requests were made so far, subscriptions included.
    pub fn requests(&self) -> u64 {
        self.link.requests.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The connection, for a task that outlives this client.
    pub(in crate::chain) fn shared_link(&self) -> Arc<Connection> {
        self.link.clone()
    }

    /// What the last metagraphs took.
    pub(in crate::chain) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// The connection, for what else asks through it.
    pub(in crate::chain) fn link(&self) -> &Connection {
        &self.link
    }

    pub(in crate::chain) async fn reader(&self, at: Option<Block>) -> Result<Reader<'_>, ChainError> {
        let head = self.link.locate(at).await?;
        match Reader::new(&self.link, head).await {
            Err(error @ ChainError::Pruned { .. }) => match self.archive.link().await? {
                Some(archive) => Reader::new(archive, head).await,
                None => Err(error),
            },
            reader => reader,
        }
    }

    /// What reads at the newest block, final or not: what is to go into the next one is planned on it.
    pub(in crate::chain) async fn newest_reader(&self) -> Result<Reader<'_>, ChainError> {
        let (head, at) = self.link.at_best().await?;
        Ok(Reader { link: &self.link, head, at })
    }

    /// The connection that has the states from a block on: the node's, or an archive's where the node has thrown them
    /// away.
    pub(in crate::chain) async fn with_states_from(&self, block: Block) -> Result<&Connection, ChainError> {
        let head = self.link.locate(Some(block)).await?;
        match Reader::new(&self.link, head).await {
            Err(error @ ChainError::Pruned { .. }) => self.archive.link().await?.ok_or(error),
            reader => reader.map(|_| self.link()),
        }
    }

    /// A runtime's function, its arguments and its answer SCALE-encoded.
    pub(in crate::chain) async fn call_runtime(
        &self,
        function: &str,
        arguments: &[u8],
    ) -> Result<Vec<u8>, ChainError> {
        let link = &self.link;
        link.ask(function, || link.rpc.state_call(function, Some(arguments), None)).await
    }

    pub(in crate::chain) async fn submit<C>(
        &self,
        call: &'static str,
        payload: StaticPayload<C>,
        signer: &Keypair,
    ) -> Result<Settled, ChainError>
    where
        StaticPayload<C>: Payload,
    {
        extrinsic::submit(&self.link, &self.turns, call, payload, signer, None).await
    }

    /// [`Self::submit`] of what is about weights: for the account of [`Self::acting_for`], if there is one.
    pub(in crate::chain) async fn submit_weights_call<C>(
        &self,
        call: &'static str,
        payload: StaticPayload<C>,
        signer: &Keypair,
    ) -> Result<Settled, ChainError>
    where
        StaticPayload<C>: Payload,
    {
        extrinsic::submit(&self.link, &self.turns, call, payload, signer, self.real()).await
    }
}
