//! Files of weights: which has which tensor, read with bounds, and planned before they are written.

use super::{Dtype, ExportOptions, INDEX_FILE, MAX_JSON, MODEL_FILE, ModelError, read_text};
use crate::{
    manifest::ModelConfig,
    model::{memory::filled, parameter_shapes},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use tch::Tensor;

/// Where one tensor is.
#[derive(Debug, Clone)]
struct Place {
    file: usize,
    dtype: Dtype,
    shape: Vec<u64>,
    /// Its first byte in the file.
    start: u64,
    bytes: u64,
}

/// The open files of a model, and where each of its tensors is.
#[derive(Debug)]
pub(super) struct Sources {
    paths: Vec<PathBuf>,
    files: Vec<File>,
    places: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Sources {
    /// Opens the files and checks that they hold every tensor of the model, in its shape, and nothing beside them.
    pub(super) fn open(folder: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let index_path = folder.join(INDEX_FILE);
        if !index_path.is_file() {
            return Self::open_file(&folder.join(MODEL_FILE), config);
        }
        let map = read_index(&index_path)?;
        let names: BTreeSet<&str> = map.values().map(String::as_str).collect();
        let paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        Self::of(folder, &paths, Some(&map), config)
    }

    /// [`Self::open`] of a single file.
    pub(super) fn open_file(path: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        Self::of(path, &[path.to_owned()], None, config)
    }

    /// [`Self::open`] of all files of weights in a folder.
    pub(super) fn open_all(folder: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Disk { verb: "read", path: folder.display().to_string(), source };
        let entries = folder.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
        paths.sort();
        Self::of(folder, &paths, None, config)
    }

    fn of(
        folder: &Path,
        paths: &[PathBuf],
        map: Option<&BTreeMap<String, String>>,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let mut sources = Self { paths: Vec::new(), files: Vec::new(), places: BTreeMap::new() };
        for path in paths {
            sources.add(path)?;
        }
        let other = |problem: String| ModelError::OtherModel { path: folder.display().to_string(), problem };
        let shapes = parameter_shapes(config);
        for (name, shape) in &shapes {
            let place = sources.places.get(name).ok_or_else(|| other(format!("it has no {name}")))?;
            if !place.shape.iter().copied().eq(shape.iter().map(|d| *d as u64)) {
                return Err(other(format!(
                    "its {name} is not of the shape {shape:?} that its configuration says"
                )));
            }
            let listed = map.and_then(|map| map.get(name));
            let file = sources.paths.get(place.file).and_then(|path| path.file_name()?.to_str());
            if map.is_some() && listed.map(String::as_str) != file {
                return Err(other(format!("its {name} is not in the file that the index says")));
            }
        }
        let wanted: BTreeSet<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
        // A tied head is often written as well; frequencies of old files follow from the configuration.
        let follows =
            |name: &str| name.ends_with("rotary_emb.inv_freq") || (config.tied && name == "lm_head.weight");
        let strange = sources.places.keys().find(|name| !wanted.contains(name.as_str()) && !follows(name));
        match strange {
            Some(name) => Err(other(format!("it has {name}, which no Llama without biases has"))),
            None => Ok(sources),
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let failed = |source| ModelError::Disk { verb: "read", path: path.display().to_string(), source };
        let format = |problem: String| ModelError::Format { path: path.display().to_string(), problem };
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| format("it is too short".to_owned()))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_JSON || length > size.saturating_sub(8) {
            return Err(format("its header is longer than it can be".to_owned()));
        }
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json).map_err(failed)?;
        let header: Map<String, Value> = serde_json::from_slice(&json).map_err(|e| format(e.to_string()))?;
        let begin = 8 + length;
        for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
            let entry: Entry = serde_json::from_value(value).map_err(|e| format(format!("{name}: {e}")))?;
            let [start, end] = entry.data_offsets;
            let weights = entry.shape.iter().try_fold(1u64, |product, d| product.checked_mul(*d));
            let dtype = Dtype::of_name(&entry.dtype).ok_or_else(|| {
                format(format!("its {name} is {}; templar reads F32, BF16 and F16", entry.dtype))
            })?;
            let bytes = weights.and_then(|weights| weights.checked_mul(dtype.size()));
            if start > end || Some(end - start) != bytes || end > size - begin {
                return Err(format(format!("its {name} is cut off or does not have the bytes of its shape")));
            }
            let (file, shape) = (self.files.len(), entry.shape);
            let place = Place { file, dtype, shape, start: begin + start, bytes: end - start };
            if self.places.insert(name.clone(), place).is_some() {
                return Err(format(format!("its {name} is in another file too")));
            }
        }
        self.paths.push(path.to_owned());
        self.files.push(file);
        Ok(())
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The type of each tensor and its weights.
    pub(super) fn weights(&self) -> impl Iterator<Item = (Dtype, u64)> {
        self.places.values().map(|place| (place.dtype, place.bytes / place.dtype.size()))
    }

    /// A tensor, as it is in its file.
    pub(super) fn read(&mut self, name: &str) -> Result<Tensor, ModelError> {
        let missing = || ModelError::OtherModel { path: String::new(), problem: format!("it has no {name}") };
        let place = self.places.get(name).ok_or_else(missing)?;
        let (Some(file), Some(path)) = (self.files.get_mut(place.file), self.paths.get(place.file)) else {
            return Err(missing());
        };
        let shape: Vec<i64> = place.shape.iter().map(|d| *d as i64).collect();
        let read = filled(&shape, place.dtype.kind(), |data| {
            file.seek(SeekFrom::Start(place.start)).and_then(|_| file.read_exact(data))
        });
        read.map_err(|source| ModelError::Disk { verb: "read", path: path.display().to_string(), source })
    }
}

/// The index; its files lie beside it.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    let format = |problem: String| ModelError::Format { path: path.display().to_string(), problem };
    let index: Index = serde_json::from_str(&read_text(path)?).map_err(|e| format(e.to_string()))?;
    let plain =
        |name: &str| !name.contains(['/', '\\']) && name.ends_with(".safetensors") && !name.starts_with('.');
    match index.weight_map.values().find(|name| !plain(name)) {
        Some(name) => Err(format(format!("it names `{name}`, which is no file beside it"))),
        None => Ok(index.weight_map),
    }
}

type Tensors = Vec<(String, Vec<usize>)>;

/// Which tensor goes into which file.
#[derive(Debug)]
pub(crate) struct Plan {
    files: Vec<(String, Tensors)>,
    total_bytes: u64,
}

impl Plan {
    /// Fills files in the order of the tensors.
    pub(crate) fn new(shapes: &[(String, Vec<usize>)], options: ExportOptions) -> Self {
        let bytes = |shape: &[usize]| shape.iter().map(|d| *d as u64).product::<u64>() * options.dtype.size();
        let mut groups: Vec<(u64, Tensors)> = Vec::new();
        for (name, shape) in shapes {
            let more = bytes(shape);
            match groups.last_mut() {
                Some((size, group)) if *size + more <= options.shard_bytes => {
                    *size += more;
                    group.push((name.clone(), shape.clone()));
                }
                _ => groups.push((more, vec![(name.clone(), shape.clone())])),
            }
        }
        let total_bytes = groups.iter().map(|(size, _)| size).sum();
        let count = groups.len();
        let name = |n: usize| match count {
            1 => MODEL_FILE.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", n + 1),
        };
        let files = groups.into_iter().enumerate().map(|(n, (_, group))| (name(n), group)).collect();
        Self { files, total_bytes }
    }

    /// Names of files and their tensors.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[(String, Vec<usize>)])> {
        self.files.iter().map(|(name, tensors)| (name.as_str(), tensors.as_slice()))
    }

    /// The index; none where one file has everything.
    pub(super) fn index(&self) -> Option<String> {
        let map = |(file, tensors): &(String, Tensors)| {
            tensors.iter().map(|(name, _)| (name.clone(), json!(file))).collect::<Vec<_>>()
        };
        let weight_map: Map<String, Value> = self.files.iter().flat_map(map).collect();
        let index = json!({ "metadata": { "total_size": self.total_bytes }, "weight_map": weight_map });
        (self.files.len() > 1).then(|| format!("{index:#}\n"))
    }
}

/// The head of a file with these tensors, one behind the other.
pub(super) fn write_header(
    out: &mut impl Write,
    tensors: &[(String, Vec<usize>)],
    dtype: Dtype,
) -> io::Result<()> {
    let mut header = Map::new();
    // transformers refuses a file that does not say so.
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + shape.iter().map(|d| *d as u64).product::<u64>() * dtype.size();
        let entry = json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [at, end] });
        header.insert(name.clone(), entry);
        at = end;
    }
    let mut json = serde_json::to_vec(&header)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    out.write_all(&(json.len() as u64).to_le_bytes())?;
    out.write_all(&json)
}
