//! The codec's kernels: what a miner sends, and the step of what many sent.

use super::{Argument, BLOCKS, Device, Span, THREADS, count, fit, number, span};
use crate::KernelError;
use templar_codec::{Rule, TensorLayout, Transform, Values};

/// The bases of a chunk's sides, down its columns and along its rows. None are read where a run has no transform.
///
/// Of an encoder they are float32, `[sample][frequency]` ([`templar_codec::basis`]); of an aggregate whole numbers of 16 bits,
/// `[frequency][sample]` ([`TensorLayout::whole_bases`]).
#[derive(Debug, Clone, Copy)]
pub struct Bases {
    /// Of the chunk's rows.
    pub down: Span,
    /// Of its columns.
    pub along: Span,
}

/// What is sent of one tensor, as [`templar_codec::SparseTensor`] has it.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    /// Whole numbers of 16 bits, one for each kept value.
    pub positions: Span,
    /// Bytes, as many.
    pub codes: Span,
    /// Whole numbers of 16 bits; of no length with 8 bits.
    pub levels: Span,
    /// With 8 bits: room for the kept values, float32.
    pub values: Span,
    /// The bits of the largest magnitude, 32 of them; 0 before.
    pub most: Span,
    /// With 8 bits: the exponent, one byte.
    pub exponent: Span,
}

/// What some peers sent of one tensor, each one's after the other's.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// How many.
    pub peers: usize,
    /// Whole numbers of 16 bits.
    pub positions: Span,
    /// Bytes.
    pub codes: Span,
    /// Whole numbers of 16 bits.
    pub levels: Span,
    /// With levels: what each peer's are multiplied by, float64. With 8 bits: for each peer 256 whole numbers of 64 bits.
    pub weights: Span,
    /// What 1 in a sum stands for.
    pub unit: f64,
}

/// Where an aggregate goes.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Signs of 8 bits.
    Signs(Span),
    /// Float32.
    Floats(Span),
    /// The step from `before`, which may be the parameters themselves; `copy` gets them in bf16.
    Step {
        /// Float32.
        before: Span,
        /// Float32.
        parameters: Span,
        /// Of 16 bits.
        copy: Option<Span>,
        /// The size of the step.
        size: f32,
    },
}

impl Device {
    /// `C <- beta C + T(G)` of one tensor, of which the largest are coded and taken off:
    /// [`templar_codec::ErrorFeedback::encode`].
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn encode(
        &self,
        layout: &TensorLayout,
        gradient: Span,
        state: Span,
        bases: Option<Bases>,
        beta: f32,
        out: Encoded,
    ) -> Result<(), KernelError> {
        let (kept, per_chunk) = (layout.kept_values(), layout.values.levels());
        fit(&[gradient, state], layout.len())?;
        fit(&[out.positions, out.codes], kept)?;
        fit(&[out.levels], layout.levels())?;
        fit(&[out.most], 1)?;
        let [down, along] = sides(layout, bases)?;
        let eight = layout.values == Values::Eight;
        if eight {
            fit(&[out.values], kept)?;
            fit(&[out.exponent], 1)?;
        }
        let arguments = [
            span(gradient),
            span(state),
            down,
            along,
            number(layout.chunk_rows),
            number(layout.chunk_cols),
            number(layout.cols),
            Argument::Float(beta),
            number(layout.kept),
            number(per_chunk),
            span(out.positions),
            span(out.values),
            span(out.levels),
            span(out.codes),
            span(out.most),
        ];
        self.run("encode_chunks", layout.chunks(), &arguments)?;
        if !eight {
            return Ok(());
        }
        let arguments = [
            span(state),
            span(out.positions),
            span(out.values),
            span(out.codes),
            span(out.most),
            span(out.exponent),
            count(kept),
            number(layout.kept),
            number(layout.chunk_len()),
        ];
        self.run("take_off", kept.div_ceil(THREADS as usize).min(16 * BLOCKS), &arguments)
    }

    /// One tensor of [`templar_codec::Aggregate`], with its bits.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn aggregate(
        &self,
        layout: &TensorLayout,
        rule: Rule,
        sent: Sent,
        bases: Option<Bases>,
        target: Target,
    ) -> Result<(), KernelError> {
        let eight = layout.values == Values::Eight;
        fit(&[sent.positions, sent.codes], sent.peers * layout.kept_values())?;
        fit(&[sent.levels], sent.peers * layout.levels())?;
        fit(&[sent.weights], sent.peers * if eight { 256 } else { 1 })?;
        let nothing = Argument::Span(0);
        let weights = if eight { [nothing, span(sent.weights)] } else { [span(sent.weights), nothing] };
        let [down, along] = sides(layout, bases)?;
        let (mut signs, mut floats, mut step) = (nothing, nothing, [nothing; 3]);
        let mut size = 0.0;
        match target {
            Target::Signs(out) => {
                fit(&[out], layout.len())?;
                signs = span(out);
            }
            Target::Floats(out) => {
                fit(&[out], layout.len())?;
                floats = span(out);
            }
            Target::Step { before, parameters, copy, size: of } => {
                fit(&[before, parameters, copy.unwrap_or(before)], layout.len())?;
                step = [span(before), span(parameters), copy.map_or(nothing, span)];
                size = of;
            }
        }
        let arguments = [
            span(sent.positions),
            span(sent.codes),
            span(sent.levels),
            weights[0],
            weights[1],
            number(sent.peers),
            count(layout.kept_values()),
            count(layout.levels()),
            number(layout.kept),
            number(layout.values.levels()),
            down,
            along,
            number(layout.chunk_rows),
            number(layout.chunk_cols),
            number(layout.cols),
            Argument::Number(i32::from(rule == Rule::Sign)),
            Argument::Double(sent.unit),
            Argument::Double(layout.whole_factor()),
            signs,
            floats,
            step[0],
            step[1],
            step[2],
            Argument::Float(size),
        ];
        self.run("aggregate_chunks", layout.chunks(), &arguments)
    }

    /// The sketch of one tensor ([`templar_codec::sketch`]) in parts, 64 numbers of float64 each, as many as fit into `parts`; their sums,
    /// in order, are the sketch. `seed` is the tensor's.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn sketch(&self, seed: u64, tensor: Span, parts: Span) -> Result<(), KernelError> {
        let blocks = (parts.length() / templar_codec::sketch::BUCKETS).min(BLOCKS);
        if blocks == 0 {
            return Err(KernelError::Shape("a sketch needs room for 64 numbers".to_owned()));
        }
        self.run("sketch", blocks, &[span(tensor), span(parts), count(tensor.length()), Argument::Bits(seed)])
    }
}

/// The bases as arguments, null without a transform.
fn sides(layout: &TensorLayout, bases: Option<Bases>) -> Result<[Argument; 2], KernelError> {
    match (layout.transform, bases) {
        (Transform::None, _) => Ok([Argument::Span(0); 2]),
        (Transform::Dct, Some(bases)) => {
            fit(&[bases.down], layout.chunk_rows * layout.chunk_rows)?;
            fit(&[bases.along], layout.chunk_cols * layout.chunk_cols)?;
            Ok([span(bases.down), span(bases.along)])
        }
        (Transform::Dct, None) => Err(KernelError::Shape("a transform needs its bases".to_owned())),
    }
}
