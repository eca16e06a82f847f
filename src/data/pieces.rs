//! Where the bytes of a corpus come from. Whatever it is, a piece is only given out when its hash fits.

use super::{
    DataError,
    format::{CorpusManifest, hash_of, ids_file, shard_file, tree_file},
    tree::{Piece, Shape},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Pieces that are kept in memory: 16 MiB.
const KEPT: usize = 4096;
/// Files of a folder that are kept open.
const OPEN: usize = 64;

/// Gives out pieces of a corpus that fit their hashes.
pub(crate) trait Pieces: std::fmt::Debug + Send + Sync {
    /// A piece of tokens.
    fn tokens(&self, shard: u32, index: u64) -> Result<Bytes, DataError>;

    /// Makes ready what will be asked for; nothing where all of it is at hand.
    fn expect(&self, wanted: Vec<(u32, u64)>) {
        drop(wanted);
    }
}

/// The hashes that pieces are checked against: every shard's shape and root.
#[derive(Debug)]
pub(crate) struct Roots(Vec<(Shape, [u8; 32])>);

impl Roots {
    pub(crate) fn new(manifest: &CorpusManifest) -> Self {
        let root = |number: usize, tree: &str| {
            // The manifest was checked: every root is a hash, no shard is empty.
            (Shape::new(manifest.shard_bytes(number).max(1)), hash_of(tree).unwrap_or_default())
        };
        Self(manifest.shards.iter().enumerate().map(|(number, shard)| root(number, &shard.tree)).collect())
    }

    pub(crate) fn shape(&self, shard: u32) -> Option<&Shape> {
        self.0.get(shard as usize).map(|(shape, _)| shape)
    }

    /// Whether a piece has the hash that the checked piece above it names, or, at the top, the root.
    pub(crate) fn fits(&self, piece: Piece, bytes: &[u8], above: Option<&[u8]>) -> bool {
        let Some((shape, root)) = self.0.get(piece.shard as usize) else { return false };
        let length = shape.place(piece.level, piece.index).map(|(_, length)| length);
        let hash = blake3::hash(bytes);
        let named = match above {
            None => (piece.level == shape.top()).then_some(root.as_slice()),
            Some(above) => above.get(piece.parent().1..).and_then(|rest| rest.get(..32)),
        };
        length == Some(bytes.len()) && named == Some(hash.as_bytes().as_slice())
    }
}

/// Checked pieces in memory, as many as fit.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<Piece, Bytes>>);

impl Kept {
    pub(crate) fn get(&self, piece: &Piece) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(piece).cloned()
    }

    pub(crate) fn put(&self, piece: Piece, bytes: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            // What is used again and again, the upper levels, is soon back.
            kept.clear();
        }
        kept.insert(piece, bytes);
    }
}

/// A file that several threads read from.
type Shared = Arc<Mutex<File>>;

/// A corpus in a folder of this machine. It is checked all the same: a disk may lose a bit, and another text may have been prepared
/// into the folder since.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    roots: Roots,
    kept: Kept,
    files: Mutex<HashMap<(u32, bool), Shared>>,
}

impl Folder {
    pub(crate) fn open(dir: &Path, manifest: &CorpusManifest) -> Result<Self, DataError> {
        for number in 0..manifest.shards.len() {
            let path = dir.join(shard_file(number));
            let length = std::fs::metadata(&path).map_err(|source| failed(&path, source))?.len();
            let expected = manifest.shard_bytes(number);
            if length != expected {
                return Err(DataError::Differs {
                    path,
                    problem: format!("it has {length} bytes instead of {expected}"),
                });
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            roots: Roots::new(manifest),
            kept: Kept::default(),
            files: Mutex::default(),
        })
    }

    fn file(&self, shard: u32, tree: bool) -> Result<(PathBuf, Shared), DataError> {
        let name = if tree { tree_file(shard as usize) } else { shard_file(shard as usize) };
        let path = self.dir.join(name);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&(shard, tree)) {
            return Ok((path, file.clone()));
        }
        if files.len() >= OPEN {
            files.clear();
        }
        let file = File::open(&path).map_err(|source| failed(&path, source))?;
        let file = Arc::new(Mutex::new(file));
        files.insert((shard, tree), file.clone());
        Ok((path, file))
    }

    /// A piece that fits, from memory or from disk.
    fn piece(&self, piece: Piece) -> Result<Bytes, DataError> {
        if let Some(bytes) = self.kept.get(&piece) {
            return Ok(bytes);
        }
        let shape = self.roots.shape(piece.shard);
        let place = shape.and_then(|shape| Some((shape.place(piece.level, piece.index)?, shape.top())));
        let Some(((start, length), top)) = place else {
            return Err(DataError::NoSequence { index: piece.index });
        };
        let (path, file) = self.file(piece.shard, piece.level > 0)?;
        let mut bytes = vec![0; length];
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
            read.map_err(|source| failed(&path, source))?;
        }
        let above = if piece.level < top { Some(self.piece(piece.parent().0)?) } else { None };
        if !self.roots.fits(piece, &bytes, above.as_deref()) {
            let problem = format!("the bytes from {start} on are not those that its manifest names");
            return Err(DataError::Differs { path, problem });
        }
        let bytes = Bytes::from(bytes);
        self.kept.put(piece, bytes.clone());
        Ok(bytes)
    }
}

impl Pieces for Folder {
    fn tokens(&self, shard: u32, index: u64) -> Result<Bytes, DataError> {
        self.piece(Piece { shard, level: 0, index })
    }
}

fn failed(path: &Path, source: io::Error) -> DataError {
    DataError::File { action: "read", path: path.to_owned(), source }
}

/// The sample ids of a shard as its file in a folder has them, checked.
pub(crate) fn ids_of(dir: &Path, manifest: &CorpusManifest, shard: usize) -> Result<Vec<u8>, DataError> {
    let path = dir.join(ids_file(shard));
    let bytes = std::fs::read(&path).map_err(|source| failed(&path, source))?;
    let named = manifest.shards.get(shard).map(|shard| shard.ids.as_str());
    if named != Some(blake3::hash(&bytes).to_hex().as_str()) {
        return Err(DataError::Differs {
            path,
            problem: "its hash is not the one that the manifest names".to_owned(),
        });
    }
    Ok(bytes)
}
