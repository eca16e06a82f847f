//! Storage at one block, many entries in one request.
//!
//! Keys are made, and values decoded, as the metadata of that block's runtime says; the bindings give names and
//! the types that come out. A runtime upgrade that keeps the meaning therefore changes nothing here.

use std::{collections::HashMap, marker::PhantomData};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use subxt::{
    ext::{
        frame_decode::storage::IntoDecodableValues, frame_decode::storage::IntoEncodableValues,
        scale_decode::DecodeAsType,
    },
    rpcs::methods::legacy::StorageChangeSet,
    storage::StaticAddress,
    utils::{H256, YesMaybe},
};

use crate::chain::{
    error::ChainError,
    interface::{self, Kind},
    rpc::connection::{AtBlock, Connection},
    types::Head,
};

/// How many entries one request asks for.
const BATCH: usize = 256;
/// How many keys one page has.
const PAGE: u32 = 1000;
/// How many requests are under way at once.
const CONCURRENT: usize = 8;

/// The pallet of subnets.
pub(in crate::chain) const SUBNETS: &str = "SubtensorModule";

/// None where the runtime has no such entry.
pub(in crate::chain) fn if_there<T>(found: Result<T, ChainError>) -> Result<Option<T>, ChainError> {
    match found {
        Err(ChainError::Missing { .. }) => Ok(None),
        found => found.map(Some),
    }
}

/// Storage as it stood at one block.
pub(in crate::chain) struct Reader<'a> {
    pub(in crate::chain) link: &'a Connection,
    pub(in crate::chain) at: AtBlock,
    pub(in crate::chain) head: Head,
}

/// One entry of storage: its key, and how to read what is there.
pub(in crate::chain) struct Slot<V> {
    key: Vec<u8>,
    item: String,
    value_type: u32,
    default: Option<Vec<u8>>,
    value: PhantomData<V>,
}

/// What the chain holds under the keys that were asked for.
#[derive(Default)]
pub(in crate::chain) struct Values(HashMap<Vec<u8>, Vec<u8>>);

/// Asks for all keys at the block with this hash, in as few requests as is polite.
pub(in crate::chain) async fn fetch(
    link: &Connection,
    hash: [u8; 32],
    keys: Vec<Vec<u8>>,
) -> Result<Values, ChainError> {
    let batch = |keys: Vec<Vec<u8>>| async move {
        let ask = || link.rpc.state_query_storage_at(keys.iter().map(Vec::as_slice), Some(H256(hash)));
        link.ask("state_queryStorageAt", ask).await
    };
    let batches: Vec<Vec<Vec<u8>>> = keys.chunks(BATCH).map(<[Vec<u8>]>::to_vec).collect();
    stream::iter(batches)
        .map(batch)
        .buffer_unordered(CONCURRENT)
        .try_fold(Values::default(), |mut values, sets: Vec<StorageChangeSet<H256>>| async move {
            for (key, value) in sets.into_iter().flat_map(|set| set.changes) {
                if let Some(value) = value {
                    values.0.insert(key.0, value.0);
                }
            }
            Ok(values)
        })
        .await
}

impl<'a> Reader<'a> {
    pub(in crate::chain) async fn new(link: &'a Connection, head: Head) -> Result<Self, ChainError> {
        Ok(Self::of(link, link.at(head).await?, head))
    }

    /// A reader of the block `head` with a runtime that is already known.
    pub(in crate::chain) fn of(link: &'a Connection, at: AtBlock, head: Head) -> Self {
        Self { link, at, head }
    }

    /// The same, as it stood at another block.
    pub(in crate::chain) async fn at_block(
        &self,
        block: crate::window::Block,
    ) -> Result<Reader<'a>, ChainError> {
        Self::new(self.link, self.link.locate(Some(block)).await?).await
    }

    /// The entry at `address` with these keys.
    pub(in crate::chain) fn slot<K, V, P>(
        &self,
        address: StaticAddress<K, V, P>,
        keys: K,
    ) -> Result<Slot<V>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
        P: YesMaybe,
    {
        let address = address.unvalidated();
        let (pallet, name) =
            (subxt::storage::Address::pallet_name(&address), subxt::storage::Address::entry_name(&address));
        interface::listed(Kind::Storage, pallet, name)?;
        let item = format!("{pallet}.{name}");
        let missing = || ChainError::Missing { item: item.clone() };
        let found = self.at.metadata_ref().pallet_by_name(pallet).and_then(|pallet| pallet.storage());
        let found = found.and_then(|storage| storage.entry_by_name(name)).ok_or_else(missing)?;
        let (value_type, default) = (found.value_ty(), found.default_value().map(<[u8]>::to_vec));
        let entry = self.at.storage().entry(&address).map_err(|_| missing())?;
        let key = entry
            .fetch_key(keys)
            .map_err(|e| ChainError::Decode { item: item.clone(), reason: e.to_string() })?;
        Ok(Slot { key, item, value_type, default, value: PhantomData })
    }

    /// An entry by its pallet's and its own name.
    pub(in crate::chain) fn named<K, V>(
        &self,
        pallet: &str,
        name: &str,
        keys: K,
    ) -> Result<Slot<V>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        self.slot(subxt::storage::dynamic::<K, V>(pallet, name), keys)
    }

    /// An entry of the pallet of subnets by its name; none where the runtime does not have it.
    pub(in crate::chain) fn find<K, V>(&self, name: &str, keys: K) -> Result<Option<Slot<V>>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        if_there(self.named(SUBNETS, name, keys))
    }

    /// The same for each of the keys; empty where the runtime does not have it.
    pub(in crate::chain) fn find_each<K, V>(
        &self,
        name: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Slot<V>>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        let slots: Result<Vec<_>, _> = keys.into_iter().map(|keys| self.named(SUBNETS, name, keys)).collect();
        if_there(slots).map(Option::unwrap_or_default)
    }

    /// What is at a slot that the runtime may not have.
    pub(in crate::chain) fn get_if<V: DecodeAsType>(
        &self,
        values: &Values,
        slot: &Option<Slot<V>>,
    ) -> Result<Option<V>, ChainError> {
        slot.as_ref().map_or(Ok(None), |slot| self.get(values, slot))
    }

    /// A number that the runtime states; none where it does not.
    pub(in crate::chain) fn constant(&self, pallet: &str, name: &str) -> Result<Option<u64>, ChainError> {
        interface::listed(Kind::Constant, pallet, name)?;
        Ok(self.at.constants().entry(subxt::constants::dynamic::<u64>(pallet, name)).ok())
    }

    /// The same entry for each of the keys.
    pub(in crate::chain) fn slots<K, V, P>(
        &self,
        address: &StaticAddress<K, V, P>,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Slot<V>>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
        P: YesMaybe,
    {
        keys.into_iter().map(|keys| self.slot(address.clone(), keys)).collect()
    }

    /// [`fetch`] at the reader's block.
    pub(in crate::chain) async fn fetch(
        &self,
        keys: impl IntoIterator<Item = &[u8]>,
    ) -> Result<Values, ChainError> {
        let keys = keys.into_iter().map(<[u8]>::to_vec).collect();
        fetch(self.link, self.head.hash, keys).await.map_err(|e| self.link.at_block(self.head.number, e))
    }

    /// Every key that begins with these bytes.
    pub(in crate::chain) async fn keys(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
        let (rpc, at) = (&self.link.rpc, Some(H256(self.head.hash)));
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let last = keys.last().cloned();
            let page = self
                .link
                .ask("state_getKeysPaged", || rpc.state_get_keys_paged(prefix, PAGE, last.as_deref(), at));
            let page = page.await.map_err(|e| self.link.at_block(self.head.number, e))?;
            let more = page.len() >= PAGE as usize;
            keys.extend(page);
            if !more {
                return Ok(keys);
            }
        }
    }

    /// What is at a slot; the runtime's default where nothing is, if it has one.
    pub(in crate::chain) fn get<V: DecodeAsType>(
        &self,
        values: &Values,
        slot: &Slot<V>,
    ) -> Result<Option<V>, ChainError> {
        self.get_as(values, slot)
    }

    /// [`Self::get`], decoded as another type that fits the metadata.
    pub(in crate::chain) fn get_as<V, T: DecodeAsType>(
        &self,
        values: &Values,
        slot: &Slot<V>,
    ) -> Result<Option<T>, ChainError> {
        let Some(bytes) = values.0.get(&slot.key).or(slot.default.as_ref()) else { return Ok(None) };
        let types = self.at.metadata_ref().types();
        T::decode_as_type(&mut bytes.as_slice(), slot.value_type, types)
            .map(Some)
            .map_err(|e| ChainError::Decode { item: slot.item.clone(), reason: e.to_string() })
    }

    /// What is at each slot, in their order; `None` where nothing is and there is no default.
    pub(in crate::chain) async fn read_all<V: DecodeAsType>(
        &self,
        slots: &[Slot<V>],
    ) -> Result<Vec<Option<V>>, ChainError> {
        let values = self.fetch(slots.iter().map(Slot::key)).await?;
        slots.iter().map(|slot| self.get(&values, slot)).collect()
    }

    /// What is at one address.
    pub(in crate::chain) async fn read<K, V, P>(
        &self,
        address: StaticAddress<K, V, P>,
        keys: K,
    ) -> Result<Option<V>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
        P: YesMaybe,
    {
        let slot = self.slot(address, keys)?;
        let values = self.fetch([slot.key()]).await?;
        self.get(&values, &slot)
    }
}

impl<V> Slot<V> {
    pub(in crate::chain) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Values {
    /// Adds others of the same block.
    pub(in crate::chain) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The bytes under a key, as they are stored.
    pub(in crate::chain) fn bytes(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }
}
