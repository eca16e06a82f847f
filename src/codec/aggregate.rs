//! What the accepted pseudo-gradients add up to, and the step that everybody takes.
//!
//! Everyone must get the same bits, on whatever hardware. So sums are taken in whole numbers, which no order of
//! peers, threads or vectors can change, and the few float64 operations on the way are single ones that IEEE 754 defines
//! to the last bit (`docs/protocol.md` has every formula and the bounds).
//!
//! *[`Rule::Sign`]*, DeMo: every peer's values of a tensor are divided by their L2 norm, in units of `2^-40`; each
//! coefficient is averaged over the peers that sent it (a code of 0 counts as not sent); a chunk's means are shifted to 13
//! bits; the inverse transform brings them back; the sign of that is the update.
//!
//! *[`Rule::Mean`]*, SparseLoCo: who sends a longer update than the median peer is brought down to it; the update is the
//! mean over all peers, a peer that did not send a coefficient counting as 0.

mod chunk;

use crate::{
    Codec, eight_bit,
    layout::TensorLayout,
    levels,
    settings::{Transform, Values},
    simd::{Path, Simd, Work},
    sparse::SparseTensor,
};
use chunk::{Out, Strip, Workspace};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Peers whose sum is sure to fit.
pub const MAX_PEERS: usize = 511;
/// Bits behind the point of a value over its tensor's norm.
const NORMALISED_BITS: i32 = 40;

/// Bits of a sum that count peers, under [`Rule::Sign`] with a transform.
const COUNT_BITS: u32 = 9;

/// How peers become one update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// The sign of the mean of peers at equal norm.
    #[default]
    Sign,
    /// The mean of peers, none longer than the median one.
    Mean,
}

/// How long each peer's tensors count under [`Rule::Sign`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// All the same: nobody outweighs the others by sending larger numbers. What every run uses.
    Equal,
    /// As they were sent. For simulations that ask what equal norms are good for.
    AsSent,
}

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

/// Some peers' update, not yet computed: it is made tensor by tensor, where it is wanted.
#[derive(Debug)]
pub struct Aggregate<'a> {
    codec: &'a Codec,
    rule: Rule,
    tensors: Vec<Weighed<'a>>,
}

/// One tensor of every peer, with what its codes count.
#[derive(Debug)]
struct Weighed<'a> {
    layout: &'a TensorLayout,
    rule: Rule,
    peers: Vec<Contribution<'a>>,
    /// What 1 in the sum stands for: a peer's value is a whole number of it. Of no meaning under [`Rule::Sign`].
    unit: f64,
}

#[derive(Debug)]
struct Contribution<'a> {
    tensor: &'a SparseTensor,
    weight: Weight,
}

/// From a code to a whole number.
#[derive(Debug)]
enum Weight {
    /// 8 bits: a number for each code ([`Weighed::number`]).
    Codes(Box<[i64; 256]>),
    /// Levels: what they are multiplied by before the fraction is cut off.
    Levels(f64),
}

/// What somebody else needs to compute one tensor of an aggregate: a GPU.
#[derive(Debug)]
pub struct Parts<'a> {
    /// How the tensor is cut.
    pub layout: &'a TensorLayout,
    /// Each peer's tensor, and what its codes count.
    pub peers: Vec<(&'a SparseTensor, PeerWeight<'a>)>,
    /// What 1 in a sum stands for under [`Rule::Mean`].
    pub unit: f64,
}

/// From a peer's code to the whole number that enters a sum.
#[derive(Debug, Clone, Copy)]
pub enum PeerWeight<'a> {
    /// With 8 bits: the number of each code.
    Codes(&'a [i64; 256]),
    /// With levels: the level times this, cut. Under [`Rule::Sign`] with a transform a number `n` other than 0 enters as `512 n + 1`.
    Levels(f64),
}

impl Codec {
    /// Some peers' update. `peers` holds each peer's tensors in the layout's order; the result does not depend on the
    /// order of peers.
    ///
    /// # Errors
    /// No peers or more than [`MAX_PEERS`], or tensors that do not fit the layout.
    pub fn aggregate<'a>(
        &'a self,
        rule: Rule,
        peers: &[&'a [SparseTensor]],
    ) -> Result<Aggregate<'a>, AggregateError> {
        self.aggregate_with(rule, Norms::Equal, peers)
    }

    /// [`Self::aggregate`] with a choice of norms.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub fn aggregate_with<'a>(
        &'a self,
        rule: Rule,
        norms: Norms,
        peers: &[&'a [SparseTensor]],
    ) -> Result<Aggregate<'a>, AggregateError> {
        match peers.len() {
            0 => return Err(AggregateError::NoPeers),
            1..=MAX_PEERS => {}
            more => return Err(AggregateError::TooManyPeers(more)),
        }
        let tensors = self.tensors().par_iter().enumerate().map(|(index, layout)| {
            let misfit = || AggregateError::Misfit(layout.name.clone());
            let tensor = |peer: &&'a [SparseTensor]| {
                peer.get(index).filter(|tensor| tensor.fits_on(layout, self.path()))
            };
            let tensors = peers.par_iter().map(tensor).collect::<Option<Vec<_>>>().ok_or_else(misfit)?;
            Ok(Weighed::new(self.path(), layout, rule, norms, &tensors))
        });
        Ok(Aggregate { codec: self, rule, tensors: tensors.collect::<Result<_, _>>()? })
    }
}

impl Aggregate<'_> {
    /// Under which rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// One tensor, for whoever computes it elsewhere.
    pub fn parts(&self, tensor: usize) -> Parts<'_> {
        let weighed = &self.tensors[tensor];
        let peers = weighed.peers.iter().map(|peer| match &peer.weight {
            Weight::Codes(codes) => (peer.tensor, PeerWeight::Codes(codes.as_ref())),
            Weight::Levels(factor) => (peer.tensor, PeerWeight::Levels(*factor)),
        });
        Parts { layout: weighed.layout, peers: peers.collect(), unit: weighed.unit }
    }

    /// The signs of one tensor, row after row: -1, 0 or 1 for each parameter. `out` has the tensor's length.
    pub fn signs(&self, tensor: usize, out: &mut [i8]) {
        let weighed = &self.tensors[tensor];
        let strip = weighed.layout.strip_chunks() * weighed.layout.chunk_len();
        out.par_chunks_mut(strip).enumerate().for_each(|(index, out)| {
            Workspace::with(|room| self.strip(weighed, index, Out::Signs(out), room));
        });
    }

    /// The numbers of one tensor, row after row. `out` has the tensor's length. Under [`Rule::Sign`] they are what the
    /// signs are taken of, in a unit of their own for each chunk.
    pub fn mean(&self, tensor: usize, out: &mut [f32]) {
        let weighed = &self.tensors[tensor];
        let strip = weighed.layout.strip_chunks() * weighed.layout.chunk_len();
        out.par_chunks_mut(strip).enumerate().for_each(|(index, out)| {
            Workspace::with(|room| self.strip(weighed, index, Out::Floats(out), room));
        });
    }

    /// Takes the step of one tensor: `theta -= size * update` for each of its parameters.
    ///
    /// With signs the product is exact, and there is one rounding; with means there are two. Never fused.
    pub fn step(&self, tensor: usize, parameters: &mut [f32], size: f32) {
        let strip = self.tensors[tensor].strip_len();
        parameters.par_chunks_mut(strip).enumerate().for_each(|(index, parameters)| {
            self.step_strip(tensor, index, Target { before: None, parameters }, size);
        });
    }

    /// The same from other parameters: `theta = before - size * update`. Both have the tensor's length.
    pub fn step_from(&self, tensor: usize, before: &[f32], parameters: &mut [f32], size: f32) {
        let strip = self.tensors[tensor].strip_len();
        let strips = parameters.par_chunks_mut(strip).zip(before.par_chunks(strip)).enumerate();
        strips.for_each(|(index, (parameters, before))| {
            self.step_strip(tensor, index, Target { before: Some(before), parameters }, size);
        });
    }

    fn step_strip(&self, tensor: usize, index: usize, target: Target<'_>, size: f32) {
        let (weighed, length) = (&self.tensors[tensor], target.parameters.len());
        let path = self.codec.path();
        Workspace::with(|room| match self.rule {
            Rule::Sign => {
                let mut signs = std::mem::take(&mut room.signs);
                signs.resize(length, 0);
                self.strip(weighed, index, Out::Signs(&mut signs), room);
                path.run(Step { target, update: &signs, size });
                room.signs = signs;
            }
            Rule::Mean => {
                let mut mean = std::mem::take(&mut room.floats);
                mean.resize(length, 0.0);
                self.strip(weighed, index, Out::Floats(&mut mean), room);
                path.run(Step { target, update: &mean, size });
                room.floats = mean;
            }
        });
    }

    fn strip(&self, weighed: &Weighed<'_>, index: usize, out: Out<'_>, room: &mut Workspace) {
        self.codec.path().run(Strip { weighed, first: index * weighed.layout.strip_chunks(), out, room });
    }
}

/// What a step changes, and where it starts from: itself, or other parameters.
struct Target<'a> {
    before: Option<&'a [f32]>,
    parameters: &'a mut [f32],
}

/// `theta = before - size * update`.
struct Step<'a, T> {
    target: Target<'a>,
    update: &'a [T],
    size: f32,
}

impl<T: Copy + Into<f32>> Work for Step<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Target { before, parameters } = self.target;
        match before {
            None => {
                for (theta, update) in parameters.iter_mut().zip(self.update) {
                    *theta -= (*update).into() * self.size;
                }
            }
            Some(before) => {
                for ((theta, before), update) in parameters.iter_mut().zip(before).zip(self.update) {
                    *theta = before - (*update).into() * self.size;
                }
            }
        }
    }
}

/// A value as it enters a sum: itself, or, where those who sent one are counted, itself times 512 and 1. A value of
/// nothing is as if it had not been sent.
fn number(layout: &TensorLayout, rule: Rule, value: i64) -> i64 {
    match (layout.transform, rule) {
        (Transform::Dct, Rule::Sign) => (value << COUNT_BITS) + i64::from(value != 0),
        _ => value,
    }
}

impl<'a> Weighed<'a> {
    /// Elements of a strip.
    fn strip_len(&self) -> usize {
        self.layout.strip_chunks() * self.layout.chunk_len()
    }

    #[inline(always)]
    fn number(&self, value: i64) -> i64 {
        number(self.layout, self.rule, value)
    }

    fn new(
        path: Path,
        layout: &'a TensorLayout,
        rule: Rule,
        norms: Norms,
        tensors: &[&'a SparseTensor],
    ) -> Self {
        let length = |tensor: &&SparseTensor| path.run(Norm { tensor, layout });
        let lengths: Vec<f64> = tensors.par_iter().map(length).collect();
        let (factors, unit) = match (rule, norms) {
            (Rule::Sign, Norms::Equal) => {
                let one = 2f64.powi(NORMALISED_BITS);
                (lengths.iter().map(|length| if *length > 0.0 { one / length } else { 0.0 }).collect(), 1.0)
            }
            (Rule::Sign, Norms::AsSent) => {
                (vec![scale_to(layout, tensors, &[], NORMALISED_BITS); tensors.len()], 1.0)
            }
            (Rule::Mean, _) => {
                let clipped = clip(&lengths);
                // The sum of all peers stays below 2^30.
                let bits = 30 - (tensors.len() as u64).next_power_of_two().trailing_zeros() as i32;
                let scale = scale_to(layout, tensors, &clipped, bits);
                let factors: Vec<f64> = clipped.iter().map(|clip| clip * scale).collect();
                (factors, 1.0 / scale / tensors.len() as f64)
            }
        };
        let peer = |(tensor, factor): (&&'a SparseTensor, &f64)| {
            let weight = match layout.values {
                Values::Eight => {
                    let unit = factor * f64::from(eight_bit::scale(tensor.exponent));
                    let mut codes = Box::new([0; 256]);
                    for (code, out) in (0..=u8::MAX).zip(codes.iter_mut()) {
                        *out = number(layout, rule, (f64::from(eight_bit::magnitude(code)) * unit) as i64);
                    }
                    Weight::Codes(codes)
                }
                Values::Two | Values::One => Weight::Levels(*factor),
            };
            Contribution { tensor, weight }
        };
        Self { layout, rule, peers: tensors.iter().zip(&factors).map(peer).collect(), unit }
    }
}

/// See [`Codec::decode`]: the mean of one peer.
pub(crate) fn decode(
    codec: &Codec,
    tensor: usize,
    sparse: &SparseTensor,
    out: &mut [f32],
) -> Result<(), AggregateError> {
    let misfit = |name: &str| AggregateError::Misfit(name.to_owned());
    let layout = codec.tensors().get(tensor).ok_or_else(|| misfit("that was asked for"))?;
    if !sparse.fits(layout) || out.len() != layout.len() {
        return Err(misfit(&layout.name));
    }
    let weighed = Weighed::new(codec.path(), layout, Rule::Mean, Norms::Equal, &[sparse]);
    Aggregate { codec, rule: Rule::Mean, tensors: vec![weighed] }.mean(0, out);
    Ok(())
}

/// The L2 norm of a tensor's values: the root of a sum of squares that is exact with 8 bits, and is taken in the order of
/// chunks otherwise.
struct Norm<'a> {
    tensor: &'a SparseTensor,
    layout: &'a TensorLayout,
}

impl Work for Norm<'_> {
    type Out = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let Self { tensor, layout } = self;
        if layout.values == Values::Eight {
            // Four counts of each code, so that equal codes in a row need not wait for each other.
            let mut counts = [[0u32; 4]; 256];
            for four in tensor.codes.chunks(4) {
                for (i, code) in four.iter().enumerate() {
                    counts[usize::from(*code)][i] += 1;
                }
            }
            let square = |code: u8| u128::from(eight_bit::magnitude(code).unsigned_abs()).pow(2);
            let count = |of: [u32; 4]| of.iter().map(|n| u128::from(*n)).sum::<u128>();
            let squares: u128 = (0..=255).zip(counts).map(|(code, of)| square(code) * count(of)).sum();
            return (squares as f64).sqrt() * f64::from(eight_bit::scale(tensor.exponent));
        }
        let (kept, per_chunk) = (layout.kept, layout.values.levels());
        let mut squares = 0f64;
        for (codes, levels) in tensor.codes.chunks_exact(kept).zip(tensor.levels.chunks_exact(per_chunk)) {
            let mut upper = 0u16;
            for code in codes {
                upper += u16::from(code & 2);
            }
            let upper = f64::from(upper / 2);
            let square =
                |i: usize| levels.get(i).map_or(0.0, |level| f64::from(levels::decode(*level)).powi(2));
            squares += square(0) * (kept as f64 - upper) + square(1) * upper;
        }
        squares.sqrt()
    }
}

/// What each peer is multiplied by, so that none is longer than the median one (of an even number the lower middle).
fn clip(lengths: &[f64]) -> Vec<f64> {
    let mut sorted = lengths.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get((sorted.len().max(1) - 1) / 2).copied().unwrap_or(0.0);
    lengths.iter().map(|length| if *length > median { median / length } else { 1.0 }).collect()
}

/// The power of two that brings the largest of all peers' values, each peer's times its factor, to just below `2^bits`.
fn scale_to(layout: &TensorLayout, tensors: &[&SparseTensor], factors: &[f64], bits: i32) -> f64 {
    let largest = |tensor: &SparseTensor| match layout.values {
        Values::Eight => {
            let code = tensor.codes.iter().fold(0, |most, code| most.max(code & 0x7f));
            f64::from(eight_bit::magnitude(code)) * f64::from(eight_bit::scale(tensor.exponent))
        }
        Values::Two | Values::One => {
            // Of numbers that are not negative the bits order as they do.
            f64::from(levels::decode(tensor.levels.iter().fold(0, |most, level| most.max(level & 0x7fff))))
        }
    };
    let of_all = tensors.iter().enumerate().map(|(i, t)| largest(t) * factors.get(i).copied().unwrap_or(1.0));
    let most = of_all.fold(0f64, f64::max);
    // 2^e is the power of two above it.
    let e = (most.to_bits() >> 52) as i32 - 1023 + 1;
    if most > 0.0 { 2f64.powi((bits - e).clamp(-1000, 1000)) } else { 1.0 }
}

#[cfg(test)]
mod tests;
