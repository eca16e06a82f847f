//! A client that this project did not write: `async-substrate-interface` from PyPI. Bittensor's own SDK meets the chain in
//! the workspace's `tests/chain_sdk.rs`.

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
