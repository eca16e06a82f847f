//! The blocks in which validators set or committed weights, found without looking at the others.
//!
//! `LastUpdate` has, for each UID, the block of its last setting, commit or registration. Its largest value is
//! thus the newest block in which anything happened, every other value is a block in which something did, and the vector at
//! the block before one of them tells what it has written over. So each step reads all blocks that are known, side by side,
//! however far apart they are; where they lie close together the rest is cut into pieces that are searched side by side as well.
//! Values are only ever set to the current block, appended with it, or taken away when UIDs are; a vector that lacks what it had is
//! searched by binary search.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};

use crate::{
    chain::{
        error::ChainError,
        weights_history::{
            block::{BlockContent, Updates, content, slots},
            block_cache::BlockCache,
        },
    },
    window::{Block, Uid},
};

/// `LastUpdate` at the end of a block.
pub(in crate::chain) async fn updates(blocks: &BlockCache<'_>, block: Block) -> Result<Updates, ChainError> {
    let _turn = blocks.turn().await;
    let reader = blocks.reader(block).await?;
    let slots = slots(&reader, blocks.netuid)?;
    let values = reader.fetch(slots.iter().map(|(_, slot)| slot.key())).await?;
    let mut updates = Updates::new();
    for (index, slot) in &slots {
        updates.insert(*index, reader.get(&values, slot)?.unwrap_or_default());
    }
    updates.retain(|_, blocks| !blocks.is_empty());
    Ok(updates)
}

/// What was found: the blocks with what happened in them, and the mechanisms there are.
#[derive(Default)]
pub(in crate::chain) struct Updated {
    pub(in crate::chain) blocks: BTreeMap<Block, BlockContent>,
    pub(in crate::chain) indices: BTreeSet<u16>,
}

/// Every block in `after + 1..=to` in which a UID, or the one that is watched, was touched. Spans are searched side by side.
pub(in crate::chain) async fn updated_blocks(
    blocks: &BlockCache<'_>,
    after: Block,
    to: Block,
    watched: Option<Uid>,
) -> Result<Updated, ChainError> {
    let (below, above) = futures::try_join!(updates(blocks, after), updates(blocks, to))?;
    let mut found = Updated::default();
    let mut looks = FuturesUnordered::new();
    looks.push(look(blocks, Span { low: after, below, high: to, above }, watched));
    while let Some(seen) = looks.next().await {
        let Seen { indices, contents, spans } = seen?;
        found.indices.extend(indices);
        found.blocks.extend(contents);
        looks.extend(spans.into_iter().map(|span| look(blocks, span, watched)));
    }
    Ok(found)
}

/// Blocks after `low` up to `high`, and `LastUpdate` at the end of both.
struct Span {
    low: Block,
    below: Updates,
    high: Block,
    above: Updates,
}

/// What one look at a span has shown, and the spans that are left.
#[derive(Default)]
struct Seen {
    indices: BTreeSet<u16>,
    contents: Vec<(Block, BlockContent)>,
    spans: Vec<Span>,
}

/// Reads all blocks that the end of a span names, and what stood before each; where they lie close together also what stood at
/// some places further down, so that the rest is searched in pieces.
async fn look(blocks: &BlockCache<'_>, span: Span, watched: Option<Uid>) -> Result<Seen, ChainError> {
    let Span { low, below, high, above } = span;
    let mut seen = Seen { indices: below.keys().chain(above.keys()).copied().collect(), ..Seen::default() };
    if low >= high || same(&below, &above, watched) {
        return Ok(seen);
    }
    let mut named = touched(&above, low, high, watched);
    if named.is_empty() && high > low + 1 {
        // Slots were taken away in between, and with them what they said.
        let middle = low + (high - low) / 2;
        let between = updates(blocks, middle).await?;
        seen.spans.push(Span { low, below, high: middle, above: between.clone() });
        seen.spans.push(Span { low: middle, below: between, high, above });
        return Ok(seen);
    }
    if named.is_empty() {
        named.insert(high);
    }
    let probes = probes(low, high, &named);
    let read = named.iter().map(|&block| {
        let slots = slots_at(&above, block, watched);
        async move { content(blocks, block, &slots).await }
    });
    let before = named.iter().map(|&block| block - 1);
    let before = before.filter(|block| *block > low && !named.contains(block)).chain(probes);
    let before =
        before.map(|block| async move { Ok::<_, ChainError>((block, updates(blocks, block).await?)) });
    let (read, before) = futures::try_join!(try_join_all(read), try_join_all(before))?;

    // Every block whose end is known now, and whether something happened in it that has been read.
    let mut known: BTreeMap<Block, Updates> = before.into_iter().collect();
    known.insert(low, below);
    known.insert(high, above);
    for (block, content) in named.iter().copied().zip(read) {
        known.insert(block, content.updates.clone());
        seen.contents.push((block, content));
    }
    let ends: Vec<(Block, Updates)> = known.into_iter().collect();
    for pair in ends.windows(2) {
        let [(low, below), (high, above)] = pair else { continue };
        // A block that was read whole needs no further look.
        if !(high - low == 1 && named.contains(high)) {
            seen.spans.push(Span { low: *low, below: below.clone(), high: *high, above: above.clone() });
        }
    }
    Ok(seen)
}

/// The most pieces into which a span is cut at once.
const PIECES: u64 = 16;
/// Blocks that are expected in a span before it pays to cut it.
const MANY: u64 = 8;

/// Where to look below the blocks that are named, if as close together as those are there are many more: the places that cut
/// what is left into equal pieces.
fn probes(low: Block, high: Block, named: &BTreeSet<Block>) -> Vec<Block> {
    let Some(&oldest) = named.first() else { return Vec::new() };
    let (count, width) = (named.len() as u64, high - oldest + 1);
    let left = oldest - low - 1;
    let expected = left * count / width;
    if expected < MANY {
        return Vec::new();
    }
    let pieces = (expected / 4).clamp(2, PIECES);
    (1..pieces).map(|piece| low + left * piece / pieces).filter(|block| *block > low).collect()
}

/// Whether nothing was touched between two looks.
fn same(below: &Updates, above: &Updates, watched: Option<Uid>) -> bool {
    let Some(uid) = watched else { return below == above };
    let at = |updates: &Updates, index| {
        let blocks: &[Block] = updates.get(&index).map(Vec::as_slice).unwrap_or_default();
        (blocks.len(), blocks.get(usize::from(uid)).copied())
    };
    below.keys().chain(above.keys()).all(|&index| {
        let ((fewer, before), (more, after)) = (at(below, index), at(above, index));
        before == after && fewer <= more
    })
}

/// The blocks within `low + 1..=high` in which a slot, or the one that is watched, was touched last.
fn touched(updates: &Updates, low: Block, high: Block, watched: Option<Uid>) -> BTreeSet<Block> {
    let of = |blocks: &Vec<Block>| match watched {
        Some(uid) => blocks.get(usize::from(uid)).copied().into_iter().collect(),
        None => blocks.clone(),
    };
    let within = |block: &Block| (low + 1..=high).contains(block);
    updates.values().flat_map(of).filter(within).collect()
}

/// The UIDs that were touched in a block.
fn slots_at(updates: &Updates, block: Block, watched: Option<Uid>) -> Vec<(u16, Uid)> {
    let touched = |(index, blocks): (&u16, &Vec<Block>)| {
        let index = *index;
        let uids = (0..=Uid::MAX).zip(blocks.clone()).filter(move |(_, at)| *at == block);
        uids.map(move |(uid, _)| (index, uid)).collect::<Vec<_>>()
    };
    let all = updates.iter().flat_map(touched);
    all.filter(|(_, uid)| watched.is_none_or(|watched| watched == *uid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(blocks: &[Block]) -> Updates {
        Updates::from([(3, blocks.to_vec())])
    }

    #[test]
    fn a_dense_span_is_cut_and_a_quiet_one_is_not() {
        let named = |blocks: &[Block]| blocks.iter().copied().collect::<BTreeSet<_>>();
        assert!(probes(0, 1000, &named(&[640])).is_empty());
        assert!(probes(0, 1000, &named(&[])).is_empty());
        let cut = probes(0, 1000, &named(&[990, 995, 1000]));
        assert_eq!(cut.len(), 15);
        assert!(cut.windows(2).all(|pair| pair[1] > pair[0]) && cut[0] > 0 && cut[14] < 990, "{cut:?}");
        assert!(probes(980, 1000, &named(&[990, 995, 1000])).is_empty());
    }

    #[test]
    fn the_watched_slot_alone_counts_unless_slots_are_gone() {
        let (before, after) = (updates(&[5, 7]), updates(&[5, 9, 11]));
        assert!(same(&before, &after, Some(0)) && !same(&before, &after, Some(1)));
        assert!(!same(&before, &after, None));
        assert!(!same(&after, &updates(&[5, 9]), Some(0)), "a UID was taken away");
        let named = |low, high, watched| touched(&after, low, high, watched).into_iter().collect::<Vec<_>>();
        assert_eq!((named(0, 20, None), named(0, 20, Some(1))), (vec![5, 9, 11], vec![9]));
        assert_eq!((named(5, 10, None), named(0, 20, Some(8))), (vec![9], vec![]));
        assert_eq!(slots_at(&after, 9, None), [(3, 1)]);
        assert_eq!(slots_at(&after, 9, Some(0)), []);
    }
}
