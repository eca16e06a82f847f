use super::{Corpus, DataError, sample_id};
use std::ops::Range;

/// A corpus cut into sequences of one length: first those that are trained on, at the end those that are
/// held out. Clones share the tokens.
///
/// A sequence has one token more than its length, because the target of each token is the next one:
/// sequence `i` is the tokens `i * length ..= (i + 1) * length`. Neighbours share one token.
#[derive(Debug, Clone)]
pub struct Sequences {
    corpus: Corpus,
    seq_len: usize,
    training: u64,
    held_out: u64,
}

impl Corpus {
    /// Cuts the corpus into sequences of `seq_len` tokens, and holds out the last `held_out` of them.
    pub fn sequences(&self, seq_len: usize, held_out: usize) -> Result<Sequences, DataError> {
        let seq_len = seq_len.max(1);
        // The last sequence needs its last target.
        let count = (self.token_bytes().len().saturating_sub(1) / seq_len) as u64;
        let held_out = held_out as u64;
        match count.checked_sub(held_out).filter(|&training| training > 0) {
            Some(training) => Ok(Sequences { corpus: self.clone(), seq_len, training, held_out }),
            None => Err(DataError::TooSmall { sequences: count, seq_len, needed: held_out + 1 }),
        }
    }
}

impl Sequences {
    /// Tokens of a sequence, without the last target.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// How many sequences may be trained on: the indices `0..training()`, the population of
    /// [`assigned`](super::assigned) and [`random`](super::random).
    pub fn training(&self) -> u64 {
        self.training
    }

    /// The indices of the sequences that nobody trains on.
    pub fn held_out(&self) -> Range<u64> {
        self.training..self.training + self.held_out
    }

    fn bytes(&self, index: u64) -> Option<&[u8]> {
        let start = usize::try_from(index).ok()?.checked_mul(self.seq_len)?;
        self.corpus.token_bytes().get(start..start.checked_add(self.seq_len + 1)?)
    }

    /// The `seq_len + 1` tokens of a sequence; `None` beyond the last one.
    pub fn tokens(&self, index: u64) -> Option<Vec<i64>> {
        self.bytes(index).map(|bytes| bytes.iter().map(|&byte| i64::from(byte)).collect())
    }

    /// The tokens of many sequences, one after the other: row-major `[indices.len(), seq_len + 1]`, as a
    /// model takes them. `None` if one of them does not exist.
    pub fn batch(&self, indices: &[u64]) -> Option<Vec<i64>> {
        let mut tokens = Vec::with_capacity(indices.len() * (self.seq_len + 1));
        for &index in indices {
            tokens.extend(self.bytes(index)?.iter().map(|&byte| i64::from(byte)));
        }
        Some(tokens)
    }

    /// The [`sample_id`] of a sequence, over its `seq_len` tokens as stored; `None` beyond the last one.
    pub fn sample_id(&self, index: u64) -> Option<u64> {
        self.bytes(index).map(|bytes| sample_id(&bytes[..self.seq_len]))
    }
}
