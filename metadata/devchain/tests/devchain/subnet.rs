//! A subnet from nothing, as a local network sets one up.

use crate::client::{Client, account};
use node_subtensor_runtime::{
    Runtime,
    admin_utils::Call as Admin,
    commitments::{Call as Commitments, CommitmentInfo, CommitmentOf, Data},
    subtensor::{self, Call as Subtensor},
};

/// Makes subnet 2 with a validator at UID 1, which may set weights, and a miner at UID 2.
pub async fn subnet(client: &Client) {
    client.sudo(Admin::sudo_set_admin_freeze_window { window: 0 }).await;
    client.submit("//Alice", Subtensor::register_network { hotkey: account("//Owner") }).await;
    let netuid = 2;
    client.sudo(Admin::sudo_set_tempo { netuid, tempo: 5 }).await;
    client.sudo(Admin::sudo_set_weights_set_rate_limit { netuid, weights_set_rate_limit: 0 }).await;
    client.sudo(Admin::sudo_set_commit_reveal_weights_enabled { netuid, enabled: false }).await;
    client.submit("//Alice", Subtensor::start_call { netuid }).await;
    for hotkey in ["//Validator", "//Miner"] {
        client.submit("//Bob", Subtensor::burned_register { netuid, hotkey: account(hotkey) }).await;
    }
    let stake =
        Subtensor::add_stake { hotkey: account("//Validator"), netuid, amount_staked: 1_000_000_000_000 };
    client.submit("//Bob", stake).await;
    // The next epoch gives the permit.
    let permits = subtensor::ValidatorPermit::<Runtime>::hashed_key_for(netuid);
    while client.storage::<Vec<bool>>(&permits, None).await.unwrap().get(1) != Some(&true) {
        client.blocks(1).await;
    }
}

#[tokio::test]
async fn from_nothing_to_incentive() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    subnet(&client).await;

    // A hotkey without any balance commits and sets weights.
    let credential = Data::Raw(vec![b'x'; 128].try_into().unwrap());
    let info = Box::new(CommitmentInfo { fields: vec![credential.clone()].try_into().unwrap() });
    client.submit("//Miner", Commitments::set_commitment { netuid: 2, info }).await;
    let key = CommitmentOf::<Runtime>::hashed_key_for(2, account("//Miner"));
    type Stored = node_subtensor_runtime::commitments::Registration<u64, sp_core::ConstU32<3>, u32>;
    assert_eq!(client.storage::<Stored>(&key, None).await.unwrap().info.fields[..], [credential]);

    // A miner has no permit, and the chain says so by name. What it earns later is stake, and gives it one with the next epoch.
    let others = Subtensor::set_weights { netuid: 2, dests: vec![1], weights: vec![1], version_key: 0 };
    let failed = client.try_submit("//Miner", others).await;
    let failed = failed.unwrap().failure();
    assert_eq!(failed, Some(subtensor::Error::<Runtime>::NeuronNoValidatorPermit.into()));

    let weights = Subtensor::set_weights { netuid: 2, dests: vec![2], weights: vec![1], version_key: 0 };
    let set = client.submit("//Validator", weights).await;
    let key = subtensor::Weights::<Runtime>::hashed_key_for(2, 1);
    assert_eq!(client.storage(&key, Some(set.block)).await, Some(vec![(2u16, 65_535u16)]));
    assert_eq!(client.storage::<Vec<(u16, u16)>>(&key, Some(client.genesis)).await, None);

    let incentive = subtensor::Incentive::<Runtime>::hashed_key_for(2);
    while client.storage(&incentive, None).await != Some(vec![0u16, 0, 65_535]) {
        client.blocks(1).await;
    }
    let earned = subtensor::TotalHotkeyAlpha::<Runtime>::hashed_key_for(account("//Miner"), 2);
    assert!(client.storage::<u64>(&earned, None).await.unwrap() > 0);

    // Root fails inside of sudo.
    let call = Box::new(Admin::sudo_set_tempo { netuid: 99, tempo: 1 }.into());
    let failed = client.try_submit("//Alice", pallet_sudo::Call::sudo { call }).await.unwrap();
    let missing = node_subtensor_runtime::admin_utils::Error::<Runtime>::SubnetDoesNotExist;
    assert_eq!(failed.failure(), Some(missing.into()));
    chain.stop().await.unwrap();
}
