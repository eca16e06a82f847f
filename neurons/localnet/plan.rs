//! The plan of a localnet: neurons, keys, buckets and data, decided before anything starts.

use super::{Args, pace::Pace};
use crate::{
    cli::{Exit, Failure},
    context::CORPUS_BYTES,
    miner::sabotage::Sabotage,
};
use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};
use templar::{
    bucket::{
        Endpoint, OwnBucket, S3Options, S3Store, Store,
        server::{BucketKeys, Keys},
    },
    chain::{self, SubtensorClient},
    data::{Corpus, MANIFEST, default_sources},
    manifest::ManifestFile,
    wallet::{AccountId, Keypair, Wallet},
};

/// Saboteurs of one kind, as `--saboteur KIND:N` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saboteurs {
    /// `none`.
    None,
    /// So many of a kind.
    Some(Sabotage, u16),
}

impl FromStr for Saboteurs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let (kind, count) = text.split_once(':').unwrap_or((text, "1"));
        let kind = <Sabotage as clap::ValueEnum>::from_str(kind, true)
            .map_err(|_| format!("no saboteur is called `{kind}`; there are: noise, lazy, none"))?;
        let count = count.parse().map_err(|_| format!("`{count}` is not a number of saboteurs"))?;
        Ok(Self::Some(kind, count))
    }
}

/// Miners that join later, as `--late N:WINDOW[:start]` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    count: u16,
    join: Join,
}

/// When and how a miner joins a run that goes on already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// Windows that are over by then.
    pub after: u64,
    /// Whether it replays the whole run, rather than load a checkpoint.
    pub from_start: bool,
}

impl FromStr for Late {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like 2:5 or 2:5:start");
        let (rest, from_start) = text.strip_suffix(":start").map_or((text, false), |rest| (rest, true));
        let (count, after) = rest.split_once(':').ok_or_else(wrong)?;
        let after = after.parse().map_err(|_| wrong())?;
        Ok(Self { count: count.parse().map_err(|_| wrong())?, join: Join { after, from_start } })
    }
}

/// What a neuron of the localnet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Validator,
    Honest,
    Saboteur(Sabotage),
}

impl Kind {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Honest => "honest",
            Self::Saboteur(Sabotage::Noise) => "noise",
            Self::Saboteur(Sabotage::Lazy) => "lazy",
        }
    }
}

/// One neuron: its keys and its bucket.
pub struct Neuron {
    /// `validator-1`, `miner-1`, `noise-1`: also the hotkey's name.
    pub name: String,
    pub kind: Kind,
    pub hotkey: Keypair,
    pub bucket: BucketKeys,
    /// Where it is not there from the beginning on.
    pub join: Option<Join>,
}

impl Neuron {
    /// The account of its hotkey.
    pub fn account(&self) -> AccountId {
        self.hotkey.account()
    }
}

/// A localnet, decided.
pub struct Plan {
    pub dir: PathBuf,
    pub netuid: u16,
    pub chain_port: u16,
    pub storage_port: u16,
    /// Milliseconds between two blocks.
    pub block_ms: u64,
    /// How many blocks the last final one is behind the newest.
    pub finality_lag: u32,
    /// Blocks between two epochs.
    pub tempo: u16,
    pub neurons: Vec<Neuron>,
    /// The coldkey that owns every neuron.
    pub coldkey: Keypair,
    pub manifest: ManifestFile,
    /// Windows that are over when the second validator takes over from the first.
    pub replace_leader: Option<u64>,
    /// The corpus' folder.
    pub data: PathBuf,
    /// Whether the nodes fetch it from the manifest's mirrors instead.
    pub fetched: bool,
    /// MiB of fetched text that a node may keep.
    pub data_cache: u64,
}

/// The coldkey's name in the localnet's wallets folder.
pub const COLDKEY: &str = "localnet";
const BLOCK_MS: u64 = 500;

impl Plan {
    /// Makes the folder, the keys, the corpus and the manifest.
    pub fn make(args: &Args) -> Result<Self, Failure> {
        if let Some(path) = args.data.as_ref().filter(|path| !path.exists()) {
            return Err(Failure::new(Exit::Data, format!("there is no {}", path.display()))
                .hint("name a text file or a folder with --data"));
        }
        let dir = run_dir(args.dir.as_deref())?;
        let fail = |what: &str, e: std::io::Error| {
            Failure::new(Exit::Storage, format!("cannot write the {what} in {}: {e}", dir.display()))
                .hint("name a folder that can be written with --dir")
        };
        for part in ["logs", "wallets", "state", "storage"] {
            fs::create_dir_all(dir.join(part)).map_err(|e| fail(part, e))?;
        }
        let wallets = dir.join("wallets");
        let coldkey = make_key(&wallets, None)?;

        if args.replace_leader.is_some() && args.validators < 2 {
            return Err(Failure::new(Exit::Usage, "there is no second validator to lead on")
                .hint("add `--validators 2`"));
        }
        let mut kinds: Vec<(Kind, u16, Option<Join>)> =
            vec![(Kind::Validator, args.validators, None), (Kind::Honest, args.miners, None)];
        kinds.extend(args.late.iter().map(|late| (Kind::Honest, late.count, Some(late.join))));
        for saboteurs in &args.saboteurs {
            if let Saboteurs::Some(kind, count) = saboteurs {
                kinds.push((Kind::Saboteur(*kind), *count, None));
            }
        }
        let mut neurons: Vec<Neuron> = Vec::new();
        for (kind, count, join) in kinds {
            let label = if kind == Kind::Honest { "miner" } else { kind.name() };
            for _ in 0..count {
                let number = neurons.iter().filter(|n| n.kind == kind).count() + 1;
                let name = format!("{label}-{number}");
                let hotkey = make_key(&wallets, Some(&name))?;
                let bucket = BucketKeys::generate()?;
                neurons.push(Neuron { name, kind, hotkey, bucket, join });
            }
        }

        let mut manifest = ManifestFile::preset(args.preset.name())?.parsed;
        manifest.schedule.windows = args.windows;
        if let Some(batches) = args.max_batches {
            if manifest.train.inner.is_some() {
                return Err(Failure::new(
                    Exit::Usage,
                    "--max-batches has no meaning with inner steps, which are the work",
                )
                .hint("leave it out, or use --preset local"));
            }
            manifest.train.max_batches = Some(batches.into());
        }
        let window_seconds = match args.window_seconds {
            Some(seconds) => seconds,
            None => {
                let validators = usize::from(args.validators);
                let choice =
                    Pace::measure(&manifest)?.choose(&manifest, neurons.len() - validators, validators);
                eprintln!("{choice}");
                manifest.schedule.put_window_seconds = choice.put_window_seconds;
                choice.window_seconds
            }
        };
        let blocks = ((window_seconds * 1000.0) as u64 / BLOCK_MS).max(1);
        manifest.schedule.blocks_per_window = blocks;
        // On a machine that everybody shares a round may be late without anybody being gone.
        manifest.succession.first_blocks = Some(blocks);
        manifest.succession.next_blocks = Some((blocks / 4).max(1));
        let data = match &args.data {
            Some(path) if path.join(MANIFEST).is_file() => path.clone(),
            given => {
                let sources = given.clone().map_or_else(default_sources, |path| Ok(vec![path]))?;
                Corpus::prepare(&sources, &dir.join("data"), CORPUS_BYTES)?;
                dir.join("data")
            }
        };
        let corpus = Corpus::open(&data)?.manifest().clone();
        manifest.model.vocab_size = i64::try_from(corpus.vocabulary).unwrap_or(i64::MAX);
        (manifest.data.tokenizer, manifest.data.hash) = (corpus.tokenizer, corpus.hash);
        manifest.data.mirrors.clone_from(&args.mirrors);
        let text = toml::to_string(&manifest).map_err(|e| Failure::new(Exit::Unexpected, e))?;
        let manifest = ManifestFile::parse(&text)?;
        fs::write(dir.join("manifest.toml"), &text).map_err(|e| fail("manifest", e))?;

        Ok(Self {
            netuid: 3,
            chain_port: free_port()?,
            storage_port: free_port()?,
            block_ms: BLOCK_MS,
            finality_lag: args.finality_lag,
            tempo: 10,
            neurons,
            coldkey,
            manifest,
            replace_leader: args.replace_leader,
            data,
            fetched: !args.mirrors.is_empty(),
            data_cache: args.data_cache,
            dir,
        })
    }

    /// Where the chain is.
    pub fn chain_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.chain_port)
    }

    /// Where the buckets are.
    pub fn storage_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.storage_port)
    }

    /// A client of the chain.
    pub async fn connect(&self) -> Result<SubtensorClient, Failure> {
        let url = chain::endpoint(&self.chain_url())?;
        Ok(SubtensorClient::connect(&url).await?)
    }

    /// Where the buckets are, as clients take it.
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        self.storage_url().parse().map_err(|e: templar::bucket::EndpointError| e.into())
    }

    /// A neuron's bucket with its keys.
    pub fn own_bucket(&self, neuron: &Neuron) -> Result<OwnBucket, Failure> {
        Ok(neuron.bucket.own(self.endpoint()?))
    }

    /// The bucket of a neuron, to read from.
    pub fn bucket(&self, neuron: &Neuron) -> Result<Arc<dyn Store>, Failure> {
        Ok(Arc::new(S3Store::reader(&neuron.bucket.read, &self.endpoint()?, &S3Options::default())))
    }

    /// The storage's keys: each opens one bucket, to read or to write.
    pub fn storage_keys(&self) -> Keys {
        let mut keys = Keys::default();
        self.neurons.iter().for_each(|neuron| keys.add(&neuron.bucket));
        keys
    }

    /// The validators.
    pub fn validators(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.iter().filter(|neuron| neuron.kind == Kind::Validator)
    }
}

/// Makes the coldkey, or a hotkey of it, in the localnet's wallets folder.
fn make_key(wallets: &Path, hotkey: Option<&str>) -> Result<Keypair, Failure> {
    Wallet::at(wallets, COLDKEY, hotkey.unwrap_or("default"))
        .and_then(|wallet| match hotkey {
            None => wallet.create_coldkey().and_then(|_| wallet.coldkey()),
            Some(_) => wallet.create_hotkey().and_then(|_| wallet.hotkey()),
        })
        .map_err(Failure::from)
}

/// A port that nobody listens on at the moment.
fn free_port() -> Result<u16, Failure> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| Failure::new(Exit::Network, format!("no free port on this machine: {e}")))
}

/// The folder of the run: the one that was named, if it is empty, else a new one.
fn run_dir(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let dir = match named {
        Some(dir) => dir.to_path_buf(),
        None => Path::new("localnet").join(jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string()),
    };
    if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(Exit::Usage, format!("the folder {} is not empty", dir.display()))
            .hint("name an empty folder with --dir, so that no earlier run is lost"));
    }
    fs::create_dir_all(&dir)
        .and_then(|()| dir.canonicalize())
        .map_err(|e| Failure::new(Exit::Storage, format!("cannot make the folder {}: {e}", dir.display())))
}
