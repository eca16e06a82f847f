//! When epochs run: by each subnet's own tempo, counted from its last epoch. Before spec 425 they followed from
//! the block's number: see `schedule_spec365.rs`.

use super::{commit_reveal::Commit, *};
use sp_core::H256;
use sp_runtime::SaturatedConversion;

/// Blocks without an epoch after which one is due whatever the tempo says.
const LONGEST_WAIT: u64 = 50_400;

/// A subnet's place in its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Blocks between epochs; 0 means none.
    pub tempo: u16,
    /// The block of the last one.
    pub last: u64,
    /// The block to which the next was moved, or 0.
    pub moved_to: u64,
    /// Blocks since the last one ran.
    pub waited: u64,
}

impl Schedule {
    /// Whether an epoch is due at this block.
    pub fn is_due(&self, block: u64) -> bool {
        self.tempo != 0
            && ((self.moved_to > 0 && block >= self.moved_to)
                || self.waited > LONGEST_WAIT
                || block.saturating_sub(self.last) >= u64::from(self.tempo))
    }

    /// The block of the next epoch.
    pub fn next(&self) -> Option<u64> {
        let by_tempo = self.last.saturating_add(u64::from(self.tempo));
        match (self.tempo, self.moved_to) {
            (0, _) => None,
            (_, 0) => Some(by_tempo),
            (_, moved_to) => Some(by_tempo.min(moved_to)),
        }
    }
}

impl<T: Config> Pallet<T> {
    /// The number of this block.
    pub fn now() -> u64 {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    pub(super) fn schedule(netuid: u16) -> Schedule {
        Schedule {
            tempo: Tempo::<T>::get(netuid),
            last: LastEpochBlock::<T>::get(netuid),
            moved_to: PendingEpochAt::<T>::get(netuid),
            waited: BlocksSinceLastStep::<T>::get(netuid),
        }
    }

    /// Begins a new subnet's schedule.
    pub(super) fn begin_schedule(netuid: u16) {
        // Spreads the epochs of subnets that were made together.
        let offset = u64::from(netuid.checked_rem(Tempo::<T>::get(netuid)).unwrap_or(0));
        LastEpochBlock::<T>::insert(netuid, Self::now().saturating_sub(offset));
    }

    /// Runs the epochs that are due in this block, as far as it has room for them.
    pub(super) fn run_epochs(netuids: impl Iterator<Item = u16>) {
        let now = Self::now();
        let mut run = 0;
        for netuid in netuids {
            if !Self::schedule(netuid).is_due(now) {
                BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
            } else if run >= MaxEpochsPerBlock::<T>::get() {
                PendingEpochAt::<T>::insert(netuid, now.saturating_add(1));
                BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
                let to_block = now.saturating_add(1);
                Self::deposit_event(Event::EpochDeferred { netuid, from_block: now, to_block });
            } else {
                run = run.saturating_add(1);
                Self::run_epoch(netuid, now);
            }
        }
    }

    /// Takes the slot of an epoch that runs now.
    pub(super) fn take_slot(netuid: u16, now: u64) {
        BlocksSinceLastStep::<T>::insert(netuid, 0);
        LastEpochBlock::<T>::insert(netuid, now);
        PendingEpochAt::<T>::remove(netuid);
        SubnetEpochIndex::<T>::mutate(netuid, |index| *index = index.saturating_add(1));
    }

    /// Says that an epoch could not run.
    pub(super) fn tell_skipped(netuid: u16, block: u64) {
        Self::deposit_event(Event::EpochSkipped { netuid, block });
    }

    /// The block at which the subnet's next epoch is due.
    pub fn next_epoch_block(netuid: u16) -> Option<u64> {
        if netuid == ROOT || !NetworksAdded::<T>::get(netuid) {
            return None;
        }
        Self::schedule(netuid).next()
    }

    /// The number of the epoch that this block belongs to: one is counted from the block at which it is due,
    /// even if it had to wait.
    pub fn current_epoch(netuid: u16) -> u64 {
        let due = netuid != ROOT && Self::schedule(netuid).is_due(Self::now());
        SubnetEpochIndex::<T>::get(netuid).saturating_add(u64::from(due))
    }

    /// A commit that is made now, as it is stored: hash, epoch, block, 0.
    pub(super) fn new_commit(netuid: u16, hash: H256) -> Commit {
        (hash, Self::current_epoch(netuid), Self::now(), 0)
    }

    /// The epoch that a commit was made in.
    pub(super) fn commit_epoch(_netuid: u16, commit: &Commit) -> u64 {
        commit.1
    }

    /// The block that a commit was made in.
    pub(super) fn commit_block(commit: &Commit) -> u64 {
        commit.2
    }

    /// Blocks without weights after which a validator is inactive.
    pub fn activity_cutoff(netuid: u16) -> u64 {
        let tempo = u64::from(Tempo::<T>::get(netuid));
        let cutoff = u64::from(ActivityCutoffFactorMilli::<T>::get(netuid)).saturating_mul(tempo) / 1_000;
        cutoff.max(1)
    }
}
