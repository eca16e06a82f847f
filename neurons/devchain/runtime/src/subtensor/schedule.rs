//! When epochs run: by each subnet's own tempo, counted from its last epoch.

use super::*;
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

    /// Whether the subnet's next epoch is so near that its hyperparameters are frozen.
    pub fn is_in_freeze_window(netuid: u16) -> bool {
        let window = u64::from(AdminFreezeWindow::<T>::get());
        Self::next_epoch_block(netuid).is_some_and(|next| next.saturating_sub(Self::now()) < window)
    }
}
