//! CommitSearch that wait to be revealed, and the blocks in which they stop waiting.
//!
//! A commit is in its queue from the block that made it to the block before the one that reveals or drops it.
//! Whether it is there at a block is thus a step, and the block of the step is found by binary search; commits that are
//! revealed together share the looks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use subxt::{
    config::Hasher as _,
    storage::StaticAddress,
    utils::{AccountId32, H256, Maybe},
};

use crate::{
    chain::{
        error::ChainError,
        ids::ours,
        rpc::storage::{Reader, Slot},
        weights_history::{
            block_cache::BlockCache,
            event::{CommitRef, CommitScheme},
        },
    },
    wallet::AccountId,
    window::Block,
};

type Salted = Vec<(H256, u64, u64, u64)>;
pub(in crate::chain) type Timelocked = Vec<(AccountId32, u64, Vec<u8>, u64)>;

/// What tells a commit from others. Not its hotkey: a hotkey that is exchanged takes its commits along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::chain) struct CommitId {
    /// The mechanism's storage index.
    pub(in crate::chain) index: u16,
    pub(in crate::chain) scheme: CommitScheme,
    /// The block that made it.
    pub(in crate::chain) block: Block,
    pub(in crate::chain) hash: [u8; 32],
}

impl CommitId {
    /// The commit as it is shown.
    pub(in crate::chain) fn shown(self, reveal_round: Option<u64>) -> CommitRef {
        CommitRef { scheme: self.scheme, block: self.block, hash: self.hash, reveal_round }
    }
}

/// A commit that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chain) struct PendingCommit {
    pub(in crate::chain) who: AccountId,
    pub(in crate::chain) round: Option<u64>,
    pub(in crate::chain) limit: Limit,
}

/// When the time of a salted commit is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chain) enum Limit {
    /// After this block.
    Block(Block),
    /// When this epoch, and as many as the subnet waits for reveals, are over.
    Epoch(u64),
    /// The chain drops it by itself.
    None,
}

/// The commits that wait at one block. There may be two of one name: anybody can repeat a hash.
pub(in crate::chain) type PendingCommits = BTreeMap<CommitId, Vec<PendingCommit>>;

/// CommitSearch of a range of blocks.
pub(in crate::chain) struct CommitSearch<'a> {
    blocks: &'a BlockCache<'a>,
    indices: Vec<u16>,
    seen: Mutex<BTreeMap<Block, Arc<PendingCommits>>>,
}

impl<'a> CommitSearch<'a> {
    /// Of the mechanisms with these storage indices.
    pub(in crate::chain) fn new(blocks: &'a BlockCache<'a>, indices: impl IntoIterator<Item = u16>) -> Self {
        Self { blocks, indices: indices.into_iter().collect(), seen: Mutex::default() }
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, BTreeMap<Block, Arc<PendingCommits>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits at the end of a block.
    pub(in crate::chain) async fn at(&self, block: Block) -> Result<Arc<PendingCommits>, ChainError> {
        if let Some(known) = self.looks().get(&block) {
            return Ok(known.clone());
        }
        let pending = Arc::new(self.read(block).await?);
        self.looks().insert(block, pending.clone());
        Ok(pending)
    }

    async fn read(&self, block: Block) -> Result<PendingCommits, ChainError> {
        let reader = self.blocks.reader(block).await?;
        let (mut salted, mut timelocked) = (Vec::new(), Vec::new());
        for &index in &self.indices {
            salted.extend(
                entries::<AccountId32, Salted>(&reader, "WeightCommits", index, |key| {
                    tail(key).map(AccountId32)
                })
                .await?,
            );
            for name in ["TimelockedWeightCommits", "CRV3WeightCommitsV2"] {
                let epoch = |key: &[u8]| tail(key).map(u64::from_le_bytes);
                timelocked.extend(entries::<u64, Timelocked>(&reader, name, index, epoch).await?);
            }
        }
        let keys = salted.iter().map(|(_, _, slot)| slot.key());
        let keys = keys.chain(timelocked.iter().map(|(_, _, slot)| slot.key()));
        let values = reader.fetch(keys).await?;
        let mut pending = PendingCommits::new();
        for (index, who, slot) in &salted {
            for (H256(hash), first, second, last) in reader.get(&values, slot)?.unwrap_or_default() {
                // Once the numbers were the block, and the first and the last block of the reveal; now they are
                // the epoch, the block, and nothing.
                let (block, limit) =
                    if last == 0 { (second, Limit::Epoch(first)) } else { (first, Limit::Block(last)) };
                let name = CommitId { index: *index, scheme: CommitScheme::Salted, block, hash };
                pending.entry(name).or_default().push(PendingCommit { who: ours(*who), round: None, limit });
            }
        }
        for (index, _, slot) in &timelocked {
            for (who, block, bytes, round) in reader.get(&values, slot)?.unwrap_or_default() {
                let hash = reader.at.hasher().hash(&bytes).0;
                let name = CommitId { index: *index, scheme: CommitScheme::Timelocked, block, hash };
                let waiting = PendingCommit { who: ours(who), round: Some(round), limit: Limit::None };
                pending.entry(name).or_default().push(waiting);
            }
        }
        Ok(pending)
    }

    /// The first block at whose end the commit no longer waits, given that it waits at `from` and not at `to`.
    /// Of several of one name it is the one with that `rank`, from 1 for the one that waits longest.
    pub(in crate::chain) async fn leaves(
        &self,
        name: CommitId,
        rank: usize,
        from: Block,
        to: Block,
    ) -> Result<Block, ChainError> {
        let waits =
            |pending: &PendingCommits| pending.get(&name).is_some_and(|waiting| waiting.len() >= rank);
        let (mut low, mut high) = (from, to);
        for (&block, pending) in self.looks().range(from..=to) {
            if waits(pending) {
                low = low.max(block);
            } else {
                high = high.min(block);
            }
        }
        while high > low + 1 {
            let middle = low + (high - low) / 2;
            if waits(&*self.at(middle).await?) { low = middle } else { high = middle }
        }
        Ok(high)
    }

    /// The first block in `from..=to` at which the time of a commit is up, if it is by then.
    pub(in crate::chain) async fn expires(
        &self,
        limit: Limit,
        from: Block,
        to: Block,
    ) -> Result<Option<Block>, ChainError> {
        let epoch = match limit {
            Limit::None => return Ok(None),
            Limit::Block(last) => return Ok(Some((last + 1).max(from)).filter(|block| *block <= to)),
            Limit::Epoch(epoch) => epoch,
        };
        if from > to || !self.is_over(epoch, to).await? {
            return Ok(None);
        }
        let (mut first, mut last) = (from, to);
        while first < last {
            let middle = first + (last - first) / 2;
            if self.is_over(epoch, middle).await? { last = middle } else { first = middle + 1 }
        }
        Ok(Some(last))
    }

    /// Whether weights that were committed to in an epoch can no longer be revealed.
    async fn is_over(&self, epoch: u64, block: Block) -> Result<bool, ChainError> {
        let reader = self.blocks.reader(block).await?;
        let of_subnet = |name: &str| StaticAddress::<(u16,), u64, Maybe>::new("SubtensorModule", name);
        let now = reader.slot(of_subnet("SubnetEpochIndex"), (self.blocks.netuid,));
        let period = reader.slot(of_subnet("RevealPeriodEpochs"), (self.blocks.netuid,));
        let (Ok(now), Ok(period)) = (now, period) else { return Ok(false) };
        let values = reader.fetch([now.key(), period.key()]).await?;
        let now = reader.get(&values, &now)?.unwrap_or(0);
        Ok(now > epoch.saturating_add(reader.get(&values, &period)?.unwrap_or(1)))
    }
}

/// The last bytes of a key, in which hashers that keep what they hash have the last part of it.
pub(in crate::chain) fn tail<const N: usize>(key: &[u8]) -> Option<[u8; N]> {
    key.last_chunk().copied()
}

/// Every entry of a map under a storage index: that index, the second part of the key, and where it is. None
/// where the runtime has no such map.
pub(in crate::chain) async fn entries<K, V>(
    reader: &Reader<'_>,
    name: &str,
    index: u16,
    part: impl Fn(&[u8]) -> Option<K>,
) -> Result<Vec<(u16, K, Slot<V>)>, ChainError>
where
    K: Clone + subxt::ext::scale_encode::EncodeAsType + subxt::ext::scale_decode::IntoVisitor,
    V: subxt::ext::scale_decode::DecodeAsType,
{
    let address = StaticAddress::<(u16, K), V, Maybe>::new("SubtensorModule", name);
    let Ok(entry) = reader.at.storage().entry(address.clone()) else { return Ok(Vec::new()) };
    let prefix = entry
        .iter_key((index,))
        .map_err(|e| ChainError::Decode { item: format!("SubtensorModule.{name}"), reason: e.to_string() })?;
    let keys = reader.keys(&prefix).await?;
    let keys = keys.iter().filter_map(|key| part(key));
    keys.map(|key| Ok((index, key.clone(), reader.slot(address.clone(), (index, key))?))).collect()
}
