//! The small language model of the simulator: a softmax over the next symbol, given the last one.
//!
//! One matrix of `SYMBOLS x SYMBOLS` logits, row = last symbol, column = next one. Its gradient needs only
//! the counts of pairs, so that a window of 250 peers costs milliseconds; everything behind the gradient
//! (DeMo, the wire, the aggregate, Gauntlet) is what the programs run.

use templar_codec::sketch::{self, Sums};

/// Symbols of the simulator's alphabet.
pub const SYMBOLS: usize = 64;
/// Weights of the model.
pub const WEIGHTS: usize = SYMBOLS * SYMBOLS;

/// How often each symbol follows each other: what a gradient needs of some text.
#[derive(Debug, Clone)]
pub struct Counts {
    pairs: Vec<f32>,
    tokens: f32,
}

impl Counts {
    /// No text.
    pub fn new() -> Self {
        Self { pairs: vec![0.0; WEIGHTS], tokens: 0.0 }
    }

    /// Adds the pairs of one sequence.
    pub fn add(&mut self, sequence: &[u8]) {
        for pair in sequence.windows(2) {
            self.pairs[index(pair[0], pair[1])] += 1.0;
        }
        self.tokens += sequence.len().saturating_sub(1) as f32;
    }
}

/// The weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Bigram {
    logits: Vec<f32>,
}

/// The weights as probabilities: what losses are read from, and gradients.
#[derive(Debug, Clone)]
pub struct Probabilities {
    logarithms: Vec<f32>,
    probabilities: Vec<f32>,
}

impl Bigram {
    /// All symbols equally likely.
    pub fn new() -> Self {
        Self { logits: vec![0.0; WEIGHTS] }
    }

    /// The weights, row by row.
    pub fn weights(&self) -> &[f32] {
        &self.logits
    }

    /// `weights -= step * sign` with a sign update of [`crate::codec`], in one rounding for each weight, as
    /// [`crate::aggregate::apply()`] does.
    pub fn apply(&mut self, signs: &[i8], step: f64) {
        let step = step as f32;
        for (weight, sign) in self.logits.iter_mut().zip(signs) {
            *weight -= f32::from(*sign) * step;
        }
    }

    /// The probabilities, and their logarithms `x - ln(sum of exp(x))`, in each row.
    pub fn probabilities(&self) -> Probabilities {
        let (mut logarithms, mut probabilities) = (self.logits.clone(), vec![0.0; WEIGHTS]);
        let rows = logarithms.chunks_exact_mut(SYMBOLS).zip(probabilities.chunks_exact_mut(SYMBOLS));
        for (row, shares) in rows {
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            shares.iter_mut().zip(&*row).for_each(|(share, x)| *share = (x - largest).exp());
            let sum: f32 = shares.iter().sum();
            let norm = largest + sum.ln();
            row.iter_mut().for_each(|x| *x -= norm);
            shares.iter_mut().for_each(|share| *share /= sum);
        }
        Probabilities { logarithms, probabilities }
    }
}

impl Probabilities {
    /// Mean loss of a sequence, nats a token.
    pub fn loss(&self, sequence: &[u8]) -> f64 {
        let sum: f32 = sequence.windows(2).map(|pair| -self.logarithms[index(pair[0], pair[1])]).sum();
        f64::from(sum) / sequence.len().saturating_sub(1).max(1) as f64
    }

    /// Mean loss of counted text, nats a token.
    pub fn loss_of(&self, counts: &Counts) -> f64 {
        let sum: f64 =
            self.logarithms.iter().zip(&counts.pairs).map(|(p, n)| -f64::from(*p) * f64::from(*n)).sum();
        sum / f64::from(counts.tokens).max(1.0)
    }

    /// The gradient of the mean loss of counted text: `(row count * p - pair count) / tokens`.
    pub fn gradient(&self, counts: &Counts) -> Vec<f32> {
        let mut gradient = vec![0.0; WEIGHTS];
        let rows = self.probabilities.chunks_exact(SYMBOLS).zip(counts.pairs.chunks_exact(SYMBOLS));
        for (out, (p, n)) in gradient.chunks_exact_mut(SYMBOLS).zip(rows) {
            let total: f32 = n.iter().sum();
            if total > 0.0 {
                for ((g, p), n) in out.iter_mut().zip(p).zip(n) {
                    *g = (total * p - n) / counts.tokens;
                }
            }
        }
        gradient
    }

    /// The sketch of that gradient.
    pub fn sketch(&self, counts: &Counts, seed: u64) -> Sums {
        sketch::of_tensor(sketch::tensor_seed(seed, 0), &self.gradient(counts))
    }
}

fn index(last: u8, next: u8) -> usize {
    usize::from(last) % SYMBOLS * SYMBOLS + usize::from(next) % SYMBOLS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let mut model = Bigram::new();
        model.logits.iter_mut().enumerate().for_each(|(i, x)| *x = ((i * 37 % 101) as f32 - 50.0) / 40.0);
        let mut counts = Counts::new();
        counts.add(&[3, 9, 3, 9, 4, 60, 3, 9]);
        let gradient = model.probabilities().gradient(&counts);
        for at in [index(3, 9), index(9, 4), index(3, 0), index(5, 5)] {
            let mut moved = [model.clone(), model.clone()];
            moved[0].logits[at] += 1e-2;
            moved[1].logits[at] -= 1e-2;
            let [up, down] = moved.map(|m| m.probabilities().loss_of(&counts));
            assert!(((up - down) / 2e-2 - f64::from(gradient[at])).abs() < 1e-4, "{at}");
        }
    }

    #[test]
    fn losses_of_sequences_and_of_counts_agree() {
        let text = [1u8, 2, 3, 1, 2];
        let mut counts = Counts::new();
        counts.add(&text);
        let table = Bigram::new().probabilities();
        assert!((table.loss(&text) - 64f64.ln()).abs() < 1e-6);
        assert!((table.loss_of(&counts) - 64f64.ln()).abs() < 1e-6);
    }
}
