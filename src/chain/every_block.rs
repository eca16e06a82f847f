//! Who set which weights when, by looking at every block: what the quick way is measured against.
//!
//! A block's events say that a validator's row was set; the row's content is storage at that block.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use templar_metadata::api::{self, subtensor_module::events::WeightsSet};

use super::{ChainError, Head, WeightSetting, link::Link, metagraph::ours, read::Reader, submit};
use crate::window::{Block, NetUid, Uid};

/// Blocks that are looked at at once.
const CONCURRENT: usize = 32;
/// Storage of a mechanism's weights is under `mechanism * 4096 + netuid`.
const MECHANISM: u16 = 4096;

/// Every setting in `from..=to`, oldest first.
pub(super) async fn weights(
    link: &Link,
    netuid: NetUid,
    from: Block,
    to: Block,
    validator: Option<Uid>,
) -> Result<Vec<WeightSetting>, ChainError> {
    let newest = link.head().await?.number;
    if from > newest {
        return Err(ChainError::NoSuchBlock { block: from });
    }
    // The genesis block has no events, and nodes have no state before it.
    stream::iter(from.max(1)..=to.min(newest))
        .map(|number| in_block(link, netuid, number, validator))
        .buffered(CONCURRENT)
        .try_fold(Vec::new(), |mut all, mut settings| async move {
            all.append(&mut settings);
            Ok(all)
        })
        .await
}

async fn in_block(
    link: &Link,
    netuid: NetUid,
    number: Block,
    validator: Option<Uid>,
) -> Result<Vec<WeightSetting>, ChainError> {
    let head: Head = link.locate(Some(number)).await?;
    let reader = Reader::new(link, head).await?;
    let mut rows = BTreeSet::new();
    for event in submit::events(link, &reader.at).await?.iter() {
        let undecoded = |e: subxt::error::EventsError| ChainError::Decode {
            item: format!("System.Events at block {number}"),
            reason: e.to_string(),
        };
        let event = event.map_err(undecoded)?;
        if let Some(set) = event.decode_fields_as::<WeightsSet>() {
            let WeightsSet(index, uid) = set.map_err(undecoded)?;
            if index % MECHANISM == netuid && validator.is_none_or(|wanted| wanted == uid) {
                rows.insert((index, uid));
            }
        }
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(u16, Uid)> = rows.into_iter().collect();
    let storage = api::storage().subtensor_module();
    let time = reader.slot(api::storage().timestamp().now(), ())?;
    let weights = reader.slots(&storage.weights(), rows.iter().copied())?;
    let keys = reader.slots(&storage.keys(), rows.iter().map(|&(_, uid)| (netuid, uid)))?;
    let wanted = weights.iter().map(|slot| slot.key()).chain(keys.iter().map(|slot| slot.key()));
    let values = reader.fetch(wanted.chain([time.key()])).await?;
    let time_ms = reader.get(&values, &time)?.unwrap_or(0);
    let mut settings = Vec::with_capacity(rows.len());
    for ((&(index, uid), weights), key) in rows.iter().zip(&weights).zip(&keys) {
        let hotkey = reader.get(&values, key)?.map(ours);
        settings.push(WeightSetting {
            block: number,
            hash: head.hash,
            time_ms,
            mechanism: (index / MECHANISM) as u8,
            validator_uid: uid,
            hotkey: hotkey.unwrap_or(crate::wallet::AccountId::new([0; 32])),
            weights: reader.get(&values, weights)?.unwrap_or_default(),
        });
    }
    Ok(settings)
}
