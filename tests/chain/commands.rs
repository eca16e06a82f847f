//! The verbs that read and change the chain, as a person or a script uses them.

use std::{path::Path, process::Command};

use super::node::{Node, key, neurons, subnet, until};
use serde_json::{Value, json};
use templar::{
    chain::{Chain, RAO_PER_TAO},
    wallet::Wallet,
};

/// What a run of the program left: exit code, stdout, stderr.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }

    /// The failure's code, after a look at its form: nothing on stdout, one sentence, a hint.
    fn failure(&self) -> i32 {
        assert_eq!(self.out, "", "a failure has no result");
        let lines: Vec<&str> = self.err.lines().collect();
        assert!(lines.iter().any(|line| line.starts_with("error: ")), "{}", self.err);
        assert!(lines.iter().any(|line| line.trim_start().starts_with("hint: ")), "{}", self.err);
        self.code
    }
}

fn templar(wallets: &Path, network: &str, line: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    command.args(line.split(' ')).env("BT_WALLET_PATH", wallets).env("BT_SUBTENSOR_NETWORK", network);
    for name in ["BT_WALLET_NAME", "BT_WALLET_HOTKEY", "RUST_LOG"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn wallets_are_made_shown_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| templar(folder.path(), "local", line);
    assert_eq!(run("wallet list --json").json(), json!([]));
    let made = run("wallet new cold/hot --json").json();
    let shown = run("wallet show cold/hot --json").json();
    assert_eq!(made, shown);
    assert_eq!(made["wallet"], "cold/hot");
    let second = run("wallet new cold/hot2 --json").json();
    assert_eq!(second["coldkey"], made["coldkey"]);
    assert_ne!(second["hotkey"], made["hotkey"]);
    let list = run("wallet list --json").json();
    assert_eq!(
        list[0]["hotkeys"],
        json!([
            {"name": "hot", "account": made["hotkey"]},
            {"name": "hot2", "account": second["hotkey"]},
        ])
    );
    let table = run("wallet list");
    assert!(table.out.starts_with("WALLET  HOTKEY  ADDRESS\n"), "{}", table.out);
    let alice = run("wallet show //Alice").out;
    assert!(alice.contains("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"), "{alice}");

    assert_eq!(run("wallet new cold/hot").failure(), 3);
    assert_eq!(run("wallet new cold").failure(), 2);
    assert_eq!(run("wallet new ../out/hot").failure(), 3);
    assert_eq!(run("wallet show nobody").failure(), 3);
    // Whatever is said, no phrase and no seed is in it.
    let keypair = std::fs::read_to_string(folder.path().join("cold/hotkeys/hot")).unwrap();
    let fields: Value = serde_json::from_str(&keypair).unwrap();
    let all = format!("{}{}{}", table.out, run("wallet show cold/hot").out, run("wallet new cold/x").err);
    for secret in ["secretPhrase", "secretSeed", "privateKey"] {
        assert!(!all.contains(fields[secret].as_str().unwrap()), "{secret} is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotkey_registers_and_everybody_can_read_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let run = |line: String| templar(folder.path(), &node.url, &line);

    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let (coldkey, hotkey) = (wallet.create_coldkey().unwrap(), wallet.create_hotkey().unwrap());
    let poor = run(format!("register --yes --netuid {netuid} --wallet cold/hot"));
    assert_eq!(poor.failure(), 5, "{}", poor.err);
    chain.transfer(&coldkey, 100 * RAO_PER_TAO, &key("//Alice")).await.unwrap();
    assert_eq!(run(format!("register --netuid {netuid} --wallet cold/hot --max-cost 0.0001")).failure(), 5);
    let first = run(format!("register -y --netuid {netuid} --wallet cold/hot --json")).json();
    assert_eq!(first["registered_now"], true);
    let again = run(format!("register --netuid {netuid} --wallet hot --wallet.name cold --json")).json();
    assert_eq!((&again["uid"], &again["registered_now"]), (&first["uid"], &json!(false)));

    let validator = key("//validator");
    let uids = neurons(&chain, netuid, std::slice::from_ref(&validator)).await;
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    let miner = first["uid"].as_u64().unwrap() as u16;
    let set = chain.set_weights_unchecked(netuid, &[miner], &[1], 0, &validator).await.unwrap();

    let metagraph = run(format!("metagraph --netuid {netuid} --json")).json();
    assert_eq!(metagraph["leader"], uids[0]);
    let neuron = &metagraph["neurons"][usize::from(miner)];
    assert_eq!((&neuron["hotkey"], &neuron["coldkey"]), (&json!(hotkey), &json!(coldkey)));
    for field in [
        "uid",
        "stake",
        "active",
        "validator_permit",
        "consensus",
        "incentive",
        "dividends",
        "validator_trust",
        "emission",
        "last_update",
        "block_at_registration",
    ] {
        assert!(!neuron[field].is_null(), "{field}");
    }
    let old = run(format!("metagraph --netuid {netuid} --block {} --json", set.block)).json();
    assert_eq!(old["block"], set.block);
    let table = run(format!("metagraph --netuid {netuid}")).out;
    assert!(table.lines().any(|line| line.contains(" leader ")), "{table}");
    assert!(table.contains(&hotkey.to_string()));

    let history = run(format!("weights history --netuid {netuid} --validator {} --json", uids[0])).json();
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(
        (&history[0]["block"], &history[0]["validator_uid"], &history[0]["weights"]),
        (&json!(set.block), &json!(uids[0]), &json!([[miner, 65535]]))
    );
    assert_eq!(history[0]["time_ms"], chain.timestamp_ms(set.block).await.unwrap());
    let text = run(format!("weights history --netuid {netuid} --from {} --to {}", set.block, set.block)).out;
    assert!(text.contains(&format!("{miner}:65535")), "{text}");
    let before = format!("weights history --netuid {netuid} --from 1 --to {} --json", set.block - 1);
    assert_eq!(run(before).json(), json!([]));

    for (line, code) in [
        ("metagraph --netuid 999".to_owned(), 5),
        (format!("metagraph --netuid {netuid} --block 99999999"), 5),
        ("weights history --netuid 999".to_owned(), 5),
        (format!("weights history --netuid {netuid} --from 5 --to 3"), 2),
        (format!("weights history --netuid {netuid} --from 99999999"), 5),
        ("register --netuid 999 --wallet cold/hot".to_owned(), 5),
        (format!("register --netuid {netuid} --wallet nobody"), 3),
        (format!("register --netuid {netuid} --wallet cold/none"), 3),
        (format!("metagraph --netuid {netuid} --network nowhere"), 2),
        (format!("metagraph --netuid {netuid} --network ws://127.0.0.1:1"), 4),
    ] {
        let failed = run(line.clone());
        assert_eq!(failed.failure(), code, "{line}: {}", failed.err);
    }
}
