//! Forward and backward without autograd: what each step of the backward needs is known, so memory is had once and used again, and
//! what lies between two matrix products is one loop.
//!
//! The arithmetic is that of [`super::forward`], with float32 weights on the CPU; gradients are those of autograd but for the order of
//! sums (`tests` compares them). Attention is libtorch's.

use super::{floats, floats_in_place, floats_in_place_mut, forward::repeated, shapes::PER_LAYER};
use crate::manifest::ModelConfig;
use tch::{Device, Kind, Tensor};
use templar_kernels::{Host, Turns};

/// Logits that are in memory at once: 64 MB.
const LOGITS: i64 = 1 << 24;

/// The memory of a pass over some sequences of one length.
#[derive(Debug)]
pub(super) struct Pass {
    config: ModelConfig,
    fused: Host,
    turns: Turns,
    batch: i64,
    length: i64,
    /// One for each block where gradients are asked for; else all blocks use the first.
    blocks: Vec<Block>,
    /// The residual stream after the last block, and what its norm multiplied each row by.
    last: Tensor,
    last_scales: Tensor,
    /// What comes out of a norm, `[rows, hidden]`.
    normed: Tensor,
    /// What is added to the residual stream, and gradients of what came out of a norm.
    narrow: Tensor,
    /// What goes into a block's last product, `[rows, intermediate]`.
    wide: Tensor,
    logits: Tensor,
    /// The gradient of the residual stream; nothing where no gradients are asked for.
    gradient: Tensor,
}

/// What a block leaves for its backward.
#[derive(Debug)]
struct Block {
    x: Tensor,
    scales: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    /// Of the softmax of each query.
    logarithms: Tensor,
    middle: Tensor,
    middle_scales: Tensor,
    gate: Tensor,
    up: Tensor,
}

/// A block's parameters by their place in it.
const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const OUT: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;
const FIRST_NORM: usize = 7;
const SECOND_NORM: usize = 8;

impl Block {
    fn new(config: &ModelConfig, rows: i64) -> Self {
        let heads = config.hidden_size / config.heads * config.kv_heads;
        Self {
            x: room(rows, config.hidden_size),
            scales: room(1, rows),
            query: room(rows, config.hidden_size),
            key: room(rows, heads),
            value: room(rows, heads),
            seen: Tensor::new(),
            logarithms: Tensor::new(),
            middle: room(rows, config.hidden_size),
            middle_scales: room(1, rows),
            gate: room(rows, config.intermediate_size),
            up: room(rows, config.intermediate_size),
        }
    }
}

fn room(rows: i64, width: i64) -> Tensor {
    Tensor::empty([rows, width], (Kind::Float, Device::Cpu))
}

/// Gradients to add to, and what each sequence's loss counts.
pub(super) struct Gradients<'a> {
    pub(super) sums: &'a mut [Tensor],
    pub(super) weight: f64,
}

impl Pass {
    /// Room for `batch` sequences of `length` predicted tokens; `backward` says whether gradients will be asked for. `cos` and
    /// `sin` are the rotary angles, `[length, head width]`, each half the same.
    pub(super) fn new(
        config: &ModelConfig,
        (cos, sin): (&Tensor, &Tensor),
        batch: i64,
        length: i64,
        backward: bool,
    ) -> Self {
        let rows = batch * length;
        let half = |t: &Tensor| floats(&t.narrow(1, 0, config.hidden_size / config.heads / 2));
        let blocks = if backward { config.layers } else { config.layers.min(1) };
        let together = (LOGITS / config.vocab_size.max(1)).clamp(1, rows.max(1));
        Self {
            config: config.clone(),
            fused: Host::default(),
            turns: Turns { cos: half(cos), sin: half(sin), length: length as usize },
            batch,
            length,
            blocks: (0..blocks).map(|_| Block::new(config, rows)).collect(),
            last: room(rows, config.hidden_size),
            last_scales: room(1, rows),
            normed: room(rows, config.hidden_size),
            narrow: room(rows, config.hidden_size),
            wide: room(rows, config.intermediate_size),
            logits: room(together, config.vocab_size),
            gradient: if backward { room(rows, config.hidden_size) } else { Tensor::new() },
        }
    }

    /// Whether it is of this size.
    pub(super) fn fits(&self, batch: i64, length: i64, backward: bool) -> bool {
        (self.batch, self.length) == (batch, length) && (!backward || self.gradient.numel() > 0)
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let own = [&self.last, &self.normed, &self.narrow, &self.wide, &self.logits, &self.gradient];
        let blocks = self
            .blocks
            .iter()
            .flat_map(|b| [&b.x, &b.query, &b.key, &b.value, &b.seen, &b.middle, &b.gate, &b.up]);
        own.into_iter().chain(blocks).map(|tensor| 4 * tensor.numel()).sum()
    }

    /// Mean cross-entropy in nats of each sequence of `tokens` (`[batch, length + 1]`), and with `gradients` their sum's gradient,
    /// which is added there.
    pub(super) fn run(
        &mut self,
        parameters: &[(String, Tensor)],
        tokens: &Tensor,
        gradients: Option<Gradients<'_>>,
    ) -> Vec<f32> {
        tch::no_grad(|| {
            let weights: Vec<Tensor> = parameters.iter().map(|(_, weight)| weight.detach()).collect();
            let read = tokens.narrow(1, 0, self.length).reshape([-1]);
            let targets = tokens.narrow(1, 1, self.length).reshape([-1]);
            let targets = Vec::<i64>::try_from(&targets).unwrap_or_default();
            self.blocks_forward(&weights, &read);
            let Some(mut gradients) = gradients else {
                return self.head(&weights, &targets, None);
            };
            let losses = self.head(&weights, &targets, Some(&mut gradients));
            self.blocks_backward(&weights, &read, gradients.sums);
            losses
        })
    }

    fn blocks_forward(&mut self, weights: &[Tensor], tokens: &Tensor) {
        let Self { config, fused, turns, blocks, last, last_scales, normed, narrow, wide, .. } = self;
        let shared = blocks.len() == 1;
        let epsilon = config.norm_epsilon as f32;
        let layers = config.layers as usize;
        let at = |layer: usize, offset: usize| &weights[1 + layer * PER_LAYER + offset];
        let last_norm = &weights[1 + layers * PER_LAYER];
        let index = |layer: usize| if shared { 0 } else { layer };
        match blocks.first_mut() {
            Some(Block { x, scales, .. }) => {
                let _ = weights[0].index_select_out(x, 0, tokens);
                norm(*fused, x, None, at(0, FIRST_NORM), epsilon, normed, scales);
            }
            None => {
                let _ = weights[0].index_select_out(last, 0, tokens);
                norm(*fused, last, None, last_norm, epsilon, normed, last_scales);
            }
        }
        for layer in 0..layers {
            let block = &mut blocks[index(layer)];
            product(normed, at(layer, QUERY), &block.query);
            product(normed, at(layer, KEY), &block.key);
            product(normed, at(layer, VALUE), &block.value);
            rotate(*fused, &mut block.query, turns, false);
            rotate(*fused, &mut block.key, turns, false);
            let (seen, logarithms) = {
                let [query, key, value] = heads(config, self.batch, self.length, block);
                Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
                    &query,
                    &key,
                    &value,
                    0.0,
                    self.length > 1,
                    None::<&Tensor>,
                    None,
                )
            };
            block.seen = seen.transpose(1, 2).reshape([-1, config.hidden_size]);
            block.logarithms = logarithms;
            product(&block.seen, at(layer, OUT), narrow);
            let Block { x, middle, middle_scales, gate, up, .. } = block;
            let added = Some((&*narrow, middle));
            norm(*fused, x, added, at(layer, SECOND_NORM), epsilon, normed, middle_scales);
            product(normed, at(layer, GATE), gate);
            product(normed, at(layer, UP), up);
            fused.swiglu(read(gate), read(up), write(wide));
            product(wide, at(layer, DOWN), narrow);
            if layer + 1 < layers {
                let weight = at(layer + 1, FIRST_NORM);
                if shared {
                    let Block { x, scales, middle, .. } = &mut blocks[0];
                    norm(*fused, middle, Some((narrow, x)), weight, epsilon, normed, scales);
                } else if let [.., from, to] = &mut blocks[..layer + 2] {
                    let added = Some((&*narrow, &mut to.x));
                    norm(*fused, &from.middle, added, weight, epsilon, normed, &mut to.scales);
                }
            } else {
                let middle = &blocks[index(layer)].middle;
                norm(*fused, middle, Some((narrow, last)), last_norm, epsilon, normed, last_scales);
            }
        }
    }

    /// Losses of all sequences from the last norm; with `gradients` also those of the head and, in `narrow`, of what came out of the
    /// norm.
    fn head(
        &mut self,
        weights: &[Tensor],
        targets: &[i64],
        mut gradients: Option<&mut Gradients<'_>>,
    ) -> Vec<f32> {
        let at = if self.config.tied { 0 } else { weights.len() - 1 };
        let rows = self.batch * self.length;
        let together = self.logits.size()[0];
        let mut losses = vec![0f32; targets.len()];
        for first in (0..rows).step_by(together.max(1) as usize) {
            let count = together.min(rows - first);
            let here = first as usize..(first + count) as usize;
            let mut logits = self.logits.narrow(0, 0, count);
            let normed = self.normed.narrow(0, first, count);
            product(&normed, &weights[at], &logits);
            let weight = gradients.as_ref().map(|gradients| (gradients.weight / self.length as f64) as f32);
            let width = self.config.vocab_size as usize;
            let (targets, losses) = (&targets[here.clone()], &mut losses[here]);
            self.fused.cross_entropy(write(&mut logits), width, targets, weight, losses);
            if let Some(gradients) = &mut gradients {
                add_product(&mut gradients.sums[at], &logits.tr(), &normed);
                let _ = logits.mm_out(&self.narrow.narrow(0, first, count), &weights[at]);
            }
        }
        let mean = |losses: &[f32]| {
            (losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64) as f32
        };
        losses.chunks(self.length.max(1) as usize).map(mean).collect()
    }

    fn blocks_backward(&mut self, weights: &[Tensor], tokens: &Tensor, sums: &mut [Tensor]) {
        let Self { config, fused, turns, batch, length, blocks, normed, narrow, wide, gradient, .. } = self;
        let layers = config.layers as usize;
        let end = 1 + layers * PER_LAYER;
        norm_backward(
            *fused,
            (&self.last, &self.last_scales, &weights[end]),
            narrow,
            (gradient, true),
            &mut sums[end],
        );
        for layer in (0..layers).rev() {
            let first = 1 + layer * PER_LAYER;
            let at = |offset: usize| &weights[first + offset];
            let block = &mut blocks[layer];
            let sums = &mut sums[first..first + PER_LAYER];

            let _ = gradient.mm_out(wide, at(DOWN));
            fused.swiglu_backward(write(&mut block.gate), write(&mut block.up), write(wide));
            add_product(&mut sums[DOWN], &gradient.tr(), wide);
            norm_again(*fused, &block.middle, &block.middle_scales, at(SECOND_NORM), normed);
            add_product(&mut sums[GATE], &block.gate.tr(), normed);
            add_product(&mut sums[UP], &block.up.tr(), normed);
            let _ = block.gate.mm_out(narrow, at(GATE));
            add_product(narrow, &block.up, at(UP));
            let Block { middle, middle_scales, .. } = block;
            let norm = (&*middle, &*middle_scales, at(SECOND_NORM));
            norm_backward(*fused, norm, narrow, (gradient, false), &mut sums[SECOND_NORM]);

            add_product(&mut sums[OUT], &gradient.tr(), &block.seen);
            let _ = gradient.mm_out(narrow, at(OUT));
            let [mut query, mut key, value] = attention_backward(config, *batch, *length, block, narrow);
            rotate(*fused, &mut query, turns, true);
            rotate(*fused, &mut key, turns, true);
            norm_again(*fused, &block.x, &block.scales, at(FIRST_NORM), normed);
            for (offset, change) in [(QUERY, &query), (KEY, &key), (VALUE, &value)] {
                add_product(&mut sums[offset], &change.tr(), normed);
            }
            let _ = query.mm_out(narrow, at(QUERY));
            add_product(narrow, &key, at(KEY));
            add_product(narrow, &value, at(VALUE));
            let norm = (&block.x, &block.scales, at(FIRST_NORM));
            norm_backward(*fused, norm, narrow, (gradient, false), &mut sums[FIRST_NORM]);
        }
        let _ = sums[0].index_add_(0, tokens, gradient);
    }
}

fn read(tensor: &Tensor) -> &[f32] {
    floats_in_place(tensor).unwrap_or(&[])
}

fn write(tensor: &mut Tensor) -> &mut [f32] {
    floats_in_place_mut(tensor).unwrap_or(&mut [])
}

/// See [`Host::rms_norm`].
fn norm(
    fused: Host,
    x: &Tensor,
    added: Option<(&Tensor, &mut Tensor)>,
    weight: &Tensor,
    epsilon: f32,
    out: &mut Tensor,
    scales: &mut Tensor,
) {
    let added = added.map(|(add, sum)| (read(add), write(sum)));
    fused.rms_norm(read(x), added, read(weight), epsilon, write(out), write(scales));
}

fn norm_again(fused: Host, x: &Tensor, scales: &Tensor, weight: &Tensor, out: &mut Tensor) {
    fused.rms_norm_again(read(x), read(scales), read(weight), write(out));
}

/// See [`Host::rms_norm_backward`].
fn norm_backward(
    fused: Host,
    (x, scales, weight): (&Tensor, &Tensor, &Tensor),
    change: &Tensor,
    (gradient, new): (&mut Tensor, bool),
    of_weight: &mut Tensor,
) {
    let (x, scales, weight) = (read(x), read(scales), read(weight));
    fused.rms_norm_backward(x, scales, weight, read(change), write(gradient), new, write(of_weight));
}

fn rotate(fused: Host, x: &mut Tensor, turns: &Turns, back: bool) {
    let width = x.size().last().map_or(0, |width| *width as usize);
    fused.rotate(write(x), width, turns, back);
}

/// `out = x weight^T`.
fn product(x: &Tensor, weight: &Tensor, out: &Tensor) {
    let _ = x.mm_out(out, &weight.tr());
}

/// `sum += a b`.
fn add_product(sum: &mut Tensor, a: &Tensor, b: &Tensor) {
    let _ = sum.addmm_(a, b);
}

/// Queries, keys and values as attention wants them, `[batch, heads, length, width]`; keys and values once for each query head.
fn heads(config: &ModelConfig, batch: i64, length: i64, block: &Block) -> [Tensor; 3] {
    let width = config.hidden_size / config.heads;
    let shared = config.heads / config.kv_heads;
    let split = |t: &Tensor, heads: i64| t.view([batch, length, heads, width]).transpose(1, 2);
    [
        split(&block.query, config.heads),
        repeated(split(&block.key, config.kv_heads), shared),
        repeated(split(&block.value, config.kv_heads), shared),
    ]
}

/// Gradients of queries, keys and values, `[rows, heads * width]`, from that of what was seen.
fn attention_backward(
    config: &ModelConfig,
    batch: i64,
    length: i64,
    block: &Block,
    change: &Tensor,
) -> [Tensor; 3] {
    let width = config.hidden_size / config.heads;
    let shared = config.heads / config.kv_heads;
    let [query, key, value] = heads(config, batch, length, block);
    let split = |t: &Tensor| t.view([batch, length, config.heads, width]).transpose(1, 2);
    let (query, key, value) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward(
        &split(change),
        &query,
        &key,
        &value,
        &split(&block.seen),
        &block.logarithms,
        0.0,
        length > 1,
        None::<&Tensor>,
        None,
    );
    // A head of keys or values was used by several heads of queries: its gradient is the sum of theirs.
    let summed = |t: Tensor| match shared {
        1 => t,
        _ => t.view([batch, config.kv_heads, shared, length, width]).sum_dim_intlist(2, false, Kind::Float),
    };
    let rows = |t: Tensor| t.transpose(1, 2).reshape([batch * length, -1]).contiguous();
    [rows(query), rows(summed(key)), rows(summed(value))]
}
