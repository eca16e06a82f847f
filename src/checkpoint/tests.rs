use super::*;
use crate::{
    bucket::{
        BucketError, MemoryStore, Object, ObjectInfo, Pieces, Store,
        keys::{Key, RunKeys},
        system_clock,
    },
    manifest::ManifestFile,
    model::{Lender, Llama},
    round::{self, CheckpointRecord},
    wallet::{AccountId, Keypair},
    window::Window,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use md5::{Digest, Md5};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
};
use tch::Device;

/// A bucket that may be lost to the network at any moment, and that keeps account of what is asked.
#[derive(Debug)]
struct Bucket {
    memory: MemoryStore,
    /// Writes and deletions that still go through.
    changes_left: AtomicUsize,
    /// Reads of files that still go through.
    reads_left: AtomicUsize,
    /// Names of files whose content comes out with a bit turned over.
    damaged: Mutex<BTreeSet<String>>,
    /// Whether tags are the MD5 of the content, as S3's are.
    tagged: bool,
    /// Keys that were written, read and removed, and the most bytes that a read asked for or a write had.
    asked: Mutex<Vec<(char, String, u64)>>,
}

impl Bucket {
    fn new(tagged: bool) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStore::new("bucket", system_clock()),
            changes_left: AtomicUsize::new(usize::MAX),
            reads_left: AtomicUsize::new(usize::MAX),
            damaged: Mutex::default(),
            tagged,
            asked: Mutex::default(),
        })
    }

    fn goes_through(left: &AtomicUsize) -> Result<(), BucketError> {
        let had = left.fetch_update(SeqCst, SeqCst, |left| match left {
            usize::MAX => Some(left),
            left => left.checked_sub(1),
        });
        let gone = || BucketError::Unreachable { endpoint: "here".to_owned(), source: "cut".into() };
        had.map(drop).map_err(|_| gone())
    }

    fn note(&self, what: char, key: &str, bytes: u64) {
        self.asked.lock().unwrap().push((what, key.to_owned(), bytes));
    }

    fn count(&self, what: char, end: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(w, key, _)| *w == what && key.ends_with(end)).count()
    }

    async fn tag(&self, key: &str, info: ObjectInfo) -> ObjectInfo {
        let bytes = self.memory.get(key, u64::MAX).await.unwrap().bytes;
        let etag = if self.tagged { Some(hex::encode(Md5::digest(&bytes))) } else { info.etag.clone() };
        ObjectInfo { etag, ..info }
    }
}

#[async_trait]
impl Store for Bucket {
    fn bucket(&self) -> &str {
        "bucket"
    }
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        Self::goes_through(&self.changes_left)?;
        self.note('w', key, bytes.len() as u64);
        self.memory.put(key, bytes).await
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
        match self.memory.head(key).await? {
            Some(info) => Ok(Some(self.tag(key, info).await)),
            None => Ok(None),
        }
    }
    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        self.note('r', key, max_bytes);
        self.memory.get(key, max_bytes).await
    }
    async fn read(&self, key: &str, max_bytes: u64) -> Result<Pieces, BucketError> {
        Self::goes_through(&self.reads_left)?;
        let Object { bytes, info } = self.get(key, max_bytes).await?;
        let mut bytes = bytes.to_vec();
        if self.damaged.lock().unwrap().iter().any(|end| key.ends_with(end)) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Pieces { info, content: stream::iter(pieces).boxed() })
    }
    async fn list_after(&self, p: &str, a: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        self.memory.list_after(p, a, limit).await
    }
    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        Self::goes_through(&self.changes_left)?;
        self.note('d', key, 0);
        self.memory.delete(key).await
    }
}

/// A run of a small model, whose checkpoints have several files, and a node of it.
struct Node {
    form: Form,
    keys: RunKeys,
    hotkey: Keypair,
    model: Llama,
    folder: tempfile::TempDir,
}

impl Node {
    fn new(name: &str) -> Self {
        let mut manifest = ManifestFile::preset("local").unwrap().parsed;
        let model = &mut manifest.model;
        (model.vocab_size, model.hidden_size, model.intermediate_size) = (64, 32, 48);
        (model.layers, model.heads, model.kv_heads) = (2, 4, 2);
        manifest.checkpoint.shard_bytes = 20_000;
        let model = Llama::new(&manifest.model, 7, Device::Cpu);
        let hotkey = Keypair::from_uri(&format!("//{name}")).unwrap();
        let keys = RunKeys::new("0123456789abcdef");
        let folder = tempfile::tempdir().unwrap();
        Self { form: Form::new(&manifest), keys, hotkey, model, folder }
    }

    fn shelf(&self) -> Shelf {
        Shelf::open(self.folder.path().join("checkpoints"), self.form.clone()).unwrap()
    }

    fn stand(&self, window: Window) -> Stand {
        let model = hex::encode(self.model.hash());
        Stand { run: "00".repeat(32), window, round: window, model }
    }

    /// Another model, as after a step.
    fn step(&mut self) {
        for (_, tensor) in self.model.parameters() {
            let _ = tensor.detach().g_add_scalar_(0.01);
        }
    }

    fn write(&self, window: Window) -> (CheckpointRecord, Vec<u8>) {
        let shelf = self.shelf();
        shelf.write(self.stand(window), self.model.parameters(), &self.hotkey).unwrap();
        shelf.record(window, &self.hotkey.account()).unwrap()
    }

    async fn publish(&self, bucket: &Bucket, window: Window) -> Result<bool, CheckpointError> {
        let shelf = self.shelf();
        let (record, signed) = shelf.record(window, &self.hotkey.account()).unwrap();
        let owner = self.hotkey.account();
        let target = Target { store: bucket, keys: &self.keys, owner: &owner };
        target.publish(&shelf.folder(window), &record, &signed).await
    }

    fn desk(&self, bucket: Arc<Bucket>, thinning: Thinning) -> Desk {
        let (keys, hotkey) = (self.keys.clone(), self.hotkey.clone());
        Desk { shelf: self.shelf(), bucket, keys, hotkey, thinning }
    }

    fn record_at(&self, signed: &[u8]) -> CheckpointRecord {
        round::open(signed, &self.hotkey.account()).unwrap()
    }

    /// What a reader finds: the model that the bucket's newest record names, whole.
    async fn newest(&self, bucket: &Arc<Bucket>) -> Option<CheckpointRecord> {
        let signed = bucket.memory.get(&self.keys.latest_checkpoint(), 1 << 20).await.ok()?;
        let record = self.record_at(&signed.bytes);
        let into = tempfile::tempdir().unwrap();
        self.fetch(&record, &[bucket], into.path()).await.unwrap();
        let model = self.form.read(into.path(), self.model.config(), Device::Cpu).unwrap();
        assert_eq!(hex::encode(model.hash()), record.model);
        Some(record)
    }

    async fn fetch(
        &self,
        record: &CheckpointRecord,
        buckets: &[&Arc<Bucket>],
        folder: &Path,
    ) -> Result<i64, CheckpointError> {
        let source = |(n, bucket): (usize, &&Arc<Bucket>)| Source {
            owner: AccountId::new([n as u8; 32]),
            store: (*bucket).clone(),
        };
        let sources: Vec<_> = buckets.iter().enumerate().map(source).collect();
        let told = AtomicI64::new(0);
        let fetch = Fetch { form: &self.form, record, keys: &self.keys, sources: &sources };
        fetch.fetch(folder, &|bytes| _ = told.fetch_add(bytes, SeqCst)).await?;
        Ok(told.into_inner())
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_upload_that_is_cut_anywhere_leaves_the_checkpoint_before_it_and_is_gone_on_with() {
    for tagged in [true, false] {
        let mut node = Node::new("Leader");
        let (first, _) = node.write(5);
        node.step();
        let (second, _) = node.write(10);
        assert!(
            first.files.len() > 2 && first.files.iter().zip(&second.files).all(|(a, b)| a.hash != b.hash)
        );
        let all = second.files.len() + 2;
        for cut in 0..=all {
            let bucket = Bucket::new(tagged);
            assert!(node.publish(&bucket, 5).await.unwrap());
            bucket.changes_left.store(cut, SeqCst);
            let went = node.publish(&bucket, 10).await;
            assert_eq!(went.is_ok(), cut == all, "{cut} of {all}: {went:?}");
            let newest = node.newest(&bucket).await.unwrap();
            assert_eq!(newest, if cut == all { second.clone() } else { first.clone() });
            // The record beside the files is not there before all of them.
            let beside = bucket.memory.head(&node.keys.checkpoint(10, RECORD_FILE)).await.unwrap();
            assert_eq!(beside.is_some(), cut > second.files.len());
            // The next start sends what is missing, and nothing twice.
            bucket.changes_left.store(usize::MAX, SeqCst);
            assert!(node.publish(&bucket, 10).await.unwrap());
            assert_eq!(node.newest(&bucket).await.unwrap(), second);
            for file in &second.files {
                let end = node.keys.checkpoint(10, &file.name);
                assert_eq!(bucket.count('w', &end), 1, "{end} after a cut at {cut}");
            }
            assert!(!node.publish(&bucket, 5).await.unwrap(), "the newest does not go back");
            assert_eq!(node.newest(&bucket).await.unwrap(), second);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_on_disk_or_in_the_bucket_is_not_published() {
    let node = Node::new("Leader");
    let (record, _) = node.write(5);
    let bucket = Bucket::new(false);
    bucket.damaged.lock().unwrap().insert(record.files[1].name.clone());
    let stored = node.publish(&bucket, 5).await;
    assert!(matches!(stored, Err(CheckpointError::NotStored { window: 5, .. })), "{stored:?}");
    bucket.damaged.lock().unwrap().clear();
    let path = node.shelf().folder(5).join(&record.files[2].name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = node.publish(&bucket, 5).await;
    assert!(matches!(damaged, Err(CheckpointError::Damaged { window: 5, .. })), "{damaged:?}");
    assert_eq!(node.newest(&bucket).await, None);
    // Nobody tries that for ever.
    let desk = node.desk(bucket.clone(), Thinning { start: 1, every: 5 });
    desk.publish_newest().await.unwrap();
    assert!(node.shelf().windows().unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_or_lost_source_is_left_for_the_next_one() {
    let node = Node::new("Leader");
    let (record, _) = node.write(5);
    let buckets = [(); 3].map(|()| Bucket::new(true));
    for bucket in &buckets {
        node.publish(bucket, 5).await.unwrap();
    }
    let [damaged, away, good] = &buckets;
    damaged.damaged.lock().unwrap().extend([record.files[0].name.clone(), record.files[2].name.clone()]);
    away.reads_left.store(0, SeqCst);
    let into = tempfile::tempdir().unwrap();
    let told = node.fetch(&record, &[damaged, away, good], into.path()).await.unwrap();
    assert_eq!(told, record.bytes() as i64, "what came to nothing is taken back");
    let model = node.form.read(into.path(), node.model.config(), Device::Cpu).unwrap();
    assert_eq!(model.hash(), node.model.hash());
    assert_eq!(names(into.path()).len(), record.files.len(), "no half files are left");

    let into = tempfile::tempdir().unwrap();
    let nobody = node.fetch(&record, &[damaged], into.path()).await.unwrap_err();
    assert!(matches!(&nobody, CheckpointError::NoSource { window: 5, sources: 1, .. }), "{nobody}");
    assert!(!nobody.is_transient() && !names(into.path()).contains(&record.files[0].name));
    let nobody = node.fetch(&record, &[], into.path()).await.unwrap_err();
    assert!(matches!(nobody, CheckpointError::NoSource { sources: 0, source: None, .. }));
}

#[tokio::test]
async fn what_came_whole_is_not_fetched_again() {
    let node = Node::new("Leader");
    let (record, _) = node.write(5);
    let bucket = Bucket::new(true);
    node.publish(&bucket, 5).await.unwrap();
    let into = tempfile::tempdir().unwrap();
    bucket.reads_left.store(2, SeqCst);
    let error = node.fetch(&record, &[&bucket], into.path()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(names(into.path()).len(), 2);
    // One of them is cut short and one is another, as after a power cut: only these come again.
    let there: Vec<String> = names(into.path()).into_iter().collect();
    fs::write(into.path().join(&there[0]), "half").unwrap();
    bucket.reads_left.store(usize::MAX, SeqCst);
    assert_eq!(node.fetch(&record, &[&bucket], into.path()).await.unwrap(), record.bytes() as i64);
    for file in &record.files {
        let reads = bucket.count('r', &node.keys.checkpoint(5, &file.name));
        assert_eq!(reads, if file.name == there[0] { 2 } else { 1 }, "{}", file.name);
    }
    let reads = bucket.count('r', "safetensors");
    node.fetch(&record, &[&bucket], into.path()).await.unwrap();
    assert_eq!(bucket.count('r', "safetensors"), reads);
}

#[tokio::test]
async fn nothing_larger_than_a_file_is_ever_read_or_written() {
    let node = Node::new("Leader");
    let (record, _) = node.write(5);
    let bucket = Bucket::new(false);
    node.publish(&bucket, 5).await.unwrap();
    node.newest(&bucket).await.unwrap();
    let largest = record.files.iter().map(|file| file.bytes).max().unwrap();
    assert!(largest < record.bytes() / 2);
    let asked = bucket.asked.lock().unwrap().clone();
    let files = asked.iter().filter(|(_, key, _)| key.ends_with(".safetensors"));
    assert!(
        files.clone().count() >= 3 * record.files.len() && files.clone().all(|(.., bytes)| *bytes <= largest)
    );
    // A record of larger files is refused before any of them is asked for.
    let mut larger = record.clone();
    larger.files[0].bytes *= 2;
    let into = tempfile::tempdir().unwrap();
    let refused = node.fetch(&larger, &[&bucket], into.path()).await;
    assert!(matches!(refused, Err(CheckpointError::Form { .. })));
    assert_eq!(bucket.asked.lock().unwrap().len(), asked.len());
}

#[test]
fn two_nodes_write_the_same_bytes_and_sign_them_themselves() {
    let nodes = [Node::new("Leader"), Node::new("Other")];
    let [(first, a), (second, b)] = nodes.each_ref().map(|node| node.write(5));
    assert_eq!(first, second);
    assert_ne!(a, b);
    let stranger = nodes[0].shelf().record(5, &nodes[1].hotkey.account());
    assert!(matches!(stranger, Err(CheckpointError::Document(_))));
}

#[test]
fn what_a_crash_left_half_written_goes() {
    let node = Node::new("Leader");
    node.write(5);
    let shelf = node.shelf();
    let half = shelf.folder(10);
    fs::create_dir_all(&half).unwrap();
    node.form.write(&half, node.model.parameters()).unwrap();
    fs::write(half.join(".tmp12"), "half").unwrap();
    assert_eq!(shelf.windows().unwrap(), [5]);
    let shelf = node.shelf();
    assert!(!half.exists() && shelf.windows().unwrap() == [5]);
    shelf.remove(5).unwrap();
    shelf.remove(5).unwrap();
    assert!(shelf.windows().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_publishes_what_the_last_one_wrote() {
    let mut node = Node::new("Leader");
    let (bucket, thinning) = (Bucket::new(true), Thinning { start: 1, every: 5 });
    let mut lender = Lender::default();
    let mut writer = Writer::start(node.desk(bucket.clone(), thinning));
    writer.write(node.stand(5), lender.lend(&node.model));
    // The weights come back whether or not the upload goes well.
    lender.wait();
    node.step();
    writer.done().await;
    assert_eq!(node.newest(&bucket).await.unwrap().window, 5);
    assert!(node.shelf().is_published(5));

    bucket.changes_left.store(1, SeqCst);
    writer.write(node.stand(10), lender.lend(&node.model));
    lender.wait();
    while bucket.changes_left.load(SeqCst) > 0 || node.shelf().windows().unwrap() != [5, 10] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(writer);
    assert_eq!(node.newest(&bucket).await.unwrap().window, 5);
    bucket.changes_left.store(usize::MAX, SeqCst);
    let mut writer = Writer::start(node.desk(bucket.clone(), thinning));
    writer.done().await;
    let newest = node.newest(&bucket).await.unwrap();
    assert_eq!((newest.window, newest.model), (10, hex::encode(node.model.hash())));
    assert_eq!(node.shelf().windows().unwrap(), [5, 10], "the newest two stay on disk, for the node itself");
    node.step();
    writer.write(node.stand(15), lender.lend(&node.model));
    lender.wait();
    writer.done().await;
    assert_eq!(node.shelf().windows().unwrap(), [10, 15]);
}

#[tokio::test]
async fn old_checkpoints_go_by_the_rule_and_the_newest_is_always_there() {
    let node = Node::new("Leader");
    let (bucket, thinning) = (Bucket::new(true), Thinning { start: 1, every: 5 });
    let owner = node.hotkey.account();
    let target = Target { store: bucket.as_ref(), keys: &node.keys, owner: &owner };
    // Half a checkpoint, from before: nobody goes on with it.
    bucket
        .memory
        .put(&node.keys.checkpoint(3, "model-00001-of-00002.safetensors"), Bytes::new())
        .await
        .unwrap();
    for window in (1..=20).map(|n| 5 * n) {
        node.write(window);
        node.publish(&bucket, window).await.unwrap();
        // Cut anywhere, a checkpoint that is going has no record any more.
        bucket.changes_left.store((window % 3) as usize, SeqCst);
        let _ = target.thin(&thinning, window).await;
        assert_eq!(node.newest(&bucket).await.unwrap().window, window);
        let keys = bucket.memory.list(&node.keys.prefix("checkpoint"), 1000).await.unwrap();
        let of = |wanted: Window| {
            let (keys, parser) = (keys.clone(), node.keys.clone());
            let file = move |key: &String| match parser.parse(key) {
                Some(Key::Checkpoint { window, file }) if window == wanted => Some(file),
                _ => None,
            };
            keys.iter().filter_map(file).collect::<BTreeSet<_>>()
        };
        for window in (1..=20).map(|n| 5 * n) {
            let files = of(window);
            assert!(!files.contains(RECORD_FILE) || files.len() == node.form.files().len() + 1, "{files:?}");
        }
        bucket.changes_left.store(usize::MAX, SeqCst);
        target.thin(&thinning, window).await.unwrap();
    }
    let keys = bucket.memory.list(&node.keys.prefix("checkpoint"), 1000).await.unwrap();
    let windows: BTreeSet<Window> = keys.iter().filter_map(|key| node.keys.parse(key)?.window()).collect();
    let kept: BTreeSet<Window> =
        (1..=20).map(|n| 5 * n).filter(|window| thinning.keeps(*window, 100)).collect();
    assert_eq!(windows, kept);
    assert!(kept.len() < 15 && kept.len() > 8, "{kept:?}");
}
