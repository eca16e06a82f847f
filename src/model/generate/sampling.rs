//! The choice of the next token.

use rand::Rng;

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

/// How many of the likeliest tokens are put in order first; most texts need no more of them.
const FIRST: usize = 256;

/// The index of the token that is drawn. Equal logits are taken from the front; what is not a number is never drawn.
pub fn choose(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng) -> usize {
    let logit = |index: usize| if logits[index].is_nan() { f32::NEG_INFINITY } else { logits[index] };
    let mut best = 0;
    for index in 0..logits.len() {
        if logit(index) > logit(best) {
            best = index;
        }
    }
    if logits.is_empty() || sampling.temperature.is_nan() || sampling.temperature <= 0.0 {
        return best;
    }
    let largest = f64::from(logit(best));
    let weigh = |index: usize| ((f64::from(logit(index)) - largest) / sampling.temperature).exp();
    let mut drawn = rng.random::<f64>();
    if sampling.top_k == 0 && sampling.top_p >= 1.0 {
        let total: f64 = (0..logits.len()).map(weigh).sum();
        drawn *= total;
        let found = (0..logits.len()).find(|index| {
            drawn -= weigh(*index);
            drawn < 0.0
        });
        return found.unwrap_or(best);
    }
    let likelier = |a: &usize, b: &usize| logit(*b).total_cmp(&logit(*a)).then_with(|| a.cmp(b));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if (1..order.len()).contains(&sampling.top_k) {
        order.select_nth_unstable_by(sampling.top_k - 1, likelier);
        order.truncate(sampling.top_k);
    }
    let enough = sampling.top_p * order.iter().map(|index| weigh(*index)).sum::<f64>();
    // Ordered in growing parts from the front, until the likeliest of them are enough.
    let (mut kept, mut sum, mut sorted) = (0, 0.0, 0);
    let mut part = FIRST;
    while kept < order.len() && (kept == 0 || sum < enough) {
        if kept == sorted {
            let end = (sorted + part).min(order.len());
            if end < order.len() {
                order[sorted..].select_nth_unstable_by(end - sorted, likelier);
            }
            order[sorted..end].sort_unstable_by(likelier);
            (sorted, part) = (end, part * 4);
        }
        sum += weigh(order[kept]);
        kept += 1;
    }
    drawn *= sum;
    let found = order[..kept].iter().find(|index| {
        drawn -= weigh(**index);
        drawn < 0.0
    });
    *found.unwrap_or(&order[kept - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

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
        for top_p in [1.0, 0.999_999] {
            let all = drawn(1.0, 0, top_p);
            for (found, share) in all.into_iter().zip([0.0541, 0.3995, 0.0, 0.1470, 0.3995]) {
                assert!((f64::from(found) / 4000.0 - share).abs() < 0.03, "{all:?}");
            }
        }
        assert_eq!(choose(&[], &Sampling::default(), &mut rng), 0);
    }

    #[test]
    fn many_tokens_are_put_in_order_as_needed() {
        // Token `i` of 5,000 has a weight of 0.999^(i * 7919 mod 5000).
        let place = |index: usize| index * 7919 % 5000;
        let logits: Vec<f32> = (0..5000).map(|i| place(i) as f32 * 0.999f32.ln()).collect();
        let mut rng = StdRng::seed_from_u64(1);
        let mut last = |top_k, top_p| {
            let sampling = Sampling { temperature: 1.0, top_k, top_p, seed: 0 };
            (0..4000).map(|_| place(choose(&logits, &sampling, &mut rng))).max().unwrap()
        };
        // 1 - 0.999^n of the whole is in the first n.
        assert!((1700..=1798).contains(&last(0, 0.834)), "0.999^1795 is 0.166");
        assert!((690..=699).contains(&last(700, 1.0)));
        assert!((370..=381).contains(&last(1000, 0.5)));
    }
}
