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

/// `count` bytes of text that a seed makes, the same on every machine: a language of 64 symbols in sixteen dialects, one of which a passage
/// of some lines is in.
///
/// In a dialect each symbol is followed by each other with a weight of its own, few of them large, as in real text: the rank of a
/// symbol among the followers of another is drawn, three quarters of the rows of a dialect are those of all, and the weight of rank `r`,
/// from 1 on, is one `r^2`th. Only integers are used, for the last bits of floats differ between machines.
pub fn made(seed: u64, count: u64) -> Vec<u8> {
    let mut stream = blake3::Hasher::new_derive_key("templar simulator text, version 1");
    stream.update(&seed.to_le_bytes());
    let mut stream = stream.finalize_xof();
    let mut draw = |bound: u64| {
        let mut bytes = [0; 8];
        stream.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound.max(1)
    };
    let common = followers(&mut draw);
    let dialects: Vec<Vec<[u8; SYMBOLS]>> = (0..DIALECTS)
        .map(|_| {
            let own = followers(&mut draw);
            let rows = common.iter().zip(own);
            rows.map(|(common, own)| if draw(4) < 3 { *common } else { own }).collect()
        })
        .collect();
    let weights: Vec<u64> = (1..=SYMBOLS as u64).map(|rank| 1_000_000 / (rank * rank)).collect();
    let all: u64 = weights.iter().sum();
    let (mut text, mut last, mut dialect) = (Vec::new(), 0usize, 0usize);
    while (text.len() as u64) < count {
        if text.len() % PASSAGE == 0 {
            dialect = draw(DIALECTS as u64) as usize;
        }
        let mut lot = draw(all);
        let rank = weights.iter().position(|weight| {
            let here = lot < *weight;
            lot = lot.wrapping_sub(*weight);
            here
        });
        last = usize::from(dialects[dialect][last][rank.unwrap_or(0)]);
        text.push(byte(last as u8));
    }
    text
}

const DIALECTS: usize = 16;
/// Symbols of a passage.
const PASSAGE: usize = 512;

/// For each symbol its followers, the likeliest first.
fn followers(draw: &mut impl FnMut(u64) -> u64) -> Vec<[u8; SYMBOLS]> {
    let one = |_| {
        let mut order: [u8; SYMBOLS] = std::array::from_fn(|at| at as u8);
        for at in (1..SYMBOLS).rev() {
            order.swap(at, draw(at as u64 + 1) as usize);
        }
        order
    };
    (0..SYMBOLS).map(one).collect()
}

/// A byte that is folded into a symbol.
fn byte(symbol: u8) -> u8 {
    match symbol {
        0..26 => b'a' + symbol,
        26..36 => b'0' + symbol - 26,
        other => PUNCTUATION.get(usize::from(other) - 36).copied().unwrap_or(b'~'),
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
    fn made_text_is_the_same_everywhere_and_differs_by_seed() {
        for of in 0..SYMBOLS as u8 {
            assert_eq!(symbol(byte(of)), of);
        }
        let text = made(1, 100_000);
        assert_eq!(text.len(), 100_000);
        assert_eq!(blake3::hash(&text).to_hex()[..16], *"67f70a13628d2d42");
        assert_ne!(text, made(2, 100_000));
        // Pairs are far from uniform, as in real text: a bigram model has something to learn.
        let mut pairs = vec![0u32; SYMBOLS * SYMBOLS];
        text.windows(2).for_each(|pair| {
            pairs[usize::from(symbol(pair[0])) * SYMBOLS + usize::from(symbol(pair[1]))] += 1
        });
        let entropy: f64 = pairs
            .chunks(SYMBOLS)
            .map(|row| {
                let all = f64::from(row.iter().sum::<u32>()).max(1.0);
                row.iter()
                    .filter(|n| **n > 0)
                    .map(|n| -f64::from(*n) * (f64::from(*n) / all).ln())
                    .sum::<f64>()
            })
            .sum::<f64>()
            / text.len() as f64;
        assert!((2.0..3.8).contains(&entropy), "{entropy} of {} nats", (SYMBOLS as f64).ln());
    }

    #[test]
    fn a_tenth_is_held_out_and_short_text_refused() {
        let text = Text::new(&b"the quick brown fox ".repeat(100), 10).unwrap();
        assert_eq!(text.training(), 180);
        assert_eq!(text.sequence(0), text.sequence(2));
        assert!(Text::new(b"short", 10).is_none());
    }
}
