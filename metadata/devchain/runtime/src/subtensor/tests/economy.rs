use super::*;

/// Ten blocks of emission of one alpha, less the owner's 18 %.
const EPOCH: u64 = 10_000_000_000;

#[test]
fn emission_halves_with_what_is_issued() {
    assert_eq!(coinbase::block_emission(0), 1_000_000_000);
    assert_eq!(coinbase::block_emission(10_499_999_999_999_999), 1_000_000_000);
    assert_eq!(coinbase::block_emission(10_500_000_000_000_000), 500_000_000);
    assert_eq!(coinbase::block_emission(15_750_000_000_000_000), 250_000_000);
    assert_eq!(coinbase::block_emission(21_000_000_000_000_000), 0);
}

#[test]
fn miners_validators_and_the_owner_are_paid() {
    chain(|| {
        busy_subnet();
        let before = |hotkey: &str| TotalHotkeyAlpha::<Runtime>::get(key(hotkey), NETUID);
        assert_ok!(set_weights("//v1", &[3, 4], &[3, 1]).map_err(|_| "refused"));
        assert_ok!(set_weights("//v2", &[3, 4], &[3, 1]).map_err(|_| "refused"));
        let stakes = ["//owner", "//v1", "//v2", "//m1", "//m2"].map(before);
        // The last epoch was a block ago.
        blocks(9);
        let gained: Vec<u64> = ["//owner", "//v1", "//v2", "//m1", "//m2"]
            .iter()
            .zip(stakes)
            .map(|(hotkey, stake)| before(hotkey) - stake)
            .collect();
        let cut = 10 * (1_000_000_000u64 * 11_796 / 65_535);
        let half = (EPOCH - cut) / 2;
        assert_eq!(gained[0], cut);
        // Three quarters and one quarter, up to the rounding of rao and of 65535ths.
        assert!(gained[3].abs_diff(half * 3 / 4) < half / 10_000, "{gained:?}");
        assert!(gained[4].abs_diff(half / 4) < half / 10_000, "{gained:?}");
        assert!((gained[1] + gained[2]).abs_diff(half) < 10, "{gained:?}");
        assert!(gained[1] > 2 * gained[2], "{gained:?}");
        let paid = |event: &Event<Runtime>| {
            matches!(event, Event::IncentiveAlphaEmittedToMiners { netuid: NETUID, emissions }
                if emissions.iter().sum::<u64>() == gained[3] + gained[4])
        };
        assert!(events().iter().any(paid));
        // 3/(3+1) of 65535.
        assert!(Incentive::<Runtime>::get(NETUID)[3].abs_diff(49_151) <= 1);
        assert_eq!(Emission::<Runtime>::get(NETUID)[3], gained[3]);
        assert_eq!(PendingServerEmission::<Runtime>::get(NETUID), 0);
        // Dividends go to everyone who staked, except for the take.
        let bob = SubtensorModule::stake_of(&key("//v1"), &key("//Bob"), NETUID);
        assert!(before("//v1").abs_diff(bob) <= 1, "Bob owns //v1 and is its only staker");
        assert!(AlphaDividendsPerSubnet::<Runtime>::get(NETUID, key("//v1")) > 0);
    });
}

#[test]
fn an_owner_does_not_earn_by_mining() {
    chain(|| {
        busy_subnet();
        assert_ok!(set_weights("//v1", &[0], &[1]).map_err(|_| "refused"));
        let before = TotalHotkeyAlpha::<Runtime>::get(key("//owner"), NETUID);
        blocks(10);
        assert_eq!(Incentive::<Runtime>::get(NETUID)[0], 65_535);
        let cut = 10 * (1_000_000_000u64 * 11_796 / 65_535);
        assert_eq!(TotalHotkeyAlpha::<Runtime>::get(key("//owner"), NETUID) - before, cut);
    });
}

#[test]
fn nothing_is_issued_before_the_start() {
    chain(|| {
        blocks(150);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(1), 1);
        assert_eq!(SubnetAlphaOut::<Runtime>::get(1), 0);
        assert_eq!(Emission::<Runtime>::get(1), [0]);
    });
}

#[test]
fn stake_is_added_and_taken_back() {
    chain(|| {
        assert_ok!(SubtensorModule::register_network(signed("//Alice"), key("//owner")));
        let add = |hotkey, netuid, rao| {
            failure(SubtensorModule::add_stake(signed("//Charlie"), key(hotkey), netuid, rao))
        };
        let remove = |alpha| {
            failure(SubtensorModule::remove_stake(signed("//Charlie"), key("//owner"), NETUID, alpha))
        };
        assert_fails!(add("//owner", 77, 1), SubnetNotExists);
        assert_fails!(add("//owner", NETUID, 1), SubtokenDisabled);
        assert_ok!(SubtensorModule::start_call(signed("//Alice"), NETUID));
        let again = failure(SubtensorModule::start_call(signed("//Alice"), NETUID));
        assert_fails!(again, FirstEmissionBlockNumberAlreadySet);
        assert_fails!(failure(SubtensorModule::start_call(signed("//Bob"), NETUID)), NotSubnetOwner);
        assert_fails!(add("//nobody", NETUID, 1_999_999), AmountTooLow);
        assert_fails!(add("//nobody", NETUID, u64::MAX), NotEnoughBalanceToStake);
        assert_fails!(add("//nobody", NETUID, 2_000_000), HotKeyAccountNotExists);
        let before = crate::Balances::free_balance(key("//Charlie"));
        assert_ok!(add("//owner", NETUID, 5_000_000).map_err(|_| "refused"));
        assert!(matches!(events().last(), Some(Event::StakeAdded(_, _, 5_000_000, 5_000_000, NETUID, 0))));
        assert_eq!(StakingHotkeys::<Runtime>::get(key("//Charlie")), [key("//owner")]);
        assert_fails!(remove(5_000_001), NotEnoughStakeToWithdraw);
        assert_fails!(remove(1), AmountTooLow);
        // Dividends make a share worth more.
        TotalHotkeyAlpha::<Runtime>::mutate(key("//owner"), NETUID, |alpha| *alpha += 5_000_000);
        assert_eq!(SubtensorModule::stake_of(&key("//owner"), &key("//Charlie"), NETUID), 10_000_000);
        assert_ok!(SubtensorModule::add_stake(signed("//Bob"), key("//owner"), NETUID, 10_000_000));
        assert_eq!(SubtensorModule::stake_of(&key("//owner"), &key("//Bob"), NETUID), 10_000_000);
        assert_ok!(remove(10_000_000).map_err(|_| "refused"));
        assert_eq!(crate::Balances::free_balance(key("//Charlie")), before + 5_000_000);
        assert_eq!(SubtensorModule::stake_of(&key("//owner"), &key("//Charlie"), NETUID), 0);
        assert_eq!(SubtensorModule::stake_of(&key("//owner"), &key("//Bob"), NETUID), 10_000_000);
    });
}

#[test]
fn root_stake_counts_for_its_part() {
    chain(|| {
        TotalHotkeyAlpha::<Runtime>::insert(key("//a"), ROOT, 1_000_000);
        TotalHotkeyAlpha::<Runtime>::insert(key("//a"), NETUID, 7);
        // 971718665099567868 of 2^64 is 0.05267…
        let weight = SubtensorModule::stake_weight(&key("//a"), NETUID);
        assert!((weight - (7.0 + 52_677.0)).abs() < 2.0, "{weight}");
        assert_eq!(SubtensorModule::stake_weight(&key("//a"), ROOT), 1e6);
    });
}

#[test]
fn a_subnet_costs_twice_the_last_one_and_less_every_block() {
    chain(|| {
        let tao = 1_000_000_000u64;
        assert_eq!(SubtensorModule::network_lock_cost(), 1_000 * tao);
        assert_ok!(SubtensorModule::register_network(signed("//Alice"), key("//owner")));
        assert!(matches!(events().last(), Some(Event::NetworkAdded(NETUID, 0))));
        assert_eq!(SubtensorModule::network_lock_cost(), 2_000 * tao);
        blocks(1);
        assert_eq!(SubtensorModule::network_lock_cost(), 2_000 * tao - 1_000 * tao / 100_800);
        let poor = failure(SubtensorModule::register_network(signed("//poor"), key("//x")));
        assert_fails!(poor, CannotAffordLockCost);
        let taken = failure(SubtensorModule::register_network(signed("//Bob"), key("//owner")));
        assert_fails!(taken, NonAssociatedColdKey);
    });
}
