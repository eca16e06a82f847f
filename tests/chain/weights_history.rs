//! The history of weights found by searching is the one that every block tells, at a fraction of the requests.

use std::{collections::BTreeSet, time::Duration};

use super::commits::{Secret, Sender};
use super::node::{Node, PATIENCE, key, neurons, subnet, until};
use super::{full_scan, proxy};
use futures::TryStreamExt as _;
use templar::{
    chain::{
        AdminCall, Chain, ChainError, CommitScheme, Endpoints, HistoryPart, HistoryQuery, MemoryBook,
        RAO_PER_TAO, RevealState, SubtensorClient, WeightAction, WeightEvent, WeightsRequest, endpoint,
    },
    wallet::Keypair,
    window::{Block, NetUid, Uid},
};

/// Many blocks in little time, and still time enough for a transaction that lives for 128 of them.
const PACE: Duration = Duration::from_millis(40);

async fn reach(chain: &SubtensorClient, block: Block) {
    while chain.head().await.unwrap().number < block {
        tokio::time::sleep(PACE * 5).await;
    }
}

/// A subnet with two validators that have their permits, and a miner.
async fn two_validators(chain: &SubtensorClient) -> (NetUid, [Keypair; 2], Vec<Uid>) {
    let netuid = subnet(chain).await;
    let (bob, hotkeys) = (key("//Bob"), [key("//first"), key("//second"), key("//miner")]);
    let uids = neurons(chain, netuid, &hotkeys).await;
    chain.add_stake(netuid, &hotkeys[1].account(), 900 * RAO_PER_TAO, &bob).await.unwrap();
    until(chain, netuid, |m| uids[..2].iter().all(|uid| m.uid(*uid).unwrap().validator_permit)).await;
    let [first, second, _] = hotkeys;
    (netuid, [first, second], uids)
}

async fn events(chain: &SubtensorClient, query: HistoryQuery) -> Vec<WeightEvent> {
    let parts: Vec<HistoryPart> = chain.weight_events(query).try_collect().await.unwrap();
    let (from, to) = (query.from.max(1), query.to);
    // The parts are the range, without gaps.
    assert_eq!((parts[0].from, parts.last().unwrap().to), (from, to));
    assert!(parts.windows(2).all(|pair| pair[0].to + 1 == pair[1].from));
    let events: Vec<WeightEvent> = parts.into_iter().flat_map(|part| part.events).collect();
    assert!(events.windows(2).all(|pair| pair[0].block <= pair[1].block), "{events:#?}");
    events
}

fn kinds(events: &[WeightEvent]) -> Vec<(&'static str, Block, Option<Uid>)> {
    events.iter().map(|event| (event.what.kind(), event.block, event.validator_uid)).collect()
}

/// Both ways to the settings must agree, whatever the range and whoever is asked for.
async fn agree(
    node: &Node,
    chain: &SubtensorClient,
    netuid: NetUid,
    to: Block,
    uids: &[Uid],
    ends: &[Block],
) {
    let mut ranges = BTreeSet::from([(0, to)]);
    ranges.extend(ends.iter().flat_map(|end| [(*end, to), (0, *end), (end + 1, to), (*end, *end)]));
    let all = full_scan::settings(&node.url, netuid, 0, to).await;
    for (from, to) in ranges {
        for who in std::iter::once(None).chain(uids.iter().copied().map(Some)) {
            let slow: Vec<_> = all
                .iter()
                .filter(|s| (from..=to).contains(&s.block) && who.is_none_or(|uid| uid == s.validator_uid))
                .cloned()
                .collect();
            let quick = chain.weights_history(netuid, from, to, who).await.unwrap();
            assert_eq!(quick, slow, "blocks {from} to {to} of {who:?}");
        }
    }
    // However the range is cut, the story is the same.
    let whole = events(chain, HistoryQuery::new(netuid, 1, to)).await;
    for part_blocks in [7, 50] {
        let query = HistoryQuery { part_blocks, ..HistoryQuery::new(netuid, 1, to) };
        assert_eq!(events(chain, query).await, whole, "in parts of {part_blocks}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_in_the_open_are_found_with_few_requests() {
    let node = Node::start_at_pace(0, None, PACE);
    let chain = node.client().await;
    let (netuid, [first, second], uids) = two_validators(&chain).await;
    let miner = uids[2];
    let mut set = Vec::new();
    // The same weights twice, two validators at once, a registration in between.
    set.push(chain.set_weights_unchecked(netuid, &[miner], &[1], 0, &first).await.unwrap().block);
    set.push(chain.set_weights_unchecked(netuid, &[miner], &[1], 0, &first).await.unwrap().block);
    let (targets, target) = ([miner, uids[0]], [miner]);
    let both = futures::join!(
        chain.set_weights_unchecked(netuid, &targets, &[2, 1], 0, &first),
        chain.set_weights_unchecked(netuid, &target, &[9], 0, &second)
    );
    set.extend([both.0.unwrap().block, both.1.unwrap().block]);
    chain.register(netuid, &key("//late").account(), &key("//Bob")).await.unwrap();
    let begin = chain.head().await.unwrap().number;
    set.push(chain.set_weights_unchecked(netuid, &[uids[1]], &[5], 0, &first).await.unwrap().block);
    agree(&node, &chain, netuid, chain.head().await.unwrap().number, &uids, &set).await;

    let (from, to) = (begin - 20, begin + 980);
    reach(&chain, to).await;
    let slow = full_scan::settings(&node.url, netuid, from, to).await;
    // A client of its own, so that what the other learned does not help.
    let fresh = node.client().await;
    let before = fresh.requests();
    let quick = fresh.weights_history(netuid, from, to, None).await.unwrap();
    let quickly = fresh.requests() - before;
    assert!(!quick.is_empty());
    assert_eq!(quick, slow);
    eprintln!("{} settings in {} blocks: {quickly} requests", quick.len(), to - from + 1);
    // Block by block it takes at least two for each: its hash and its events.
    assert!(quickly * 20 <= 2 * (to - from + 1), "{quickly} requests");

    assert_eq!(
        chain.weights_history(netuid, to + 1_000_000, to + 1_000_001, None).await,
        Err(ChainError::NoSuchBlock { block: to + 1_000_000 })
    );
    assert!(chain.weights_history(netuid, 9, 5, None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_followed_to_their_reveals_or_their_ends() {
    let node = Node::start_at_pace(0, None, PACE);
    let chain = node.client().await;
    let (netuid, [first, second], uids) = two_validators(&chain).await;
    let alice = key("//Alice");
    let open = chain.set_weights_unchecked(netuid, &[uids[2]], &[1], 0, &first).await.unwrap().block;
    // Epochs long enough to commit twice in one.
    chain.sudo(AdminCall::Tempo { netuid, blocks: 60 }, &alice).await.unwrap();
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &alice).await.unwrap();
    let (one, two) = (Sender::new(&node.url, &first).await, Sender::new(&node.url, &second).await);
    let secret = |salt: u16, uid: Uid| Secret { uids: vec![uid], values: vec![7], salt: vec![salt; 8] };

    let revealed = secret(1, uids[2]);
    let committed_at = one.commit(netuid, &revealed).await;
    // This one runs out: its validator never comes back to it.
    let forgotten = two.commit(netuid, &secret(2, uids[2])).await;
    let revealed_at = one.reveal(netuid, &revealed).await;
    // Of two in one epoch the later one is revealed, which drops the other.
    let (dropped, kept) = (secret(3, uids[1]), secret(4, uids[0]));
    let dropped_at = one.commit(netuid, &dropped).await;
    let kept_at = one.commit(netuid, &kept).await;
    let kept_revealed_at = one.reveal(netuid, &kept).await;
    // By now the forgotten one is over; another commit clears it away.
    reach(&chain, forgotten + 130).await;
    let last = two.commit(netuid, &secret(5, uids[2])).await;
    let to = last + 2;
    reach(&chain, to).await;

    let found = events(&chain, HistoryQuery::new(netuid, 1, to)).await;
    let (a, b) = (Some(uids[0]), Some(uids[1]));
    let lost = found.iter().find(|e| e.validator_uid == b && e.what.kind() == "never_revealed");
    let lost = lost.map(|event| event.block).unwrap();
    assert!(lost > forgotten + 1 && lost <= forgotten + 122, "made at {forgotten}, lost at {lost}");
    let mut wanted = vec![
        ("set", open, a),
        ("commit", committed_at, a),
        ("commit", forgotten, b),
        ("reveal", revealed_at, a),
        ("commit", dropped_at, a),
        ("commit", kept_at, a),
        ("reveal", kept_revealed_at, a),
        ("never_revealed", kept_revealed_at, a),
        ("never_revealed", lost, b),
        ("commit", last, b),
    ];
    wanted.sort_by_key(|(_, block, _)| *block);
    assert_eq!(kinds(&found), wanted, "{found:#?}");
    let reveal = found.iter().find(|event| event.block == revealed_at).unwrap();
    let WeightAction::Reveal { commit: Some(commit), weights } = &reveal.what else { panic!("{reveal:?}") };
    assert_eq!((commit.block, commit.scheme), (committed_at, CommitScheme::Salted));
    assert_eq!((commit.hash, weights), (one.hash(netuid, &revealed).await, &vec![(uids[2], 65535)]));
    let dropped_ref = found.iter().rev().find(|e| e.what.kind() == "never_revealed" && e.validator_uid == a);
    assert_eq!(dropped_ref.unwrap().what.commit().unwrap().block, dropped_at);

    agree(&node, &chain, netuid, to, &uids, &[committed_at, revealed_at, kept_at, kept_revealed_at, lost])
        .await;
    let of_second = HistoryQuery { validator: b, ..HistoryQuery::new(netuid, 1, to) };
    let wanted: Vec<_> = found.iter().filter(|event| event.validator_uid == b).cloned().collect();
    assert_eq!(events(&chain, of_second).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_with_an_upgrade_in_it_is_told_as_each_runtime_wrote_it() {
    let node = Node::start_spec_at_pace("365", PACE * 2);
    let chain = node.client().await;
    let (netuid, [first, second], uids) = two_validators(&chain).await;
    let alice = key("//Alice");
    let open = async |validator: &Keypair, uid: Uid| {
        chain.set_weights_unchecked(netuid, &[uid], &[1], 0, validator).await.unwrap().block
    };
    // A commit and its reveal.
    let hidden = async |validator: &Keypair, uid: Uid| {
        chain.sudo(AdminCall::Tempo { netuid, blocks: 30 }, &alice).await.unwrap();
        chain.sudo(AdminCall::CommitRevealVersion { version: 3 }, &alice).await.unwrap();
        chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &alice).await.unwrap();
        let order = WeightsRequest { netuid, mechanism: 0, weights: vec![(uid, 65535)], version_key: 0 };
        let commit =
            chain.set_weights(&order, validator, &MemoryBook::default()).await.unwrap().salted.unwrap();
        while chain.reveal_state(&commit, &validator.account()).await.unwrap() != RevealState::Due {
            tokio::time::sleep(PACE).await;
        }
        let revealed = chain.reveal_weights(&commit, validator).await.unwrap().block;
        chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }, &alice).await.unwrap();
        (commit.block.unwrap(), revealed)
    };
    let old = open(&first, uids[2]).await;
    let (committed, revealed) = hidden(&second, uids[2]).await;
    let upgraded = chain.upgrade_runtime(b"templar devchain, spec 425", &alice).await.unwrap().block;
    let new = open(&first, uids[0]).await;
    let (again, opened) = hidden(&second, uids[1]).await;
    let to = chain.head().await.unwrap().number;

    // A client that comes late and knows the newest runtime first.
    let fresh = node.client().await;
    let found = events(&fresh, HistoryQuery::new(netuid, 1, to)).await;
    let (a, b) = (Some(uids[0]), Some(uids[1]));
    let wanted = [
        ("set", old, a),
        ("commit", committed, b),
        ("reveal", revealed, b),
        ("set", new, a),
        ("commit", again, b),
        ("reveal", opened, b),
    ];
    assert_eq!(kinds(&found), wanted, "{found:#?}");
    assert!(revealed < upgraded && upgraded <= new);
    for (at, reveal) in [(committed, revealed), (again, opened)] {
        let event = found.iter().find(|event| event.block == reveal).unwrap();
        assert_eq!(event.what.commit().unwrap().block, at);
    }
    agree(&node, &fresh, netuid, to, &uids, &[old, revealed, upgraded, new, opened]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_thrown_away_is_asked_of_an_archive() {
    let node = Node::start_at_pace(0, None, PACE);
    let chain = node.client().await;
    let (netuid, [first, _], uids) = two_validators(&chain).await;
    let set = chain.set_weights_unchecked(netuid, &[uids[2]], &[1], 0, &first).await.unwrap().block;
    reach(&chain, set + 20).await;
    let to = chain.head().await.unwrap().number;
    let mut old = BTreeSet::new();
    for block in 0..=set + 1 {
        old.insert(format!("0x{}", hex::encode(chain.block_hash(block).await.unwrap().unwrap())));
    }
    let pruned = proxy::start(&node, proxy::Forgetful(old)).await;
    let pruned = endpoint(&pruned).unwrap();

    let alone = SubtensorClient::connect(&pruned).await.unwrap();
    let range = HistoryQuery::new(netuid, 1, to);
    let told: Result<Vec<_>, _> = alone.weight_events(range).try_collect().await;
    assert_eq!(told, Err(ChainError::Pruned { block: 0 }));
    assert!(ChainError::Pruned { block: 0 }.hint().contains("--network archive"));
    let metagraph = alone.metagraph(netuid, Some(set)).await;
    assert_eq!(metagraph, Err(ChainError::Pruned { block: set }));
    // What it still has, it tells.
    assert!(alone.weights_history(netuid, set + 3, to, None).await.unwrap().is_empty());

    let archive = vec![endpoint(&node.url).unwrap()];
    let both = SubtensorClient::connect_to(Endpoints { main: vec![pruned], archive }).await.unwrap();
    let found = events(&both, range).await;
    assert_eq!(kinds(&found), [("set", set, Some(uids[0]))]);
    assert_eq!(both.metagraph(netuid, Some(set)).await.unwrap().block, set);
}

/// The chain opens all of a validator's commits of an epoch in one block and keeps the last row: each is told with its own.
#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_opened_together_have_a_row_each() {
    let node = Node::start_at_pace(0, None, PACE);
    let chain = node.client().await;
    let (netuid, [first, _], uids) = two_validators(&chain).await;
    let alice = key("//Alice");
    chain.sudo(AdminCall::Tempo { netuid, blocks: 60 }, &alice).await.unwrap();
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &alice).await.unwrap();
    let from = chain.head().await.unwrap().number;
    let order = |n: u16| WeightsRequest {
        netuid,
        mechanism: 0,
        weights: vec![(uids[1], 65535), (uids[2], n)],
        version_key: 0,
    };
    // An epoch may begin among them.
    for n in 1..=4 {
        chain.set_weights(&order(n), &first, &MemoryBook::default()).await.unwrap();
    }
    let wait = async {
        while chain.weights(netuid, uids[0], None).await.unwrap() != order(4).weights {
            tokio::time::sleep(PACE).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    let to = chain.head().await.unwrap().number;
    let found = events(&chain, HistoryQuery::new(netuid, from, to)).await;
    let reveals: Vec<_> = found.iter().filter(|event| event.what.kind() == "reveal").collect();
    let mut rows: Vec<_> = reveals
        .iter()
        .map(|event| (event.what.commit().unwrap().block, event.what.weights().unwrap().to_vec()))
        .collect();
    rows.sort_unstable();
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    assert_eq!(rows, (1..=4).map(|n| order(n).weights).collect::<Vec<_>>(), "{found:#?}");
    assert!(reveals.windows(2).any(|pair| pair[0].block == pair[1].block), "some were opened together");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timelocked_commit_that_does_not_open_is_told() {
    let node = Node::start_at_pace(0, None, PACE);
    let chain = node.client().await;
    let (netuid, [first, _], uids) = two_validators(&chain).await;
    let alice = key("//Alice");
    chain.sudo(AdminCall::Tempo { netuid, blocks: 40 }, &alice).await.unwrap();
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &alice).await.unwrap();
    let one = Sender::new(&node.url, &first).await;
    if !one.knows("commit_timelocked_weights").await {
        eprintln!("note: this chain has no timelocked commits");
        return;
    }
    let round = one.beacon_round().await.unwrap() + 1;
    let made = one.commit_timelocked(netuid, b"nothing that could be opened", round).await.unwrap();
    reach(&chain, made + 100).await;
    let to = chain.head().await.unwrap().number;
    let found = events(&chain, HistoryQuery::new(netuid, 1, to)).await;
    let [commit, lost] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((commit.block, commit.what.kind(), commit.validator_uid), (made, "commit", Some(uids[0])));
    assert_eq!((lost.what.kind(), lost.validator_uid), ("never_revealed", Some(uids[0])));
    assert_eq!(lost.what.commit(), commit.what.commit());
    let shown = commit.what.commit().unwrap();
    assert_eq!((shown.scheme, shown.reveal_round), (CommitScheme::Timelocked, Some(round)));
    assert!(lost.block > made && lost.block <= made + 82);
    agree(&node, &chain, netuid, to, &uids, &[made, lost.block]).await;
}
