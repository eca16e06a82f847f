//! Bytes that clients of Subtensor mainnet produce or read.

use super::*;
use crate::{RuntimeCall, commitments};
use parity_scale_codec::Encode;

const ALICE: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

#[test]
fn call_bytes() {
    let hex = |call: RuntimeCall| hex(&call.encode());
    let call =
        Call::set_weights { netuid: 1, dests: vec![0, 1], weights: vec![65_535, 32_768], version_key: 0 };
    assert_eq!(hex(call.into()), "07000100080000010008ffff00800000000000000000");
    let call = Call::burned_register { netuid: 1, hotkey: key("//Alice") };
    assert_eq!(hex(call.into()), format!("07070100{ALICE}"));
    let fields = vec![commitments::Data::Raw(b"test".to_vec().try_into().unwrap())];
    let info = Box::new(commitments::CommitmentInfo { fields: fields.try_into().unwrap() });
    let call = commitments::Call::<Runtime>::set_commitment { netuid: 1, info };
    assert_eq!(hex(call.into()), "12000100040574657374");
}

#[test]
fn storage_keys() {
    let prefix = "658faa385070e074c85bf6b568cf0555a1e7036061f484bc3048a64b64e35ec4";
    assert_eq!(hex(&Weights::<Runtime>::hashed_key_for(1, 0)), format!("{prefix}01000000"));
    let uids = "658faa385070e074c85bf6b568cf0555aab1b4e78e1ea8305462ee53b3686dc80100";
    assert_eq!(
        hex(&Uids::<Runtime>::hashed_key_for(1, key("//Alice"))),
        format!("{uids}de1e86a9a8c739864cf3cc5ec2bea59f{ALICE}")
    );
    let commitment = "ca407206ec1ab726b2636c4b145ac287419a60ae8b01e6dcaebd7317e43c69bf0100518366b5b1bc7c99";
    assert_eq!(
        hex(&commitments::CommitmentOf::<Runtime>::hashed_key_for(1, key("//Alice"))),
        format!("{commitment}{ALICE}")
    );
}

#[test]
fn commit_hash() {
    let salt: Vec<u16> = (1..=8).collect();
    let hash = |index| {
        let hash = commit_reveal::commit_hash(&key("//Alice"), index, &[0, 1], &[65_535, 32_768], &salt, 0);
        hex(hash.as_bytes())
    };
    assert_eq!(hash(1), "15d1d763685dfce22d8650296059d5767f0932787b33a80c31d996c3d36b6eef");
    assert_eq!(hash(storage_index(1, 1)), "f56c91559338c6be700b2c2d0ce59d9bdef46abd0ad6a4406c64fbcb60ea2360");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
