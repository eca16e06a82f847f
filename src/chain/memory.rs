//! A chain in memory, for tests: blocks come when a test says so, become final a while later, and keep their state.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{
    Chain,
    error::ChainError,
    metagraph::{
        commitment::{MAX_FIELD_BYTES, MAX_FIELDS},
        neuron::{Metagraph, Neuron},
    },
    types::{Head, Heads, Hyperparameters, Included},
    weights::{CommitBook, RevealState, SaltedCommit, SubmittedWeights, WeightsPath, WeightsRequest},
    weights_history::event::WeightSetting,
};
use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

/// Finalized blocks that a slow reader of [`Heads`] may be behind before it is waited for.
const HEADS_BUFFER: usize = 64;

type Commitments = BTreeMap<AccountId, Vec<Vec<u8>>>;

/// What one block left behind.
#[derive(Debug, Clone, Default)]
struct State {
    time_ms: u64,
    /// How often the block was replaced by another of its number.
    replaced: u64,
    /// Shared with the blocks before, as long as nothing changes.
    neurons: Arc<Vec<Neuron>>,
    commitments: Arc<Commitments>,
    /// What was set in this very block.
    settings: Vec<WeightSetting>,
}

#[derive(Debug)]
struct Inner {
    netuid: NetUid,
    hyperparameters: Hyperparameters,
    block_ms: u64,
    /// Blocks that are not final yet.
    lag: Block,
    /// The newest final block: what is final stays so, whatever becomes of `lag`.
    last_final: Block,
    /// Final blocks whose state is kept.
    keeps: Block,
    /// The state at the end of each block, the genesis block first; the last one is the newest.
    blocks: Vec<State>,
    /// Errors that the next reads answer with.
    failures: VecDeque<ChainError>,
}

/// One subnet of a chain in memory. Clones are the same chain.
///
/// Everything is read as of the newest *final* block, which is `lag` blocks behind the newest; a transaction takes
/// effect in the next block that a test makes, and its method returns when that block is final.
///
/// ```
/// use templar::{chain::{Chain, MemoryChain}, wallet::Keypair};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let chain = MemoryChain::new(3, 2);
/// let miner = Keypair::from_uri("//miner")?.account();
/// chain.register(&miner, 1_000_000_000, false);
/// chain.advance(4);
/// assert_eq!(chain.head().await?.number, 2);
/// assert_eq!(chain.metagraph(3, None).await?.neurons[0].hotkey, miner);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryChain {
    inner: Arc<Mutex<Inner>>,
    newest: watch::Sender<Block>,
}

impl MemoryChain {
    /// A chain with its genesis block and one subnet without neurons, whose blocks are final `lag` blocks later.
    pub fn new(netuid: NetUid, lag: Block) -> Self {
        let hyperparameters = Hyperparameters {
            tempo: 360,
            weights_rate_limit: 0,
            weights_version: 0,
            commit_reveal_weights_enabled: false,
            min_allowed_weights: 1,
            max_uids: 256,
            max_validators: 64,
            immunity_period: 0,
            registration_allowed: true,
            burn: 0,
            stake_threshold: 0,
            subtoken_enabled: true,
            owner: AccountId::new([0; 32]),
        };
        let blocks = vec![State::default()];
        let inner = Inner {
            netuid,
            hyperparameters,
            block_ms: 12_000,
            lag,
            last_final: 0,
            keeps: Block::MAX,
            blocks,
            failures: VecDeque::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), newest: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held, so a poisoned one is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes so many blocks.
    pub fn advance(&self, blocks: Block) {
        let newest = {
            let mut inner = self.lock();
            for _ in 0..blocks {
                let block_ms = inner.block_ms;
                let before = inner.blocks.last().cloned().unwrap_or_default();
                inner.blocks.push(State {
                    time_ms: before.time_ms + block_ms,
                    replaced: 0,
                    settings: Vec::new(),
                    ..before
                });
                inner.settle();
            }
            inner.blocks.len() as Block - 1
        };
        self.newest.send_replace(newest);
    }

    /// Replaces the newest blocks that are not final, so many at most, by others of the same numbers that come so much later, as a
    /// reorganisation does. What was sent stays in them.
    pub fn reorganise(&self, blocks: Block, later_ms: u64) {
        {
            let mut inner = self.lock();
            let keep = (inner.last_final + 1).max((inner.blocks.len() as Block).saturating_sub(blocks));
            for state in inner.blocks.iter_mut().skip(keep as usize) {
                state.time_ms += later_ms;
                state.replaced += 1;
            }
        }
        // The number is the same, and it is news.
        self.newest.send_modify(|_| ());
    }

    /// The time of the newest block, milliseconds.
    pub fn newest_ms(&self) -> u64 {
        self.lock().blocks.last().map_or(0, |state| state.time_ms)
    }

    /// Lets blocks be final so many blocks later from now on; what is final already stays so.
    pub fn set_lag(&self, lag: Block) {
        {
            let mut inner = self.lock();
            inner.lag = lag;
            inner.settle();
        }
        self.newest.send_modify(|_| ());
    }

    /// Throws the state of all but so many final blocks away, from now on: reads at an older one fail with [`ChainError::Pruned`]. Hashes,
    /// times and settings of weights stay.
    pub fn prune(&self, keeps: Block) {
        let mut inner = self.lock();
        inner.keeps = keeps.max(1);
        inner.settle();
    }

    /// Gives a hotkey the next UID, in the newest block.
    pub fn register(&self, hotkey: &AccountId, stake: u64, validator_permit: bool) -> Uid {
        let mut inner = self.lock();
        let block = inner.blocks.len() as Block - 1;
        let Some(state) = inner.blocks.last_mut() else { return 0 };
        let uid = state.neurons.len() as Uid;
        Arc::make_mut(&mut state.neurons).push(Neuron {
            uid,
            hotkey: hotkey.clone(),
            coldkey: hotkey.clone(),
            stake,
            active: true,
            validator_permit,
            consensus: 0,
            incentive: 0,
            dividends: 0,
            validator_trust: 0,
            emission: 0,
            last_update: block,
            block_at_registration: block,
            details: None,
        });
        uid
    }

    /// Changes a neuron, in the newest block.
    pub fn change(&self, uid: Uid, change: impl FnOnce(&mut Neuron)) {
        let mut inner = self.lock();
        if let Some(neuron) =
            inner.blocks.last_mut().and_then(|s| Arc::make_mut(&mut s.neurons).get_mut(usize::from(uid)))
        {
            change(neuron);
        }
    }

    /// Lets one of the next reads fail; several fail in this order.
    pub fn fail(&self, error: ChainError) {
        self.lock().failures.push_back(error);
    }

    fn answer<T>(&self, read: impl FnOnce(&Inner) -> Result<T, ChainError>) -> Result<T, ChainError> {
        let mut inner = self.lock();
        match inner.failures.pop_front() {
            Some(error) => Err(error),
            None => read(&inner),
        }
    }

    /// Writes to the newest block, and waits until that is final.
    async fn send(
        &self,
        call: &'static str,
        signer: &Keypair,
        write: impl FnOnce(&mut State, Uid, Head) + Send,
    ) -> Result<Included, ChainError> {
        let head = {
            let mut inner = self.lock();
            let head = inner.head(inner.blocks.len() as Block - 1);
            let Some(state) = inner.blocks.last_mut() else { return Err(ChainError::Closed) };
            let account = signer.account();
            let Some(uid) = state.neurons.iter().find(|n| n.hotkey == account).map(|n| n.uid) else {
                return Err(ChainError::Refused { call, name: "HotKeyNotRegisteredInSubNet".to_owned() });
            };
            write(state, uid, head);
            head
        };
        let mut newest = self.newest.subscribe();
        while self.lock().last_final < head.number {
            newest.changed().await.map_err(|_| ChainError::Closed)?;
        }
        Ok(Included { block: head.number, hash: self.lock().head(head.number).hash })
    }
}

impl Inner {
    /// A block's hash is made of its number, and of how often it was replaced.
    fn head(&self, number: Block) -> Head {
        let mut named = number.to_le_bytes().to_vec();
        if let Some(replaced) = self.blocks.get(number as usize).map(|b| b.replaced).filter(|n| *n > 0) {
            named.extend(replaced.to_le_bytes());
        }
        Head { number, hash: *blake3::hash(&named).as_bytes() }
    }

    /// Finds out what is final now, and forgets what is too old.
    fn settle(&mut self) {
        let settled = (self.blocks.len() as Block - 1).saturating_sub(self.lag);
        self.last_final = self.last_final.max(settled);
        let kept_from = self.first_kept() as usize;
        let pruned = self.blocks[..kept_from].iter_mut().rev().take_while(|s| !s.neurons.is_empty());
        pruned.for_each(|state| (state.neurons, state.commitments) = Default::default());
    }

    fn first_kept(&self) -> Block {
        (self.last_final + 1).saturating_sub(self.keeps)
    }

    fn subnet(&self, netuid: NetUid) -> Result<(), ChainError> {
        if netuid == self.netuid { Ok(()) } else { Err(ChainError::NoSuchSubnet { netuid }) }
    }

    fn at(&self, block: Option<Block>) -> Result<(Head, &State), ChainError> {
        let number = block.unwrap_or(self.last_final);
        let state = self.blocks.get(number as usize).filter(|_| number <= self.last_final);
        if number < self.first_kept() {
            return Err(ChainError::Pruned { block: number });
        }
        Ok((self.head(number), state.ok_or(ChainError::NoSuchBlock { block: number })?))
    }
}

#[async_trait]
impl Chain for MemoryChain {
    async fn head(&self) -> Result<Head, ChainError> {
        self.answer(|inner| Ok(inner.head(inner.last_final)))
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        let (sender, receiver) = mpsc::channel(HEADS_BUFFER);
        let mut newest = self.newest.subscribe();
        let inner = self.inner.clone();
        let look = move |number| {
            let inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            (number <= inner.last_final).then(|| inner.head(number))
        };
        let mut due = self.lock().last_final;
        tokio::spawn(async move {
            loop {
                newest.borrow_and_update();
                while let Some(head) = look(due) {
                    if sender.send(Ok(head)).await.is_err() {
                        return;
                    }
                    due += 1;
                }
                if newest.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Heads::new(receiver))
    }

    async fn best_heads(&self) -> Result<Heads, ChainError> {
        let (sender, receiver) = mpsc::channel(HEADS_BUFFER);
        let mut newest = self.newest.subscribe();
        let inner = self.inner.clone();
        tokio::spawn(async move {
            loop {
                let number = *newest.borrow_and_update();
                let head = inner.lock().unwrap_or_else(PoisonError::into_inner).head(number);
                if sender.send(Ok(head)).await.is_err() || newest.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Heads::new(receiver))
    }

    async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError> {
        self.answer(|inner| Ok(((block as usize) < inner.blocks.len()).then(|| inner.head(block).hash)))
    }

    async fn timestamp_ms(&self, block: Block) -> Result<u64, ChainError> {
        let missing = ChainError::NoSuchBlock { block };
        self.answer(|inner| inner.blocks.get(block as usize).map(|state| state.time_ms).ok_or(missing))
    }

    async fn metagraph(&self, netuid: NetUid, at: Option<Block>) -> Result<Metagraph, ChainError> {
        self.answer(|inner| {
            inner.subnet(netuid)?;
            let (Head { number: block, hash }, state) = inner.at(at)?;
            let (tempo, neurons) = (inner.hyperparameters.tempo, state.neurons.to_vec());
            Ok(Metagraph { netuid, block, hash, tempo, neurons, details: None })
        })
    }

    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
        self.answer(|inner| inner.subnet(netuid).map(|()| inner.hyperparameters.clone()))
    }

    async fn commitments(&self, netuid: NetUid, at: Option<Block>) -> Result<Commitments, ChainError> {
        self.answer(|inner| {
            inner.subnet(netuid)?;
            Ok(inner.at(at)?.1.commitments.as_ref().clone())
        })
    }

    async fn weights_history(
        &self,
        netuid: NetUid,
        from: Block,
        to: Block,
        validator: Option<Uid>,
    ) -> Result<Vec<WeightSetting>, ChainError> {
        self.answer(|inner| {
            inner.subnet(netuid)?;
            if from > inner.last_final {
                return Err(ChainError::NoSuchBlock { block: from });
            }
            let blocks =
                (from..=to.min(inner.last_final)).filter_map(|block| inner.blocks.get(block as usize));
            let settings = blocks.flat_map(|state| &state.settings);
            Ok(settings.filter(|s| validator.is_none_or(|uid| s.validator_uid == uid)).cloned().collect())
        })
    }

    async fn commit(
        &self,
        netuid: NetUid,
        fields: &[Vec<u8>],
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        self.lock().subnet(netuid)?;
        let call = "set_commitment";
        if fields.len() > MAX_FIELDS || fields.iter().any(|field| field.len() > MAX_FIELD_BYTES) {
            let reason = "a commitment has no room for this".to_owned();
            return Err(ChainError::Invalid { call, reason });
        }
        self.send(call, signer, |state, _, _| {
            Arc::make_mut(&mut state.commitments).insert(signer.account(), fields.to_vec());
        })
        .await
    }

    async fn set_weights(
        &self,
        request: &WeightsRequest,
        signer: &Keypair,
        _: &dyn CommitBook,
    ) -> Result<SubmittedWeights, ChainError> {
        self.lock().subnet(request.netuid)?;
        let sent = self.send("set_weights", signer, |state, uid, head| {
            if let Some(neuron) = Arc::make_mut(&mut state.neurons).get_mut(usize::from(uid)) {
                neuron.last_update = head.number;
            }
            state.settings.push(WeightSetting {
                block: head.number,
                hash: head.hash,
                time_ms: state.time_ms,
                mechanism: request.mechanism,
                validator_uid: uid,
                hotkey: signer.account(),
                weights: request.weights.clone(),
            });
        });
        let included = sent.await?;
        Ok(SubmittedWeights { included, path: WeightsPath::Plain, round: None, opens_at: None, salted: None })
    }

    async fn reveal_state(&self, _: &SaltedCommit, _: &AccountId) -> Result<RevealState, ChainError> {
        // Weights are always set plainly here.
        Ok(RevealState::Gone)
    }

    async fn reveal_weights(&self, _: &SaltedCommit, _: &Keypair) -> Result<Included, ChainError> {
        Err(ChainError::Refused { call: "reveal_weights", name: "NoWeightsCommitFound".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_final_is_not_seen() {
        let chain = MemoryChain::new(3, 2);
        let validator = Keypair::from_uri("//validator").unwrap();
        let mut heads = chain.heads().await.unwrap();
        assert_eq!(heads.next().await.unwrap().number, 0);
        let uid = chain.register(&validator.account(), 7, true);
        let fields = vec![vec![1, 2, 3]];
        let (sent, ()) = tokio::join!(chain.commit(3, &fields, &validator), async {
            assert!(chain.commitments(3, Some(1)).await.is_err(), "block 1 is not there");
            chain.advance(2);
        });
        assert_eq!(sent.unwrap().block, 0);
        assert_eq!(chain.commitments(3, None).await.unwrap()[&validator.account()], fields);
        chain.advance(1);
        assert_eq!(heads.next().await.unwrap().number, 1);

        let request =
            WeightsRequest { netuid: 3, mechanism: 0, weights: vec![(uid, 65_535)], version_key: 0 };
        let book = crate::chain::MemoryBook::default();
        let waiting = chain.set_weights(&request, &validator, &book);
        let (sent, ()) = tokio::join!(waiting, async {
            assert_eq!(chain.weights_history(3, 0, 9, None).await.unwrap(), []);
            chain.advance(2);
        });
        let settings = chain.weights_history(3, 0, 9, Some(uid)).await.unwrap();
        assert_eq!((settings.len(), settings[0].block), (1, sent.unwrap().included.block));
        assert_eq!(chain.metagraph(3, None).await.unwrap().leader().unwrap().last_update, settings[0].block);
        assert_eq!(chain.timestamp_ms(2).await.unwrap(), 24_000);
        assert_eq!(chain.metagraph(4, None).await, Err(ChainError::NoSuchSubnet { netuid: 4 }));
    }

    #[tokio::test]
    async fn the_newest_blocks_come_at_once_and_may_be_replaced_until_they_are_final() {
        let chain = MemoryChain::new(3, 2);
        chain.advance(4);
        let (mut best, mut last) = (chain.best_heads().await.unwrap(), chain.heads().await.unwrap());
        let four = best.next().await.unwrap();
        assert_eq!((four.number, last.next().await.unwrap().number), (4, 2));
        assert_eq!(chain.timestamp_ms(4).await.unwrap(), 48_000);
        let (two, three) = (chain.block_hash(2).await.unwrap(), chain.block_hash(3).await.unwrap());
        chain.reorganise(9, 700);
        let again = best.next().await.unwrap();
        assert_eq!(again.number, 4);
        assert_ne!(again.hash, four.hash);
        assert_eq!(chain.block_hash(2).await.unwrap(), two, "what is final stays");
        assert_ne!(chain.block_hash(3).await.unwrap(), three);
        assert_eq!(chain.timestamp_ms(3).await.unwrap(), 36_700);
        chain.advance(2);
        assert_eq!(best.next().await.unwrap().number, 6);
        last.next().await.unwrap();
        assert_eq!(last.next().await.unwrap(), again);
        assert_eq!(chain.timestamp_ms(7).await, Err(ChainError::NoSuchBlock { block: 7 }));
    }

    #[tokio::test]
    async fn finality_can_fall_behind_and_old_states_can_go() {
        let chain = MemoryChain::new(3, 1);
        let miner = Keypair::from_uri("//miner").unwrap().account();
        chain.register(&miner, 1, false);
        chain.advance(10);
        chain.set_lag(5);
        assert_eq!(chain.head().await.unwrap().number, 9, "what is final stays so");
        chain.advance(3);
        assert_eq!((chain.head().await.unwrap().number, chain.newest_ms()), (9, 13 * 12_000));
        chain.advance(2);
        assert_eq!(chain.head().await.unwrap().number, 10);
        chain.set_lag(1);
        assert_eq!(chain.head().await.unwrap().number, 14);

        chain.prune(4);
        assert_eq!(chain.metagraph(3, Some(11)).await.unwrap().neurons[0].hotkey, miner);
        assert_eq!(chain.metagraph(3, Some(10)).await, Err(ChainError::Pruned { block: 10 }));
        chain.advance(1);
        assert_eq!(chain.commitments(3, Some(11)).await, Err(ChainError::Pruned { block: 11 }));
        assert_eq!(chain.timestamp_ms(2).await.unwrap(), 24_000);
        assert!(chain.metagraph(3, None).await.unwrap().neuron(&miner).is_some());
    }

    #[tokio::test]
    async fn strangers_are_refused_and_failures_come_when_they_were_asked_for() {
        let chain = MemoryChain::new(3, 0);
        let stranger = Keypair::from_uri("//stranger").unwrap();
        assert!(matches!(chain.commit(3, &[], &stranger).await, Err(ChainError::Refused { .. })));
        chain.fail(ChainError::Closed);
        assert_eq!(chain.head().await, Err(ChainError::Closed));
        assert_eq!(chain.head().await.unwrap().number, 0);
    }
}
