//! Bittensor's own SDK on the same chain: templar reads what it wrote, and it reads what templar wrote.

use crate::support;
use std::{net::IpAddr, process::Command};

use super::node::{BLOCK, Node, key, neurons, subnet, until};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use templar::{
    chain::{
        AdminCall, Chain, CommitScheme, HistoryPart, HistoryQuery, MemoryBook, RevealState, SaltedCommit,
        SubtensorClient, WeightsRequest,
    },
    window::{Block, NetUid},
};

/// A version of the SDK that the development chain is shown to, and what uses it.
struct Sdk {
    package: &'static str,
    environment: &'static str,
    script: &'static str,
}

const TEN: Sdk = Sdk { package: "bittensor==10.5.0", environment: "bittensor", script: "bittensor_sdk.py" };
/// Shares no code with the one before.
const ELEVEN: Sdk =
    Sdk { package: "bittensor==11.3.0", environment: "bittensor11", script: "bittensor_sdk11.py" };

/// Runs the SDK's side and returns what it saw.
async fn sdk(version: &'static Sdk, node: &Node, netuid: NetUid, verb: &'static str) -> Value {
    sdk_with(version, node, netuid, verb, Vec::new()).await
}

async fn sdk_with(
    version: &'static Sdk,
    node: &Node,
    netuid: NetUid,
    verb: &'static str,
    arguments: Vec<String>,
) -> Value {
    let url = node.url.clone();
    let run = move || {
        let python = support::python(version.environment, &[version.package]);
        Command::new(python.trim())
            .arg(support::script(version.script))
            .args([url.as_str(), &netuid.to_string(), verb])
            .args(&arguments)
            // The SDK takes its arguments from the command line too, unless it is told not to.
            .env("BT_NO_PARSE_CLI_ARGS", "1")
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap()
}

fn did(saw: &Value, steps: &[&str]) {
    for step in steps {
        assert_eq!(saw[step], true, "{step}: {saw:#}");
    }
}

async fn parts(chain: &SubtensorClient, netuid: NetUid, from: Block) -> Vec<HistoryPart> {
    let to = chain.head().await.unwrap().number;
    chain.weight_events(HistoryQuery::new(netuid, from, to)).try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reads_what_the_other_wrote() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    // UID 0 is the owner's.
    let (validator, miner) = (key("//validator"), key("//miner"));
    let uids = neurons(&chain, netuid, &[validator.clone(), miner.clone()]).await;
    assert_eq!(uids, [1, 2]);
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    let before = chain.head().await.unwrap().number;

    // The SDK writes.
    let saw = sdk(&TEN, &node, netuid, "write").await;
    did(&saw, &["register", "commitment", "axon", "weights"]);
    let newcomer = key("//sdk-miner").account();
    assert_eq!((&saw["newcomer"], &saw["uid"]), (&json!(newcomer.to_string()), &json!(3)), "{saw:#}");

    // templar reads it.
    let metagraph = chain.metagraph(netuid, None).await.unwrap();
    let neuron = metagraph.neuron(&newcomer).unwrap();
    assert_eq!((neuron.uid, &neuron.coldkey), (3, &key("//Charlie").account()));
    let axon = neuron.details.as_ref().unwrap().axon.as_ref().unwrap();
    assert_eq!((axon.ip, axon.port), ("8.8.4.4".parse::<IpAddr>().unwrap(), 8124));
    let committed = chain.commitments(netuid, None).await.unwrap();
    assert_eq!(committed[&newcomer], [b"hello".to_vec()]);
    let row = chain.weights(netuid, 1, None).await.unwrap();
    assert_eq!(row, [(1, 16384), (2, 65535)], "{row:?}");
    let told: Vec<_> = parts(&chain, netuid, before).await.into_iter().flat_map(|p| p.events).collect();
    let [set] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!((set.what.kind(), set.validator_uid, set.what.weights()), ("set", Some(1), Some(&row[..])));
    assert_eq!(saw["last_update"][1], set.block);

    // templar writes.
    let late = key("//templar-miner");
    assert_eq!(chain.register(netuid, &late.account(), &key("//Bob")).await.unwrap(), 4);
    chain.commit(netuid, &[b"from templar".to_vec()], &late).await.unwrap();
    let set = chain.set_weights_unchecked(netuid, &[2, 4], &[65535, 21845], 0, &validator).await.unwrap();

    // The SDK reads it.
    let saw = sdk(&TEN, &node, netuid, "read").await;
    assert_eq!((&saw["n"], &saw["info"], &saw["tempo"]), (&json!(5), &json!(5), &json!(5)), "{saw:#}");
    assert_eq!(saw["hyperparameters"], 5);
    assert_eq!(saw["hotkeys"][4], late.account().to_string());
    // Whoever was paid has stake, and may get a permit of its own at any epoch: both are asked about one block.
    let then = chain.metagraph(netuid, saw["block"].as_u64()).await.unwrap();
    let permits: Vec<bool> = then.neurons.iter().map(|neuron| neuron.validator_permit).collect();
    assert_eq!(saw["permits"], json!(permits), "{saw:#}");
    assert!(permits[1]);
    // The SDK shows rows that sum to one.
    let weight = |uid: usize| saw["W"][1][uid].as_f64().unwrap();
    assert!((weight(2) - 0.75).abs() < 1e-4 && (weight(4) - 0.25).abs() < 1e-4, "{saw:#}");
    assert_eq!(saw["last_update"][1], set.block);
    assert_eq!(saw["commitments"][late.account().to_string()], "from templar", "{saw:#}");
    assert_eq!(saw["commitments"][newcomer.to_string()], "hello");
    assert!(saw["stake"].as_f64().unwrap() >= 1_000.0, "{saw:#}");

    // Under commit-reveal the SDK commits, and templar tells it.
    let enabled = AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true };
    chain.sudo(enabled, &key("//Alice")).await.unwrap();
    let from = chain.head().await.unwrap().number;
    let saw = sdk(&TEN, &node, netuid, "commit").await;
    did(&saw, &["weights"]);
    let told: Vec<_> = parts(&chain, netuid, from).await.into_iter().flat_map(|p| p.events).collect();
    let commit =
        told.iter().find(|event| event.what.kind() == "commit").unwrap_or_else(|| panic!("{told:#?}"));
    assert_eq!(commit.validator_uid, Some(1));
    assert_eq!(commit.what.commit().unwrap().scheme, CommitScheme::Timelocked);
}

/// The newest version beside the one before, on one chain: what each wrote the others read.
#[tokio::test(flavor = "multi_thread")]
async fn version_11_reads_and_writes_the_same_chain() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let (validator, miner) = (key("//validator"), key("//miner"));
    assert_eq!(neurons(&chain, netuid, &[validator.clone(), miner.clone()]).await, [1, 2]);
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    chain.commit(netuid, &[b"from templar".to_vec()], &miner).await.unwrap();
    let before = chain.head().await.unwrap().number;

    let saw = sdk(&ELEVEN, &node, netuid, "write").await;
    did(&saw, &["register", "commitment", "axon", "weights"]);
    let newcomer = key("//sdk11-miner").account();
    let metagraph = chain.metagraph(netuid, None).await.unwrap();
    let neuron = metagraph.neuron(&newcomer).unwrap();
    assert_eq!((neuron.uid, &neuron.coldkey), (3, &key("//Charlie").account()));
    let axon = neuron.details.as_ref().unwrap().axon.as_ref().unwrap();
    assert_eq!((axon.ip, axon.port), ("8.8.4.4".parse::<IpAddr>().unwrap(), 8125));
    assert_eq!(chain.commitments(netuid, None).await.unwrap()[&newcomer], [b"eleven".to_vec()]);
    let row = chain.weights(netuid, 1, None).await.unwrap();
    assert_eq!(row, [(1, 16384), (2, 65535)], "{row:?}");
    let told: Vec<_> = parts(&chain, netuid, before).await.into_iter().flat_map(|p| p.events).collect();
    let [set] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!((set.what.kind(), set.validator_uid, set.what.weights()), ("set", Some(1), Some(&row[..])));
    assert_eq!(saw["commitments"][miner.account().to_string()], "from templar", "{saw:#}");
    assert_eq!(saw["hotkeys"][3], newcomer.to_string());
    assert_eq!(saw["balance"], chain.balance(&key("//Charlie").account()).await.unwrap());

    // templar and version 10 write; version 11 reads.
    chain.set_weights_unchecked(netuid, &[2, 3], &[65535, 21845], 0, &validator).await.unwrap();
    let ten = sdk(&TEN, &node, netuid, "write").await;
    did(&ten, &["register", "commitment", "axon", "weights"]);
    let saw = sdk(&ELEVEN, &node, netuid, "read").await;
    assert_eq!(saw["hotkeys"][4], key("//sdk-miner").account().to_string());
    assert_eq!(saw["commitments"][key("//sdk-miner").account().to_string()], "hello", "{saw:#}");
    let share = saw["W"]["1"]["2"].as_f64().unwrap();
    assert!((share - 0.8).abs() < 1e-4, "{saw:#}");
    let ten = sdk(&TEN, &node, netuid, "read").await;
    assert_eq!(ten["commitments"][newcomer.to_string()], "eleven", "{ten:#}");

    // Under commit-reveal it commits, and templar tells it.
    chain.sudo(AdminCall::Tempo { netuid, blocks: 60 }, &key("//Alice")).await.unwrap();
    chain
        .sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &key("//Alice"))
        .await
        .unwrap();
    let from = chain.head().await.unwrap().number;
    let saw = sdk(&ELEVEN, &node, netuid, "commit").await;
    did(&saw, &["weights"]);
    let told: Vec<_> = parts(&chain, netuid, from).await.into_iter().flat_map(|p| p.events).collect();
    let commit =
        told.iter().find(|event| event.what.kind() == "commit").unwrap_or_else(|| panic!("{told:#?}"));
    assert_eq!(
        (commit.validator_uid, commit.what.commit().unwrap().scheme),
        (Some(1), CommitScheme::Timelocked)
    );
    // The chain opens it, so the SDK's timelock is the chain's.
    let opened = async {
        while chain.weights(netuid, 1, None).await.unwrap() != [(1, 16384), (2, 65535)] {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), opened).await.expect("it is opened");
}

/// What one commits to with a salt the other reveals, so both make the same hash of it.
#[tokio::test(flavor = "multi_thread")]
async fn salted_commits_are_the_same_to_both() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let (netuid, alice) = (subnet(&chain).await, key("//Alice"));
    let (validator, miner) = (key("//validator"), key("//miner"));
    assert_eq!(neurons(&chain, netuid, &[validator.clone(), miner.clone()]).await, [1, 2]);
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    for call in [
        AdminCall::Tempo { netuid, blocks: 60 },
        AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true },
        AdminCall::CommitRevealVersion { version: 3 },
    ] {
        chain.sudo(call, &alice).await.unwrap();
    }
    let due = async |commit: &SaltedCommit| {
        while chain.reveal_state(commit, &validator.account()).await.unwrap() != RevealState::Due {
            tokio::time::sleep(BLOCK).await;
        }
    };
    let row = async || chain.weights(netuid, 1, None).await.unwrap();
    let order = |weights| WeightsRequest { netuid, mechanism: 0, weights, version_key: 0 };

    // The SDK commits, templar reveals.
    let from = chain.head().await.unwrap().number;
    did(&sdk(&TEN, &node, netuid, "salted").await, &["salted"]);
    let told: Vec<_> = parts(&chain, netuid, from).await.into_iter().flat_map(|p| p.events).collect();
    let [event] = told.as_slice() else { panic!("{told:#?}") };
    let made = event.what.commit().unwrap();
    assert_eq!((made.scheme, event.validator_uid), (CommitScheme::Salted, Some(1)));
    let weights = vec![(1, 16384), (2, 65535)];
    let commit = SaltedCommit {
        request: order(weights.clone()),
        salt: vec![7, 8, 65535],
        hash: made.hash,
        hotkey: None,
        genesis: None,
        block: Some(event.block),
        until: None,
        hotkeys: Vec::new(),
    };
    due(&commit).await;
    chain.reveal_weights(&commit, &validator).await.unwrap();
    assert_eq!(row().await, weights);

    // templar commits, each of the versions reveals.
    for (version, weights) in [(&TEN, [(1, 65535), (2, 300)]), (&ELEVEN, [(1, 301), (2, 65535)])] {
        let given =
            chain.set_weights(&order(weights.to_vec()), &validator, &MemoryBook::default()).await.unwrap();
        let commit = given.salted.unwrap();
        due(&commit).await;
        let arguments = vec![json!(weights).to_string(), json!(commit.salt).to_string()];
        did(&sdk_with(version, &node, netuid, "reveal", arguments).await, &["reveal"]);
        assert_eq!(row().await, weights, "{}", version.package);
    }
}
