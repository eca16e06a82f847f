use super::*;

fn try_register(coldkey: &str, netuid: u16, hotkey: &str) -> Result<(), Failure> {
    failure(SubtensorModule::burned_register(signed(coldkey), netuid, key(hotkey)))
}

#[test]
fn each_refusal_in_its_order() {
    chain(|| {
        subnet();
        register("//m1");
        assert_fails!(try_register("//Bob", ROOT, "//m1"), RegistrationNotPermittedOnRootSubnet);
        assert_fails!(try_register("//poor", 77, "//m1"), SubnetNotExists);
        NetworkRegistrationAllowed::<Runtime>::insert(NETUID, false);
        assert_fails!(try_register("//poor", NETUID, "//m1"), SubNetRegistrationDisabled);
        NetworkRegistrationAllowed::<Runtime>::insert(NETUID, true);
        assert_fails!(try_register("//poor", NETUID, "//m1"), HotKeyAlreadyRegisteredInSubNet);
        assert_fails!(try_register("//poor", NETUID, "//Alice_hk"), NotEnoughBalanceToStake);
        assert_fails!(try_register("//Bob", NETUID, "//Alice_hk"), NonAssociatedColdKey);
        MaxAllowedUids::<Runtime>::insert(NETUID, 0);
        assert_fails!(try_register("//Bob", NETUID, "//new"), NoNeuronIdAvailable);
        let limited = SubtensorModule::register_limit(signed("//Bob"), NETUID, key("//new"), 5);
        assert_fails!(failure(limited), RegistrationPriceLimitExceeded);
    });
}

#[test]
fn a_registration_pays_and_takes_the_next_uid() {
    chain(|| {
        subnet();
        let price = Burn::<Runtime>::get(NETUID);
        assert_eq!(price, 1_000_000_000);
        let account = SubtensorModule::subnet_account(NETUID);
        let before = (crate::Balances::free_balance(key("//Bob")), crate::Balances::free_balance(&account));
        assert_eq!(register("//m1"), 1);
        assert!(matches!(events().last(), Some(Event::NeuronRegistered(NETUID, 1, _))));
        assert_eq!(crate::Balances::free_balance(key("//Bob")), before.0 - price);
        assert_eq!(crate::Balances::free_balance(&account), before.1 + price);
        assert_eq!(Burn::<Runtime>::get(NETUID), 1_259_999_999);
        assert_eq!(Owner::<Runtime>::get(key("//m1")), key("//Bob"));
        assert_eq!(OwnedHotkeys::<Runtime>::get(key("//Bob")), [key("//m1")]);
        assert_eq!(Keys::<Runtime>::get(NETUID, 1), key("//m1"));
        assert!(IsNetworkMember::<Runtime>::get(key("//m1"), NETUID));
        assert_eq!(LastUpdate::<Runtime>::get(NETUID), [1, 1]);
        assert_eq!(RegistrationsThisBlock::<Runtime>::get(NETUID), 1);
        // The old call takes no proof of work any more.
        let old =
            SubtensorModule::register(signed("//Bob"), NETUID, 0, 0, vec![], key("//m2"), key("//Charlie"));
        assert_ok!(old);
        assert_eq!(Owner::<Runtime>::get(key("//m2")), key("//Bob"));
    });
}

#[test]
fn the_price_halves_in_a_half_life() {
    assert_eq!(burn::decay_factor(1), 1 << 31);
    assert_eq!(burn::decay_factor(0), 1 << 32);
    // 2^(-1/360) is 0.998076…, in Q32 4286704…
    let exact = (2f64.powf(-1.0 / 360.0) * 2f64.powi(32)) as u64;
    assert!(burn::decay_factor(360).abs_diff(exact) < 300, "truncation costs a little");
    assert_eq!(burn::raised(100, 1 << 63), 100, "a registration never lowers it");
    assert_eq!(burn::raised(u64::MAX, 2 << 64), u64::MAX);
    chain(|| {
        subnet();
        let price = Burn::<Runtime>::get(NETUID) as f64;
        blocks(360);
        let ratio = Burn::<Runtime>::get(NETUID) as f64 / price;
        assert!((ratio - 0.5).abs() < 1e-5, "{ratio}");
        blocks(4_000);
        assert_eq!(Burn::<Runtime>::get(NETUID), MinBurn::<Runtime>::get(NETUID));
    });
}

/// A full subnet of twelve: the owner, and eleven of Bob that are no longer immune.
fn full_subnet() {
    subnet();
    for number in 1..12 {
        register(&format!("//{number}"));
    }
    MaxAllowedUids::<Runtime>::insert(NETUID, 12);
    ImmunityPeriod::<Runtime>::insert(NETUID, 5);
    Tempo::<Runtime>::insert(NETUID, 0);
    blocks(5);
    Emission::<Runtime>::insert(NETUID, vec![0, 5, 4, 3, 3, 9, 9, 9, 9, 9, 9, 9]);
}

#[test]
fn the_least_earning_neuron_is_replaced() {
    chain(|| {
        full_subnet();
        // 3 and 4 earn alike and are equally old: the lower UID goes. The owner, who earns nothing, stays.
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), Some(3));
        BlockAtRegistration::<Runtime>::insert(NETUID, 4, 0);
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), Some(4), "the older one first");
        // With as few exposed as must be left, the least earning of the immune goes instead.
        BlockAtRegistration::<Runtime>::insert(NETUID, 7, SubtensorModule::now());
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), Some(7));
        MinNonImmuneUids::<Runtime>::insert(NETUID, 9);
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), Some(4));
        MinNonImmuneUids::<Runtime>::insert(NETUID, 11);
        BlockAtRegistration::<Runtime>::insert(NETUID, 7, 0);
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), None);
    });
}

#[test]
fn an_owner_keeps_its_oldest_neuron() {
    chain(|| {
        full_subnet();
        for (uid, block) in [(3, 2), (4, 1), (2, 3)] {
            Owner::<Runtime>::insert(Keys::<Runtime>::get(NETUID, uid), key("//Alice"));
            OwnedHotkeys::<Runtime>::append(key("//Alice"), Keys::<Runtime>::get(NETUID, uid));
            BlockAtRegistration::<Runtime>::insert(NETUID, uid, block);
        }
        ImmunityPeriod::<Runtime>::insert(NETUID, 0);
        MinNonImmuneUids::<Runtime>::insert(NETUID, 0);
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), Some(3), "4 is its oldest");
        ImmuneOwnerUidsLimit::<Runtime>::insert(NETUID, 2);
        assert_eq!(SubtensorModule::neuron_to_prune(NETUID), Some(2));
    });
}

#[test]
fn a_new_neuron_inherits_nothing() {
    chain(|| {
        full_subnet();
        for index in [1, 2] {
            Weights::<Runtime>::insert(NETUID, index, vec![(3, 65_535), (5, 7)]);
        }
        Weights::<Runtime>::insert(NETUID, 3, vec![(1, 1)]);
        Bonds::<Runtime>::insert(NETUID, 3, vec![(1, 1)]);
        ValidatorPermit::<Runtime>::mutate(NETUID, |values| values[3] = true);
        Incentive::<Runtime>::mutate(NETUID, |values| values[3] = 9);
        assert_ok!(SubtensorModule::serve_axon(signed("//3"), NETUID, 1, 7, 80, 4, 4, 0, 0));
        blocks(3);
        assert_eq!(register("//new"), 3);
        assert_eq!(SubnetworkN::<Runtime>::get(NETUID), 12);
        assert_eq!(Uids::<Runtime>::get(NETUID, key("//3")), None);
        assert!(!IsNetworkMember::<Runtime>::get(key("//3"), NETUID));
        assert!(Axons::<Runtime>::get(NETUID, key("//3")).is_none());
        assert_eq!(Weights::<Runtime>::get(NETUID, 1), [(3, 0), (5, 7)]);
        assert!(Weights::<Runtime>::get(NETUID, 3).is_empty());
        assert!(Bonds::<Runtime>::get(NETUID, 3).is_empty());
        assert!(!ValidatorPermit::<Runtime>::get(NETUID)[3]);
        assert_eq!(Incentive::<Runtime>::get(NETUID)[3], 0);
        assert_eq!(Emission::<Runtime>::get(NETUID)[3], 0);
        assert_eq!(LastUpdate::<Runtime>::get(NETUID)[3], SubtensorModule::now());
        assert_eq!(BlockAtRegistration::<Runtime>::get(NETUID, 3), SubtensorModule::now());
    });
}

#[test]
fn root_has_places_for_the_largest_stakes() {
    chain(|| {
        let root = |hotkey| failure(SubtensorModule::root_register(signed("//Bob"), key(hotkey)));
        MaxAllowedUids::<Runtime>::insert(ROOT, 1);
        assert_ok!(root("//a").map_err(|_| "refused"));
        assert_fails!(root("//b"), TooManyRegistrationsThisBlock);
        blocks(1);
        assert_fails!(root("//a"), HotKeyAlreadyRegisteredInSubNet);
        assert_fails!(root("//b"), StakeTooLowForRoot);
        assert_ok!(SubtensorModule::try_associate_hotkey(signed("//Bob"), key("//b")));
        assert_ok!(SubtensorModule::add_stake(signed("//Bob"), key("//b"), ROOT, 2_000_000));
        assert_ok!(root("//b").map_err(|_| "refused"));
        assert_eq!(Keys::<Runtime>::get(ROOT, 0), key("//b"));
    });
}
