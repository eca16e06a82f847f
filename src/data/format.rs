//! What a prepared corpus is: shards of tokens, and a manifest that names every byte of them.

use super::DataError;
use serde::{Deserialize, Serialize};

/// The name of the manifest in a corpus' folder.
pub const MANIFEST: &str = "corpus.json";
/// The longest manifest that is read, in bytes: that of a hundred thousand shards is shorter.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// A million times the text that any model was trained on.
const MOST_TOKENS: u64 = 1 << 60;
/// The longest sequence, in tokens.
const LONGEST_SEQUENCE: u64 = 1 << 24;
/// Of manifests that this program reads and writes.
const VERSION: u32 = 2;

/// How a token is stored; numbers of several bytes are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// One byte: for texts that are trained on as bytes.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
}

impl Dtype {
    /// The smallest that holds the tokens `0..vocabulary`, of two bytes at least.
    pub fn of(vocabulary: u64) -> Self {
        if vocabulary <= 1 << 16 { Self::U16 } else { Self::U32 }
    }

    /// Bytes of a token.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }

    /// Appends a token as it is stored; `false` where it does not fit.
    pub(crate) fn store(self, token: u32, to: &mut Vec<u8>) -> bool {
        match self {
            Self::U8 => u8::try_from(token).is_ok_and(|token| {
                to.push(token);
                true
            }),
            Self::U16 => u16::try_from(token).is_ok_and(|token| {
                to.extend_from_slice(&token.to_le_bytes());
                true
            }),
            Self::U32 => {
                to.extend_from_slice(&token.to_le_bytes());
                true
            }
        }
    }

    /// Stored tokens as numbers.
    pub(crate) fn numbers(self, stored: &[u8]) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::U8 => Box::new(stored.iter().map(|&byte| u32::from(byte))),
            Self::U16 => Box::new(stored.as_chunks().0.iter().map(|&two| u32::from(u16::from_le_bytes(two)))),
            Self::U32 => Box::new(stored.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four))),
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "u{}", 8 * self.bytes())
    }
}

/// One file of tokens. Shard `n` is `shard-00000n.bin`; beside it lie its tree of hashes and its sample ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Tokens in it.
    pub tokens: u64,
    /// Hex of the BLAKE3 hash of the file.
    pub hash: String,
    /// Hex of the root of its tree of hashes ([`Shape`](super::Shape)).
    pub tree: String,
    /// Hex of the BLAKE3 hash of the file of its sample ids.
    pub ids: String,
}

/// What a prepared corpus is. Kept next to its shards as `corpus.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusManifest {
    /// Of this description; 2.
    pub version: u32,
    /// Hex of the corpus' hash: over everything here that decides what is trained on ([`Self::identity`]).
    pub hash: String,
    /// What made the tokens: `bytes`, or the id of a tokenizer.
    pub tokenizer: String,
    /// Hex of the BLAKE3 hash of its `tokenizer.json`.
    pub tokenizer_hash: String,
    /// Tokens that it has.
    pub vocabulary: u64,
    /// The token that ends every document.
    pub separator: u32,
    /// How a token is stored.
    pub dtype: Dtype,
    /// Tokens that a sample id is of.
    pub sequence_length: u64,
    /// Tokens of every shard but the last; a multiple of the sequence length.
    pub shard_tokens: u64,
    /// All tokens, separators included.
    pub tokens: u64,
    /// Documents that tokens came from.
    pub documents: u64,
    /// Documents that could not be read, left out because that was asked for.
    pub skipped: u64,
    /// Documents without text, left out.
    pub empty: u64,
    /// Text files of the same content as an earlier one, left out.
    pub duplicates: u64,
    /// Bytes of text that became tokens.
    pub text_bytes: u64,
    /// Where the text is from, in words.
    pub source: String,
    /// The licence of the text, in words.
    pub licence: String,
    /// The shards, in order.
    pub shards: Vec<Shard>,
}

impl CorpusManifest {
    /// Reads the bytes of a manifest and checks that they agree with each other.
    ///
    /// # Errors
    /// [`DataError::BadManifest`], which says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, DataError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let bad = |problem: String| DataError::BadManifest { problem };
        let version: Version = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if version.version != VERSION {
            return Err(bad(format!("it is of version {}, this program reads {VERSION}", version.version)));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    /// The version that is written.
    pub(crate) fn version() -> u32 {
        VERSION
    }

    /// The corpus' hash: BLAKE3, in derive-key mode, over version, tokenizer, separator, token size, lengths and shards. Words about
    /// its source and licence, and counts of documents, do not change it.
    pub fn identity(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_derive_key("templar corpus, version 2");
        let mut text = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        text(&self.tokenizer_hash);
        for number in [
            u64::from(self.version),
            u64::from(self.separator),
            self.vocabulary,
            self.dtype.bytes() as u64,
            self.sequence_length,
            self.shard_tokens,
            self.tokens,
            self.shards.len() as u64,
        ] {
            text(&number.to_string());
        }
        for shard in &self.shards {
            text(&shard.tokens.to_string());
            [&shard.hash, &shard.tree, &shard.ids].into_iter().for_each(|hash| text(hash));
        }
        *hash.finalize().as_bytes()
    }

    fn check(&self) -> Result<(), String> {
        if self.sequence_length == 0 || self.shard_tokens == 0 {
            return Err("its sequence length or its shards' length is 0".to_owned());
        }
        // What a stranger says is multiplied and reserved later.
        if self.tokens > MOST_TOKENS || self.sequence_length > LONGEST_SEQUENCE {
            return Err("it is larger than any corpus".to_owned());
        }
        if !self.shard_tokens.is_multiple_of(self.sequence_length) {
            return Err("its shards do not hold whole sequences".to_owned());
        }
        if self.tokens == 0 || self.tokens.div_ceil(self.shard_tokens) != self.shards.len() as u64 {
            return Err(format!("{} shards cannot hold {} tokens", self.shards.len(), self.tokens));
        }
        for (number, shard) in (0..).zip(&self.shards) {
            if shard.tokens != (self.tokens - number * self.shard_tokens).min(self.shard_tokens) {
                return Err(format!("shard {number} has {} tokens", shard.tokens));
            }
            for hash in [&shard.hash, &shard.tree, &shard.ids] {
                hash_of(hash).ok_or_else(|| format!("shard {number} has a hash that is none"))?;
            }
        }
        if hex::encode(self.identity()) != self.hash {
            return Err(format!(
                "its content has the hash {}, not {}",
                hex::encode(self.identity()),
                self.hash
            ));
        }
        Ok(())
    }

    /// Bytes of a shard's file.
    pub fn shard_bytes(&self, shard: usize) -> u64 {
        self.shards.get(shard).map_or(0, |shard| shard.tokens * self.dtype.bytes() as u64)
    }
}

/// The 32 bytes of a hash in lower-case hex.
pub(crate) fn hash_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let lower = !hex.bytes().any(|b| b.is_ascii_uppercase());
    hex::decode_to_slice(hex, &mut bytes).ok().filter(|()| lower).map(|()| bytes)
}

/// A shard's file of tokens.
pub fn shard_file(shard: usize) -> String {
    format!("shard-{shard:06}.bin")
}

/// A shard's tree of hashes.
pub fn tree_file(shard: usize) -> String {
    format!("shard-{shard:06}.tree")
}

/// A shard's sample ids: u64, little-endian.
pub fn ids_file(shard: usize) -> String {
    format!("shard-{shard:06}.ids")
}
