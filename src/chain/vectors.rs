//! Bytes that were computed without this program: calls, and keys of storage.

use std::{fs, path::Path};

use subxt::{
    Metadata, OfflineClient, PolkadotConfig,
    config::polkadot::SpecVersionForRange,
    tx::{Payload, StaticPayload},
    utils::AccountId32,
};
use templar_metadata::api;

use crate::{
    chain::{ids::theirs, metagraph::commitment},
    wallet::Keypair,
};

type Client = subxt::client::OfflineClientAtBlock<PolkadotConfig>;

/// A client that knows the bindings' own metadata, and no chain.
fn client() -> Client {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("metadata/subnet.scale");
    let metadata = Metadata::decode_from(&fs::read(path).unwrap()).unwrap().arc();
    let all = SpecVersionForRange { block_range: 0..u64::MAX, spec_version: 1, transaction_version: 1 };
    let config = PolkadotConfig::builder()
        .set_metadata_for_spec_versions([(1, metadata)])
        .set_spec_version_for_block_ranges([all])
        .build();
    OfflineClient::new_with_config(config).at_block(1u64).unwrap()
}

fn bytes<C>(payload: StaticPayload<C>) -> String
where
    StaticPayload<C>: Payload,
{
    hex::encode(client().tx().call_data(&payload.unvalidated()).unwrap())
}

fn alice() -> AccountId32 {
    theirs(&Keypair::from_uri("//Alice").unwrap().account())
}

const ALICE: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

#[test]
fn calls_are_encoded_as_the_chain_has_them() {
    let module = api::tx().subtensor_module();
    assert_eq!(
        bytes(module.set_weights(1, vec![0, 1], vec![65535, 32768], 0)),
        "07000100080000010008ffff00800000000000000000"
    );
    assert_eq!(bytes(module.burned_register(1, alice())), format!("07070100{ALICE}"));
    assert_eq!(bytes(commitment::call(1, &[b"test".to_vec()]).unwrap()), "12000100040574657374");
    // 128 bytes are the longest sized field (variant 129), one more is the first that says its length.
    let sized = bytes(commitment::call(1, &[vec![7; 128]]).unwrap());
    assert_eq!(sized, format!("120001000481{}", "07".repeat(128)));
    let long = bytes(commitment::call(1, &[vec![7; 129], vec![]]).unwrap());
    assert_eq!(long, format!("1200010008880502{}01", "07".repeat(129)));
}

#[test]
fn storage_has_the_chains_keys() {
    let client = client();
    let module = api::storage().subtensor_module();
    let prefix = "658faa385070e074c85bf6b568cf0555";
    let weights = client.storage().entry(module.weights().unvalidated()).unwrap();
    assert_eq!(
        hex::encode(weights.fetch_key((1, 0)).unwrap()),
        format!("{prefix}a1e7036061f484bc3048a64b64e35ec401000000")
    );
    let uids = client.storage().entry(module.uids().unvalidated()).unwrap();
    assert_eq!(
        hex::encode(uids.fetch_key((1, alice())).unwrap()),
        format!("{prefix}aab1b4e78e1ea8305462ee53b3686dc80100de1e86a9a8c739864cf3cc5ec2bea59f{ALICE}")
    );
    let commitments = api::storage().commitments().commitment_of().unvalidated();
    let commitments = client.storage().entry(commitments).unwrap();
    assert_eq!(
        hex::encode(commitments.fetch_key((1, alice())).unwrap()),
        format!(
            "ca407206ec1ab726b2636c4b145ac287419a60ae8b01e6dcaebd7317e43c69bf0100518366b5b1bc7c99{ALICE}"
        )
    );
}
