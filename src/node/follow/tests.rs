use super::*;
use crate::{
    bucket::{MemoryStore, Object, ObjectInfo},
    chain::{Chain, MemoryChain},
    codec::SparseTensor,
    gradient::{self, Header, PseudoGradient},
    round::Accepted,
    wallet::Keypair,
    window::Uid,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
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
    fn new(name: &str) -> Arc<Self> {
        let memory = MemoryStore::new(name, crate::bucket::system_clock());
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

/// A run that is over: three validators, two peers, and a record with its objects for each window but an empty one.
struct Run {
    identity: Identity,
    directory: Directory,
    chain: MemoryChain,
    validators: [Keypair; 3],
    peers: [Keypair; 2],
    buckets: BTreeMap<AccountId, Arc<Bucket>>,
    /// The model after the run's last window.
    last: Replica,
}

fn manifest() -> ManifestFile {
    let mut manifest = ManifestFile::preset("local").unwrap().parsed;
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
        let mut buckets = BTreeMap::new();
        for (rank, key) in validators.iter().chain(&peers).enumerate() {
            chain.register(&key.account(), [1000, 900, 800, 0, 0][rank], rank < 3);
            buckets.insert(key.account(), Bucket::new("bucket"));
        }
        let stores =
            buckets.iter().map(|(hotkey, bucket)| (hotkey.clone(), bucket.clone() as Arc<dyn Store>));
        let directory = Directory::of(chain.metagraph(3, None).await.unwrap(), stores.collect())
            .with_run(run, &validators.each_ref().map(Keypair::account));
        let last = Replica::initial(&manifest.parsed, FIRST, Device::Cpu).unwrap();
        let (hotkey, bucket) = (named("//Newcomer"), Bucket::new("newcomer") as Arc<dyn Store>);
        let identity = Identity { chain: Arc::new(chain.clone()), netuid: 3, hotkey, manifest, bucket };
        let mut run = Self { identity, directory, chain, validators, peers, buckets, last };
        for window in FIRST..FIRST + WINDOWS {
            run.round(window).await;
        }
        run
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
        let keys = self.identity.keys();
        let (mut accepted, mut payloads) = (Vec::new(), Vec::new());
        for peer in 0..if window == FIRST + 3 { 0 } else { self.peers.len() } {
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
        let (round, model, run) = (self.last.round, self.last.hash.clone(), self.identity.run());
        let record = RoundRecord { run, netuid: 3, window, round, model, accepted };
        let signed = round::sign(&record, &self.validators[0]).unwrap();
        self.bucket(&self.validators[0]).put(&keys.round(window), signed.into()).await.unwrap();
        self.last.apply(&record, &payloads).unwrap();
    }

    /// Makes the second validator lead: it has said nothing of the windows before `first`.
    async fn replace_leader(&mut self, first: Window) {
        self.chain.change(1, |neuron| neuron.stake = 2000);
        self.directory.metagraph = self.chain.metagraph(3, None).await.unwrap();
        for window in first..FIRST + WINDOWS {
            let record = self.record(0, window).await;
            self.say(1, &record).await;
        }
    }

    async fn record(&self, validator: usize, window: Window) -> RoundRecord {
        let (key, place) = (&self.validators[validator], self.identity.keys().round(window));
        round::open(&self.bucket(key).get(&place, 1 << 20).await.unwrap().bytes, &key.account()).unwrap()
    }

    async fn say(&self, validator: usize, record: &RoundRecord) {
        let (key, place) = (&self.validators[validator], self.identity.keys().round(record.window));
        let signed = round::sign(record, key).unwrap();
        self.bucket(key).put(&place, signed.into()).await.unwrap();
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
        let record = sources.record(window, true).await.unwrap().unwrap().record;
        sources.payload(window, &record.accepted[1]).await.unwrap();
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
    let (keys, last) = (run.identity.keys(), FIRST + WINDOWS - 1);
    run.replace_leader(FIRST + 5).await;
    let [before, leader, third] = run.validators.each_ref().map(|key| run.bucket(key));
    [before, leader, third].iter().for_each(|bucket| drop(bucket.reads()));
    let heard = Mutex::new(Vec::new());
    let hear = |applied: Applied| {
        let (record, by) = (applied.record, applied.by);
        heard.lock().unwrap().push((record.window, by, record.accepted.len(), applied.objects.len()));
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

    // Of a window that the leader may be about to decide nobody else is asked, whatever there is.
    before.reads();
    for window in FIRST + 4..=last {
        leader.delete(&keys.round(window)).await.unwrap();
    }
    let mut replica = run.newcomer();
    assert_eq!(run.follow(&mut replica, last).await.unwrap(), FollowOutcome::Waiting(FIRST));
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
        lying.apply(&record, &payloads).unwrap();
        run.say(2, &record).await;
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
async fn a_new_leader_takes_over_the_start_and_the_last_round() {
    use crate::node::{fetch_start_elsewhere, publish_start};

    let mut run = Run::new().await;
    run.replace_leader(FIRST + WINDOWS).await;
    run.identity.hotkey = run.validators[1].clone();
    run.identity.bucket = run.buckets[&run.validators[1].account()].clone();
    let (keys, next) = (run.identity.keys(), FIRST + WINDOWS + 1);
    let start = |start_window| RunStart { run: run.identity.run(), netuid: 3, start_window };
    let elsewhere = async || fetch_start_elsewhere(&run.identity, &run.directory, next).await;
    assert_eq!(elsewhere().await.unwrap(), None, "nobody has begun");
    // Who speaks of a window that nobody can have begun in is passed over, whatever its stake.
    for (validator, window) in [(0, next + 1), (2, FIRST)] {
        let signed = round::sign(&start(window), &run.validators[validator]).unwrap();
        run.bucket(&run.validators[validator]).put(&keys.start(), signed.into()).await.unwrap();
    }
    assert_eq!(elsewhere().await.unwrap(), Some(start(FIRST)));
    run.bucket(&run.validators[2]).away.store(true, Ordering::SeqCst);
    assert!(elsewhere().await.unwrap_err().is_transient(), "it may have something to say");
    publish_start(&run.identity, &start(FIRST)).await.unwrap();
    assert_eq!(fetch_start(&run.identity, &run.directory).await.unwrap(), Some(start(FIRST)));
    assert_eq!(
        fetch_manifest(&run.directory, 3).await.unwrap().unwrap().hash(),
        run.identity.manifest.hash()
    );

    let mut replica = run.newcomer();
    let before = run.validators[0].account();
    let said = async |window| fetch_round_of(&run.identity, &run.directory, &before, window).await.unwrap();
    let (first, second) = (said(FIRST).await.unwrap(), said(FIRST + 1).await.unwrap());
    assert!(said(FIRST + WINDOWS).await.is_none());
    let following = Following::default();
    let take = async |replica: &mut Replica, record: &RoundRecord| {
        take_round(&run.identity, &run.directory, replica, &following, &before, record.clone()).await
    };
    assert!(matches!(take(&mut replica, &second).await, Err(NodeError::OutOfOrder { .. })));
    take(&mut replica, &first).await.unwrap();
    assert_eq!((replica.window, &replica.hash), (FIRST, &second.model));
    let named = replica.taken(FIRST).unwrap().iter().cloned().collect::<Vec<_>>();
    assert_eq!(named.len(), first.accepted.len());
    assert!(replica.taken(FIRST + 1).is_none());
}
