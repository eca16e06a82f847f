//! When epochs ran before spec 425: where the block's number plus the subnet's is a multiple of the tempo.

use super::{commit_reveal::Commit, *};
use sp_core::H256;
use sp_runtime::SaturatedConversion;

/// A subnet's place in its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// The subnet.
    pub netuid: u16,
    /// Blocks between epochs, less one; 0 means none.
    pub tempo: u16,
}

impl Schedule {
    /// Blocks from an epoch to the next.
    fn length(&self) -> u64 {
        u64::from(self.tempo).saturating_add(1)
    }

    fn shifted(&self, block: u64) -> u64 {
        block.saturating_add(u64::from(self.netuid)).saturating_add(1)
    }

    /// Whether an epoch runs in this block.
    pub fn is_due(&self, block: u64) -> bool {
        self.tempo != 0 && self.shifted(block).is_multiple_of(self.length())
    }

    /// The number of the epoch that a block belongs to.
    pub fn epoch(&self, block: u64) -> u64 {
        self.shifted(block) / self.length()
    }

    /// The first block of an epoch.
    pub fn first_block(&self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.length()).saturating_sub(u64::from(self.netuid).saturating_add(1))
    }
}

impl<T: Config> Pallet<T> {
    /// The number of this block.
    pub fn now() -> u64 {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    pub(super) fn schedule(netuid: u16) -> Schedule {
        Schedule { netuid, tempo: Tempo::<T>::get(netuid) }
    }

    /// A new subnet's schedule follows from its number.
    pub(super) fn begin_schedule(_netuid: u16) {}

    /// Runs the epochs of this block.
    pub(super) fn run_epochs(netuids: impl Iterator<Item = u16>) {
        let now = Self::now();
        for netuid in netuids {
            if Self::schedule(netuid).is_due(now) {
                Self::run_epoch(netuid, now);
            } else {
                BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
            }
        }
    }

    /// Takes the slot of an epoch that runs now.
    pub(super) fn take_slot(netuid: u16, _now: u64) {
        BlocksSinceLastStep::<T>::insert(netuid, 0);
    }

    /// An epoch that cannot run leaves no event.
    pub(super) fn tell_skipped(_netuid: u16, _block: u64) {}

    /// The block of the subnet's next epoch.
    pub fn next_epoch_block(netuid: u16) -> Option<u64> {
        let schedule = Self::schedule(netuid);
        if netuid == ROOT || schedule.tempo == 0 || !NetworksAdded::<T>::get(netuid) {
            return None;
        }
        let now = Self::now();
        Some(schedule.first_block(schedule.epoch(now).saturating_add(1)))
    }

    /// The number of the epoch that this block belongs to.
    pub fn current_epoch(netuid: u16) -> u64 {
        Self::schedule(netuid).epoch(Self::now())
    }

    /// A commit that is made now, as it is stored: hash, block, and the first and the last block in which it
    /// can be revealed.
    pub(super) fn new_commit(netuid: u16, hash: H256) -> Commit {
        let schedule = Self::schedule(netuid);
        let period = RevealPeriodEpochs::<T>::get(netuid);
        let first = schedule.first_block(Self::current_epoch(netuid).saturating_add(period));
        (hash, Self::now(), first, first.saturating_add(u64::from(schedule.tempo)))
    }

    /// The epoch that a commit was made in.
    pub(super) fn commit_epoch(netuid: u16, commit: &Commit) -> u64 {
        Self::schedule(netuid).epoch(commit.1)
    }

    /// The block that a commit was made in.
    pub(super) fn commit_block(commit: &Commit) -> u64 {
        commit.1
    }

    /// Blocks without weights after which a validator is inactive.
    pub fn activity_cutoff(netuid: u16) -> u64 {
        u64::from(ActivityCutoff::<T>::get(netuid))
    }
}
