//! What a miner and a validator do before they start: keys, chain, bucket, commitment, manifest, data,
//! and catching up with the run.

mod folder;
mod text;

pub use text::{CORPUS_BYTES, TextArgs};

use crate::cli::{Exit, Failure, NetworkArgs, WalletArgs, output::print};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tch::{Device, Tensor};
use templar::{
    bucket::{OwnBucket, ReadCredential, S3Options, S3Store, Store},
    chain::Chain,
    checkpoint::{Form, Shelf},
    data::Sequences,
    device,
    gradient::Header,
    manifest::ManifestFile,
    node::{
        self, Applied, Assignments, BucketCache, Clock, Directory, Identity, Mirrors, NodeError, Orders,
        Replica, View, gather::Spool,
    },
    round::RunStart,
    wallet::{AccountId, Keypair},
    window::{Schedule, Uid, Window},
};
use tokio::{task::JoinHandle, time::Instant};

mod begin;
mod follow;

pub use folder::Folder;
pub use follow::Followed;

/// Flags that a miner and a validator share.
#[derive(Debug, Clone, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// The subnet.
    #[arg(long, default_value_t = 3)]
    pub netuid: u16,
    /// The run: a manifest file or a preset (`local`, `local-sparseloco`, `templar-2`, `templar-1`, `sparseloco`). A miner needs none: it
    /// takes the leader's, checked against the chain.
    #[arg(long, value_name = "FILE|PRESET")]
    pub run: Option<String>,
    #[command(flatten)]
    pub text: TextArgs,
    /// Where the node keeps its state between runs.
    #[arg(long, value_name = "DIR", env = "TEMPLAR_DIR")]
    pub dir: Option<PathBuf>,
    /// What computes: `auto`, `cpu` or `cuda:N`; several, separated by commas, share the work: a miner's
    /// micro-batches, a validator's peers; `cuda:0,cuda:1`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of the tensor library.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Replay the whole run rather than load its newest checkpoint
    #[arg(long)]
    pub from_start: bool,
    /// Check the keys, the chain, the bucket and the run, show the commitment that would be signed, and end
    #[arg(long)]
    pub dry_run: bool,
    /// End when standard input ends, as a program started by another should.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// What a node does on the subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Trains.
    Miner,
    /// Judges, and decides a window where it is its turn.
    Validator,
}

/// A node that has caught up with its run.
pub struct NodeContext {
    pub identity: Identity,
    pub clock: Clock,
    pub schedule: Schedule,
    pub buckets: BucketCache,
    pub directory: Directory,
    pub corpus: Sequences,
    pub assignments: Assignments,
    pub replica: Replica,
    pub start: RunStart,
    pub dir: PathBuf,
    /// The folder `dir`, locked for as long as this node lives.
    _folder: Folder,
    /// Where the model is.
    pub device: Device,
    /// What helps that device.
    pub helpers: Vec<Device>,
    /// Where what the peers sent is kept while a window is judged.
    pub spool: Spool,
    from_start: bool,
    /// Hears of each round that this node follows.
    pub applied: Option<Box<dyn Fn(Applied) + Send + Sync>>,
    mirrors: Mirrors,
    orders: Orders,
    /// The last window whose record was looked at once more, after its turns.
    reconsidered: Window,
    /// The checkpoints that a validator wrote itself.
    pub shelf: Option<Shelf>,
    directory_read: Instant,
    /// The sync record that is being published.
    sync: Option<JoinHandle<()>>,
}

/// How long the metagraph and the commitments are taken to hold.
const DIRECTORY_AGE: Duration = Duration::from_secs(10);
/// Pause between two looks for something that is not there yet.
const POLL: Duration = Duration::from_millis(500);
/// The same for a round record, which all work waits for, for as long as one can be about to come.
const ROUND_POLL: Duration = Duration::from_millis(150);
const SOON: Duration = Duration::from_secs(15);

/// Goes through the checks of [`prepare`] and says how each went; signs nothing and writes nothing.
pub async fn dry_run(args: &NodeArgs, role: Role) -> Result<(), Failure> {
    device::open_all(&args.device)?;
    let given = given_run(args, role)?;
    let account = args.wallet.open()?.hotkey_account()?;
    let mut found = String::new();
    if let Some(run) = &given {
        let folder = tempfile::tempdir()
            .map_err(|e| Failure::new(Exit::Storage, format!("cannot make a temporary folder: {e}")))?;
        let text = args.text.open(run, folder.path()).await?;
        found = format!("  yes  the text is the run's, with {} sequences\n", text.training());
    }
    let own = OwnBucket::from_env(|name| std::env::var(name).ok())?;
    let chain = args.network.connect().await?;
    let metagraph = chain.metagraph(args.netuid, None).await?;
    let neuron = metagraph
        .neuron(&account)
        .ok_or_else(|| NodeError::NotRegistered { hotkey: account.clone(), netuid: args.netuid })?;
    let bucket = S3Store::writer(&own.write, &own.endpoint, &S3Options::default());
    bucket.list("write-check", 1).await?;
    let fields = commitment(&own.read, given.as_ref().filter(|_| role == Role::Validator));
    let committed = chain.commitments(args.netuid, None).await?;
    let permit = if neuron.validator_permit { "with" } else { "without" };
    let found = format!(
        "{found}  yes  {account} is UID {} of subnet {}, {permit} a validator permit\n  yes  the bucket answers\n",
        neuron.uid, args.netuid
    );
    if committed.get(&account) == Some(&fields) {
        return print(&format!(
            "{found}  yes  the bucket's read key is committed\nnothing has to be signed\n"
        ));
    }
    let preview = chain.preview_commit(args.netuid, &fields, &account).await?;
    print(&format!(
        "{found}  NO   the bucket's read key is not committed; this would be signed:\n{}",
        crate::cli::preview::text(&preview)
    ))
}

/// The run that was named; a validator must name one.
fn given_run(args: &NodeArgs, role: Role) -> Result<Option<ManifestFile>, Failure> {
    let given = args.run.as_deref().map(read_manifest).transpose()?;
    if role == Role::Validator && given.is_none() {
        return Err(Failure::new(Exit::Usage, "a validator must know the run that it judges")
            .hint("name it with --run, for example `--run templar-2`"));
    }
    Ok(given)
}

/// Opens the wallet, the chain, the bucket and the data, and checks that each is usable before anything
/// is trained, so that a mistake shows in the first seconds. Then waits for the run and catches up.
///
/// `new_run` lets a validator begin a run that nobody has begun.
pub async fn prepare(args: &NodeArgs, role: Role, new_run: bool) -> Result<NodeContext, Failure> {
    let devices = device::open_all(&args.device)?;
    device::set_threads(args.threads);
    let given = given_run(args, role)?;
    let passwords = args.wallet.passwords.sources();
    let hotkey = args.wallet.open()?.hotkey_with(&passwords)?;
    // A node with another text would be refused by everybody: it finds out before anybody hears of it, at the latest before it signs.
    let ahead = match &given {
        Some(run) => {
            let folder = state_folder(args, &hotkey.account(), run)?;
            let text = args.text.open(run, folder.path()).await?;
            Some((folder, text))
        }
        None => None,
    };
    let own = OwnBucket::from_env(|name| std::env::var(name).ok())?;
    let chain: Arc<dyn Chain> = Arc::new(args.network.connect().await?);
    // From here on both have answered once: what fails for the moment is waited for.
    node::persist(async || registered(chain.as_ref(), args.netuid, &hotkey).await).await?;
    let options = S3Options::default();
    let bucket: Arc<dyn Store> = Arc::new(S3Store::writer(&own.write, &own.endpoint, &options));
    // Proves the write key before anything depends on it.
    bucket.put("write-check", bytes::Bytes::from_static(b"ok")).await?;

    let mut buckets = BucketCache::new(own.endpoint.clone());
    let manifest = match given {
        Some(manifest) => manifest,
        None => {
            let mut directory = wait_for_leader(chain.as_ref(), args.netuid, &mut buckets).await?;
            wait_for_manifest(chain.as_ref(), args.netuid, &mut buckets, &mut directory).await?
        }
    };
    let (folder, corpus) = match ahead {
        Some(ahead) => ahead,
        None => {
            let folder = state_folder(args, &hotkey.account(), &manifest)?;
            let text = args.text.open(&manifest, folder.path()).await?;
            (folder, text)
        }
    };
    let manifest = Arc::new(manifest);
    let identity = Identity { chain, netuid: args.netuid, hotkey, manifest, bucket };
    let (read, from_start) = (own.read, args.from_start);
    let means = Means { identity, buckets, read, folder, corpus, devices, from_start };
    Ok(join(means, role, new_run).await?)
}

/// What a node works with, whoever gave it.
pub struct Means {
    pub identity: Identity,
    /// Opens everybody's buckets.
    pub buckets: BucketCache,
    /// What the node commits of its own bucket.
    pub read: ReadCredential,
    pub folder: Folder,
    pub corpus: Sequences,
    /// The model's and those that help it; a processor where there are none.
    pub devices: Vec<Device>,
    pub from_start: bool,
}

/// Commits on chain what is not there yet, waits for the run, and catches up with it.
pub async fn join(means: Means, role: Role, new_run: bool) -> Result<NodeContext, NodeError> {
    let Means { identity, mut buckets, read, folder, corpus, devices, from_start } = means;
    let (device, helpers) =
        devices.split_first().map_or((Device::Cpu, &[][..]), |(first, rest)| (*first, rest));
    let dir = folder.path().to_owned();
    let run = Some(identity.manifest.as_ref()).filter(|_| role == Role::Validator);
    let (chain, netuid) = (identity.chain.as_ref(), identity.netuid);
    let fields = commitment(&read, run);
    node::persist(async || commit(chain, netuid, &identity.hotkey, &fields).await).await?;
    let mut directory = wait_for_leader(chain, netuid, &mut buckets).await?;
    let schedule = identity.manifest.parsed.schedule();
    let clock = node::persist(async || Clock::start(identity.chain.clone(), schedule).await).await?;
    node::persist(async || {
        let before = node::now_ms();
        identity.bucket.put("write-check", bytes::Bytes::from_static(b"ok")).await?;
        let after = node::now_ms();
        if let Some(info) = identity.bucket.head("write-check").await? {
            clock.skew().store(info.last_modified_s, before, after);
        }
        Ok(())
    })
    .await?;
    let start = begin::begin(&identity, role, new_run, &clock, &mut buckets, &mut directory).await?;
    let replica = Replica::initial(&identity.manifest.parsed, start.start_window, device)?;
    let shelf = || Shelf::open(dir.join("checkpoints"), Form::new(&identity.manifest.parsed));
    let shelf = (role == Role::Validator).then(shelf).transpose()?;
    // Beside those of the round that is likely to come, as many others.
    let spool = || Spool::open(dir.join("spool"), identity.manifest.parsed.gauntlet.top_g);
    let spool = if role == Role::Validator { spool()? } else { Spool::default() };
    let mut ctx = NodeContext {
        identity,
        clock,
        schedule,
        buckets,
        directory,
        corpus,
        assignments: Assignments::new(start.start_window),
        replica,
        start,
        dir,
        _folder: folder,
        device,
        helpers: helpers.to_vec(),
        spool,
        from_start,
        applied: None,
        mirrors: Mirrors::default(),
        orders: Orders::default(),
        reconsidered: 0,
        shelf,
        directory_read: Instant::now(),
        sync: None,
    };
    node::persist(async || {
        ctx.refresh().await;
        ctx.restore(true).await
    })
    .await?;
    Ok(ctx)
}

impl NodeContext {
    /// The last window of the run; `None` for a run without end.
    pub fn last_window(&self) -> Option<Window> {
        node::window::last_window(&self.identity.manifest.parsed, self.start.start_window)
    }

    /// Reads the metagraph and the commitments again where they are old. A failing read keeps the old
    /// ones: the chain may be away for a while.
    pub async fn refresh(&mut self) {
        if self.directory_read.elapsed() >= DIRECTORY_AGE {
            self.refresh_now().await;
        }
    }

    /// [`Self::refresh`], however old they are.
    pub async fn refresh_now(&mut self) {
        match Directory::read(self.identity.chain.as_ref(), self.identity.netuid, &mut self.buckets).await {
            Ok(directory) => self.directory = directory,
            Err(error) => {
                tracing::warn!(%error, "the metagraph could not be read; the last one stays in use")
            }
        }
        self.directory_read = Instant::now();
    }

    /// The node's UID now.
    pub fn uid(&self) -> Result<Uid, NodeError> {
        let (hotkey, netuid) = (self.identity.account(), self.identity.netuid);
        let neuron = self.directory.metagraph.neuron(&hotkey);
        neuron.map(|n| n.uid).ok_or(NodeError::NotRegistered { hotkey, netuid })
    }

    /// What judging looks at.
    pub fn view(&self) -> View<'_> {
        View {
            identity: &self.identity,
            directory: &self.directory,
            replica: &self.replica,
            corpus: &self.corpus,
            assignments: &self.assignments,
            device: self.device,
            spool: &self.spool,
        }
    }

    /// The tokens of sequences, `[sequences, length + 1]`, on the node's device.
    pub fn tokens(&self, sequences: &[u64]) -> Result<Tensor, NodeError> {
        self.view().tokens(sequences)
    }

    /// Learns who trains on what in a window that has begun and, as the first block of a window draws the next one's, in the one after it. What
    /// these peers train on is fetched ahead where the text is elsewhere.
    pub async fn learn_assignments(&mut self, window: Window, peers: &[AccountId]) -> Result<(), NodeError> {
        self.assignments.learn(&self.identity, window).await?;
        self.view().expect(peers, window);
        // Only so that it is there early: an endpoint that is behind does not know the block yet.
        match self.assignments.foresee(&self.identity, window + 1).await {
            Ok(()) => self.view().expect(peers, window + 1),
            Err(error) => tracing::debug!(window, %error, "the next window's data is not fetched ahead"),
        }
        Ok(())
    }

    /// The digest of sequences as a pseudo-gradient carries it.
    pub fn sample_digest(&self, sequences: &[u64]) -> Result<String, NodeError> {
        self.view().sample_digest(sequences)
    }

    /// What this node's pseudo-gradient of a window says of itself.
    pub fn header(&self, window: Window, uid: Uid, sequences: &[u64]) -> Result<Header, NodeError> {
        let identity = &self.identity;
        let (run, hotkey) = (identity.manifest.hash(), identity.account());
        Ok(Header {
            run,
            netuid: identity.netuid,
            window,
            uid,
            sample_digest: self.sample_digest(sequences)?,
            sample_count: sequences.len() as u64,
            // The replica has it as text since its last step; hashing a model again takes seconds.
            model_hash: hex::FromHex::from_hex(&self.replica.hash)
                .unwrap_or_else(|_| self.replica.model.hash()),
            model_samples: self.replica.shown(&run, &hotkey, window),
            hotkey,
        })
    }

    /// Loads the newest checkpoint, unless the run is to be replayed: with `own` one that this node wrote itself, if there is none
    /// newer.
    pub async fn restore(&mut self, own: bool) -> Result<(), NodeError> {
        if self.from_start {
            return Ok(());
        }
        let shelf = self.shelf.as_ref().filter(|_| own);
        let incoming = self.dir.join("incoming");
        let (identity, directory) = (&self.identity, &self.directory);
        // A validator that was away for a moment has windows to score, and needs the model before them.
        let before = shelf.and_then(|_| crate::validator::scored_lately(&self.dir, self.clock.window()));
        node::restore(identity, directory, &mut self.replica, shelf, before, &incoming).await?;
        if let Err(error) = self.recall().await {
            tracing::debug!(window = self.replica.window, %error, "the record before is not known");
        }
        Ok(())
    }

    /// Learns which record led to the model, where that is not known.
    pub async fn recall(&mut self) -> Result<(), NodeError> {
        node::recall(&self.directory, &self.identity.manifest, &mut self.replica).await
    }

    /// Says in the node's bucket where its model stands; nothing waits for it, and a failure costs nothing but the news.
    pub async fn publish_sync(&mut self) {
        self.settled().await;
        let identity = self.identity.clone();
        let key = identity.keys().sync(self.replica.window);
        let record = self.replica.sync_record(&identity.run());
        self.sync = Some(tokio::spawn(async move {
            if let Err(error) = node::publish_document(&identity, &key, &record).await {
                tracing::warn!(%error, "the sync record could not be published");
            }
        }));
    }

    /// Waits until the last sync record is published: before the process ends.
    pub async fn settled(&mut self) {
        if let Some(sync) = self.sync.take() {
            let _ = sync.await;
        }
    }
}

async fn registered(chain: &dyn Chain, netuid: u16, hotkey: &Keypair) -> Result<(), NodeError> {
    let metagraph = chain.metagraph(netuid, None).await?;
    let hotkey = hotkey.account();
    match metagraph.neuron(&hotkey) {
        Some(_) => Ok(()),
        None => Err(NodeError::NotRegistered { hotkey, netuid }),
    }
}

pub fn read_manifest(run: &str) -> Result<ManifestFile, Failure> {
    let path = Path::new(run);
    if path.is_file() { ManifestFile::read(path) } else { ManifestFile::preset(run) }.map_err(Failure::from)
}

/// What a node commits: the bucket's read key, and a validator's run.
fn commitment(read: &ReadCredential, run: Option<&ManifestFile>) -> Vec<Vec<u8>> {
    let mut fields = vec![read.to_commitment().as_bytes().to_vec()];
    fields.extend(run.map(|manifest| manifest.hash().to_vec()));
    fields
}

/// Commits the bucket's read key, and a validator's run, where the chain does not hold them already.
async fn commit(
    chain: &dyn Chain,
    netuid: u16,
    hotkey: &Keypair,
    fields: &Vec<Vec<u8>>,
) -> Result<(), NodeError> {
    if chain.commitments(netuid, None).await?.get(&hotkey.account()) == Some(fields) {
        return Ok(());
    }
    chain.commit(netuid, fields, hotkey).await?;
    tracing::info!("the bucket's read key is committed on chain");
    Ok(())
}

async fn wait_for_leader(
    chain: &dyn Chain,
    netuid: u16,
    buckets: &mut BucketCache,
) -> Result<Directory, NodeError> {
    let mut told = false;
    loop {
        let directory = node::persist(async || Directory::read(chain, netuid, buckets).await).await?;
        if directory.any_leader().is_ok() {
            return Ok(directory);
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(
                "waiting for a validator with a permit, a bucket and a run (permits change once an epoch)"
            );
        }
        tokio::time::sleep(POLL * 2).await;
    }
}

async fn wait_for_manifest(
    chain: &dyn Chain,
    netuid: u16,
    buckets: &mut BucketCache,
    directory: &mut Directory,
) -> Result<ManifestFile, NodeError> {
    loop {
        if let Some(manifest) = node::persist(async || node::fetch_manifest(directory).await).await? {
            return Ok(manifest);
        }
        tokio::time::sleep(POLL * 2).await;
        *directory = node::persist(async || Directory::read(chain, netuid, buckets).await).await?;
    }
}

/// The folder of a node's state of a run, which no other process may use meanwhile.
fn state_folder(args: &NodeArgs, account: &AccountId, run: &ManifestFile) -> Result<Folder, Failure> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => {
            let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
            home.join(".templar").join(account.to_string())
        }
    };
    Folder::take(dir.join(run.run_id()))
}

/// Does work that takes long away from the runtime's own threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    // The runtime would wait for a thread of its own at the end; this one is left behind when the process is told to stop.
    let (tell, done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = tell.send(work());
    });
    let ended = |_| {
        Failure::new(Exit::Unexpected, "the work ended early")
            .hint("please report this with what stands above")
    };
    done.await.map_err(ended)?
}

/// Waits for Ctrl-C, a polite kill, or the end of standard input where that was asked for.
pub async fn told_to_stop(exit_with_parent: bool) {
    let parent_gone = async {
        if !exit_with_parent {
            return std::future::pending().await;
        }
        // A plain thread: the runtime would wait for a read of its own at the end.
        let (tell, gone) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = tell.send(());
        });
        let _ = gone.await;
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = parent_gone => {}
    }
}
