//! When a commit made now is revealed, and so to which round it is encrypted.
//!
//! The chain keeps a commit under the epoch in which it came, and reveals it, in every block of the epoch
//! that is the reveal period later, once it knows the commit's round. Weights should stay hidden up to that
//! epoch and be open in it, so the round is that of the first such block, and of [`SAFETY_BLOCKS`] more.
//!
//! The formulas are those of the library `bittensor-drand`, which the official clients use: [`FixedEpochs`]
//! those of its versions 1, [`EpochState`] those of version 2.

use super::{Beacon, TimelockError};

/// How many blocks after the first in which a commit can be revealed its round is due, so that the commit is
/// not readable too early where blocks take longer than expected.
pub const SAFETY_BLOCKS: u64 = 3;

/// After how many blocks without an epoch a subnet runs one whatever its tempo is.
pub const MOST_BLOCKS_WITHOUT_EPOCH: u64 = 50_400;

/// What decides about a commit's reveal, on a chain that counts epochs (from specification 425 on): the state
/// of the chain after `block`, all of it read at that block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochState {
    /// Blocks between epochs: `Tempo`.
    pub tempo: u16,
    /// Epochs between commit and reveal: `RevealPeriodEpochs`.
    pub reveal_period: u64,
    /// The block of the last epoch: `LastEpochBlock`.
    pub last_epoch_block: u64,
    /// The block of the next epoch, if the owner set one or it was put off, else 0: `PendingEpochAt`.
    pub pending_epoch_at: u64,
    /// How many epochs there were: `SubnetEpochIndex`.
    pub epoch_index: u64,
    /// Blocks since an epoch paid out: `BlocksSinceLastStep`.
    pub blocks_since_last_step: u64,
    /// The newest block; the commit is expected in the one after it.
    pub block: u64,
}

/// What decides about a commit's reveal on older chains, where the epochs follow from the number of the
/// block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedEpochs {
    /// Blocks between epochs, less one: `Tempo`.
    pub tempo: u16,
    /// Epochs between commit and reveal: `RevealPeriodEpochs`.
    pub reveal_period: u64,
    /// The subnet's number (not the storage index of one of its mechanisms).
    pub netuid: u16,
    /// The newest block.
    pub block: u64,
}

/// When a commit is revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reveal {
    /// The epoch that the commit comes in, and that `TimelockedWeightCommits` has it under.
    pub commit_epoch: u64,
    /// The epoch that it is revealed in.
    pub reveal_epoch: u64,
    /// The newest block at the time of the reckoning.
    pub block: u64,
    /// The first block in which it can be revealed.
    pub first_block: u64,
}

impl Reveal {
    /// The round to encrypt to: the one that is due [`SAFETY_BLOCKS`] after the first block of the reveal.
    /// `now_ms` is the time of [`Reveal::block`], milliseconds since the Unix epoch (the official clients
    /// take their own clock's), `block_time_ms` what one block takes (`Aura.SlotDuration`).
    pub fn round(&self, beacon: &Beacon, block_time_ms: u64, now_ms: u64) -> u64 {
        let blocks = self.first_block.saturating_add(SAFETY_BLOCKS).saturating_sub(self.block);
        let time_ms = now_ms.saturating_add(blocks.saturating_mul(block_time_ms));
        // One less than the newest at that time: the chain has it already.
        (time_ms.saturating_sub(beacon.genesis_ms) / beacon.period_ms.max(1)).max(1)
    }
}

impl FixedEpochs {
    /// When a commit made now is revealed. An epoch begins where `block + netuid + 1` is a multiple of `tempo
    /// + 1`.
    ///
    /// # Errors
    /// [`TimelockError::NoEpochs`] at tempo 0.
    pub fn reveal(&self) -> Result<Reveal, TimelockError> {
        if self.tempo == 0 {
            return Err(TimelockError::NoEpochs);
        }
        let length = u64::from(self.tempo) + 1;
        let shift = u64::from(self.netuid) + 1;
        let commit_epoch = self.block.saturating_add(shift) / length;
        let reveal_epoch = commit_epoch.saturating_add(self.reveal_period);
        let first_block = reveal_epoch.saturating_mul(length).saturating_sub(shift);
        Ok(Reveal { commit_epoch, reveal_epoch, block: self.block, first_block })
    }
}

impl EpochState {
    /// When a commit made now is revealed.
    ///
    /// A block first reveals, in the epoch that counts this block's own if one is due; then it runs the
    /// epoch; then come transactions. An epoch that is put off because too many subnets have one in the same
    /// block is not foreseen.
    ///
    /// # Errors
    /// [`TimelockError::NoEpochs`] at tempo 0.
    pub fn reveal(&self) -> Result<Reveal, TimelockError> {
        if self.tempo == 0 {
            return Err(TimelockError::NoEpochs);
        }
        let commit_block = self.block.saturating_add(1);
        let due = self.is_due(commit_block, self.blocks_since_last_step);
        let commit_epoch = self.epoch_index.saturating_add(u64::from(due));
        let reveal_epoch = commit_epoch.saturating_add(self.reveal_period);
        let first_block = match reveal_epoch.saturating_sub(self.epoch_index) {
            0 => commit_block,
            epochs => self.block_of_epoch(epochs),
        };
        Ok(Reveal { commit_epoch, reveal_epoch, block: self.block, first_block })
    }

    /// Whether an epoch is due in a block, with so many blocks since one paid out.
    fn is_due(&self, block: u64, blocks_since_last_step: u64) -> bool {
        (self.pending_epoch_at > 0 && block >= self.pending_epoch_at)
            || blocks_since_last_step > MOST_BLOCKS_WITHOUT_EPOCH
            || block.saturating_sub(self.last_epoch_block) >= u64::from(self.tempo)
    }

    /// The first block that reveals in the epoch which is so many (at least one) after the present.
    fn block_of_epoch(&self, epochs: u64) -> u64 {
        let tempo = u64::from(self.tempo);
        let next_block = self.block.saturating_add(1);
        let patience = MOST_BLOCKS_WITHOUT_EPOCH.saturating_sub(self.blocks_since_last_step);
        let mut next = self.last_epoch_block.saturating_add(tempo).min(next_block.saturating_add(patience));
        if self.pending_epoch_at > 0 {
            next = next.min(self.pending_epoch_at);
        }
        let next = next.max(next_block);
        if epochs == 1 {
            // The blocks since the last pay-out are counted after the reveals: an epoch that is due by them
            // alone is seen only in the block after.
            let waited = self.blocks_since_last_step.saturating_add(next - next_block);
            return next.saturating_add(u64::from(!self.is_due(next, waited)));
        }
        let longest = MOST_BLOCKS_WITHOUT_EPOCH + 1;
        let more = (epochs - 1).saturating_mul(tempo.min(longest));
        next.saturating_add(more).saturating_add(u64::from(tempo > longest))
    }
}

#[cfg(test)]
mod tests;
