//! Succession: who decides a window, and until when.
//!
//! The validators of a run stand in an order: by stake as it was at the start of an epoch, the highest first. The first decides.
//! Each has a *turn*, which ends with a block of the chain: if the first has published no record of the window by then, the next
//! may. A record counts if the store dates it inside of its author's turn or before; of several the one of the lowest rank
//! counts. If nobody has published when the last turn is over, the window is null. Whoever has missed a turn comes last for some
//! windows, so that a validator that is gone costs the run one turn and not one in every window.
//!
//! Nothing here asks a chain or a store: `node::turns` does, and decides by these rules.

use crate::{
    manifest::SuccessionConfig,
    wallet::AccountId,
    window::{Block, Schedule, Window},
};
use std::collections::BTreeMap;

/// Who has missed a turn, and in which window.
pub type Passed = BTreeMap<AccountId, Window>;

/// The rules of a run, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Blocks after the opening of the put window with which the first turn ends.
    pub first: u64,
    /// Blocks of each turn after that.
    pub next: u64,
    /// Validators that have a turn.
    pub ranks: usize,
    /// Windows for which whoever missed a turn comes last.
    pub respite: u64,
}

impl Rules {
    /// Those of a manifest; where it says nothing half a window, and an eighth for each of the next two.
    pub fn new(config: &SuccessionConfig, schedule: &Schedule) -> Self {
        let blocks = schedule.blocks_per_window;
        Self {
            first: config.first_blocks.unwrap_or(blocks.div_ceil(2)).max(1),
            next: config.next_blocks.unwrap_or(blocks.div_ceil(8)).max(1),
            ranks: config.ranks,
            respite: config.respite_windows,
        }
    }

    /// The block whose time ends the turn of a rank, counted from 0.
    pub fn last_block(&self, schedule: &Schedule, window: Window, rank: usize) -> Block {
        let after = self.first.saturating_add(self.next.saturating_mul(rank as u64));
        schedule.opening_block(window).saturating_add(after)
    }

    /// Those who have a turn in a window, in their order. `by_stake` has the highest stake first.
    pub fn order(&self, by_stake: &[AccountId], passed: &Passed, window: Window) -> Vec<AccountId> {
        let late = |hotkey: &&AccountId| self.comes_last(passed, hotkey, window);
        let (last, first): (Vec<&AccountId>, Vec<&AccountId>) = by_stake.iter().partition(late);
        first.into_iter().chain(last).take(self.ranks).cloned().collect()
    }

    /// Who has missed a turn, once somebody has decided a window; whoever decides has missed none.
    pub fn passed(&self, order: &[AccountId], by: &AccountId, before: &Passed, window: Window) -> Passed {
        let still = before.iter().filter(|(hotkey, _)| self.comes_last(before, hotkey, window + 1));
        let still = still.map(|(hotkey, window)| (hotkey.clone(), *window));
        let missed = order.iter().take_while(|hotkey| *hotkey != by).map(|hotkey| (hotkey.clone(), window));
        let mut passed: Passed = still.chain(missed).collect();
        passed.remove(by);
        passed
    }

    fn comes_last(&self, passed: &Passed, hotkey: &AccountId, window: Window) -> bool {
        passed.get(hotkey).is_some_and(|missed| window <= missed.saturating_add(self.respite))
    }
}

/// Whether a store's date, in whole seconds, lies inside of a turn that ends at a time of the chain; a turn whose last block is not
/// there yet has not ended.
pub fn in_time(last_modified_s: u64, end_ms: Option<u64>) -> bool {
    end_ms.is_none_or(|end| last_modified_s <= end / 1000)
}

/// From this time on, in milliseconds, nothing can be published inside of the turn any more: dates have whole seconds.
pub fn over_ms(end_ms: u64) -> u64 {
    (end_ms / 1000 + 1).saturating_mul(1000)
}

/// The first block of the epoch that a block is in. An epoch of a subnet begins with each block for which
/// `(block + netuid + 1) % (tempo + 1)` is 0; a tempo of 0 has no epochs, so that each block is its own.
pub fn epoch_start(block: Block, netuid: u16, tempo: u16) -> Block {
    if tempo == 0 {
        return block;
    }
    let into = (block + u64::from(netuid) + 1) % (u64::from(tempo) + 1);
    block.saturating_sub(into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SCHEDULE: Schedule = Schedule { blocks_per_window: 7, put_window: Duration::from_secs(10) };

    fn rules() -> Rules {
        Rules::new(&SuccessionConfig::default(), &SCHEDULE)
    }

    fn keys(numbers: &[u8]) -> Vec<AccountId> {
        numbers.iter().map(|n| AccountId::new([*n; 32])).collect()
    }

    #[test]
    fn turns_end_one_after_the_other_inside_of_the_window() {
        // Window 2 ends with block 20; its put window opens with 21, and the window after it ends with 27.
        let ends = [0, 1, 2].map(|rank| rules().last_block(&SCHEDULE, 2, rank));
        assert_eq!(ends, [25, 26, 27]);
        let given = SuccessionConfig { first_blocks: Some(7), ..SuccessionConfig::default() };
        assert_eq!(Rules::new(&given, &SCHEDULE).last_block(&SCHEDULE, 2, 0), 28);
    }

    #[test]
    fn who_missed_a_turn_comes_last_for_a_while() {
        let rules = Rules { respite: 3, ..rules() };
        let all = keys(&[1, 2, 3, 4]);
        let order = |passed: &Passed, window| rules.order(&all, passed, window);
        let none = Passed::new();
        assert_eq!(order(&none, 5), keys(&[1, 2, 3]));
        // 3 decides window 5, because 1 and 2 said nothing.
        let passed = rules.passed(&order(&none, 5), &all[2], &none, 5);
        assert_eq!(passed.keys().cloned().collect::<Vec<_>>(), keys(&[1, 2]));
        assert_eq!(order(&passed, 6), keys(&[3, 4, 1]));
        // 3 misses one too; 1, at the end of the line, is the one that is back.
        let passed = rules.passed(&order(&passed, 6), &all[0], &passed, 6);
        assert_eq!(order(&passed, 7), keys(&[1, 2, 3]), "4 missed its turn as well");
        assert_eq!(rules.passed(&order(&passed, 7), &all[0], &passed, 7).len(), 3);
        assert_eq!(order(&passed, 8), keys(&[1, 2, 3]));
        assert_eq!(order(&passed, 9), keys(&[1, 2, 3]), "the respite of 2 is over, that of 3 and 4 is not");
        assert_eq!(rules.passed(&order(&passed, 9), &all[0], &passed, 9), Passed::new());
    }

    #[test]
    fn a_date_counts_to_the_end_of_its_second() {
        assert!(in_time(100, Some(100_000)) && in_time(100, Some(100_900)) && in_time(999, None));
        assert!(!in_time(101, Some(100_900)));
        assert_eq!((over_ms(100_000), over_ms(100_999)), (101_000, 101_000));
    }

    #[test]
    fn epochs_begin_as_the_chain_has_them() {
        // Subnet 3 with tempo 10: blocks 7, 18, 29.
        for (block, start) in [(7, 7), (17, 7), (18, 18), (28, 18), (29, 29), (3, 0)] {
            assert_eq!(epoch_start(block, 3, 10), start, "{block}");
        }
        assert_eq!(epoch_start(41, 3, 0), 41);
    }
}
