//! What each of several timelocked commits said that the chain opened in one block: the chain keeps the last row alone.
//!
//! The ciphertexts are in the queue at the block before, and the beacon's signature is in the block's state, which has those of a week
//! (on the main network) before it: with both the commits are opened again.

use std::collections::BTreeMap;

use subxt::{
    config::Hasher as _,
    ext::scale_value::{At as _, Value},
};

use super::{
    block_cache::BlockCache,
    event::{CommitRef, CommitScheme, WeightAction, WeightEvent},
    pending_commits::{Timelocked, entries, tail},
};
use crate::{
    chain::{
        error::ChainError,
        ids::storage_index,
        rpc::storage::if_there,
        timelock::{WeightCommit, decrypt},
    },
    window::{Block, Uid},
};

/// UIDs and weights.
type Row = Vec<(Uid, u16)>;

/// Gives each of several reveals of one validator in a block the row of its own, where all of them can be opened again and the last
/// one's is what stood there afterwards.
pub(super) async fn own_rows(
    blocks: &BlockCache<'_>,
    block: Block,
    events: &mut [WeightEvent],
) -> Result<(), ChainError> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        let WeightAction::Reveal { commit: Some(commit), .. } = &event.what else { continue };
        if commit.scheme == CommitScheme::Timelocked {
            groups.entry((event.mechanism, event.hotkey.clone())).or_default().push(at);
        }
    }
    for ((mechanism, _), mut group) in groups.into_iter().filter(|(_, group)| group.len() > 1) {
        let index = storage_index(blocks.netuid, mechanism);
        // The chain opens them in this order, and the last one stays.
        group.sort_by_key(|at| events[*at].what.commit().map(|commit| commit.block));
        let mut rows = Vec::with_capacity(group.len());
        for at in &group {
            let Some(commit) = events[*at].what.commit() else { continue };
            let Some(row) = row_of(blocks, index, commit, block).await? else { break };
            rows.push(row);
        }
        let stood = group.last().and_then(|at| events[*at].what.weights()).map(<[_]>::to_vec);
        if rows.len() != group.len() || rows.last() != stood.as_ref() {
            tracing::debug!(block, "commits that were opened together cannot be told apart");
            continue;
        }
        for (at, row) in group.into_iter().zip(rows) {
            if let WeightAction::Reveal { weights, .. } = &mut events[at].what {
                *weights = row;
            }
        }
    }
    Ok(())
}

/// What a commit said; none where it cannot be opened any more.
async fn row_of(
    blocks: &BlockCache<'_>,
    index: u16,
    commit: &CommitRef,
    block: Block,
) -> Result<Option<Row>, ChainError> {
    let Some(before) = block.checked_sub(1) else { return Ok(None) };
    let reader = blocks.reader(before).await?;
    let mut sealed = None;
    for name in ["TimelockedWeightCommits", "CRV3WeightCommitsV2"] {
        let epoch = |key: &[u8]| tail(key).map(u64::from_le_bytes);
        let slots = entries::<u64, Timelocked>(&reader, name, index, epoch).await?;
        let values = reader.fetch(slots.iter().map(|(_, _, slot)| slot.key())).await?;
        for (_, _, slot) in &slots {
            let waiting = reader.get(&values, slot)?.unwrap_or_default();
            let this = waiting.into_iter().find(|(_, made, bytes, _)| {
                *made == commit.block && reader.at.hasher().hash(bytes).0 == commit.hash
            });
            sealed = sealed.or(this);
        }
    }
    let Some((_, _, bytes, round)) = sealed else { return Ok(None) };
    let after = blocks.reader(block).await?;
    let Some(slot) = if_there(after.named::<_, Value<()>>("Drand", "Pulses", (round,)))? else {
        return Ok(None);
    };
    let values = after.fetch([slot.key()]).await?;
    let pulse = after.get(&values, &slot)?;
    let Some(signature) = pulse.as_ref().and_then(|pulse| signature(pulse.at("signature")?)) else {
        return Ok(None);
    };
    let opened = decrypt(&bytes, &signature).ok().and_then(|text| WeightCommit::decode(&text).ok());
    Ok(opened.map(|commit| commit.uids.into_iter().zip(upscaled(&commit.values)).collect()))
}

/// Bytes, in whatever is wrapped around them.
fn signature(value: &Value<()>) -> Option<Vec<u8>> {
    let subxt::ext::scale_value::ValueDef::Composite(inner) = &value.value else { return None };
    let values: Vec<&Value<()>> = inner.values().collect();
    match values.as_slice() {
        [only] if only.as_u128().is_none() => signature(only),
        values => values.iter().map(|byte| u8::try_from(byte.as_u128()?).ok()).collect(),
    }
}

/// Weights as the chain keeps them: the largest becomes 65535. For a largest above 32768 the factor is rounded to 32 bits behind the
/// point first, as Subtensor does.
fn upscaled(values: &[u16]) -> Vec<u16> {
    let Some(largest) = values.iter().copied().max().filter(|largest| *largest > 0) else {
        return values.to_vec();
    };
    let scale = |value: u16| {
        let (value, largest) = (u64::from(value), u64::from(largest));
        let scaled = match largest {
            32_769.. => (value * ((65_535u64 << 32) / largest) + (1 << 31)) >> 32,
            _ => (value * 65_535 + largest / 2) / largest,
        };
        u16::try_from(scaled).unwrap_or(u16::MAX)
    };
    values.iter().copied().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_scaled_as_the_chain_does() {
        assert_eq!(upscaled(&[65_535, 9, 0]), [65_535, 9, 0]);
        assert_eq!(upscaled(&[1, 2]), [32_768, 65_535]);
        assert_eq!(upscaled(&[0, 0]), [0, 0]);
        assert_eq!(upscaled(&[40_000, 20_000]), [65_535, 32_767]);
        assert!(upscaled(&[]).is_empty());
    }
}
