//! A chain and buckets that fail by chance, and a gate through which everything that a process asks for goes.

use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use templar::{
    bucket::{BucketError, MemoryStore, Object, ObjectInfo, Store},
    chain::{
        Chain, ChainError, CommitBook, Head, Heads, Hyperparameters, Included, MemoryChain, Metagraph,
        RevealState, SaltedCommit, SubmittedWeights, WeightSetting, WeightsRequest,
    },
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};
use tokio::{sync::watch, time::sleep};

/// SplitMix64.
#[derive(Debug)]
pub struct Chances(u64);

impl Chances {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn happens(&mut self, chance: f64) -> bool {
        self.share() < chance
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How bad it is at the moment.
#[derive(Debug, Clone)]
pub struct Weather(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    chances: Chances,
    /// Share of the requests to stores that fail.
    store_errors: f64,
    /// The same of questions to the chain.
    chain_errors: f64,
    /// The most that an answer takes.
    latency_ms: u64,
    /// Whose buckets do not answer.
    away: BTreeSet<usize>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// It is done, and the answer is lost.
    DoneUnheard,
    Refused,
}

const CALM_MS: u64 = 40;

impl Weather {
    pub fn new(seed: u64) -> Self {
        let chances = Chances::new(seed);
        let (away, latency_ms) = (BTreeSet::new(), CALM_MS);
        Self(Arc::new(Mutex::new(State { chances, store_errors: 0.0, chain_errors: 0.0, latency_ms, away })))
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Chances) -> T) -> T {
        draw(&mut self.0.lock().unwrap().chances)
    }

    pub fn storm(&self, store_errors: f64, chain_errors: f64, latency_ms: u64) {
        let mut state = self.0.lock().unwrap();
        (state.store_errors, state.chain_errors, state.latency_ms) = (store_errors, chain_errors, latency_ms);
    }

    pub fn calm(&self) {
        self.storm(0.0, 0.0, CALM_MS);
    }

    pub fn away(&self, who: usize, away: bool) {
        let state = &mut self.0.lock().unwrap();
        match away {
            true => state.away.insert(who),
            false => state.away.remove(&who),
        };
    }

    /// What becomes of a request to a bucket, or to the chain, and how long that takes.
    fn request(&self, bucket: Option<usize>) -> (Duration, Fate) {
        let mut state = self.0.lock().unwrap();
        let latency_ms = state.latency_ms;
        let pause = Duration::from_millis(1 + state.chances.below(latency_ms));
        let away = bucket.is_some_and(|who| state.away.contains(&who));
        let errors = if bucket.is_some() { state.store_errors } else { state.chain_errors };
        let fate = match (away, errors > 0.0 && state.chances.happens(errors)) {
            (true, _) => Fate::Refused,
            (_, true) if state.chances.happens(0.3) => Fate::DoneUnheard,
            (_, true) => Fate::Refused,
            _ => Fate::Done,
        };
        (pause, fate)
    }
}

/// Whether a process can do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Runs,
    /// It stands still.
    Stopped,
    /// Nothing that it had begun goes on.
    Dead,
}

/// What a process reaches the world through.
#[derive(Debug, Clone)]
pub struct Gate {
    pub life: watch::Receiver<Life>,
    pub weather: Weather,
}

impl Gate {
    async fn open(&self) {
        let mut life = self.life.clone();
        // One that is dead never comes back, and its sender may be gone.
        if life.wait_for(|life| *life == Life::Runs).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn pass(&self, bucket: Option<usize>) -> Fate {
        self.open().await;
        let (pause, fate) = self.weather.request(bucket);
        sleep(pause).await;
        self.open().await;
        fate
    }
}

/// A bucket in memory that fails by chance.
#[derive(Debug)]
pub struct FaultyStore {
    pub memory: MemoryStore,
    pub owner: usize,
    pub gate: Gate,
}

impl FaultyStore {
    async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, BucketError>> + Send,
    ) -> Result<T, BucketError> {
        let busy = |code: &str| BucketError::Busy { endpoint: "memory".to_owned(), code: code.to_owned() };
        match self.gate.pass(Some(self.owner)).await {
            Fate::Done => work.await,
            Fate::DoneUnheard => {
                drop(work.await);
                Err(busy("HTTP 504"))
            }
            Fate::Refused => Err(busy("SlowDown")),
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn bucket(&self) -> &str {
        self.memory.bucket()
    }
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        self.ask(self.memory.put(key, bytes)).await
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
        self.ask(self.memory.head(key)).await
    }
    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        self.ask(self.memory.get(key, max_bytes)).await
    }
    async fn list_after(&self, p: &str, a: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        self.ask(self.memory.list_after(p, a, limit)).await
    }
    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.ask(self.memory.delete(key)).await
    }
}

/// A chain in memory that fails by chance. What is sent is refused or done and heard of: the client that sends is tried elsewhere.
#[derive(Debug)]
pub struct FaultyChain {
    pub memory: MemoryChain,
    pub gate: Gate,
}

impl FaultyChain {
    async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, ChainError>> + Send,
    ) -> Result<T, ChainError> {
        let (endpoint, request) = ("memory".to_owned(), "what was asked".to_owned());
        match self.gate.pass(None).await {
            Fate::Done => work.await,
            Fate::DoneUnheard => Err(ChainError::Disconnected { endpoint, request }),
            Fate::Refused => Err(ChainError::Timeout { endpoint, request, seconds: 1 }),
        }
    }
}

#[async_trait]
impl Chain for FaultyChain {
    async fn head(&self) -> Result<Head, ChainError> {
        self.ask(self.memory.head()).await
    }
    async fn heads(&self) -> Result<Heads, ChainError> {
        self.ask(self.memory.heads()).await
    }
    async fn best_heads(&self) -> Result<Heads, ChainError> {
        self.ask(self.memory.best_heads()).await
    }
    async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError> {
        self.ask(self.memory.block_hash(block)).await
    }
    async fn timestamp_ms(&self, block: Block) -> Result<u64, ChainError> {
        self.ask(self.memory.timestamp_ms(block)).await
    }
    async fn metagraph(&self, netuid: NetUid, at: Option<Block>) -> Result<Metagraph, ChainError> {
        self.ask(self.memory.metagraph(netuid, at)).await
    }
    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
        self.ask(self.memory.hyperparameters(netuid)).await
    }
    async fn commitments(
        &self,
        netuid: NetUid,
        at: Option<Block>,
    ) -> Result<BTreeMap<AccountId, Vec<Vec<u8>>>, ChainError> {
        self.ask(self.memory.commitments(netuid, at)).await
    }
    async fn weights_history(
        &self,
        netuid: NetUid,
        from: Block,
        to: Block,
        validator: Option<Uid>,
    ) -> Result<Vec<WeightSetting>, ChainError> {
        self.ask(self.memory.weights_history(netuid, from, to, validator)).await
    }
    async fn commit(
        &self,
        netuid: NetUid,
        fields: &[Vec<u8>],
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        self.ask(self.memory.commit(netuid, fields, signer)).await
    }
    async fn set_weights(
        &self,
        request: &WeightsRequest,
        signer: &Keypair,
        book: &dyn CommitBook,
    ) -> Result<SubmittedWeights, ChainError> {
        self.ask(self.memory.set_weights(request, signer, book)).await
    }
    async fn reveal_state(&self, commit: &SaltedCommit, who: &AccountId) -> Result<RevealState, ChainError> {
        self.ask(self.memory.reveal_state(commit, who)).await
    }
    async fn reveal_weights(&self, commit: &SaltedCommit, signer: &Keypair) -> Result<Included, ChainError> {
        self.ask(self.memory.reveal_weights(commit, signer)).await
    }
}
