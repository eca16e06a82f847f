//! The blocks in which validators set or committed weights, found without looking at the others.
//!
//! `LastUpdate` has, for each UID, the block of its last setting, commit or registration. Its largest value is
//! thus the newest block in which anything happened, and the vector at the block before that names the one
//! before: each step costs one look, however far apart they are. Values are only ever set to the current block,
//! appended with it, or taken away when UIDs are; a vector that lacks what it had is searched by binary search.

use std::collections::{BTreeMap, BTreeSet};

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

/// Every block in `after + 1..=to` in which a UID, or the one that is watched, was touched.
pub(in crate::chain) async fn updated_blocks(
    blocks: &BlockCache<'_>,
    after: Block,
    to: Block,
    watched: Option<Uid>,
) -> Result<Updated, ChainError> {
    let ends = futures::try_join!(updates(blocks, after), updates(blocks, to))?;
    let mut found = Updated::default();
    let mut spans = vec![(after, ends.0, to, ends.1)];
    while let Some((low, below, high, above)) = spans.pop() {
        found.indices.extend(below.keys().chain(above.keys()));
        if low >= high || same(&below, &above, watched) {
            continue;
        }
        let newest = newest(&above, watched).filter(|block| (low + 1..=high).contains(block));
        let Some(block) = newest.or((high == low + 1).then_some(high)) else {
            // Slots were taken away in between, and with them what they said.
            let middle = low + (high - low) / 2;
            let between = updates(blocks, middle).await?;
            spans.push((low, below, middle, between.clone()));
            spans.push((middle, between, high, above));
            continue;
        };
        let content = content(blocks, block, &slots_at(&above, block, watched)).await?;
        let there = content.updates.clone();
        found.blocks.insert(block, content);
        let before = if block - 1 == low { below.clone() } else { updates(blocks, block - 1).await? };
        spans.push((low, below, block - 1, before));
        spans.push((block, there, high, above));
    }
    Ok(found)
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

fn newest(updates: &Updates, watched: Option<Uid>) -> Option<Block> {
    let of = |blocks: &Vec<Block>| match watched {
        Some(uid) => blocks.get(usize::from(uid)).copied(),
        None => blocks.iter().copied().max(),
    };
    updates.values().filter_map(of).max()
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
    fn the_watched_slot_alone_counts_unless_slots_are_gone() {
        let (before, after) = (updates(&[5, 7]), updates(&[5, 9, 11]));
        assert!(same(&before, &after, Some(0)) && !same(&before, &after, Some(1)));
        assert!(!same(&before, &after, None));
        assert!(!same(&after, &updates(&[5, 9]), Some(0)), "a UID was taken away");
        assert_eq!((newest(&after, None), newest(&after, Some(1))), (Some(11), Some(9)));
        assert_eq!(newest(&after, Some(8)), None);
        assert_eq!(slots_at(&after, 9, None), [(3, 1)]);
        assert_eq!(slots_at(&after, 9, Some(0)), []);
    }
}
