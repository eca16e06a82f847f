//! Which files hold the text, in which order.

use super::texts;
use crate::data::DataError;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a file holds its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A column of a Parquet file: a document is a row.
    Parquet,
    /// JSON objects, one on each line.
    JsonLines(Packing),
    /// Plain text: the file is one document.
    Text,
}

/// How a file is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstandard,
}

impl Kind {
    /// The kind of a file with documents in columns or lines, by its name; `None` for any other file.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (name, packing) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
            (Some(inner), _) => (inner.to_owned(), Packing::Gzip),
            (_, Some(inner)) => (inner.to_owned(), Packing::Zstandard),
            _ => (name, Packing::Plain),
        };
        // A `.json` that is not packed is one object as a rule, not one on each line.
        let json = packing != Packing::Plain && name.ends_with(".json");
        let lines = json || [".jsonl", ".ndjson"].iter().any(|end| name.ends_with(end));
        match packing {
            Packing::Plain if name.ends_with(".parquet") => Some(Self::Parquet),
            packing => lines.then_some(Self::JsonLines(packing)),
        }
    }
}

/// Brings a file from elsewhere.
pub trait Bring: std::fmt::Debug + Send + Sync {
    /// Writes the file's content to a path.
    ///
    /// # Errors
    /// [`DataError`], which names the file.
    fn bring(&self, to: &Path) -> Result<(), DataError>;
}

/// Where a file is.
#[derive(Debug, Clone)]
pub enum Place {
    /// On this machine.
    Here(PathBuf),
    /// Elsewhere; it is brought when it is its turn, and removed afterwards.
    Elsewhere(Arc<dyn Bring>),
}

/// A file with documents.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Its name among the inputs: the same whenever the same inputs are named.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// How it holds them.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// Named by the user itself: it is text, or that is an error.
    pub named: bool,
}

/// The files of inputs on this machine, in the order in which they are read: those with documents in columns or lines by their
/// path, then text files in an order that mixes projects.
///
/// # Errors
/// [`DataError::File`] for an input that is not there, [`DataError::NoText`] where there is no file with text.
pub fn local(inputs: &[PathBuf]) -> Result<Vec<InputFile>, DataError> {
    let mut files = Vec::new();
    let mut sources = Vec::new();
    for input in inputs {
        let fail = |source| DataError::File { action: "read", path: input.clone(), source };
        let metadata = fs::metadata(input).map_err(fail)?;
        if metadata.is_dir() {
            fs::read_dir(input).map_err(fail)?;
            let before = files.len();
            walk(input, "", &mut files, texts::DEEPEST);
            if files.len() == before {
                sources.push(input.clone());
            }
        } else {
            let name = input.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            match Kind::of(&name) {
                Some(kind) => files.push(InputFile {
                    name,
                    bytes: metadata.len(),
                    kind,
                    place: Place::Here(input.clone()),
                    named: true,
                }),
                None => sources.push(input.clone()),
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.extend(texts::files(&sources)?);
    if files.is_empty() {
        let names: Vec<String> = inputs.iter().map(|path| path.display().to_string()).collect();
        return Err(DataError::NoText { sources: names.join(", ") });
    }
    Ok(files)
}

/// Collects files with documents in columns or lines below a folder. Links to folders are not followed.
fn walk(folder: &Path, within: &str, files: &mut Vec<InputFile>, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let within = format!("{within}{name}");
        if kind.is_dir() {
            if depth > 0 {
                walk(&entry.path(), &format!("{within}/"), files, depth - 1);
            }
        } else if let Some(kind) = Kind::of(&name)
            && let Ok(metadata) = fs::metadata(entry.path())
            && metadata.is_file()
        {
            files.push(InputFile {
                name: within,
                bytes: metadata.len(),
                kind,
                place: Place::Here(entry.path()),
                named: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_a_file_holds_its_documents() {
        for (name, kind) in [
            ("a/000_00001.parquet", Some(Kind::Parquet)),
            ("a.JSONL", Some(Kind::JsonLines(Packing::Plain))),
            ("a.jsonl.gz", Some(Kind::JsonLines(Packing::Gzip))),
            ("a.json.zst", Some(Kind::JsonLines(Packing::Zstandard))),
            ("package.json", None),
            ("a.parquet.gz", None),
            ("a.txt", None),
            ("README.md", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}
