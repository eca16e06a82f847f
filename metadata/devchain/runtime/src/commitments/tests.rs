use super::*;
use crate::{
    Commitments, Runtime, RuntimeEvent, RuntimeOrigin, System,
    genesis::{development_account, genesis},
};
use frame_support::assert_ok;
use parity_scale_codec::{Decode, Encode};

fn raw(bytes: usize) -> Data {
    Data::Raw(vec![7; bytes].try_into().unwrap())
}

#[test]
fn a_leading_byte_says_what_follows() {
    let encoded = |data: Data| {
        let bytes = data.encode();
        assert_eq!(Data::decode(&mut &bytes[..]).unwrap(), data);
        bytes
    };
    assert_eq!(encoded(Data::None), [0]);
    assert_eq!(encoded(raw(0)), [1]);
    assert_eq!(encoded(raw(2)), [3, 7, 7]);
    assert_eq!(encoded(raw(128))[0], 129);
    assert_eq!(encoded(Data::BlakeTwo256([1; 32]))[..2], [130, 1]);
    assert_eq!(encoded(Data::ShaThree256([1; 32])).len(), 33);
    let locked = Data::TimelockEncrypted { encrypted: vec![5].try_into().unwrap(), reveal_round: 2 };
    assert_eq!(encoded(locked), [134, 4, 5, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(encoded(Data::ResetBondsFlag), [135]);
    assert_eq!(encoded(Data::BigRaw(vec![9; 200].try_into().unwrap()))[..3], [136, 0x21, 0x03]);
    assert!(Data::decode(&mut &[137u8][..]).is_err());
    assert!(Data::decode(&mut &[5u8, 1, 2][..]).is_err(), "three of four bytes");
    assert!(Data::decode(&mut &[136u8, 0x05, 0x08][..]).is_err(), "513 bytes");
}

fn commit(fields: Vec<Data>) -> frame_support::dispatch::DispatchResult {
    let info = CommitmentInfo { fields: fields.try_into().unwrap() };
    let hotkey = RuntimeOrigin::signed(development_account("//hotkey").unwrap());
    Commitments::set_commitment(hotkey, 1, Box::new(info))
}

#[test]
fn a_registered_hotkey_commits_within_its_space() {
    sp_io::TestExternalities::new(genesis().unwrap()).execute_with(|| {
        System::set_block_number(9);
        let hotkey = development_account("//hotkey").unwrap();
        assert_eq!(commit(vec![raw(1)]), Err(Error::<Runtime>::AccountNotAllowedCommit.into()));
        let bob = RuntimeOrigin::signed(development_account("//Bob").unwrap());
        assert_ok!(crate::SubtensorModule::burned_register(bob, 1, hotkey.clone()));

        // What the reference miner publishes: 128 bytes. The SDK finds a single raw field at byte 14.
        assert_ok!(commit(vec![raw(128)]));
        let stored = CommitmentOf::<Runtime>::get(1, &hotkey).unwrap().encode();
        assert_eq!(stored[..14], [0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4, 129]);
        assert_eq!(stored[14..], [7; 128]);
        let committed = RuntimeEvent::Commitments(Event::Commitment { netuid: 1, who: hotkey.clone() });
        assert_eq!(System::events().last().unwrap().event, committed);
        assert_eq!(LastCommitment::<Runtime>::get(1, &hotkey), Some(9));
        let used = || UsedSpaceOf::<Runtime>::get(1, &hotkey).unwrap().used_space;
        assert_eq!(used(), 128);
        assert_ok!(commit(vec![]));
        assert_eq!(used(), 228, "a hundred bytes at least");
        for _ in 0..28 {
            assert_ok!(commit(vec![raw(1)]));
        }
        assert_eq!(commit(vec![raw(100)]), Err(Error::<Runtime>::SpaceLimitExceeded.into()));
        #[cfg(not(feature = "spec365"))]
        crate::subtensor::SubnetEpochIndex::<Runtime>::insert(1, 1);
        #[cfg(feature = "spec365")]
        System::set_block_number(200);
        assert_ok!(commit(vec![raw(100), raw(32)]));
        assert_eq!(used(), 132, "a new epoch, a new budget");

        let locked = Data::TimelockEncrypted { encrypted: vec![5].try_into().unwrap(), reveal_round: 2 };
        assert_ok!(commit(vec![locked]));
        assert_eq!(TimelockedIndex::<Runtime>::get().len(), 1);
        assert_ok!(commit(vec![raw(1)]));
        assert!(TimelockedIndex::<Runtime>::get().is_empty());
    });
}

#[test]
fn four_fields_are_no_commitment() {
    let decode = |fields: &[Data]| {
        CommitmentInfo::<frame_support::traits::ConstU32<3>>::decode(&mut &fields.encode()[..])
    };
    assert!(decode(&[Data::None, Data::None, Data::None]).is_ok());
    assert!(decode(&[Data::None, Data::None, Data::None, Data::None]).is_err());
}
