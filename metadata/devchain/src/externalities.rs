//! What the runtime runs on: a block's state with changes laid over it.

use crate::{
    history::{self, Changes, History},
    spec::Versions,
};
use sp_core::{
    Blake2Hasher, H256,
    storage::{ChildInfo, StateVersion, TrackedStorageKey},
    traits::ReadRuntimeVersionExt,
};
use sp_externalities::{
    Error, Extension, ExtensionStore, Extensions, Externalities, MultiRemovalResults,
    set_and_run_with_externalities,
};
use sp_io::hashing::blake2_256;
use sp_state_machine::OverlayedChanges;
use std::any::{Any, TypeId};

/// A block's state and what is changed of it. Nothing here reaches the history by itself.
///
/// Of child tries, which no pallet of this chain uses, there are none: they read as empty.
pub(crate) struct Overlay<'a> {
    history: &'a History,
    block: u32,
    /// The state root of that block.
    root: H256,
    changes: OverlayedChanges<Blake2Hasher>,
    extensions: Extensions,
}

impl<'a> Overlay<'a> {
    /// The state after a block, whose root is given.
    pub fn new(history: &'a History, block: u32, root: H256) -> Self {
        let (changes, mut extensions) = (OverlayedChanges::default(), Extensions::new());
        extensions.register(ReadRuntimeVersionExt::new(Versions));
        Self { history, block, root, changes, extensions }
    }

    /// Runs what calls the runtime.
    pub fn run<R>(&mut self, what: impl FnOnce() -> R) -> R {
        set_and_run_with_externalities(self, what)
    }

    /// What is different from the block's state.
    pub fn changes(&mut self) -> Changes {
        let (history, block) = (self.history, self.block);
        self.changes
            .changes_mut()
            .filter_map(|(key, value)| {
                let value = value.value().map(Vec::as_slice);
                (value != history.get(block, key)).then(|| (key.clone(), value.map(<[u8]>::to_vec)))
            })
            .collect()
    }
}

impl Externalities for Overlay<'_> {
    fn set_offchain_storage(&mut self, _key: &[u8], _value: Option<&[u8]>) {}

    fn storage(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        match self.changes.storage(key) {
            Some(value) => value.map(<[u8]>::to_vec),
            None => self.history.get(self.block, key).map(<[u8]>::to_vec),
        }
    }

    fn storage_hash(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.storage(key).map(|value| blake2_256(&value).to_vec())
    }

    fn next_storage_key(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let mut stored = self.history.next_key(self.block, key);
        while let Some(candidate) = stored {
            match self.changes.storage(candidate) {
                Some(None) => stored = self.history.next_key(self.block, candidate),
                _ => break,
            }
        }
        let added = self.changes.iter_after(key).find_map(|(key, value)| value.value().map(|_| key.to_vec()));
        match (stored, added) {
            (Some(stored), Some(added)) => Some(if *stored < *added { stored.to_vec() } else { added }),
            (stored, added) => stored.map(<[u8]>::to_vec).or(added),
        }
    }

    fn place_storage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.set_storage(key, value);
    }

    fn storage_append(&mut self, key: Vec<u8>, element: Vec<u8>) {
        let stored = self.history.get(self.block, &key);
        let before = || stored.map(<[u8]>::to_vec).unwrap_or_default();
        self.changes.append_storage(key.clone(), element, before);
    }

    fn clear_prefix(&mut self, prefix: &[u8], _: Option<u32>, _: Option<&[u8]>) -> MultiRemovalResults {
        let overlaid = self.changes.clear_prefix(prefix);
        let mut backend = 0;
        for key in self.history.keys(self.block, prefix, None) {
            self.changes.set_storage(key.to_vec(), None);
            backend += 1;
        }
        MultiRemovalResults { maybe_cursor: None, backend, unique: backend.max(overlaid), loops: backend }
    }

    fn storage_root(&mut self, _: StateVersion) -> Vec<u8> {
        history::root(self.root, &self.changes()).as_bytes().to_vec()
    }

    fn storage_start_transaction(&mut self) {
        self.changes.start_transaction();
    }

    fn storage_rollback_transaction(&mut self) -> Result<(), ()> {
        self.changes.rollback_transaction().map_err(drop)
    }

    fn storage_commit_transaction(&mut self) -> Result<(), ()> {
        self.changes.commit_transaction().map_err(drop)
    }

    fn child_storage(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn child_storage_hash(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn next_child_storage_key(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn place_child_storage(&mut self, _: &ChildInfo, _: Vec<u8>, _: Option<Vec<u8>>) {}

    fn kill_child_storage(&mut self, _: &ChildInfo, _: Option<u32>, _: Option<&[u8]>) -> MultiRemovalResults {
        MultiRemovalResults { maybe_cursor: None, backend: 0, unique: 0, loops: 0 }
    }

    fn clear_child_prefix(
        &mut self,
        _: &ChildInfo,
        _: &[u8],
        _: Option<u32>,
        _: Option<&[u8]>,
    ) -> MultiRemovalResults {
        MultiRemovalResults { maybe_cursor: None, backend: 0, unique: 0, loops: 0 }
    }

    fn child_storage_root(&mut self, _: &ChildInfo, _: StateVersion) -> Vec<u8> {
        H256::zero().as_bytes().to_vec()
    }

    fn wipe(&mut self) {}

    fn commit(&mut self) {}

    fn read_write_count(&self) -> (u32, u32, u32, u32) {
        (0, 0, 0, 0)
    }

    fn reset_read_write_count(&mut self) {}

    fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
        Vec::new()
    }

    fn set_whitelist(&mut self, _: Vec<TrackedStorageKey>) {}

    fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
        Vec::new()
    }
}

impl ExtensionStore for Overlay<'_> {
    fn extension_by_type_id(&mut self, type_id: TypeId) -> Option<&mut dyn Any> {
        self.extensions.get_mut(type_id)
    }

    fn register_extension_with_type_id(
        &mut self,
        type_id: TypeId,
        extension: Box<dyn Extension>,
    ) -> Result<(), Error> {
        self.extensions.register_with_type_id(type_id, extension)
    }

    fn deregister_extension_by_type_id(&mut self, type_id: TypeId) -> Result<(), Error> {
        if self.extensions.deregister(type_id) {
            Ok(())
        } else {
            Err(Error::ExtensionIsNotRegistered(type_id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_io::storage;

    #[test]
    fn reads_through_and_merges_keys_in_order() {
        let mut history = History::default();
        let stored = ["a", "c", "e"].map(|key| (key.into(), Some(b"old".to_vec())));
        history.append(0, stored.to_vec());
        let mut overlay = Overlay::new(&history, 0, H256::zero());
        overlay.run(|| {
            storage::set(b"b", b"new");
            storage::clear(b"c");
            storage::set(b"e", b"old");
            let mut keys = vec![];
            let mut key = vec![];
            while let Some(next) = storage::next_key(&key) {
                keys.push(next.clone());
                key = next;
            }
            assert_eq!(keys, [b"a", b"b", b"e"]);
            storage::start_transaction();
            storage::set(b"a", b"gone");
            storage::rollback_transaction();
            assert_eq!(storage::get(b"a").map(|value| value.to_vec()), Some(b"old".to_vec()));
        });
        // Writing what was there before is no change.
        assert_eq!(overlay.changes(), [(b"b".to_vec(), Some(b"new".to_vec())), (b"c".to_vec(), None)]);
    }

    #[test]
    fn clears_a_prefix_of_both_layers() {
        let mut history = History::default();
        history.append(0, ["aa", "ab", "b"].map(|key| (key.into(), Some(vec![0]))).to_vec());
        let mut overlay = Overlay::new(&history, 0, H256::zero());
        overlay.run(|| {
            storage::set(b"ac", b"1");
            let _ = storage::clear_prefix(b"a", None);
            assert_eq!(storage::next_key(b"a"), Some(b"b".to_vec()));
        });
        assert_eq!(overlay.changes(), [(b"aa".to_vec(), None), (b"ab".to_vec(), None)]);
    }

    #[test]
    fn appends_to_what_is_stored() {
        let mut history = History::default();
        history.append(0, vec![(b"list".to_vec(), Some(vec![4, 7]))]);
        let mut overlay = Overlay::new(&history, 0, H256::zero());
        overlay.run(|| storage::append(b"list", vec![9]));
        assert_eq!(overlay.changes(), [(b"list".to_vec(), Some(vec![8, 7, 9]))]);
    }
}
