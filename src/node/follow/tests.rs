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

/// A run that is over: two validators, two peers, and a record with its objects for each window but an empty one.
struct Run {
    identity: Identity,
    directory: Directory,
    validators: [Keypair; 2],
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
        let validators = [named("//Leader"), named("//Second")];
        let peers = [named("//Peer0"), named("//Peer1")];
        let mut buckets = BTreeMap::new();
        for (rank, key) in validators.iter().chain(&peers).enumerate() {
            chain.register(&key.account(), [1000, 900, 0, 0][rank], rank < 2);
            buckets.insert(key.account(), Bucket::new("bucket"));
        }
        let stores =
            buckets.iter().map(|(hotkey, bucket)| (hotkey.clone(), bucket.clone() as Arc<dyn Store>));
        let directory = Directory::of(chain.metagraph(3, None).await.unwrap(), stores.collect())
            .with_run(run, &validators.each_ref().map(Keypair::account));
        let last = Replica::initial(&manifest.parsed, FIRST, Device::Cpu).unwrap();
        let (hotkey, bucket) = (named("//Newcomer"), Bucket::new("newcomer") as Arc<dyn Store>);
        let identity = Identity { chain: Arc::new(chain), netuid: 3, hotkey, manifest, bucket };
        let mut run = Self { identity, directory, validators, peers, buckets, last };
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
        let (uid, hotkey) = (peer as Uid + 2, key.account());
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
            accepted.push(Accepted { uid: peer as Uid + 2, hotkey, digest: hex::encode(payload.digest) });
            payloads.push(Arc::new(payload));
        }
        let (round, model, run) = (self.last.round, self.last.hash.clone(), self.identity.run());
        let record = RoundRecord { run, netuid: 3, window, round, model, accepted };
        let signed = round::sign(&record, &self.validators[0]).unwrap();
        self.bucket(&self.validators[0]).put(&keys.round(window), signed.into()).await.unwrap();
        self.last.apply(&record, &payloads).unwrap();
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
    let [leader, second] = run.validators.each_ref().map(|key| run.bucket(key));
    let [one, other] = run.peers.each_ref().map(|key| run.bucket(key));
    let whole = one.memory.get(&keys.gradient(FIRST + 1), 1 << 20).await.unwrap().bytes;
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    // Damaged at its peer; gone there too and half-written at the leader; another true one in its place; away altogether.
    one.put(&keys.gradient(FIRST), damaged.clone().into()).await.unwrap();
    one.delete(&keys.gradient(FIRST + 1)).await.unwrap();
    let copy = keys.round_object(FIRST + 1, &run.peers[0].account());
    leader.put(&copy, whole.slice(..whole.len() / 2)).await.unwrap();
    let older = one.memory.get(&keys.gradient(FIRST + 2), 1 << 20).await.unwrap().bytes;
    one.put(&keys.gradient(FIRST + 4), older).await.unwrap();
    other.away.store(true, Ordering::SeqCst);
    let mut replica = run.newcomer();
    assert_eq!(run.follow(&mut replica, last).await.unwrap(), FollowOutcome::Reached);
    assert_eq!(replica.hash, run.last.hash);
    assert_eq!(second.reads().as_slice(), std::slice::from_ref(&copy), "asked only where nobody else had it");

    // Who does not answer is asked last from then on.
    other.reads();
    let sources = Sources::new(&run.identity, &run.directory, &replica, &Prefetched::default()).unwrap();
    for (window, asked) in [(FIRST, 1), (FIRST + 1, 0)] {
        let record = sources.record(window).await.unwrap().unwrap();
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
    let (keys, limit) = (run.identity.keys(), run.identity.manifest.parsed.gauntlet.top_g);
    let leader = &run.validators[0];
    let record = run.bucket(leader).get(&keys.round(FIRST + 4), 1 << 20).await.unwrap();
    let mut record: RoundRecord = round::open(&record.bytes, &leader.account()).unwrap();
    record.accepted = vec![record.accepted[0].clone(); limit + 1];
    let signed = round::sign(&record, leader).unwrap();
    run.bucket(leader).put(&keys.round(FIRST + 4), signed.into()).await.unwrap();
    let mut replica = run.newcomer();
    let refused = run.follow(&mut replica, FIRST + 8).await.unwrap_err();
    assert!(matches!(refused, NodeError::TooManyAccepted { count, .. } if count == limit + 1), "{refused}");
    assert_eq!(replica.window, FIRST + 3);
}
