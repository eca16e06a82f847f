//! The chain is killed, and goes on from where it was.

use crate::client::{Client, account};
use node_subtensor_runtime::Runtime;
use sp_core::H256;
use sp_runtime::MultiAddress;
use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use templar_devchain::{ArchiveError, ChainError, Config, DevchainError, run};

const FOLDER: &str = "DEVCHAIN_TEST_FOLDER";

fn config(dir: &Path) -> Config {
    Config { port: 0, block_time: Duration::from_millis(20), dir: Some(dir.to_owned()), ..Default::default() }
}

/// Not a test of its own: the process that the test below starts and kills.
#[tokio::test]
async fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let dir = Path::new(&dir);
    let chain = run(config(dir)).await.unwrap();
    std::fs::write(dir.join("url.new"), chain.url()).unwrap();
    std::fs::rename(dir.join("url.new"), dir.join("url")).unwrap();
    chain.stopped().await.unwrap();
}

/// Ends with the test, whatever happens.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(dir: &Path) -> (Killed, Client) {
    let _ = std::fs::remove_file(dir.join("url"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["crash::child", "--exact"]).env(FOLDER, dir).stdout(Stdio::null());
    let child = Killed(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    let url = loop {
        if let Ok(url) = std::fs::read_to_string(dir.join("url")) {
            break url;
        }
        assert!(Instant::now() < deadline, "the chain does not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    (child, Client::connect(&url).await)
}

async fn free(client: &Client, block: H256) -> u64 {
    let key = frame_system::Account::<Runtime>::hashed_key_for(account("//Eve"));
    type Account = frame_system::AccountInfo<u32, pallet_balances::AccountData<u64>>;
    client.storage::<Account>(&key, Some(block)).await.unwrap().data.free
}

#[tokio::test]
async fn a_killed_chain_loses_nothing_that_anybody_saw() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen: Vec<(H256, u64)> = vec![];
    for round in 0..3u64 {
        let (child, client) = start(dir.path()).await;
        for (block, balance) in &seen {
            assert_eq!(free(&client, *block).await, *balance);
        }
        assert_eq!(u64::from(client.nonce("//Alice").await), round * 4);
        for _ in 0..4 {
            let dest = MultiAddress::Id(account("//Eve"));
            let call = pallet_balances::Call::transfer_keep_alive { dest, value: 1_000 };
            let block = client.submit("//Alice", call).await.block;
            seen.push((block, free(&client, block).await));
        }
        let taken = run(config(dir.path())).await.map(|_| ());
        assert!(matches!(taken, Err(DevchainError::Chain(ChainError::Archive(ArchiveError::InUse)))));
        // SIGKILL, at any point of a block.
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        drop(child);
        // And a write that did not come to its end.
        let file = std::fs::OpenOptions::new().append(true).open(dir.path().join("blocks"));
        file.unwrap().write_all(&[99, 0, 0, 0, 1, 2, 3][..2 + round as usize]).unwrap();
    }
    let balances: Vec<u64> = seen.iter().map(|(_, balance)| *balance).collect();
    assert!(balances.windows(2).all(|pair| pair[1] == pair[0] + 1_000), "{balances:?}");

    // In this process, gracefully this time; numbers and hashes go on.
    let chain = run(config(dir.path())).await.unwrap();
    let client = Client::connect(&chain.url()).await;
    client.blocks(2).await;
    let head = client.head().await;
    let hash = client.hash(head).await;
    chain.stop().await.unwrap();
    let chain = run(config(dir.path())).await.unwrap();
    let client = Client::connect(&chain.url()).await;
    assert!(client.head().await >= head);
    assert_eq!(client.hash(head).await, hash);
    assert_eq!(free(&client, seen[0].0).await, seen[0].1);
    chain.stop().await.unwrap();
}
