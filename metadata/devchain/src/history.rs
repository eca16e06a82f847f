//! The state of every block, each value kept once for each time it changed.
//!
//! There is one branch, so a key's history is a list of (block, value) in order, and the state of any block is
//! a view into it: a block costs only what it changed. Where the newest block is replaced, its changes go first.

use parity_scale_codec::Encode;
use sp_core::H256;
use sp_io::hashing::blake2_256;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

/// What a block changed, in the order of keys: `None` where it removed one.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The states of all blocks.
#[derive(Default)]
pub(crate) struct History {
    keys: BTreeMap<Box<[u8]>, Vec<Version>>,
}

struct Version {
    block: u32,
    value: Option<Box<[u8]>>,
}

impl History {
    /// Adds a block's changes. Blocks come in order.
    pub fn append(&mut self, block: u32, changes: Changes) {
        for (key, value) in changes {
            let versions = self.keys.entry(key.into_boxed_slice()).or_default();
            versions.push(Version { block, value: value.map(Vec::into_boxed_slice) });
        }
    }

    /// Takes back the changes of the newest block.
    pub fn undo(&mut self, block: u32) {
        self.keys.retain(|_, versions| {
            versions.pop_if(|version| version.block == block);
            !versions.is_empty()
        });
    }

    /// The value of a key after a block.
    pub fn get(&self, block: u32, key: &[u8]) -> Option<&[u8]> {
        value_at(self.keys.get(key)?, block)
    }

    /// The first key after this one that has a value after a block.
    pub fn next_key(&self, block: u32, key: &[u8]) -> Option<&[u8]> {
        let later = self.keys.range::<[u8], _>((Excluded(key), Unbounded));
        later.filter(|(_, versions)| value_at(versions, block).is_some()).map(|(key, _)| &**key).next()
    }

    /// The keys with this prefix that have a value after a block, in order, from after `start` on.
    pub fn keys<'a>(
        &'a self,
        block: u32,
        prefix: &'a [u8],
        start: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let from = match start.filter(|start| *start >= prefix) {
            Some(start) => Excluded(start),
            None => Included(prefix),
        };
        let keys = self.keys.range::<[u8], _>((from, Unbounded));
        keys.take_while(move |(key, _)| key.starts_with(prefix))
            .filter(move |(_, versions)| value_at(versions, block).is_some())
            .map(|(key, _)| &**key)
    }

    /// Whether a block changed the value of a key.
    pub fn changed(&self, block: u32, key: &[u8]) -> bool {
        let versions = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        versions.binary_search_by_key(&block, |version| version.block).is_ok()
    }
}

fn value_at(versions: &[Version], block: u32) -> Option<&[u8]> {
    let later = versions.partition_point(|version| version.block <= block);
    versions.get(later.checked_sub(1)?)?.value.as_deref()
}

/// The state root of a block: a hash over its parent's root and what it changed.
///
/// Subtensor mainnet's is the root of a Merkle trie. This one commits to the same state and costs nothing, but
/// proves no single value.
pub(crate) fn root(parent: H256, changes: &Changes) -> H256 {
    H256(blake2_256(&(parent, changes).encode()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> (Vec<u8>, Option<Vec<u8>>) {
        (key.into(), value.map(Into::into))
    }

    #[test]
    fn every_block_keeps_its_own_state() {
        let mut history = History::default();
        history.append(0, vec![change("a", Some("1")), change("b", Some("1"))]);
        history.append(3, vec![change("a", None), change("c", Some("3"))]);
        history.append(4, vec![change("a", Some("4"))]);
        let read = |block, key: &str| history.get(block, key.as_bytes()).map(<[u8]>::to_vec);
        assert_eq!(read(2, "a"), Some(b"1".to_vec()));
        assert_eq!(read(3, "a"), None);
        assert_eq!(read(9, "a"), Some(b"4".to_vec()));
        assert_eq!(read(2, "c"), None);
        assert_eq!(history.next_key(2, b""), Some(&b"a"[..]));
        assert_eq!(history.next_key(3, b""), Some(&b"b"[..]));
        assert_eq!(history.next_key(2, b"b"), None);
        assert_eq!(history.keys(3, b"", None).collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(history.keys(3, b"", Some(b"b")).collect::<Vec<_>>(), [b"c"]);
        assert_eq!(history.keys(3, b"c", Some(b"a")).collect::<Vec<_>>(), [b"c"]);
        let mut undone = History::default();
        undone.append(0, vec![change("a", Some("1"))]);
        undone.append(1, vec![change("a", None), change("b", Some("1"))]);
        undone.undo(1);
        assert_eq!((undone.get(1, b"a"), undone.get(1, b"b")), (Some(&b"1"[..]), None));
        assert!(history.changed(3, b"a") && !history.changed(2, b"a") && !history.changed(3, b"x"));
    }
}
