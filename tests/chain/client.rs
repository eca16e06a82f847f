//! The chain client against the development chain: what a subnet needs, and what can go wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::node::{Node, PATIENCE, key, neurons, reach, subnet, until};
use templar::chain::{AdminCall, Chain, ChainError, RAO_PER_TAO, SubtensorClient, endpoint};

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_from_its_beginning_to_its_first_weights() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    assert!(chain.subnets().await.unwrap().contains(&netuid));
    let own = chain.hyperparameters(netuid).await.unwrap();
    assert_eq!((own.tempo, own.weights_rate_limit, own.commit_reveal_weights_enabled), (5, 0, false));
    assert_eq!((own.owner, own.subtoken_enabled), (key("//Alice").account(), true));

    // Registration: the slot that the event names is the slot that storage names, and the coldkey pays.
    let hotkeys = [key("//validator"), key("//miner1"), key("//miner2")];
    let bob = key("//Bob").account();
    let before = chain.balance(&bob).await.unwrap();
    let uids = neurons(&chain, netuid, &hotkeys).await;
    let spent = before - chain.balance(&bob).await.unwrap();
    assert!(spent >= 1000 * RAO_PER_TAO, "{spent}");
    for (uid, hotkey) in uids.iter().zip(&hotkeys) {
        assert_eq!(chain.uid(netuid, &hotkey.account()).await.unwrap(), Some(*uid));
    }
    assert_eq!(chain.uid(netuid, &key("//nobody").account()).await.unwrap(), None);

    // A permit comes with an epoch; the one with stake leads.
    let validator = usize::from(uids[0]);
    let metagraph = until(&chain, netuid, |metagraph| {
        metagraph.neurons.get(validator).is_some_and(|neuron| neuron.validator_permit)
    })
    .await;
    assert_eq!(metagraph.leader().unwrap().hotkey, hotkeys[0].account());
    let neuron = metagraph.neuron(&hotkeys[1].account()).unwrap();
    assert_eq!((neuron.uid, &neuron.coldkey, neuron.stake), (uids[1], &bob, 0));
    assert!(neuron.block_at_registration > 0 && neuron.last_update >= neuron.block_at_registration);
    assert_eq!(metagraph.hash, chain.block_hash(metagraph.block).await.unwrap().unwrap());
    assert!(metagraph.neurons[validator].stake > 100 * RAO_PER_TAO, "{}", metagraph.neurons[validator].stake);
    // The same question about an older block has the older answer.
    let old = chain.metagraph(netuid, Some(neuron.block_at_registration - 1)).await.unwrap();
    assert_eq!(old.neuron(&hotkeys[1].account()), None);

    // Weights, and their history.
    let first = chain.set_weights_unchecked(netuid, &uids[1..], &[2, 1], 0, &hotkeys[0]).await.unwrap();
    let second = chain.set_weights_unchecked(netuid, &[uids[2]], &[7], 0, &hotkeys[0]).await.unwrap();
    assert_eq!(second.hash, chain.block_hash(second.block).await.unwrap().unwrap());
    assert_eq!(chain.weights(netuid, uids[0], None).await.unwrap(), [(uids[2], 65535)]);
    let scaled = chain.weights(netuid, uids[0], Some(first.block)).await.unwrap();
    assert_eq!(scaled[0], (uids[1], 65535));
    assert!(scaled[1].0 == uids[2] && scaled[1].1.abs_diff(32768) <= 1, "{scaled:?}");
    assert!(chain.weights(netuid, uids[1], None).await.unwrap().is_empty());
    let head = chain.head().await.unwrap().number;
    let history = chain.weights_history(netuid, 0, head, Some(uids[0])).await.unwrap();
    let found: Vec<_> = history.iter().map(|set| (set.block, &set.weights)).collect();
    assert_eq!(found, [(first.block, &scaled), (second.block, &vec![(uids[2], 65535)])]);
    assert_eq!(history[1].hash, second.hash);
    assert_eq!(history[1].time_ms, chain.timestamp_ms(second.block).await.unwrap());
    assert_eq!((&history[0].hotkey, history[0].mechanism), (&hotkeys[0].account(), 0));
    let later = chain.weights_history(netuid, first.block + 1, head, None).await.unwrap();
    assert_eq!(later.len(), 1);
    assert!(chain.weights_history(netuid, 0, head, Some(uids[1])).await.unwrap().is_empty());
    assert!(chain.weights_history(1, 0, head, None).await.unwrap().is_empty());

    // The epoch pays the miner that the weights name.
    let paid = until(&chain, netuid, |metagraph| metagraph.neurons[usize::from(uids[2])].incentive > 0).await;
    assert_eq!(paid.neurons[usize::from(uids[2])].incentive, 65535);
    assert_eq!(paid.neurons[validator].last_update, second.block);
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_are_read_as_they_were_made() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let hotkeys = [key("//a"), key("//b")];
    neurons(&chain, netuid, &hotkeys).await;
    let credential = vec![b'k'; 128];
    let made = chain.commit(netuid, &[credential.clone(), vec![9; 32]], &hotkeys[0]).await.unwrap();
    chain.commit(netuid, &[b"short".to_vec(), vec![], vec![1; 300]], &hotkeys[1]).await.unwrap();
    chain.commit(netuid, &[b"another".to_vec()], &hotkeys[0]).await.unwrap();
    let now = chain.commitments(netuid, None).await.unwrap();
    let wanted = BTreeMap::from([
        (hotkeys[0].account(), vec![b"another".to_vec()]),
        (hotkeys[1].account(), vec![b"short".to_vec(), vec![], vec![1; 300]]),
    ]);
    assert_eq!(now, wanted);
    let then = chain.commitments(netuid, Some(made.block)).await.unwrap();
    assert_eq!(then[&hotkeys[0].account()], [credential, vec![9; 32]]);
    assert!(matches!(
        chain.commit(netuid, &vec![vec![]; 4], &hotkeys[0]).await,
        Err(ChainError::Invalid { call: "set_commitment", .. })
    ));
}

fn refused(result: Result<impl std::fmt::Debug, ChainError>) -> String {
    match result {
        Err(ChainError::Refused { name, .. }) => name,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_runtimes_names() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let (alice, bob, hotkey) = (key("//Alice"), key("//Bob"), key("//h"));
    neurons(&chain, netuid, std::slice::from_ref(&hotkey)).await;

    assert_eq!(
        refused(chain.register(netuid, &hotkey.account(), &bob).await),
        "HotKeyAlreadyRegisteredInSubNet"
    );
    assert_eq!(refused(chain.register(99, &key("//x").account(), &bob).await), "SubnetNotExists");
    assert_eq!(
        refused(chain.register(netuid, &key("//x").account(), &key("//poor")).await),
        "Payment",
        "an account without TAO cannot pay the fee"
    );
    assert_eq!(refused(chain.commit(netuid, &[vec![1]], &key("//x")).await), "AccountNotAllowedCommit");
    let too_much = chain.transfer(&alice.account(), 1_500_000 * RAO_PER_TAO, &bob).await;
    assert_eq!(refused(too_much), "FundsUnavailable");
    assert_eq!(refused(chain.add_stake(netuid, &hotkey.account(), 1000, &bob).await), "AmountTooLow");
    assert_eq!(refused(chain.sudo(AdminCall::StakeThreshold { rao: 1 }, &bob).await), "RequireSudo");

    // What the inner call of a sudo says is not lost.
    let wrong = AdminCall::Tempo { netuid: 99, blocks: 5 };
    assert_eq!(refused(chain.sudo(wrong, &alice).await), "SubnetDoesNotExist");

    let weights = || chain.set_weights_unchecked(netuid, &[0], &[1], 0, &hotkey);
    until(&chain, netuid, |metagraph| metagraph.neuron(&hotkey.account()).unwrap().validator_permit).await;
    assert_eq!(
        refused(chain.set_weights_unchecked(netuid, &[0, 0], &[1, 1], 0, &hotkey).await),
        "DuplicateUids"
    );
    assert_eq!(
        refused(chain.set_weights_unchecked(netuid, &[77], &[1], 0, &hotkey).await),
        "UidVecContainInvalidOne"
    );
    chain.sudo(AdminCall::WeightsSetRateLimit { netuid, blocks: 1000 }, &alice).await.unwrap();
    assert_eq!(refused(weights().await), "RateLimitExceeded");
    chain.sudo(AdminCall::WeightsSetRateLimit { netuid, blocks: 0 }, &alice).await.unwrap();
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &alice).await.unwrap();
    assert_eq!(refused(weights().await), "CommitRevealEnabled");
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }, &alice).await.unwrap();
    weights().await.unwrap();

    assert_eq!(chain.metagraph(99, None).await, Err(ChainError::NoSuchSubnet { netuid: 99 }));
    assert_eq!(chain.hyperparameters(99).await, Err(ChainError::NoSuchSubnet { netuid: 99 }));
    let far = 1_000_000;
    assert_eq!(chain.metagraph(netuid, Some(far)).await, Err(ChainError::NoSuchBlock { block: far }));
    assert_eq!(chain.timestamp_ms(u64::MAX).await, Err(ChainError::NoSuchBlock { block: u64::MAX }));
    assert_eq!(chain.block_hash(far).await, Ok(None));
    assert!(matches!(
        chain.set_weights_unchecked(netuid, &[0], &[], 0, &hotkey).await,
        Err(ChainError::Invalid { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_one_account_do_not_trip_over_each_other() {
    let node = Node::start(0, None);
    let (one, other) = (node.client().await, node.client().await);
    let (alice, to) = (key("//Alice"), key("//receiver").account());
    // Through two clients, as by two programs: neither knows what the other is about to send.
    let sends = (0..6u64).map(|i| {
        let chain = if i % 2 == 0 { &one } else { &other };
        chain.transfer(&to, (i + 1) * RAO_PER_TAO, &alice)
    });
    for result in futures::future::join_all(sends).await {
        result.unwrap();
    }
    assert_eq!(one.balance(&to).await.unwrap(), 21 * RAO_PER_TAO);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_comes_once_through_a_restart_of_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let first = Node::start(0, Some(folder.path()));
    let (port, chain) = (first.port(), first.client().await);
    let mut heads = chain.heads().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(tokio::time::timeout(PATIENCE, heads.next()).await.unwrap().unwrap());
    }
    first.kill();
    // What is asked while the node is away is answered when it is back.
    let asking = chain.clone();
    let asked = tokio::spawn(async move { asking.head().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = Node::start(port, Some(folder.path()));
    assert!(asked.await.unwrap().unwrap().number >= seen[4].number);
    reach(&chain, seen[4].number + 10).await;
    for _ in 0..8 {
        seen.push(tokio::time::timeout(PATIENCE, heads.next()).await.unwrap().unwrap());
    }
    for pair in seen.windows(2) {
        assert_eq!(pair[1].number, pair[0].number + 1, "{seen:?}");
    }
    for head in &seen {
        assert_eq!(chain.block_hash(head.number).await.unwrap(), Some(head.hash));
    }
    chain.transfer(&key("//Bob").account(), 1, &key("//Alice")).await.unwrap();
    second.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_blocks_come_through_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let first = Node::start(0, Some(folder.path()));
    let (port, chain) = (first.port(), first.client().await);
    let mut heads = chain.best_heads().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(tokio::time::timeout(PATIENCE, heads.next()).await.unwrap().unwrap());
    }
    first.kill();
    let second = Node::start(port, Some(folder.path()));
    for _ in 0..3 {
        seen.push(tokio::time::timeout(PATIENCE, heads.next()).await.unwrap().unwrap());
    }
    assert!(seen.windows(2).all(|pair| pair[1].number > pair[0].number), "{seen:?}");
    for head in &seen {
        assert_eq!(chain.block_hash(head.number).await.unwrap(), Some(head.hash));
        chain.timestamp_ms(head.number).await.unwrap();
    }
    second.kill();
    let third = Node::start(port, None);
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(error) = heads.next().await {
                return error;
            }
        }
    });
    assert!(matches!(told.await.unwrap(), ChainError::OtherChain { .. }));
    third.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn final_blocks_lag_and_the_newest_are_replaced_until_then() {
    let node = Node::start_with(&["--finality-lag", "3", "--reorg-every", "2"]);
    let chain = node.client().await;
    let (mut best, mut last) = (chain.best_heads().await.unwrap(), chain.heads().await.unwrap());
    let follow = async {
        let (mut seen, mut settled) = (Vec::new(), Vec::new());
        while settled.len() < 12 {
            tokio::select! {
                head = best.next() => seen.push(head.unwrap()),
                head = last.next() => settled.push(head.unwrap()),
            }
        }
        (seen, settled)
    };
    let (seen, settled) = tokio::time::timeout(PATIENCE, follow).await.unwrap();
    assert!(settled.windows(2).all(|pair| pair[1].number == pair[0].number + 1), "{settled:?}");
    let (newest, newest_final) = (seen.last().unwrap(), settled.last().unwrap());
    assert!((2..=4).contains(&newest.number.abs_diff(newest_final.number)), "{newest:?} {newest_final:?}");
    // Every even block was told twice, and what is final is what came last.
    let again =
        seen.windows(2).filter(|pair| pair[0].number == pair[1].number && pair[0].hash != pair[1].hash);
    assert!(again.count() >= 3, "{seen:?}");
    for head in &settled[4..] {
        let told = seen.iter().rfind(|told| told.number == head.number).unwrap();
        assert_eq!(told, head);
        assert_eq!(chain.block_hash(head.number).await.unwrap(), Some(head.hash));
    }
    // A transaction is final in a block that stays, whichever block it was in first.
    for _ in 0..3 {
        let alice = key("//Alice");
        let sent = chain.transfer(&key("//Bob").account(), 1, &alice).await.unwrap();
        assert_eq!(chain.block_hash(sent.block).await.unwrap(), Some(sent.hash));
        assert!(chain.head().await.unwrap().number >= sent.block);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_says_nothing_is_made_again_while_blocks_come() {
    let node = Node::start(0, None);
    let mute = Arc::new(crate::proxy::Mute::default());
    let proxy = crate::proxy::start(&node, mute.clone()).await;
    let chain = SubtensorClient::connect(&endpoint(&proxy).unwrap()).await.unwrap();
    let mut best = chain.best_heads().await.unwrap();
    for _ in 0..3 {
        tokio::time::timeout(PATIENCE, best.next()).await.unwrap().unwrap();
    }
    mute.0.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    // What was on its way comes still; then nothing does, until the silence is noticed.
    let mut pause = Duration::ZERO;
    while pause < Duration::from_secs(5) {
        let asked = Instant::now();
        tokio::time::timeout(Duration::from_secs(45), best.next()).await.unwrap().unwrap();
        pause = asked.elapsed();
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let told = best.next().await.unwrap().number;
    assert!(chain.head().await.unwrap().number + 3 >= told);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_in_the_same_place_is_told() {
    let first = Node::start(0, None);
    let (port, chain) = (first.port(), first.client().await);
    let mut heads = chain.heads().await.unwrap();
    for _ in 0..3 {
        tokio::time::timeout(PATIENCE, heads.next()).await.unwrap().unwrap();
    }
    first.kill();
    let second = Node::start(port, None);
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(error) = heads.next().await {
                return error;
            }
        }
    });
    assert!(matches!(told.await.unwrap(), ChainError::OtherChain { .. }));
    assert_eq!(heads.next().await, Err(ChainError::Closed));
    second.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_an_error_in_time_and_not_a_wait_for_ever() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    node.kill();
    let asked = tokio::time::timeout(Duration::from_secs(50), chain.head()).await.unwrap();
    assert!(matches!(asked, Err(ChainError::Disconnected { .. } | ChainError::Timeout { .. })), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_no_node_are_refused_in_time() {
    // Nobody listens; somebody listens and says nothing; somebody says something else.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talker = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talks = talker.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = talker.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 404 Not Found\r\n\r\n").await;
        }
    });
    let quiet = silent.local_addr().unwrap();
    for url in
        [format!("ws://{closed}"), format!("ws://{quiet}"), format!("ws://{talks}"), format!("wss://{talks}")]
    {
        let url = endpoint(&url).unwrap();
        let connect = SubtensorClient::connect(&url);
        match tokio::time::timeout(Duration::from_secs(25), connect).await.unwrap() {
            Err(error @ ChainError::Connect { .. }) => assert!(!error.hint().is_empty()),
            other => panic!("{url}: {other:?}"),
        }
    }
}
