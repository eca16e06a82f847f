//! Where a model is, and what opens it: its weights, its tokenizer, the tokens that end its texts.

use super::hub::{folder_of, tokenizer_folder_of};
use crate::{
    cli::{
        Exit, Failure,
        output::byte_bar,
        scores::source::{BucketArgs, Subnet},
    },
    context,
};
use std::path::{Path, PathBuf};
use tch::Device;
use templar::{
    hub::PREFIX,
    manifest::{ManifestFile, ModelConfig},
    model::{
        Llama,
        hugging_face::{self, CONFIG_FILE, InMemory, Stored, Weights},
    },
    node::{self, Directory},
    round::{CheckpointRecord, RunStart},
    tokenizer::{TOKENIZER_FILE, Tokenizer},
    window::Window,
};

/// What runs that train on bytes call their tokenizer.
const BYTES: &str = "bytes";
/// The vocabulary of models whose tokens are bytes.
const BYTE_VOCABULARY: i64 = 256;

/// A model and what belongs to it.
#[derive(Debug)]
pub struct Opened {
    pub model: Llama,
    pub about: About,
}

/// What belongs to a model.
#[derive(Debug)]
pub struct About {
    /// None where neither the folder nor the run says which.
    pub tokenizer: Option<Tokenizer>,
    /// Tokens that end a text.
    pub ends: Vec<i64>,
    /// What it is called: the folder's, the file's, the repository's or the run's name.
    pub name: String,
    /// Where in a run it is.
    pub origin: Option<Origin>,
}

/// The run that a model is of.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The run.
    pub manifest: ManifestFile,
    /// Its checkpoint, where it was read from the run itself.
    pub checkpoint: Option<CheckpointRecord>,
    /// Where the run began, where it was read from the run itself.
    pub start: Option<RunStart>,
    /// Pseudo-gradients that the model is made of, where they were counted.
    pub accepted: Option<u64>,
}

/// A model that is read weight by weight: on its disk, or in memory where it is a run's newest checkpoint.
pub enum Readable {
    Stored(Stored),
    Loaded(Llama),
}

impl Readable {
    /// Does work with its weights.
    pub fn with<T>(&mut self, work: impl FnOnce(&mut dyn Weights) -> T) -> T {
        match self {
            Self::Stored(stored) => work(stored),
            Self::Loaded(model) => work(&mut InMemory(model)),
        }
    }
}

/// A model's place, however it was named.
#[derive(Debug, Clone)]
pub struct Place {
    pub path: PathBuf,
    /// What it was called, where that is not the path's own name.
    pub name: Option<String>,
    pub run: Option<String>,
    pub tokenizer: Option<PathBuf>,
}

/// The model that a verb asks: a folder, or a checkpoint of a run.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Asked {
    /// A folder with config.json and safetensors, or a repository of the Hub
    #[arg(long, value_name = "DIR|hf:OWNER/NAME", conflicts_with_all = ["checkpoint", "run", "follow"])]
    pub model: Option<PathBuf>,
    /// A checkpoint's .safetensors file or the folder of its files, together with --run
    #[arg(long, value_name = "FILE|DIR", requires = "run", conflicts_with = "follow")]
    pub checkpoint: Option<PathBuf>,
    /// The run that a checkpoint is of: a manifest file or a preset
    #[arg(long, value_name = "FILE|PRESET")]
    pub run: Option<String>,
    /// The folder of the tokenizer, where it is not the model's own
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// The newest checkpoint of the run of --netuid, from its validators' buckets
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub at: BucketArgs,
}

impl Asked {
    /// Opens the model.
    pub async fn open(&self, device: Device) -> Result<Opened, Failure> {
        if self.follow {
            let mut followed = Followed::open(&self.at, self.tokenizer.clone()).await?;
            return followed.newest(device).await?.ok_or_else(|| followed.nothing_yet());
        }
        let place = self.fetched().await?;
        context::blocking(move || place.open(device)).await
    }

    /// Opens the model to read it weight by weight.
    pub async fn weights(&self) -> Result<(Readable, About), Failure> {
        if self.follow {
            let mut followed = Followed::open(&self.at, self.tokenizer.clone()).await?;
            let opened = followed.newest(Device::Cpu).await?.ok_or_else(|| followed.nothing_yet())?;
            let Opened { model, mut about } = opened;
            if let Some(origin) = &mut about.origin {
                origin.accepted = followed.accepted(origin).await?;
            }
            return Ok((Readable::Loaded(model), about));
        }
        let place = self.fetched().await?;
        let (stored, about) = context::blocking(move || place.stored()).await?;
        Ok((Readable::Stored(stored), about))
    }

    /// Where the model is, after it was fetched from the Hub if it is there.
    async fn fetched(&self) -> Result<Place, Failure> {
        let place = self.place()?.fetched().await?;
        Ok(Place { tokenizer: fetched_tokenizer(self.tokenizer.as_deref()).await?, ..place })
    }

    /// Where the model is.
    fn place(&self) -> Result<Place, Failure> {
        let Some(path) = self.model.as_ref().or(self.checkpoint.as_ref()) else {
            return Err(Failure::new(Exit::Usage, "there is no model to ask")
                .hint("name a folder with --model, a checkpoint with --checkpoint and --run, or a run with --follow"));
        };
        Ok(Place { run: self.run.clone(), ..Place::new(path) })
    }
}

/// The folder of a tokenizer, after it was fetched from the Hub if it is there.
async fn fetched_tokenizer(tokenizer: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    match tokenizer {
        Some(path) => Ok(Some(tokenizer_folder_of(path).await?)),
        None => Ok(None),
    }
}

impl Place {
    /// A folder or a file.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), name: None, run: None, tokenizer: None }
    }

    /// The folder with what was fetched of a repository of the Hub; another place as it is.
    pub async fn fetched(self) -> Result<Self, Failure> {
        let path = folder_of(&self.path).await?;
        let called = self.path.to_str().and_then(|path| path.strip_prefix(PREFIX)).map(str::to_owned);
        Ok(Self { path, name: self.name.or(called), ..self })
    }

    /// Opens the model with its tokenizer.
    pub fn open(&self, device: Device) -> Result<Opened, Failure> {
        let (stored, about) = self.stored()?;
        Ok(Opened { model: stored.load(device)?, about })
    }

    /// The model on its disk, and what belongs to it.
    pub fn stored(&self) -> Result<(Stored, About), Failure> {
        let run = self.run.as_deref().map(context::read_manifest).transpose()?;
        let is_folder = self.path.is_dir();
        // A folder's name may have a dot in it.
        let last = if is_folder { self.path.file_name() } else { self.path.file_stem() };
        let own = || last.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into());
        let name = self.name.clone().unwrap_or_else(own);
        // The files of a checkpoint, as they lie in a bucket, come without a configuration.
        let stored = if is_folder && (run.is_none() || self.path.join(CONFIG_FILE).is_file()) {
            Stored::open(&self.path)?
        } else {
            Stored::checkpoint(&self.path, &self.config()?)?
        };
        let vocabulary = stored.config().vocab_size;
        let tokenizer = self.tokenizer(vocabulary, run.as_ref())?;
        let tokenizer = tokenizer.map(|tokenizer| tokenizer.for_model(vocabulary)).transpose()?;
        let mut ends = if is_folder { hugging_face::end_tokens(&self.path)? } else { Vec::new() };
        if ends.is_empty() {
            ends.extend(tokenizer.as_ref().and_then(Tokenizer::eos).map(|(id, _)| id));
        }
        let origin = run.map(|manifest| Origin { manifest, checkpoint: None, start: None, accepted: None });
        Ok((stored, About { tokenizer, ends, name, origin }))
    }

    fn tokenizer(&self, vocabulary: i64, run: Option<&ManifestFile>) -> Result<Option<Tokenizer>, Failure> {
        if let Some(folder) = &self.tokenizer {
            return Ok(Some(Tokenizer::open(folder)?));
        }
        if self.path.is_dir() && self.path.join(TOKENIZER_FILE).is_file() {
            return Ok(Some(Tokenizer::open(&self.path)?));
        }
        let bytes = match run {
            Some(run) => run.parsed.data.tokenizer == BYTES,
            None => vocabulary == BYTE_VOCABULARY,
        };
        Ok(if bytes { Some(Tokenizer::bytes()?) } else { None })
    }

    /// The shape of a checkpoint, by its run.
    fn config(&self) -> Result<ModelConfig, Failure> {
        let Some(run) = &self.run else {
            let message = format!("{} does not say what model it is", self.path.display());
            return Err(Failure::new(Exit::Usage, message)
                .hint(format!("name its run with --run, or a folder with {CONFIG_FILE}")));
        };
        Ok(context::read_manifest(run)?.parsed.model)
    }
}

impl About {
    /// The last window of the run that the model contains, where that is known.
    pub fn window(&self) -> Option<Window> {
        Some(self.origin.as_ref()?.checkpoint.as_ref()?.window)
    }

    /// The tokenizer, without which the model can be neither asked nor evaluated.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        self.tokenizer.as_ref().ok_or_else(|| no_tokenizer(Path::new(&self.name)))
    }
}

fn no_tokenizer(name: &Path) -> Failure {
    Failure::new(Exit::Data, format!("{} comes without {TOKENIZER_FILE}", name.display()))
        .hint("name a folder that has one with --tokenizer")
}

/// A run whose checkpoints are taken from its validators' buckets, without keys of one's own.
pub struct Followed {
    subnet: Subnet,
    manifest: ManifestFile,
    start: Option<RunStart>,
    tokenizer: Option<PathBuf>,
    /// The hash of the model that was taken last.
    taken: Option<String>,
}

impl Followed {
    /// Finds the run.
    pub async fn open(at: &BucketArgs, tokenizer: Option<PathBuf>) -> Result<Self, Failure> {
        let tokenizer = fetched_tokenizer(tokenizer.as_deref()).await?;
        let subnet = at.open().await?;
        let manifest = node::fetch_manifest(&subnet.directory).await?;
        let manifest = manifest.ok_or_else(|| {
            Failure::new(Exit::Data, "the leader has not published the run's manifest")
                .hint("wait until it has; a run begins with it")
        })?;
        let start = node::fetch_start(&subnet.directory, &manifest).await?;
        Ok(Self { subnet, manifest, start, tokenizer, taken: None })
    }

    /// The run's manifest.
    pub fn manifest(&self) -> &ManifestFile {
        &self.manifest
    }

    /// Where the run began, once the leader has said it.
    pub fn start(&self) -> Option<&RunStart> {
        self.start.as_ref()
    }

    /// The newest checkpoint, if it is another than the one that was taken last.
    pub async fn newest(&mut self, device: Device) -> Result<Option<Opened>, Failure> {
        let Subnet { chain, netuid, buckets, directory } = &mut self.subnet;
        // Who leads may have changed.
        *directory = Directory::read(chain.as_ref(), *netuid, buckets).await?;
        let Some(record) = node::newest_checkpoint(directory, *netuid, &self.manifest).await? else {
            return Ok(None);
        };
        if self.taken.as_ref() == Some(&record.model) {
            return Ok(None);
        }
        let bar = byte_bar(record.bytes());
        let told = |bytes: i64| match bytes {
            0.. => bar.inc(bytes.unsigned_abs()),
            _ => bar.dec(bytes.unsigned_abs()),
        };
        let model = node::fetch_checkpoint(directory, *netuid, &self.manifest, &record, device, &told).await;
        bar.finish_and_clear();
        let model = model?;
        let tokenizer = match &self.tokenizer {
            Some(folder) => Some(Tokenizer::open(folder)?),
            None if self.manifest.parsed.data.tokenizer == BYTES => Some(Tokenizer::bytes()?),
            None => None,
        };
        let tokenizer = tokenizer.map(|t| t.for_model(model.config().vocab_size)).transpose()?;
        let ends = tokenizer.as_ref().and_then(Tokenizer::eos).map(|(id, _)| id).into_iter().collect();
        self.taken = Some(record.model.clone());
        let name = self.manifest.parsed.name.clone();
        let (manifest, start) = (self.manifest.clone(), self.start.clone());
        let origin = Some(Origin { manifest, checkpoint: Some(record), start, accepted: None });
        Ok(Some(Opened { model, about: About { tokenizer, ends, name, origin } }))
    }

    /// Pseudo-gradients that a model of the run is made of.
    async fn accepted(&self, origin: &Origin) -> Result<Option<u64>, Failure> {
        let (Some(start), Some(checkpoint)) = (&origin.start, &origin.checkpoint) else { return Ok(None) };
        let directory = &self.subnet.directory;
        let count = node::count_accepted(directory, &self.manifest, start, checkpoint.window).await?;
        Ok(Some(count))
    }

    /// What to say where there is no checkpoint.
    pub fn nothing_yet(&self) -> Failure {
        let every = self.manifest.parsed.checkpoint.every_windows;
        Failure::new(Exit::Data, format!("the run {} has no checkpoint yet", self.manifest.parsed.name))
            .hint(format!("its leader saves one every {every} windows: try again later"))
    }
}
