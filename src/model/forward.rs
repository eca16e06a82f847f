//! The forward pass, as Hugging Face computes it.

use super::{
    few::{self, Products},
    shapes::PER_LAYER,
};
use crate::manifest::{ModelConfig, RopeScaling};
use tch::{Device, Kind, Tensor};

/// Cosines and sines of the rotary positions, `[length, head width]`.
#[derive(Debug)]
pub(super) struct Rope {
    cos: Tensor,
    sin: Tensor,
}

/// The angles of the tokens of one pass: of a shape that spreads over `[batch, heads, length, width]`.
#[derive(Debug)]
pub(super) struct Angles {
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
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

    /// Positions that it has.
    pub(super) fn length(&self) -> i64 {
        self.cos.size()[0]
    }

    /// Angles of `length` positions from `from` on.
    pub(super) fn range(&self, from: i64, length: i64) -> Angles {
        Angles { cos: self.cos.narrow(0, from, length), sin: self.sin.narrow(0, from, length) }
    }

    /// Angles of any positions, `[length]`.
    pub(super) fn at(&self, positions: &Tensor) -> Angles {
        Angles { cos: self.cos.index_select(0, positions), sin: self.sin.index_select(0, positions) }
    }

    /// Angles of one token in each row, at the row's own position.
    pub(super) fn rows(&self, positions: &Tensor) -> Angles {
        let Angles { cos, sin } = self.at(positions);
        let spread = |t: Tensor| t.unsqueeze(1).unsqueeze(1);
        Angles { cos: spread(cos), sin: spread(sin) }
    }
}

impl Angles {
    fn to_kind(&self, kind: Kind) -> Self {
        Self { cos: self.cos.to_kind(kind), sin: self.sin.to_kind(kind) }
    }

    /// Turns queries or keys `[batch, heads, length, width]`.
    fn turn(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let rotated = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
        x * &self.cos + rotated * &self.sin
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
    let rope = if length <= rope.length() {
        rope
    } else {
        longer = Rope::new(config, length, tokens.device());
        &longer
    };
    let shared = config.heads / config.kv_heads;
    // Angles are computed in float32 and rounded once.
    let kind = parameters.first().map_or(Kind::Float, |(_, weight)| weight.kind());
    let angles = rope.range(0, length).to_kind(kind);
    let hidden = hidden(config, parameters, few::libtorch, &angles, tokens, |_, query, key, value| {
        let (key, value) = (repeated(key, shared), repeated(value, shared));
        attend(&query, &key, &value, None, length > 1)
    });
    head(config, parameters, few::libtorch, &hidden)
}

/// Keys or values of a head for each of the `shared` query heads that use it: so every device takes its fused attention.
pub(super) fn repeated(t: Tensor, shared: i64) -> Tensor {
    if shared == 1 { t } else { t.repeat_interleave_self_int(shared, 1, None) }
}

/// Softmax attention of `[batch, heads, length, width]`; `mask` says what each query may see.
pub(super) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
) -> Tensor {
    Tensor::scaled_dot_product_attention(query, key, value, mask, 0.0, causal, None, false)
}

/// Logits of hidden states `[..., width]`.
pub(super) fn head(
    config: &ModelConfig,
    parameters: &[(String, Tensor)],
    products: Products,
    hidden: &Tensor,
) -> Tensor {
    let last = 1 + (parameters.len() - 2) / PER_LAYER * PER_LAYER;
    let weight = |index: usize| &parameters[index].1;
    let normed = hidden.rms_norm([config.hidden_size], Some(weight(last)), config.norm_epsilon);
    product(products, &normed, if config.tied { weight(0) } else { weight(last + 1) })
}

/// One product.
fn product(products: Products, x: &Tensor, weight: &Tensor) -> Tensor {
    products(x, &[weight]).pop().unwrap_or_default()
}

/// The residual stream after the last block, `[batch, length, width]`, for token ids `[batch, length]`.
///
/// `attention` gets each layer's number, and its turned queries `[batch, heads, length, head width]`, turned keys and values
/// `[batch, kv heads, length, head width]`; it gives what the queries see.
pub(super) fn hidden(
    config: &ModelConfig,
    parameters: &[(String, Tensor)],
    products: Products,
    angles: &Angles,
    tokens: &Tensor,
    mut attention: impl FnMut(usize, Tensor, Tensor, Tensor) -> Tensor,
) -> Tensor {
    let weight = |index: usize| &parameters[index].1;
    let norm =
        |x: &Tensor, index: usize| x.rms_norm([config.hidden_size], Some(weight(index)), config.norm_epsilon);
    let width = config.hidden_size / config.heads;
    let (batch, length) = (tokens.size()[0], tokens.size()[1]);
    let mut x = Tensor::embedding(weight(0), tokens, -1, false, false);
    for layer in 0..(parameters.len() - 2) / PER_LAYER {
        let first = 1 + layer * PER_LAYER;
        let at = |offset: usize| weight(first + offset);
        let inner = norm(&x, first + 7);
        let split = |x: &Tensor, heads: i64| x.view([batch, length, heads, width]).transpose(1, 2);
        let made = products(&inner, &[at(0), at(1), at(2)]);
        let query = angles.turn(&split(&made[0], config.heads));
        let key = angles.turn(&split(&made[1], config.kv_heads));
        let seen = attention(layer, query, key, split(&made[2], config.kv_heads));
        let mixed = seen.transpose(1, 2).reshape([batch, length, config.hidden_size]);
        x = product(products, &mixed, at(3)) + &x;
        let inner = norm(&x, first + 8);
        let made = products(&inner, &[at(4), at(5)]);
        x = product(products, &(made[0].silu() * &made[1]), at(6)) + &x;
    }
    x
}
