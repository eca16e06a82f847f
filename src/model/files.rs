//! Tensors in safetensors files: written whole or not at all, read with bounds.

use super::memory::{filled, with_bytes};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
};
use tch::{Device, Kind, Tensor};

/// A header longer than this is not one of ours.
const MAX_HEADER: u64 = 16 << 20;

/// Why a file of tensors cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The disk refused.
    #[error("cannot {verb} {path}")]
    Disk {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not a safetensors file.
    #[error("{path} is not a safetensors file: {problem}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A configuration that this program has no model for.
    #[error("cannot use {path}: {problem}")]
    Unsupported {
        /// The file.
        path: String,
        /// What is not supported.
        problem: String,
    },
    /// A tensor is missing, or of another shape or type.
    #[error("{path} does not hold this model: {problem}")]
    OtherModel {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl ModelError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disk { verb: "write", .. } => {
                "name a folder that is empty and can be written, on a disk with room"
            }
            Self::Disk { .. } => "check the path, and that the file can be read",
            Self::Format { .. } => "the file is damaged or was not downloaded whole: get it again",
            Self::OtherModel { .. } => {
                "the files and the configuration do not belong together: get the folder again"
            }
            Self::Unsupported { .. } => {
                "templar works with Llamas: Llama 2 and 3, TinyLlama, SmolLM2, its own runs"
            }
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    entries: BTreeMap<String, Entry>,
}

/// The beginning of a file of float32 tensors that lie one behind the other: the same bytes for the same names and shapes.
pub(crate) fn header(tensors: &[(&str, Vec<usize>)], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut entries = BTreeMap::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__", json!(metadata));
    }
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 4 * shape.iter().map(|d| *d as u64).product::<u64>();
        entries.insert(name, json!({ "data_offsets": [at, end], "dtype": "F32", "shape": shape }));
        at = end;
    }
    // In the order of names, whichever order a map of this build keeps.
    let entries: Map<String, Value> = entries.into_iter().map(|(name, e)| (name.to_owned(), e)).collect();
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    bytes
}

/// Writes float32 tensors in the given order, beside the final name first: a reader sees all of the file or
/// the one before it.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &[(&str, &Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), ModelError> {
    write_tensors_shown(path, tensors, metadata, |_| ())
}

/// [`write_tensors`]; `shown` sees all that is written, in order.
pub(crate) fn write_tensors_shown(
    path: &Path,
    tensors: &[(&str, &Tensor)],
    metadata: &BTreeMap<String, String>,
    mut shown: impl FnMut(&[u8]),
) -> Result<(), ModelError> {
    let failed = |source| ModelError::Disk { verb: "write", path: path.display().to_string(), source };
    let shape = |tensor: &Tensor| tensor.size().iter().map(|d| *d as usize).collect();
    let shapes: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, shape(tensor))).collect();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let mut out = BufWriter::new(file.as_file_mut());
    let mut write = |bytes: &[u8]| {
        shown(bytes);
        out.write_all(bytes)
    };
    write(&header(&shapes, metadata)).map_err(failed)?;
    for (_, tensor) in tensors {
        with_bytes(tensor, &mut write).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    drop(out);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    // The rename itself must outlive a power cut too.
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
}

/// Named tensors and the file's metadata.
pub(crate) type Tensors = (Vec<(String, Tensor)>, BTreeMap<String, String>);

/// What a file says of itself.
pub(crate) fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    Ok(open(path)?.header.metadata)
}

/// A file of tensors, read up to its first one.
struct Opened {
    file: BufReader<File>,
    /// Bytes of the file.
    size: u64,
    /// Bytes of its header.
    length: u64,
    header: Header,
}

fn open(path: &Path) -> Result<Opened, ModelError> {
    let failed = |source| ModelError::Disk { verb: "read", path: path.display().to_string(), source };
    let format =
        |problem: &str| ModelError::Format { path: path.display().to_string(), problem: problem.to_owned() };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::new(file);
    let mut length = [0; 8];
    if size < 8 {
        return Err(format("it is too short"));
    }
    file.read_exact(&mut length).map_err(failed)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length > size - 8 {
        return Err(format("its header is longer than it can be"));
    }
    let mut json = vec![0; length as usize];
    file.read_exact(&mut json).map_err(failed)?;
    let header = serde_json::from_slice(&json).map_err(|e| format(&e.to_string()))?;
    Ok(Opened { file, size, length, header })
}

/// Reads exactly the named float32 tensors; a file with others, or of another length, is refused.
pub(crate) fn read_tensors(
    path: &Path,
    shapes: &[(String, Vec<usize>)],
    device: Device,
) -> Result<Tensors, ModelError> {
    let place = || path.display().to_string();
    let failed = |source| ModelError::Disk { verb: "read", path: place(), source };
    let format = |problem: &str| ModelError::Format { path: place(), problem: problem.to_owned() };
    let other = |problem: String| ModelError::OtherModel { path: place(), problem };
    let Opened { mut file, size, length, header } = open(path)?;
    if header.entries.len() != shapes.len() {
        return Err(other(format!("it has {} tensors, the model {}", header.entries.len(), shapes.len())));
    }
    // In the file's own order, so that it is read from front to back once.
    let mut order: Vec<(usize, &Entry)> = Vec::with_capacity(shapes.len());
    for (index, (name, shape)) in shapes.iter().enumerate() {
        let entry = header.entries.get(name).ok_or_else(|| other(format!("it has no {name}")))?;
        if entry.dtype != "F32" || entry.shape != *shape {
            let found = format!("{} {:?}", entry.dtype, entry.shape);
            return Err(other(format!("its {name} is {found}, the model's F32 {shape:?}")));
        }
        order.push((index, entry));
    }
    order.sort_by_key(|(_, entry)| entry.data_offsets[0]);
    let mut at = 0;
    let mut tensors: Vec<Option<Tensor>> = shapes.iter().map(|_| None).collect();
    for (index, entry) in order {
        let count = shapes[index].1.iter().product::<usize>();
        let bytes = 4 * count as u64;
        if entry.data_offsets != [at, at + bytes] || 8 + length + at + bytes > size {
            return Err(format("its tensors do not lie one behind the other"));
        }
        at += bytes;
        let shape: Vec<i64> = shapes[index].1.iter().map(|d| *d as i64).collect();
        let read = filled(&shape, Kind::Float, |data| file.read_exact(data)).map_err(failed)?;
        tensors[index] = Some(read.to_device(device));
    }
    if 8 + length + at != size {
        return Err(format("bytes follow its last tensor"));
    }
    let named = shapes.iter().zip(tensors).filter_map(|((n, _), t)| Some((n.clone(), t?))).collect();
    Ok((named, header.metadata))
}
