//! What happened to weights in one block: its events, and what storage said at its end.

use std::collections::BTreeMap;

use subxt::{
    config::HashFor,
    events::{Event, Events},
    ext::scale_value::Value,
    storage::StaticAddress,
    utils::{AccountId32, H256, Yes},
};
use templar_metadata::api;

use crate::{
    chain::{
        error::ChainError,
        ids::{self, ours, theirs},
        interface,
        rpc::{
            connection::Config,
            storage::{Reader, Slot, Values},
        },
        types::Head,
        weights_history::{block_cache::BlockCache, event::CommitScheme},
    },
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// A row of weights: the mechanism's storage index, and the validator's UID.
pub(in crate::chain) type Row = (u16, Uid);

/// The most mechanisms of a subnet for which there are numbers.
const MECHANISMS: u8 = 16;

/// `LastUpdate` of each mechanism that has one, by storage index.
pub(in crate::chain) type Updates = BTreeMap<u16, Vec<Block>>;

/// Where `LastUpdate` of a mechanism is, by its storage index.
pub(in crate::chain) type UpdatesSlot = (u16, Slot<Vec<u64>>);

/// Where `LastUpdate` of all mechanisms is.
pub(in crate::chain) fn slots(reader: &Reader<'_>, netuid: NetUid) -> Result<Vec<UpdatesSlot>, ChainError> {
    let address = api::storage().subtensor_module().last_update();
    let indices = (0..MECHANISMS).map(|mechanism| ids::storage_index(ids::netuid_of(netuid), mechanism));
    indices.map(|index| Ok((index, reader.slot(address.clone(), (index,))?))).collect()
}

/// One event about weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chain) enum BlockEvent {
    Set { row: Row },
    Committed { who: AccountId, index: u16, scheme: CommitScheme, hash: [u8; 32], round: Option<u64> },
    Revealed { who: AccountId, index: u16, scheme: CommitScheme, hashes: Vec<[u8; 32]> },
}

/// A block as far as it is about a subnet's weights.
#[derive(Debug, Clone)]
pub(in crate::chain) struct BlockContent {
    pub(in crate::chain) head: Head,
    pub(in crate::chain) time_ms: u64,
    pub(in crate::chain) happened: Vec<BlockEvent>,
    /// `LastUpdate` at the end of the block.
    pub(in crate::chain) updates: Updates,
    /// The rows that were set, at the end of the block.
    pub(in crate::chain) rows: BTreeMap<Row, Vec<(Uid, u16)>>,
    /// Hotkeys of the UIDs that anything happened to.
    pub(in crate::chain) hotkeys: BTreeMap<Uid, AccountId>,
}

impl BlockContent {
    /// The UID of a hotkey that something happened to.
    pub(in crate::chain) fn uid(&self, who: &AccountId) -> Option<Uid> {
        self.hotkeys.iter().find(|(_, hotkey)| *hotkey == who).map(|(uid, _)| *uid)
    }
}

/// Reads a block. The rows and hotkeys of `likely` come with the first request, others cost a second one.
pub(in crate::chain) async fn content(
    blocks: &BlockCache<'_>,
    block: Block,
    likely: &[Row],
) -> Result<BlockContent, ChainError> {
    let _turn = blocks.turn().await;
    let reader = blocks.reader(block).await?;
    let netuid = blocks.netuid;
    let events = reader.slot(StaticAddress::<(), Value, Yes>::new("System", "Events"), ())?;
    let parent = reader.slot(StaticAddress::<(), H256, Yes>::new("System", "ParentHash"), ())?;
    let time = reader.slot(api::storage().timestamp().now(), ())?;
    let updated = slots(&reader, netuid)?;
    let mut wanted = Wanted::new(&reader, netuid, likely)?;
    let keys = [events.key(), parent.key(), time.key()].into_iter();
    let keys = keys.chain(updated.iter().map(|(_, slot)| slot.key())).chain(wanted.keys());
    let values = reader.fetch(keys).await?;
    if let (Some(H256(hash)), Some(before)) = (reader.get(&values, &parent)?, block.checked_sub(1)) {
        blocks.note(before, hash);
    }
    let mut content = BlockContent {
        head: reader.head,
        time_ms: reader.get(&values, &time)?.unwrap_or(0),
        happened: Vec::new(),
        updates: Updates::new(),
        rows: BTreeMap::new(),
        hotkeys: BTreeMap::new(),
    };
    for (index, slot) in &updated {
        content.updates.insert(*index, reader.get(&values, slot)?.unwrap_or_default());
    }
    content.updates.retain(|_, blocks| !blocks.is_empty());
    wanted.take(&reader, &values, &mut content)?;
    let bytes = values.bytes(events.key()).unwrap_or_default().to_vec();
    content.happened = happened(&reader.at.events().from_bytes(bytes), block, netuid)?;

    let set = content.happened.iter().filter_map(|event| match event {
        BlockEvent::Set { row } if !content.rows.contains_key(row) => Some(*row),
        _ => None,
    });
    let more: Vec<Row> = set.collect();
    let unknown: Vec<AccountId> =
        content.happened.iter().filter_map(|event| content.stranger(event)).collect();
    if !more.is_empty() || !unknown.is_empty() {
        let mut wanted = Wanted::new(&reader, netuid, &more)?;
        let uids = api::storage().subtensor_module().uids();
        let uids = reader.slots(&uids, unknown.iter().map(|who| (netuid, theirs(who))))?;
        let values = reader.fetch(wanted.keys().chain(uids.iter().map(|slot| slot.key()))).await?;
        wanted.take(&reader, &values, &mut content)?;
        for (who, slot) in unknown.into_iter().zip(&uids) {
            if let Some(uid) = reader.get(&values, slot)? {
                content.hotkeys.insert(uid, who);
            }
        }
    }
    Ok(content)
}

impl BlockContent {
    /// Who caused an event, if its UID is not known yet.
    fn stranger(&self, event: &BlockEvent) -> Option<AccountId> {
        match event {
            BlockEvent::Committed { who, .. } | BlockEvent::Revealed { who, .. }
                if self.uid(who).is_none() =>
            {
                Some(who.clone())
            }
            _ => None,
        }
    }
}

/// Rows and the hotkeys of their UIDs, to be read.
struct Wanted {
    rows: Vec<WantedRow>,
}

type WantedRow = (Row, Slot<Vec<(u16, u16)>>, Slot<AccountId32>);

impl Wanted {
    fn new(reader: &Reader<'_>, netuid: NetUid, rows: &[Row]) -> Result<Self, ChainError> {
        let module = api::storage().subtensor_module();
        let slots = rows.iter().map(|&row| {
            let weights = reader.slot(module.weights(), row)?;
            Ok((row, weights, reader.slot(module.keys(), (netuid, row.1))?))
        });
        Ok(Self { rows: slots.collect::<Result<_, ChainError>>()? })
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().flat_map(|(_, weights, hotkey)| [weights.key(), hotkey.key()])
    }

    fn take(
        &mut self,
        reader: &Reader<'_>,
        values: &Values,
        into: &mut BlockContent,
    ) -> Result<(), ChainError> {
        for (row, weights, hotkey) in self.rows.drain(..) {
            into.rows.insert(row, reader.get(values, &weights)?.unwrap_or_default());
            if let Some(hotkey) = reader.get(values, &hotkey)? {
                into.hotkeys.insert(row.1, ours(hotkey));
            }
        }
        Ok(())
    }
}

/// The events about the weights of a subnet, in their order.
pub(in crate::chain) fn happened(
    events: &Events<Config>,
    block: Block,
    netuid: NetUid,
) -> Result<Vec<BlockEvent>, ChainError> {
    let undecoded = |e: subxt::error::EventsError| ChainError::Decode {
        item: format!("System.Events at block {block}"),
        reason: e.to_string(),
    };
    let mut found = Vec::new();
    for event in events.iter() {
        let event = event.map_err(undecoded)?;
        if interface::understands(event.pallet_name(), event.event_name()) {
            found.extend(about_weights(&event).map_err(|e| undecoded(*e))?);
        }
    }
    found.retain(|event| {
        let (BlockEvent::Set { row: (index, _) }
        | BlockEvent::Committed { index, .. }
        | BlockEvent::Revealed { index, .. }) = event;
        ids::netuid_of(*index) == netuid
    });
    Ok(found)
}

/// The event, if it is about weights. `CRV3` is what timelocks were called before they were renamed.
fn about_weights(event: &Event<'_, Config>) -> Result<Option<BlockEvent>, Box<subxt::error::EventsError>> {
    use CommitScheme::{Salted, Timelocked};
    let committed = |scheme, who, index, H256(hash): HashFor<Config>, round| BlockEvent::Committed {
        who: ours(who),
        index,
        scheme,
        hash,
        round,
    };
    let revealed = |scheme, who, index, hashes: Vec<H256>| {
        let hashes = hashes.into_iter().map(|hash| hash.0).collect();
        BlockEvent::Revealed { who: ours(who), index, scheme, hashes }
    };
    Ok(Some(match event.event_name() {
        "WeightsSet" => BlockEvent::Set { row: event.decode_fields_unchecked_as::<(u16, u16)>()? },
        "WeightsCommitted" => {
            let (who, index, hash) = event.decode_fields_unchecked_as()?;
            committed(Salted, who, index, hash, None)
        }
        "TimelockedWeightsCommitted" => {
            let (who, index, hash, round) = event.decode_fields_unchecked_as()?;
            committed(Timelocked, who, index, hash, Some(round))
        }
        "CRV3WeightsCommitted" => {
            let (who, index, hash) = event.decode_fields_unchecked_as()?;
            committed(Timelocked, who, index, hash, None)
        }
        "WeightsRevealed" => {
            let (who, index, hash): (_, _, H256) = event.decode_fields_unchecked_as()?;
            revealed(Salted, who, index, vec![hash])
        }
        "WeightsBatchRevealed" => {
            let (who, index, hashes) = event.decode_fields_unchecked_as()?;
            revealed(Salted, who, index, hashes)
        }
        "TimelockedWeightsRevealed" | "CRV3WeightsRevealed" => {
            let (index, who) = event.decode_fields_unchecked_as()?;
            revealed(Timelocked, who, index, Vec::new())
        }
        _ => return Ok(None),
    }))
}
