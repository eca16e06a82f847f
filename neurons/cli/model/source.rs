//! Where a model is, and what opens it: its weights, its tokenizer, the tokens that end its texts.

use crate::{
    cli::{Exit, Failure},
    context,
};
use std::path::{Path, PathBuf};
use tch::Device;
use templar::{
    manifest::{ManifestFile, ModelConfig},
    model::{
        Llama,
        hugging_face::{self, CONFIG_FILE},
    },
    tokenizer::{TOKENIZER_FILE, Tokenizer},
};

/// What runs that train on bytes call their tokenizer.
const BYTES: &str = "bytes";
/// The vocabulary of models whose tokens are bytes.
const BYTE_VOCABULARY: i64 = 256;

/// A model and what belongs to it.
#[derive(Debug)]
pub struct Opened {
    pub model: Llama,
    /// None where neither the folder nor the run says which.
    pub tokenizer: Option<Tokenizer>,
    /// Tokens that end a text.
    pub ends: Vec<i64>,
    /// What it is called: the folder's or the file's name.
    pub name: String,
}

/// A model's place, however it was named.
#[derive(Debug, Clone)]
pub struct Place {
    pub path: PathBuf,
    pub run: Option<String>,
    pub tokenizer: Option<PathBuf>,
}

/// The model that a verb asks: a folder, or a checkpoint of a run.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Asked {
    /// A folder with config.json and safetensors
    #[arg(long, value_name = "DIR", conflicts_with_all = ["checkpoint", "run"])]
    pub model: Option<PathBuf>,
    /// A checkpoint's .safetensors file, together with --run
    #[arg(long, value_name = "FILE", requires = "run")]
    pub checkpoint: Option<PathBuf>,
    /// The run that a checkpoint is of: a manifest file or a preset
    #[arg(long, value_name = "FILE|PRESET")]
    pub run: Option<String>,
    /// The folder of the tokenizer, where it is not the model's own
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
}

impl Asked {
    /// Where the model is.
    pub fn place(&self) -> Result<Place, Failure> {
        let Some(path) = self.model.as_ref().or(self.checkpoint.as_ref()) else {
            return Err(Failure::new(Exit::Usage, "there is no model to ask")
                .hint("name a folder with --model, or a checkpoint with --checkpoint and --run"));
        };
        Ok(Place { path: path.clone(), run: self.run.clone(), tokenizer: self.tokenizer.clone() })
    }
}

impl Place {
    /// Opens the model with its tokenizer.
    pub fn open(&self, device: Device) -> Result<Opened, Failure> {
        let name = self.path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
        let run = self.run.as_deref().map(context::read_manifest).transpose()?;
        let model = if self.path.is_dir() {
            hugging_face::import(&self.path, device)?
        } else {
            Llama::load(&self.config()?, &self.path, device)?.0
        };
        let tokenizer = self.tokenizer(model.config().vocab_size, run.as_ref())?;
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check(model.config().vocab_size)?;
        }
        let mut ends = if self.path.is_dir() { hugging_face::end_tokens(&self.path)? } else { Vec::new() };
        if ends.is_empty() {
            ends.extend(tokenizer.as_ref().and_then(Tokenizer::eos).map(|(id, _)| id));
        }
        Ok(Opened { model, tokenizer, ends, name })
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

    /// The shape of the model, without its weights.
    pub fn config(&self) -> Result<ModelConfig, Failure> {
        if self.path.is_dir() {
            return Ok(hugging_face::describe(&self.path)?.config);
        }
        let Some(run) = &self.run else {
            let message = format!("{} does not say what model it is", self.path.display());
            return Err(Failure::new(Exit::Usage, message)
                .hint(format!("name its run with --run, or a folder with {CONFIG_FILE}")));
        };
        Ok(context::read_manifest(run)?.parsed.model)
    }
}

impl Opened {
    /// The tokenizer, without which the model can be neither asked nor evaluated.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        self.tokenizer.as_ref().ok_or_else(|| no_tokenizer(Path::new(&self.name)))
    }
}

fn no_tokenizer(name: &Path) -> Failure {
    Failure::new(Exit::Data, format!("{} comes without {TOKENIZER_FILE}", name.display()))
        .hint("name a folder that has one with --tokenizer")
}
