#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;
use crate::chain::timelock::QUICKNET;
use proptest::prelude::*;

fn state(last_epoch_block: u64, pending_epoch_at: u64, tempo: u16, block: u64) -> EpochState {
    EpochState {
        tempo,
        reveal_period: 1,
        last_epoch_block,
        pending_epoch_at,
        epoch_index: 0,
        blocks_since_last_step: 0,
        block,
    }
}

#[test]
fn the_librarys_own_cases() {
    assert_eq!(state(10, 0, 0, 10).reveal(), Err(TimelockError::NoEpochs));
    assert_eq!(state(10, 0, 50, 10).reveal().unwrap().first_block, 60);
    assert_eq!(state(80, 95, 20, 91).reveal().unwrap().first_block, 95);
    assert_eq!(state(100, 0, 50, 120).reveal().unwrap().commit_epoch, 0);
    // An epoch is due in the very block that the commit comes in.
    let due = state(10, 0, 50, 59).reveal().unwrap();
    assert_eq!((due.commit_epoch, due.reveal_epoch, due.first_block), (1, 2, 110));
}

#[test]
fn epochs_by_the_blocks_number() {
    let reveal = |tempo, netuid, block, reveal_period| {
        FixedEpochs { tempo, reveal_period, netuid, block }.reveal().map(|reveal| reveal.first_block)
    };
    assert_eq!(reveal(100, 1, 98, 1), Ok(99));
    assert_eq!(reveal(100, 1, 99, 1), Ok(200));
    assert_eq!(reveal(10, 2, 5, 3), Ok(30));
    assert_eq!(reveal(0, 2, 5, 3), Err(TimelockError::NoEpochs));
    assert_eq!(reveal(1, u16::MAX, u64::MAX, u64::MAX), Ok(u64::MAX - 65536));
}

#[test]
fn the_round_is_three_blocks_after_the_reveal() {
    let reveal = Reveal { commit_epoch: 0, reveal_epoch: 1, block: 10, first_block: 60 };
    // 53 blocks of 12 s are 212 rounds of 3 s.
    assert_eq!(reveal.round(&QUICKNET, 12_000, QUICKNET.genesis_ms + 5999), 213);
    assert_eq!(reveal.round(&QUICKNET, 250, QUICKNET.genesis_ms), 4);
    assert_eq!(reveal.round(&QUICKNET, 12_000, 0), 1);
    assert_eq!(reveal.round(&QUICKNET, u64::MAX, u64::MAX), (u64::MAX - QUICKNET.genesis_ms) / 3000);
}

/// Block by block, as the chain does it.
fn played(mut state: EpochState) -> u64 {
    let mut block = state.block + 1;
    let seen = |state: &EpochState, block| {
        state.epoch_index + u64::from(state.is_due(block, state.blocks_since_last_step))
    };
    let target = seen(&state, block) + state.reveal_period;
    while seen(&state, block) != target {
        state.blocks_since_last_step += 1;
        if state.is_due(block, state.blocks_since_last_step) {
            state.last_epoch_block = block;
            state.pending_epoch_at = 0;
            state.epoch_index += 1;
            state.blocks_since_last_step = 0;
        }
        block += 1;
    }
    block
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_formula_is_the_chains_block_by_block(
        tempo in prop_oneof![1u16..400, 50_390u16..50_410, Just(u16::MAX)],
        reveal_period in 0u64..5,
        behind in 0u64..500,
        pending in prop_oneof![Just(0u64), 700u64..1500],
        since in prop_oneof![0u64..500, 50_000u64..50_500],
        index in 0u64..9,
    ) {
        let block = 1000;
        let state = EpochState {
            tempo,
            reveal_period,
            last_epoch_block: block - behind,
            pending_epoch_at: pending,
            epoch_index: index,
            blocks_since_last_step: since,
            block,
        };
        prop_assert_eq!(state.reveal().unwrap().first_block, played(state));
    }

    #[test]
    fn no_numbers_overflow(numbers in any::<[u64; 6]>(), tempo: u16) {
        let [reveal_period, last_epoch_block, pending_epoch_at, epoch_index, since, block] = numbers;
        let state = EpochState {
            tempo, reveal_period, last_epoch_block, pending_epoch_at, epoch_index,
            blocks_since_last_step: since, block,
        };
        let _ = state.reveal().map(|reveal| reveal.round(&QUICKNET, since, block));
    }
}
