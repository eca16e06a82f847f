//! Documents out of files, in order, in batches that fit into memory.

use super::inputs::{InputFile, Kind, Packing};
use crate::data::DataError;
use parquet::{
    basic::Type,
    column::reader::ColumnReader,
    data_type::ByteArray,
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes of text after which a batch is given out.
const BATCH: usize = 4 << 20;
/// Documents after which it is.
const DOCUMENTS: usize = 8192;
/// Rows that are read at once.
const ROWS: usize = 64;

/// Where reading goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file, from 0.
    pub file: usize,
    /// Its next document, from 0.
    pub document: u64,
}

/// What documents were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Without text.
    pub empty: u64,
    /// Text files like an earlier one.
    pub duplicates: u64,
    /// That could not be read.
    pub bad: u64,
}

/// Documents that follow on each other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub texts: Vec<String>,
    pub bytes: usize,
    pub left_out: LeftOut,
    /// Where the next batch begins.
    pub next: Position,
    /// Input bytes of the current file that were read, about.
    pub read: u64,
}

/// How documents are read.
pub(super) struct Reading<'a> {
    /// The column or field with the text.
    pub column: &'a str,
    /// The longest document, in bytes.
    pub longest: usize,
    /// No document may have a NUL.
    pub no_nul: bool,
    /// Documents that cannot be read are left out.
    pub skip_bad: bool,
}

/// Takes documents of one file after the other. `give` returns `false` when nobody wants more.
pub(super) struct Reader<'a, F> {
    pub how: Reading<'a>,
    pub give: F,
    batch: Batch,
    seen: HashSet<blake3::Hash>,
}

/// Why reading ended before the end.
pub(super) enum End {
    /// Nobody wants more.
    Enough,
    Failed(DataError),
}

impl From<DataError> for End {
    fn from(error: DataError) -> Self {
        Self::Failed(error)
    }
}

impl<'a, F: FnMut(Batch) -> bool> Reader<'a, F> {
    pub fn new(how: Reading<'a>, give: F) -> Self {
        Self { how, give, batch: Batch::default(), seen: HashSet::new() }
    }

    /// The documents of a file that lies at `path`, from `skip` on.
    pub fn file(&mut self, number: usize, file: &InputFile, path: &Path, skip: u64) -> Result<(), End> {
        self.batch.next = Position { file: number, document: skip };
        match file.kind {
            Kind::Parquet => self.parquet(file, path, skip)?,
            Kind::JsonLines(packing) => self.lines(file, path, packing, skip)?,
            Kind::Text => self.text(file, path, skip)?,
        }
        self.batch.next = Position { file: number + 1, document: 0 };
        self.batch.read = 0;
        Ok(())
    }

    /// Gives out the last documents.
    pub fn finish(&mut self) -> Result<(), End> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), End> {
        let batch = std::mem::take(&mut self.batch);
        self.batch.next = batch.next;
        self.batch.read = batch.read;
        if (self.give)(batch) { Ok(()) } else { Err(End::Enough) }
    }

    /// Takes a document; `Err` says what is wrong with it.
    fn document(&mut self, file: &InputFile, text: Result<String, String>) -> Result<(), End> {
        let number = self.batch.next.document;
        self.batch.next.document += 1;
        let fits = |text: String| {
            if text.len() > self.how.longest {
                return Err(format!("has {} bytes; {} are the most", text.len(), self.how.longest));
            }
            if self.how.no_nul && text.contains('\0') {
                return Err("has a NUL, which separates documents of bytes".to_owned());
            }
            Ok(text)
        };
        match text.and_then(fits) {
            Ok(text) if text.chars().all(char::is_whitespace) => self.batch.left_out.empty += 1,
            Ok(text) => {
                self.batch.bytes += text.len();
                self.batch.texts.push(text);
            }
            Err(_) if self.how.skip_bad => self.batch.left_out.bad += 1,
            Err(problem) => {
                return Err(
                    DataError::Document { file: file.name.clone(), number: number + 1, problem }.into()
                );
            }
        }
        if self.batch.bytes >= BATCH || self.batch.texts.len() >= DOCUMENTS { self.flush() } else { Ok(()) }
    }

    fn parquet(&mut self, input: &InputFile, path: &Path, mut skip: u64) -> Result<(), End> {
        let name = &input.name;
        let damaged = |e: ParquetError| DataError::Damaged { file: name.clone(), problem: e.to_string() };
        let opened = File::open(path).map_err(|e| failed(path, e))?;
        let reader = SerializedFileReader::new(opened).map_err(damaged)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns = schema.columns();
        let found = columns.iter().position(|column| column.path().string() == self.how.column);
        let Some(column) = found else {
            let there = columns.iter().map(|column| column.path().string()).collect();
            return Err(no_column(self.how.column, name, there).into());
        };
        let description = &columns[column];
        if description.physical_type() != Type::BYTE_ARRAY || description.max_rep_level() > 0 {
            let problem = format!("its column `{}` does not hold text", self.how.column);
            return Err(DataError::Damaged { file: name.clone(), problem }.into());
        }
        let optional = description.max_def_level();
        let rows = reader.metadata().file_metadata().num_rows().max(1) as u64;
        let mut row = skip;
        for group in 0..reader.num_row_groups() {
            let in_group = reader.metadata().row_group(group).num_rows() as u64;
            if skip >= in_group {
                skip -= in_group;
                continue;
            }
            let group = reader.get_row_group(group).map_err(damaged)?;
            let ColumnReader::ByteArrayColumnReader(mut values) =
                group.get_column_reader(column).map_err(damaged)?
            else {
                continue;
            };
            let mut left = in_group - skip;
            while skip > 0 {
                let skipped = values.skip_records(skip as usize).map_err(damaged)? as u64;
                if skipped == 0 {
                    break;
                }
                skip -= skipped.min(skip);
            }
            let (mut texts, mut levels): (Vec<ByteArray>, Vec<i16>) = (Vec::new(), Vec::new());
            while left > 0 {
                texts.clear();
                levels.clear();
                let (read, _, _) = values
                    .read_records(ROWS.min(left as usize), Some(&mut levels), None, &mut texts)
                    .map_err(damaged)?;
                if read == 0 {
                    let problem = format!("a group of rows ends {left} rows too early");
                    return Err(DataError::Damaged { file: name.clone(), problem }.into());
                }
                left -= (read as u64).min(left);
                let mut next = texts.drain(..);
                for place in 0..read {
                    // A row without a value is an empty document.
                    let there = optional == 0 || levels.get(place) == Some(&optional);
                    let bytes = if there { next.next() } else { None };
                    let bytes = bytes.map(|bytes| bytes.data().to_vec()).unwrap_or_default();
                    row += 1;
                    self.batch.read = (input.bytes as u128 * u128::from(row) / u128::from(rows)) as u64;
                    self.document(input, utf8(bytes))?;
                }
            }
        }
        Ok(())
    }

    fn lines(&mut self, input: &InputFile, path: &Path, packing: Packing, skip: u64) -> Result<(), End> {
        let counted = AtomicU64::new(0);
        let file = Counted { file: File::open(path).map_err(|e| failed(path, e))?, read: &counted };
        let plain: Box<dyn Read + '_> = match packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => {
                Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file)))
            }
            Packing::Zstandard => {
                Box::new(zstd::stream::read::Decoder::new(file).map_err(|e| failed(path, e))?)
            }
        };
        let mut lines = BufReader::with_capacity(1 << 20, plain);
        let mut line = Vec::new();
        // The text may be longer in JSON than it is: every character as an escape.
        let longest = self.how.longest.saturating_mul(6).saturating_add(1 << 20) as u64;
        let mut number = 0u64;
        loop {
            line.clear();
            let read = lines.by_ref().take(longest).read_until(b'\n', &mut line);
            let read =
                read.map_err(|e| DataError::Damaged { file: input.name.clone(), problem: e.to_string() })?;
            if read == 0 {
                return Ok(());
            }
            self.batch.read = counted.load(Ordering::Relaxed);
            if read as u64 == longest && !line.ends_with(b"\n") {
                let problem = format!("has more than {longest} bytes");
                return Err(
                    DataError::Document { file: input.name.clone(), number: number + 1, problem }.into()
                );
            }
            number += 1;
            if number <= skip {
                continue;
            }
            let text = match std::str::from_utf8(&line) {
                Err(_) => Err("is not UTF-8".to_owned()),
                Ok(text) if text.trim().is_empty() => Ok(String::new()),
                Ok(text) => match field(text, self.how.column) {
                    Ok(Field::Text(text)) => Ok(text.unwrap_or_default()),
                    Ok(Field::Missing(there)) => {
                        return Err(no_column(self.how.column, &input.name, there).into());
                    }
                    Err(e) => Err(format!("is no JSON object with a text in `{}`: {e}", self.how.column)),
                },
            };
            self.document(input, text)?;
        }
    }

    fn text(&mut self, input: &InputFile, path: &Path, skip: u64) -> Result<(), End> {
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(source) if input.named => return Err(failed(path, source).into()),
            Err(_) => return Ok(()),
        };
        self.batch.read = input.bytes;
        let text = match String::from_utf8(content) {
            Ok(text) if !text.contains('\0') => text,
            _ if input.named => return Err(DataError::NotText { path: path.to_owned() }.into()),
            _ => return Ok(()),
        };
        // Files that were read before count as well, so that it does not matter where reading begins.
        let empty = text.bytes().all(|b| b.is_ascii_whitespace());
        let first = empty || self.seen.insert(blake3::hash(text.as_bytes()));
        if skip > 0 {
            return Ok(());
        }
        if !first {
            self.batch.left_out.duplicates += 1;
            return Ok(());
        }
        self.document(input, Ok(text))
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

fn failed(path: &Path, source: io::Error) -> DataError {
    DataError::File { action: "read", path: path.to_owned(), source }
}

fn no_column(column: &str, file: &str, there: Vec<String>) -> DataError {
    DataError::NoColumn { column: column.to_owned(), file: file.to_owned(), there: there.join(", ") }
}

/// Counts what was read of a file.
struct Counted<'a> {
    file: File,
    read: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What a JSON object has under a name.
enum Field {
    Text(Option<String>),
    /// Nothing; these names are there.
    Missing(Vec<String>),
}

/// The text in a field of a JSON object; other fields are passed over, not built.
fn field(json: &str, name: &str) -> Result<Field, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = Named(name).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

struct Named<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Field;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut found = None;
        let mut there = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                found = Some(map.next_value::<Option<String>>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                if there.len() < 20 {
                    there.push(key);
                }
            }
        }
        Ok(found.map_or(Field::Missing(there), Field::Text))
    }
}
