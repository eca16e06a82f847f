use super::*;
use crate::{
    bucket::{MemoryStore, Store, system_clock},
    chain::{Chain, MemoryChain},
    checkpoint::{Desk, Target, Thinning, Writer},
    model::Lender,
    node::recall,
    round::sign,
    wallet::Keypair,
};
use std::{collections::BTreeMap, sync::Arc};

const START: Window = 7;
const WINDOW: Window = 16;

/// A leader, another validator and a miner, each with a bucket.
struct Subnet {
    identity: Identity,
    directory: Directory,
    keys: Vec<Keypair>,
    buckets: Vec<MemoryStore>,
    folder: tempfile::TempDir,
}

impl Subnet {
    async fn new() -> Self {
        let mut manifest = ManifestFile::preset("local").unwrap().parsed;
        let model = &mut manifest.model;
        (model.vocab_size, model.hidden_size, model.intermediate_size) = (64, 32, 48);
        (model.layers, model.heads, model.kv_heads) = (2, 4, 2);
        manifest.checkpoint.shard_bytes = 20_000;
        let manifest = Arc::new(ManifestFile::parse(&toml::to_string(&manifest).unwrap()).unwrap());
        // The chain is at a block of a later window than the checkpoints.
        let chain = MemoryChain::new(3, 0);
        chain.advance(manifest.parsed.schedule().blocks_per_window * 40);
        let names = [("//Leader", 1000, true), ("//Other", 10, true), ("//Miner", 0, false)];
        let mut stores: BTreeMap<AccountId, Arc<dyn Store>> = BTreeMap::new();
        let (mut keys, mut buckets) = (Vec::new(), Vec::new());
        for (name, stake, permit) in names {
            let key = Keypair::from_uri(name).unwrap();
            chain.register(&key.account(), stake, permit);
            let bucket = MemoryStore::new(&name[2..], system_clock());
            stores.insert(key.account(), Arc::new(bucket.clone()));
            keys.push(key);
            buckets.push(bucket);
        }
        let accounts: Vec<AccountId> = keys.iter().map(Keypair::account).collect();
        let metagraph = chain.metagraph(3, None).await.unwrap();
        let directory = Directory::of(metagraph, stores).with_run(manifest.hash(), &accounts);
        let hotkey = Keypair::from_uri("//Other").unwrap();
        let bucket = Arc::new(buckets[1].clone());
        let identity = Identity { chain: Arc::new(chain), netuid: 3, hotkey, manifest, bucket };
        let folder = tempfile::tempdir().unwrap();
        Self { identity, directory, keys, buckets, folder }
    }

    /// A model that has taken some steps.
    fn trained(&self, window: Window, by: f64) -> Replica {
        let mut replica = self.fresh();
        for (_, tensor) in replica.model.parameters() {
            let _ = tensor.detach().g_add_scalar_(by);
        }
        (replica.window, replica.round) = (window, window - START + 1);
        replica.hash = hex::encode(replica.model.hash());
        replica
    }

    fn fresh(&self) -> Replica {
        Replica::initial(&self.identity.manifest.parsed, START, Device::Cpu).unwrap()
    }

    fn shelf(&self, who: usize) -> Shelf {
        let dir = self.folder.path().join(format!("checkpoints-{who}"));
        Shelf::open(dir, Form::new(&self.identity.manifest.parsed)).unwrap()
    }

    /// What somebody writes and publishes of a model.
    async fn publish(&self, who: usize, replica: &Replica) -> CheckpointRecord {
        let shelf = self.shelf(who);
        let mut lender = Lender::default();
        let lent = lender.lend(&replica.model);
        shelf.write(stand(&self.identity, replica), lent.parameters(), &self.keys[who]).unwrap();
        let owner = self.keys[who].account();
        let (record, signed) = shelf.record(replica.window, &owner).unwrap();
        let target = Target { store: &self.buckets[who], keys: &self.identity.keys(), owner: &owner };
        assert!(target.publish(&shelf.folder(replica.window), &record, &signed).await.unwrap());
        record
    }

    /// The leader's record of the window after a model.
    async fn round_after(&self, replica: &Replica) {
        let (window, round, model) = (replica.window + 1, replica.round, replica.hash.clone());
        let record = RoundRecord {
            run: self.identity.run(),
            netuid: 3,
            by: self.keys[0].account(),
            previous: None,
            passed: Default::default(),
            null: None,
            window,
            round,
            model,
            accepted: vec![],
        };
        let signed = sign(&record, &self.keys[0]).unwrap();
        self.buckets[0].put(&self.identity.keys().round(window), signed.into()).await.unwrap();
    }

    async fn damage(&self, who: usize, record: &CheckpointRecord, file: usize) {
        let key = self.identity.keys().checkpoint(record.window, &record.files[file].name);
        let mut bytes = self.buckets[who].get(&key, u64::MAX).await.unwrap().bytes.to_vec();
        bytes[1000] ^= 1;
        self.buckets[who].put(&key, bytes.into()).await.unwrap();
    }

    async fn restore(&self, replica: &mut Replica, own: Option<&Shelf>) -> Result<(), NodeError> {
        let incoming = self.folder.path().join("incoming");
        restore(&self.identity, &self.directory, replica, own, None, &incoming).await
    }

    async fn newest(&self) -> Vec<Window> {
        let checkpoints = Checkpoints::new(&self.directory, 3, &self.identity.manifest).unwrap();
        checkpoints.newest(None).await.unwrap().iter().map(|record| record.window).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_word_is_believed_and_others_bytes_are_taken() {
    let subnet = Subnet::new().await;
    let trained = subnet.trained(WINDOW, 0.01);
    let mut replica = subnet.fresh();
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!(replica.window, START - 1, "there is none yet");
    let record = subnet.publish(0, &trained).await;
    assert_eq!(subnet.publish(1, &trained).await, record);
    subnet.damage(0, &record, 0).await;
    subnet.damage(1, &record, 1).await;
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!((replica.window, replica.round, &replica.hash), (WINDOW, 10, &trained.hash));
    assert_eq!(hex::encode(replica.model.hash()), trained.hash);
    // Neither can be repaired by the other now: the model stays what it is at the start.
    subnet.damage(1, &record, 0).await;
    std::fs::remove_dir_all(subnet.folder.path().join("incoming")).unwrap();
    let mut replica = subnet.fresh();
    let initial = replica.hash.clone();
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!((replica.window, &replica.hash), (START - 1, &initial));
}

/// Records are a chain: whoever comes from a checkpoint knows the last record before it, also where nobody has decided since.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_before_a_checkpoint_is_found_though_windows_lie_between() {
    let subnet = Subnet::new().await;
    let mut trained = subnet.trained(WINDOW, 0.01);
    let say = async |window: Window, round: u64, accepted: Vec<crate::round::Accepted>| {
        let record = RoundRecord {
            run: subnet.identity.run(),
            netuid: 3,
            by: subnet.keys[0].account(),
            previous: None,
            passed: Default::default(),
            null: None,
            window,
            round,
            model: "00".repeat(32),
            accepted,
        };
        let bytes = sign(&record, &subnet.keys[0]).unwrap();
        subnet.buckets[0].put(&subnet.identity.keys().round(window), bytes.clone().into()).await.unwrap();
        crate::round::SignedRound::open(bytes.into()).unwrap()
    };
    let peer = crate::round::Accepted { uid: 2, hotkey: subnet.keys[2].account(), digest: "00".repeat(32) };
    // The step that led to the model; then a record that the run went on without, and three windows of nobody's.
    let led = say(WINDOW, trained.round - 1, vec![peer.clone()]).await;
    say(WINDOW + 1, trained.round + 5, vec![peer]).await;
    trained.window = WINDOW + 4;
    subnet.publish(0, &trained).await;
    let mut replica = subnet.fresh();
    recall(&subnet.directory, &subnet.identity.manifest, &mut replica).await.unwrap();
    assert!(replica.last().is_none(), "before the first window there is none");
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!((replica.window, replica.last().is_none()), (WINDOW + 4, true));
    recall(&subnet.directory, &subnet.identity.manifest, &mut replica).await.unwrap();
    let last = replica.last().unwrap();
    assert_eq!((last.window, &last.hash), (WINDOW, &led.hash));
    assert_eq!(replica.skipped(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_checkpoint_counts_if_the_leaders_next_record_names_its_model() {
    let subnet = Subnet::new().await;
    let trained = subnet.trained(WINDOW, 0.01);
    subnet.publish(1, &trained).await;
    // Who has no permit is nobody's source.
    subnet.publish(2, &subnet.trained(WINDOW + 5, 0.02)).await;
    assert!(subnet.newest().await.is_empty(), "nobody says that it is the run's");
    subnet.round_after(&subnet.trained(WINDOW, 0.03)).await;
    assert!(subnet.newest().await.is_empty(), "the leader says that it is not");
    subnet.round_after(&trained).await;
    assert_eq!(subnet.newest().await, [WINDOW]);
    let mut replica = subnet.fresh();
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!(replica.hash, trained.hash);
    // An older one of the leader's does not hide it, and a newer one comes first.
    subnet.publish(0, &subnet.trained(WINDOW - 5, 0.04)).await;
    assert_eq!(subnet.newest().await, [WINDOW, WINDOW - 5]);
    subnet.publish(0, &subnet.trained(WINDOW + 5, 0.05)).await;
    assert_eq!(subnet.newest().await, [WINDOW + 5, WINDOW]);
    // What is no record, such as one of an earlier form, hides nobody's.
    let key = subnet.identity.keys().latest_checkpoint();
    subnet.buckets[0].put(&key, "{}".into()).await.unwrap();
    assert_eq!(subnet.newest().await, [WINDOW]);
    // One of a window that has not come is nobody's.
    subnet.publish(0, &subnet.trained(WINDOW + 500, 0.05)).await;
    assert_eq!(subnet.newest().await, [WINDOW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_checkpoint_or_another_model_is_never_kept() {
    let subnet = Subnet::new().await;
    let trained = subnet.trained(WINDOW, 0.01);
    let mut lying = subnet.trained(WINDOW, 0.02);
    lying.hash = trained.hash.clone();
    subnet.publish(0, &lying).await;
    let mut replica = subnet.trained(WINDOW - 1, 0.03);
    let initial = subnet.fresh().hash;
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!((replica.window, replica.round, &replica.hash), (START - 1, 0, &initial));
    assert_eq!(hex::encode(replica.model.hash()), initial);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wrote_it_itself_fetches_nothing_and_trusts_it_only_as_far_as_the_run() {
    let subnet = Subnet::new().await;
    let trained = subnet.trained(WINDOW, 0.01);
    let shelf = subnet.shelf(1);
    let write = |replica: &Replica| {
        let mut lender = Lender::default();
        let lent = lender.lend(&replica.model);
        shelf.write(stand(&subnet.identity, replica), lent.parameters(), &subnet.keys[1]).unwrap();
    };
    write(&trained);
    let mut replica = subnet.fresh();
    subnet.restore(&mut replica, Some(&shelf)).await.unwrap();
    assert_eq!(replica.hash, trained.hash);
    assert!(!subnet.folder.path().join("incoming").exists());
    // The leader's record says otherwise.
    let theirs = subnet.trained(WINDOW, 0.02);
    subnet.round_after(&theirs).await;
    subnet.publish(0, &theirs).await;
    let mut replica = subnet.fresh();
    subnet.restore(&mut replica, Some(&shelf)).await.unwrap();
    assert_eq!(replica.hash, theirs.hash);
    // A newer one elsewhere is taken.
    let newer = subnet.trained(WINDOW + 5, 0.03);
    subnet.publish(0, &newer).await;
    write(&theirs);
    let mut replica = subnet.fresh();
    subnet.restore(&mut replica, Some(&shelf)).await.unwrap();
    assert_eq!(replica.hash, newer.hash);
    // What is on disk as well, but damaged, is fetched.
    write(&newer);
    let path = shelf.folder(WINDOW + 5).join(&shelf.form().files()[1].name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut replica = subnet.fresh();
    subnet.restore(&mut replica, Some(&shelf)).await.unwrap();
    assert_eq!(replica.hash, newer.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_back_takes_the_newest_checkpoint_before_the_window() {
    let subnet = Subnet::new().await;
    let models =
        [(WINDOW, 0.01), (WINDOW + 5, 0.02), (WINDOW + 10, 0.03)].map(|(w, by)| subnet.trained(w, by));
    for model in &models {
        subnet.publish(0, model).await;
        subnet.round_after(model).await;
    }
    let checkpoints = Checkpoints::new(&subnet.directory, 3, &subnet.identity.manifest).unwrap();
    let mut replica = subnet.fresh();
    checkpoints.load_before(&mut replica, WINDOW + 7).await.unwrap();
    assert_eq!((replica.window, &replica.hash), (WINDOW + 5, &models[1].hash));
    // One that the leader's bucket has lost is in another's.
    let mut replica = subnet.fresh();
    let keys = subnet.identity.keys();
    subnet.buckets[0].delete(&keys.checkpoint(WINDOW + 5, RECORD_FILE)).await.unwrap();
    checkpoints.load_before(&mut replica, WINDOW + 7).await.unwrap();
    assert_eq!(replica.window, WINDOW);
    subnet.publish(1, &models[1]).await;
    checkpoints.load_before(&mut replica, WINDOW + 7).await.unwrap();
    assert_eq!(replica.window, WINDOW + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_until_the_weights_are_on_disk_and_no_longer() {
    let subnet = Subnet::new().await;
    let mut replica = subnet.trained(WINDOW, 0.01);
    let (keys, hotkey) = (subnet.identity.keys(), subnet.keys[0].clone());
    let bucket = Arc::new(subnet.buckets[0].clone());
    let thinning = Thinning { start: START, every: 5 };
    let mut writer = Writer::start(Desk { shelf: subnet.shelf(0), bucket, keys, hotkey, thinning });
    writer.write(stand(&subnet.identity, &replica), replica.lend());
    let before = replica.hash.clone();
    // Nothing is done to a weight before they are back.
    replica.reset();
    assert_eq!(subnet.shelf(0).windows().unwrap(), [WINDOW]);
    writer.done().await;
    assert_ne!(replica.hash, before);
    subnet.restore(&mut replica, None).await.unwrap();
    assert_eq!(replica.hash, before);
}
