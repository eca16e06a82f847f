//! Every way in which weights and registrations get on chain, by the rules of both spec versions, and again after a
//! runtime upgrade in mid-run.

use std::process::Command;

use super::node::{BLOCK, Node, PATIENCE, key, neurons, subnet, until};
use futures::TryStreamExt as _;
use templar::{
    chain::{
        AdminCall, Chain, ChainError, HistoryPart, HistoryQuery, MemoryBook, PowProgress, RAO_PER_TAO,
        RevealState, Rows, SaltedCommit, SubmittedWeights, SubtensorClient, WeightEvent, WeightsPath,
        WeightsRequest, interface::Verdict,
    },
    wallet::Keypair,
    window::NetUid,
};

/// Blocks between epochs: long enough that a busy machine sees each of them.
const TEMPO: u16 = 20;

struct Subnet {
    chain: SubtensorClient,
    netuid: NetUid,
    validator: Keypair,
    uids: Vec<u16>,
}

impl Subnet {
    /// A validator with a permit, and two miners.
    async fn new(node: &Node) -> Self {
        let chain = node.client().await;
        let (netuid, alice) = (subnet(&chain).await, key("//Alice"));
        for call in [
            AdminCall::Tempo { netuid, blocks: TEMPO },
            AdminCall::MaxRegistrationsPerBlock { netuid, count: 100 },
            AdminCall::TargetRegistrations { netuid, count: 100 },
        ] {
            chain.sudo(call, &alice).await.unwrap();
        }
        let keys = [key("//validator"), key("//miner1"), key("//miner2")];
        let uids = neurons(&chain, netuid, &keys).await;
        let validator = keys[0].clone();
        until(&chain, netuid, |m| m.neuron(&validator.account()).is_some_and(|n| n.validator_permit)).await;
        Self { chain, netuid, validator, uids }
    }

    async fn admin(&self, call: AdminCall) {
        self.chain.sudo(call, &key("//Alice")).await.unwrap();
    }

    fn order(&self, weights: &[u16]) -> WeightsRequest {
        let weights = self.uids[1..].iter().copied().zip(weights.iter().copied()).collect();
        WeightsRequest { netuid: self.netuid, mechanism: 0, weights, version_key: 0 }
    }

    async fn give(&self, weights: &[u16]) -> SubmittedWeights {
        self.chain.set_weights(&self.order(weights), &self.validator, &MemoryBook::default()).await.unwrap()
    }

    /// Waits until the validator's row is these weights.
    async fn row(&self, weights: &[u16]) {
        let wanted = self.order(weights).weights;
        let wait = async {
            while self.chain.weights(self.netuid, self.uids[0], None).await.unwrap() != wanted {
                tokio::time::sleep(BLOCK).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the weights are as they were given");
    }

    async fn reveal(&self, commit: &SaltedCommit) {
        let account = self.validator.account();
        let mut seen = Vec::new();
        let wait = async {
            loop {
                let state = self.chain.reveal_state(commit, &account).await.unwrap();
                seen.push(state);
                if state != RevealState::Early {
                    break;
                }
                tokio::time::sleep(BLOCK / 2).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
        assert_eq!(seen.last(), Some(&RevealState::Due));
        self.chain.reveal_weights(commit, &self.validator).await.unwrap();
        assert_eq!(self.chain.reveal_state(commit, &account).await.unwrap(), RevealState::Gone);
    }

    /// The weights of the second mechanism, by every way that the subnet takes: they stand apart from the first's.
    async fn second_mechanism(&self, n: u16) {
        let netuid = self.netuid;
        self.admin(AdminCall::MechanismCount { netuid, count: 2 }).await;
        let first = self.chain.weights(netuid, self.uids[0], None).await.unwrap();
        let row = async || {
            let rows = self.chain.rows(netuid, 1, Rows::Weights, None).await.unwrap();
            rows[usize::from(self.uids[0])].clone()
        };
        let is = async |wanted: Vec<(u16, u16)>| {
            let wait = async {
                while row().await != wanted {
                    tokio::time::sleep(BLOCK).await;
                }
            };
            tokio::time::timeout(PATIENCE, wait)
                .await
                .expect("the second mechanism's weights are as they were given");
        };
        let order = |weights: &[u16]| WeightsRequest { mechanism: 1, ..self.order(weights) };
        let give = async |order: &WeightsRequest| {
            self.chain.set_weights(order, &self.validator, &MemoryBook::default()).await.unwrap()
        };
        self.admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }).await;
        assert_eq!(give(&order(&[65535, 400 + n])).await.path, WeightsPath::Plain);
        is(order(&[65535, 400 + n]).weights).await;
        self.admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }).await;
        assert_eq!(give(&order(&[500 + n, 65535])).await.path, WeightsPath::Timelocked);
        is(order(&[500 + n, 65535]).weights).await;
        self.admin(AdminCall::CommitRevealVersion { version: 3 }).await;
        let salted = give(&order(&[65535, 600 + n])).await;
        assert_eq!(salted.path, WeightsPath::Salted);
        self.reveal(&salted.salted.unwrap()).await;
        is(order(&[65535, 600 + n]).weights).await;
        assert_eq!(self.chain.weights(netuid, self.uids[0], None).await.unwrap(), first, "the first's stay");
        self.admin(AdminCall::CommitRevealVersion { version: 4 }).await;
        self.admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }).await;
        let metagraph = self.chain.metagraph_of(netuid, 1, None, None).await.unwrap();
        assert_eq!(metagraph.details.unwrap().mechanism, 1);
        let told =
            self.chain.weight_events(HistoryQuery::new(netuid, 1, self.chain.head().await.unwrap().number));
        let parts: Vec<HistoryPart> = told.try_collect().await.unwrap();
        let events = parts.into_iter().flat_map(|part| part.events).filter(|event| event.mechanism == 1);
        let kinds: Vec<&str> = events.map(|event| event.what.kind()).collect();
        assert_eq!(kinds, ["set", "commit", "reveal", "commit", "reveal"]);
    }

    /// Plainly, by a timelock, by a salt; `n` makes the weights of one round differ from those of another.
    async fn every_way(&self, n: u16) {
        let netuid = self.netuid;
        self.admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }).await;
        assert_eq!(self.give(&[65535, 100 + n]).await.path, WeightsPath::Plain);
        self.row(&[65535, 100 + n]).await;

        self.admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }).await;
        let given = self.give(&[200 + n, 65535]).await;
        assert_eq!(given.path, WeightsPath::Timelocked);
        assert!(given.opens_at.unwrap() > given.included.block);
        assert_eq!(
            self.chain.weights(netuid, self.uids[0], None).await.unwrap()[1].1,
            100 + n,
            "nobody can read it yet"
        );
        self.row(&[200 + n, 65535]).await;
        let opened = self.chain.head().await.unwrap().number;
        assert!(opened >= given.opens_at.unwrap(), "{opened} {given:?}");

        self.admin(AdminCall::CommitRevealVersion { version: 3 }).await;
        let given = self.give(&[65535, 300 + n]).await;
        assert_eq!((given.path, given.round), (WeightsPath::Salted, None));
        let commit = given.salted.unwrap();
        // It survives a file.
        let commit: SaltedCommit = serde_json::from_str(&serde_json::to_string(&commit).unwrap()).unwrap();
        let early = self.chain.reveal_weights(&commit, &self.validator).await;
        assert!(matches!(early, Err(ChainError::Refused { .. })), "{early:?}");
        self.reveal(&commit).await;
        self.row(&[65535, 300 + n]).await;
        self.admin(AdminCall::CommitRevealVersion { version: 4 }).await;
        self.admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }).await;
    }

    /// What is refused before it is sent.
    async fn refusals(&self) {
        let (chain, netuid) = (&self.chain, self.netuid);
        let order = self.order(&[65535, 1]);
        let name = |result: Result<SubmittedWeights, ChainError>| match result {
            Err(ChainError::WouldRefuse { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        // Miners that were paid have stake, and so a permit; who is new has none.
        let new = key(&format!("//new{}", chain.head().await.unwrap().number));
        chain.register(netuid, &new.account(), &key("//Bob")).await.unwrap();
        assert_eq!(
            name(chain.set_weights(&order, &new, &MemoryBook::default()).await),
            "NeuronNoValidatorPermit"
        );
        let gone = WeightsRequest { weights: vec![(99, 1)], ..order.clone() };
        assert_eq!(
            name(chain.set_weights(&gone, &self.validator, &MemoryBook::default()).await),
            "UidVecContainInvalidOne"
        );
        let none = chain.set_weights(&self.order(&[0, 0]), &self.validator, &MemoryBook::default()).await;
        assert!(matches!(none, Err(ChainError::Invalid { .. })), "{none:?}");
        let stranger = chain.set_weights(&order, &key("//stranger"), &MemoryBook::default()).await;
        assert!(matches!(stranger, Err(ChainError::NotRegistered { .. })), "{stranger:?}");
        self.admin(AdminCall::WeightsVersionKey { netuid, key: 7 }).await;
        assert_eq!(
            name(chain.set_weights(&order, &self.validator, &MemoryBook::default()).await),
            "IncorrectWeightVersionKey"
        );
        self.admin(AdminCall::WeightsVersionKey { netuid, key: 0 }).await;
        self.give(&[65535, 1]).await;
        self.admin(AdminCall::WeightsSetRateLimit { netuid, blocks: 1000 }).await;
        let soon = chain.set_weights(&order, &self.validator, &MemoryBook::default()).await;
        assert!(matches!(soon, Err(ChainError::TooSoon { blocks: 900..=1000, .. })), "{soon:?}");
        self.admin(AdminCall::WeightsSetRateLimit { netuid, blocks: 0 }).await;
    }

    /// Nothing that this program needs has another shape.
    async fn interface(&self, spec_version: u32) {
        let interface = self.chain.interface().await.unwrap();
        assert_eq!(interface.spec_version, spec_version);
        let wrong: Vec<_> = interface
            .items
            .iter()
            .filter(|item| matches!(item.verdict, Verdict::Missing | Verdict::Differs))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_365_and_then_425_after_an_upgrade_in_mid_run() {
    let node = Node::start_spec("365", 0, None);
    let subnet = Subnet::new(&node).await;
    subnet.interface(365).await;
    subnet.every_way(1).await;
    subnet.second_mechanism(1).await;
    subnet.refusals().await;
    // Registration by work is older runtimes' alone.
    let (chain, netuid, bob) = (&subnet.chain, subnet.netuid, key("//Bob"));
    subnet.admin(AdminCall::Difficulty { netuid, difficulty: 50_000 }).await;
    let worker = key("//worker").account();
    let search = PowProgress::default();
    let uid = chain.register_by_work(netuid, &worker, &bob, &search).await.unwrap();
    assert_eq!(chain.uid(netuid, &worker).await.unwrap(), Some(uid));
    let fills = async |uri: &str| {
        chain.faucet(&key(uri), &search).await.unwrap();
        assert!(chain.balance(&key(uri).account()).await.unwrap() >= 1000 * RAO_PER_TAO);
    };
    fills("//poor").await;
    let limited = chain.register_within(netuid, &key("//x").account(), 1, &bob).await;
    assert!(matches!(limited, Err(ChainError::PriceAboveLimit { limit: 1, .. })), "{limited:?}");

    // The same client, on the same connection.
    chain.upgrade_runtime(b"templar devchain, spec 425", &key("//Alice")).await.unwrap();
    subnet.interface(425).await;
    subnet.every_way(2).await;
    subnet.refusals().await;
    // The old call is still there, and would cost money for nothing.
    let worked = chain.register_by_work(netuid, &key("//y").account(), &bob, &search).await;
    assert!(matches!(worked, Err(ChainError::Missing { .. })), "{worked:?}");
    let limit = 1000 * RAO_PER_TAO;
    let uid = chain.register_within(netuid, &key("//y").account(), limit, &bob).await.unwrap();
    assert_eq!(chain.uid(netuid, &key("//y").account()).await.unwrap(), Some(uid));
    fills("//poorer").await;

    // One history, across the upgrade.
    let to = chain.head().await.unwrap().number;
    let parts: Vec<HistoryPart> =
        chain.weight_events(HistoryQuery::new(netuid, 1, to)).try_collect().await.unwrap();
    let own = |event: &&WeightEvent| event.mechanism == 0 && event.validator_uid == Some(subnet.uids[0]);
    let events: Vec<WeightEvent> = parts.into_iter().flat_map(|part| part.events).collect();
    let kinds: Vec<&str> = events.iter().filter(own).map(|event| event.what.kind()).collect();
    let of_one_runtime = ["set", "commit", "reveal", "commit", "reveal", "set"];
    assert_eq!(kinds, [of_one_runtime, of_one_runtime].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_425_and_its_commands() {
    let node = Node::start(0, None);
    let subnet = Subnet::new(&node).await;
    subnet.interface(425).await;
    subnet.every_way(3).await;

    let templar = |args: &[&str]| {
        let netuid = subnet.netuid.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(args).args(["--network", &node.url]);
        if args[0] != "chain" {
            command.args(["--netuid", &netuid]);
        }
        command.output().unwrap()
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let check = templar(&["chain", "check"]);
    assert!(check.status.success() && said(&check).contains("specification 425"), "{check:?}");

    // A dry run shows the call, the fee and the checks, and changes nothing.
    let weights = format!("{}:3,{}:1", subnet.uids[1], subnet.uids[2]);
    let before = subnet.chain.weights(subnet.netuid, subnet.uids[0], None).await.unwrap();
    let dry = templar(&["weights", "set", &weights, "--wallet", "//validator", "--dry-run"]);
    let text = said(&dry);
    assert!(dry.status.success(), "{dry:?}");
    for words in [
        "SubtensorModule.set_weights",
        "version_key",
        "fee        none",
        "nothing was signed",
        "yes  the hotkey may validate",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let now = subnet.chain.weights(subnet.netuid, subnet.uids[0], None).await.unwrap();
    assert_eq!(before, now);
    let set = templar(&["weights", "set", &weights, "--wallet", "//validator", "--json"]);
    assert!(set.status.success(), "{set:?}");
    let json: serde_json::Value = serde_json::from_str(&said(&set)).unwrap();
    assert_eq!(json["path"], "plain");
    subnet.row(&[65535, 21845]).await;
    let refused = templar(&["weights", "set", "1:x", "--wallet", "//validator"]);
    assert_eq!(refused.status.code(), Some(2));
    subnet.chain.register(subnet.netuid, &key("//idle").account(), &key("//Bob")).await.unwrap();
    let refused = templar(&["weights", "set", &weights, "--wallet", "//idle"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("NeuronNoValidatorPermit") && text.contains("hint: "), "{text}");

    let dry = templar(&["register", "--wallet", "//new", "--max-cost", "1000", "--dry-run"]);
    assert!(said(&dry).contains("SubtensorModule.register_limit"), "{dry:?}");
    let dear = templar(&["register", "--wallet", "//new", "--max-cost", "0.000001"]);
    assert_eq!(dear.status.code(), Some(5), "{dear:?}");
    assert!(String::from_utf8_lossy(&dear.stderr).contains("and no more than"), "{dear:?}");
}
