//! A development chain in a process of its own, and a subnet on it.
#![allow(dead_code, reason = "each test uses a part of this")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use templar::{
    chain::{AdminCall, Chain, Metagraph, RAO_PER_TAO, SubtensorClient, endpoint},
    wallet::Keypair,
    window::{Block, NetUid},
};

/// Time between two blocks: quick, and still more than a request takes on a busy machine.
pub const BLOCK: Duration = Duration::from_millis(200);
/// What nothing here takes as long as.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running node. It is killed, without a chance to tidy up, when this is dropped.
pub struct Node {
    process: Child,
    /// Where it listens.
    pub url: String,
}

impl Node {
    /// Starts one on that port (0: a free one), which keeps its blocks in `dir` if there is one.
    pub fn start(port: u16, dir: Option<&Path>) -> Self {
        Self::begin("425", port, dir, BLOCK)
    }

    /// [`Self::start`], with flags of `templar devchain` more.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::begin_with("425", 0, None, BLOCK, flags)
    }

    /// [`Self::start`], with another version of Subtensor's runtime.
    pub fn start_spec(spec: &str, port: u16, dir: Option<&Path>) -> Self {
        Self::begin(spec, port, dir, BLOCK)
    }

    /// As [`Self::start`], with another time between blocks.
    pub fn start_at_pace(port: u16, dir: Option<&Path>, block: Duration) -> Self {
        Self::begin("425", port, dir, block)
    }

    /// As [`Self::start_spec`], with another time between blocks.
    pub fn start_spec_at_pace(spec: &str, block: Duration) -> Self {
        Self::begin(spec, 0, None, block)
    }

    fn begin(spec: &str, port: u16, dir: Option<&Path>, block: Duration) -> Self {
        Self::begin_with(spec, port, dir, block, &[])
    }

    fn begin_with(spec: &str, port: u16, dir: Option<&Path>, block: Duration, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(["devchain", "--spec", spec, "--port", &port.to_string()]).args(flags);
        command.args(["--block-time", &format!("{}ms", block.as_millis())]);
        if let Some(dir) = dir {
            command.arg("--dir").arg(dir);
        }
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ws://"), "the node said {line:?}");
        Self { process, url: line.trim().to_owned() }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        endpoint(&self.url).unwrap().port().unwrap()
    }

    /// A client of it.
    pub async fn client(&self) -> SubtensorClient {
        SubtensorClient::connect(&endpoint(&self.url).unwrap()).await.unwrap()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

/// The key of a development account.
pub fn key(uri: &str) -> Keypair {
    Keypair::from_uri(uri).unwrap()
}

/// Makes a subnet that //Alice owns, with quick epochs, weights without limits, and no commit-reveal.
pub async fn subnet(chain: &SubtensorClient) -> NetUid {
    let alice = key("//Alice");
    chain.sudo(AdminCall::AdminFreezeWindow { blocks: 0 }, &alice).await.unwrap();
    let netuid = chain.register_network(&alice.account(), &alice).await.unwrap();
    for call in [
        AdminCall::Tempo { netuid, blocks: 5 },
        AdminCall::WeightsSetRateLimit { netuid, blocks: 0 },
        AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false },
    ] {
        chain.sudo(call, &alice).await.unwrap();
    }
    chain.start_call(netuid, &alice).await.unwrap();
    netuid
}

/// Registers these hotkeys for the coldkey //Bob, and stakes to the first.
pub async fn neurons(chain: &SubtensorClient, netuid: NetUid, hotkeys: &[Keypair]) -> Vec<u16> {
    let bob = key("//Bob");
    let mut uids = Vec::new();
    for hotkey in hotkeys {
        uids.push(chain.register(netuid, &hotkey.account(), &bob).await.unwrap());
    }
    chain.add_stake(netuid, &hotkeys[0].account(), 1000 * RAO_PER_TAO, &bob).await.unwrap();
    uids
}

/// Waits until the metagraph is as wanted.
pub async fn until(
    chain: &SubtensorClient,
    netuid: NetUid,
    wanted: impl Fn(&Metagraph) -> bool,
) -> Metagraph {
    let wait = async {
        loop {
            let metagraph = chain.metagraph(netuid, None).await.unwrap();
            if wanted(&metagraph) {
                return metagraph;
            }
            tokio::time::sleep(BLOCK).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

/// Waits for a block.
pub async fn reach(chain: &SubtensorClient, block: Block) {
    let wait = async {
        while chain.head().await.unwrap().number < block {
            tokio::time::sleep(BLOCK / 2).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}
