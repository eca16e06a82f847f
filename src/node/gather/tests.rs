use super::*;
use crate::{
    bucket::{BucketError, MemoryStore, Object, ObjectInfo, Store},
    chain::{Chain, MemoryChain},
    compress::ErrorFeedback,
    data::Corpus,
    gradient::{self, Header},
    manifest::ManifestFile,
    node::{Directory, Identity, Prefetch, Replica, likely, now_ms},
    wallet::Keypair,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use tch::{Device, Kind, Tensor};

const WINDOW: Window = 7;

/// A bucket of a peer: what is in it, what time it is there, how it behaves, and how often it was read.
#[derive(Debug)]
struct Bucket {
    memory: MemoryStore,
    time_ms: Arc<AtomicU64>,
    manner: Manner,
    reads: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    InParts,
    WithoutTags,
    Away,
    /// Answers, and takes its time.
    Slow,
}

impl Bucket {
    fn new(manner: Manner) -> Arc<Self> {
        let time_ms = Arc::new(AtomicU64::new(0));
        let clock = time_ms.clone();
        let memory = MemoryStore::new("bucket", Arc::new(move || clock.load(Ordering::SeqCst)));
        Arc::new(Self { memory, time_ms, manner, reads: AtomicUsize::new(0) })
    }

    async fn upload(&self, at_ms: u64, object: &[u8]) {
        self.time_ms.store(at_ms, Ordering::SeqCst);
        self.memory.put(&key(), object.to_vec().into()).await.unwrap();
    }

    fn shown(&self, info: ObjectInfo) -> ObjectInfo {
        let etag = match self.manner {
            Manner::InParts => Some("abc-2".to_owned()),
            Manner::WithoutTags => None,
            _ => info.etag,
        };
        ObjectInfo { etag, ..info }
    }

    fn answers(&self) -> Result<(), BucketError> {
        match self.manner {
            Manner::Away => {
                Err(BucketError::Busy { endpoint: "here".to_owned(), code: "SlowDown".to_owned() })
            }
            _ => Ok(()),
        }
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
        if self.manner == Manner::Slow {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        self.answers()?;
        Ok(self.memory.head(key).await?.map(|info| self.shown(info)))
    }
    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        self.answers()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let Object { bytes, info } = self.memory.get(key, max_bytes).await?;
        Ok(Object { bytes, info: self.shown(info) })
    }
    async fn list_after(&self, p: &str, a: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        self.memory.list_after(p, a, limit).await
    }
    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.memory.delete(key).await
    }
}

fn run() -> ManifestFile {
    let mut manifest = ManifestFile::preset("local").unwrap().parsed;
    manifest.gauntlet = manifest.gauntlet.without_audits();
    let model = &mut manifest.model;
    (model.hidden_size, model.intermediate_size, model.layers, model.heads, model.kv_heads) =
        (16, 16, 1, 2, 1);
    model.sequence_length = 16;
    (manifest.train.micro_batch, manifest.train.batches) = (2, 1);
    manifest.data.held_out_sequences = 2;
    // Nothing here waits for a block.
    manifest.data.assignment = crate::manifest::AssignmentRule::Drawn;
    ManifestFile::parse(&toml::to_string(&manifest).unwrap()).unwrap()
}

fn key() -> String {
    crate::bucket::keys::RunKeys::new(run().run_id()).gradient(WINDOW)
}

/// A subnet of a validator and peers with these buckets.
struct Subnet {
    identity: Identity,
    directory: Directory,
    replica: Replica,
    corpus: crate::data::Sequences,
    assignments: crate::node::Assignments,
    peers: Vec<Keypair>,
    chain: MemoryChain,
    spool: Spool,
    folder: tempfile::TempDir,
}

impl Subnet {
    async fn new(buckets: &[Arc<Bucket>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        std::fs::write(&text, "what all of them train on. ".repeat(200)).unwrap();
        Corpus::prepare(&[text], &folder.path().join("data"), 1 << 20).unwrap();
        let corpus = Corpus::open(&folder.path().join("data")).unwrap().sequences(16, 2).unwrap();
        let chain = MemoryChain::new(3, 0);
        let validator = Keypair::from_uri("//Validator").unwrap();
        chain.register(&validator.account(), 1000, true);
        let mut stores: BTreeMap<AccountId, Arc<dyn Store>> = BTreeMap::new();
        let mut peers = Vec::new();
        for (number, bucket) in buckets.iter().enumerate() {
            let peer = Keypair::from_uri(&format!("//Peer{number}")).unwrap();
            chain.register(&peer.account(), 0, false);
            stores.insert(peer.account(), bucket.clone());
            peers.push(peer);
        }
        let directory = Directory::of(chain.metagraph(3, None).await.unwrap(), stores);
        let manifest = Arc::new(run());
        let replica = Replica::initial(&manifest.parsed, WINDOW, Device::Cpu).unwrap();
        let bucket = Bucket::new(Manner::Plain);
        let identity =
            Identity { chain: Arc::new(chain.clone()), netuid: 3, hotkey: validator, manifest, bucket };
        let mut assignments = crate::node::Assignments::new(WINDOW);
        assignments.learn(&identity, WINDOW).await.unwrap();
        Self {
            identity,
            directory,
            replica,
            corpus,
            assignments,
            peers,
            chain,
            spool: Spool::default(),
            folder,
        }
    }

    async fn clock(&self) -> crate::node::Clock {
        let schedule = self.identity.manifest.parsed.schedule();
        crate::node::Clock::start(Arc::new(self.chain.clone()), schedule).await.unwrap()
    }

    fn view(&self) -> View<'_> {
        let Self { identity, directory, replica, corpus, assignments, spool, .. } = self;
        View { identity, directory, replica, corpus, assignments, device: Device::Cpu, spool }
    }

    /// What a peer would upload; `seed` makes it another each time.
    fn object(&self, peer: usize, seed: i64) -> Vec<u8> {
        let (view, replica) = (self.view(), &self.replica);
        let hotkey = self.peers[peer].account();
        let (run, assigned) = (self.identity.manifest.hash(), view.assigned(&hotkey, WINDOW).unwrap());
        tch::manual_seed(seed);
        let parameters = replica.model.parameters();
        let random: Vec<Tensor> =
            parameters.iter().map(|(_, t)| Tensor::randn(t.size(), (Kind::Float, Device::Cpu))).collect();
        let tensors = ErrorFeedback::new(replica.layout()).encode(&random).unwrap();
        let header = Header {
            run,
            netuid: 3,
            window: WINDOW,
            uid: peer as Uid + 1,
            sample_digest: view.sample_digest(&assigned).unwrap(),
            sample_count: assigned.len() as u64,
            model_hash: replica.model.hash(),
            model_samples: replica.shown(&run, &hotkey, WINDOW),
            hotkey,
        };
        let sign = |message: &[u8]| self.peers[peer].sign(message);
        gradient::encode(&header, &tensors, replica.layout(), sign).unwrap().0
    }
}

fn verdicts(gathered: &Gathered) -> BTreeMap<Uid, String> {
    let verdict = |peer: &Peer| {
        let digest =
            peer.delivered.as_ref().map(|sent| (hex::encode(sent.digest), sent.object().unwrap().len()));
        (peer.uid, format!("{:?} {digest:?}", peer.stage1))
    };
    gathered.peers.values().map(verdict).collect()
}

fn order(put: PutWindow) -> Order<'static> {
    Order { put, within: Duration::from_secs(600), first: &[] }
}

fn put_window() -> PutWindow {
    let open_ms = now_ms() / 1000 * 1000;
    PutWindow { open_ms, close_ms: open_ms + 2000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_while_the_put_window_is_open_changes_no_verdict() {
    const MANNERS: [(Manner, &str, usize); 12] = [
        // What the bucket is like, what is said in the end, and reads after the close.
        (Manner::Plain, "Accepted", 0),
        (Manner::Plain, "Accepted", 0),
        (Manner::Plain, "Absent", 0),
        (Manner::Plain, "Early", 0),
        (Manner::Plain, "Accepted", 1),
        (Manner::Plain, "Late", 0),
        (Manner::Plain, "Late", 0),
        (Manner::InParts, "in parts", 0),
        (Manner::WithoutTags, "Accepted", 1),
        (Manner::Plain, "the limit is", 0),
        (Manner::Plain, "Malformed", 0),
        (Manner::Away, "Unanswered", 0),
    ];
    let buckets: Vec<_> = MANNERS.iter().map(|(manner, ..)| Bucket::new(*manner)).collect();
    let subnet = Subnet::new(&buckets).await;
    let object = |peer| subnet.object(peer, peer as i64);
    let large = vec![0; subnet.replica.layout().max_object_bytes() + 1];
    let put = put_window();
    let (early, inside, late) = (put.open_ms - 1, put.open_ms, put.last_accepted_ms() + 1);
    for peer in [0, 4, 5, 7, 8, 11] {
        buckets[peer].upload(inside, &object(peer)).await;
    }
    buckets[3].upload(early, &object(3)).await;
    buckets[9].upload(inside, &large).await;
    buckets[10].upload(inside, b"no pseudo-gradient").await;
    let changes = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        buckets[1].upload(put.close_ms, &object(1)).await;
        // Replaced after they were read: in the same second, and too late.
        buckets[4].upload(inside, &subnet.object(4, 99)).await;
        buckets[5].upload(late, &object(5)).await;
    };
    let view = subnet.view();
    let clock = subnet.clock().await;
    let (arrivals, ()) = tokio::join!(watch(&view, WINDOW, &put, &clock), changes);
    assert!(now_ms() > put.last_accepted_ms());
    buckets[6].upload(late, &object(6)).await;
    assert_eq!(arrivals.len(), 6, "{arrivals:?}");
    let before: Vec<usize> = buckets.iter().map(|bucket| bucket.reads.load(Ordering::SeqCst)).collect();
    assert_eq!(before, [1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0], "each object is read once");

    let watched = gather(&view, WINDOW, order(put), arrivals).await;
    let reads = buckets.iter().map(|bucket| bucket.reads.load(Ordering::SeqCst));
    let after: Vec<usize> = reads.zip(&before).map(|(reads, before)| reads - before).collect();
    assert_eq!(after, MANNERS.map(|(.., reads)| reads), "only what changed is read again");
    let looked = gather(&view, WINDOW, order(put), Arrivals::default()).await;
    assert_eq!(verdicts(&watched), verdicts(&looked));
    for (peer, (_, said, _)) in MANNERS.iter().enumerate() {
        let verdict = &verdicts(&watched)[&(peer as Uid + 1)];
        assert!(verdict.contains(said), "{peer}: {verdict}");
    }
    // Nobody gets out of sight by a commitment that cannot be read.
    let mut vanished = subnet.directory.buckets().as_ref().clone();
    vanished.remove(&subnet.peers[0].account());
    let directory = Directory::of(subnet.directory.metagraph.clone(), vanished);
    let view = View { directory: &directory, ..subnet.view() };
    let gathered = gather(&view, WINDOW, order(put), Arrivals::default()).await;
    assert_eq!(gathered.peers[&subnet.peers[0].account()].stage1, Stage1::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_buckets_hold_nobody_up() {
    // More of them than are asked at once, before all others in the order of UIDs.
    let mut buckets: Vec<_> = (0..2 * AT_ONCE).map(|_| Bucket::new(Manner::Slow)).collect();
    buckets.push(Bucket::new(Manner::Plain));
    let subnet = Subnet::new(&buckets).await;
    let put = put_window();
    let good = 2 * AT_ONCE;
    buckets[good].upload(put.open_ms, &subnet.object(good, 1)).await;
    let first = [subnet.peers[good].account()];
    let order = Order { put, within: Duration::from_secs(2), first: &first };
    let started = std::time::Instant::now();
    let gathered = gather(&subnet.view(), WINDOW, order, Arrivals::default()).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(gathered.peers[&first[0]].stage1.is_accepted());
    let silent = gathered.peers.values().filter(|peer| peer.stage1 == Stage1::Unanswered).count();
    assert_eq!(silent, 2 * AT_ONCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_start_and_a_peer_that_moved_are_looked_at_afresh() {
    let buckets = [Bucket::new(Manner::Plain), Bucket::new(Manner::Plain)];
    let mut subnet = Subnet::new(&buckets[..1]).await;
    let put = put_window();
    buckets[0].upload(put.open_ms, &subnet.object(0, 1)).await;
    let arrivals = watch(&subnet.view(), WINDOW, &put, &subnet.clock().await).await;
    assert_eq!(arrivals.len(), 1);
    assert!(
        watch(&subnet.view(), WINDOW, &put, &subnet.clock().await).await.is_empty(),
        "nothing is left to wait for"
    );
    // The peer commits another bucket, in which there is nothing.
    let moved = BTreeMap::from([(subnet.peers[0].account(), buckets[1].clone() as Arc<dyn Store>)]);
    subnet.directory = Directory::of(subnet.directory.metagraph.clone(), moved);
    let gathered = gather(&subnet.view(), WINDOW, order(put), arrivals).await;
    assert_eq!(gathered.peers[&subnet.peers[0].account()].stage1, Stage1::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_may_name_is_fetched_once_it_is_there() {
    let buckets: Vec<_> = (0..3).map(|_| Bucket::new(Manner::Plain)).collect();
    let subnet = Subnet::new(&buckets).await;
    let (view, replica) = (subnet.view(), &subnet.replica);
    let everybody = likely(view.directory, replica, 2);
    assert_eq!(everybody.len(), 3);
    assert!(likely(view.directory, replica, 1).is_empty(), "of many peers only those of the last round");

    // Blocks of the chain in memory come when a test says so, and have times of their own.
    let clock = subnet.clock().await;
    let schedule = subnet.identity.manifest.parsed.schedule();
    subnet.chain.advance(schedule.opening_block(WINDOW));
    let opening = subnet.chain.timestamp_ms(schedule.opening_block(WINDOW)).await.unwrap();
    buckets[0].upload(opening, &subnet.object(0, 1)).await;
    buckets[1].upload(opening - 1000, &subnet.object(1, 1)).await;
    let prefetch =
        Prefetch::start(&subnet.identity, view.directory, replica.layout(), &everybody, WINDOW, clock);
    let here = prefetch.here();
    for _ in 0..200 {
        if !here.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(here.len(), 1, "the other two are early and absent");
    let expected = gradient::Expected {
        run: subnet.identity.manifest.hash(),
        netuid: 3,
        window: WINDOW,
        uid: 1,
        hotkey: subnet.peers[0].account(),
    };
    let payload =
        gradient::decode(&subnet.object(0, 1), replica.layout(), &expected, crate::wallet::verify).unwrap();
    let accepted = |digest: [u8; 32]| crate::round::Accepted {
        uid: 1,
        hotkey: subnet.peers[0].account(),
        digest: hex::encode(digest),
    };
    assert_eq!(*here.get(&accepted(payload.digest)).unwrap().gradient, payload);
    assert!(here.get(&accepted([0; 32])).is_none(), "the digest decides");
    here.forget(WINDOW - 1);
    assert_eq!(here.len(), 1);
    here.forget(WINDOW);
    assert!(here.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn few_objects_are_in_memory_and_the_others_come_back_from_disk() {
    let buckets: Vec<_> = (0..6).map(|_| Bucket::new(Manner::Plain)).collect();
    let mut subnet = Subnet::new(&buckets).await;
    let put = put_window();
    for (peer, bucket) in buckets.iter().enumerate() {
        // Two of them send the same.
        bucket.upload(put.open_ms, &subnet.object(peer, peer.min(4) as i64)).await;
    }
    let all = gather(&subnet.view(), WINDOW, order(put), Arrivals::default()).await;
    let folder = subnet.folder.path().join("spool");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("left behind"), "by a process that was killed").unwrap();
    subnet.spool = Spool::open(folder.clone(), 2).unwrap();
    subnet.spool.prefer([subnet.peers[5].account()]);
    let on_disk = || std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(on_disk(), 0);
    let few = gather(&subnet.view(), WINDOW, order(put), Arrivals::default()).await;
    let here =
        |gathered: &Gathered| gathered.accepted().filter(|(.., sent)| sent.in_memory().is_some()).count();
    assert_eq!((here(&all), here(&few), on_disk()), (6, 3, 3));
    assert!(few.peers[&subnet.peers[5].account()].delivered.as_ref().unwrap().in_memory().is_some());
    // It makes no difference.
    assert_eq!(verdicts(&few), verdicts(&all));
    for ((_, _, one), (_, _, other)) in few.accepted().zip(all.accepted()) {
        assert_eq!(one.gradient().unwrap(), other.gradient().unwrap());
    }
    let overlapping =
        |gathered: &Gathered| gathered.overlapping(subnet.replica.layout(), &[3; 32], 0.5).unwrap();
    assert_eq!(overlapping(&few), overlapping(&all));
    assert_eq!(overlapping(&all).len(), 1);
    // What is not needed any more leaves nothing behind, and makes room.
    drop(few);
    assert_eq!(on_disk(), 0);
    let again = gather(&subnet.view(), WINDOW, order(put), Arrivals::default()).await;
    assert_eq!((here(&again), on_disk()), (3, 3));
}
