use super::{Corpus, DataError, sample_id};
use std::ops::Range;

/// A corpus cut into sequences of one length: first those that are trained on, at the end those that are
/// held out. Clones share the corpus.
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
    ///
    /// # Errors
    /// [`DataError::TooSmall`].
    pub fn sequences(&self, seq_len: usize, held_out: usize) -> Result<Sequences, DataError> {
        let seq_len = seq_len.max(1);
        // The last sequence needs its last target.
        let count = self.manifest().tokens.saturating_sub(1) / seq_len as u64;
        let held_out = held_out as u64;
        match count.checked_sub(held_out).filter(|&training| training > 0) {
            Some(training) => Ok(Sequences { corpus: self.clone(), seq_len, training, held_out }),
            None => Err(DataError::TooSmall { sequences: count, seq_len, needed: held_out + 1 }),
        }
    }
}

impl Sequences {
    /// The corpus.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

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

    fn stored(&self, index: u64, tokens: usize) -> Result<Vec<u8>, DataError> {
        let start = index.checked_mul(self.seq_len as u64);
        let stored = start.map(|start| self.corpus.stored(start, tokens)).transpose()?;
        stored.flatten().ok_or(DataError::NoSequence { index })
    }

    /// The `seq_len + 1` tokens of a sequence.
    ///
    /// # Errors
    /// [`DataError::NoSequence`] beyond the last one; [`DataError`] where it cannot be read.
    pub fn tokens(&self, index: u64) -> Result<Vec<i64>, DataError> {
        self.batch(&[index])
    }

    /// The tokens of many sequences, one after the other: row-major `[indices.len(), seq_len + 1]`, as a
    /// model takes them.
    ///
    /// # Errors
    /// [`DataError::NoSequence`] if one of them does not exist; [`DataError`] where one cannot be read.
    pub fn batch(&self, indices: &[u64]) -> Result<Vec<i64>, DataError> {
        let mut tokens = Vec::with_capacity(indices.len() * (self.seq_len + 1));
        let (dtype, vocabulary) = (self.corpus.manifest().dtype, self.corpus.manifest().vocabulary);
        // From elsewhere they come side by side.
        if indices.len() > 1 {
            self.expect(indices);
        }
        for &index in indices {
            let stored = self.stored(index, self.seq_len + 1)?;
            let before = tokens.len();
            tokens.extend(dtype.numbers(&stored).map(i64::from));
            // A model has no weights for others; whoever made the corpus may have said less than there is.
            if let Some(&token) = tokens[before..].iter().find(|token| **token as u64 >= vocabulary) {
                return Err(DataError::NoToken { index, token });
            }
        }
        Ok(tokens)
    }

    /// The [`sample_id`] of a sequence, over its `seq_len` tokens as stored.
    ///
    /// # Errors
    /// Those of [`Self::tokens`].
    pub fn sample_id(&self, index: u64) -> Result<u64, DataError> {
        Ok(sample_id(&self.stored(index, self.seq_len)?))
    }

    /// Says which sequences will soon be asked for: those of a corpus that is not on this machine are fetched ahead.
    pub fn expect(&self, indices: &[u64]) {
        let length = self.seq_len as u64;
        let ends =
            |index: u64| Some((index.checked_mul(length)?, index.checked_add(1)?.checked_mul(length)? + 1));
        let spans = indices.iter().filter_map(|&index| ends(index));
        let mut wanted: Vec<(u32, u64)> =
            spans.flat_map(|(start, end)| self.corpus.pieces_of(start, end)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.corpus.expect(wanted);
    }
}
