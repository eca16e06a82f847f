//! A corpus that is fetched piece by piece, ahead of time, from whichever mirror is fastest, and checked before it is used.

use super::{
    Corpus, CorpusManifest, DataError,
    format::{MANIFEST, MAX_MANIFEST, shard_file, tree_file},
    health::Health,
    mirror::{Mirror, nobody},
    pieces::{Kept, Pieces, Roots},
    slab::Slab,
    tree::Piece,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc as blocking},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, mpsc};

/// Requests that are made at once.
const AT_ONCE: usize = 32;
/// Pieces of one request: 256 KiB.
const RUN: u64 = 64;
/// How often all mirrors are asked before a piece cannot be had.
const ROUNDS: u32 = 4;
/// Before the second round; twice as long before each later one.
const PAUSE: Duration = Duration::from_millis(500);

/// A corpus that is elsewhere.
#[derive(Debug)]
pub(crate) struct Remote {
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug)]
enum Order {
    /// Soon: these pieces of tokens.
    Expect(Vec<(u32, u64)>),
    /// Now: somebody waits.
    Need(Piece, blocking::SyncSender<Result<Bytes, DataError>>),
}

#[derive(Debug)]
struct Shared {
    mirrors: Vec<Arc<dyn Mirror>>,
    health: Health,
    roots: Roots,
    kept: Kept,
    slab: Mutex<Slab>,
    requests: Semaphore,
    /// What is being fetched, so that nothing is fetched twice at once.
    coming: Mutex<HashMap<(u32, u8, u64), Turn>>,
}

/// Held by who fetches.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// Pieces that follow on each other on one level of a shard.
#[derive(Debug, Clone, Copy)]
struct Run {
    shard: u32,
    level: u8,
    first: u64,
    last: u64,
}

impl Corpus {
    /// Opens a corpus that is elsewhere. Only what is read is fetched; `cache` is a folder for it, which grows to `cache_bytes` at most.
    ///
    /// The mirrors need not be trusted where the corpus' hash is `pinned`: one with another corpus is passed over.
    ///
    /// # Errors
    /// [`DataError::Unreachable`] where no mirror has it; what the disk says of the cache.
    pub async fn fetched(
        mirrors: Vec<Arc<dyn Mirror>>,
        pinned: Option<&str>,
        cache: &Path,
        cache_bytes: u64,
    ) -> Result<Self, DataError> {
        let mut problems = Vec::new();
        let mut found = None;
        for mirror in &mirrors {
            let manifest = mirror.whole(MANIFEST, MAX_MANIFEST).await;
            let manifest =
                manifest.and_then(|bytes| CorpusManifest::parse(&bytes).map_err(|e| e.to_string()));
            match manifest {
                Ok(manifest) if pinned.is_none_or(|pinned| pinned == manifest.hash) => {
                    found = Some(manifest);
                    break;
                }
                Ok(manifest) => problems.push(format!("{} has the corpus {}", mirror.name(), manifest.hash)),
                Err(problem) => problems.push(format!("{}: {problem}", mirror.name())),
            }
        }
        let what = pinned.map_or_else(|| "a corpus".to_owned(), |pinned| format!("the corpus {pinned}"));
        let manifest = found.ok_or_else(|| nobody(&what, &problems))?;
        for problem in problems {
            tracing::warn!(problem, "a mirror of the corpus is not used for now");
        }
        let folder = cache.join(&manifest.hash[..16]);
        let slab = Slab::open(&folder, cache_bytes);
        let slab = slab.map_err(|source| DataError::File { action: "write", path: folder, source })?;
        let remote = Remote::start(Shared {
            health: Health::new(mirrors.len()),
            mirrors,
            roots: Roots::new(&manifest),
            kept: Kept::default(),
            slab: Mutex::new(slab),
            requests: Semaphore::new(AT_ONCE),
            coming: Mutex::default(),
        })?;
        Ok(Self::new(manifest, Arc::new(remote)))
    }
}

impl Remote {
    /// Starts to fetch, on a thread of its own: whoever waits for a piece may be on any other, and is never in its way.
    fn start(shared: Shared) -> Result<Self, DataError> {
        let failed =
            |source| DataError::File { action: "start", path: "the fetching of data".into(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(shared);
        let working = shared.clone();
        let work = async move {
            // Ends when nobody has the corpus any more.
            while let Some(order) = inbox.recv().await {
                let shared = working.clone();
                match order {
                    Order::Need(piece, answer) => {
                        tokio::spawn(async move {
                            let _ = answer.send(shared.piece(piece).await);
                        });
                    }
                    Order::Expect(wanted) => {
                        for run in runs(&wanted) {
                            let shared = shared.clone();
                            tokio::spawn(async move {
                                if let Err(error) = shared.fetch(run).await {
                                    tracing::debug!(%error, "data could not be fetched ahead");
                                }
                            });
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("corpus".to_owned());
        thread.spawn(move || runtime.block_on(work)).map_err(failed)?;
        Ok(Self { shared, orders })
    }
}

impl Pieces for Remote {
    fn tokens(&self, shard: u32, index: u64) -> Result<Bytes, DataError> {
        let piece = Piece { shard, level: 0, index };
        if let Some(bytes) = self.shared.here(piece) {
            return Ok(bytes);
        }
        let (answer, come) = blocking::sync_channel(1);
        let ended =
            || DataError::Unreachable { what: "data".to_owned(), problem: "fetching has ended".to_owned() };
        self.orders.send(Order::Need(piece, answer)).map_err(|_| ended())?;
        come.recv().map_err(|_| ended())?
    }

    fn expect(&self, wanted: Vec<(u32, u64)>) {
        // Where fetching has ended, who needs the data hears of it.
        let _ = self.orders.send(Order::Expect(wanted));
    }
}

/// Sorted pieces as runs of neighbours.
fn runs(wanted: &[(u32, u64)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &(shard, index) in wanted {
        match runs.last_mut() {
            Some(run) if run.shard == shard && run.last + 1 == index && index - run.first < RUN => {
                run.last = index
            }
            _ => runs.push(Run { shard, level: 0, first: index, last: index }),
        }
    }
    runs
}

impl Shared {
    /// A piece that is on this machine and fits.
    fn here(&self, piece: Piece) -> Option<Bytes> {
        if let Some(bytes) = self.kept.get(&piece) {
            return Some(bytes);
        }
        let top = self.roots.shape(piece.shard)?.top();
        let above = if piece.level < top { Some(self.here(piece.parent().0)?) } else { None };
        let mut slab = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = slab.get(&piece)?;
        if !self.roots.fits(piece, &bytes, above.as_deref()) {
            slab.forget(&piece);
            return None;
        }
        drop(slab);
        let bytes = Bytes::from(bytes);
        self.kept.put(piece, bytes.clone());
        Some(bytes)
    }

    async fn piece(&self, piece: Piece) -> Result<Bytes, DataError> {
        let Piece { shard, level, index } = piece;
        loop {
            if let Some(bytes) = self.here(piece) {
                return Ok(bytes);
            }
            self.fetch(Run { shard, level, first: index, last: index }).await?;
        }
    }

    /// Makes sure that pieces are on this machine, and those above them.
    fn fetch(&self, run: Run) -> BoxFuture<'_, Result<(), DataError>> {
        async move {
            let key = (run.shard, run.level, run.first);
            let turn = {
                let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
                coming.entry(key).or_default().clone()
            };
            let _turn = turn.lock().await;
            let result = self.fetch_missing(run).await;
            self.coming.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            result
        }
        .boxed()
    }

    async fn fetch_missing(&self, run: Run) -> Result<(), DataError> {
        let piece = |index| Piece { shard: run.shard, level: run.level, index };
        let missing = |index: &u64| {
            let piece = piece(*index);
            let slab = || self.slab.lock().unwrap_or_else(PoisonError::into_inner).has(&piece);
            self.kept.get(&piece).is_none() && !(slab() && self.here(piece).is_some())
        };
        let mut absent = (run.first..=run.last).filter(missing);
        let Some(first) = absent.next() else { return Ok(()) };
        let run = Run { first, last: absent.last().unwrap_or(first), ..run };
        let top = self.roots.shape(run.shard).map(super::tree::Shape::top);
        let top = top.ok_or(DataError::NoSequence { index: run.first })?;
        let above = async {
            if run.level < top {
                let (first, last) = (piece(run.first).parent().0, piece(run.last).parent().0);
                let run = Run { level: run.level + 1, first: first.index, last: last.index, ..run };
                self.fetch(run).await?;
            }
            Ok::<(), DataError>(())
        };
        // What proves the pieces comes at the same time as they do.
        let (above, first_answer) = futures::join!(above, self.ask(run, &[]));
        above?;
        let mut lied: Vec<usize> = Vec::new();
        let mut answer = first_answer;
        let mut round = 0;
        loop {
            match answer {
                Ok((mirror, bytes)) => {
                    if self.take(run, &bytes).await? {
                        self.health.right(mirror);
                        return Ok(());
                    }
                    lied.push(mirror);
                    let name = self.mirrors.get(mirror).map_or("", |mirror| mirror.name());
                    if self.health.failed(mirror, true) {
                        tracing::warn!(
                            mirror = name,
                            shard = run.shard,
                            "a mirror gives other bytes than the corpus has; it is left alone for a while"
                        );
                    }
                }
                Err(problems) => {
                    round += 1;
                    if round == ROUNDS {
                        let what = format!("a part of shard {} of the corpus", run.shard);
                        return Err(nobody(&what, &problems));
                    }
                    lied.clear();
                    tokio::time::sleep(PAUSE * (1 << (round - 1))).await;
                }
            }
            if lied.len() == self.mirrors.len() {
                answer = Err(vec!["every mirror gives other bytes than the corpus has".to_owned()]);
            } else {
                answer = self.ask(run, &lied).await;
            }
        }
    }

    /// Checks pieces against those above them and keeps them; `false` where they do not fit.
    async fn take(&self, run: Run, bytes: &Bytes) -> Result<bool, DataError> {
        let Some(shape) = self.roots.shape(run.shard) else { return Ok(false) };
        let top = shape.top();
        let mut start = 0;
        let mut checked = Vec::new();
        for index in run.first..=run.last {
            let piece = Piece { shard: run.shard, level: run.level, index };
            let length = shape.place(run.level, index).map_or(0, |(_, length)| length);
            if start + length > bytes.len() {
                return Ok(false);
            }
            let content = bytes.slice(start..start + length);
            start += length;
            let above = if run.level < top { Some(self.piece(piece.parent().0).await?) } else { None };
            if !self.roots.fits(piece, &content, above.as_deref()) {
                return Ok(false);
            }
            checked.push((piece, content));
        }
        let mut slab = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        for (piece, content) in checked {
            if let Err(error) = slab.put(piece, &content) {
                tracing::warn!(%error, "the cache of data cannot be written; what is needed is fetched again");
            }
            // A slice would keep the whole answer in memory.
            self.kept.put(piece, Bytes::copy_from_slice(&content));
        }
        Ok(true)
    }

    /// The bytes of a run from the mirror that gives them first: the best one is asked, and the next one as well when it takes too long or
    /// fails. The problems of all where none has them.
    async fn ask(&self, run: Run, without: &[usize]) -> Result<(usize, Bytes), Vec<String>> {
        let place = self.roots.shape(run.shard).and_then(|shape| {
            let (start, _) = shape.place(run.level, run.first)?;
            let (last, length) = shape.place(run.level, run.last)?;
            Some((start, last + length as u64 - start))
        });
        let Some((start, length)) = place else { return Err(vec!["there is no such part".to_owned()]) };
        let shard = run.shard as usize;
        let file = if run.level == 0 { shard_file(shard) } else { tree_file(shard) };
        let _one_of = self.requests.acquire().await;
        let order: Vec<usize> =
            self.health.order().into_iter().filter(|mirror| !without.contains(mirror)).collect();
        let mut order = order.into_iter().peekable();
        let mut asked = FuturesUnordered::new();
        let mut begun: Vec<(usize, Instant)> = Vec::new();
        let mut problems = Vec::new();
        loop {
            let mut wait = Duration::from_secs(3600);
            // Who rests is only asked when nobody else is left.
            if let Some(mirror) = order.next_if(|mirror| asked.is_empty() || !self.health.rests(*mirror))
                && let Some(other) = self.mirrors.get(mirror)
            {
                wait = self.health.wait(mirror);
                begun.push((mirror, Instant::now()));
                let (other, file) = (other.clone(), file.clone());
                asked.push(async move { (mirror, other.range(&file, start, length).await) });
            }
            if asked.is_empty() {
                return Err(problems);
            }
            tokio::select! {
                Some((mirror, answer)) = asked.next() => {
                    let since = begun.iter().find(|(asked, _)| *asked == mirror).map(|(_, since)| since.elapsed());
                    begun.retain(|(asked, _)| *asked != mirror);
                    match answer {
                        Ok(bytes) => {
                            self.health.took(mirror, since.unwrap_or_default());
                            // Those that are given up took at least so long.
                            for (slow, since) in begun {
                                self.health.took(slow, since.elapsed());
                            }
                            return Ok((mirror, bytes));
                        }
                        Err(problem) => {
                            let name = self.mirrors.get(mirror).map_or("", |mirror| mirror.name());
                            if self.health.failed(mirror, false) {
                                tracing::warn!(mirror = name, problem, "a mirror of the corpus fails; another one is asked");
                            }
                            problems.push(format!("{name}: {problem}"));
                        }
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
