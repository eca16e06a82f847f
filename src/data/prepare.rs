//! Text becomes a corpus: documents are read, made into tokens on all cores and written, side by side, in bounded memory, and an
//! interrupted preparation goes on where it was.

mod documents;
mod inputs;
mod journal;
mod texts;
mod writer;

pub use inputs::{Bring, InputFile, Kind, Place, local};
pub use texts::default_sources;

use super::{
    Corpus, DataError,
    corpus::SEPARATOR,
    format::{CorpusManifest, Dtype, MANIFEST},
};
use crate::{
    telemetry::files::write_atomic,
    tokenizer::{TOKENIZER_FILE, Tokenizer},
};
use documents::{Batch, End, LeftOut, Position, Reader, Reading};
use journal::Journal;
use rayon::prelude::*;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};
use writer::{Cut, ShardWriter};

/// Batches that wait between two steps.
const AHEAD: usize = 2;
/// How often is noted where to go on.
const NOTE: Duration = Duration::from_secs(3);
/// The longest document for a tokenizer: it keeps a hundred times as much about it.
const LONGEST: usize = 16 << 20;
/// The longest one of bytes.
const LONGEST_OF_BYTES: usize = 256 << 20;
/// Held by the process that prepares into a folder.
const LOCK: &str = "prepare.lock";

/// How the name of a file from elsewhere begins, while it is here.
const BROUGHT: &str = "input.part.";

/// A file that comes from elsewhere.
struct Coming {
    path: PathBuf,
    thread: std::thread::JoinHandle<Result<(), DataError>>,
}

impl Coming {
    fn wait(self) -> Result<PathBuf, DataError> {
        let ended = || DataError::Damaged {
            file: self.path.display().to_string(),
            problem: "fetching it ended unexpectedly".to_owned(),
        };
        self.thread.join().map_err(|_| ended())?.map(|()| self.path)
    }
}

/// What makes text into tokens.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// A token is a byte of UTF-8; 0 ends a document.
    Bytes,
    /// A tokenizer.
    Of {
        /// The tokenizer.
        tokenizer: Box<Tokenizer>,
        /// Its id, as the run manifest names it.
        id: String,
        /// The token that ends a document.
        separator: u32,
    },
}

/// Text that is to become a corpus.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// The files, in their order: [`local`], or from elsewhere.
    pub files: Vec<InputFile>,
    /// What makes tokens of it.
    pub tokens: Tokens,
    /// The folder that it is written to.
    pub out: PathBuf,
    /// Tokens that a sample id is of: the run's sequence length.
    pub sequence_length: u64,
    /// Tokens of a shard, a multiple of that.
    pub shard_tokens: u64,
    /// Tokens after which it ends; the last document may be cut.
    pub limit: Option<u64>,
    /// The column or field with the text.
    pub column: String,
    /// Whether documents that cannot be read are left out.
    pub skip_bad: bool,
    /// Where the text is from, in words.
    pub source: String,
    /// Its licence, in words.
    pub licence: String,
}

/// How far a preparation is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Bytes of all files.
    pub input_bytes: u64,
    /// Bytes of them that were read, about.
    pub read_bytes: u64,
    /// Documents that became tokens.
    pub documents: u64,
    /// Tokens that are written.
    pub tokens: u64,
    /// Bytes of text that became tokens.
    pub text_bytes: u64,
}

/// Tokens of a batch, as they are stored.
struct Stored {
    bytes: Vec<u8>,
    documents: Vec<usize>,
    text_bytes: u64,
    left_out: LeftOut,
    next: Position,
    read: u64,
}

impl Preparation {
    /// Prepares the corpus, or goes on with it. `told` hears of the progress a few times each second.
    ///
    /// Whenever it is interrupted, the folder has no `corpus.json`, and the same call goes on from at most a few seconds before.
    /// The end is the same bytes however often that happens, and on however many cores.
    ///
    /// # Errors
    /// [`DataError`]. What is written so far stays, for the next try; where nothing is, the folder is as it was.
    pub fn run(&self, mut told: impl FnMut(Progress)) -> Result<CorpusManifest, DataError> {
        let made = !self.out.exists();
        let failed = |path: &Path, source| DataError::File { action: "write", path: path.to_owned(), source };
        fs::create_dir_all(&self.out).map_err(|e| failed(&self.out, e))?;
        let lock_path = self.out.join(LOCK);
        let lock = File::create(&lock_path).map_err(|e| failed(&lock_path, e))?;
        lock.try_lock().map_err(|_| DataError::Busy { path: self.out.clone() })?;
        let result = self.locked(&mut told);
        let _ = fs::remove_file(&lock_path);
        if result.is_err() && !Journal::path(&self.out).exists() {
            // Nothing was noted, so nothing can be gone on with.
            self.tidy();
            let _ = fs::remove_file(self.out.join(super::format::shard_file(0)).with_extension("part"));
            if made {
                let _ = fs::remove_dir(&self.out);
            }
        }
        result
    }

    fn locked(&self, told: &mut dyn FnMut(Progress)) -> Result<CorpusManifest, DataError> {
        let cut = self.cut()?;
        if self.out.join(MANIFEST).exists() {
            return Err(DataError::AlreadyThere { path: self.out.clone() });
        }
        let settings = self.settings(cut);
        let mut journal = Journal::open(&self.out, &settings)?;
        let mut writer = ShardWriter::resume(&self.out, cut, journal.shards.clone(), journal.tokens)?;
        let before: Vec<u64> =
            self.files.iter().scan(0, |sum, file| Some(std::mem::replace(sum, *sum + file.bytes))).collect();
        let input_bytes = self.files.iter().map(|file| file.bytes).sum();
        let limit = self.limit.unwrap_or(u64::MAX);
        std::thread::scope(|scope| {
            let (give, batches) = sync_channel(AHEAD);
            let (pass, stored) = sync_channel(AHEAD);
            let from = journal.next;
            scope.spawn(move || self.read(from, &give));
            scope.spawn(move || self.tokenize(cut.dtype, batches, &pass));
            let mut noted = Instant::now();
            for batch in stored {
                let batch: Stored = batch?;
                let room = limit.saturating_sub(writer.tokens());
                let bytes =
                    usize::try_from(room.saturating_mul(cut.dtype.bytes() as u64)).unwrap_or(usize::MAX);
                let fits = batch.bytes.len().min(bytes);
                writer.append(batch.bytes.get(..fits).unwrap_or_default())?;
                let whole = batch.documents.iter().take_while(|start| **start < fits).count();
                journal.documents += whole as u64;
                journal.text_bytes += batch.text_bytes;
                journal.left_out.empty += batch.left_out.empty;
                journal.left_out.duplicates += batch.left_out.duplicates;
                journal.left_out.bad += batch.left_out.bad;
                journal.next = batch.next;
                let read = before.get(batch.next.file).map_or(input_bytes, |before| before + batch.read);
                told(Progress {
                    input_bytes,
                    read_bytes: read.min(input_bytes),
                    documents: journal.documents,
                    tokens: writer.tokens(),
                    text_bytes: journal.text_bytes,
                });
                if writer.tokens() >= limit {
                    break;
                }
                if noted.elapsed() >= NOTE {
                    self.note(&mut journal, &mut writer)?;
                    noted = Instant::now();
                }
            }
            Ok::<(), DataError>(())
        })?;
        if writer.tokens() == 0 {
            let names: Vec<&str> = self.files.iter().take(3).map(|file| file.name.as_str()).collect();
            return Err(DataError::NoText { sources: names.join(", ") });
        }
        self.note(&mut journal, &mut writer)?;
        let tokens = writer.tokens();
        let manifest = self.manifest(cut, tokens, &journal, writer.finish()?)?;
        Journal::remove(&self.out)?;
        self.tidy();
        Ok(manifest)
    }

    fn note(&self, journal: &mut Journal, writer: &mut ShardWriter) -> Result<(), DataError> {
        let (shards, tokens) = writer.settle()?;
        (journal.shards, journal.tokens) = (shards.to_vec(), tokens);
        journal.write(&self.out)
    }

    fn cut(&self) -> Result<Cut, DataError> {
        let dtype = match &self.tokens {
            Tokens::Bytes => Dtype::U8,
            Tokens::Of { tokenizer, .. } => Dtype::of(tokenizer.len() as u64),
        };
        let (sequence, shard) = (self.sequence_length, self.shard_tokens);
        if sequence == 0 || shard == 0 || !shard.is_multiple_of(sequence) {
            return Err(DataError::Cut { sequence, shard });
        }
        Ok(Cut { dtype, sequence, shard })
    }

    fn tokenizer_files(&self) -> Result<Vec<(String, Vec<u8>)>, DataError> {
        match &self.tokens {
            Tokens::Bytes => Ok(Tokenizer::bytes().map_err(DataError::tokenizer)?.files().to_vec()),
            Tokens::Of { tokenizer, .. } => Ok(tokenizer.files().to_vec()),
        }
    }

    fn tokenizer_hash(&self) -> Result<String, DataError> {
        let files = self.tokenizer_files()?;
        let file = files.iter().find(|(name, _)| name == TOKENIZER_FILE);
        Ok(blake3::hash(file.map_or(&[], |(_, bytes)| bytes.as_slice())).to_hex().to_string())
    }

    /// The hash of what is prepared and how.
    fn settings(&self, cut: Cut) -> String {
        let files = self.files.iter().map(|file| (&file.name, file.bytes)).collect::<Vec<_>>();
        let separator = match &self.tokens {
            Tokens::Bytes => u32::from(SEPARATOR),
            Tokens::Of { separator, .. } => *separator,
        };
        let hash = self.tokenizer_hash().unwrap_or_default();
        let all = format!("{files:?} {hash} {separator} {cut:?} {:?} {}", self.limit, self.column);
        blake3::hash(all.as_bytes()).to_hex().to_string()
    }

    /// Reads documents; ends when nobody takes them any more.
    fn read(&self, from: Position, give: &SyncSender<Result<Batch, DataError>>) {
        let how = Reading {
            column: &self.column,
            longest: if matches!(self.tokens, Tokens::Bytes) { LONGEST_OF_BYTES } else { LONGEST },
            no_nul: matches!(self.tokens, Tokens::Bytes),
            skip_bad: self.skip_bad,
        };
        let mut reader = Reader::new(how, |batch| give.send(Ok(batch)).is_ok());
        let mut coming = None;
        let mut all = || -> Result<(), End> {
            for (number, file) in self.files.iter().enumerate() {
                // Text files count for later ones that are like them, also where they were read before.
                let skip = match number.cmp(&from.file) {
                    std::cmp::Ordering::Less if file.kind == Kind::Text => u64::MAX,
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => from.document,
                    std::cmp::Ordering::Greater => 0,
                };
                match &file.place {
                    Place::Here(path) => reader.file(number, file, path, skip)?,
                    Place::Elsewhere(_) => {
                        let this = coming.take().or_else(|| self.bring(number));
                        // The next one comes while this one is read.
                        let path = this.map(Coming::wait).transpose()?.unwrap_or_default();
                        coming = self.bring(number + 1);
                        let read = reader.file(number, file, &path, skip);
                        let _ = fs::remove_file(&path);
                        read?;
                    }
                }
            }
            reader.finish()
        };
        if let Err(End::Failed(error)) = all() {
            let _ = give.send(Err(error));
        }
    }

    /// Starts to bring a file from elsewhere; none where it is here, or there is none.
    fn bring(&self, number: usize) -> Option<Coming> {
        let Place::Elsewhere(there) = &self.files.get(number)?.place else { return None };
        let (there, path) = (there.clone(), self.out.join(format!("{BROUGHT}{number}")));
        let to = path.clone();
        Some(Coming { path, thread: std::thread::spawn(move || there.bring(&to)) })
    }

    /// Removes what came from elsewhere and was not read to its end.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.out).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(BROUGHT) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Makes tokens of batches, each on all cores.
    fn tokenize(
        &self,
        dtype: Dtype,
        batches: Receiver<Result<Batch, DataError>>,
        pass: &SyncSender<Result<Stored, DataError>>,
    ) {
        for batch in batches {
            let stored = batch.and_then(|batch| {
                let texts: Result<Vec<Vec<u8>>, DataError> =
                    batch.texts.par_iter().map(|text| self.stored(dtype, text)).collect();
                let mut documents = Vec::with_capacity(batch.texts.len());
                let mut bytes = Vec::new();
                for text in texts? {
                    documents.push(bytes.len());
                    bytes.extend_from_slice(&text);
                }
                let Batch { bytes: text_bytes, left_out, next, read, .. } = batch;
                Ok(Stored { bytes, documents, text_bytes: text_bytes as u64, left_out, next, read })
            });
            let failed = stored.is_err();
            if pass.send(stored).is_err() || failed {
                return;
            }
        }
    }

    /// The tokens of a document and the one that ends it, as they are stored.
    fn stored(&self, dtype: Dtype, text: &str) -> Result<Vec<u8>, DataError> {
        let Tokens::Of { tokenizer, separator, .. } = &self.tokens else {
            let mut bytes = Vec::with_capacity(text.len() + 1);
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(SEPARATOR);
            return Ok(bytes);
        };
        let encoding = tokenizer.encoding(text).map_err(DataError::tokenizer)?;
        let mut bytes = Vec::with_capacity((encoding.get_ids().len() + 1) * dtype.bytes());
        for token in encoding.get_ids().iter().chain([separator]) {
            if !dtype.store(*token, &mut bytes) {
                return Err(DataError::Tokenizer {
                    problem: format!("it has a token {token} above its vocabulary"),
                });
            }
        }
        Ok(bytes)
    }

    /// Writes what stands beside the shards, the manifest last: a corpus that was interrupted has none.
    fn manifest(
        &self,
        cut: Cut,
        tokens: u64,
        journal: &Journal,
        shards: Vec<super::format::Shard>,
    ) -> Result<CorpusManifest, DataError> {
        let (id, vocabulary, separator) = match &self.tokens {
            Tokens::Bytes => ("bytes", 256, u32::from(SEPARATOR)),
            Tokens::Of { tokenizer, id, separator } => (id.as_str(), tokenizer.len() as u64, *separator),
        };
        let mut manifest = CorpusManifest {
            version: CorpusManifest::version(),
            hash: String::new(),
            tokenizer: id.to_owned(),
            tokenizer_hash: self.tokenizer_hash()?,
            vocabulary,
            separator,
            dtype: cut.dtype,
            sequence_length: cut.sequence,
            shard_tokens: cut.shard,
            tokens,
            documents: journal.documents,
            skipped: journal.left_out.bad,
            empty: journal.left_out.empty,
            duplicates: journal.left_out.duplicates,
            text_bytes: journal.text_bytes,
            source: self.source.clone(),
            licence: self.licence.clone(),
            shards,
        };
        manifest.hash = hex::encode(manifest.identity());
        for (name, bytes) in self.tokenizer_files()? {
            self.write(&name, &bytes)?;
        }
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| DataError::BadManifest { problem: e.to_string() })?;
        self.write(MANIFEST, &json)?;
        Ok(manifest)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataError> {
        let path = self.out.join(name);
        write_atomic(&path, bytes).map_err(|source| DataError::File { action: "write", path, source })
    }
}

/// The text files of sources, of which there must be one.
fn texts_of(sources: &[PathBuf]) -> Result<Vec<InputFile>, DataError> {
    let files = texts::files(sources)?;
    if files.is_empty() {
        let names: Vec<String> = sources.iter().map(|path| path.display().to_string()).collect();
        return Err(DataError::NoText { sources: names.join(", ") });
    }
    Ok(files)
}

impl Corpus {
    /// Prepares text of this machine as bytes: `sources` are text files, or folders whose `.rs`, `.md` and `.txt` files are taken. A corpus that
    /// is in `out_dir` already is replaced. It has `limit_bytes` at most.
    ///
    /// # Errors
    /// Those of [`Preparation::run`].
    pub fn prepare(
        sources: &[PathBuf],
        out_dir: &Path,
        limit_bytes: u64,
    ) -> Result<CorpusManifest, DataError> {
        for name in [MANIFEST.to_owned(), Journal::path(Path::new("")).display().to_string()] {
            let path = out_dir.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DataError::File { action: "remove", path, source });
                }
                _ => {}
            }
        }
        let preparation = Preparation {
            files: texts_of(sources)?,
            tokens: Tokens::Bytes,
            out: out_dir.to_owned(),
            sequence_length: 128,
            shard_tokens: 1 << 28,
            limit: Some(limit_bytes),
            column: "text".to_owned(),
            skip_bad: false,
            source: "text files".to_owned(),
            licence: String::new(),
        };
        preparation.run(|_| {})
    }
}
