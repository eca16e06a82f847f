//! The forward pass, as Hugging Face computes it.

use super::shapes::PER_LAYER;
use crate::manifest::{ModelConfig, RopeScaling};
use tch::{Device, Kind, Tensor};

/// Cosines and sines of the rotary positions, `[length, head width]`.
#[derive(Debug)]
pub(super) struct Rope {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// Angle `position / theta^(2 i / width)` for the `i`-th half, repeated for the other half, and stretched where the
    /// configuration says so; in float32 throughout, as the reference has it.
    pub(super) fn new(config: &ModelConfig, length: i64, device: Device) -> Self {
        let width = config.hidden_size / config.heads;
        let float = (Kind::Float, device);
        let exponents = Tensor::arange_start_step(0, width, 2, float) / width as f64;
        let inverse = |theta: f64| Tensor::pow_scalar(theta, &exponents).reciprocal();
        let inverse = match config.rope_scaling {
            None => inverse(config.rope_theta),
            Some(RopeScaling::Linear { factor }) => inverse(config.rope_theta) / factor,
            Some(RopeScaling::Dynamic { factor, original_length }) => {
                let longer = length.max(original_length) as f64 / original_length as f64;
                let width = width as f64;
                let growth = (factor * longer - (factor - 1.0)).powf(width / (width - 2.0));
                inverse(config.rope_theta * growth)
            }
            Some(RopeScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_length,
            }) => {
                let inverse = inverse(config.rope_theta);
                // Waves in the original length: few of a low frequency, many of a high one.
                let waves = &inverse * (original_length as f64 / (2.0 * std::f64::consts::PI));
                let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - &kept) * &inverse / factor + kept * inverse
            }
        };
        let angles = Tensor::arange(length, float).outer(&inverse);
        let angles = Tensor::cat(&[&angles, &angles], 1);
        Self { cos: angles.cos(), sin: angles.sin() }
    }

    /// Turns `[batch, heads, length, width]` by the angles of its positions, the first of which is `from`.
    fn turn(&self, x: &Tensor, from: i64, length: i64) -> Tensor {
        let halves = x.chunk(2, -1);
        let rotated = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
        x * self.cos.narrow(0, from, length) + rotated * self.sin.narrow(0, from, length)
    }
}

/// Keys and values of the tokens that were read, `[batch, kv heads, length, head width]` for each layer.
#[derive(Debug, Default)]
pub(super) struct Cache(Vec<(Tensor, Tensor)>);

impl Cache {
    /// Tokens that were read.
    pub(super) fn length(&self) -> usize {
        self.0.first().map_or(0, |(key, _)| key.size()[2] as usize)
    }
}

/// Logits `[batch, length, vocabulary]` for token ids `[batch, length]`.
pub(super) fn logits(
    config: &ModelConfig,
    parameters: &[(String, Tensor)],
    rope: &Rope,
    tokens: &Tensor,
) -> Tensor {
    head(config, parameters, &hidden(config, parameters, rope, tokens, None))
}

/// Logits `[batch, vocabulary]` of the token after `tokens`, which come after those of the cache, and join them.
pub(super) fn next_logits(
    config: &ModelConfig,
    parameters: &[(String, Tensor)],
    rope: &Rope,
    tokens: &Tensor,
    cache: &mut Cache,
) -> Tensor {
    let hidden = hidden(config, parameters, rope, tokens, Some(cache));
    head(config, parameters, &hidden.select(1, hidden.size()[1] - 1))
}

fn head(config: &ModelConfig, parameters: &[(String, Tensor)], hidden: &Tensor) -> Tensor {
    let last = 1 + (parameters.len() - 2) / PER_LAYER * PER_LAYER;
    let weight = |index: usize| &parameters[index].1;
    let normed = hidden.rms_norm([config.hidden_size], Some(weight(last)), config.norm_epsilon);
    normed.linear::<&Tensor>(if config.tied { weight(0) } else { weight(last + 1) }, None)
}

/// The residual stream after the last block, `[batch, length, width]`.
fn hidden(
    config: &ModelConfig,
    parameters: &[(String, Tensor)],
    rope: &Rope,
    tokens: &Tensor,
    mut cache: Option<&mut Cache>,
) -> Tensor {
    let before = cache.as_ref().map_or(0, |cache| cache.length()) as i64;
    let length = before + tokens.size().get(1).copied().unwrap_or(0);
    let longer;
    let rope = if length <= config.sequence_length {
        rope
    } else {
        longer = Rope::new(config, length, tokens.device());
        &longer
    };
    let weight = |index: usize| &parameters[index].1;
    let norm =
        |x: &Tensor, index: usize| x.rms_norm([config.hidden_size], Some(weight(index)), config.norm_epsilon);
    let mut x = Tensor::embedding(weight(0), tokens, -1, false, false);
    for layer in 0..(parameters.len() - 2) / PER_LAYER {
        let first = 1 + layer * PER_LAYER;
        let at = |offset: usize| weight(first + offset);
        let inner = norm(&x, first + 7);
        let kept = cache.as_deref_mut().map(|cache| (cache, layer));
        x = attention(config, [at(0), at(1), at(2), at(3)], rope, &inner, before, kept) + &x;
        let inner = norm(&x, first + 8);
        let gate = inner.linear::<&Tensor>(at(4), None).silu();
        x = (gate * inner.linear::<&Tensor>(at(5), None)).linear::<&Tensor>(at(6), None) + &x;
    }
    x
}

/// Causal grouped-query attention: `heads / kv_heads` query heads share a key and a value head. `before` tokens were read
/// already, and are in the cache.
fn attention(
    config: &ModelConfig,
    [q, k, v, o]: [&Tensor; 4],
    rope: &Rope,
    x: &Tensor,
    before: i64,
    kept: Option<(&mut Cache, usize)>,
) -> Tensor {
    let (batch, length) = (x.size()[0], x.size()[1]);
    let width = config.hidden_size / config.heads;
    let split = |w: &Tensor, heads: i64| {
        x.linear::<&Tensor>(w, None).view([batch, length, heads, width]).transpose(1, 2)
    };
    let query = rope.turn(&split(q, config.heads), before, length);
    let mut key = rope.turn(&split(k, config.kv_heads), before, length);
    let mut value = split(v, config.kv_heads);
    if let Some((cache, layer)) = kept {
        if let Some((keys, values)) = cache.0.get(layer) {
            (key, value) = (Tensor::cat(&[keys, &key], 2), Tensor::cat(&[values, &value], 2));
        }
        let both = (key.shallow_clone(), value.shallow_clone());
        match cache.0.get_mut(layer) {
            Some(place) => *place = both,
            None => cache.0.push(both),
        }
    }
    let shared = config.heads / config.kv_heads;
    // Repeating keys and values lets every device take its fused attention.
    let repeat = |t: Tensor| if shared == 1 { t } else { t.repeat_interleave_self_int(shared, 1, None) };
    let (key, value) = (repeat(key), repeat(value));
    // One token sees all that came before it; several after others need a mask of their own.
    let mask = (before > 0 && length > 1).then(|| {
        let all = Tensor::ones([length, before + length], (Kind::Bool, x.device()));
        all.tril(before)
    });
    let causal = before == 0 && length > 1;
    let mixed =
        Tensor::scaled_dot_product_attention(&query, &key, &value, mask.as_ref(), 0.0, causal, None, false);
    mixed.transpose(1, 2).reshape([batch, length, config.hidden_size]).linear::<&Tensor>(o, None)
}
