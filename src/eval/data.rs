//! Rows of datasets: JSON lines, JSON lists and Parquet, as a dataset's repository has them or as one file.

use super::{EvalError, Task};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use serde_json::{Map, Value};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// No dataset of these tasks is larger, and it is read into memory.
const MAX_FILE: u64 = 1 << 30;

/// A folder with one file or one folder for each task.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Looks for tasks in a folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The rows of a split.
    pub(super) fn rows(&self, task: &Task, split: &'static str) -> Result<Vec<Value>, EvalError> {
        let files = self.files(task, split);
        if files.is_empty() {
            return Err(EvalError::NoData { folder: self.0.clone(), task: task.name(), split });
        }
        let mut rows = Vec::new();
        for file in files {
            rows.extend(read(&file)?);
        }
        if rows.is_empty() {
            return Err(EvalError::NoData { folder: self.0.clone(), task: task.name(), split });
        }
        Ok(rows)
    }

    /// `TASK.EXT` for the split that is asked; else the split's files in `TASK/` or in the folder that is called as the
    /// dataset's repository, there in that of its configuration (`default` where it has no name), and in `data/`.
    fn files(&self, task: &Task, split: &'static str) -> Vec<PathBuf> {
        let dataset = task.dataset();
        if split == task.split() {
            let single = ENDS.map(|end| self.0.join(format!("{}{end}", task.name())));
            if let Some(file) = single.into_iter().find(|file| file.is_file()) {
                return vec![file];
            }
        }
        let repository = dataset.path.rsplit('/').next().unwrap_or_default();
        let config = if dataset.config.is_empty() { "default" } else { &dataset.config };
        for root in [self.0.join(task.name()), self.0.join(repository)] {
            let configured = root.join(config);
            let own = if dataset.config.is_empty() || !configured.is_dir() { Some(root) } else { None };
            for place in own.into_iter().chain([configured]) {
                for place in [place.join("data"), place] {
                    let found = of_split(&place, split);
                    if !found.is_empty() {
                        return found;
                    }
                }
            }
        }
        Vec::new()
    }
}

const ENDS: [&str; 3] = [".jsonl", ".json", ".parquet"];

/// Files of a folder that are called as the split, or by its name and a dash, a dot or an underscore, or that lie in a folder
/// of its name: in order, so that shards are.
fn of_split(folder: &Path, split: &str) -> Vec<PathBuf> {
    let listed = |folder: &Path, named: &dyn Fn(&str) -> bool| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let wanted = |name: &str| ENDS.iter().any(|end| name.ends_with(end)) && named(name);
        let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(wanted));
        let mut files: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
        files.sort();
        files
    };
    let named = |name: &str| name.strip_prefix(split).is_some_and(|rest| rest.starts_with(['.', '-', '_']));
    let files = listed(folder, &named);
    if files.is_empty() { listed(&folder.join(split), &|_| true) } else { files }
}

fn read(path: &Path) -> Result<Vec<Value>, EvalError> {
    let disk = |source| EvalError::Disk { path: path.to_owned(), source };
    let format = |problem: String| EvalError::Format { path: path.to_owned(), problem };
    let file = File::open(path).map_err(disk)?;
    if file.metadata().map_err(disk)?.len() > MAX_FILE {
        return Err(format("it is longer than any dataset of these tasks".to_owned()));
    }
    if path.extension().is_some_and(|end| end == "parquet") {
        let reader = SerializedFileReader::new(file).map_err(|e| format(e.to_string()))?;
        let rows = reader.get_row_iter(None).map_err(|e| format(e.to_string()))?;
        return rows
            .map(|row| row.map(|row| object(row.into_columns())))
            .collect::<Result<_, _>>()
            .map_err(|e: parquet::errors::ParquetError| format(e.to_string()));
    }
    let mut reader = BufReader::new(file);
    let first = reader.fill_buf().map_err(disk)?.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
    if first == Some(b'[') {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).map_err(disk)?;
        return serde_json::from_slice(&text).map_err(|e| format(e.to_string()));
    }
    let mut rows = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(disk)?;
        if !line.trim().is_empty() {
            let row = serde_json::from_str(&line).map_err(|e| format(format!("line {}: {e}", number + 1)))?;
            rows.push(row);
        }
    }
    Ok(rows)
}

fn object(columns: Vec<(String, Field)>) -> Value {
    Value::Object(columns.into_iter().map(|(name, field)| (name, value(field))).collect::<Map<_, _>>())
}

fn value(field: Field) -> Value {
    match field {
        Field::Bool(v) => v.into(),
        Field::Byte(v) => v.into(),
        Field::Short(v) => v.into(),
        Field::Int(v) => v.into(),
        Field::Long(v) => v.into(),
        Field::UByte(v) => v.into(),
        Field::UShort(v) => v.into(),
        Field::UInt(v) => v.into(),
        Field::ULong(v) => v.into(),
        Field::Float(v) => v.into(),
        Field::Double(v) => v.into(),
        Field::Str(v) => v.into(),
        Field::Group(row) => object(row.into_columns()),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        // No column that a task reads has another type.
        _ => Value::Null,
    }
}
