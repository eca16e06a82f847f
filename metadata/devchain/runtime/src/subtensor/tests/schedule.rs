use super::{super::schedule::Schedule, *};

#[test]
fn an_epoch_is_due_by_tempo_by_request_or_by_neglect() {
    let schedule = Schedule { tempo: 10, last: 100, moved_to: 0, waited: 9 };
    assert!(!schedule.is_due(109) && schedule.is_due(110));
    assert_eq!(schedule.next(), Some(110));
    let moved = Schedule { moved_to: 105, ..schedule };
    assert!(!moved.is_due(104) && moved.is_due(105));
    assert_eq!(moved.next(), Some(105));
    assert!(Schedule { waited: 50_401, ..schedule }.is_due(101));
    let never = Schedule { tempo: 0, waited: 50_401, moved_to: 1, ..schedule };
    assert!(!never.is_due(9_999));
    assert_eq!(never.next(), None);
}

#[test]
fn epochs_follow_the_tempo_and_are_counted() {
    chain(|| {
        subnet();
        // Made at block 1 with the default tempo; the offset would lie before the first block.
        assert_eq!(LastEpochBlock::<Runtime>::get(NETUID), 0);
        assert_eq!(SubtensorModule::next_epoch_block(NETUID), Some(10));
        blocks(8);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 0);
        assert_eq!(BlocksSinceLastStep::<Runtime>::get(NETUID), 8);
        blocks(1);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 1);
        assert_eq!(LastEpochBlock::<Runtime>::get(NETUID), 10);
        assert_eq!(LastMechansimStepBlock::<Runtime>::get(NETUID), 10);
        assert_eq!(BlocksSinceLastStep::<Runtime>::get(NETUID), 0);
        blocks(25);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 3);
        assert_eq!(SubtensorModule::next_epoch_block(ROOT), None);
    });
}

#[test]
fn a_block_runs_few_epochs_and_moves_the_others() {
    chain(|| {
        subnet();
        for number in 3..6u16 {
            assert_ok!(SubtensorModule::register_network(signed("//Bob"), key(&format!("//{number}"))));
        }
        for netuid in 1..6 {
            Tempo::<Runtime>::insert(netuid, if netuid == 1 { 0 } else { 10 });
            LastEpochBlock::<Runtime>::insert(netuid, 1);
        }
        blocks(10);
        let runs = |netuid| SubnetEpochIndex::<Runtime>::get(netuid);
        assert_eq!((2..6).map(runs).collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_eq!(PendingEpochAt::<Runtime>::get(4), 12);
        let deferred = |event: &Event<Runtime>| {
            matches!(event, Event::EpochDeferred { netuid: 4, from_block: 11, to_block: 12 })
        };
        assert!(events().iter().any(deferred));
        assert_eq!(SubtensorModule::current_epoch(4), 1, "it is due, though it waits");
        blocks(1);
        assert_eq!((2..6).map(runs).collect::<Vec<_>>(), [1, 1, 1, 1]);
        assert_eq!(PendingEpochAt::<Runtime>::get(4), 0);
        assert_eq!(LastEpochBlock::<Runtime>::get(4), 12);
    });
}

#[test]
fn hyperparameters_are_frozen_before_an_epoch() {
    chain(|| {
        subnet();
        let root = RuntimeOrigin::root;
        assert_ok!(AdminUtils::sudo_set_admin_freeze_window(root(), 4));
        blocks(5);
        // Block 6: four blocks are left, as many as the window has.
        assert_ok!(AdminUtils::sudo_set_kappa(root(), NETUID, 1));
        blocks(1);
        let frozen = failure(AdminUtils::sudo_set_kappa(root(), NETUID, 2));
        assert_fails!(frozen, AdminActionProhibitedDuringWeightsWindow);
        blocks(3);
        assert_ok!(AdminUtils::sudo_set_kappa(root(), NETUID, 3));
        assert_eq!(Kappa::<Runtime>::get(NETUID), 3);
    });
}

#[test]
fn owners_set_what_is_theirs() {
    use sp_runtime::DispatchError::BadOrigin;
    chain(|| {
        subnet();
        assert_ok!(AdminUtils::sudo_set_min_burn(signed("//Alice"), NETUID, 1));
        assert_eq!(AdminUtils::sudo_set_min_burn(signed("//Bob"), NETUID, 1), Err(BadOrigin));
        assert_eq!(AdminUtils::sudo_set_tempo(signed("//Alice"), NETUID, 1), Err(BadOrigin));
        assert!(AdminUtils::sudo_set_tempo(RuntimeOrigin::root(), 77, 1).is_err());
        assert!(AdminUtils::sudo_set_max_burn(RuntimeOrigin::root(), NETUID, 0).is_err());
    });
}
