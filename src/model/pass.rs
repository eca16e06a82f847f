//! Forward and backward without autograd: what each step of the backward needs is known, so memory is had once and used again, and
//! what lies between two matrix products is one loop or one kernel ([`super::fused`]).
//!
//! The arithmetic is that of [`super::forward`]. Weights, the residual stream, gradients and all sums are float32; what products read
//! and write is float32 too, or bf16. Gradients are those of autograd but for the order of sums (`tests` compares them). Attention is
//! libtorch's.

use super::{
    floats,
    forward::{attend, repeated},
    fused::{Fused, torch},
    shapes::PER_LAYER,
};
use crate::manifest::ModelConfig;
use tch::{Device, Kind, Tensor};
use templar_kernels::KernelError;

/// Logits that are in memory at once: 64 MB of float32 on a processor, 512 MB of bf16 on a GPU.
const LOGITS: [i64; 2] = [1 << 24, 1 << 28];

/// The memory of a pass over some sequences of one length.
#[derive(Debug)]
pub(super) struct Pass {
    config: ModelConfig,
    fused: Fused,
    batch: i64,
    length: i64,
    /// One for each block where gradients are asked for; else, and where blocks are computed again, all use the first.
    blocks: Vec<Block>,
    /// Where blocks are computed again: what went into each, and what its norm multiplied each row by.
    starts: Vec<[Tensor; 2]>,
    /// Matrices as products read them, where that is not how they are; nothing for the weights of norms.
    matrices: Vec<Option<Tensor>>,
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
    losses: Tensor,
    /// The gradient of the residual stream, and as products read it; nothing where no gradients are asked for.
    gradient: Tensor,
    copy: Tensor,
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
    attention: Attention,
    middle: Tensor,
    middle_scales: Tensor,
    gate: Tensor,
    up: Tensor,
}

/// What attention leaves for its backward.
#[derive(Debug)]
enum Attention {
    /// Nothing: no gradients are asked for.
    Nothing,
    /// Logarithms of the sums of each query's softmax.
    Logarithms(Tensor),
    /// Queries, keys and values, of which autograd has gradients.
    Graph([Tensor; 3]),
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

/// Makes tensors of rows on one device.
#[derive(Clone, Copy)]
struct Room {
    device: Device,
    kind: Kind,
}

impl Room {
    /// Of what products read and write.
    fn rows(self, rows: i64, width: i64) -> Result<Tensor, KernelError> {
        torch(Tensor::f_empty([rows, width], (self.kind, self.device)))
    }

    /// Of float32.
    fn floats(self, rows: i64, width: i64) -> Result<Tensor, KernelError> {
        torch(Tensor::f_empty([rows, width], (Kind::Float, self.device)))
    }
}

impl Block {
    fn new(config: &ModelConfig, rows: i64, room: Room) -> Result<Self, KernelError> {
        let heads = config.hidden_size / config.heads * config.kv_heads;
        Ok(Self {
            x: room.floats(rows, config.hidden_size)?,
            scales: room.floats(1, rows)?,
            query: room.rows(rows, config.hidden_size)?,
            key: room.rows(rows, heads)?,
            value: room.rows(rows, heads)?,
            seen: Tensor::new(),
            attention: Attention::Nothing,
            middle: room.floats(rows, config.hidden_size)?,
            middle_scales: room.floats(1, rows)?,
            gate: room.rows(rows, config.intermediate_size)?,
            up: room.rows(rows, config.intermediate_size)?,
        })
    }

    /// From `x`, of which `normed` is what came out of its norm, to gate and up. `normed` and `narrow` are written to; with `keeps` what
    /// attention needs for its backward is kept.
    fn forward(
        &mut self,
        (config, sizes): (&ModelConfig, (i64, i64)),
        fused: &Fused,
        matrices: &[Tensor],
        norm: (&Tensor, f32),
        (normed, narrow): (&mut Tensor, &mut Tensor),
        keeps: bool,
    ) -> Result<(), KernelError> {
        product(normed, &matrices[QUERY], &self.query)?;
        product(normed, &matrices[KEY], &self.key)?;
        product(normed, &matrices[VALUE], &self.value)?;
        fused.rotate(&mut self.query, false)?;
        fused.rotate(&mut self.key, false)?;
        (self.seen, self.attention) = attention(config, sizes, fused, self, keeps)?;
        product(&self.seen, &matrices[OUT], narrow)?;
        let Self { x, middle, middle_scales, gate, up, .. } = self;
        fused.norm(x, Some((&*narrow, middle)), norm, normed, middle_scales)?;
        product(normed, &matrices[GATE], gate)?;
        product(normed, &matrices[UP], up)
    }
}

/// What a pass is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Losses.
    Losses,
    /// Gradients too.
    Gradients,
    /// Gradients, in less memory: of each block only what went into it is kept, and it is computed a second time, to the same bits.
    GradientsAgain,
}

/// Gradients to add to, and what each sequence's loss counts.
pub(super) struct Gradients<'a> {
    pub(super) sums: &'a mut [Tensor],
    pub(super) weight: f64,
}

impl Pass {
    /// Room on `device` for `batch` sequences of `length` predicted tokens.
    pub(super) fn new(
        config: &ModelConfig,
        fused: Fused,
        device: Device,
        (batch, length): (i64, i64),
        asked: Asked,
    ) -> Result<Self, KernelError> {
        let room = Room { device, kind: fused.kind() };
        let (rows, backward) = (batch * length, asked != Asked::Losses);
        let blocks = if asked == Asked::Gradients { config.layers } else { config.layers.min(1) };
        let starts = if asked == Asked::GradientsAgain { config.layers } else { 0 };
        let start = |_| Ok([room.floats(rows, config.hidden_size)?, room.floats(1, rows)?]);
        let most = LOGITS[usize::from(matches!(fused, Fused::Device { .. }))];
        let together = (most / config.vocab_size.max(1)).clamp(1, rows.max(1));
        let blocks = (0..blocks).map(|_| Block::new(config, rows, room)).collect::<Result<_, _>>()?;
        Ok(Self {
            config: config.clone(),
            batch,
            length,
            blocks,
            starts: (0..starts).map(start).collect::<Result<_, KernelError>>()?,
            matrices: Vec::new(),
            last: room.floats(rows, config.hidden_size)?,
            last_scales: room.floats(1, rows)?,
            normed: room.rows(rows, config.hidden_size)?,
            narrow: room.rows(rows, config.hidden_size)?,
            wide: room.rows(rows, config.intermediate_size)?,
            logits: room.rows(together, config.vocab_size)?,
            losses: room.floats(1, rows)?,
            gradient: if backward { room.floats(rows, config.hidden_size)? } else { Tensor::new() },
            copy: match backward && fused.kind() != Kind::Float {
                true => room.rows(rows, config.hidden_size)?,
                false => Tensor::new(),
            },
            fused,
        })
    }

    /// Whether it is of this size and for products of this kind; one for gradients gives losses as well.
    pub(super) fn fits(&self, (batch, length): (i64, i64), asked: Asked, kind: Kind) -> bool {
        let again = !self.starts.is_empty() || self.config.layers == 0;
        let whole = self.blocks.len() as i64 == self.config.layers;
        (self.batch, self.length) == (batch, length)
            && match asked {
                Asked::Losses => true,
                Asked::Gradients => whole && self.gradient.numel() > 0,
                Asked::GradientsAgain => again && self.gradient.numel() > 0,
            }
            && self.fused.kind() == kind
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let own =
            [&self.last, &self.normed, &self.narrow, &self.wide, &self.logits, &self.gradient, &self.copy];
        let blocks = self
            .blocks
            .iter()
            .flat_map(|b| [&b.x, &b.query, &b.key, &b.value, &b.seen, &b.middle, &b.gate, &b.up]);
        let starts = self.starts.iter().map(|[x, _]| x);
        let tensors = own.into_iter().chain(blocks).chain(starts).chain(self.matrices.iter().flatten());
        tensors
            .filter(|tensor| tensor.defined())
            .map(|tensor| tensor.kind().elt_size_in_bytes() * tensor.numel())
            .sum()
    }

    /// Mean cross-entropy in nats of each sequence of `tokens` (`[batch, length + 1]`), and with `gradients` their sum's gradient,
    /// which is added there.
    ///
    /// # Errors
    /// What a GPU, its driver and libtorch say; sums may then have some of the gradients.
    pub(super) fn run(
        &mut self,
        parameters: &[(String, Tensor)],
        tokens: &Tensor,
        gradients: Option<Gradients<'_>>,
    ) -> Result<Vec<f32>, KernelError> {
        tch::no_grad(|| {
            let weights: Vec<Tensor> = parameters.iter().map(|(_, weight)| weight.detach()).collect();
            let matrices = self.matrices(&weights)?;
            let read = tokens.narrow(1, 0, self.length).reshape([-1]);
            let targets = tokens.narrow(1, 1, self.length).reshape([-1]);
            self.blocks_forward(&weights, &matrices, &read, gradients.is_some())?;
            let Some(mut gradients) = gradients else {
                self.head(&matrices, &targets, None)?;
                return Ok(self.sequence_losses());
            };
            self.head(&matrices, &targets, Some(&mut gradients))?;
            self.blocks_backward(&weights, &matrices, &read, gradients.sums)?;
            Ok(self.sequence_losses())
        })
    }

    /// The weights as products read them; norms have theirs in float32.
    fn matrices(&mut self, weights: &[Tensor]) -> Result<Vec<Tensor>, KernelError> {
        if self.fused.kind() == Kind::Float {
            return Ok(weights.iter().map(Tensor::shallow_clone).collect());
        }
        if self.matrices.is_empty() {
            let rounded = |weight: &Tensor| match weight.dim() {
                2 => torch(Tensor::f_empty(weight.size(), (self.fused.kind(), weight.device()))).map(Some),
                _ => Ok(None),
            };
            self.matrices = weights.iter().map(rounded).collect::<Result<_, _>>()?;
        }
        let both = weights.iter().zip(&self.matrices);
        both.map(|(weight, matrix)| match matrix {
            Some(matrix) => self.fused.round(weight, matrix).map(|()| matrix.shallow_clone()),
            None => Ok(weight.shallow_clone()),
        })
        .collect()
    }

    fn blocks_forward(
        &mut self,
        weights: &[Tensor],
        matrices: &[Tensor],
        tokens: &Tensor,
        backward: bool,
    ) -> Result<(), KernelError> {
        let Self { config, fused, blocks, starts, last, last_scales, normed, narrow, wide, .. } = self;
        let sizes = (self.batch, self.length);
        let shared = blocks.len() == 1;
        // What is computed again needs nothing of attention now.
        let keeps = backward && starts.is_empty();
        let epsilon = config.norm_epsilon as f32;
        let layers = config.layers as usize;
        let norm = |layer: usize, offset: usize| (&weights[1 + layer * PER_LAYER + offset], epsilon);
        let matrix = |layer: usize, offset: usize| &matrices[1 + layer * PER_LAYER + offset];
        let last_norm = (&weights[1 + layers * PER_LAYER], epsilon);
        let index = |layer: usize| if shared { 0 } else { layer };
        match blocks.first_mut() {
            Some(Block { x, scales, .. }) => {
                fused.embed(&weights[0], tokens, x)?;
                fused.norm(x, None, norm(0, FIRST_NORM), normed, scales)?;
            }
            None => {
                fused.embed(&weights[0], tokens, last)?;
                fused.norm(last, None, last_norm, normed, last_scales)?;
            }
        }
        for layer in 0..layers {
            let block = &mut blocks[index(layer)];
            if let Some([x, scales]) = starts.get_mut(layer) {
                x.copy_(&block.x);
                scales.copy_(&block.scales);
            }
            let own = &matrices[1 + layer * PER_LAYER..][..PER_LAYER];
            block.forward((config, sizes), fused, own, norm(layer, SECOND_NORM), (normed, narrow), keeps)?;
            let Block { gate, up, .. } = block;
            fused.swiglu(gate, up, wide)?;
            product(wide, matrix(layer, DOWN), narrow)?;
            if layer + 1 < layers {
                let next = norm(layer + 1, FIRST_NORM);
                if shared {
                    let Block { x, scales, middle, .. } = &mut blocks[0];
                    fused.norm(middle, Some((narrow, x)), next, normed, scales)?;
                } else if let [.., from, to] = &mut blocks[..layer + 2] {
                    fused.norm(&from.middle, Some((narrow, &mut to.x)), next, normed, &mut to.scales)?;
                }
            } else {
                let middle = &blocks[index(layer)].middle;
                fused.norm(middle, Some((narrow, last)), last_norm, normed, last_scales)?;
            }
        }
        Ok(())
    }

    /// Losses of all tokens from the last norm; with `gradients` also those of the head and, in `narrow`, of what came out of the
    /// norm.
    fn head(
        &mut self,
        matrices: &[Tensor],
        targets: &Tensor,
        mut gradients: Option<&mut Gradients<'_>>,
    ) -> Result<(), KernelError> {
        let at = if self.config.tied { 0 } else { matrices.len() - 1 };
        let rows = self.batch * self.length;
        let together = self.logits.size().first().copied().unwrap_or(1).max(1);
        for first in (0..rows).step_by(together as usize) {
            let count = together.min(rows - first);
            let mut logits = self.logits.narrow(0, 0, count);
            let normed = self.normed.narrow(0, first, count);
            product(&normed, &matrices[at], &logits)?;
            let weight = gradients.as_ref().map(|gradients| (gradients.weight / self.length as f64) as f32);
            let mut losses = self.losses.narrow(1, first, count);
            self.fused.cross_entropy(&mut logits, &targets.narrow(0, first, count), weight, &mut losses)?;
            if let Some(gradients) = &mut gradients {
                self.fused.add_product(&mut gradients.sums[at], &logits.tr(), &normed)?;
                multiply(&logits, &matrices[at], &self.narrow.narrow(0, first, count))?;
            }
        }
        Ok(())
    }

    /// The mean of each sequence's losses.
    fn sequence_losses(&self) -> Vec<f32> {
        let mean = |losses: &[f32]| {
            (losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64) as f32
        };
        floats(&self.losses).chunks(self.length.max(1) as usize).map(mean).collect()
    }

    fn blocks_backward(
        &mut self,
        weights: &[Tensor],
        matrices: &[Tensor],
        tokens: &Tensor,
        sums: &mut [Tensor],
    ) -> Result<(), KernelError> {
        let Self { config, fused, blocks, starts, normed, narrow, wide, gradient, copy, .. } = self;
        let sizes = (self.batch, self.length);
        let layers = config.layers as usize;
        let end = 1 + layers * PER_LAYER;
        let last = (&self.last, &self.last_scales, &weights[end]);
        fused.norm_backward(last, narrow, (gradient, true), copy, &mut sums[end])?;
        for layer in (0..layers).rev() {
            let first = 1 + layer * PER_LAYER;
            let matrix = |offset: usize| &matrices[first + offset];
            let block = &mut blocks[if starts.is_empty() { layer } else { 0 }];
            if let Some([x, scales]) = starts.get(layer) {
                block.x.copy_(x);
                block.scales.copy_(scales);
                fused.norm_again((x, scales, &weights[first + FIRST_NORM]), normed)?;
                let norm = (&weights[first + SECOND_NORM], config.norm_epsilon as f32);
                let own = &matrices[first..first + PER_LAYER];
                block.forward((config, sizes), fused, own, norm, (normed, narrow), true)?;
            }
            let sums = &mut sums[first..first + PER_LAYER];

            let change = read_by_products(fused, gradient, copy);
            multiply(&change, matrix(DOWN), wide)?;
            fused.swiglu_backward(&mut block.gate, &mut block.up, wide)?;
            fused.add_product(&mut sums[DOWN], &change.tr(), wide)?;
            let norm = (&block.middle, &block.middle_scales, &weights[first + SECOND_NORM]);
            fused.norm_again(norm, normed)?;
            fused.add_product(&mut sums[GATE], &block.gate.tr(), normed)?;
            fused.add_product(&mut sums[UP], &block.up.tr(), normed)?;
            multiply(&block.gate, matrix(GATE), narrow)?;
            add_product(narrow, &block.up, matrix(UP))?;
            fused.norm_backward(norm, narrow, (gradient, false), copy, &mut sums[SECOND_NORM])?;

            let change = read_by_products(fused, gradient, copy);
            fused.add_product(&mut sums[OUT], &change.tr(), &block.seen)?;
            multiply(&change, matrix(OUT), narrow)?;
            let [mut query, mut key, value] = attention_backward(config, sizes, block, narrow)?;
            fused.rotate(&mut query, true)?;
            fused.rotate(&mut key, true)?;
            let norm = (&block.x, &block.scales, &weights[first + FIRST_NORM]);
            fused.norm_again(norm, normed)?;
            for (offset, change) in [(QUERY, &query), (KEY, &key), (VALUE, &value)] {
                fused.add_product(&mut sums[offset], &change.tr(), normed)?;
            }
            multiply(&query, matrix(QUERY), narrow)?;
            add_product(narrow, &key, matrix(KEY))?;
            add_product(narrow, &value, matrix(VALUE))?;
            fused.norm_backward(norm, narrow, (gradient, false), copy, &mut sums[FIRST_NORM])?;
        }
        fused.embed_backward(&mut sums[0], tokens, gradient)
    }
}

/// The residual stream's gradient as products read it.
fn read_by_products(fused: &Fused, gradient: &Tensor, copy: &Tensor) -> Tensor {
    if fused.kind() == Kind::Float { gradient.shallow_clone() } else { copy.shallow_clone() }
}

/// `out = a b`.
fn multiply(a: &Tensor, b: &Tensor, out: &Tensor) -> Result<(), KernelError> {
    torch(a.f_mm_out(out, b)).map(drop)
}

/// `sum += a b`, all as products read them.
fn add_product(sum: &mut Tensor, a: &Tensor, b: &Tensor) -> Result<(), KernelError> {
    torch(sum.f_addmm_(a, b)).map(drop)
}

/// `out = x weight^T`.
fn product(x: &Tensor, weight: &Tensor, out: &Tensor) -> Result<(), KernelError> {
    torch(x.f_mm_out(out, &weight.tr())).map(drop)
}

/// Queries, keys and values as attention wants them, `[batch, heads, length, width]`; keys and values once for each query head.
fn heads(
    config: &ModelConfig,
    (batch, length): (i64, i64),
    [query, key, value]: [&Tensor; 3],
) -> [Tensor; 3] {
    let width = config.hidden_size / config.heads;
    let shared = config.heads / config.kv_heads;
    let split = |t: &Tensor, heads: i64| t.view([batch, length, heads, width]).transpose(1, 2);
    [
        split(query, config.heads),
        repeated(split(key, config.kv_heads), shared),
        repeated(split(value, config.kv_heads), shared),
    ]
}

/// What the queries of a block see, `[rows, heads * width]`.
///
/// libtorch's binding has the backward of its CPU attention, and of none of those for GPUs: there autograd does it.
fn attention(
    config: &ModelConfig,
    sizes: (i64, i64),
    fused: &Fused,
    block: &Block,
    backward: bool,
) -> Result<(Tensor, Attention), KernelError> {
    let causal = sizes.1 > 1;
    let own = [&block.query, &block.key, &block.value];
    let rows = |seen: Tensor| seen.transpose(1, 2).reshape([-1, config.hidden_size]);
    match fused {
        Fused::Host { .. } => {
            let [query, key, value] = heads(config, sizes, own);
            let (seen, logarithms) = torch(Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(
                &query,
                &key,
                &value,
                0.0,
                causal,
                None::<&Tensor>,
                None,
            ))?;
            Ok((rows(seen), Attention::Logarithms(logarithms)))
        }
        Fused::Device { .. } if backward => tch::with_grad(|| {
            let leaves = own.map(|t| t.detach().set_requires_grad(true));
            let [query, key, value] = heads(config, sizes, leaves.each_ref());
            Ok((rows(attend(&query, &key, &value, None, causal)), Attention::Graph(leaves)))
        }),
        Fused::Device { .. } => {
            let [query, key, value] = heads(config, sizes, own);
            Ok((rows(attend(&query, &key, &value, None, causal)), Attention::Nothing))
        }
    }
}

/// Gradients of queries, keys and values, `[rows, heads * width]`, from that of what was seen.
fn attention_backward(
    config: &ModelConfig,
    sizes: (i64, i64),
    block: &mut Block,
    change: &Tensor,
) -> Result<[Tensor; 3], KernelError> {
    let (batch, length) = sizes;
    let width = config.hidden_size / config.heads;
    let shared = config.heads / config.kv_heads;
    let seen = std::mem::take(&mut block.seen);
    match std::mem::replace(&mut block.attention, Attention::Nothing) {
        Attention::Logarithms(logarithms) => {
            let [query, key, value] = heads(config, sizes, [&block.query, &block.key, &block.value]);
            let split = |t: &Tensor| t.view([batch, length, config.heads, width]).transpose(1, 2);
            let (query, key, value) =
                torch(Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu_backward(
                    &split(change),
                    &query,
                    &key,
                    &value,
                    &split(&seen),
                    &logarithms,
                    0.0,
                    length > 1,
                    None::<&Tensor>,
                    None,
                ))?;
            // A head of keys or values was used by several heads of queries: its gradient is the sum of theirs.
            let summed = |t: Tensor| match shared {
                1 => t,
                _ => t.view([batch, config.kv_heads, shared, length, width]).sum_dim_intlist(
                    2,
                    false,
                    Kind::Float,
                ),
            };
            let rows = |t: Tensor| t.transpose(1, 2).reshape([batch * length, -1]).contiguous();
            Ok([rows(query), rows(summed(key)), rows(summed(value))])
        }
        Attention::Graph(leaves) => tch::with_grad(|| {
            // The gradient of a product's sum by one factor is the other one.
            torch((&seen * change).sum(Kind::Float).f_backward())?;
            Ok(leaves.map(|leaf| leaf.grad().contiguous()))
        }),
        Attention::Nothing => Err(KernelError::Shape("a pass without gradients has none".to_owned())),
    }
}
