//! Every byte of a corpus in a folder against its manifest.

use super::{
    CorpusManifest, DataError,
    corpus::read_manifest,
    format::{Dtype, shard_file, tree_file},
    pieces::ids_of,
    sample_id,
    tree::TreeBuilder,
};
use crate::tokenizer::TOKENIZER_FILE;
use rayon::prelude::*;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads all of a corpus and checks it: the tokenizer, and every shard's hash, tree and sample ids. `told` hears of bytes that were checked.
///
/// # Errors
/// [`DataError::Differs`] for the first file that is not as the manifest says; what the disk says.
pub fn verify(dir: &Path, told: impl Fn(u64) + Sync) -> Result<CorpusManifest, DataError> {
    let manifest = read_manifest(dir)?;
    let path = dir.join(TOKENIZER_FILE);
    let tokenizer = std::fs::read(&path).map_err(|source| DataError::File {
        action: "read",
        path: path.clone(),
        source,
    })?;
    if blake3::hash(&tokenizer).to_hex().as_str() != manifest.tokenizer_hash {
        return Err(DataError::Differs { path, problem: "the tokens were made with another one".to_owned() });
    }
    (0..manifest.shards.len()).into_par_iter().try_for_each(|shard| check(dir, &manifest, shard, &told))?;
    Ok(manifest)
}

fn check(dir: &Path, manifest: &CorpusManifest, shard: usize, told: &impl Fn(u64)) -> Result<(), DataError> {
    let path = dir.join(shard_file(shard));
    let failed = |source: io::Error| DataError::File { action: "read", path: path.clone(), source };
    let differs = |problem: String| Err(DataError::Differs { path: path.clone(), problem });
    let Some(named) = manifest.shards.get(shard) else { return Ok(()) };
    let mut file = File::open(&path).map_err(failed)?;
    let expected = manifest.shard_bytes(shard);
    let length = file.metadata().map_err(failed)?.len();
    if length != expected {
        return differs(format!("it has {length} bytes instead of {expected}"));
    }
    let (mut hash, mut tree) = (blake3::Hasher::new(), TreeBuilder::default());
    let sample = manifest.sequence_length as usize * manifest.dtype.bytes();
    // Whole samples, of about a mebibyte, and as many whole tokens.
    let mut buffer = vec![0; sample * ((1 << 20) / sample).max(1)];
    let mut ids = Vec::new();
    let mut left = length;
    while left > 0 {
        let part = buffer
            .get_mut(..usize::try_from(left).unwrap_or(usize::MAX).min(sample * ((1 << 20) / sample).max(1)));
        let Some(part) = part else { break };
        file.read_exact(part).map_err(failed)?;
        hash.update(part);
        tree.update(part);
        if let Some(token) = above(manifest.dtype, part, manifest.vocabulary) {
            return differs(format!("it has the token {token}, the tokenizer has {}", manifest.vocabulary));
        }
        for sample in part.chunks_exact(sample) {
            ids.extend_from_slice(&sample_id(sample).to_le_bytes());
        }
        left -= part.len() as u64;
        told(part.len() as u64);
    }
    let hash = hash.finalize().to_hex();
    if hash.as_str() != named.hash {
        return differs(format!("its hash is {hash} instead of {}", named.hash));
    }
    let (root, tree) = tree.finish();
    if hex::encode(root) != named.tree {
        return differs("its tree of hashes has another root".to_owned());
    }
    let path = dir.join(tree_file(shard));
    let stored = std::fs::read(&path).map_err(|source| DataError::File {
        action: "read",
        path: path.clone(),
        source,
    })?;
    if stored != tree {
        return Err(DataError::Differs {
            path,
            problem: "it is not the tree of hashes of its shard".to_owned(),
        });
    }
    if ids_of(dir, manifest, shard)? != ids {
        let path = dir.join(super::format::ids_file(shard));
        return Err(DataError::Differs {
            path,
            problem: "these are not the ids of its shard's samples".to_owned(),
        });
    }
    Ok(())
}

/// A token that the vocabulary does not have.
fn above(dtype: Dtype, stored: &[u8], vocabulary: u64) -> Option<u32> {
    dtype.numbers(stored).find(|token| u64::from(*token) >= vocabulary)
}
