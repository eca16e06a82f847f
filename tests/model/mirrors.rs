//! A corpus that is elsewhere: what is fetched of it, from whom, and what lies, dawdles or is gone.

use async_trait::async_trait;
use bytes::Bytes;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use templar::data::{Corpus, DataError, InputFile, Mirror, PIECE, Preparation, Sequences, Tokens, local};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    /// One bit of everything that it sends is another.
    Lies,
    Slow(Duration),
    Gone,
}

#[derive(Debug)]
struct TestMirror {
    folder: PathBuf,
    manner: Mutex<Manner>,
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl TestMirror {
    fn new(folder: &Path, manner: Manner) -> Arc<Self> {
        let manner = Mutex::new(manner);
        Arc::new(Self { folder: folder.to_owned(), manner, bytes: 0.into(), requests: 0.into() })
    }

    async fn behave(&self, bytes: Vec<u8>) -> Result<Bytes, String> {
        let manner = *self.manner.lock().unwrap();
        self.requests.fetch_add(1, Relaxed);
        let mut bytes = bytes;
        match manner {
            Manner::Honest => {}
            Manner::Lies => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Manner::Slow(time) => tokio::time::sleep(time).await,
            Manner::Gone => return Err("connection refused".to_owned()),
        }
        self.bytes.fetch_add(bytes.len() as u64, Relaxed);
        Ok(bytes.into())
    }
}

#[async_trait]
impl Mirror for TestMirror {
    fn name(&self) -> &str {
        "a mirror of the test"
    }

    async fn range(&self, file: &str, start: u64, length: u64) -> Result<Bytes, String> {
        let all = fs::read(self.folder.join(file)).map_err(|e| e.to_string())?;
        let range = all.get(start as usize..(start + length) as usize).ok_or("beyond the end")?;
        self.behave(range.to_vec()).await
    }

    async fn whole(&self, file: &str, _most: u64) -> Result<Bytes, String> {
        self.behave(fs::read(self.folder.join(file)).map_err(|e| e.to_string())?).await
    }
}

/// A corpus of a few shards of bytes, with sequences that cross pieces and shards.
struct Text {
    folder: tempfile::TempDir,
    here: Sequences,
}

impl Text {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..120_000).map(|i| format!("{} ", i * 7919 % 100_003)).collect();
        fs::write(folder.path().join("text.txt"), text).unwrap();
        let files: Vec<InputFile> = local(&[folder.path().join("text.txt")]).unwrap();
        let out = folder.path().join("corpus");
        Preparation {
            files,
            tokens: Tokens::Bytes,
            out: out.clone(),
            sequence_length: 1000,
            shard_tokens: 300_000,
            limit: None,
            column: "text".to_owned(),
            skip_bad: false,
            source: String::new(),
            licence: String::new(),
        }
        .run(|_| {})
        .unwrap();
        let here = Corpus::open(&out).unwrap().sequences(1000, 2).unwrap();
        assert!(here.corpus().manifest().shards.len() == 3);
        Self { folder, here }
    }

    fn mirror(&self, manner: Manner) -> Arc<TestMirror> {
        TestMirror::new(&self.folder.path().join("corpus"), manner)
    }

    async fn fetched(
        &self,
        mirrors: &[&Arc<TestMirror>],
        cache: &str,
        bytes: u64,
    ) -> Result<Sequences, DataError> {
        let mirrors = mirrors.iter().map(|mirror| (*mirror).clone() as Arc<dyn Mirror>).collect();
        let hash = self.here.corpus().hash();
        let corpus = Corpus::fetched(mirrors, Some(hash), &self.folder.path().join(cache), bytes).await?;
        corpus.sequences(1000, 2)
    }
}

/// Bytes that files of a folder take.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_read_is_fetched_and_it_is_the_same() {
    let text = Text::new();
    let mirror = text.mirror(Manner::Honest);
    let there = text.fetched(&[&mirror], "cache", 1 << 20).await.unwrap();
    let manifest = mirror.bytes.load(Relaxed);
    // Over the end of a shard, in its middle, and the last of all.
    let some = [299, 17, 0, there.held_out().end - 1];
    assert_eq!(there.batch(&some).unwrap(), text.here.batch(&some).unwrap());
    assert_eq!(there.sample_id(299).unwrap(), text.here.sample_id(299).unwrap());
    let fetched = mirror.bytes.load(Relaxed) - manifest;
    // At most two pieces each, three trees of less than a piece and a half each.
    assert!(fetched <= (2 * 4 + 2 + 6) * PIECE as u64, "{fetched} bytes");
    // What is here is not fetched again, also by the next start.
    let before = mirror.requests.load(Relaxed);
    there.batch(&some).unwrap();
    drop(there);
    let again = text.fetched(&[&mirror], "cache", 1 << 20).await.unwrap();
    assert_eq!(again.batch(&some).unwrap(), text.here.batch(&some).unwrap());
    assert_eq!(mirror.requests.load(Relaxed), before + 1, "the manifest alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_stays_as_small_as_it_should_and_all_can_be_read_through_it() {
    let text = Text::new();
    let mirror = text.mirror(Manner::Honest);
    let limit = 40 * PIECE as u64;
    let there = text.fetched(&[&mirror], "small", limit).await.unwrap();
    let all: Vec<u64> = (0..there.held_out().end).collect();
    for some in all.chunks(64) {
        assert_eq!(there.batch(some).unwrap(), text.here.batch(some).unwrap());
    }
    assert!(size(&text.folder.path().join("small")) <= limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_a_dawdler_and_one_that_is_gone_cost_nothing_but_time() {
    let text = Text::new();
    let [liar, gone, honest] =
        [Manner::Honest, Manner::Honest, Manner::Honest].map(|manner| text.mirror(manner));
    let slow = text.mirror(Manner::Slow(Duration::from_secs(3)));
    let there = text.fetched(&[&liar, &gone, &slow, &honest], "cache", 1 << 20).await.unwrap();
    *liar.manner.lock().unwrap() = Manner::Lies;
    *gone.manner.lock().unwrap() = Manner::Gone;
    let started = Instant::now();
    let all: Vec<u64> = (0..there.training()).collect();
    for some in all.chunks(32) {
        assert_eq!(there.batch(some).unwrap(), text.here.batch(some).unwrap());
    }
    let took = started.elapsed();
    println!("{} sequences in {took:?}", all.len());
    // The slow one alone would take 3 seconds for each of dozens of requests.
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(liar.requests.load(Relaxed) < 60 && gone.requests.load(Relaxed) < 60);
    assert!(honest.requests.load(Relaxed) > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_honest_mirror_there_is_an_error_and_no_wrong_token() {
    let text = Text::new();
    let mirror = text.mirror(Manner::Honest);
    let there = text.fetched(&[&mirror], "cache", 1 << 20).await.unwrap();
    *mirror.manner.lock().unwrap() = Manner::Lies;
    let error = there.batch(&[5]).unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("gives other bytes"), "{error}");
    *mirror.manner.lock().unwrap() = Manner::Gone;
    let error = there.batch(&[5]).unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("connection refused"), "{error}");
    *mirror.manner.lock().unwrap() = Manner::Honest;
    assert_eq!(there.batch(&[5]).unwrap(), text.here.batch(&[5]).unwrap());
    // Another corpus than the pinned one is not opened, and neither is a manifest with a changed bit.
    let mirrors = || vec![mirror.clone() as Arc<dyn Mirror>];
    let cache = text.folder.path().join("other");
    let error = Corpus::fetched(mirrors(), Some(&"00".repeat(32)), &cache, 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("has the corpus "), "{error}");
    *mirror.manner.lock().unwrap() = Manner::Lies;
    assert!(Corpus::fetched(mirrors(), None, &cache, 1 << 20).await.is_err());
}
