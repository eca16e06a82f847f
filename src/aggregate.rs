//! What the accepted pseudo-gradients add up to, and the step that everybody takes.
//!
//! For each tensor: every peer's coefficients are divided by their L2 norm; each coefficient is averaged over
//! the peers that sent it (a code of 0 counts as not sent); the inverse DCT brings the mean back; its sign is
//! the update.
//!
//! Everyone must get the same bits, on whatever hardware. So all of it is exact in whole numbers, and no order of
//! peers, threads or additions can change it:
//!
//! 1. a code's magnitude `a` is whole, and so is the peer's `S`, the sum of `a^2`; the shared exponent cancels.
//!    The normalised coefficient is `a * floor(2^52 / sqrt(S))`, below `2^53`, in 64 bits for 1024 peers;
//! 2. the mean is the sum over the count, cut towards zero; a chunk's means are shifted right, rounded,
//!    until the largest is at most `2^13`;
//! 3. the inverse DCT takes the basis in whole numbers ([`dct::whole_basis`], 14 bits). By Cauchy and Schwarz no
//!    sum of the first product exceeds `2^14 * 8 * 2^13 = 2^30`, nor of both `2^47`: in float64 every sum of
//!    them is exact, in any order, fused or not.

use crate::{
    compress::dct,
    gradient::{Layout, SparseTensor, TensorLayout, coefficient},
};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Bits of a coefficient before the inverse DCT.
const COEFFICIENT_BITS: u32 = 13;
/// Chunks transformed at a time: bounds the memory.
const SLAB: usize = 256;
/// Peers whose sum is sure to fit 64 bits.
pub const MAX_PEERS: usize = 512;

/// Why there is no aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// Nobody to aggregate.
    #[error("there is no pseudo-gradient to aggregate")]
    NoPeers,
    /// More than can be summed exactly.
    #[error("{0} pseudo-gradients cannot be aggregated exactly; at most {MAX_PEERS} can")]
    TooManyPeers(usize),
    /// A pseudo-gradient that the decoder did not check.
    #[error("a pseudo-gradient does not fit the tensor {0}")]
    Misfit(String),
}

/// The aggregate's sign, one int8 tensor of -1, 0 and 1 for each parameter, in its shape, on `device`.
///
/// `peers` holds each peer's tensors in the layout's order, as [`crate::gradient::decode()`] returned them. The
/// result does not depend on the order of peers, and is the same bits on every device.
///
/// # Errors
/// No peers or more than [`MAX_PEERS`], or tensors that do not fit the layout.
pub fn aggregate(
    peers: &[&[SparseTensor]],
    layout: &Layout,
    device: Device,
) -> Result<Vec<Tensor>, AggregateError> {
    aggregate_with(Norms::Equal, peers, layout, device)
}

/// How long each peer's tensors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// All the same: nobody outweighs the others by sending larger numbers. What every run uses.
    Equal,
    /// As they were sent. For simulations that ask what equal norms are good for.
    AsSent,
}

/// [`aggregate`] with a choice of norms.
///
/// # Errors
/// As [`aggregate`].
pub fn aggregate_with(
    norms: Norms,
    peers: &[&[SparseTensor]],
    layout: &Layout,
    device: Device,
) -> Result<Vec<Tensor>, AggregateError> {
    match peers.len() {
        0 => return Err(AggregateError::NoPeers),
        1..=MAX_PEERS => {}
        more => return Err(AggregateError::TooManyPeers(more)),
    }
    let mut bases = BTreeMap::new();
    let tensor = |(index, shape): (usize, &TensorLayout)| {
        let misfit = || AggregateError::Misfit(shape.name.clone());
        let mut tensors = peers
            .iter()
            .map(|peer| peer.get(index).filter(|t| fits(t, shape)).map(|t| (t, inverse_norm(t))))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(misfit)?;
        if norms == Norms::AsSent {
            as_sent(&mut tensors);
        }
        for side in [shape.chunk_rows, shape.chunk_cols] {
            bases.entry(side).or_insert_with(|| transposed_basis(side, device));
        }
        Ok(tch::no_grad(|| signs(&tensors, shape, &bases, device)))
    };
    layout.tensors().iter().enumerate().map(tensor).collect()
}

/// One peer alone, as it is judged: its own sign update.
///
/// # Errors
/// Tensors that do not fit the layout.
pub fn peer_update(
    tensors: &[SparseTensor],
    layout: &Layout,
    device: Device,
) -> Result<Vec<Tensor>, AggregateError> {
    aggregate(&[tensors], layout, device)
}

/// `theta -= step * update` for every parameter; the step is rounded to float32 first.
///
/// The product with -1, 0 or 1 is exact, and so there is one rounding, the same on every device.
pub fn apply(parameters: &[(String, Tensor)], update: &[Tensor], step: f64) {
    tch::no_grad(|| {
        for ((_, parameter), sign) in parameters.iter().zip(update) {
            let change = sign.to_kind(Kind::Float) * f64::from(step as f32);
            let _ = parameter.shallow_clone().g_sub_(&change);
        }
    });
}

fn fits(tensor: &SparseTensor, shape: &TensorLayout) -> bool {
    tensor.positions.len() == shape.values()
        && tensor.codes.len() == shape.values()
        && tensor.positions.iter().all(|p| usize::from(*p) < shape.chunk_len())
}

/// `floor(2^52 / sqrt(S))`; 0 for a tensor of zeros.
fn inverse_norm(tensor: &SparseTensor) -> i64 {
    let mut counts = [0u64; 128];
    tensor.codes.iter().for_each(|c| counts[usize::from(c & 0x7f)] += 1);
    let squares: u128 = (0..128u8)
        .zip(counts)
        .map(|(code, count)| {
            u128::from(coefficient::magnitude(code).unsigned_abs()).pow(2) * u128::from(count)
        })
        .sum();
    if squares == 0 { 0 } else { ((1u64 << 52) as f64 / (squares as f64).sqrt()) as i64 }
}

/// Puts the power of two of each peer's exponent in place of its inverse norm. 34 bits are left for it beside a
/// magnitude of 18 and 512 peers; what is smaller than that share of the largest is nothing.
fn as_sent(tensors: &mut [(&SparseTensor, i64)]) {
    let largest = tensors.iter().map(|(tensor, _)| tensor.exponent).max().unwrap_or(0);
    for (tensor, factor) in tensors {
        let below = u32::from(largest.abs_diff(tensor.exponent));
        *factor = (1i64 << 34).checked_shr(below).unwrap_or(0);
    }
}

fn transposed_basis(side: usize, device: Device) -> Tensor {
    let values: Vec<f64> = dct::whole_basis(side).iter().map(|v| f64::from(*v)).collect();
    Tensor::from_slice(&values).view([side as i64, side as i64]).tr().contiguous().to_device(device)
}

/// The sign of the mean of normalised peers, slab by slab of chunks.
fn signs(
    peers: &[(&SparseTensor, i64)],
    shape: &TensorLayout,
    bases: &BTreeMap<usize, Tensor>,
    device: Device,
) -> Tensor {
    let (h, w) = (shape.chunk_rows as i64, shape.chunk_cols as i64);
    let slab = |start: usize| {
        let chunks = SLAB.min(shape.chunks() - start);
        let means = slab_means(peers, shape, start, chunks);
        let means = Tensor::from_slice(&means).to_device(device).view([chunks as i64, h, w]);
        let turned = dct::times(&means, &bases[&shape.chunk_cols]).transpose(1, 2);
        dct::times(&turned, &bases[&shape.chunk_rows]).sign().to_kind(Kind::Int8)
    };
    let slabs: Vec<Tensor> = (0..shape.chunks()).step_by(SLAB).map(slab).collect();
    dct::from_chunks(shape, &Tensor::cat(&slabs, 0))
}

/// The block-scaled mean coefficients of some chunks: whole numbers of at most 13 bits and a sign.
fn slab_means(peers: &[(&SparseTensor, i64)], shape: &TensorLayout, start: usize, chunks: usize) -> Vec<f64> {
    let (length, kept) = (shape.chunk_len(), shape.kept);
    let mut means = vec![0f64; chunks * length];
    let mut sums = vec![(0i64, 0i64); length];
    for (chunk, out) in (start..).zip(means.chunks_exact_mut(length)) {
        sums.fill((0, 0));
        for (tensor, inverse_norm) in peers {
            let range = chunk * kept..(chunk + 1) * kept;
            for (position, code) in tensor.positions[range.clone()].iter().zip(&tensor.codes[range]) {
                let magnitude = i64::from(coefficient::magnitude(*code));
                if magnitude != 0 {
                    let sum = &mut sums[usize::from(*position)];
                    *sum = (sum.0 + magnitude * inverse_norm, sum.1 + 1);
                }
            }
        }
        let mean = |(sum, count): &(i64, i64)| sum / count.max(&1);
        let largest = sums.iter().map(|s| mean(s).unsigned_abs()).max().unwrap_or(0);
        let shift = (u64::BITS - largest.leading_zeros()).saturating_sub(COEFFICIENT_BITS);
        let half = (1i64 << shift) >> 1;
        for (value, sum) in out.iter_mut().zip(&sums) {
            *value = ((mean(sum) + half) >> shift) as f64;
        }
    }
    means
}

#[cfg(test)]
mod tests;
