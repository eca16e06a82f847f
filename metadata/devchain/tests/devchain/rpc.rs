use crate::client::{Client, Refusal, account, h256, hex, unhex};
use node_subtensor_runtime::{Runtime, RuntimeCall, subtensor::Call as Subtensor};
use parity_scale_codec::{Decode, Encode};
use serde_json::{Value, json};
use sp_core::H256;
use sp_runtime::{MultiAddress, generic::Era};
use std::time::Duration;

fn transfer(rao: u64) -> RuntimeCall {
    let dest = MultiAddress::Id(account("//Eve"));
    pallet_balances::Call::transfer_keep_alive { dest, value: rao }.into()
}

fn refused(code: i32, message: &str, data: &str) -> Refusal {
    (code, message.to_owned(), data.to_owned())
}

fn invalid(data: &str) -> Refusal {
    refused(1010, "Invalid Transaction", data)
}

#[tokio::test]
async fn every_block_and_state_stays_readable() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    let free = |block: Option<H256>| {
        let key = frame_system::Account::<Runtime>::hashed_key_for(account("//Eve"));
        let client = &client;
        async move {
            type Account = frame_system::AccountInfo<u32, pallet_balances::AccountData<u64>>;
            client.storage::<Account>(&key, block).await.unwrap().data.free
        }
    };
    let first = client.submit("//Alice", transfer(700)).await;
    let second = client.submit("//Alice", transfer(30)).await;
    let start = free(Some(client.genesis)).await;
    assert_eq!(free(Some(first.block)).await, start + 700);
    assert_eq!(free(Some(second.block)).await, start + 730);
    assert_eq!(free(None).await, start + 730);

    // `state_call` answers for the block that it is asked about.
    let nonce = |block: H256| {
        let (name, data) = ("AccountNonceApi_account_nonce", hex(account("//Alice").encode()));
        let client = &client;
        async move {
            let answer = client.ask("state_call", vec![json!(name), json!(data), json!(hex(block))]).await;
            u32::decode(&mut &unhex(&answer)[..]).unwrap()
        }
    };
    assert_eq!((nonce(client.genesis).await, nonce(first.block).await), (0, 1));
    assert_eq!(nonce(second.block).await, 2);

    // Headers are linked, and time goes forward.
    let mut time = 0;
    for number in 1..=client.head().await {
        let hash = client.hash(number).await;
        let header = client.ask("chain_getHeader", vec![json!(hex(hash))]).await;
        assert_eq!(h256(&header["parentHash"]), client.hash(number - 1).await);
        let now = client.storage(&pallet_timestamp::Now::<Runtime>::hashed_key(), Some(hash)).await;
        assert!(now.unwrap() > time);
        time = now.unwrap();
    }
    let hashes = client.ask("chain_getBlockHash", vec![json!([0, "0x1", 4_000_000])]).await;
    assert_eq!(hashes, json!([hex(client.genesis), hex(client.hash(1).await), null]));

    let keys = |start: Option<String>, count: u32| {
        let prefix = hex(frame_support::storage::storage_prefix(b"System", b"Account"));
        client.ask("state_getKeysPaged", vec![json!(prefix), json!(count), json!(start)])
    };
    let page = keys(None, 3).await;
    let last = page[2].as_str().map(str::to_owned);
    assert_eq!(page.as_array().unwrap().len(), 3);
    let rest = keys(last.clone(), 1_000).await;
    assert!(rest.as_array().unwrap().len() >= 6 && rest[0].as_str() > last.as_deref());

    let unknown = json!(hex([7u8; 32]));
    assert_eq!(client.ask("chain_getHeader", vec![unknown.clone()]).await, Value::Null);
    let refusal = client.try_ask("state_getStorage", vec![json!("0x00"), unknown]).await.unwrap_err();
    assert_eq!(refusal.0, 4003);
    let refusal = client.try_ask("state_call", vec![json!("No_such"), json!("0x")]).await.unwrap_err();
    assert!(refusal.1.contains("No_such is not found"), "{refusal:?}");
    // A call with rubbish panics in the runtime, not in the node.
    let refusal = client.try_ask("state_call", vec![json!("AccountNonceApi_account_nonce"), json!("0x")]);
    assert_eq!(refusal.await.unwrap_err().0, 4003);
    let methods = client.ask("rpc_methods", vec![]).await["methods"].to_string();
    assert!(!methods.contains("chainHead_") && !methods.contains("archive_"));
    chain.stop().await.unwrap();
}

#[tokio::test]
async fn bad_extrinsics_are_refused_with_the_codes_that_clients_know() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    let submit = |extrinsic: String| client.try_ask("author_submitExtrinsic", vec![json!(extrinsic)]);
    client.submit("//Alice", transfer(1)).await;

    let stale = client.immortal("//Alice", transfer(2), 0);
    assert_eq!(submit(stale).await, Err(invalid("Transaction is outdated")));
    let good = client.immortal("//Alice", transfer(2), 1);
    let mut bytes = unhex(&json!(good));
    // The length, the version, the signer and the kind of signature come before.
    bytes[2 + 1 + 33 + 1] ^= 1;
    assert_eq!(submit(hex(&bytes)).await, Err(invalid("Transaction has a bad signature")));
    let mut elsewhere = Client::connect(&chain.url()).await;
    elsewhere.genesis = H256::repeat_byte(1);
    let foreign = elsewhere.immortal("//Alice", transfer(2), 1);
    assert_eq!(submit(foreign).await, Err(invalid("Transaction has a bad signature")));
    let pauper = client.immortal("//Pauper", transfer(2), 0);
    let text = "Inability to pay some fees (e.g. account balance too low)";
    assert_eq!(submit(pauper).await, Err(invalid(text)));
    let axon = Subtensor::serve_axon {
        netuid: 1,
        version: 1,
        ip: 1,
        port: 1,
        ip_type: 4,
        protocol: 4,
        placeholder1: 0,
        placeholder2: 0,
    };
    let unregistered = client.immortal("//Pauper", axon.into(), 0);
    assert_eq!(submit(unregistered).await, Err(invalid("Custom error: 10")));
    assert_eq!(submit("0x00".into()).await.unwrap_err().0, 1001);
    assert_eq!(submit(hex([bytes.as_slice(), &[0]].concat())).await.unwrap_err().0, 1001);
    // An inherent is none of a client's business, nor is what nobody signed.
    let inherent = pallet_timestamp::Call::<Runtime>::set { now: 1 }.into();
    let inherent = node_subtensor_runtime::UncheckedExtrinsic::new_bare(inherent);
    assert_eq!(submit(hex(inherent.encode())).await.unwrap_err().0, 1010);
    let bare = node_subtensor_runtime::UncheckedExtrinsic::new_bare(transfer(1));
    assert_eq!(submit(hex(bare.encode())).await.unwrap_err().0, 1011);

    // These wait for nonce 1, so that they can be compared.
    let (second, other) =
        (client.immortal("//Alice", transfer(2), 2), client.immortal("//Alice", transfer(3), 2));
    submit(second.clone()).await.unwrap();
    assert_eq!(submit(second.clone()).await.unwrap_err().0, 1013);
    assert_eq!(submit(other).await.unwrap_err().0, 1014);
    assert_eq!(client.ask("author_pendingExtrinsics", vec![]).await, json!([second]));
    assert_eq!(client.nonce("//Alice").await, 1);
    chain.stop().await.unwrap();
}

#[tokio::test]
async fn eras_end() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    client.blocks(2).await;
    let head = client.head().await;
    let (era, born) = (Era::mortal(32, head.into()), client.hash(head).await);
    let late = client.signed("//Alice", transfer(1), 1, era, born);
    let timely = client.signed("//Bob", transfer(1), 0, era, born);
    let mut statuses = client.watch(&timely).await.unwrap();
    assert_eq!(statuses.next().await.unwrap().unwrap(), "ready");
    // This one waits for a nonce that never comes, until its era is over.
    let mut waiting = client.watch(&late).await.unwrap();
    assert_eq!(waiting.next().await.unwrap().unwrap(), "future");
    assert_eq!(waiting.next().await.unwrap().unwrap(), "invalid");
    assert!(client.head().await >= head + 31);
    client.blocks(2).await;
    let forged = client.signed("//Bob", transfer(1), 1, era, born);
    let refusal = client.try_ask("author_submitExtrinsic", vec![json!(forged)]).await;
    assert_eq!(refusal, Err(invalid("Transaction has a bad signature")));
    chain.stop().await.unwrap();
}

#[tokio::test]
async fn an_extrinsic_waits_for_the_nonce_before_it() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    let mut second = client.watch(&client.immortal("//Alice", transfer(2), 1)).await.unwrap();
    assert_eq!(second.next().await.unwrap().unwrap(), "future");
    client.blocks(2).await;
    let mut first = client.watch(&client.immortal("//Alice", transfer(1), 0)).await.unwrap();
    assert_eq!(first.next().await.unwrap().unwrap(), "ready");
    assert_eq!(second.next().await.unwrap().unwrap(), "ready");
    let included = second.next().await.unwrap().unwrap();
    assert_eq!(first.next().await.unwrap().unwrap(), included, "both go into one block");
    assert_eq!(second.next().await.unwrap().unwrap(), json!({ "finalized": included["inBlock"] }));
    chain.stop().await.unwrap();
}

#[tokio::test]
async fn subscriptions_leave_nothing_out_and_end() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    for (subscribe, unsubscribe) in [
        ("chain_subscribeNewHeads", "chain_unsubscribeNewHeads"),
        ("chain_subscribeAllHeads", "chain_unsubscribeAllHeads"),
        ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads"),
    ] {
        let mut heads = client.subscribe(subscribe, vec![], unsubscribe).await.unwrap();
        let mut numbers = vec![];
        for pause in [0, 300, 0, 0, 0] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let header = heads.next().await.unwrap().unwrap();
            numbers.push(header["number"].as_str().unwrap().trim_start_matches("0x").to_owned());
        }
        let numbers: Vec<u32> = numbers.iter().map(|text| u32::from_str_radix(text, 16).unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        heads.unsubscribe().await.unwrap();
    }
    let key = hex(pallet_timestamp::Now::<Runtime>::hashed_key());
    let still = hex(pallet_sudo::Key::<Runtime>::hashed_key());
    let keys = vec![json!([key, still])];
    let mut storage =
        client.subscribe("state_subscribeStorage", keys, "state_unsubscribeStorage").await.unwrap();
    let all = storage.next().await.unwrap().unwrap();
    assert_eq!(all["changes"].as_array().unwrap().len(), 2);
    let changed = storage.next().await.unwrap().unwrap();
    assert_eq!(changed["changes"][0][0], json!(key));
    assert_eq!(changed["changes"].as_array().unwrap().len(), 1);
    let wildcard = client.subscribe("state_subscribeStorage", vec![], "state_unsubscribeStorage").await;
    assert_eq!(wildcard.unwrap_err().0, -32602);
    let mut version = client
        .subscribe("state_subscribeRuntimeVersion", vec![], "state_unsubscribeRuntimeVersion")
        .await
        .unwrap();
    assert_eq!(version.next().await.unwrap().unwrap()["specVersion"], 425);
    // The chain ends, though two subscriptions are open.
    tokio::time::timeout(Duration::from_secs(5), chain.stop()).await.unwrap().unwrap();
}
