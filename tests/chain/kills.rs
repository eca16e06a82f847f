//! `templar weights set` and `weights reveal` killed at every moment around a salted commit: no salt is lost, nothing is committed
//! twice, everything is revealed.
//!
//! Four kills of each; `TEMPLAR_FULL_TESTS=1` makes forty.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::TryStreamExt as _;
use serde_json::Value;
use templar::chain::{AdminCall, Chain as _, HistoryPart, HistoryQuery, SubtensorClient};

use super::node::{Node, key, neurons, subnet, until};

/// Blocks between epochs. A commit is revealed in the epoch after its own.
const TEMPO: u16 = 40;
/// The latest moment of a kill after the start: by then a commit is final.
const LATEST: Duration = Duration::from_millis(1200);

struct Scene<'a> {
    network: &'a str,
    netuid: u16,
    miner: u16,
    commits: &'a Path,
}

impl Scene<'_> {
    fn start(&self, line: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(line.split(' ')).arg("--commits").arg(self.commits);
        command.args(["--wallet", "//validator", "--network", self.network]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn set(&self, n: usize) -> Child {
        self.start(&format!("weights set {}:1,0:{} --netuid {}", self.miner, n + 1, self.netuid))
    }

    fn kill_after(mut child: Child, moment: Duration) {
        let end = Instant::now() + moment;
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// The hashes in the file; empty if it is not there.
    fn kept(&self) -> BTreeSet<String> {
        let Ok(text) = std::fs::read(self.commits) else { return BTreeSet::new() };
        let commits: Vec<Value> = serde_json::from_slice(&text).expect("the file is whole at any moment");
        commits.iter().map(|commit| commit["hash"].as_str().unwrap().to_owned()).collect()
    }
}

async fn events(chain: &SubtensorClient, netuid: u16, from: u64) -> Vec<(String, String)> {
    let to = chain.head().await.unwrap().number;
    let parts: Vec<HistoryPart> =
        chain.weight_events(HistoryQuery::new(netuid, from, to)).try_collect().await.unwrap();
    let each = parts.into_iter().flat_map(|part| part.events);
    each.filter_map(|event| {
        let hash = format!("0x{}", hex::encode(event.what.commit()?.hash));
        Some((event.what.kind().to_owned(), hash))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_a_salt_or_commits_twice() {
    let kills = if std::env::var_os("TEMPLAR_FULL_TESTS").is_some() { 40 } else { 4 };
    let node = Node::start(0, None);
    let chain = node.client().await;
    let (netuid, alice) = (subnet(&chain).await, key("//Alice"));
    let keys = [key("//validator"), key("//miner")];
    let uids = neurons(&chain, netuid, &keys).await;
    until(&chain, netuid, |m| m.neuron(&keys[0].account()).unwrap().validator_permit).await;
    for call in [
        AdminCall::Tempo { netuid, blocks: TEMPO },
        AdminCall::CommitRevealVersion { version: 3 },
        AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true },
    ] {
        chain.sudo(call, &alice).await.unwrap();
    }
    let begin = chain.head().await.unwrap().number;
    let folder = tempfile::tempdir().unwrap();
    let commits = folder.path().join("commits.json");
    let scene = Scene { network: &node.url, netuid, miner: uids[1], commits: &commits };

    let (mut on_chain, mut unsent) = (0, 0);
    for n in 0..kills {
        let moment = LATEST * n as u32 / kills as u32;
        Scene::kill_after(scene.set(n), moment);
        // What the chain has of it is in the file, until it is revealed.
        let told = events(&chain, netuid, begin).await;
        let of = |kind: &str| -> BTreeSet<&String> {
            told.iter().filter(|(k, _)| k == kind).map(|(_, hash)| hash).collect()
        };
        let (known, revealed, kept) = (of("commit"), of("reveal"), scene.kept());
        for hash in known.difference(&revealed) {
            assert!(kept.contains(*hash), "kill {n} at {moment:?}: {hash} is on chain, and its salt is lost");
        }
        on_chain = on_chain.max(known.len());
        unsent += usize::from(kept.is_empty());
        // Its reveal, killed at another moment, and then again until nothing waits.
        Scene::kill_after(scene.start("weights reveal"), LATEST - moment);
        let end = Instant::now() + Duration::from_secs(60);
        while !scene.kept().is_empty() {
            let output = scene.start("weights reveal --wait").wait_with_output().unwrap();
            assert!(output.status.success(), "kill {n}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(Instant::now() < end, "kill {n}: {:?} is never revealed", scene.kept());
        }
    }
    let all = events(&chain, netuid, begin).await;
    let of = |kind: &str| -> Vec<&String> {
        all.iter().filter(|(k, _)| k == kind).map(|(_, hash)| hash).collect()
    };
    let (committed, revealed, lost) = (of("commit"), of("reveal"), of("never_revealed"));
    println!("{kills} kills: {} commits on chain, {unsent} killed before anything was kept", committed.len());
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(committed.iter().collect::<BTreeSet<_>>().len(), committed.len(), "no commit is made twice");
    assert_eq!(
        committed.iter().collect::<BTreeSet<_>>(),
        revealed.iter().collect::<BTreeSet<_>>(),
        "every commit is revealed"
    );
    assert!(committed.len() <= kills && committed.len() * 4 >= kills, "{} of {kills}", committed.len());
    assert!(on_chain > 0);
}
