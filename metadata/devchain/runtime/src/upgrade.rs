//! From spec 365 to 425: what the storage of a chain needs so that its epochs and commits go on.

use crate::{
    Runtime, System,
    subtensor::{
        LastEpochBlock, MechanismCountCurrent, NetworksAdded, SubnetEpochIndex, Tempo, WeightCommits,
        storage_index,
    },
};
use frame_support::{
    storage::{storage_prefix, unhashed},
    traits::OnRuntimeUpgrade,
    weights::Weight,
};

/// Moves the storage, in the first block of the newer runtime.
pub struct FromA;

impl OnRuntimeUpgrade for FromA {
    fn on_runtime_upgrade() -> Weight {
        let before = u64::from(System::block_number()).saturating_sub(1);
        let netuids: Vec<u16> = NetworksAdded::<Runtime>::iter_keys().collect();
        for netuid in netuids {
            let length = u64::from(Tempo::<Runtime>::get(netuid)).saturating_add(1);
            let shift = u64::from(netuid).saturating_add(1);
            let epoch = |block: u64| block.saturating_add(shift) / length;
            // The epoch of the block before goes on, under its number, until the tempo is over.
            let last = epoch(before).saturating_mul(length).saturating_sub(shift);
            LastEpochBlock::<Runtime>::insert(netuid, last);
            SubnetEpochIndex::<Runtime>::insert(netuid, epoch(before));
            // Commits counted in blocks; from now on they count in epochs.
            for mechanism in 0..MechanismCountCurrent::<Runtime>::get(netuid) {
                let index = storage_index(netuid, mechanism);
                let commits: Vec<_> = WeightCommits::<Runtime>::iter_prefix(index).collect();
                for (hotkey, commits) in commits {
                    let counted = commits.into_iter().map(|commit| (commit.0, epoch(commit.1), commit.1, 0));
                    let counted: std::collections::VecDeque<_> = counted.collect();
                    WeightCommits::<Runtime>::insert(index, hotkey, counted);
                }
            }
        }
        for item in ["Rank", "Trust", "PruningScores"] {
            let prefix = storage_prefix(b"SubtensorModule", item.as_bytes());
            let _ = unhashed::clear_prefix(&prefix, None, None);
        }
        Weight::zero()
    }
}
