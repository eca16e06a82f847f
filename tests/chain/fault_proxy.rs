//! Proxies between program and chain that lose, cut, refuse and lie: whatever is said of a transaction is true of the chain.
//!
//! 24 attempts; `TEMPLAR_FULL_TESTS=1` makes 200.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use templar::chain::{Chain, ChainError, Endpoints, MemoryBook, SubtensorClient, WeightsRequest, endpoint};

use super::node::{Node, key, neurons, subnet, until};
use super::proxy::{self, Deed, Manner};

/// Time between blocks: a transaction that never comes is certain not to after 64 of them.
const PACE: Duration = Duration::from_millis(50);

/// What happens to a transaction on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mishap {
    /// The connection is cut before it is passed on.
    CutBefore,
    /// It is passed on, and then the connection is cut.
    CutAfter,
    /// It is passed on, and its first news is that it was dropped.
    Dropped,
    /// It is passed on, and the answer is an error that says nothing.
    Swallowed,
    /// It is not passed on, and the answer is an error that says nothing.
    Lost,
    /// It is not passed on: too many requests.
    TooMany,
    /// Nothing happens to it, but for a delay.
    Late,
}

use Mishap::{CutAfter, CutBefore, Dropped, Late, Lost, Swallowed, TooMany};

struct Trouble {
    random: Mutex<StdRng>,
    mishaps: &'static [Mishap],
    /// How often a connection is refused with HTTP 403, of 100.
    forbids: u32,
    seen: Mutex<BTreeMap<Mishap, u64>>,
    forbidden: AtomicU64,
    /// Requests whose answers are swallowed, and whether the next news of a transaction is a lie.
    swallow: Mutex<BTreeSet<u64>>,
    lie: AtomicU64,
}

impl Trouble {
    fn new(seed: u64, mishaps: &'static [Mishap], forbids: u32) -> Arc<Self> {
        Arc::new(Self {
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            mishaps,
            forbids,
            seen: Mutex::default(),
            forbidden: AtomicU64::new(0),
            swallow: Mutex::default(),
            lie: AtomicU64::new(0),
        })
    }
}

fn failed(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

impl Manner for Arc<Trouble> {
    fn refuses(&self) -> Option<u16> {
        let forbids = self.random.lock().unwrap().random_range(0..100) < self.forbids;
        forbids.then(|| {
            self.forbidden.fetch_add(1, Ordering::Relaxed);
            403
        })
    }

    fn deed(&self, request: &Value) -> Deed {
        if request["method"] != "author_submitAndWatchExtrinsic" {
            return Deed::Pass;
        }
        let (mishap, wait) = {
            let mut random = self.random.lock().unwrap();
            // Half of them come through.
            if random.random_bool(0.5) {
                return Deed::Pass;
            }
            let wait = Duration::from_millis(random.random_range(0..200));
            (self.mishaps[random.random_range(0..self.mishaps.len())], wait)
        };
        *self.seen.lock().unwrap().entry(mishap).or_default() += 1;
        match mishap {
            CutBefore => Deed::Cut,
            CutAfter => Deed::PassAndCut(wait),
            Dropped => {
                self.lie.fetch_add(1, Ordering::SeqCst);
                Deed::Pass
            }
            Swallowed => {
                self.swallow.lock().unwrap().insert(request["id"].as_u64().unwrap());
                Deed::Pass
            }
            Lost => Deed::Answer(failed(&request["id"], -32603, "Internal error")),
            TooMany => Deed::Answer(failed(&request["id"], 429, "Too Many Requests")),
            Late => Deed::Wait(wait),
        }
    }

    fn pass(&self, said: String) -> String {
        let Ok(mut message) = serde_json::from_str::<Value>(&said) else { return said };
        if let Some(id) = message["id"].as_u64()
            && self.swallow.lock().unwrap().remove(&id)
        {
            return failed(&message["id"], -32603, "Internal error").to_string();
        }
        if message["method"] == "author_extrinsicUpdate"
            && self.lie.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lies| lies.checked_sub(1)).is_ok()
        {
            message["params"]["result"] = json!("dropped");
            return message.to_string();
        }
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_transaction_is_true_of_the_chain() {
    let attempts = if std::env::var_os("TEMPLAR_FULL_TESTS").is_some() { 200u16 } else { 24 };
    let node = Node::start_at_pace(0, None, PACE);
    let calm = node.client().await;
    let netuid = subnet(&calm).await;
    let keys = [key("//validator"), key("//miner"), key("//other")];
    let uids = neurons(&calm, netuid, &keys).await;
    until(&calm, netuid, |m| m.neuron(&keys[0].account()).unwrap().validator_permit).await;
    let start = calm.head().await.unwrap().number;

    let first = Trouble::new(11, &[CutBefore, CutAfter, Dropped, Swallowed, Lost, Late], 0);
    // An endpoint that turns away is left alone for a minute: it is the second one's habit alone.
    let second = Trouble::new(12, &[CutAfter, Dropped, TooMany, TooMany], 50);
    let main = vec![
        endpoint(&proxy::start(&node, first.clone()).await).unwrap(),
        endpoint(&proxy::start(&node, second.clone()).await).unwrap(),
    ];
    let chain = SubtensorClient::connect_to(Endpoints { main, archive: Vec::new() }).await.unwrap();

    let order = |n: u16| WeightsRequest {
        netuid,
        mechanism: 0,
        // Which attempt it was can be seen in the row.
        weights: vec![(uids[1], 65535), (uids[2], 1 + n)],
        version_key: 0,
    };
    let (mut done, mut undone, mut unknown) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let work = async {
        for n in 0..attempts {
            match chain.set_weights(&order(n), &keys[0], &MemoryBook::default()).await {
                Ok(_) => done.insert(n),
                Err(error) if error.is_certain() => undone.insert(n),
                Err(ChainError::FateUnknown { .. } | ChainError::NotFinal { .. }) => unknown.insert(n),
                Err(error) => panic!("attempt {n} ended with what says nothing of it: {error:?}"),
            };
        }
    };
    tokio::time::timeout(Duration::from_secs(1500), work).await.expect("it goes on");

    let end = calm.head().await.unwrap().number;
    let settings = calm.weights_history(netuid, start, end, Some(uids[0])).await.unwrap();
    let mut times: BTreeMap<u16, u64> = BTreeMap::new();
    for setting in &settings {
        let second = setting.weights.iter().find(|(uid, _)| *uid == uids[2]).unwrap().1;
        *times.entry(second - 1).or_default() += 1;
    }
    for n in 0..attempts {
        let times = times.get(&n).copied().unwrap_or(0);
        match (done.contains(&n), undone.contains(&n)) {
            (true, _) => assert_eq!(times, 1, "attempt {n} is reported done"),
            (_, true) => assert_eq!(times, 0, "attempt {n} is reported not done"),
            _ => assert!(times <= 1, "attempt {n}"),
        }
    }
    let (seen, more) = (first.seen.lock().unwrap().clone(), second.seen.lock().unwrap().clone());
    let forbidden = second.forbidden.load(Ordering::Relaxed);
    println!(
        "{attempts} attempts: {} done, {} not, {} unknown; {seen:?} and {more:?}, {forbidden} handshakes refused",
        done.len(),
        undone.len(),
        unknown.len()
    );
    assert!(done.len() >= usize::from(attempts) / 2, "{} done", done.len());
    assert!(seen.len() + more.len() >= 4, "{seen:?} {more:?}");
}
