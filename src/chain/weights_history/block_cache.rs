//! A range of blocks that is looked into here and there: hashes and runtimes are asked for once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use parity_scale_codec::{Compact, Decode as _};
use subxt::storage::StaticAddress;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    chain::{
        error::ChainError,
        rpc::{
            connection::{AtBlock, Connection},
            storage::Reader,
        },
        types::Head,
    },
    window::{Block, NetUid},
};

/// Blocks that are looked at side by side: what an endpoint is asked at once.
const CONCURRENT: usize = 32;

/// The blocks that a search looks into.
pub(in crate::chain) struct BlockCache<'a> {
    pub(in crate::chain) link: &'a Connection,
    pub(in crate::chain) netuid: NetUid,
    hashes: Mutex<BTreeMap<Block, [u8; 32]>>,
    /// Blocks that are looked at side by side.
    turns: Semaphore,
    /// By block: a client that knows the runtime that made the block.
    runtimes: Mutex<BTreeMap<Block, AtBlock>>,
}

/// Nothing panics while one of these is held, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> BlockCache<'a> {
    pub(in crate::chain) fn new(link: &'a Connection, netuid: NetUid) -> Self {
        let turns = Semaphore::new(CONCURRENT);
        Self { link, netuid, hashes: Mutex::default(), turns, runtimes: Mutex::default() }
    }

    /// Waits until another block may be looked at.
    pub(in crate::chain) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// Storage as it stood at the end of a block, read as the runtime wrote it that made the block.
    pub(in crate::chain) async fn reader(&self, block: Block) -> Result<Reader<'a>, ChainError> {
        let (head, at) = (self.head(block).await?, self.runtime(block).await?);
        Ok(Reader::of(self.link, at, head))
    }

    /// Remembers a hash that became known on the way.
    pub(in crate::chain) fn note(&self, block: Block, hash: [u8; 32]) {
        lock(&self.hashes).insert(block, hash);
    }

    pub(in crate::chain) async fn head(&self, block: Block) -> Result<Head, ChainError> {
        let known = lock(&self.hashes).get(&block).copied();
        let hash = match known {
            Some(hash) => hash,
            None => {
                let hash = self.link.block_hash(block).await?.ok_or(ChainError::NoSuchBlock { block })?;
                self.note(block, hash);
                hash
            }
        };
        Ok(Head { number: block, hash })
    }

    /// The runtime that made a block. Versions only grow: between two blocks of one version there is no other,
    /// and where they differ the block of the upgrade is found by binary search.
    async fn runtime(&self, block: Block) -> Result<AtBlock, ChainError> {
        loop {
            let unknown = {
                let known = lock(&self.runtimes);
                let below = known.range(..=block).next_back();
                let above = known.range(block..).next();
                match (below, above) {
                    (Some((at, runtime)), _) if *at == block => return Ok(runtime.clone()),
                    (Some((_, low)), Some((_, high))) if low.spec_version() == high.spec_version() => {
                        return Ok(low.clone());
                    }
                    (Some((low, _)), Some((high, _))) => low + (high - low) / 2,
                    _ => block,
                }
            };
            let runtime = self.look_up(unknown).await?;
            lock(&self.runtimes).insert(unknown, runtime);
        }
    }

    /// The block that upgrades the runtime already names the new one, though the old one made it and wrote its
    /// events. `LastRuntimeUpgrade` says which one did.
    async fn look_up(&self, block: Block) -> Result<AtBlock, ChainError> {
        let head = self.head(block).await?;
        let at = self.link.at(head).await?;
        let reader = Reader::of(self.link, at.clone(), head);
        let address = StaticAddress::<(), (), subxt::utils::Yes>::new("System", "LastRuntimeUpgrade");
        let Ok(slot) = reader.slot(address, ()) else { return Ok(at) };
        let values = reader.fetch([slot.key()]).await?;
        let made_by = values.bytes(slot.key()).and_then(|mut bytes| Compact::<u32>::decode(&mut bytes).ok());
        match (made_by, block.checked_sub(1)) {
            (Some(Compact(version)), Some(parent)) if version != at.spec_version() => {
                self.link.at(self.head(parent).await?).await
            }
            _ => Ok(at),
        }
    }
}
