//! What was different before spec 425.

use super::{super::schedule::Schedule, *};
use parity_scale_codec::Encode;

#[test]
fn epochs_follow_from_the_blocks_number() {
    let schedule = Schedule { netuid: 2, tempo: 10 };
    let due: Vec<u64> = (1..40).filter(|block| schedule.is_due(*block)).collect();
    assert_eq!(due, [8, 19, 30]);
    assert_eq!([7, 8, 18, 19].map(|block| schedule.epoch(block)), [0, 1, 1, 2]);
    assert_eq!(schedule.first_block(2), 19);
    assert!(!Schedule { netuid: 2, tempo: 0 }.is_due(0));
}

#[test]
fn an_epoch_keeps_rank_trust_and_scores() {
    chain(|| {
        busy_subnet();
        assert_ok!(set_weights("//v1", &[3, 4], &[3, 1]).map_err(|_| "refused"));
        assert_ok!(set_weights("//v2", &[3, 4], &[3, 1]).map_err(|_| "refused"));
        blocks(11);
        assert_eq!(LastMechansimStepBlock::<Runtime>::get(NETUID), 19);
        assert_eq!(BlocksSinceLastStep::<Runtime>::get(NETUID), 3);
        assert_eq!(Rank::<Runtime>::get(NETUID), Incentive::<Runtime>::get(NETUID));
        assert_eq!(Trust::<Runtime>::get(NETUID)[3], u16::MAX);
        assert_eq!(PruningScores::<Runtime>::get(NETUID).iter().max(), Some(&u16::MAX));
    });
}

#[test]
fn a_commit_knows_the_blocks_of_its_reveal() {
    chain(|| {
        busy_subnet();
        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, true);
        let hash = commit_reveal::commit_hash(&key("//v1"), NETUID, &[3], &[7], &[1, 2], 0);
        assert_ok!(SubtensorModule::commit_weights(signed("//v1"), NETUID, hash));
        let commits = WeightCommits::<Runtime>::get(NETUID, key("//v1")).unwrap();
        assert_eq!(Vec::from(commits), [(hash, 11, 19, 29)]);
        let reveal = || {
            let (uids, values, salt) = (vec![3], vec![7], vec![1, 2]);
            failure(SubtensorModule::reveal_weights(signed("//v1"), NETUID, uids, values, salt, 0))
        };
        assert_fails!(reveal(), RevealTooEarly);
        blocks(8);
        assert_ok!(reveal().map_err(|_| "refused"));
        assert_eq!(Weights::<Runtime>::get(NETUID, 1), [(3, 65_535)]);
    });
}

#[test]
fn prices_are_adjusted_after_an_interval() {
    assert_eq!(burn::adjusted(100, 4, 2, 0), 150);
    assert_eq!(burn::adjusted(100, 0, 2, 0), 50);
    assert_eq!(burn::adjusted(100, 4, 2, u64::MAX), 100);
    assert_eq!(burn::adjusted(u64::MAX, u16::MAX, 1, 0), u64::MAX);
    chain(|| {
        assert_ok!(SubtensorModule::register_network(signed("//Alice"), key("//owner")));
        let register =
            |hotkey: &str| failure(SubtensorModule::burned_register(signed("//Bob"), NETUID, key(hotkey)));
        let price = Burn::<Runtime>::get(NETUID);
        assert_ok!(register("//0").map_err(|_| "refused"));
        assert_fails!(register("//1"), TooManyRegistrationsThisBlock);
        for number in 1..6 {
            blocks(1);
            assert_ok!(register(&format!("//{number}")).map_err(|_| "refused"));
        }
        blocks(1);
        assert_fails!(register("//6"), TooManyRegistrationsThisInterval);
        assert_eq!(Burn::<Runtime>::get(NETUID), price, "nothing moves within the interval");
        blocks(100);
        assert_eq!(Burn::<Runtime>::get(NETUID), price * 2);
        assert_ok!(register("//6").map_err(|_| "refused"));
    });
}

#[test]
fn events_and_errors_have_their_older_places() {
    let place = |event: Event<Runtime>| event.encode()[0];
    let hash = sp_core::H256::zero();
    assert_eq!(place(Event::WeightsSet(0, 0)), 5);
    assert_eq!(place(Event::TempoSet(0, 0)), 50);
    assert_eq!(place(Event::WeightsCommitted(key("//Alice"), 0, hash)), 79);
    assert_eq!(place(Event::TimelockedWeightsRevealed(0, key("//Alice"))), 102);
    assert_eq!(place(Event::IncentiveAlphaEmittedToMiners { netuid: 0, emissions: vec![] }), 104);
    assert_eq!(Failure::SettingWeightsTooFast.encode()[0], 28);
    assert_eq!(Failure::CommitRevealEnabled.encode()[0], 52);
    assert_eq!(Failure::RevealTooEarly.encode()[0], 76);
    assert_eq!(Failure::InvalidSubnetNumber.encode()[0], 122);
    assert_eq!(crate::VERSION.spec_version, 365);
}
