//! Models in the form of Hugging Face's libraries: a folder with `config.json` and safetensors, in one file or in shards.
//!
//! [`import`] reads any Llama of that form, [`export`] writes one that `AutoModelForCausalLM.from_pretrained` loads.

mod config;
mod shards;

pub use config::{config_json, parse_config};

use super::{Llama, ModelError, bytes, parameter_shapes};
use crate::{manifest::ModelConfig, tokenizer::Tokenizer};
use serde_json::json;
use shards::{Plan, Sources, write_header};
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
    let mut weights = BTreeMap::new();
    for (dtype, count) in sources.weights() {
        *weights.entry(dtype.name().to_owned()).or_default() += count;
    }
    Ok(Description { config, weights, files: sources.files().to_vec() })
}

/// Opens the model of a folder, its weights as float32.
///
/// # Errors
/// As [`describe`]; what the disk says.
pub fn import(folder: &Path, device: Device) -> Result<Llama, ModelError> {
    let config = read_config(folder)?;
    let mut sources = Sources::open(folder, &config)?;
    let mut parameters = Vec::new();
    for (name, shape) in parameter_shapes(&config) {
        let (dtype, data) = sources.read(&name)?;
        let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
        let tensor =
            Tensor::from_data_size(&data, &shape, dtype.kind()).to_device(device).to_kind(Kind::Float);
        parameters.push((name, tensor));
    }
    Ok(Llama::with(&config, parameters, device))
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
    /// Names and contents of other files, such as a model card.
    pub others: &'a [(&'a str, String)],
}

impl Default for ExportOptions<'_> {
    fn default() -> Self {
        Self { dtype: Dtype::F32, shard_bytes: 5 << 30, tokenizer: None, others: &[] }
    }
}

/// Writes a model, its tokenizer and other files into a folder that does not exist or is empty; `told` hears the bytes of
/// each tensor that is written. The folder appears whole or not at all. Returns the files of weights.
///
/// # Errors
/// [`ModelError::Disk`], also where the folder has something in it.
pub fn export(
    model: &Llama,
    folder: &Path,
    options: ExportOptions<'_>,
    mut told: impl FnMut(u64),
) -> Result<Vec<String>, ModelError> {
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
    let plan = Plan::new(&parameter_shapes(model.config()), options);
    let weights: BTreeMap<&str, &Tensor> =
        model.parameters().iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    for (file, tensors) in plan.files() {
        let path = beside.path().join(file);
        let failed = disk(&path);
        let mut write = || -> std::io::Result<()> {
            let file = File::create(&path)?;
            let mut out = BufWriter::new(&file);
            write_header(&mut out, tensors, options.dtype)?;
            for (name, _) in tensors {
                if let Some(tensor) = weights.get(name.as_str()) {
                    let data = encoded(tensor, options.dtype);
                    out.write_all(&data)?;
                    told(data.len() as u64);
                }
            }
            out.flush()?;
            drop(out);
            file.sync_all()
        };
        write().map_err(failed)?;
    }
    let tokenizer = options.tokenizer;
    let ends = tokenizer.map(|t| (t.bos().map(|(id, _)| id), t.eos().map(|(id, _)| id))).unwrap_or_default();
    let generation = json!({ "_from_model_config": true, "bos_token_id": ends.0, "eos_token_id": ends.1 });
    let mut texts = vec![
        (CONFIG_FILE, config_json(model.config(), options.dtype, ends)),
        (GENERATION_FILE, format!("{generation:#}\n")),
    ];
    texts.extend(plan.index().map(|index| (INDEX_FILE, index)));
    texts.extend(options.others.iter().cloned());
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
    Ok(plan.files().map(|(file, _)| file.to_owned()).collect())
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

/// A tensor's weights, little-endian.
fn encoded(tensor: &Tensor, dtype: Dtype) -> Vec<u8> {
    if dtype == Dtype::F32 {
        return bytes(tensor);
    }
    let cast = tensor.detach().to_device(Device::Cpu).to_kind(dtype.kind()).contiguous();
    // The bits as numbers of their own, because two-byte floats are no type of this language.
    let bits = cast.view_dtype(Kind::Int16).reshape([-1]);
    let mut numbers = vec![0i16; bits.numel()];
    let count = numbers.len();
    bits.copy_data(&mut numbers, count);
    numbers.iter().flat_map(|bits| bits.to_le_bytes()).collect()
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
