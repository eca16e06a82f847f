//! The history of weights: what validators set, committed and revealed in a range of blocks, found without looking at
//! every block.
//!
//! `WeightsSet` is written in two ways. A setting in the open writes `LastUpdate` in the same block, as commits
//! and registrations do: `last_update` finds those blocks. A reveal takes its commit out of the queue in the same
//! block: `pending_commits` finds those. Every block that was found is then read in full, and what is told is what its
//! own events say.

pub(in crate::chain) mod block;
mod block_cache;
pub mod event;
mod last_update;
mod opened;
mod pending_commits;
mod reconstruct;

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use templar_metadata::api;

use crate::{
    chain::{
        client::SubtensorClient,
        error::ChainError,
        ids::theirs,
        weights_history::{
            block::{BlockContent, BlockEvent, content},
            block_cache::BlockCache,
            event::{WeightEvent, WeightSetting},
            pending_commits::{CommitId, CommitSearch, PendingCommit, PendingCommits},
            reconstruct::{EndedCommit, KnownCommit, reconstruct, revealed},
        },
    },
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// Blocks that are searched as one part.
const BLOCKS_PER_PART: Block = 1000;
/// Parts that are searched at once.
const CONCURRENT: usize = 4;
/// Commits whose ends are searched at once in a part.
const SEARCHES: usize = 16;

/// Which weights to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The subnet.
    pub netuid: NetUid,
    /// The first block.
    pub from: Block,
    /// The last block; beyond the newest final one there is nothing.
    pub to: Block,
    /// One validator, or all.
    pub validator: Option<Uid>,
    /// How many blocks are searched and told of together, at least 1.
    pub part_blocks: Block,
}

impl HistoryQuery {
    /// Everything that all validators did in these blocks, in parts of 1000 blocks.
    pub fn new(netuid: NetUid, from: Block, to: Block) -> Self {
        Self { netuid, from, to, validator: None, part_blocks: BLOCKS_PER_PART }
    }
}

/// What happened in a part of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPart {
    /// Its first block.
    pub from: Block,
    /// Its last block.
    pub to: Block,
    /// What happened, oldest first.
    pub events: Vec<WeightEvent>,
}

impl SubtensorClient {
    /// What validators did with their weights, part after part in the order of blocks. After a failure the
    /// parts before it stand, and the search can go on behind them.
    ///
    /// # Errors
    /// As every reading method of [`crate::chain::Chain`]; [`ChainError::NoSuchBlock`] if the first block is not there,
    /// [`ChainError::Pruned`] if the node has thrown the states away, that of the block before the first included,
    /// and there is no archive to ask instead.
    pub fn weight_events(
        &self,
        query: HistoryQuery,
    ) -> impl Stream<Item = Result<HistoryPart, ChainError>> + Send + '_ {
        parts(self, query)
    }
}

/// Every setting in `from..=to`, oldest first.
pub(in crate::chain) async fn weights(
    client: &SubtensorClient,
    netuid: NetUid,
    from: Block,
    to: Block,
    validator: Option<Uid>,
) -> Result<Vec<WeightSetting>, ChainError> {
    let query = HistoryQuery { validator, ..HistoryQuery::new(netuid, from, to) };
    let parts: Vec<HistoryPart> = parts(client, query).try_collect().await?;
    Ok(event::settings(parts.into_iter().flat_map(|part| part.events).collect()))
}

fn parts(
    client: &SubtensorClient,
    query: HistoryQuery,
) -> impl Stream<Item = Result<HistoryPart, ChainError>> + Send + '_ {
    let begin = async move {
        let newest = client.link().head().await?.number;
        if query.from > newest {
            return Err(ChainError::NoSuchBlock { block: query.from });
        }
        // The genesis block has no events, and there is no state before it.
        let (from, to) = (query.from.max(1), query.to.min(newest));
        // Nodes throw old states away first: a node that has the oldest one has them all.
        let link = if from <= to { client.with_states_from(from - 1).await? } else { client.link() };
        let blocks = std::sync::Arc::new(BlockCache::new(link, query.netuid));
        if from <= to {
            // Where both ends have one runtime, so has everything between.
            future::try_join(blocks.reader(from - 1), blocks.reader(to)).await?;
        }
        let step = query.part_blocks.max(1);
        let spans = (0..).map(move |part| from + part * step).take_while(move |first| *first <= to);
        let spans = spans.map(move |first| (first, to.min(first + (step - 1))));
        Ok(stream::iter(spans)
            .map(move |(from, to)| {
                let blocks = blocks.clone();
                async move {
                    let events = part(&blocks, from - 1, to, query.validator).await?;
                    Ok(HistoryPart { from, to, events })
                }
            })
            .buffered(CONCURRENT))
    };
    stream::once(begin).try_flatten()
}

/// What became of a commit in a range of blocks.
enum Fate {
    /// It was no longer there at the end of this block.
    Left(Block),
    /// It is still there, and its time was up in this block, if it was.
    Lost(Option<Block>),
}

/// What happened in `after + 1..=to`.
async fn part(
    blocks: &BlockCache<'_>,
    after: Block,
    to: Block,
    validator: Option<Uid>,
) -> Result<Vec<WeightEvent>, ChainError> {
    let last_update::Updated { blocks: mut contents, indices } =
        last_update::updated_blocks(blocks, after, to, validator).await?;
    let commits = CommitSearch::new(blocks, indices);
    let (before, left_over) = future::try_join(commits.at(after), commits.at(to)).await?;
    let mut all = made_before(blocks, after, &before).await?;
    all.extend(made_in(&contents));
    all.retain(|(_, known)| validator.is_none_or(|wanted| known.uid == Some(wanted)));

    let mut ended: BTreeMap<Block, Vec<EndedCommit>> = BTreeMap::new();
    let mut lost: BTreeMap<Block, Vec<(CommitId, KnownCommit)>> = BTreeMap::new();
    let mut ranks: BTreeMap<CommitId, usize> = BTreeMap::new();
    let ranked = all.into_iter().map(|(name, known)| {
        let rank = ranks.entry(name).or_default();
        *rank += 1;
        (name, known, *rank)
    });
    let ranked: Vec<_> = ranked.collect();
    let (commits, left_over) = (&commits, &left_over);
    let fates = stream::iter(ranked).map(|(name, known, rank)| async move {
        let from = name.block.max(after);
        let fate = match left_over.get(&name).and_then(|waiting| waiting.get(rank - 1)) {
            Some(waiting) => Fate::Lost(commits.expires(waiting.limit, from, to).await?),
            None => Fate::Left(commits.leaves(name, rank, from, to).await?),
        };
        Ok::<_, ChainError>((name, known, fate))
    });
    let fates: Vec<_> = fates.buffered(SEARCHES).try_collect().await?;
    for (name, known, fate) in fates {
        match fate {
            Fate::Left(block) => {
                ended.entry(block).or_default().push(EndedCommit { name, known, told: false });
            }
            Fate::Lost(block) => {
                if let Some(block) = block.filter(|block| *block > after) {
                    lost.entry(block).or_default().push((name, known));
                }
            }
        }
    }
    let unread: BTreeSet<Block> =
        ended.keys().chain(lost.keys()).copied().filter(|block| !contents.contains_key(block)).collect();
    let read = unread.into_iter().map(|block| async move { Ok((block, content(blocks, block, &[]).await?)) });
    contents.extend(future::try_join_all(read).await?);
    for (block, ended) in &mut ended {
        let Some(content) = contents.get(block) else { continue };
        let revealed = revealed(content, ended);
        for (ended, _) in ended.iter_mut().zip(revealed).filter(|(_, revealed)| !revealed) {
            // If its time was up before it was dropped, that is when it was lost.
            let waiting = commits.at(block - 1).await?;
            let limit = waiting.get(&ended.name).and_then(|waiting| waiting.first()).map(|one| one.limit);
            let from = ended.name.block.max(after);
            if let Some(limit) = limit
                && let Some(block) = commits.expires(limit, from, block - 1).await?
            {
                ended.told = true;
                if block > after {
                    lost.entry(block).or_default().push((ended.name, ended.known.clone()));
                }
            }
        }
    }
    for block in lost.keys() {
        if !contents.contains_key(block) {
            contents.insert(*block, content(blocks, *block, &[]).await?);
        }
    }
    let mut events = Vec::new();
    for (block, content) in &contents {
        let ended = ended.get(block).map(Vec::as_slice).unwrap_or_default();
        let lost = lost.get(block).map(Vec::as_slice).unwrap_or_default();
        let mut told = reconstruct(content, blocks.netuid, ended, lost);
        opened::own_rows(blocks, *block, &mut told).await?;
        events.extend(told);
    }
    events.retain(|event| validator.is_none_or(|wanted| event.validator_uid == Some(wanted)));
    Ok(events)
}

/// The commits that wait at a block, and their validators' UIDs.
async fn made_before(
    blocks: &BlockCache<'_>,
    block: Block,
    pending: &PendingCommits,
) -> Result<Vec<(CommitId, KnownCommit)>, ChainError> {
    let reader = blocks.reader(block).await?;
    let who: BTreeSet<&AccountId> = pending.values().flatten().map(|waiting| &waiting.who).collect();
    let uids = api::storage().subtensor_module().uids();
    let uids = reader.slots(&uids, who.iter().map(|who| (blocks.netuid, theirs(who))))?;
    let uids: BTreeMap<&AccountId, Option<Uid>> =
        who.into_iter().zip(reader.read_all(&uids).await?).collect();
    let each = |(name, waiting): (&CommitId, &PendingCommit)| {
        let uid = uids.get(&waiting.who).copied().flatten();
        (*name, KnownCommit { who: waiting.who.clone(), round: waiting.round, uid })
    };
    let all = pending.iter().flat_map(|(name, waiting)| waiting.iter().map(move |one| (name, one)));
    Ok(all.map(each).collect())
}

/// The commits that were made in these blocks.
fn made_in(contents: &BTreeMap<Block, BlockContent>) -> Vec<(CommitId, KnownCommit)> {
    let mut made = Vec::new();
    for (&block, content) in contents {
        for event in &content.happened {
            if let BlockEvent::Committed { who, index, scheme, hash, round } = event {
                let name = CommitId { index: *index, scheme: *scheme, block, hash: *hash };
                made.push((name, KnownCommit { who: who.clone(), round: *round, uid: content.uid(who) }));
            }
        }
    }
    made
}
