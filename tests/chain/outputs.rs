//! The outputs that scripts and people rely on: the shape of each `--json` document, and the words of each table.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test --workspace --test chain outputs`.

use std::{fmt::Write as _, path::Path, process::Command};

use super::node::{Node, key, neurons, subnet, until};
use crate::support::forms::{shape, words};
use serde_json::Value;
use templar::chain::RAO_PER_TAO;

fn run(folder: &Path, url: &str, line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    command.args(line.split(' ')).current_dir(folder);
    command.env("BT_WALLET_PATH", folder).env("BT_SUBTENSOR_NETWORK", url);
    for name in ["BT_WALLET_NAME", "BT_WALLET_HOTKEY", "BT_WALLET_PASSWORD", "TEMPLAR_LOG"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_output_has_the_form_that_was_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let validator = key("//validator");
    let uids = neurons(&chain, netuid, &[validator.clone(), key("//miner")]).await;
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    let miner = uids[1];
    let first = chain.set_weights_unchecked(netuid, &[miner], &[1], 0, &validator).await.unwrap().block;
    chain.transfer(&key("//new").account(), 100 * RAO_PER_TAO, &key("//Alice")).await.unwrap();
    let run = |line: &str| {
        let line = line.replace("ALICE", &key("//Alice").account().to_string());
        let line = line.replace("VALIDATOR", &validator.account().to_string());
        let line = line.replace("NETUID", &netuid.to_string()).replace("MINER", &miner.to_string());
        run(folder.path(), &node.url, &line.replace("FIRST", &first.to_string()))
    };

    let (mut shapes, mut texts) = (String::new(), String::new());
    for line in [
        "wallet new cold/hot",
        "wallet list",
        "wallet show cold/hot",
        "metagraph --netuid NETUID",
        "weights history --netuid NETUID --from FIRST --to FIRST",
        "weights set MINER:1 --netuid NETUID --wallet //validator --dry-run",
        "weights set MINER:1 --netuid NETUID --wallet //validator",
        "register --netuid NETUID --wallet //new --dry-run",
        "balance --wallet //new",
        "transfer --to ALICE --amount 1 --wallet //new --dry-run",
        "stake add --netuid NETUID --amount 1 --for VALIDATOR --wallet //new --dry-run",
        "stake show --wallet //Bob",
        "subnets list",
        "subnets show --netuid NETUID",
        "serve axon --netuid NETUID --ip 203.0.113.7 --port 8091 --wallet //miner --dry-run",
        "chain check",
    ] {
        if !line.starts_with("wallet new") {
            writeln!(texts, "$ templar {line}\n{}", words(&run(line))).unwrap();
        }
        let json: Value = serde_json::from_str(&run(&format!("{line} --json"))).unwrap();
        writeln!(shapes, "$ templar {line} --json\n{:#}\n", shape(&json)).unwrap();
    }
    insta::assert_snapshot!("json", shapes);
    insta::assert_snapshot!("text", texts);
}
