use super::{super::weights::max_upscaled, *};
use crate::{RuntimeCall, UncheckedExtrinsic, extensions::signed_extensions};
use frame_support::dispatch::GetDispatchInfo;
use sp_runtime::{
    generic::Era,
    traits::{DispatchTransaction, TransactionExtension},
    transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidityError},
};

#[test]
fn each_check_in_its_order() {
    chain(|| {
        busy_subnet();
        let call = |hotkey, netuid, uids: &[u16], values: &[u16], version| {
            let (uids, values) = (uids.to_vec(), values.to_vec());
            failure(SubtensorModule::set_weights(signed(hotkey), netuid, uids, values, version))
        };
        let root = RuntimeOrigin::root;
        // Each call has every later fault as well.
        assert_fails!(call("//nobody", 1, &[9; 9], &[1], 0), CommitRevealEnabled);
        CommitRevealWeightsEnabled::<Runtime>::insert(ROOT, false);
        CommitRevealWeightsEnabled::<Runtime>::insert(77, false);
        assert_fails!(call("//nobody", ROOT, &[9; 9], &[1], 0), CanNotSetRootNetworkWeights);
        assert_fails!(call("//nobody", 77, &[9; 9], &[1], 0), WeightVecNotEqualSize);
        assert_fails!(call("//nobody", 77, &[9; 9], &[1; 9], 0), MechanismDoesNotExist);
        assert_fails!(call("//nobody", NETUID, &[9; 9], &[1; 9], 0), UidsLengthExceedUidsInSubNet);
        assert_fails!(call("//nobody", NETUID, &[9; 2], &[1; 2], 0), HotKeyNotRegisteredInSubNet);
        assert_ok!(AdminUtils::sudo_set_stake_threshold(root(), 1_000));
        assert_ok!(AdminUtils::sudo_set_weights_version_key(root(), NETUID, 5));
        assert_ok!(AdminUtils::sudo_set_weights_set_rate_limit(root(), NETUID, 20));
        assert_ok!(AdminUtils::sudo_set_min_allowed_weights(root(), NETUID, 3));
        assert_fails!(call("//m1", NETUID, &[9; 2], &[1; 2], 0), NotEnoughStakeToSetWeights);
        assert_ok!(AdminUtils::sudo_set_stake_threshold(root(), 0));
        assert_fails!(call("//m1", NETUID, &[9; 2], &[1; 2], 4), IncorrectWeightVersionKey);
        // Registration counts as an update: ten blocks ago, of the twenty that are asked for.
        assert_fails!(call("//m1", NETUID, &[9; 2], &[1; 2], 5), SettingWeightsTooFast);
        blocks(10);
        assert_fails!(call("//m1", NETUID, &[9; 2], &[1; 2], 5), NeuronNoValidatorPermit);
        assert_fails!(call("//v1", NETUID, &[9; 2], &[1; 2], 5), DuplicateUids);
        assert_fails!(call("//v1", NETUID, &[9, 3], &[1; 2], 5), UidVecContainInvalidOne);
        assert_fails!(call("//v1", NETUID, &[4, 3], &[1; 2], 5), WeightVecLengthIsLow);
        assert_ok!(call("//v1", NETUID, &[2, 3, 4], &[1, 2, 0], 9).map_err(|_| "refused"));
        assert!(matches!(events().last(), Some(Event::WeightsSet(NETUID, 1))));
        assert_eq!(Weights::<Runtime>::get(NETUID, 1), [(2, 32_768), (3, 65_535), (4, 0)]);
        assert_eq!(LastUpdate::<Runtime>::get(NETUID)[1], SubtensorModule::now());
        assert_fails!(call("//v1", NETUID, &[2, 3, 4], &[1; 3], 9), SettingWeightsTooFast);
        // A weight on oneself needs neither permit nor length; the owner needs no permit.
        assert_ok!(call("//m1", NETUID, &[3], &[1], 9).map_err(|_| "refused"));
        ValidatorPermit::<Runtime>::mutate(NETUID, |permits| permits[0] = false);
        assert_ok!(call("//owner", NETUID, &[2, 3, 4], &[1; 3], 9).map_err(|_| "refused"));
        let other = SubtensorModule::set_mechanism_weights(signed("//v2"), NETUID, 1, vec![], vec![], 9);
        assert_fails!(failure(other), MechanismDoesNotExist);
    });
}

#[test]
fn the_largest_weight_becomes_65535() {
    assert_eq!(max_upscaled(&[1, 2]), [32_768, 65_535]);
    assert_eq!(max_upscaled(&[65_535, 7]), [65_535, 7]);
    // 20000 · 65535/40000 is 32767.5, but the factor is truncated first.
    assert_eq!(max_upscaled(&[40_000, 20_000]), [65_535, 32_767]);
    assert_eq!(max_upscaled(&[0, 0]), [0, 0]);
    assert!(max_upscaled(&[]).is_empty());
}

/// What the pool says to a call.
fn pool(hotkey: &str, call: Call<Runtime>) -> Option<InvalidTransaction> {
    let call = RuntimeCall::SubtensorModule(call);
    let info = call.get_dispatch_info();
    let nonce = System::account_nonce(key(hotkey));
    let extensions = signed_extensions(Era::Immortal, nonce, 0);
    let result = extensions.validate_only(signed(hotkey), &call, &info, 100, TransactionSource::External, 0);
    match result {
        Ok(_) => None,
        Err(TransactionValidityError::Invalid(reason)) => Some(reason),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_pool_refuses_what_is_free_and_bound_to_fail() {
    use InvalidTransaction::{Custom, Payment};
    chain(|| {
        busy_subnet();
        let weights = |netuid| Call::set_weights { netuid, dests: vec![3], weights: vec![1], version_key: 0 };
        // A hotkey that never held a balance may set weights, and must not call what costs.
        assert_eq!(pool("//v1", weights(NETUID)), None);
        assert_eq!(pool("//v1", Call::register_network { hotkey: key("//x") }), Some(Payment));
        assert_ok!(AdminUtils::sudo_set_weights_set_rate_limit(RuntimeOrigin::root(), NETUID, 100));
        assert_eq!(pool("//v1", weights(NETUID)), Some(Custom(6)));
        assert_eq!(pool("//nobody", weights(NETUID)), None, "it learns on chain that it has no UID");
        assert_ok!(AdminUtils::sudo_set_stake_threshold(RuntimeOrigin::root(), u64::MAX));
        assert_eq!(pool("//v1", weights(NETUID)), Some(Custom(1)));
        assert_ok!(AdminUtils::sudo_set_stake_threshold(RuntimeOrigin::root(), 0));

        let axon = |ip, ip_type, port| Call::serve_axon {
            netuid: NETUID,
            version: 1,
            ip,
            port,
            ip_type,
            protocol: 4,
            placeholder1: 0,
            placeholder2: 0,
        };
        assert_eq!(pool("//m1", axon(0x0102_0304, 4, 8091)), None);
        assert_eq!(pool("//nobody", axon(0, 9, 0)), Some(Custom(10)));
        assert_eq!(pool("//m1", axon(0x7f00_0001, 4, 8091)), Some(Custom(11)));
        assert_eq!(pool("//m1", axon(1, 6, 8091)), Some(Custom(11)));
        assert_eq!(pool("//m1", axon(0, 4, 0)), Some(Custom(13)));
        assert_ok!(SubtensorModule::serve_axon(signed("//m1"), NETUID, 1, 7, 80, 4, 4, 0, 0));
        assert_eq!(pool("//m1", axon(0, 4, 1)), Some(Custom(12)));
        let reveal = Call::reveal_weights {
            netuid: NETUID,
            uids: vec![],
            values: vec![],
            salt: vec![],
            version_key: 0,
        };
        assert_eq!(pool("//v1", reveal), Some(Custom(16)));
        NetworkRateLimit::<Runtime>::put(7_200);
        assert_eq!(pool("//Bob", Call::register_network { hotkey: key("//x") }), Some(Custom(6)));
    });
}

#[test]
fn what_is_committed_can_be_revealed_an_epoch_later() {
    chain(|| {
        busy_subnet();
        assert_ok!(AdminUtils::sudo_set_commit_reveal_weights_enabled(RuntimeOrigin::root(), NETUID, true));
        let hash =
            commit_reveal::commit_hash(&key("//v1"), NETUID, &[3, 4], &[9, 3], &[1, 2, 3, 4, 5, 6, 7, 8], 0);
        let reveal = |values: [u16; 2]| {
            let salt = (1..=8).collect();
            let values = values.to_vec();
            failure(SubtensorModule::reveal_weights(signed("//v1"), NETUID, vec![3, 4], values, salt, 0))
        };
        assert_fails!(set_weights("//v1", &[3], &[1]), CommitRevealEnabled);
        assert_fails!(reveal([9, 3]), NoWeightsCommitFound);
        assert_ok!(SubtensorModule::commit_weights(signed("//v1"), NETUID, hash));
        assert_eq!(LastUpdate::<Runtime>::get(NETUID)[1], SubtensorModule::now());
        assert_fails!(reveal([9, 3]), RevealTooEarly);
        blocks(10);
        assert_fails!(reveal([9, 4]), InvalidRevealCommitHashNotMatch);
        assert_ok!(reveal([9, 3]).map_err(|_| "refused"));
        assert_eq!(Weights::<Runtime>::get(NETUID, 1), [(3, 65_535), (4, 21_845)]);
        assert!(
            matches!(events().last(), Some(Event::WeightsRevealed(_, NETUID, revealed)) if *revealed == hash)
        );
        assert_ok!(SubtensorModule::commit_weights(signed("//v1"), NETUID, hash));
        blocks(20);
        assert_fails!(reveal([9, 3]), ExpiredWeightCommit);
    });
}

#[test]
fn an_extrinsic_carries_era_nonce_tip_and_a_mode() {
    use parity_scale_codec::Encode;
    let extra = signed_extensions(Era::mortal(64, 42), 7, 1).encode();
    assert_eq!(extra, [&Era::mortal(64, 42).encode()[..], &[7 << 2, 1 << 2, 0]].concat());
    let names: Vec<&str> = <crate::extensions::TxExtension as TransactionExtension<RuntimeCall>>::metadata()
        .into_iter()
        .map(|extension| extension.identifier)
        .collect();
    assert_eq!(
        names,
        [
            "CheckNonZeroSender",
            "CheckSpecVersion",
            "CheckTxVersion",
            "CheckGenesis",
            "CheckMortality",
            "CheckNonce",
            "CheckWeight",
            "ChargeTransactionPayment",
            "SudoTransactionExtension",
            "CheckShieldedTxValidity",
            "SubtensorTransactionExtension",
            "DrandPriority",
            "CheckMetadataHash"
        ]
    );
    let call = RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
    let signed = UncheckedExtrinsic::new_signed(
        call,
        sp_runtime::MultiAddress::Id(key("//Alice")),
        sp_runtime::MultiSignature::Sr25519([0; 64].into()),
        signed_extensions(Era::Immortal, 0, 0),
    );
    assert_eq!(signed.encode()[2], 0x84, "version 4, signed");
}
