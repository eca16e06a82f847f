//! A runtime that lacks what came later: whatever can be read of it is read.

use super::node::{Node, key, neurons, subnet, until};
use super::proxy::{self, Manner};
use templar::chain::{Chain, ChainError, MetagraphSource, SubtensorClient, endpoint, interface::Verdict};

/// A node whose runtime has other names in place of these.
struct Without(&'static [&'static str]);

impl Manner for Without {
    fn pass(&self, said: String) -> String {
        self.0
            .iter()
            .fold(said, |said, name| said.replace(&hex::encode(name), &hex::encode("X".repeat(name.len()))))
    }
}

/// What specification 218 does not have, and 425 has.
const LATER: &[&str] = &[
    "StakeThreshold",
    "SubtokenEnabled",
    "MechanismCountCurrent",
    "CommitRevealWeightsVersion",
    "TimelockedWeightCommits",
    "SubnetMovingPrice",
    "SubnetInfoRuntimeApi",
    "StakeInfoRuntimeApi",
    "SwapRuntimeApi",
    "SubnetRegistrationRuntimeApi",
    "BeaconConfig",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_came_later_is_not_needed_to_read() {
    let node = Node::start_spec("365", 0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let keys = [key("//validator"), key("//miner")];
    let uids = neurons(&chain, netuid, &keys).await;
    until(&chain, netuid, |m| m.neuron(&keys[0].account()).unwrap().validator_permit).await;
    let begin = chain.head().await.unwrap().number;
    chain.set_weights_unchecked(netuid, &uids[1..], &[1], 0, &keys[0]).await.unwrap();
    chain.commit(netuid, &[b"something".to_vec()], &keys[1]).await.unwrap();
    let end = chain.head().await.unwrap().number;

    let old = proxy::start(&node, Without(LATER)).await;
    let old = SubtensorClient::connect(&endpoint(&old).unwrap()).await.unwrap();
    let (theirs, ours) =
        (old.metagraph(netuid, Some(end)).await.unwrap(), chain.metagraph(netuid, Some(end)).await.unwrap());
    assert_eq!(theirs.details.as_ref().unwrap().source, MetagraphSource::Storage);
    let strip = |mut metagraph: templar::chain::Metagraph| {
        metagraph.details = None;
        metagraph.neurons.iter_mut().for_each(|neuron| neuron.details = None);
        metagraph
    };
    assert_eq!(strip(theirs), strip(ours));
    let (theirs, ours) =
        (old.hyperparameters(netuid).await.unwrap(), chain.hyperparameters(netuid).await.unwrap());
    assert_eq!((theirs.burn, theirs.tempo, &theirs.owner), (ours.burn, ours.tempo, &ours.owner));
    assert!(theirs.subtoken_enabled && theirs.stake_threshold == 0);
    let history = async |of: &SubtensorClient| of.weights_history(netuid, begin, end, None).await.unwrap();
    assert_eq!(history(&old).await, history(&chain).await);
    assert_eq!(history(&old).await.len(), 1);
    let commitments = async |of: &SubtensorClient| of.commitments(netuid, Some(end)).await.unwrap();
    assert_eq!(commitments(&old).await, commitments(&chain).await);
    let bob = key("//Bob").account();
    assert_eq!(old.balance(&bob).await.unwrap(), chain.balance(&bob).await.unwrap());
    // What it cannot tell is said so.
    assert!(matches!(old.stakes(&bob).await, Err(ChainError::Missing { .. })));
    assert_eq!(old.alpha_price(netuid).await.unwrap(), None);
    let interface = old.interface().await.unwrap();
    let able = |name: &str| interface.abilities.iter().find(|one| one.name == name).unwrap();
    assert!(able("neurons").possible && able("history of weights").possible && !able("stakes").possible);
    assert!(able("SubtensorModule.set_weights").possible);
    assert!(
        interface
            .items
            .iter()
            .any(|item| item.verdict == Verdict::Missing && item.item.ends_with("StakeThreshold"))
    );
    let summaries = old.subnet_summaries().await.unwrap();
    let summary = summaries.iter().find(|subnet| subnet.netuid == netuid).unwrap();
    assert_eq!((summary.moving_price, summary.neurons), (None, 3));
}
