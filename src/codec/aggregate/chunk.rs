//! One strip of chunks of the aggregate.

use super::{COUNT_BITS, Rule, Weighed, Weight};
use crate::{
    inverse::{self, COEFFICIENT_BITS, Emit, FACTOR, LARGEST_COEFFICIENT, PLAIN_FACTOR},
    levels,
    settings::Transform,
    simd::{Simd, TILE, Work},
};
use std::cell::Cell;

/// Where a strip goes: row after row of the tensor, from the strip's first element on.
pub(super) enum Out<'a> {
    Signs(&'a mut [i8]),
    Floats(&'a mut [f32]),
}

/// Room for one chunk.
pub(super) struct Workspace {
    /// What all peers sent for each position ([`Weighed::number`]), all zero between chunks.
    sums: Box<[i64; TILE]>,
    small: Box<[i32; TILE]>,
    /// The positions that were sent, each once, and their means.
    positions: Box<[u16; TILE + 1]>,
    means: Box<[i64; TILE + 8]>,
    coefficients: Box<[i32; TILE + 8]>,
    inverse: Box<inverse::Room>,
    plain: Vec<i64>,
    /// A strip's update, where it is not kept.
    pub(super) signs: Vec<i8>,
    pub(super) floats: Vec<f32>,
}

thread_local! {
    /// Kept from one strip to the next: to clear so much memory again each time would take as long as to use it.
    static KEPT: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

impl Workspace {
    /// Lends this thread's workspace.
    pub(super) fn with(work: impl FnOnce(&mut Self)) {
        let mut room = KEPT.take().unwrap_or_else(|| Box::new(Self::new()));
        work(&mut room);
        KEPT.set(Some(room));
    }

    fn new() -> Self {
        Self {
            sums: Box::new([0; TILE]),
            small: Box::new([0; TILE]),
            positions: Box::new([0; TILE + 1]),
            means: Box::new([0; TILE + 8]),
            coefficients: Box::new([0; TILE + 8]),
            inverse: inverse::Room::new(),
            plain: Vec::new(),
            signs: Vec::new(),
            floats: Vec::new(),
        }
    }
}

/// Computes the chunks of a strip, from the number of its first chunk on.
pub(super) struct Strip<'a, 'b> {
    pub(super) weighed: &'a Weighed<'a>,
    pub(super) first: usize,
    pub(super) out: Out<'b>,
    pub(super) room: &'a mut Workspace,
}

impl Work for Strip<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weighed, first, mut out, room } = self;
        let layout = weighed.layout;
        let length = match &out {
            Out::Signs(out) => out.len(),
            Out::Floats(out) => out.len(),
        };
        let chunks = length / layout.chunk_len();
        for index in 0..chunks {
            let chunk = first + index;
            match layout.transform {
                Transform::Dct => {
                    let (count, shift) = gather(weighed, chunk, room);
                    transformed(s, weighed, index, (count, shift), &mut out, room);
                }
                Transform::None => as_it_lies(weighed, chunk, index, &mut out, room),
            }
        }
    }
}

/// Adds what all peers sent of a chunk to `sums`.
#[inline(always)]
fn add_up<T: Number>(weighed: &Weighed<'_>, chunk: usize, sums: &mut [T; TILE]) {
    let (kept, per_chunk) = (weighed.layout.kept, weighed.layout.values.levels());
    for peer in &weighed.peers {
        let positions = &peer.tensor.positions[chunk * kept..(chunk + 1) * kept];
        let codes = &peer.tensor.codes[chunk * kept..(chunk + 1) * kept];
        match &peer.weight {
            Weight::Codes(table) => {
                for (position, code) in positions.iter().zip(codes) {
                    let sum = &mut sums[usize::from(*position) % TILE];
                    *sum = *sum + T::of(table[usize::from(*code)]);
                }
            }
            Weight::Levels(factor) => {
                let levels = &peer.tensor.levels[chunk * per_chunk..(chunk + 1) * per_chunk];
                let number = |value: f32| weighed.number((f64::from(value) * factor) as i64);
                let table = levels::table(levels, number);
                let mut values = [T::default(); 64];
                for (positions, codes) in positions.chunks(64).zip(codes.chunks(64)) {
                    // All values first, which vectors do; then each where it belongs, which they cannot.
                    for (value, code) in values.iter_mut().zip(codes) {
                        *value = T::of(levels::choose(&table, *code));
                    }
                    for (position, value) in positions.iter().zip(&values) {
                        let sum = &mut sums[usize::from(*position) % TILE];
                        *sum = *sum + *value;
                    }
                }
            }
        }
    }
}

/// What sums are kept in.
trait Number: Copy + Default + std::ops::Add<Output = Self> {
    fn of(value: i64) -> Self;
}

impl Number for i64 {
    #[inline(always)]
    fn of(value: i64) -> Self {
        value
    }
}

impl Number for i32 {
    #[inline(always)]
    fn of(value: i64) -> Self {
        value as i32
    }
}

/// Adds up what all peers sent of a chunk, and leaves its means as coefficients of at most 13 bits and a sign. Returns how
/// many there are and how far they were shifted: a coefficient stands for itself times `2^shift`.
#[inline(always)]
fn gather(weighed: &Weighed<'_>, chunk: usize, room: &mut Workspace) -> (usize, i32) {
    let kept = weighed.layout.kept;
    add_up(weighed, chunk, &mut room.sums);
    let mut found = 0;
    for peer in &weighed.peers {
        for position in &peer.tensor.positions[chunk * kept..(chunk + 1) * kept] {
            let sum = std::mem::take(&mut room.sums[usize::from(*position) % TILE]);
            room.positions[found] = *position;
            room.means[found] = sum;
            found += usize::from(sum != 0);
        }
    }
    // In eights, so that vectors are full.
    let padded = found.next_multiple_of(8);
    room.means[found..padded].fill(1);
    let means = &mut room.means[..padded];
    let mut most = 0i64;
    if weighed.rule == Rule::Sign {
        for mean in means.iter_mut() {
            // Below 2^49 over below 2^9: the quotient as float64, cut, is the exact quotient, cut.
            let (sum, count) = (*mean >> COUNT_BITS, *mean & ((1 << COUNT_BITS) - 1));
            *mean = (sum as f64 / count as f64) as i64;
            most |= mean.abs();
        }
    } else {
        means.iter().for_each(|mean| most |= mean.abs());
    }
    let shift = (u64::BITS - most.leading_zeros()) as i32 - COEFFICIENT_BITS as i32;
    let half = if shift > 0 { 1i64 << (shift - 1) } else { 0 };
    let (right, left) = (shift.max(0), (-shift).max(0));
    for (coefficient, mean) in room.coefficients.iter_mut().zip(means) {
        let magnitude = (((mean.abs() + half) >> right) << left).min(LARGEST_COEFFICIENT);
        *coefficient = if *mean < 0 { -magnitude as i32 } else { magnitude as i32 };
    }
    (found, shift)
}

/// Brings a chunk's coefficients back. `index` is the chunk's place in its strip, which is a row of the grid.
#[inline(always)]
fn transformed<S: Simd>(
    s: S,
    weighed: &Weighed<'_>,
    index: usize,
    (count, shift): (usize, i32),
    out: &mut Out<'_>,
    room: &mut Workspace,
) {
    let layout = weighed.layout;
    let unit = weighed.unit * 2f64.powi(shift);
    if (layout.chunk_rows, layout.chunk_cols) == (64, 64) {
        let Workspace { positions, coefficients, inverse: room, .. } = room;
        let coefficients = (&positions[..count], &coefficients[..count]);
        match out {
            Out::Signs(out) => {
                let mut rows = SignRows { out: &mut out[index * 64..], cols: layout.cols };
                inverse::inverse(s, coefficients, room, &mut rows);
            }
            Out::Floats(out) => {
                let mut rows = FloatRows { out: &mut out[index * 64..], cols: layout.cols, unit };
                inverse::inverse(s, coefficients, room, &mut rows);
            }
        }
        return;
    }
    let (rows, cols) = (layout.chunk_rows, layout.chunk_cols);
    room.plain.resize(rows * cols, 0);
    let coefficients = (&room.positions[..count], &room.coefficients[..count]);
    inverse::inverse_plain(coefficients, (rows, cols), &mut room.plain);
    let scale = (unit / PLAIN_FACTOR) as f32;
    for (row, numbers) in room.plain.chunks_exact(cols).enumerate() {
        let at = row * layout.cols + index * cols;
        match out {
            Out::Signs(out) => {
                out[at..at + cols].iter_mut().zip(numbers).for_each(|(out, x)| *out = x.signum() as i8);
            }
            Out::Floats(out) => {
                out[at..at + cols].iter_mut().zip(numbers).for_each(|(out, x)| *out = *x as f32 * scale);
            }
        }
    }
}

struct SignRows<'a> {
    out: &'a mut [i8],
    cols: usize,
}

impl Emit for SignRows<'_> {
    #[inline(always)]
    fn row<S: Simd>(&mut self, s: S, row: usize, _: u32, even: &[S::I; 8], odd: &[S::I; 8]) {
        if let Some(out) = self.out[row * self.cols..].first_chunk_mut() {
            s.row_of_signs(even, odd, out);
        }
    }
}

struct FloatRows<'a> {
    out: &'a mut [f32],
    cols: usize,
    unit: f64,
}

impl Emit for FloatRows<'_> {
    #[inline(always)]
    fn row<S: Simd>(&mut self, s: S, row: usize, shift: u32, even: &[S::I; 8], odd: &[S::I; 8]) {
        if let Some(out) = self.out[row * self.cols..].first_chunk_mut() {
            let scale = self.unit * f64::from(1u32 << shift) / (FACTOR * FACTOR);
            s.row_of_floats(even, odd, scale as f32, out);
        }
    }
}

/// A run without a transform: sums, and their signs or the mean.
#[inline(always)]
fn as_it_lies(weighed: &Weighed<'_>, chunk: usize, index: usize, out: &mut Out<'_>, room: &mut Workspace) {
    let length = weighed.layout.chunk_len();
    let at = index * length..(index + 1) * length;
    match out {
        Out::Signs(out) => {
            add_up(weighed, chunk, &mut room.sums);
            for (out, sum) in out[at].iter_mut().zip(room.sums.iter_mut()) {
                *out = std::mem::take(sum).signum() as i8;
            }
        }
        Out::Floats(out) if weighed.peers.len() == 1 => {
            // Each position once: no sums are needed.
            let out = &mut out[at];
            out.fill(0.0);
            let (peer, unit) = (&weighed.peers[0], weighed.unit as f32);
            let (kept, per_chunk) = (weighed.layout.kept, weighed.layout.values.levels());
            let levels = &peer.tensor.levels[chunk * per_chunk..(chunk + 1) * per_chunk];
            let table = match &peer.weight {
                Weight::Codes(_) => [0; 4],
                Weight::Levels(factor) => levels::table(levels, |level| (f64::from(level) * factor) as i64),
            };
            let positions = &peer.tensor.positions[chunk * kept..(chunk + 1) * kept];
            let codes = &peer.tensor.codes[chunk * kept..(chunk + 1) * kept];
            for (position, code) in positions.iter().zip(codes) {
                let value = match &peer.weight {
                    Weight::Codes(table) => table[usize::from(*code)],
                    Weight::Levels(_) => levels::choose(&table, *code),
                };
                if let Some(out) = out.get_mut(usize::from(*position)) {
                    *out = value as f32 * unit;
                }
            }
        }
        Out::Floats(out) => {
            add_up(weighed, chunk, &mut room.small);
            let unit = weighed.unit as f32;
            for (out, sum) in out[at].iter_mut().zip(room.small.iter_mut()) {
                *out = std::mem::take(sum) as f32 * unit;
            }
        }
    }
}
