use super::*;
use crate::{
    bucket::{MemoryStore, Object, ObjectInfo},
    chain::{Chain, MemoryChain},
    codec::SparseTensor,
    gradient::{self, Header, PseudoGradient},
    node::{Turn, publish_start},
    round::{Accepted, Null, RoundRecord},
    succession::Passed,
    wallet::Keypair,
    window::Uid,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tch::Device;

const FIRST: Window = 7;
const WINDOWS: u64 = 9;

/// A bucket that notes what is read, and can be away.
#[derive(Debug)]
struct Bucket {
    memory: MemoryStore,
    reads: Mutex<Vec<String>>,
    away: AtomicBool,
}

impl Bucket {
    /// `time_ms` is the store's clock.
    fn new(name: &str, time_ms: &Arc<AtomicU64>) -> Arc<Self> {
        let clock = time_ms.clone();
        let memory = MemoryStore::new(name, Arc::new(move || clock.load(Ordering::SeqCst)));
        Arc::new(Self { memory, reads: Mutex::default(), away: AtomicBool::new(false) })
    }

    /// What was read since the last look.
    fn reads(&self) -> Vec<String> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

#[async_trait]
impl Store for Bucket {
    fn bucket(&self) -> &str {
        self.memory.bucket()
    }
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        self.memory.put(key, bytes).await
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
        self.memory.head(key).await
    }
    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        self.reads.lock().unwrap().push(key.to_owned());
        if self.away.load(Ordering::SeqCst) {
            return Err(BucketError::Busy { endpoint: "here".to_owned(), code: "SlowDown".to_owned() });
        }
        self.memory.get(key, max_bytes).await
    }
    async fn list_after(&self, p: &str, a: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        self.memory.list_after(p, a, limit).await
    }
    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.memory.delete(key).await
    }
}

/// A run so far: three validators, two peers, and a record with its objects for each window but an empty one.
struct Run {
    identity: Identity,
    directory: Directory,
    chain: MemoryChain,
    validators: [Keypair; 3],
    peers: [Keypair; 2],
    buckets: BTreeMap<AccountId, Arc<Bucket>>,
    /// The clock of every store.
    time_ms: Arc<AtomicU64>,
    /// The model after the run's last window.
    last: Replica,
}

fn manifest() -> ManifestFile {
    let mut manifest = ManifestFile::preset("local").unwrap().parsed;
    manifest.gauntlet = manifest.gauntlet.without_audits();
    let model = &mut manifest.model;
    (model.hidden_size, model.intermediate_size, model.layers, model.heads, model.kv_heads) =
        (16, 16, 1, 2, 1);
    model.sequence_length = 16;
    (manifest.train.micro_batch, manifest.train.batches) = (2, 1);
    ManifestFile::parse(&toml::to_string(&manifest).unwrap()).unwrap()
}

impl Run {
    async fn new() -> Self {
        let manifest = Arc::new(manifest());
        let run = manifest.hash();
        let chain = MemoryChain::new(3, 0);
        let named = |name: &str| Keypair::from_uri(name).unwrap();
        let validators = [named("//Leader"), named("//Second"), named("//Third")];
        let peers = [named("//Peer0"), named("//Peer1")];
        let (mut buckets, time_ms) = (BTreeMap::new(), Arc::new(AtomicU64::new(1_000_000)));
        for (rank, key) in validators.iter().chain(&peers).enumerate() {
            chain.register(&key.account(), [1000, 900, 800, 0, 0][rank], rank < 3);
            buckets.insert(key.account(), Bucket::new("bucket", &time_ms));
        }
        let stores =
            buckets.iter().map(|(hotkey, bucket)| (hotkey.clone(), bucket.clone() as Arc<dyn Store>));
        let directory = Directory::of(chain.metagraph(3, None).await.unwrap(), stores.collect())
            .with_run(run, &validators.each_ref().map(Keypair::account));
        let last = Replica::initial(&manifest.parsed, FIRST, Device::Cpu).unwrap();
        let (hotkey, bucket) = (named("//Newcomer"), Bucket::new("newcomer", &time_ms) as Arc<dyn Store>);
        let identity = Identity { chain: Arc::new(chain.clone()), netuid: 3, hotkey, manifest, bucket };
        let mut run = Self { identity, directory, chain, validators, peers, buckets, time_ms, last };
        for window in FIRST..FIRST + WINDOWS {
            run.round(window).await;
        }
        run
    }

    /// What a validator would say of a window on a model.
    fn decide(
        &self,
        validator: usize,
        model: &Replica,
        window: Window,
        accepted: Vec<Accepted>,
    ) -> SignedRound {
        let record = RoundRecord {
            run: self.identity.run(),
            netuid: 3,
            by: self.validators[validator].account(),
            previous: model.last().map(|last| last.hash.clone()),
            passed: Passed::default(),
            null: None,
            window,
            round: model.round,
            model: model.hash.clone(),
            accepted,
        };
        SignedRound::sign(record, &self.validators[validator]).unwrap()
    }

    /// The objects of some peers in every bucket where they belong, and what a record says of them.
    async fn deliver(&self, peers: usize, window: Window) -> (Vec<Accepted>, Vec<Arc<PseudoGradient>>) {
        let keys = self.identity.keys();
        let (mut accepted, mut payloads) = (Vec::new(), Vec::new());
        for peer in 0..peers {
            let (object, payload) = self.object(peer, window);
            let (object, hotkey) = (Bytes::from(object), self.peers[peer].account());
            self.bucket(&self.peers[peer]).put(&keys.gradient(window), object.clone()).await.unwrap();
            for validator in &self.validators {
                let copy = keys.round_object(window, &hotkey);
                self.bucket(validator).put(&copy, object.clone()).await.unwrap();
            }
            accepted.push(Accepted { uid: peer as Uid + 3, hotkey, digest: hex::encode(payload.digest) });
            payloads.push(Arc::new(payload));
        }
        (accepted, payloads)
    }

    /// Puts a record into a validator's bucket.
    async fn keep(&self, validator: usize, signed: &SignedRound) {
        let place = self.identity.keys().round(signed.record.window);
        self.bucket(&self.validators[validator]).put(&place, signed.bytes.clone()).await.unwrap();
    }

    /// The turns of a window: each ends so many seconds after the store's clock stood at 1,000 s; `now_s` of them have passed.
    fn turns(&self, window: Window, ends_s: &[u64], now_s: u64) -> Turns {
        let turns = self.validators.iter().zip(ends_s).map(|(key, end)| Turn {
            hotkey: key.account(),
            store: self.buckets[&key.account()].clone(),
            last_block: 0,
            end_ms: (now_s >= *end).then_some((1000 + end) * 1000),
        });
        Turns { window, turns: turns.collect(), now_ms: (1000 + now_s) * 1000 }
    }

    fn bucket(&self, key: &Keypair) -> &Bucket {
        &self.buckets[&key.account()]
    }

    /// A peer's object of a window.
    fn object(&self, peer: usize, window: Window) -> (Vec<u8>, PseudoGradient) {
        let (key, layout, run) = (&self.peers[peer], self.last.layout(), self.identity.manifest.hash());
        let mut random = window * 31 + peer as u64;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let tensors: Vec<_> = layout.tensors().iter().map(|t| SparseTensor::noise(t, &mut draw)).collect();
        let (uid, hotkey) = (peer as Uid + 3, key.account());
        let header = Header {
            run,
            netuid: 3,
            window,
            uid,
            hotkey: hotkey.clone(),
            sample_digest: "0".repeat(32),
            sample_count: 2,
            model_hash: self.last.model.hash(),
            model_samples: vec![0.0; layout.model_samples()],
        };
        let (object, _) = gradient::encode(&header, &tensors, layout, |m| key.sign(m)).unwrap();
        let expected = gradient::Expected { run, netuid: 3, window, uid, hotkey };
        let payload = gradient::decode(&object, layout, &expected, crate::wallet::verify).unwrap();
        (object, payload)
    }

    /// Takes the step of a window, and publishes what a leader and the peers do.
    async fn round(&mut self, window: Window) {
        let peers = if window == FIRST + 3 { 0 } else { self.peers.len() };
        let (accepted, payloads) = self.deliver(peers, window).await;
        let signed = self.decide(0, &self.last, window, accepted);
        self.keep(0, &signed).await;
        self.last.apply(&signed, &payloads, None).unwrap();
    }

    /// Makes the second validator lead: it has kept nothing of the windows before `first`.
    async fn replace_leader(&mut self, first: Window) {
        self.chain.change(1, |neuron| neuron.stake = 2000);
        self.directory.metagraph = self.chain.metagraph(3, None).await.unwrap();
        for window in first..FIRST + WINDOWS {
            self.keep(1, &self.signed(0, window).await).await;
        }
    }

    async fn signed(&self, validator: usize, window: Window) -> SignedRound {
        let (key, place) = (&self.validators[validator], self.identity.keys().round(window));
        SignedRound::open(self.bucket(key).get(&place, 1 << 20).await.unwrap().bytes).unwrap()
    }

    async fn record(&self, validator: usize, window: Window) -> RoundRecord {
        self.signed(validator, window).await.record
    }

    /// Lets a validator say this of a window.
    async fn say(&self, validator: usize, record: &RoundRecord) -> SignedRound {
        let key = &self.validators[validator];
        let signed = SignedRound::sign(RoundRecord { by: key.account(), ..record.clone() }, key).unwrap();
        self.keep(validator, &signed).await;
        signed
    }

    fn newcomer(&self) -> Replica {
        Replica::initial(&self.identity.manifest.parsed, FIRST, Device::Cpu).unwrap()
    }

    async fn follow(&self, replica: &mut Replica, target: Window) -> Result<FollowOutcome, NodeError> {
        follow(&self.identity, &self.directory, replica, target).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_the_same_model_and_asks_for_each_thing_once() {
    let run = Run::new().await;
    let (keys, last) = (run.identity.keys(), FIRST + WINDOWS - 1);
    let mut replica = run.newcomer();
    assert_eq!(run.follow(&mut replica, last).await.unwrap(), FollowOutcome::Reached);
    assert_eq!((replica.window, replica.round, &replica.hash), (last, WINDOWS - 1, &run.last.hash));
    assert_eq!(replica.model.hash(), run.last.model.hash());
    let mut reads = run.bucket(&run.validators[0]).reads();
    reads.sort();
    assert_eq!(reads, (FIRST..=last).map(|window| keys.round(window)).collect::<Vec<_>>());
    for peer in &run.peers {
        assert_eq!(run.bucket(peer).reads().len() as u64, WINDOWS - 1);
    }
    // Where the next record is not there yet, that one is asked for and nothing else.
    let waiting = run.follow(&mut replica, last + 5).await.unwrap();
    assert_eq!(waiting, FollowOutcome::Waiting(last + 1));
    assert_eq!(run.bucket(&run.validators[0]).reads(), [keys.round(last + 1)]);
    // From the middle of the run it ends where the records do.
    let mut replica = run.newcomer();
    assert_eq!(run.follow(&mut replica, last + 2).await.unwrap(), waiting);
    assert_eq!(replica.hash, run.last.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_gone_comes_from_the_next_who_has_it() {
    let run = Run::new().await;
    let (keys, last) = (run.identity.keys(), FIRST + WINDOWS - 1);
    let [leader, second, third] = run.validators.each_ref().map(|key| run.bucket(key));
    let [one, other] = run.peers.each_ref().map(|key| run.bucket(key));
    let whole = one.memory.get(&keys.gradient(FIRST + 1), 1 << 20).await.unwrap().bytes;
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    // Damaged at its peer; gone there too and half-written at the leader; another true one in its place; away altogether.
    one.put(&keys.gradient(FIRST), damaged.clone().into()).await.unwrap();
    one.delete(&keys.gradient(FIRST + 1)).await.unwrap();
    let copy = keys.round_object(FIRST + 1, &run.peers[0].account());
    leader.put(&copy, whole.slice(..whole.len() / 2)).await.unwrap();
    third.delete(&copy).await.unwrap();
    let older = one.memory.get(&keys.gradient(FIRST + 2), 1 << 20).await.unwrap().bytes;
    one.put(&keys.gradient(FIRST + 4), older).await.unwrap();
    other.away.store(true, Ordering::SeqCst);
    let mut replica = run.newcomer();
    assert_eq!(run.follow(&mut replica, last).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(replica.hash, run.last.hash);
    assert_eq!(second.reads().as_slice(), std::slice::from_ref(&copy), "asked only where nobody else had it");

    // Who does not answer is asked last from then on.
    other.reads();
    let sources = Sources::new(&run.identity, &run.directory, &replica, &Following::default()).unwrap();
    for (window, asked) in [(FIRST, 1), (FIRST + 1, 0)] {
        let said = sources.record(window).await.unwrap().unwrap();
        sources.payload(window, &said.record().accepted[1]).await.unwrap();
        assert_eq!(other.reads().len(), asked);
    }

    // Nobody has it: said of this window, after the ones before it were applied; and tried again.
    second.delete(&copy).await.unwrap();
    let mut replica = run.newcomer();
    let missing = run.follow(&mut replica, last).await.unwrap_err();
    assert!(matches!(missing, NodeError::Missing { window, .. } if window == FIRST + 1), "{missing}");
    assert!(missing.is_transient());
    assert_eq!(replica.window, FIRST);
    second.put(&copy, whole).await.unwrap();
    assert_eq!(run.follow(&mut replica, last).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(replica.hash, run.last.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_names_too_many_is_refused() {
    let run = Run::new().await;
    let limit = run.identity.manifest.parsed.gauntlet.top_g;
    let mut record = run.record(0, FIRST + 4).await;
    record.accepted = vec![record.accepted[0].clone(); limit + 1];
    run.say(0, &record).await;
    let mut replica = run.newcomer();
    let refused = run.follow(&mut replica, FIRST + 8).await.unwrap_err();
    assert!(matches!(refused, NodeError::TooManyAccepted { count, .. } if count == limit + 1), "{refused}");
    assert_eq!(replica.window, FIRST + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_before_the_leader_led_come_from_another_validator() {
    let mut run = Run::new().await;
    let last = FIRST + WINDOWS - 1;
    run.replace_leader(FIRST + 5).await;
    let [before, leader, third] = run.validators.each_ref().map(|key| run.bucket(key));
    [before, leader, third].iter().for_each(|bucket| drop(bucket.reads()));
    let heard = Mutex::new(Vec::new());
    let hear = |applied: Applied| {
        let (record, from) = (applied.signed.record, applied.from);
        heard.lock().unwrap().push((record.window, from, record.accepted.len(), applied.objects.len()));
    };
    let following = Following { applied: Some(&hear), ..Following::default() };
    let mut replica = run.newcomer();
    let reached = follow_with(&run.identity, &run.directory, &mut replica, &following, last).await;
    assert_eq!(reached.unwrap(), FollowOutcome::Reached);
    assert_eq!(replica.hash, run.last.hash);
    assert!(third.reads().is_empty(), "one had them all");
    let heard = heard.into_inner().unwrap();
    let expected = (FIRST..=last).map(|window| {
        let by = run.validators[usize::from(window >= FIRST + 5)].account();
        let peers = if window == FIRST + 3 { 0 } else { 2 };
        (window, by, peers, peers)
    });
    assert_eq!(heard, expected.collect::<Vec<_>>());

    // Of a window that is not settled nobody's record counts before the turn of those before it is over.
    before.reads();
    let mut replica = run.newcomer();
    let turns = run.turns(FIRST, &[10, 20], 9);
    let turns = Turns { turns: turns.turns.into_iter().rev().collect(), ..turns };
    let following = Following { turns: Some(turns), ..Following::default() };
    let waiting = follow_with(&run.identity, &run.directory, &mut replica, &following, last).await;
    assert_eq!(waiting.unwrap(), FollowOutcome::Waiting(FIRST));
    assert!(before.reads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lies_is_found_out_and_not_asked_again() {
    let mut run = Run::new().await;
    let last = FIRST + WINDOWS - 1;
    run.replace_leader(FIRST + 5).await;
    // The honest one is asked after the one that leaves a peer out, and goes on as if nothing were.
    run.chain.change(2, |neuron| neuron.stake = 1500);
    run.directory.metagraph = run.chain.metagraph(3, None).await.unwrap();
    let mut lying = run.newcomer();
    for window in FIRST..FIRST + 5 {
        let mut record = run.record(0, window).await;
        (record.round, record.model) = (lying.round, lying.hash.clone());
        if window == FIRST + 1 {
            record.accepted.truncate(1);
        }
        let peers = 0..record.accepted.len();
        let payloads: Vec<_> = peers.map(|peer| Arc::new(run.object(peer, window).1)).collect();
        let signed = run.say(2, &record).await;
        lying.apply(&signed, &payloads, None).unwrap();
    }
    let following = Following::default();
    let mut replica = run.newcomer();
    let follow = async |replica: &mut Replica| {
        follow_with(&run.identity, &run.directory, replica, &following, last).await
    };
    let diverged = follow(&mut replica).await.unwrap_err();
    assert!(matches!(diverged, NodeError::Diverged { window, .. } if window == FIRST + 5), "{diverged}");
    assert_eq!(replica.hash, lying.hash);
    let third = run.bucket(&run.validators[2]);
    third.reads();
    let mut replica = run.newcomer();
    assert_eq!(follow(&mut replica).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(replica.hash, run.last.hash);
    assert!(third.reads().is_empty());

    // Where nobody else is left, it waits, and does not start over for ever.
    let keys = run.identity.keys();
    run.bucket(&run.validators[0]).delete(&keys.round(FIRST + 2)).await.unwrap();
    let mut replica = run.newcomer();
    assert_eq!(follow(&mut replica).await.unwrap(), FollowOutcome::Waiting(FIRST + 2));
    // A record that does not fit is no reason to believe in it.
    let following = Following::default();
    let mut replica = run.newcomer();
    run.say(2, &run.record(0, FIRST).await).await;
    run.say(2, &RoundRecord { model: "00".repeat(32), ..run.record(0, FIRST + 1).await }).await;
    run.bucket(&run.validators[0]).delete(&keys.round(FIRST + 1)).await.unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let outcome = follow_with(&run.identity, &run.directory, &mut replica, &following, last).await;
        if outcome.is_err() {
            replica = run.newcomer();
        }
        outcomes.push(outcome.ok());
    }
    assert_eq!(outcomes[0], None);
    assert!(outcomes[3].is_some_and(|outcome| matches!(outcome, FollowOutcome::Waiting(_))), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_that_of_any_validator_of_the_run() {
    let mut run = Run::new().await;
    let schedule = run.identity.manifest.parsed.schedule();
    run.chain.advance(schedule.first_block(FIRST + WINDOWS));
    run.replace_leader(FIRST + WINDOWS).await;
    run.identity.hotkey = run.validators[1].clone();
    run.identity.bucket = run.buckets[&run.validators[1].account()].clone();
    let (keys, next) = (run.identity.keys(), FIRST + WINDOWS + 4);
    let start = |start_window| RunStart { run: run.identity.run(), netuid: 3, start_window };
    let begun = async || fetch_start(&run.directory, &run.identity.manifest).await;
    assert_eq!(begun().await.unwrap(), None, "nobody has begun");
    // Who speaks of a window that nobody can have begun in is passed over, whatever its stake.
    for (validator, window) in [(0, next + 1), (2, FIRST)] {
        let signed = round::sign(&start(window), &run.validators[validator]).unwrap();
        run.bucket(&run.validators[validator]).put(&keys.start(), signed.into()).await.unwrap();
    }
    assert_eq!(begun().await.unwrap(), Some(start(FIRST)));
    run.bucket(&run.validators[2]).away.store(true, Ordering::SeqCst);
    assert!(begun().await.unwrap_err().is_transient(), "it may have something to say");
    publish_start(&run.identity, &start(FIRST)).await.unwrap();
    assert_eq!(begun().await.unwrap(), Some(start(FIRST)));
    assert_eq!(fetch_manifest(&run.directory).await.unwrap().unwrap().hash(), run.identity.manifest.hash());
    // A validator that does not serve the run leads nobody in it, whatever its stake.
    run.chain.register(&Keypair::from_uri("//Rich").unwrap().account(), 9000, true);
    run.directory.metagraph = run.chain.metagraph(3, None).await.unwrap();
    let leader = run.directory.leader(&run.identity.manifest.hash()).unwrap();
    assert_eq!(*leader.hotkey, run.validators[1].account());
    assert!(matches!(run.directory.leader(&[0; 32]), Err(NodeError::OtherRun { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_bucket_is_gone_is_done_without() {
    let run = Run::new().await;
    let last = FIRST + WINDOWS - 1;
    for window in FIRST..=last {
        run.keep(1, &run.signed(0, window).await).await;
    }
    run.bucket(&run.validators[0]).away.store(true, Ordering::SeqCst);
    let mut newcomer = run.newcomer();
    assert_eq!(run.follow(&mut newcomer, last).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(newcomer.hash, run.last.hash);
    // A window of which the others have nothing is null for now, and not waited for.
    let following = Following { turns: Some(run.turns(last + 3, &[10], 5)), ..Following::default() };
    let outcome = follow_with(&run.identity, &run.directory, &mut newcomer, &following, last + 3).await;
    assert_eq!(outcome.unwrap(), FollowOutcome::Waiting(last + 3));
    assert_eq!((newcomer.window, newcomer.skipped()), (last + 2, 2));
    let manifest = &run.identity.manifest;
    assert!(fetch_round(&run.directory, manifest, last).await.unwrap().is_some());
    assert!(fetch_round(&run.directory, manifest, last + 1).await.unwrap().is_none());
    // Where nobody answers, nothing is known.
    run.validators.iter().for_each(|key| run.bucket(key).away.store(true, Ordering::SeqCst));
    assert!(run.follow(&mut run.newcomer(), last).await.unwrap_err().is_transient());
    assert!(fetch_round(&run.directory, manifest, last + 1).await.unwrap_err().is_transient());
}

/// A node that follows a window that is not settled.
struct Live {
    replica: Replica,
    mirrors: Mirrors,
}

impl Live {
    async fn new(run: &Run) -> Self {
        let (mut replica, mirrors) = (run.newcomer(), Mirrors::default());
        replica.keep_a_step(true);
        let reached = run.follow(&mut replica, FIRST + WINDOWS - 1).await.unwrap();
        assert_eq!(reached, FollowOutcome::Reached);
        Self { replica, mirrors }
    }

    async fn follow(&mut self, run: &Run, turns: Turns, target: Window) -> Result<FollowOutcome, NodeError> {
        let mirrors = self.mirrors.clone();
        let following = Following { turns: Some(turns), mirrors, ..Following::default() };
        follow_with(&run.identity, &run.directory, &mut self.replica, &following, target).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_in_line_decides_when_the_turn_of_the_first_is_over() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let mut node = Live::new(&run).await;
    let at = |now_s| run.turns(window, &[10, 20], now_s);
    let (accepted, _) = run.deliver(2, window).await;
    let [leader, second] = [0, 1].map(|n| run.validators[n].account());
    assert!(at(5).may_decide(&leader) && !at(5).may_decide(&second));
    assert!(!at(10).may_decide(&second), "a record of this second would be in time still");
    assert!(at(11).may_decide(&second) && !at(11).may_decide(&leader));
    assert!(!at(21).may_decide(&second) && at(21).are_over());

    assert_eq!(node.follow(&run, at(5), window).await.unwrap(), FollowOutcome::Waiting(window));
    // The second says too early what it may say later: nobody takes it before.
    run.time_ms.store(1_008_000, Ordering::SeqCst);
    run.keep(1, &run.decide(1, &node.replica, window, accepted.clone())).await;
    assert_eq!(node.follow(&run, at(10), window).await.unwrap(), FollowOutcome::Waiting(window));
    // The first says it too late.
    run.time_ms.store(1_011_000, Ordering::SeqCst);
    run.keep(0, &run.decide(0, &node.replica, window, vec![])).await;
    assert_eq!(node.follow(&run, at(12), window).await.unwrap(), FollowOutcome::Reached);
    let last = node.replica.taken(window).unwrap();
    assert_eq!((last.named.len(), last.said_s), (2, Some(1008)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_strangers_or_a_peer_twice_has_said_nothing() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let mut node = Live::new(&run).await;
    let (accepted, _) = run.deliver(2, window).await;
    let stranger = Accepted { hotkey: AccountId::new([9; 32]), ..accepted[0].clone() };
    let twice = vec![accepted[0].clone(), accepted[0].clone()];
    for named in [vec![stranger], twice, vec![accepted[0].clone(); 16]] {
        run.keep(0, &run.decide(0, &node.replica, window, named)).await;
        let outcome = node.follow(&run, run.turns(window, &[10, 20], 5), window).await.unwrap();
        assert_eq!(outcome, FollowOutcome::Waiting(window));
    }
    run.keep(1, &run.decide(1, &node.replica, window, accepted)).await;
    let outcome = node.follow(&run, run.turns(window, &[10, 20], 15), window).await.unwrap();
    assert_eq!(outcome, FollowOutcome::Reached);
    // Nor does one that knows who will miss a turn.
    let foretold = Passed::from([(run.validators[2].account(), u64::MAX)]);
    let record = RoundRecord { passed: foretold, window: window + 1, ..run.record(1, window).await };
    let record = RoundRecord {
        round: node.replica.round,
        model: node.replica.hash.clone(),
        accepted: vec![],
        ..record
    };
    run.say(0, &record).await;
    let outcome = node.follow(&run, run.turns(window + 1, &[10], 5), window + 1).await.unwrap();
    assert_eq!(outcome, FollowOutcome::Waiting(window + 1));
    // Nor does a record count that says that its window is null and names somebody.
    let (null, next) = (Some(Null::Outage), window + 1);
    let record = RoundRecord { null, window: next, ..run.record(1, window).await };
    run.say(0, &record).await;
    let outcome = node.follow(&run, run.turns(next, &[10], 5), next).await.unwrap();
    assert_eq!(outcome, FollowOutcome::Waiting(next));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_out_of_reach_takes_the_place_of_another() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let (mut one, mut other) = (Live::new(&run).await, Live::new(&run).await);
    let (accepted, payloads) = run.deliver(2, window).await;
    // The first has spoken in time, but its bucket is away for one of two nodes, and the second has seen nothing of it.
    let first = run.decide(0, &one.replica, window, accepted[..1].to_vec());
    run.keep(0, &first).await;
    assert_eq!(
        one.follow(&run, run.turns(window, &[10, 20], 5), window).await.unwrap(),
        FollowOutcome::Reached
    );
    run.bucket(&run.validators[0]).away.store(true, Ordering::SeqCst);
    run.keep(1, &run.decide(1, &other.replica, window, accepted.clone())).await;
    let before = other.replica.hash.clone();
    assert_eq!(
        other.follow(&run, run.turns(window, &[10, 20], 15), window).await.unwrap(),
        FollowOutcome::Reached
    );
    assert_ne!(one.replica.hash, other.replica.hash);
    // The run goes on from what the first has said. As long as that cannot be had, the other neither decides nor starts over.
    let (next, _) = run.deliver(1, window + 1).await;
    let signed = run.decide(0, &one.replica, window + 1, next);
    run.keep(0, &signed).await;
    run.keep(1, &signed).await;
    let refused = other.follow(&run, run.turns(window + 1, &[10, 20], 5), window + 1).await.unwrap_err();
    assert!(matches!(refused, NodeError::Bucket(_)) && refused.is_transient(), "{refused}");
    run.bucket(&run.validators[0]).away.store(false, Ordering::SeqCst);
    for node in [&mut one, &mut other] {
        let turns = run.turns(window + 1, &[10, 20], 5);
        assert_eq!(node.follow(&run, turns, window + 1).await.unwrap(), FollowOutcome::Reached);
    }
    assert_eq!(one.replica.hash, other.replica.hash);
    assert_eq!(one.replica.model.hash(), other.replica.model.hash());
    assert_eq!((other.replica.round, other.replica.window), (WINDOWS + 1, window + 1));

    // Bit for bit: back and forth again.
    let mut again = Live::new(&run).await;
    let model = again.replica.model.hash();
    assert_eq!((again.replica.hash.clone(), again.replica.could_replace(&first.record)), (before, false));
    again.replica.apply(&first, &payloads[..1], None).unwrap();
    assert!(again.replica.could_replace(&first.record) && again.replica.go_back());
    assert_eq!((again.replica.model.hash(), hex::encode(model)), (model, again.replica.hash.clone()));
    assert!(!again.replica.go_back(), "one step and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_nobody_decides_is_null_and_the_run_goes_on() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let (mut node, mut away) = (Live::new(&run).await, Live::new(&run).await);
    let hash = node.replica.hash.clone();
    let at = |window, now_s| run.turns(window, &[10, 20], now_s);
    assert_eq!(node.follow(&run, at(window, 20), window).await.unwrap(), FollowOutcome::Waiting(window));
    assert_eq!(node.follow(&run, at(window, 21), window).await.unwrap(), FollowOutcome::Reached);
    assert_eq!((node.replica.window, node.replica.skipped(), &node.replica.hash), (window, 1, &hash));
    assert!(node.replica.taken(window).is_none());
    // Windows that are over long since are passed over together.
    let late = at(window + 3, 5);
    assert_eq!(
        node.follow(&run, late.clone(), window + 3).await.unwrap(),
        FollowOutcome::Waiting(window + 3)
    );
    assert_eq!((node.replica.window, node.replica.nulls_in_a_row()), (window + 2, 3));
    // One is decided to be null: it has a record, and no step.
    let mut null = run.decide(0, &node.replica, window + 3, vec![]).record;
    null.null = Some(Null::LateRound);
    run.say(0, &null).await;
    assert_eq!(node.follow(&run, late, window + 3).await.unwrap(), FollowOutcome::Reached);
    assert_eq!((node.replica.nulls_in_a_row(), &node.replica.hash), (4, &hash));
    let (accepted, _) = run.deliver(1, window + 4).await;
    run.keep(0, &run.decide(0, &node.replica, window + 4, accepted)).await;
    let turns = at(window + 4, 5);
    assert_eq!(node.follow(&run, turns.clone(), window + 4).await.unwrap(), FollowOutcome::Reached);
    assert_eq!((node.replica.nulls_in_a_row(), node.replica.round), (0, WINDOWS));

    // Who looks back finds the model before a window that came after null ones.
    let mut looking = run.newcomer();
    let before = |window| (&run.identity, &run.directory, window);
    for back in [window + 3, window + 4] {
        let (identity, directory, back) = before(back);
        crate::node::replay_before(identity, directory, &mut looking, back).await.unwrap();
        assert_eq!((looking.window, &looking.hash), (back - 1, &hash));
    }
    let beyond = crate::node::replay_before(&run.identity, &run.directory, &mut looking, window + 8).await;
    assert!(matches!(beyond, Err(NodeError::NoRound { .. })));

    // Who comes later finds the same, with turns to look at or without, and who had passed over a window too many comes back.
    let mut newcomer = run.newcomer();
    assert_eq!(run.follow(&mut newcomer, window + 4).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(newcomer.hash, node.replica.hash);
    let beyond = at(window + 6, 5);
    assert_eq!(away.follow(&run, beyond, window + 6).await.unwrap(), FollowOutcome::Waiting(window + 6));
    assert_eq!((&away.replica.hash, away.replica.skipped()), (&node.replica.hash, 1));
    let (accepted, payloads) = run.deliver(2, window + 5).await;
    let missed = run.decide(1, &node.replica, window + 5, accepted);
    run.keep(1, &missed).await;
    node.replica.apply(&missed, &payloads, None).unwrap();
    run.keep(0, &run.decide(0, &node.replica, window + 6, vec![])).await;
    let turns = at(window + 6, 5);
    assert_eq!(away.follow(&run, turns, window + 6).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(away.replica.hash, node.replica.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_late_counts_no_more_afterwards() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let node = Live::new(&run).await;
    let (accepted, _) = run.deliver(2, window).await;
    // The first has spoken too late, and ended before it could take that back; the second has decided.
    run.time_ms.store(1_011_000, Ordering::SeqCst);
    run.keep(0, &run.decide(0, &node.replica, window, accepted[..1].to_vec())).await;
    run.time_ms.store(1_015_000, Ordering::SeqCst);
    let second = run.decide(1, &node.replica, window, accepted);
    run.keep(1, &second).await;
    // Who was away meanwhile finds what counts, and not what the one with the highest stake has.
    let mut back = Live::new(&run).await;
    let over = || run.turns(window, &[10, 20], 500);
    assert_eq!(back.follow(&run, over(), window).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(back.replica.taken(window).unwrap().hash, second.hash);
    // The bucket of the second is gone, and the third has passed on what it said.
    run.keep(2, &second).await;
    run.bucket(&run.validators[0]).delete(&run.identity.keys().round(window)).await.unwrap();
    run.bucket(&run.validators[1]).delete(&run.identity.keys().round(window)).await.unwrap();
    let mut back = Live::new(&run).await;
    assert_eq!(back.follow(&run, over(), window).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(back.replica.taken(window).unwrap().hash, second.hash);
    // Who had no turn has none afterwards.
    let third = run.decide(2, &node.replica, window, vec![]);
    run.keep(2, &third).await;
    let mut back = Live::new(&run).await;
    assert_eq!(back.follow(&run, over(), window).await.unwrap(), FollowOutcome::Reached);
    assert!(back.replica.taken(window).is_none(), "null");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_look_ends_two_runs_side_by_side() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let (mut one, mut other) = (Live::new(&run).await, Live::new(&run).await);
    let (accepted, _) = run.deliver(2, window).await;
    let first = run.decide(0, &one.replica, window, accepted[..1].to_vec());
    run.keep(0, &first).await;
    one.follow(&run, run.turns(window, &[10, 20], 5), window).await.unwrap();
    // For the other the first's bucket was away, and the second, which was cut off too, decided. By that the first has missed a turn.
    run.bucket(&run.validators[0]).away.store(true, Ordering::SeqCst);
    run.keep(1, &run.decide(1, &other.replica, window, accepted)).await;
    other.follow(&run, run.turns(window, &[10, 20], 15), window).await.unwrap();
    assert_ne!(one.replica.hash, other.replica.hash);
    let over = run.turns(window, &[10, 20], 30);
    let look = async |node: &mut Live| {
        let following = Following::default();
        reconsider(&run.identity, &run.directory, &mut node.replica, &following, &over).await.unwrap()
    };
    assert!(!look(&mut other).await, "it still is away");
    run.bucket(&run.validators[0]).away.store(false, Ordering::SeqCst);
    assert!(look(&mut other).await);
    assert_eq!(other.replica.hash, one.replica.hash);
    assert_eq!(other.replica.taken(window).unwrap().hash, first.hash);
    assert!(!look(&mut other).await && !look(&mut one).await);
    // The same where it was taken for null.
    let mut passed_over = Live::new(&run).await;
    passed_over.replica.skip_to(window);
    assert!(look(&mut passed_over).await);
    assert_eq!(passed_over.replica.window, window - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_another_way_for_several_windows_starts_over() {
    let run = Run::new().await;
    let window = FIRST + WINDOWS;
    let (mut run_itself, mut other) = (Live::new(&run).await, Live::new(&run).await);
    // The first's bucket is away for one part of the run, and the second decides two windows there; the first sees none of it, and takes
    // both for null.
    run.bucket(&run.validators[0]).away.store(true, Ordering::SeqCst);
    for window in [window, window + 1] {
        let (accepted, _) = run.deliver(2, window).await;
        run.keep(1, &run.decide(1, &other.replica, window, accepted)).await;
        let reached = other.follow(&run, run.turns(window, &[10, 20], 15), window).await;
        assert_eq!(reached.unwrap(), FollowOutcome::Reached);
    }
    run.bucket(&run.validators[0]).away.store(false, Ordering::SeqCst);
    let next = window + 2;
    let (accepted, payloads) = run.deliver(1, next).await;
    run_itself.replica.skip_to(window + 1);
    let signed = run.decide(0, &run_itself.replica, next, accepted);
    run.keep(0, &signed).await;
    run_itself.replica.apply(&signed, &payloads, None).unwrap();
    let refused = other.follow(&run, run.turns(next, &[10, 20], 5), next).await.unwrap_err();
    assert!(matches!(refused, NodeError::Diverged { window, .. } if window == next), "{refused}");
}
