//! The metagraph: both ways to it, older blocks, and what changed between two of them.

use super::node::{Node, key, neurons, subnet, until};
use templar::chain::{Chain, ChainError, Change, Metagraph, MetagraphDiff, MetagraphSource, RAO_PER_TAO};

/// Without what only one of the two ways can know.
fn comparable(mut metagraph: Metagraph) -> Metagraph {
    let details = metagraph.details.as_mut().unwrap();
    (details.source, details.name, details.moving_price) = (MetagraphSource::Storage, None, 0);
    for neuron in &mut metagraph.neurons {
        neuron.details.as_mut().unwrap().identity = None;
    }
    metagraph
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_and_storage_say_the_same() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let hotkeys = [key("//validator"), key("//miner")];
    let uids = neurons(&chain, netuid, &hotkeys).await;
    chain.add_stake(0, &hotkeys[0].account(), 50 * RAO_PER_TAO, &key("//Bob")).await.unwrap();
    until(&chain, netuid, |m| m.neuron(&hotkeys[0].account()).unwrap().validator_permit).await;
    chain.set_weights_unchecked(netuid, &uids[1..], &[1], 0, &hotkeys[0]).await.unwrap();
    let paid = until(&chain, netuid, |m| m.uid(uids[1]).unwrap().incentive > 0).await;

    let at = Some(paid.block);
    let stored = chain.metagraph_of(netuid, 0, at, Some(MetagraphSource::Storage)).await.unwrap();
    let details = stored.details.clone().unwrap();
    assert_eq!((details.source, details.mechanism), (MetagraphSource::Storage, 0));
    assert_eq!(details.owner_coldkey, Some(key("//Alice").account()));
    assert_eq!((details.weights_rate_limit, details.commit_reveal_enabled), (0, false));
    assert!(details.registration_allowed && details.burn > 0 && details.max_uids > 0);
    assert!(details.last_step > 0 && details.last_step + details.blocks_since_last_step == paid.block);
    let validator = stored.uid(uids[0]).unwrap();
    let own = validator.details.as_ref().unwrap();
    assert_eq!((own.total_stake, own.tao_stake > 0), (validator.stake, true));
    assert!(own.alpha_stake > 0 && own.total_stake > own.alpha_stake && own.axon.is_none());

    let before = chain.requests();
    let called = chain.metagraph_of(netuid, 0, at, Some(MetagraphSource::RuntimeApi)).await;
    let requests = chain.requests() - before;
    match called {
        Ok(called) => {
            assert_eq!(called.details.as_ref().unwrap().source, MetagraphSource::RuntimeApi);
            assert_eq!(comparable(called), comparable(stored));
            // The block's hash and runtime, the call, and the stakes.
            assert!(requests <= 4, "{requests}");
        }
        Err(ChainError::Missing { .. }) => eprintln!("note: this chain has no metagraph in its interface"),
        Err(e) => panic!("{e}"),
    }
    assert_eq!(chain.metagraph(netuid, at).await.unwrap().leader().unwrap().uid, uids[0]);
    let none = chain.metagraph_of(99, 0, None, None).await;
    assert_eq!(none, Err(ChainError::NoSuchSubnet { netuid: 99 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_between_two_blocks_is_told() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let hotkey = key("//validator");
    let uids = neurons(&chain, netuid, std::slice::from_ref(&hotkey)).await;
    let before = chain.metagraph(netuid, None).await.unwrap();
    let late = chain.register(netuid, &key("//late").account(), &key("//Bob")).await.unwrap();
    let after = until(&chain, netuid, |m| m.uid(uids[0]).unwrap().validator_permit && m.uid(late).is_some());
    let after = after.await;
    let diff = MetagraphDiff::between(&before, &after);
    assert_eq!((diff.from_block, diff.to_block), (before.block, after.block));
    let joined = diff.changes.iter().any(|change| {
        matches!(change, Change::Joined { uid, hotkey } if *uid == late && *hotkey == key("//late").account())
    });
    assert!(joined, "{diff:#?}");
    let again = MetagraphDiff::between(&after, &after);
    assert!(again.changes.is_empty());
    if !before.uid(uids[0]).unwrap().validator_permit {
        let permit = |change: &Change| matches!(change, Change::Changed { uid, field: "validator_permit", .. } if *uid == uids[0]);
        assert!(diff.changes.iter().any(permit), "{diff:#?}");
    }
}
