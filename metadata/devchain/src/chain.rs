//! The chain: sealed blocks with their states, and the making of the next one.

use crate::{
    archive::{Archive, ArchiveError, Record},
    externalities::Overlay,
    history::{Changes, History, root},
    pool::{Candidate, Pool, Refusal, Status, Taken},
    spec::{self, Runtime, SpecVersion},
};
use node_subtensor_runtime::{AccountId, Header};
use sp_core::{
    H256,
    storage::{StateVersion, well_known_keys::CODE},
};
use sp_io::hashing::blake2_256;
use sp_runtime::{
    traits::{BlakeTwo256, Hash as _, Header as _},
    transaction_validity::TransactionValidityError,
};
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Longest extrinsic that is taken, in bytes.
const MAX_EXTRINSIC_BYTES: usize = 4 << 20;

/// Why there is no chain, or no next block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The first state cannot be built.
    #[error("the genesis state cannot be built: {0}")]
    Genesis(String),
    /// The blocks cannot be kept.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The runtime panicked where it must not.
    #[error("the runtime panicked while it made block {number}")]
    Panicked {
        /// The block.
        number: u32,
    },
}

impl ChainError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Archive(ArchiveError::InUse) => "stop the other chain, or name another folder",
            Self::Archive(ArchiveError::Io(_)) => "check the folder and its disk",
            Self::Archive(_) => "restore the folder from a copy, or name a new one",
            Self::Genesis(_) | Self::Panicked { .. } => "this is a defect of the program: report it",
        }
    }
}

/// A block.
pub(crate) struct Block {
    /// Its hash.
    pub hash: H256,
    /// Its header.
    pub header: Header,
    /// Its extrinsics' bytes.
    pub extrinsics: Vec<Vec<u8>>,
}

/// Why an extrinsic is not taken into the pool.
#[derive(Debug)]
pub(crate) enum SubmitError {
    /// The bytes are no extrinsic.
    Undecodable(String),
    /// The runtime says no.
    Invalid(TransactionValidityError),
    /// The pool says no.
    Refused(Refusal),
    /// The runtime panicked over it.
    Panicked,
}

#[derive(Default)]
struct Blocks {
    sealed: Vec<Arc<Block>>,
    by_hash: HashMap<H256, u32>,
    states: History,
}

impl Blocks {
    /// The runtime of the state after a block.
    fn runtime(&self, number: u32) -> &'static Runtime {
        Runtime::of_code(self.states.get(number, CODE))
    }

    /// Takes the newest block away, and what it changed.
    fn pop(&mut self) {
        if let Some(block) = self.sealed.pop() {
            self.by_hash.remove(&block.hash);
            self.states.undo(block.header.number);
        }
    }

    fn push(&mut self, record: Record) {
        let number = record.header.number;
        let hash = record.header.hash();
        self.states.append(number, record.changes);
        self.by_hash.insert(hash, number);
        let Record { header, extrinsics, .. } = record;
        self.sealed.push(Arc::new(Block { hash, header, extrinsics }));
    }
}

/// The chain. All methods may be called from any thread; those that run the runtime take milliseconds.
pub(crate) struct Chain {
    blocks: RwLock<Blocks>,
    pool: Mutex<Pool>,
    archive: Mutex<Option<Archive>>,
    best: watch::Sender<u32>,
    last_final: watch::Sender<u32>,
    /// How many blocks the last final one is behind the newest.
    lag: AtomicU32,
    /// How many of the newest blocks' states are answered for; 0 for all.
    kept: AtomicU32,
    /// Time between two blocks, milliseconds.
    block_ms: AtomicU64,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A block that is made and not sealed yet.
struct Draft {
    record: Record,
    included: Vec<H256>,
    invalid: Vec<H256>,
}

impl Chain {
    /// Reads back the blocks that the folder holds, or begins with the first, made by this runtime.
    pub fn open(dir: Option<&Path>, spec: SpecVersion, block_time: Duration) -> Result<Self, ChainError> {
        let mut blocks = Blocks::default();
        let mut archive = dir.map(|dir| Archive::open(dir, |record| blocks.push(record))).transpose()?;
        if blocks.sealed.is_empty() {
            let record = first_block(spec)?;
            if let Some(archive) = &mut archive {
                archive.append(&record)?;
            }
            blocks.push(record);
        }
        let number = blocks.sealed.last().map_or(0, |block| block.header.number);
        Ok(Self {
            blocks: RwLock::new(blocks),
            pool: Mutex::default(),
            archive: Mutex::new(archive),
            best: watch::channel(number).0,
            last_final: watch::channel(number).0,
            lag: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            block_ms: AtomicU64::new(milliseconds(block_time)),
        })
    }

    /// Time between two blocks.
    pub fn block_time(&self) -> Duration {
        Duration::from_millis(self.block_ms.load(Ordering::Relaxed))
    }

    /// Changes the time between two blocks, from the next one on.
    pub fn set_block_time(&self, time: Duration) {
        self.block_ms.store(milliseconds(time), Ordering::Relaxed);
        spec::set_block_time(time);
    }

    /// Changes how many blocks the last final one is behind the newest. What is final stays so.
    pub fn set_finality_lag(&self, blocks: u32) {
        self.lag.store(blocks, Ordering::Relaxed);
        self.finalize();
    }

    /// Answers from now on as a node that keeps the states of so many of the newest blocks; 0 for all. Headers and bodies stay.
    pub fn keep_states(&self, blocks: u32) {
        self.kept.store(blocks, Ordering::Relaxed);
    }

    /// Whether what a block left in storage may be asked for.
    pub(crate) fn keeps_state_of(&self, block: &Block) -> bool {
        let kept = self.kept.load(Ordering::Relaxed);
        kept == 0 || block.header.number.saturating_add(kept) > *self.best.borrow()
    }

    fn finalize(&self) {
        let due = self.best.borrow().saturating_sub(self.lag.load(Ordering::Relaxed));
        self.last_final.send_if_modified(|number| {
            let newer = due > *number;
            if newer {
                *number = due;
            }
            newer
        });
    }

    /// Replaces the newest block, if it is not final, by another with the same extrinsics and a later time. Whoever asks for the
    /// old one by its hash is told that there is no such block.
    pub fn replace_best(&self) -> Result<(), ChainError> {
        let old = self.best();
        let number = old.header.number;
        let Some(parent) = number.checked_sub(1).and_then(|parent| self.by_number(parent)) else {
            return Ok(());
        };
        if number <= *self.last_final.borrow() {
            return Ok(());
        }
        let Draft { record, .. } = self.draft(&parent, Some(&old.extrinsics))?;
        if record.header.hash() == old.hash {
            return Ok(());
        }
        if let Some(archive) = &mut *self.archive() {
            archive.replace(&record)?;
        }
        {
            let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
            blocks.pop();
            blocks.push(record);
        }
        self.best.send_replace(number);
        Ok(())
    }

    /// Makes the next block of what waits, keeps it, and lets everybody know.
    pub fn make_block(&self) -> Result<Arc<Block>, ChainError> {
        let Draft { record, included, invalid } = self.draft(&self.best(), None)?;
        if let Some(archive) = &mut *self.archive() {
            archive.append(&record)?;
        }
        let number = record.header.number;
        self.blocks.write().unwrap_or_else(PoisonError::into_inner).push(record);
        // The state first, the pool after: what is submitted in between is judged by the new state.
        let block = self.best();
        self.best.send_replace(number);
        self.finalize();
        self.pool().settle(block.hash, number, &included, &invalid);
        Ok(block)
    }

    /// A block after `parent`: of what waits, or of the extrinsics of the block that it replaces.
    fn draft(&self, parent: &Block, again: Option<&[Vec<u8>]>) -> Result<Draft, ChainError> {
        let number = parent.header.number.saturating_add(1);
        let blocks = self.blocks();
        let runtime = blocks.runtime(parent.header.number);
        let mut pool = self.pool();
        loop {
            let mut overlay = Overlay::new(&blocks.states, parent.header.number, parent.header.state_root);
            let (mut extrinsics, mut included, mut tried) = (Vec::new(), Vec::new(), None);
            let make = || {
                let empty = Header::new(number, H256::zero(), H256::zero(), parent.hash, Default::default());
                (runtime.initialize)(&empty);
                let inherent = (runtime.timestamp)();
                (runtime.apply)(&inherent);
                extrinsics.push(inherent);
                if let Some(again) = again {
                    // The first is the time's.
                    for bytes in again.iter().skip(1) {
                        if (runtime.apply)(bytes) == Taken::Included {
                            extrinsics.push(bytes.clone());
                        }
                    }
                    return ((runtime.finalize)(), Vec::new());
                }
                let invalid = pool.offer(runtime.nonce, |candidate| {
                    tried = Some(candidate.hash);
                    let taken = (runtime.apply)(&candidate.bytes);
                    if taken == Taken::Included {
                        extrinsics.push(candidate.bytes.clone());
                        included.push(candidate.hash);
                    }
                    taken
                });
                tried = None;
                ((runtime.finalize)(), invalid)
            };
            let made = catch_unwind(AssertUnwindSafe(|| overlay.run(make)));
            match (made, tried) {
                (Ok((header, invalid)), _) => {
                    let record = Record { header, extrinsics, changes: overlay.changes() };
                    return Ok(Draft { record, included, invalid });
                }
                // One bad extrinsic must not end the chain.
                (Err(_), Some(hash)) => pool.drop_invalid(&hash),
                (Err(_), None) => return Err(ChainError::Panicked { number }),
            }
        }
    }

    fn blocks(&self) -> RwLockReadGuard<'_, Blocks> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn archive(&self) -> MutexGuard<'_, Option<Archive>> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the folder, for another chain to use. Whoever still reads this one can go on.
    pub fn close(&self) {
        *self.archive() = None;
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest block.
    pub fn best(&self) -> Arc<Block> {
        let blocks = self.blocks();
        // There is a block from the beginning on.
        blocks.sealed[blocks.sealed.len() - 1].clone()
    }

    /// A block by its number.
    pub fn by_number(&self, number: u32) -> Option<Arc<Block>> {
        self.blocks().sealed.get(number as usize).cloned()
    }

    /// A block by its hash.
    pub fn by_hash(&self, hash: &H256) -> Option<Arc<Block>> {
        let blocks = self.blocks();
        blocks.by_hash.get(hash).and_then(|number| blocks.sealed.get(*number as usize)).cloned()
    }

    /// The newest block's number, as it changes.
    pub fn watch_best(&self) -> watch::Receiver<u32> {
        self.best.subscribe()
    }

    /// The last final block's number, as it changes.
    pub fn watch_final(&self) -> watch::Receiver<u32> {
        self.last_final.subscribe()
    }

    /// The last final block.
    pub fn last_final(&self) -> Arc<Block> {
        let number = *self.last_final.borrow();
        // A final block is never taken away.
        self.by_number(number).unwrap_or_else(|| self.best())
    }

    /// A value after a block.
    pub fn value(&self, block: &Block, key: &[u8]) -> Option<Vec<u8>> {
        self.blocks().states.get(block.header.number, key).map(<[u8]>::to_vec)
    }

    /// Whether a block changed the value under a key.
    pub fn changed(&self, block: &Block, key: &[u8]) -> bool {
        self.blocks().states.changed(block.header.number, key)
    }

    /// Keys after a block with a prefix, in order, from after `start` on.
    pub fn keys(&self, block: &Block, prefix: &[u8], start: Option<&[u8]>, most: usize) -> Vec<Vec<u8>> {
        let blocks = self.blocks();
        blocks.states.keys(block.header.number, prefix, start).take(most).map(<[u8]>::to_vec).collect()
    }

    /// Runs something of the runtime on the state after a block and drops what it changes; `None` if it
    /// panics.
    pub fn look<R>(&self, block: &Block, what: impl FnOnce(&'static Runtime) -> R) -> Option<R> {
        let blocks = self.blocks();
        let runtime = blocks.runtime(block.header.number);
        let mut overlay = Overlay::new(&blocks.states, block.header.number, block.header.state_root);
        catch_unwind(AssertUnwindSafe(|| overlay.run(|| what(runtime)))).ok()
    }

    /// The runtime of the state after a block: the one that makes the next. As on Subtensor mainnet, after the
    /// block that upgrades it is the new one already, though the old one made the block.
    pub fn runtime(&self, block: &Block) -> &'static Runtime {
        self.blocks().runtime(block.header.number)
    }

    fn account_nonce(&self, block: &Block, account: &AccountId) -> u32 {
        self.look(block, |runtime| (runtime.nonce)(account)).unwrap_or(0)
    }

    /// Checks an extrinsic against the newest state and takes it into the pool.
    pub fn submit(
        &self,
        bytes: Vec<u8>,
        watcher: Option<mpsc::UnboundedSender<Status>>,
    ) -> Result<H256, SubmitError> {
        if bytes.len() > MAX_EXTRINSIC_BYTES {
            return Err(SubmitError::Undecodable(format!("{} bytes are too many", bytes.len())));
        }
        let best = self.best();
        let runtime = self.runtime(&best);
        let signer = (runtime.signer)(&bytes).map_err(SubmitError::Undecodable)?;
        let verdict = self.look(&best, |runtime| (runtime.validate)(&bytes, best.hash));
        let verdict = verdict.ok_or(SubmitError::Panicked)?;
        let longevity = u32::try_from(verdict.map_err(SubmitError::Invalid)?.longevity).unwrap_or(u32::MAX);
        let until = best.header.number.saturating_add(longevity);
        let hash = hash_of(&bytes);
        let signer = signer.ok_or(SubmitError::Refused(Refusal::Unsigned))?;
        let nonce = self.account_nonce(&best, &signer.0);
        let candidate = Candidate { hash, bytes, signer, until, watcher };
        self.pool().add(candidate, nonce).map_err(SubmitError::Refused)?;
        Ok(hash)
    }

    /// The nonce of an account's next extrinsic, those that wait counted in.
    pub fn next_nonce(&self, account: &AccountId) -> u32 {
        let nonce = self.account_nonce(&self.best(), account);
        self.pool().next_nonce(account, nonce)
    }

    /// The extrinsics that wait.
    pub fn pending(&self) -> Vec<Vec<u8>> {
        self.pool().iter().map(|candidate| candidate.bytes.clone()).collect()
    }
}

/// The block before all others.
fn first_block(spec: SpecVersion) -> Result<Record, ChainError> {
    let storage = spec::genesis(spec).map_err(ChainError::Genesis)?;
    let changes: Changes = storage.top.into_iter().map(|(key, value)| (key, Some(value))).collect();
    let state = root(H256::zero(), &changes);
    let extrinsics = BlakeTwo256::ordered_trie_root(vec![], StateVersion::V1);
    let header = Header::new(0, extrinsics, state, H256::zero(), Default::default());
    Ok(Record { header, extrinsics: vec![], changes })
}

/// An extrinsic's hash.
pub(crate) fn hash_of(bytes: &[u8]) -> H256 {
    H256(blake2_256(bytes))
}
