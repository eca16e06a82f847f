//! A run of thousands of windows in a time of its own: the nodes as they are, each with its folder on disk, on a chain and buckets in memory,
//! in all kinds of trouble by chance. A short form runs with every other test; `TEMPLAR_FULL_TESTS=1` takes 20,000 windows,
//! `TEMPLAR_SOAK_WINDOWS` any other number, `TEMPLAR_SOAK_SEED` the seed that a failure named, and `TEMPLAR_SOAK_LOG` a file for what all
//! nodes say, by the filter of `TEMPLAR_LOG`.
//!
//! The runtime has one thread and a paused clock: when nothing is left to do, time jumps to whatever is due next. The same seed brings
//! the same trouble at the same times; only what happens inside of one instant may come in another order.

mod checks;
mod faulty;
mod process;
mod trouble;

use faulty::Weather;
use process::{Order, Process};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use templar::{
    bucket::MemoryStore,
    chain::MemoryChain,
    data::Corpus,
    manifest::{AuditRules, ManifestFile, Proof},
    node, telemetry,
    wallet::Keypair,
    window::Window,
};
use tokio::{sync::watch, task::LocalSet, time::sleep};

const NETUID: u16 = 3;
/// The first so many of all are validators, with falling stake.
const VALIDATORS: usize = 3;
const MINERS: usize = 4;
const ALL: usize = VALIDATORS + MINERS;
/// Windows at the end without new trouble.
const CALM: u64 = 12;
/// States of blocks that the chain keeps, as a public endpoint of the main network does.
const KEPT_BLOCKS: u64 = 256;
/// How late blocks are final to begin with.
const LAG: u64 = 2;

/// What everybody shares.
struct World {
    seed: u64,
    manifest: Arc<ManifestFile>,
    chain: MemoryChain,
    weather: Weather,
    keys: Vec<Keypair>,
    buckets: Vec<MemoryStore>,
    /// The folder of all: `text`, and one for each process.
    dir: PathBuf,
    tally: RefCell<BTreeMap<&'static str, u64>>,
}

impl World {
    fn new(seed: u64, windows: u64, proof: Proof, dir: &Path) -> Rc<Self> {
        let chain = MemoryChain::new(NETUID, LAG);
        chain.prune(KEPT_BLOCKS);
        let keys: Vec<_> = (0..ALL).map(|who| Keypair::from_uri(&format!("//Soak{who}")).unwrap()).collect();
        for (who, key) in keys.iter().enumerate() {
            let stake = if who < VALIDATORS { 1000 - 100 * who as u64 } else { 0 };
            chain.register(&key.account(), stake, who < VALIDATORS);
        }
        let store = |who| MemoryStore::new(format!("{who:032}"), Arc::new(node::now_ms));
        let source = dir.join("source.txt");
        std::fs::write(&source, text(400_000)).unwrap();
        Corpus::prepare(&[source], &dir.join("text"), 1 << 20).unwrap();
        Rc::new(Self {
            seed,
            manifest: Arc::new(manifest(windows, proof)),
            chain,
            weather: Weather::new(seed),
            keys,
            buckets: (0..ALL).map(store).collect(),
            dir: dir.to_owned(),
            tally: RefCell::default(),
        })
    }

    /// Counts something that happened.
    fn count(&self, what: &'static str) {
        *self.tally.borrow_mut().entry(what).or_default() += 1;
    }

    fn window(&self) -> Window {
        node::now_ms() / self.window_ms()
    }

    fn window_ms(&self) -> u64 {
        self.manifest.parsed.schedule.blocks_per_window * 12_000
    }

    fn name(who: usize) -> String {
        match who.checked_sub(VALIDATORS) {
            None => format!("validator-{}", who + 1),
            Some(miner) => format!("miner-{}", miner + 1),
        }
    }

    fn folder(&self, who: usize) -> PathBuf {
        self.dir.join(Self::name(who))
    }

    fn last_window(&self, start: Window) -> Window {
        node::window::last_window(&self.manifest.parsed, start).unwrap()
    }
}

/// The schedule of TEMPLAR-I, and a model as small as can be.
fn manifest(windows: u64, proof: Proof) -> ManifestFile {
    let mut manifest = ManifestFile::preset("local").unwrap().parsed;
    (manifest.schedule.blocks_per_window, manifest.schedule.put_window_seconds) = (7, 10.0);
    manifest.schedule.windows = windows;
    let model = &mut manifest.model;
    (model.hidden_size, model.intermediate_size, model.layers, model.heads, model.kv_heads) =
        (16, 16, 1, 2, 1);
    model.sequence_length = 16;
    manifest.data.held_out_sequences = 32;
    (manifest.train.micro_batch, manifest.train.batches) = (8, 2);
    let gauntlet = &mut manifest.gauntlet;
    (gauntlet.own_sequences, gauntlet.random_sequences, gauntlet.windows_per_weights) = (16, 16, 5);
    gauntlet.forget_after = 25;
    gauntlet.proof = proof;
    gauntlet.audit = (proof == Proof::Audited).then_some(AuditRules::default());
    manifest.outer.decay_windows = windows.max(50);
    manifest.checkpoint.every_windows = 20;
    manifest.succession = Default::default();
    ManifestFile::parse(&toml::to_string(&manifest).unwrap()).unwrap()
}

/// Text with something to learn in it: words by chance, some much more often than others.
fn text(bytes: usize) -> String {
    let words =
        ["window", "miner", "validator", "the", "of", "a", "gradient", "loss", "stake", "block", "and", "is"];
    let mut chances = faulty::Chances::new(7);
    let mut text = String::new();
    while text.len() < bytes {
        let draw = chances.share() * chances.share();
        text.push_str(words[(draw * words.len() as f64) as usize]);
        text.push(if chances.happens(0.1) { '\n' } else { ' ' });
    }
    text
}

/// Makes blocks, each when its time has come, and sometimes others in the place of those that are not final.
async fn make_blocks(world: Rc<World>) {
    loop {
        let due = world.chain.newest_ms() + 12_000;
        sleep(Duration::from_millis(due.saturating_sub(node::now_ms()))).await;
        world.chain.advance(1);
        if world.weather.draw(|chances| chances.happens(0.02)) {
            let (blocks, later_ms) =
                world.weather.draw(|chances| (1 + chances.below(2), chances.below(2500)));
            world.chain.reorganise(blocks, later_ms);
            world.count("reorganisations");
        }
    }
}

fn soak(seed: u64, windows: u64, proof: Proof) {
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }.unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    templar::device::set_threads(1);
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        node::simulate(0, seed);
        let world = World::new(seed, windows, proof, folder.path());
        let begun = std::time::Instant::now();
        let blocks = tokio::task::spawn_local(make_blocks(world.clone()));
        let (orders, told): (Vec<_>, Vec<_>) = (0..ALL).map(|_| watch::channel(Order::Run)).unzip();
        let mut keepers = Vec::new();
        for (who, told) in told.into_iter().enumerate() {
            keepers.push(tokio::task::spawn_local(Process::new(&world, who).keep(told)));
        }
        let troubles = tokio::task::spawn_local(trouble::make(world.clone(), orders, windows - CALM));
        let sizes = tokio::task::spawn_local(checks::watch_sizes(world.clone(), windows));
        for keeper in keepers {
            // Nobody needs longer than that once it is calm.
            let most = Duration::from_millis(world.window_ms() * (windows + 100));
            tokio::time::timeout(most, keeper).await.expect("a process does not come to its end").unwrap();
        }
        troubles.abort();
        blocks.abort();
        let seconds = begun.elapsed().as_secs_f64();
        println!("seed {seed}: {windows} windows in {seconds:.0} s, {:?}", world.tally.borrow());
        checks::everybody(&world, windows).await;
        checks::sizes(sizes.await.unwrap());
    });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_run_in_all_kinds_of_trouble_loses_nothing() {
    if let Some(path) = std::env::var_os("TEMPLAR_SOAK_LOG") {
        telemetry::init(telemetry::LogOutput::File(Path::new(&path))).unwrap();
    }
    let full = std::env::var_os("TEMPLAR_FULL_TESTS").is_some();
    let windows = number("TEMPLAR_SOAK_WINDOWS").unwrap_or(if full { 20_000 } else { 60 });
    soak(number("TEMPLAR_SOAK_SEED").unwrap_or(1), windows, Proof::Counterfactual);
}

#[test]
fn declared_work_is_audited_in_all_kinds_of_trouble() {
    soak(4, 60, Proof::Audited);
}
