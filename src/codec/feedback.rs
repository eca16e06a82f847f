//! What a miner has learned and not yet sent, and the choice of what it sends of it.
//!
//! For each tensor: `C <- beta C + T(G)`, with `T` the run's transform; the `top_k` largest of each chunk are written in
//! a few bits; what those bits stand for is taken off `C`. Whatever is not sent, rounding included, stays in `C` and is
//! sent in a later window: *error feedback*.

use crate::{
    Codec, SparseTensor, TensorLayout, eight_bit, levels,
    select::{self, Candidates},
    settings::{Transform, Values},
    simd::{Path, Simd, TILE, Tile, Work},
    transform::{self, Source},
};
use rayon::prelude::*;

/// The largest magnitude of a gradient that can be encoded: 2^80. The coefficients of a chunk are at most 64 times its
/// largest element, and a state is at most `1 / (1 - beta)` times that: less than [`LARGEST_STATE`] for `beta` below
/// 0.9999.
pub const LARGEST: f32 = f32::from_bits((80 + 127) << 23);
/// The largest magnitude of a state: 2^100, which every kind of code can say.
pub const LARGEST_STATE: f32 = f32::from_bits((100 + 127) << 23);

/// Why a gradient cannot be encoded. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Not one gradient for each tensor of the layout.
    #[error("{found} gradients were given for {expected} tensors")]
    Count {
        /// Gradients given.
        found: usize,
        /// Tensors of the layout.
        expected: usize,
    },
    /// A gradient has another number of elements than its tensor.
    #[error("the gradient of {name} has {found} elements, the tensor {expected}")]
    Length {
        /// The tensor.
        name: String,
        /// Elements given.
        found: usize,
        /// Elements of the tensor.
        expected: usize,
    },
    /// NaN, infinity, or numbers too large to send.
    #[error("the gradient of {0} is not finite, or too large to send")]
    NotFinite(String),
}

/// The state of one miner, tensor by tensor, as coefficients: chunk after chunk, each in the order of its positions.
#[derive(Debug, Clone)]
pub struct ErrorFeedback {
    codec: Codec,
    tensors: Vec<Vec<f32>>,
}

impl ErrorFeedback {
    /// A miner's state at its first window: zeros.
    pub fn new(codec: &Codec) -> Self {
        let tensors = codec.tensors().iter().map(|t| vec![0.0; t.len()]).collect();
        Self { codec: codec.clone(), tensors }
    }

    /// A state that was saved: as [`Self::tensors`] gave it.
    ///
    /// # Errors
    /// Tensors that are not the codec's, or hold numbers that no state can have.
    pub fn from_tensors(codec: &Codec, tensors: Vec<Vec<f32>>) -> Result<Self, EncodeError> {
        check(codec, &tensors.iter().map(Vec::as_slice).collect::<Vec<_>>(), LARGEST_STATE)?;
        Ok(Self { codec: codec.clone(), tensors })
    }

    /// A state from the momentum itself, one slice a tensor in row-major order: its transform.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn from_momentum(codec: &Codec, momentum: &[&[f32]]) -> Result<Self, EncodeError> {
        check(codec, momentum, LARGEST)?;
        // Where values wait for the exponent of their tensor, choosing them does not take them off.
        let mut state = Self::new(codec);
        for ((layout, state), momentum) in codec.tensors().iter().zip(&mut state.tensors).zip(momentum) {
            let layout = TensorLayout { values: Values::Eight, ..layout.clone() };
            choose_all(codec.path(), &layout, state, momentum, 0.0);
        }
        Ok(state)
    }

    /// The coefficients, in the order of the layout.
    pub fn tensors(&self) -> &[Vec<f32>] {
        &self.tensors
    }

    /// How it is laid out.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.tensors.iter_mut().for_each(|t| t.fill(0.0));
    }

    /// Adds one window's gradients, one slice a tensor in row-major order, and takes off what is to be sent of them.
    ///
    /// # Errors
    /// Gradients that do not fit the layout or are not finite; then nothing was changed.
    pub fn encode(&mut self, gradients: &[&[f32]]) -> Result<Vec<SparseTensor>, EncodeError> {
        check(&self.codec, gradients, LARGEST)?;
        let beta = self.codec.settings().momentum as f32;
        let path = self.codec.path();
        let tensors = self.codec.tensors().iter().zip(&mut self.tensors).zip(gradients);
        Ok(tensors
            .map(|((layout, state), gradient)| encode_tensor(path, layout, state, gradient, beta))
            .collect())
    }

    /// Puts back what [`Self::encode`] took off for something that was not sent after all. What comes back is what was taken off, but
    /// for a rounding of the sum.
    ///
    /// # Errors
    /// Tensors that are not the codec's; then nothing was changed.
    pub fn put_back(&mut self, sent: &[SparseTensor]) -> Result<(), EncodeError> {
        fit(&self.codec, sent)?;
        for ((layout, state), sent) in self.codec.tensors().iter().zip(&mut self.tensors).zip(sent) {
            let unit = sent.unit(layout);
            let chunks = state.par_chunks_mut(layout.chunk_len()).zip(sent.positions.par_chunks(layout.kept));
            chunks.enumerate().for_each(|(chunk, (state, positions))| {
                for (position, value) in positions.iter().zip(sent.values_of_chunk(layout, chunk)) {
                    if let Some(coefficient) = state.get_mut(usize::from(*position)) {
                        *coefficient += value * unit;
                    }
                }
            });
        }
        Ok(())
    }

    /// What an old state is worth when something was sent since, which it knows nothing of: the coefficients that were sent are zero. What
    /// they held was sent with them; keeping it would send it twice. With `later`, of a window after the state's, what stays is a
    /// window older first (`beta`).
    ///
    /// # Errors
    /// Tensors that are not the codec's; then nothing was changed.
    pub fn was_sent(&mut self, sent: &[SparseTensor], later: bool) -> Result<(), EncodeError> {
        fit(&self.codec, sent)?;
        let beta = if later { self.codec.settings().momentum as f32 } else { 1.0 };
        for ((layout, state), sent) in self.codec.tensors().iter().zip(&mut self.tensors).zip(sent) {
            let chunks = state.par_chunks_mut(layout.chunk_len()).zip(sent.positions.par_chunks(layout.kept));
            chunks.for_each(|(state, positions)| {
                state.iter_mut().for_each(|coefficient| *coefficient *= beta);
                for position in positions {
                    if let Some(coefficient) = state.get_mut(usize::from(*position)) {
                        *coefficient = 0.0;
                    }
                }
            });
        }
        Ok(())
    }
}

/// Whether these are tensors of the codec's.
fn fit(codec: &Codec, sent: &[SparseTensor]) -> Result<(), EncodeError> {
    let (found, expected) = (sent.len(), codec.tensors().len());
    if found != expected {
        return Err(EncodeError::Count { found, expected });
    }
    let mut both = codec.tensors().iter().zip(sent);
    match both.find(|(layout, sent)| !sent.has_shape(layout)) {
        None => Ok(()),
        Some((layout, sent)) => {
            let (name, found) = (layout.name.clone(), sent.positions.len());
            Err(EncodeError::Length { name, found, expected: layout.kept_values() })
        }
    }
}

fn check(codec: &Codec, tensors: &[&[f32]], limit: f32) -> Result<(), EncodeError> {
    let (found, expected) = (tensors.len(), codec.tensors().len());
    if found != expected {
        return Err(EncodeError::Count { found, expected });
    }
    codec
        .tensors()
        .iter()
        .zip(tensors)
        .try_for_each(|(layout, tensor)| check_one(codec.path(), layout, tensor, limit))
}

fn check_one(path: Path, layout: &TensorLayout, tensor: &[f32], limit: f32) -> Result<(), EncodeError> {
    if tensor.len() != layout.len() {
        let (name, found) = (layout.name.clone(), tensor.len());
        return Err(EncodeError::Length { name, found, expected: layout.len() });
    }
    let most = tensor.par_chunks(1 << 16).map(|part| path.run(Largest(part))).max().unwrap_or(0);
    if most > limit.to_bits() { Err(EncodeError::NotFinite(layout.name.clone())) } else { Ok(()) }
}

/// The largest magnitude of some numbers, as bits: NaN counts as largest of all.
struct Largest<'a>(&'a [f32]);

impl Work for Largest<'_> {
    type Out = u32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u32 {
        let (rows, rest) = self.0.as_chunks::<64>();
        let mut most = [s.splat_whole(0); 4];
        for row in rows {
            for (i, at) in (0..64).step_by(S::LANES).enumerate() {
                most[i % 4] = s.max_magnitude(s.load(row, at), most[i % 4]);
            }
        }
        let most = most.into_iter().fold(0, |largest, m| largest.max(s.largest(m)));
        rest.iter().fold(most, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff))
    }
}

fn encode_tensor(
    path: Path,
    layout: &TensorLayout,
    state: &mut [f32],
    gradient: &[f32],
    beta: f32,
) -> SparseTensor {
    let (mut sent, mut values, most) = choose_all(path, layout, state, gradient, beta);
    if layout.values == Values::Eight {
        // The exponent is that of the largest of the whole tensor, so that codes have to wait for all strips. What is
        // too large for it was refused before anything was changed.
        let exponent = eight_bit::shared_exponent(f32::from_bits(most)).unwrap_or(eight_bit::MAX_EXPONENT);
        sent.exponent = exponent;
        let (strip, kept) = (layout.strip_chunks(), layout.kept);
        state
            .par_chunks_mut(strip * layout.chunk_len())
            .zip(sent.positions.par_chunks(strip * kept))
            .zip(values.par_chunks_mut(strip * kept).zip(sent.codes.par_chunks_mut(strip * kept)))
            .for_each(|((state, positions), (values, codes))| {
                path.run(TakeOff { layout, exponent, state, positions, values, codes });
            });
    }
    sent
}

/// See [`SparseTensor::of`].
pub(crate) fn encode_coefficients(
    layout: &TensorLayout,
    coefficients: &[f32],
) -> Result<SparseTensor, EncodeError> {
    // Coefficients lie chunk after chunk, as a tensor without a transform does.
    let (chunk_cols, cols) = (layout.chunk_len(), layout.len());
    let flat = TensorLayout {
        transform: Transform::None,
        rows: 1,
        chunk_rows: 1,
        cols,
        chunk_cols,
        ..layout.clone()
    };
    check_one(Path::portable(), &flat, coefficients, LARGEST)?;
    Ok(encode_tensor(Path::portable(), &flat, &mut vec![0.0; cols], coefficients, 0.0))
}

/// Brings a tensor's state up to date and chooses what is sent of it: positions and values, and the largest magnitude of the
/// state, as bits. What has levels is coded and taken off at once.
fn choose_all(
    path: Path,
    layout: &TensorLayout,
    state: &mut [f32],
    gradient: &[f32],
    beta: f32,
) -> (SparseTensor, Vec<f32>, u32) {
    let (strip, kept, per_chunk) = (layout.strip_chunks(), layout.kept, layout.values.levels());
    let mut sent = SparseTensor {
        exponent: 0,
        levels: vec![0; layout.levels()],
        positions: vec![0; layout.kept_values()],
        codes: vec![0; layout.kept_values()],
    };
    let mut values = vec![0f32; layout.kept_values()];
    let of_gradient = match layout.transform {
        Transform::Dct => layout.chunk_rows * layout.cols,
        Transform::None => strip * layout.chunk_len(),
    };
    let strips = layout.chunks().div_ceil(strip);
    let mut levels: Vec<&mut [u16]> = match per_chunk {
        0 => (0..strips).map(|_| &mut [][..]).collect(),
        _ => sent.levels.chunks_mut(strip * per_chunk).collect(),
    };
    let most = state
        .par_chunks_mut(strip * layout.chunk_len())
        .zip(gradient.par_chunks(of_gradient))
        .zip(sent.positions.par_chunks_mut(strip * kept).zip(values.par_chunks_mut(strip * kept)))
        .zip(sent.codes.par_chunks_mut(strip * kept).zip(levels.par_iter_mut()))
        .map(|(((state, gradient), (positions, values)), (codes, levels))| {
            Candidates::with(|room| {
                path.run(Choose { layout, state, gradient, beta, positions, values, codes, levels, room })
            })
        })
        .max()
        .unwrap_or(0);
    (sent, values, most)
}

/// Brings a strip of chunks up to date and chooses of each what is sent; what has levels is coded and taken off at once.
/// Gives the largest magnitude, as bits.
struct Choose<'a> {
    layout: &'a TensorLayout,
    state: &'a mut [f32],
    gradient: &'a [f32],
    beta: f32,
    positions: &'a mut [u16],
    values: &'a mut [f32],
    codes: &'a mut [u8],
    levels: &'a mut [u16],
    room: &'a mut Candidates,
}

impl Work for Choose<'_> {
    type Out = u32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u32 {
        let Self { layout, state, gradient, beta, positions, values, codes, levels, room } = self;
        let (length, kept, per_chunk) = (layout.chunk_len(), layout.kept, layout.values.levels());
        let mut most = 0;
        let mut between = transform::Room::new(s);
        let chosen = positions.chunks_exact_mut(kept).zip(values.chunks_exact_mut(kept));
        for (chunk, ((positions, values), codes)) in chosen.zip(codes.chunks_exact_mut(kept)).enumerate() {
            let (before, after) = state.split_at_mut((chunk + 1) * length);
            let state = &mut before[chunk * length..];
            let largest = match layout.transform {
                Transform::Dct => {
                    let source = Source {
                        gradient: &gradient[chunk * layout.chunk_cols..],
                        stride: layout.cols,
                        next: (gradient.get((chunk + 1) * layout.chunk_cols..).unwrap_or(&[]), after),
                    };
                    transformed(s, layout, &source, state, beta, &mut between, room, positions, values)
                }
                Transform::None => {
                    let part = &gradient[chunk * length..(chunk + 1) * length];
                    as_it_lies(s, part, state, beta, room, positions, values)
                }
            };
            most = most.max(largest);
            if per_chunk > 0 {
                levels::encode_all(values, &mut levels[chunk * per_chunk..(chunk + 1) * per_chunk], codes);
                put_back(state, positions, values);
            }
        }
        most
    }
}

/// A chunk's coefficients, and which of them are chosen.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a chunk's data, its results, and room to work in")]
fn transformed<S: Simd>(
    s: S,
    layout: &TensorLayout,
    source: &Source<'_>,
    state: &mut [f32],
    beta: f32,
    between: &mut transform::Room<S>,
    room: &mut Candidates,
    positions: &mut [u16],
    values: &mut [f32],
) -> u32 {
    match tile_of(state).filter(|_| layout.chunk_rows == 64) {
        Some(tile) => {
            let mut maxima = [0i32; 64];
            transform::update(s, source, tile, beta, &mut maxima, between);
            select::largest(s, tile, &maxima.map(|m| m as u32), room, positions, values)
        }
        None => {
            let sides = (layout.chunk_rows, layout.chunk_cols);
            transform::update_plain(source.gradient, source.stride, sides, state, beta);
            select::largest_plain(state, positions, values)
        }
    }
}

/// The same without a transform.
#[inline(always)]
fn as_it_lies<S: Simd>(
    s: S,
    gradient: &[f32],
    state: &mut [f32],
    beta: f32,
    room: &mut Candidates,
    positions: &mut [u16],
    values: &mut [f32],
) -> u32 {
    match tile_of(state) {
        Some(tile) => {
            let mut maxima = [[0i32; 64]; 2];
            add(s, tile, gradient, beta, &mut maxima);
            let maxima = maxima.map(|half| half.map(|m| m as u32));
            select::largest(s, tile, maxima.as_flattened(), room, positions, values)
        }
        None => {
            state.iter_mut().zip(gradient).for_each(|(c, g)| *c = *c * beta + g);
            select::largest_plain(state, positions, values)
        }
    }
}

/// A chunk of 4096 in rows of 64.
#[inline(always)]
fn tile_of(chunk: &mut [f32]) -> Option<&mut Tile> {
    if chunk.len() == TILE { chunk.as_chunks_mut::<64>().0.first_chunk_mut() } else { None }
}

/// What is left of the chosen values goes back to where they came from.
#[inline(always)]
fn put_back(state: &mut [f32], positions: &[u16], values: &[f32]) {
    for (position, left) in positions.iter().zip(values) {
        state[usize::from(*position)] = *left;
    }
}

/// `C <- beta C + G` for a run of 4096, with the largest magnitudes of 128 groups: each half of the run, by the place in
/// its rows of 64.
#[inline(always)]
fn add<S: Simd>(s: S, tile: &mut Tile, gradient: &[f32], beta: f32, maxima: &mut [[i32; 64]; 2]) {
    let beta = s.splat(beta);
    let (gradient, _) = gradient.as_chunks::<64>();
    let zero = s.splat_whole(0);
    for ((tile, gradient), maxima) in tile.chunks_exact_mut(32).zip(gradient.chunks_exact(32)).zip(maxima) {
        // At most sixteen vectors hold a row's places.
        let mut most = [zero; 16];
        for (row, from) in tile.iter_mut().zip(gradient) {
            for i in 0..64 / S::LANES {
                let at = i * S::LANES;
                let c = s.add(s.mul(s.load(row, at), beta), s.load(from, at));
                s.store(c, row, at);
                most[i] = s.max_magnitude(c, most[i]);
            }
        }
        for i in 0..64 / S::LANES {
            s.store_whole(most[i], maxima, i * S::LANES);
        }
    }
}

/// Codes the chosen values of a strip of chunks in 8 bits, and leaves in the state what the codes do not say.
struct TakeOff<'a> {
    layout: &'a TensorLayout,
    exponent: i8,
    state: &'a mut [f32],
    positions: &'a [u16],
    values: &'a mut [f32],
    codes: &'a mut [u8],
}

impl Work for TakeOff<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { layout, exponent, state, positions, values, codes } = self;
        let kept = layout.kept;
        let chunks = state.chunks_exact_mut(layout.chunk_len()).zip(positions.chunks_exact(kept));
        let coded = values.chunks_exact_mut(kept).zip(codes.chunks_exact_mut(kept));
        for ((state, positions), (values, codes)) in chunks.zip(coded) {
            eight_bit::encode_all(values, exponent, codes);
            put_back(state, positions, values);
        }
    }
}
