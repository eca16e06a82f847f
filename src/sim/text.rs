//! The text of the simulator: bytes folded into 64 symbols, cut into sequences.

use super::bigram::{Counts, SYMBOLS};
use crate::data;

/// The symbols after letters and digits; every other byte is the last one.
const PUNCTUATION: &[u8; 27] = b" \n.,;:!?'\"`()[]{}<>+-*/=_#&";

/// Text in sequences of equal length. The last ones are held out: nobody trains on them.
#[derive(Debug, Clone)]
pub struct Text {
    symbols: Vec<u8>,
    length: usize,
    /// The sample id of each sequence that can be trained on.
    ids: Vec<u64>,
    training: u64,
    held_out: Counts,
}

impl Text {
    /// Folds `bytes` and cuts them into sequences of `length` symbols that predict `length - 1`; a tenth
    /// is held out. `None` where there are fewer than a hundred sequences.
    pub fn new(bytes: &[u8], length: usize) -> Option<Self> {
        let table: Vec<u8> = (0..=u8::MAX).map(symbol).collect();
        let symbols: Vec<u8> = bytes.iter().map(|byte| table[usize::from(*byte)]).collect();
        let sequences = symbols.len().checked_div(length)?;
        let training = sequences - sequences / 10;
        let mut held_out = Counts::new();
        symbols.chunks_exact(length).skip(training).for_each(|sequence| held_out.add(sequence));
        if sequences < 100 || length < 2 {
            return None;
        }
        let ids = symbols.chunks_exact(length).take(training).map(data::sample_id).collect();
        Some(Self { symbols, length, ids, training: training as u64, held_out })
    }

    /// Sequences that can be trained on.
    pub fn training(&self) -> u64 {
        self.training
    }

    /// One sequence.
    pub fn sequence(&self, index: u64) -> &[u8] {
        let start = (index % self.training) as usize * self.length;
        &self.symbols[start..start + self.length]
    }

    /// The pairs of some sequences.
    pub fn counts(&self, sequences: &[u64]) -> Counts {
        let mut counts = Counts::new();
        sequences.iter().for_each(|index| counts.add(self.sequence(*index)));
        counts
    }

    /// The pairs of the held-out text.
    pub fn held_out(&self) -> &Counts {
        &self.held_out
    }

    /// The digest that a miner claims for its sequences.
    pub fn digest(&self, sequences: &[u64]) -> String {
        let id = |index: &u64| self.ids.get((index % self.training) as usize).copied().unwrap_or_default();
        let ids: Vec<u64> = sequences.iter().map(id).collect();
        data::sample_digest(&ids)
    }
}

fn symbol(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - b'a',
        b'A'..=b'Z' => byte - b'A',
        b'0'..=b'9' => 26 + byte - b'0',
        other => match PUNCTUATION.iter().position(|p| *p == other) {
            Some(place) => 36 + place as u8,
            None => SYMBOLS as u8 - 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_symbol_and_every_symbol_a_byte() {
        let used: std::collections::BTreeSet<u8> = (0..=u8::MAX).map(symbol).collect();
        assert_eq!(used.len(), SYMBOLS);
        assert_eq!((symbol(b'a'), symbol(b'A'), symbol(b'9'), symbol(0xff)), (0, 0, 35, 63));
    }

    #[test]
    fn a_tenth_is_held_out_and_short_text_refused() {
        let text = Text::new(&b"the quick brown fox ".repeat(100), 10).unwrap();
        assert_eq!(text.training(), 180);
        assert_eq!(text.sequence(0), text.sequence(2));
        assert!(Text::new(b"short", 10).is_none());
    }
}
