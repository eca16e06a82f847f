use super::{
    DataError,
    format::{CorpusManifest, MANIFEST, MAX_MANIFEST},
    pieces::{Folder, Pieces},
    tree::PIECE,
};
use std::{fs, path::Path, sync::Arc};

/// Separates documents in a byte vocabulary; no text has it.
pub(super) const SEPARATOR: u8 = 0;

/// A prepared corpus that can be read from. Clones share it.
#[derive(Debug, Clone)]
pub struct Corpus {
    manifest: Arc<CorpusManifest>,
    pieces: Arc<dyn Pieces>,
}

impl Corpus {
    /// Opens a prepared corpus in a folder. What is read from it later is checked against the hashes of its manifest, piece by piece.
    ///
    /// # Errors
    /// [`DataError`] for a folder without a manifest, for one that cannot be understood, and for shards of another length.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let manifest = read_manifest(dir)?;
        let folder = Folder::open(dir, &manifest)?;
        Ok(Self::new(manifest, Arc::new(folder)))
    }

    pub(crate) fn new(manifest: CorpusManifest, pieces: Arc<dyn Pieces>) -> Self {
        Self { manifest: Arc::new(manifest), pieces }
    }

    /// What the corpus is.
    pub fn manifest(&self) -> &CorpusManifest {
        &self.manifest
    }

    /// Hex of its hash, as the run manifest may pin it.
    pub fn hash(&self) -> &str {
        &self.manifest.hash
    }

    /// Tokens from `start` on, as they are stored; `None` where the corpus does not have so many.
    ///
    /// # Errors
    /// [`DataError`] where they cannot be had, or are not what the manifest names.
    pub fn stored(&self, start: u64, count: usize) -> Result<Option<Vec<u8>>, DataError> {
        let Some(end) = start.checked_add(count as u64).filter(|end| *end <= self.manifest.tokens) else {
            return Ok(None);
        };
        let width = self.manifest.dtype.bytes() as u64;
        let mut stored = Vec::with_capacity(count * width as usize);
        for (shard, from, to) in self.spans(start, end) {
            let (from, to) = (from * width, to * width);
            for index in from / PIECE as u64..to.div_ceil(PIECE as u64) {
                let piece = self.pieces.tokens(shard, index)?;
                let first = index * PIECE as u64;
                let begin = from.saturating_sub(first) as usize;
                let end = (to - first).min(piece.len() as u64) as usize;
                stored.extend_from_slice(piece.get(begin..end).unwrap_or_default());
            }
        }
        Ok((stored.len() == count * width as usize).then_some(stored))
    }

    /// Which shards tokens lie in: the shard, and from where to where in it.
    fn spans(&self, start: u64, end: u64) -> impl Iterator<Item = (u32, u64, u64)> {
        let per = self.manifest.shard_tokens;
        (start / per..end.div_ceil(per)).map(move |shard| {
            let first = shard * per;
            (shard as u32, start.max(first) - first, end.min(first + per) - first)
        })
    }

    /// The pieces that tokens lie in.
    pub(super) fn pieces_of(&self, start: u64, end: u64) -> impl Iterator<Item = (u32, u64)> {
        let width = self.manifest.dtype.bytes() as u64;
        self.spans(start, end.min(self.manifest.tokens)).flat_map(move |(shard, from, to)| {
            let pieces = from * width / PIECE as u64..(to * width).div_ceil(PIECE as u64);
            pieces.map(move |index| (shard, index))
        })
    }

    /// Makes ready what will be asked for: from a distance, it is fetched ahead.
    pub(super) fn expect(&self, wanted: Vec<(u32, u64)>) {
        self.pieces.expect(wanted);
    }

    /// All of its tokens, as stored: for corpora that fit into memory.
    ///
    /// # Errors
    /// Those of [`Self::stored`].
    pub fn token_bytes(&self) -> Result<Vec<u8>, DataError> {
        let count = usize::try_from(self.manifest.tokens).unwrap_or(usize::MAX);
        Ok(self.stored(0, count)?.unwrap_or_default())
    }
}

/// The manifest of a corpus in a folder.
pub(super) fn read_manifest(dir: &Path) -> Result<CorpusManifest, DataError> {
    let path = dir.join(MANIFEST);
    let failed = |source| DataError::File { action: "read", path: path.clone(), source };
    if fs::metadata(&path).map_err(failed)?.len() > MAX_MANIFEST {
        return Err(DataError::BadManifest { problem: "it is longer than any corpus' manifest".to_owned() });
    }
    CorpusManifest::parse(&fs::read(&path).map_err(failed)?)
}
