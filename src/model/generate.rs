//! Text from a model, token after token: keys and values of what was read are kept, so that each token costs one pass
//! over the weights.

use super::{
    Llama, floats,
    forward::{self, Cache},
};
use crate::manifest::RopeScaling;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::Tensor;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// What logits are divided by before the softmax; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only so many of the likeliest tokens are drawn from; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens whose probabilities sum to this are drawn from; 1 for all.
    pub top_p: f64,
    /// What the draws follow from.
    pub seed: u64,
}

impl Default for Sampling {
    /// The likeliest token, always.
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

/// A text that a model goes on with.
#[derive(Debug)]
pub struct Session<'a> {
    model: &'a Llama,
    tokens: Vec<i64>,
    cache: Cache,
    /// Of the next token, once they are known.
    logits: Option<Vec<f32>>,
    rng: StdRng,
    sampling: Sampling,
}

impl<'a> Session<'a> {
    /// Begins with a prompt, which must not be empty.
    pub fn new(model: &'a Llama, prompt: &[i64], sampling: Sampling) -> Self {
        let rng = StdRng::seed_from_u64(sampling.seed);
        Self { model, tokens: prompt.to_vec(), cache: Cache::default(), logits: None, rng, sampling }
    }

    /// The prompt and what followed.
    pub fn tokens(&self) -> &[i64] {
        &self.tokens
    }

    /// Logits of the next token, one for each entry of the vocabulary.
    pub fn logits(&mut self) -> &[f32] {
        let logits = self.logits.take().unwrap_or_else(|| self.read());
        self.logits.insert(logits)
    }

    /// Reads what was not read yet.
    fn read(&mut self) -> Vec<f32> {
        let config = self.model.config();
        // This scaling turns every position anew once the text is longer: what was kept is worth nothing then.
        if let Some(RopeScaling::Dynamic { original_length, .. }) = config.rope_scaling
            && self.tokens.len() as i64 > original_length
        {
            self.cache = Cache::default();
        }
        let new = Tensor::from_slice(&self.tokens[self.cache.length()..]);
        let new = new.view([1, -1]).to_device(self.model.device());
        let logits = tch::no_grad(|| {
            forward::next_logits(config, self.model.parameters(), &self.model.rope, &new, &mut self.cache)
        });
        floats(&logits)
    }

    /// Chooses the next token, and goes on with it.
    pub fn next_token(&mut self) -> i64 {
        let logits = self.logits.take().unwrap_or_else(|| self.read());
        let token = choose(&logits, &self.sampling, &mut self.rng) as i64;
        self.tokens.push(token);
        token
    }
}

/// The index of the token that is drawn. Equal logits are taken from the front.
pub fn choose(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng) -> usize {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // What is not a number is never drawn.
    let logit = |index: usize| if logits[index].is_nan() { f32::NEG_INFINITY } else { logits[index] };
    order.sort_by(|a, b| logit(*b).total_cmp(&logit(*a)));
    let Some(&best) = order.first() else { return 0 };
    if sampling.temperature.is_nan() || sampling.temperature <= 0.0 {
        return best;
    }
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let largest = f64::from(logit(best));
    let weigh = |index: &usize| ((f64::from(logit(*index)) - largest) / sampling.temperature).exp();
    let weights: Vec<f64> = order.iter().map(weigh).collect();
    let total: f64 = weights.iter().sum();
    let mut kept = 0;
    let mut sum = 0.0;
    // At least one, and no more than it takes.
    while kept < weights.len() && (kept == 0 || sum < sampling.top_p * total) {
        sum += weights[kept];
        kept += 1;
    }
    let mut drawn = rng.random::<f64>() * sum;
    for (index, weight) in order.iter().zip(&weights).take(kept) {
        drawn -= weight;
        if drawn < 0.0 {
            return *index;
        }
    }
    order[kept - 1]
}

/// Tokens of a byte-level text.
pub fn bytes_to_tokens(text: &[u8]) -> Vec<i64> {
    text.iter().map(|byte| i64::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{ManifestFile, ModelConfig};
    use tch::Device;

    fn model(rope_scaling: Option<RopeScaling>) -> Llama {
        let local = ManifestFile::preset("local").unwrap().parsed.model;
        let config =
            ModelConfig { sequence_length: 16, kv_heads: 2, initial_std: 0.2, rope_scaling, ..local };
        Llama::new(&config, 3, Device::Cpu)
    }

    #[test]
    fn what_is_kept_changes_nothing() {
        for scaling in [
            None,
            Some(RopeScaling::Linear { factor: 2.0 }),
            Some(RopeScaling::Dynamic { factor: 2.0, original_length: 16 }),
        ] {
            let model = model(scaling);
            let mut session = Session::new(&model, &bytes_to_tokens(b"a text"), Sampling::default());
            // Past the positions that were trained on, too.
            for _ in 0..24 {
                let with = session.logits().to_vec();
                let tokens = Tensor::from_slice(session.tokens()).view([1, -1]);
                let all = tch::no_grad(|| model.logits(&tokens));
                let without = floats(&all.select(1, session.tokens().len() as i64 - 1));
                let far = with.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far < 1e-4, "{scaling:?} at {}: {far}", session.tokens().len());
                session.next_token();
            }
        }
    }

    #[test]
    fn a_seed_gives_one_text() {
        let model = model(None);
        let run = |seed| {
            let sampling = Sampling { temperature: 1.0, top_k: 50, top_p: 0.95, seed };
            let mut session = Session::new(&model, &[65], sampling);
            (0..20).map(|_| session.next_token()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn draws_follow_the_rule() {
        let logits = [1.0, 3.0, f32::NAN, 2.0, 3.0];
        let mut rng = StdRng::seed_from_u64(9);
        let mut drawn = |temperature, top_k, top_p| {
            let sampling = Sampling { temperature, top_k, top_p, seed: 0 };
            let mut counts = [0u32; 5];
            (0..4000).for_each(|_| counts[choose(&logits, &sampling, &mut rng)] += 1);
            counts
        };
        assert_eq!(drawn(0.0, 0, 1.0), [0, 4000, 0, 0, 0]);
        assert_eq!(drawn(1.0, 1, 1.0), [0, 4000, 0, 0, 0]);
        assert_eq!(drawn(1.0, 0, 0.01), [0, 4000, 0, 0, 0]);
        let two = drawn(1.0, 2, 1.0);
        assert!(two[1] + two[4] == 4000 && two[1].abs_diff(two[4]) < 300, "{two:?}");
        // e^-2 : 1 : 0 : e^-1 : 1, of 2.503 in all.
        let all = drawn(1.0, 0, 1.0);
        for (found, share) in all.into_iter().zip([0.0541, 0.3995, 0.0, 0.1470, 0.3995]) {
            assert!((f64::from(found) / 4000.0 - share).abs() < 0.03, "{all:?}");
        }
        assert_eq!(choose(&[], &Sampling::default(), &mut rng), 0);
    }
}
