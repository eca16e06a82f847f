//! Clients that this project did not write: `async-substrate-interface` and Bittensor's own SDK from PyPI.

use crate::{client::Client, subnet::subnet};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A Python with the packages; installed on the first call.
fn python(packages: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(root.join("scripts/venv"))
        .args(packages)
        .stderr(Stdio::inherit())
        .output()
        .expect("scripts/venv can be run");
    assert!(output.status.success(), "scripts/venv failed");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_metadata_storage_and_events_and_submits() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    subnet(&client).await;
    // The client sets weights twice: the second time is too soon.
    let netuid = 2;
    client
        .sudo(node_subtensor_runtime::admin_utils::Call::sudo_set_weights_set_rate_limit {
            netuid,
            weights_set_rate_limit: 30,
        })
        .await;
    client.blocks(30).await;
    let url = chain.url();
    let run = move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/client.py");
        let packages = ["substrate", "async-substrate-interface==2.2.1", "bittensor-wallet==4.1.1"];
        Command::new(python(&packages)).arg(script).args([url.as_str(), "2"]).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let saw: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap();

    assert_eq!(saw["chain"], "Templar Development");
    let calls = saw["calls"].as_array().unwrap();
    for call in ["SubtensorModule.set_weights", "Commitments.set_commitment"] {
        assert!(calls.contains(&json!(call)), "{calls:?}");
    }
    assert_eq!(saw["transferred"], 1_500_000_000);
    assert_eq!((&saw["transfer_ok"], &saw["weights_ok"]), (&json!(true), &json!(true)));
    assert_eq!(saw["weights"], json!([[0, 65_535], [1, 7]]));
    assert_eq!(saw["weights_then"], json!([]));
    assert_eq!((&saw["keys"], &saw["hotkey"]), (&json!(3), &json!(true)));
    assert_eq!(saw["tempo_default"], 360);
    let events = saw["events"].as_array().unwrap();
    assert!(events.contains(&json!(["SubtensorModule", "WeightsSet"])), "{events:?}");
    let refusal = saw["refusal"].as_str().unwrap();
    assert!(refusal.contains("Custom error: 6"), "{refusal}");
    assert_eq!(saw["failed"]["name"], "CommitRevealEnabled");
    chain.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bittensors_own_sdk_registers_sets_weights_and_reads_the_metagraph() {
    let chain = crate::chain().await;
    let client = Client::connect(&chain.url()).await;
    subnet(&client).await;
    let url = chain.url();
    let run = move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/sdk.py");
        let python = python(&["bittensor", "bittensor==10.5.0"]);
        // The SDK takes its arguments from the command line too, unless it is told not to.
        Command::new(python).arg(script).args([url.as_str(), "2"]).env("BT_NO_PARSE_CLI_ARGS", "1").output()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let saw: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap();
    for step in ["register", "commitment", "weights"] {
        assert_eq!(saw[step], true, "{saw:#}");
    }
    assert_eq!((&saw["n"], &saw["uid"], &saw["info"]), (&json!(4), &json!(3), &json!(4)), "{saw:#}");
    assert_eq!(saw["hotkeys"][3], saw["newcomer"]);
    assert_eq!(saw["permits"], json!([true, true, false, false]));
    // The SDK shows rows that sum to one.
    assert!((saw["W"][1][2].as_f64().unwrap() - 0.8).abs() < 1e-4, "{saw:#}");
    assert_eq!((&saw["committed"], &saw["tempo"]), (&json!("hello"), &json!(5)));
    assert_eq!(saw["hyperparameters"], 5);
    assert!(saw["stake"].as_f64().unwrap() >= 1_000.0, "{saw:#}");
    chain.stop().await.unwrap();
}
