//! Models in the form of Hugging Face's libraries: a folder with `config.json` and safetensors, in one file or in shards.
//!
//! [`import`] reads any Llama of that form, [`export`] writes one that `AutoModelForCausalLM.from_pretrained` loads.

mod config;
mod shards;

pub use config::{config_json, parse_config};
pub(crate) use shards::Plan;

use super::{Llama, ModelError, ModelHasher, parameter_count, parameter_shapes, with_bytes};
use crate::{manifest::ModelConfig, tokenizer::Tokenizer};
use serde_json::json;
use shards::{Sources, write_header};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
};
use tch::{Device, Kind, Tensor};

/// The file that says what a model is.
pub const CONFIG_FILE: &str = "config.json";
/// The one file of a model without shards.
pub const MODEL_FILE: &str = "model.safetensors";
/// The file that says which shard has which tensor.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The file that says how texts are generated and end.
pub const GENERATION_FILE: &str = "generation_config.json";
/// A configuration, index or header longer than this is not one.
const MAX_JSON: u64 = 64 << 20;

/// How weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits: the weights as they are.
    F32,
    /// 16 bits with float32's exponent.
    Bf16,
    /// 16 bits, IEEE.
    F16,
}

impl Dtype {
    /// The name in safetensors.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    /// The name in `config.json`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16, Self::F16].into_iter().find(|dtype| dtype.name() == name)
    }

    fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    /// Bytes of one weight.
    pub fn size(self) -> u64 {
        if self == Self::F32 { 4 } else { 2 }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" | "float32" => Ok(Self::F32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "f16" | "float16" => Ok(Self::F16),
            _ => Err(format!("`{text}` is no type of weights: write f32, bf16 or f16")),
        }
    }
}

/// What a folder holds, without its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The shape.
    pub config: ModelConfig,
    /// The types of its tensors, and how many weights have each.
    pub weights: BTreeMap<String, u64>,
    /// Its files of weights.
    pub files: Vec<PathBuf>,
}

/// Reads what a model is, and checks that its files hold it.
///
/// # Errors
/// [`ModelError`] for a folder that is no Llama, or lacks a part of it.
pub fn describe(folder: &Path) -> Result<Description, ModelError> {
    let config = read_config(folder)?;
    let sources = Sources::open(folder, &config)?;
    Ok(Description { config, weights: dtypes(&sources), files: sources.files().to_vec() })
}

/// How many weights of each type there are.
fn dtypes(sources: &Sources) -> BTreeMap<String, u64> {
    let mut weights = BTreeMap::new();
    for (dtype, count) in sources.weights() {
        *weights.entry(dtype.name().to_owned()).or_default() += count;
    }
    weights
}

/// The weights of a model, one after the other.
pub trait Weights {
    /// The model's shape.
    fn config(&self) -> &ModelConfig;

    /// A parameter as float32, by its name among [`parameter_shapes`].
    ///
    /// # Errors
    /// What the disk says.
    fn weight(&mut self, name: &str) -> Result<Tensor, ModelError>;

    /// How many weights there are of each type, as they are kept.
    fn dtypes(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([(Dtype::F32.name().to_owned(), parameter_count(self.config()) as u64)])
    }

    /// [`Llama::hash`] of the model.
    ///
    /// # Errors
    /// What the disk says.
    fn hash(&mut self) -> Result<[u8; 32], ModelError> {
        let mut hasher = ModelHasher::default();
        for (name, _) in parameter_shapes(&self.config().clone()) {
            hasher.add(&name, &self.weight(&name)?);
        }
        Ok(hasher.finish())
    }
}

/// A model in memory.
#[derive(Debug)]
pub struct InMemory<'a>(pub &'a Llama);

impl Weights for InMemory<'_> {
    fn config(&self) -> &ModelConfig {
        self.0.config()
    }

    fn weight(&mut self, name: &str) -> Result<Tensor, ModelError> {
        let found = self.0.parameters().iter().find(|(known, _)| known == name);
        let missing = || ModelError::OtherModel { path: String::new(), problem: format!("it has no {name}") };
        found.map(|(_, tensor)| tensor.shallow_clone()).ok_or_else(missing)
    }
}

/// A model on disk: its files are open and were checked, its weights are read when they are asked for.
#[derive(Debug)]
pub struct Stored {
    config: ModelConfig,
    sources: Sources,
}

impl Stored {
    /// The model of a folder.
    ///
    /// # Errors
    /// As [`describe`].
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let config = read_config(folder)?;
        let sources = Sources::open(folder, &config)?;
        Ok(Self { config, sources })
    }

    /// A run's checkpoint: its one file, or the folder of its files.
    ///
    /// # Errors
    /// A file that cannot be read, or does not hold this model.
    pub fn checkpoint(path: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let open = if path.is_dir() { Sources::open_all } else { Sources::open_file };
        Ok(Self { config: config.clone(), sources: open(path, config)? })
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// What the disk says.
    pub fn load(mut self, device: Device) -> Result<Llama, ModelError> {
        let mut parameters = Vec::new();
        for (name, _) in parameter_shapes(&self.config) {
            let tensor = self.sources.read(&name)?.to_device(device).to_kind(Kind::Float);
            parameters.push((name, tensor));
        }
        Ok(Llama::with(&self.config, parameters, device))
    }
}

impl Weights for Stored {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn weight(&mut self, name: &str) -> Result<Tensor, ModelError> {
        Ok(self.sources.read(name)?.to_kind(Kind::Float))
    }

    fn dtypes(&self) -> BTreeMap<String, u64> {
        dtypes(&self.sources)
    }
}

/// Opens the model of a folder, its weights as float32.
///
/// # Errors
/// As [`describe`]; what the disk says.
pub fn import(folder: &Path, device: Device) -> Result<Llama, ModelError> {
    Stored::open(folder)?.load(device)
}

/// How a model is written.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions<'a> {
    /// The type of the weights.
    pub dtype: Dtype,
    /// The most bytes of weights in one file; a tensor that is larger has a file of its own.
    pub shard_bytes: u64,
    /// Whose files are written too, and whose tokens begin and end texts.
    pub tokenizer: Option<&'a Tokenizer>,
}

impl Default for ExportOptions<'_> {
    fn default() -> Self {
        Self { dtype: Dtype::F32, shard_bytes: 5 << 30, tokenizer: None }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The files of weights.
    pub files: Vec<String>,
    /// [`Llama::hash`] of the model.
    pub hash: [u8; 32],
}

/// Writes a model and its tokenizer into a folder that does not exist or is empty; `told` hears the bytes of each tensor that
/// is written. The folder appears whole or not at all.
///
/// # Errors
/// [`ModelError::Disk`], also where the folder has something in it.
pub fn export(
    model: &Llama,
    folder: &Path,
    options: ExportOptions<'_>,
    told: impl FnMut(u64),
) -> Result<Exported, ModelError> {
    export_weights(&mut InMemory(model), folder, options, told, |_| None)
}

/// [`export`] of weights that need not be in memory: one tensor is at a time. `card` is given the model's hash, in hex, and
/// gives the model card.
///
/// # Errors
/// As [`export`]; what reading the weights says.
pub fn export_weights(
    weights: &mut dyn Weights,
    folder: &Path,
    options: ExportOptions<'_>,
    mut told: impl FnMut(u64),
    card: impl FnOnce(&str) -> Option<String>,
) -> Result<Exported, ModelError> {
    let disk = |path: &Path| {
        let path = path.display().to_string();
        move |source| ModelError::Disk { verb: "write", path, source }
    };
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let taken = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "the folder is not empty");
        return Err(disk(folder)(taken));
    }
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(disk(parent))?;
    let beside =
        tempfile::Builder::new().prefix(".templar-export-").tempdir_in(parent).map_err(disk(parent))?;
    let config = weights.config().clone();
    let plan = Plan::new(&parameter_shapes(&config), options);
    // The plan's order is that of the parameters, which the hash follows.
    let mut hasher = ModelHasher::default();
    for (file, tensors) in plan.files() {
        let path = beside.path().join(file);
        let file = File::create(&path).map_err(disk(&path))?;
        let mut out = BufWriter::new(&file);
        write_header(&mut out, tensors, options.dtype).map_err(disk(&path))?;
        for (name, _) in tensors {
            let tensor = weights.weight(name)?;
            hasher.add(name, &tensor);
            let written = with_bytes(&tensor.to_kind(options.dtype.kind()), |bytes| {
                out.write_all(bytes).map(|()| bytes.len())
            });
            told(written.map_err(disk(&path))? as u64);
        }
        let flushed = out.flush();
        drop(out);
        flushed.and_then(|()| file.sync_all()).map_err(disk(&path))?;
    }
    let hash = hasher.finish();
    let tokenizer = options.tokenizer;
    let ends = tokenizer.map(|t| (t.bos().map(|(id, _)| id), t.eos().map(|(id, _)| id))).unwrap_or_default();
    let generation = json!({ "_from_model_config": true, "bos_token_id": ends.0, "eos_token_id": ends.1 });
    let mut texts = vec![
        (CONFIG_FILE, config_json(&config, options.dtype, ends)),
        (GENERATION_FILE, format!("{generation:#}\n")),
    ];
    texts.extend(plan.index().map(|index| (INDEX_FILE, index)));
    texts.extend(card(&hex::encode(hash)).map(|card| ("README.md", card)));
    let tokenizer_files = tokenizer
        .into_iter()
        .flat_map(Tokenizer::files)
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    let texts = texts.iter().map(|(name, text)| (*name, text.as_bytes())).chain(tokenizer_files);
    for (name, bytes) in texts {
        let path = beside.path().join(name);
        crate::telemetry::files::write_atomic(&path, bytes).map_err(disk(&path))?;
    }
    // An empty folder gives way to the whole one.
    if folder.is_dir() {
        fs::remove_dir(folder).map_err(disk(folder))?;
    }
    fs::rename(beside.path(), folder).map_err(disk(folder))?;
    // It has another name now: there is nothing to remove.
    let _ = beside.keep();
    Ok(Exported { files: plan.files().map(|(file, _)| file.to_owned()).collect(), hash })
}

/// The tokens by which the texts of a folder's model end, by its `generation_config.json` or else its `config.json`.
///
/// # Errors
/// A file that cannot be read.
pub fn end_tokens(folder: &Path) -> Result<Vec<i64>, ModelError> {
    for name in [GENERATION_FILE, CONFIG_FILE] {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let value: serde_json::Value = serde_json::from_str(&read_text(&path)?)
            .map_err(|e| ModelError::Format { path: path.display().to_string(), problem: e.to_string() })?;
        let listed: Vec<i64> = match &value["eos_token_id"] {
            serde_json::Value::Array(ids) => ids.iter().filter_map(serde_json::Value::as_i64).collect(),
            id => id.as_i64().into_iter().collect(),
        };
        if !listed.is_empty() {
            return Ok(listed);
        }
    }
    Ok(Vec::new())
}

fn read_config(folder: &Path) -> Result<ModelConfig, ModelError> {
    let path = folder.join(CONFIG_FILE);
    parse_config(&read_text(&path)?)
        .map_err(|problem| ModelError::Unsupported { path: path.display().to_string(), problem })
}

/// A text of bounded length.
fn read_text(path: &Path) -> Result<String, ModelError> {
    let failed = |source| ModelError::Disk { verb: "read", path: path.display().to_string(), source };
    let format =
        |problem: &str| ModelError::Format { path: path.display().to_string(), problem: problem.to_owned() };
    if fs::metadata(path).map_err(failed)?.len() > MAX_JSON {
        return Err(format("it is longer than any such file"));
    }
    String::from_utf8(fs::read(path).map_err(failed)?).map_err(|_| format("it is not UTF-8"))
}

#[cfg(test)]
mod tests;
