use super::{DataError, prepare};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The name of the manifest in a corpus' folder.
const MANIFEST: &str = "corpus.json";
/// The name of the tokens in a corpus' folder.
const TOKENS: &str = "tokens.bin";

/// Separates documents in a byte vocabulary; no text has it.
pub(super) const SEPARATOR: u8 = 0;

/// What a prepared corpus is. Kept next to its tokens as `corpus.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusManifest {
    /// Of this description; 1.
    pub version: u32,
    /// `bytes`: a token is a byte of UTF-8, 0 stands between documents.
    pub tokenizer: String,
    /// How a token is stored: `u8`. Later shards may have `u16` or `u32`, little-endian.
    pub dtype: String,
    /// All tokens, separators included.
    pub tokens: u64,
    /// Files that tokens came from.
    pub documents: u64,
    /// Files of the same content as an earlier one, left out.
    pub duplicates: u64,
    /// Files and folders that were named.
    pub sources: u64,
    /// Hex of the blake3 hash of the stored tokens.
    pub hash: String,
}

/// Prepared text: all of its tokens in memory. Clones share them.
#[derive(Clone)]
pub struct Corpus {
    manifest: CorpusManifest,
    tokens: Arc<[u8]>,
}

impl std::fmt::Debug for Corpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corpus").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl Corpus {
    /// Prepares text for training: reads `sources` (text files, or folders whose `.rs`, `.md` and `.txt`
    /// files are taken), and writes the corpus into `out_dir`, of `limit_bytes` at most.
    ///
    /// The same files give the same corpus: files are ordered by the hash of their path within their
    /// source, which also mixes the text of many projects; versions of one crate stay next to each other,
    /// so that held-out text is not a newer version of trained text. A file of the same content as an
    /// earlier one is left out.
    pub fn prepare(
        sources: &[PathBuf],
        out_dir: &Path,
        limit_bytes: u64,
    ) -> Result<CorpusManifest, DataError> {
        let text = prepare::gather(sources, limit_bytes)?;
        let manifest = CorpusManifest {
            version: 1,
            tokenizer: "bytes".to_owned(),
            dtype: "u8".to_owned(),
            tokens: text.bytes.len() as u64,
            documents: text.documents,
            duplicates: text.duplicates,
            sources: sources.len() as u64,
            hash: blake3::hash(&text.bytes).to_hex().to_string(),
        };
        fs::create_dir_all(out_dir).map_err(|source| DataError::File {
            action: "write",
            path: out_dir.to_owned(),
            source,
        })?;
        // The manifest comes last: a corpus that was interrupted has none, or one that does not fit.
        write_whole(&out_dir.join(TOKENS), &text.bytes)?;
        let path = out_dir.join(MANIFEST);
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|source| DataError::Manifest { path: path.clone(), source })?;
        write_whole(&path, &json)?;
        Ok(manifest)
    }

    /// Reads a prepared corpus and checks its tokens against its manifest.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let read = |path: PathBuf| {
            let bytes = fs::read(&path);
            bytes.map_err(|source| DataError::File { action: "read", path, source })
        };
        let path = dir.join(MANIFEST);
        let manifest: CorpusManifest = serde_json::from_slice(&read(path.clone())?)
            .map_err(|source| DataError::Manifest { path, source })?;
        let unknown = |field, value: &str| Err(DataError::Unknown { field, value: value.to_owned() });
        if manifest.version != 1 {
            return unknown("version", &manifest.version.to_string());
        }
        if manifest.tokenizer != "bytes" {
            return unknown("tokenizer", &manifest.tokenizer);
        }
        if manifest.dtype != "u8" {
            return unknown("dtype", &manifest.dtype);
        }
        let tokens = read(dir.join(TOKENS))?;
        let differs = |problem| Err(DataError::Differs { path: dir.to_owned(), problem });
        if tokens.len() as u64 != manifest.tokens {
            return differs(format!("{} tokens instead of {}", tokens.len(), manifest.tokens));
        }
        let hash = blake3::hash(&tokens).to_hex();
        if hash.as_str() != manifest.hash {
            return differs(format!("its hash is {hash} instead of {}", manifest.hash));
        }
        Ok(Self { manifest, tokens: tokens.into() })
    }

    /// What the corpus is.
    pub fn manifest(&self) -> &CorpusManifest {
        &self.manifest
    }

    /// Hex of the blake3 hash of its tokens, as the run manifest may pin it.
    pub fn hash(&self) -> &str {
        &self.manifest.hash
    }

    /// All of its tokens, as stored: one byte each.
    pub fn token_bytes(&self) -> &[u8] {
        &self.tokens
    }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let fail = |source| DataError::File { action: "write", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.persist(path).map(drop).map_err(|e| fail(e.error))
}
