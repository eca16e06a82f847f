//! The connection to a node: made again when it is lost, and no request waits for ever.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use subxt::{
    OnlineClient, PolkadotConfig,
    backend::{BlockRef, LegacyBackend},
    config::RpcConfigFor,
    error::{BackendError, OnlineClientAtBlockError, OnlineClientError, RpcError},
    rpcs::{
        self, LegacyRpcMethods,
        client::{RawRpcFuture, RawRpcSubscription, RawValue, RpcClientT},
    },
    utils::H256,
};
use url::Url;

use crate::{
    chain::{
        error::ChainError,
        rpc::{
            answer::{REQUEST, is_lost, root_cause, words},
            failover::Failover,
        },
        types::Head,
    },
    window::Block,
};

/// Times that a newest block may be gone before anything could be asked of it.
pub(in crate::chain) const REPLACED: usize = 3;

/// The chain's types: addresses, signatures, header and extrinsic are those of Polkadot's family.
pub(in crate::chain) type Config = PolkadotConfig;
/// A client that sees one block, with the metadata of that block's runtime.
pub(in crate::chain) type AtBlock = subxt::client::OnlineClientAtBlock<Config>;

/// A connection, and what asks through it.
#[derive(Debug)]
pub(in crate::chain) struct Connection {
    /// The endpoint as it may be shown.
    pub(in crate::chain) endpoint: String,
    pub(in crate::chain) rpc: LegacyRpcMethods<RpcConfigFor<Config>>,
    /// For methods that only some nodes have.
    pub(in crate::chain) raw: rpcs::RpcClient,
    pub(in crate::chain) client: OnlineClient<Config>,
    /// Requests so far.
    pub(in crate::chain) requests: Arc<AtomicU64>,
}

/// A socket that counts what is asked through it.
struct Counted {
    socket: Failover,
    requests: Arc<AtomicU64>,
}

impl RpcClientT for Counted {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RpcClientT::request_raw(&self.socket, method, params)
    }

    fn subscribe_raw<'a>(
        &'a self,
        sub: &'a str,
        params: Option<Box<RawValue>>,
        unsub: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RpcClientT::subscribe_raw(&self.socket, sub, params, unsub)
    }
}

impl Connection {
    /// Connects to the first of the endpoints that answers; the others are for when it does not any more.
    pub(in crate::chain) async fn connect(endpoints: Vec<Url>) -> Result<Self, ChainError> {
        let pool = Failover::new(endpoints);
        let endpoint = pool.endpoint();
        let refused = |reason: String| ChainError::Connect { endpoint: endpoint.clone(), reason };
        pool.connect().await.map_err(refused)?;
        let requests = Arc::new(AtomicU64::new(0));
        let socket = rpcs::RpcClient::new(Counted { socket: pool, requests: requests.clone() });
        let backend = LegacyBackend::builder().build(socket.clone());
        let config = PolkadotConfig::builder().use_historic_types(false).build();
        let client = OnlineClient::from_backend_with_config(config, Arc::new(backend));
        let client = tokio::time::timeout(REQUEST, client)
            .await
            .map_err(|_| refused(format!("no answer within {} s", REQUEST.as_secs())))?
            .map_err(|e| match e {
                OnlineClientError::CannotGetGenesisHash(e) => refused(e.to_string()),
                e => refused(e.to_string()),
            })?;
        Ok(Self { endpoint, rpc: LegacyRpcMethods::new(socket.clone()), raw: socket, client, requests })
    }

    /// Asks until there is an answer: a request that a reconnection cut off is made again, for as long as
    /// [`REQUEST`] allows. Only for requests that change nothing.
    pub(in crate::chain) async fn ask<T, F>(
        &self,
        request: &str,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, rpcs::Error>>,
    {
        let (mut lost, mut pause) = (false, Duration::from_millis(100));
        let answer = tokio::time::timeout(REQUEST, async {
            loop {
                match ask().await {
                    Err(e) if is_lost(&e) => {
                        lost = true;
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(2));
                    }
                    answer => return answer,
                }
            }
        });
        match answer.await {
            Ok(answer) => answer.map_err(|e| self.trouble(request, e)),
            Err(_) if lost => {
                Err(ChainError::Disconnected { endpoint: self.endpoint.clone(), request: request.to_owned() })
            }
            Err(_) => Err(self.timeout(request)),
        }
    }

    pub(in crate::chain) fn timeout(&self, request: &str) -> ChainError {
        ChainError::Timeout {
            endpoint: self.endpoint.clone(),
            request: request.to_owned(),
            seconds: REQUEST.as_secs(),
        }
    }

    /// What a failed request means.
    pub(in crate::chain) fn trouble(&self, request: &str, error: rpcs::Error) -> ChainError {
        let (endpoint, request) = (self.endpoint.clone(), request.to_owned());
        match error {
            e if is_lost(&e) => ChainError::Disconnected { endpoint, request },
            rpcs::Error::User(e) => ChainError::Node { endpoint, request, reason: words(&e) },
            e => ChainError::Node { endpoint, request, reason: e.to_string() },
        }
    }

    /// The newest final block.
    pub(in crate::chain) async fn head(&self) -> Result<Head, ChainError> {
        self.numbered(self.final_hash().await?).await
    }

    /// The hash of the newest final block.
    pub(in crate::chain) async fn final_hash(&self) -> Result<[u8; 32], ChainError> {
        Ok(self.ask("chain_getFinalizedHead", || self.rpc.chain_get_finalized_head()).await?.0)
    }

    /// A final block by its hash, with its number.
    pub(in crate::chain) async fn numbered(&self, hash: [u8; 32]) -> Result<Head, ChainError> {
        let header = self.ask("chain_getHeader", || self.rpc.chain_get_header(Some(H256(hash)))).await?;
        let number = header.map(|header| header.number).ok_or_else(|| ChainError::Node {
            endpoint: self.endpoint.clone(),
            request: "chain_getHeader".to_owned(),
            reason: "it does not know its own final block".to_owned(),
        })?;
        Ok(Head { number, hash })
    }

    /// The newest block, final or not: what is planned for the next one is planned on it.
    pub(in crate::chain) async fn best(&self) -> Result<Head, ChainError> {
        let header = self.ask("chain_getHeader", || self.rpc.chain_get_header(None)).await?;
        let number = header.map(|header| header.number).ok_or_else(|| ChainError::Node {
            endpoint: self.endpoint.clone(),
            request: "chain_getHeader".to_owned(),
            reason: "it does not know its own newest block".to_owned(),
        })?;
        let hash = self.block_hash(number).await?.ok_or(ChainError::NoSuchBlock { block: number })?;
        Ok(Head { number, hash })
    }

    /// The hash of a block by number, if the chain has come so far; of the newest blocks it may still become another, so nobody may
    /// remember it before the block is final.
    pub(in crate::chain) async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError> {
        // Nodes take no number beyond 32 bits.
        if u32::try_from(block).is_err() {
            return Ok(None);
        }
        let hash = self.ask("chain_getBlockHash", || self.rpc.chain_get_block_hash(Some(block.into())));
        Ok(hash.await?.map(|hash| hash.0))
    }

    /// The block of that number, the newest final one if none is given.
    pub(in crate::chain) async fn locate(&self, block: Option<Block>) -> Result<Head, ChainError> {
        let Some(number) = block else { return self.head().await };
        let hash = self.block_hash(number).await?.ok_or(ChainError::NoSuchBlock { block: number })?;
        Ok(Head { number, hash })
    }

    /// A client that sees that block, with its runtime's metadata.
    pub(in crate::chain) async fn at(&self, head: Head) -> Result<AtBlock, ChainError> {
        let block = BlockRef::from_hash(H256(head.hash));
        match tokio::time::timeout(REQUEST, self.client.at_block_hash_and_number(block, head.number)).await {
            Err(_) => Err(self.timeout("Core_version")),
            Ok(Ok(at)) => Ok(at),
            Ok(Err(OnlineClientAtBlockError::CannotGetSpecVersion {
                reason: BackendError::Rpc(RpcError::ClientError(e)),
                ..
            })) => Err(self.at_block(head.number, self.trouble("Core_version", e))),
            Ok(Err(e)) => Err(ChainError::Decode { item: "metadata".to_owned(), reason: root_cause(&e) }),
        }
    }

    /// The newest block, with a client that sees it. Before it is final another may take its place, and the node forget it: then that one
    /// is taken, and in the end the newest final one.
    pub(in crate::chain) async fn at_best(&self) -> Result<(Head, AtBlock), ChainError> {
        for _ in 0..REPLACED {
            let best = self.best().await?;
            match self.at(best).await {
                Err(ChainError::Node { .. } | ChainError::Pruned { .. }) => {}
                at => return at.map(|at| (best, at)),
            }
        }
        let head = self.head().await?;
        self.at(head).await.map(|at| (head, at))
    }

    /// The same trouble, told apart if it is that the node has thrown the block's state away.
    pub(in crate::chain) fn at_block(&self, block: Block, error: ChainError) -> ChainError {
        match error {
            ChainError::Node { reason, .. } if reason.contains("State already discarded") => {
                ChainError::Pruned { block }
            }
            e => e,
        }
    }
}
