//! Tokens become shards: files of one length, each with its tree of hashes and its sample ids.

use crate::data::{
    DataError,
    format::{Dtype, Shard, ids_file, shard_file, tree_file},
    sample_id,
    tree::TreeBuilder,
};
use crate::telemetry::files::write_atomic;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// How a corpus is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub dtype: Dtype,
    /// Tokens of a sample id.
    pub sequence: u64,
    /// Tokens of a shard, a multiple of the sequence.
    pub shard: u64,
}

/// Writes shards into a folder, one after the other. The one that is being written is `shard-00000n.part`.
#[derive(Debug)]
pub(super) struct ShardWriter {
    dir: PathBuf,
    cut: Cut,
    done: Vec<Shard>,
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    tokens: u64,
    hash: blake3::Hasher,
    tree: TreeBuilder,
    /// The sample that is not whole yet, as stored.
    sample: Vec<u8>,
    ids: Vec<u8>,
}

impl ShardWriter {
    /// Goes on where shards `done` are whole and the next one has `tokens`: what was written after that is cut off.
    pub fn resume(dir: &Path, cut: Cut, done: Vec<Shard>, tokens: u64) -> Result<Self, DataError> {
        let mut writer = Self { dir: dir.to_owned(), cut, done, part: None };
        let number = writer.done.len();
        let (part, whole) = (writer.part_path(), dir.join(shard_file(number)));
        if tokens == 0 {
            return Ok(writer);
        }
        // It may have become whole after the note of where to go on was made.
        if !part.exists() && whole.exists() {
            fs::rename(&whole, &part).map_err(|e| failed(&part, e))?;
        }
        let bytes = tokens * cut.dtype.bytes() as u64;
        let opened = OpenOptions::new().read(true).write(true).open(&part);
        let file = opened.map_err(|e| failed(&part, e))?;
        if file.metadata().map_err(|e| failed(&part, e))?.len() < bytes {
            let problem = "it is shorter than was noted".to_owned();
            return Err(DataError::Differs { path: part, problem });
        }
        file.set_len(bytes).map_err(|e| failed(&part, e))?;
        let mut again = writer.begin(file)?;
        // Hashes are made again of what is there: that is quicker than any text becomes tokens.
        let mut reader = BufReader::with_capacity(BUFFER, File::open(&part).map_err(|e| failed(&part, e))?);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = reader.read(&mut buffer).map_err(|e| failed(&part, e))?;
            if read == 0 {
                break;
            }
            again.hashed(&buffer[..read], cut);
        }
        again.tokens = tokens;
        io::Seek::seek(&mut again.file, io::SeekFrom::End(0)).map_err(|e| failed(&part, e))?;
        writer.part = Some(again);
        Ok(writer)
    }

    fn part_path(&self) -> PathBuf {
        self.dir.join(shard_file(self.done.len())).with_extension("part")
    }

    fn begin(&self, file: File) -> Result<Part, DataError> {
        Ok(Part {
            path: self.part_path(),
            file: BufWriter::with_capacity(BUFFER, file),
            tokens: 0,
            hash: blake3::Hasher::new(),
            tree: TreeBuilder::default(),
            sample: Vec::new(),
            ids: Vec::new(),
        })
    }

    /// Appends tokens, as they are stored.
    pub fn append(&mut self, mut stored: &[u8]) -> Result<(), DataError> {
        let width = self.cut.dtype.bytes();
        while !stored.is_empty() {
            let mut part = match self.part.take() {
                Some(part) => part,
                None => {
                    let path = self.part_path();
                    self.begin(File::create(&path).map_err(|e| failed(&path, e))?)?
                }
            };
            let room = (self.cut.shard - part.tokens).saturating_mul(width as u64);
            let (now, later) = stored.split_at(stored.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            part.file.write_all(now).map_err(|e| failed(&part.path, e))?;
            part.hashed(now, self.cut);
            part.tokens += (now.len() / width) as u64;
            stored = later;
            if part.tokens == self.cut.shard { self.seal(part)? } else { self.part = Some(part) }
        }
        Ok(())
    }

    /// A shard is whole: its files are on disk before it has its name.
    fn seal(&mut self, part: Part) -> Result<(), DataError> {
        let Part { path, file, tokens, hash, tree, ids, .. } = part;
        let file = file.into_inner().map_err(|e| failed(&path, e.into_error()))?;
        file.sync_all().map_err(|e| failed(&path, e))?;
        let number = self.done.len();
        let (root, tree) = tree.finish();
        for (name, bytes) in [(tree_file(number), &tree), (ids_file(number), &ids)] {
            let path = self.dir.join(name);
            write_atomic(&path, bytes).map_err(|e| failed(&path, e))?;
        }
        let whole = self.dir.join(shard_file(number));
        fs::rename(&path, &whole).map_err(|e| failed(&whole, e))?;
        self.done.push(Shard {
            tokens,
            hash: hash.finalize().to_hex().to_string(),
            tree: hex::encode(root),
            ids: blake3::hash(&ids).to_hex().to_string(),
        });
        Ok(())
    }

    /// Makes sure that all of it is on disk. Returns the shards that are whole and the tokens of the next one.
    pub fn settle(&mut self) -> Result<(&[Shard], u64), DataError> {
        let mut tokens = 0;
        if let Some(part) = &mut self.part {
            let settled = part.file.flush().and_then(|()| part.file.get_ref().sync_data());
            settled.map_err(|e| failed(&part.path, e))?;
            tokens = part.tokens;
        }
        Ok((&self.done, tokens))
    }

    /// Tokens that were written, all in all.
    pub fn tokens(&self) -> u64 {
        self.done.len() as u64 * self.cut.shard + self.part.as_ref().map_or(0, |part| part.tokens)
    }

    /// The last shard ends where the tokens end.
    pub fn finish(mut self) -> Result<Vec<Shard>, DataError> {
        if let Some(part) = self.part.take() {
            self.seal(part)?;
        }
        Ok(self.done)
    }
}

impl Part {
    /// Takes bytes into the hashes.
    fn hashed(&mut self, mut bytes: &[u8], cut: Cut) {
        self.hash.update(bytes);
        self.tree.update(bytes);
        let sample = cut.sequence as usize * cut.dtype.bytes();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(sample - self.sample.len()));
            self.sample.extend_from_slice(now);
            bytes = later;
            if self.sample.len() == sample {
                self.ids.extend_from_slice(&sample_id(&self.sample).to_le_bytes());
                self.sample.clear();
            }
        }
    }
}

fn failed(path: &Path, source: io::Error) -> DataError {
    DataError::File { action: "write", path: path.to_owned(), source }
}
