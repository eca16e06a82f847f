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

    /// Turns `[batch, heads, length, width]` by the angles of its positions.
    fn turn(&self, x: &Tensor, length: i64) -> Tensor {
        let halves = x.chunk(2, -1);
        let rotated = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
        x * self.cos.narrow(0, 0, length) + rotated * self.sin.narrow(0, 0, length)
    }
}

/// Logits `[batch, length, vocabulary]` for token ids `[batch, length]`.
pub(super) fn logits(
    config: &ModelConfig,
    parameters: &[(String, Tensor)],
    rope: &Rope,
    tokens: &Tensor,
) -> Tensor {
    let length = tokens.size().get(1).copied().unwrap_or(0);
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
    let layers = (parameters.len() - 2) / PER_LAYER;
    for layer in 0..layers {
        let first = 1 + layer * PER_LAYER;
        let at = |offset: usize| weight(first + offset);
        let inner = norm(&x, first + 7);
        x = attention(config, [at(0), at(1), at(2), at(3)], rope, &inner) + &x;
        let inner = norm(&x, first + 8);
        let gate = inner.linear::<&Tensor>(at(4), None).silu();
        x = (gate * inner.linear::<&Tensor>(at(5), None)).linear::<&Tensor>(at(6), None) + &x;
    }
    let last = 1 + layers * PER_LAYER;
    let head = if config.tied { weight(0) } else { weight(last + 1) };
    norm(&x, last).linear::<&Tensor>(head, None)
}

/// Causal grouped-query attention: `heads / kv_heads` query heads share a key and a value head.
fn attention(config: &ModelConfig, [q, k, v, o]: [&Tensor; 4], rope: &Rope, x: &Tensor) -> Tensor {
    let (batch, length) = (x.size()[0], x.size()[1]);
    let width = config.hidden_size / config.heads;
    let split = |w: &Tensor, heads: i64| {
        x.linear::<&Tensor>(w, None).view([batch, length, heads, width]).transpose(1, 2)
    };
    let query = rope.turn(&split(q, config.heads), length);
    let key = rope.turn(&split(k, config.kv_heads), length);
    let value = split(v, config.kv_heads);
    let shared = config.heads / config.kv_heads;
    // Repeating keys and values lets every device take its fused attention.
    let repeat = |t: Tensor| if shared == 1 { t } else { t.repeat_interleave_self_int(shared, 1, None) };
    let (key, value) = (repeat(key), repeat(value));
    let mixed =
        Tensor::scaled_dot_product_attention::<&Tensor>(&query, &key, &value, None, 0.0, true, None, false);
    mixed.transpose(1, 2).reshape([batch, length, config.hidden_size]).linear::<&Tensor>(o, None)
}
