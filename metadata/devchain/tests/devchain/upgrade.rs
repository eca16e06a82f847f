//! A chain that begins in spec 365 and becomes spec 425.

use crate::client::{Client, hex, unhex};
use jsonrpsee::core::client::Subscription;
use node_subtensor_365_runtime::{
    RuntimeCall as CallA, UncheckedExtrinsic,
    admin_utils::Call as Admin,
    extensions::{TxExtension, signed_extensions},
    subtensor::Call as Subtensor,
};
use node_subtensor_runtime::{RuntimeCall as CallB, subtensor as b};
use parity_scale_codec::{Decode, Encode};
use serde_json::{Value, json};
use sp_core::{H256, Pair, sr25519};
use sp_runtime::{MultiAddress, MultiSignature, generic::Era as Mortality, traits::TransactionExtension};
use std::time::Duration;
use templar_devchain::{Config, SpecVersion, run};

/// Signs a call as spec 365 wants it.
fn signed(client: &Client, uri: &str, call: CallA, nonce: u32) -> String {
    let extensions = signed_extensions(Mortality::Immortal, nonce, 0);
    let version = node_subtensor_365_runtime::VERSION;
    let frame =
        ((), version.spec_version, version.transaction_version, client.genesis, client.genesis, (), (), ());
    let implicit: <TxExtension as TransactionExtension<CallA>>::Implicit = (frame, ((), (), (), None));
    let mut payload = (&call, &extensions, &implicit).encode();
    if payload.len() > 256 {
        payload = sp_io::hashing::blake2_256(&payload).to_vec();
    }
    let signature = MultiSignature::Sr25519(sr25519::Pair::from_string(uri, None).unwrap().sign(&payload));
    let signer = MultiAddress::Id(crate::client::account(uri));
    hex(UncheckedExtrinsic::new_signed(call, signer, signature, extensions).encode())
}

async fn included(client: &Client, uri: &str, call: impl Into<CallA>) -> H256 {
    let extrinsic = signed(client, uri, call.into(), client.nonce(uri).await);
    let mut watched = client.watch(&extrinsic).await.unwrap();
    loop {
        let status = watched.next().await.unwrap().unwrap();
        if let Some(block) = status.get("finalized") {
            return crate::client::h256(block);
        }
    }
}

async fn sudo(client: &Client, call: impl Into<CallA>) -> H256 {
    included(client, "//Alice", pallet_sudo::Call::sudo { call: Box::new(call.into()) }).await
}

async fn spec_version(client: &Client, block: H256) -> u64 {
    let version = client.ask("state_getRuntimeVersion", vec![json!(hex(block))]).await;
    let core = client.ask("state_call", vec![json!("Core_version"), json!("0x"), json!(hex(block))]).await;
    let core = sp_version::RuntimeVersion::decode(&mut &unhex(&core)[..]).unwrap();
    assert_eq!(version["specVersion"], core.spec_version);
    core.spec_version.into()
}

async fn metadata(client: &Client, block: H256) -> String {
    client.ask("state_getMetadata", vec![json!(hex(block))]).await.as_str().unwrap().to_owned()
}

async fn next(versions: &mut Subscription<Value>) -> u64 {
    let told = tokio::time::timeout(Duration::from_secs(10), versions.next()).await;
    told.unwrap().unwrap().unwrap()["specVersion"].as_u64().unwrap()
}

#[tokio::test]
async fn a_chain_begins_in_era_a_and_goes_on_in_era_b() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config {
        port: 0,
        block_time: Duration::from_millis(50),
        dir: Some(dir.path().to_owned()),
        spec: SpecVersion::Spec365,
        ..Default::default()
    };
    let chain = run(config()).await.unwrap();
    let client = Client::connect(&chain.url()).await;
    let mut versions = client
        .subscribe("state_subscribeRuntimeVersion", vec![], "state_unsubscribeRuntimeVersion")
        .await
        .unwrap();
    assert_eq!(next(&mut versions).await, 365);
    sudo(&client, Admin::sudo_set_admin_freeze_window { window: 0 }).await;
    let hotkey = crate::client::account("//Owner");
    included(&client, "//Alice", Subtensor::register_network { hotkey }).await;
    let netuid = 2u16;
    let before = sudo(&client, Admin::sudo_set_tempo { netuid, tempo: 5 }).await;
    let steps = b::LastMechansimStepBlock::<node_subtensor_runtime::Runtime>::hashed_key_for(netuid);
    let last_step = || client.storage::<u64>(&steps, None);
    while last_step().await.is_none() {
        client.blocks(1).await;
    }
    // Epochs of spec 365 are where block + netuid + 1 is a multiple of tempo + 1.
    assert_eq!((last_step().await.unwrap() + 3) % 6, 0);

    // Nobody but root, nothing unknown, nothing older.
    let set = |code: &[u8]| frame_system::Call::set_code { code: code.to_vec() };
    for code in [&b"nonsense"[..], SpecVersion::Spec365.code()] {
        let block = sudo(&client, set(code)).await;
        assert_eq!(spec_version(&client, block).await, 365);
    }
    let upgraded = sudo(&client, set(SpecVersion::Spec425.code())).await;
    assert_eq!(next(&mut versions).await, 425);
    let number = client.ask("chain_getHeader", vec![json!(hex(upgraded))]).await;
    let number =
        u32::from_str_radix(number["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    client.blocks(2).await;
    // As on Subtensor mainnet, the state after the block has the new runtime already.
    assert_eq!(spec_version(&client, client.hash(number - 1).await).await, 365);
    assert_eq!(spec_version(&client, upgraded).await, 425);
    assert_eq!(spec_version(&client, client.hash(number + 1).await).await, 425);
    let old = metadata(&client, before).await;
    assert_eq!(old, metadata(&client, client.genesis).await);
    assert_ne!(old, metadata(&client, upgraded).await);
    let events = frame_support::storage::storage_prefix(b"System", b"Events");
    type Records = Vec<frame_system::EventRecord<node_subtensor_365_runtime::RuntimeEvent, H256>>;
    let records: Records = client.storage(&events, Some(upgraded)).await.unwrap();
    let updated = |event: &node_subtensor_365_runtime::RuntimeEvent| {
        matches!(
            event,
            node_subtensor_365_runtime::RuntimeEvent::System(frame_system::Event::CodeUpdated { .. })
        )
    };
    assert!(records.iter().any(|record| updated(&record.event)));

    // What spec 365 signed is worth nothing any more; spec 425's calls go through, and its epochs follow the tempo.
    let stale = signed(
        &client,
        "//Alice",
        Admin::sudo_set_admin_freeze_window { window: 0 }.into(),
        client.nonce("//Alice").await,
    );
    assert_eq!(client.try_ask("author_submitExtrinsic", vec![json!(stale)]).await.unwrap_err().0, 1010);
    let call =
        node_subtensor_runtime::admin_utils::Call::sudo_set_max_epochs_per_block { max_epochs_per_block: 9 };
    client.sudo(CallB::from(call)).await;
    let epochs = b::SubnetEpochIndex::<node_subtensor_runtime::Runtime>::hashed_key_for(netuid);
    let then = client.storage::<u64>(&epochs, None).await.unwrap();
    assert!(then > 0, "the count goes on");
    client.blocks(12).await;
    assert!(client.storage::<u64>(&epochs, None).await.unwrap() >= then + 2);

    // The folder remembers.
    chain.stop().await.unwrap();
    let chain = run(config()).await.unwrap();
    let client = Client::connect(&chain.url()).await;
    assert_eq!(spec_version(&client, client.genesis).await, 365);
    let head = client.hash(client.head().await).await;
    assert_eq!(spec_version(&client, head).await, 425);
    chain.stop().await.unwrap();
}
