//! The kept coefficients of one tensor, in memory.

use crate::{
    eight_bit,
    feedback::{self, EncodeError},
    layout::TensorLayout,
    levels,
    settings::Values,
    simd::{Path, Simd, Work},
};

/// The kept coefficients of one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SparseTensor {
    /// Of values of 8 bits: the power of two that a code of magnitude 1 stands for, [`eight_bit::MIN_EXPONENT`] to
    /// [`eight_bit::MAX_EXPONENT`]. Otherwise 0.
    pub exponent: i8,
    /// Of values of one or two bits: each chunk's levels, bfloat16.
    pub levels: Vec<u16>,
    /// Positions inside their chunk, chunk after chunk, [`TensorLayout::kept`] for each, strictly
    /// ascending inside a chunk.
    pub positions: Vec<u16>,
    /// One code for each position ([`eight_bit`], [`levels`]).
    pub codes: Vec<u8>,
}

impl SparseTensor {
    /// A tensor of which nothing is sent: the first positions of every chunk, with codes of nothing.
    pub fn nothing(layout: &TensorLayout) -> Self {
        let kept = layout.kept as u16;
        let code = if layout.values == Values::Eight { 0 } else { 1 };
        Self {
            exponent: 0,
            levels: vec![0; layout.levels()],
            positions: (0..layout.chunks()).flat_map(|_| 0..kept).collect(),
            codes: vec![code; layout.kept_values()],
        }
    }

    /// What an honest sender would send of these coefficients: chunk after chunk, each in the order of its positions.
    ///
    /// # Errors
    /// Another number of coefficients than the tensor has, and ones that are not finite or too large.
    pub fn of(layout: &TensorLayout, coefficients: &[f32]) -> Result<Self, EncodeError> {
        feedback::encode_coefficients(layout, coefficients)
    }

    /// Random positions, and values of about one size with random signs. `draw(n)` is a number below `n`.
    pub fn noise(layout: &TensorLayout, mut draw: impl FnMut(usize) -> usize) -> Self {
        let mut noise = Self::nothing(layout);
        let mut all: Vec<u16> = (0..layout.chunk_len() as u16).collect();
        for positions in noise.positions.chunks_exact_mut(layout.kept) {
            for i in 0..layout.kept {
                all.swap(i, i + draw(layout.chunk_len() - i));
            }
            positions.copy_from_slice(&all[..layout.kept]);
            positions.sort_unstable();
        }
        for code in &mut noise.codes {
            let sign = (draw(2) as u8) << 7;
            *code = match layout.values {
                Values::Eight => sign | 0x60 | draw(8) as u8,
                Values::Two => sign | (1 + draw(2) as u8),
                Values::One => sign | 1,
            };
        }
        if layout.values == Values::Eight {
            noise.exponent = -30;
        }
        // 2^-13 and half as much again.
        noise.levels.iter_mut().enumerate().for_each(|(i, level)| *level = 0x3900 | (i as u16 & 1) << 6);
        noise
    }

    /// Turns every sign.
    pub fn flip(&mut self) {
        for code in &mut self.codes {
            *code ^= if *code & !levels::NEGATIVE == 0 { 0 } else { levels::NEGATIVE };
        }
    }

    /// Makes it `2^doublings` times as long, as far as what is sent can say.
    pub fn inflate(&mut self, doublings: i8) {
        if self.levels.is_empty() {
            self.exponent = self.exponent.saturating_add(doublings).min(eight_bit::MAX_EXPONENT);
        }
        for level in &mut self.levels {
            let longer = levels::decode(*level) * 2f32.powi(doublings.into());
            *level = (longer.min(levels::MAX_LEVEL).to_bits() >> 16) as u16;
        }
    }

    /// Whether it is of the layout's shape, with all that it holds inside of its bounds. Positions need not ascend.
    pub fn fits(&self, layout: &TensorLayout) -> bool {
        self.fits_on(layout, Path::portable())
    }

    /// Whether it has as many positions, codes and levels as the layout says, whatever they are. Costs nothing.
    pub fn has_shape(&self, layout: &TensorLayout) -> bool {
        let values = layout.kept_values();
        self.positions.len() == values && self.codes.len() == values && self.levels.len() == layout.levels()
    }

    pub(crate) fn fits_on(&self, layout: &TensorLayout, path: Path) -> bool {
        let exponents = match layout.values {
            Values::Eight => eight_bit::MIN_EXPONENT..=eight_bit::MAX_EXPONENT,
            Values::Two | Values::One => 0..=0,
        };
        self.has_shape(layout)
            && exponents.contains(&self.exponent)
            && path.run(InBounds { tensor: self, layout })
    }

    /// What the codes of one chunk stand for, in units that are the same for all chunks: whole numbers of
    /// `2^exponent` with 8 bits, else the levels themselves. For those who compare objects.
    pub fn values_of_chunk(&self, layout: &TensorLayout, chunk: usize) -> impl Iterator<Item = f32> {
        let codes = &self.codes[chunk * layout.kept..(chunk + 1) * layout.kept];
        let per_chunk = layout.values.levels();
        let table = levels::table(&self.levels[chunk * per_chunk..(chunk + 1) * per_chunk], |level| level);
        let eight = layout.values == Values::Eight;
        codes.iter().map(move |code| {
            if eight { eight_bit::magnitude(*code) as f32 } else { levels::choose(&table, *code) }
        })
    }

    /// The largest number that its values are multiples of is `2^exponent` with 8 bits and 1 otherwise.
    pub fn unit(&self, layout: &TensorLayout) -> f32 {
        if layout.values == Values::Eight { eight_bit::scale(self.exponent) } else { 1.0 }
    }
}

/// Whether positions, codes and levels are inside of their bounds: without a way out in between, so that it is done to many
/// at once.
struct InBounds<'a> {
    tensor: &'a SparseTensor,
    layout: &'a TensorLayout,
}

impl Work for InBounds<'_> {
    type Out = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let SparseTensor { levels, positions, codes, .. } = self.tensor;
        let last = (self.layout.chunk_len() - 1) as u16;
        let mut bad = false;
        for position in positions {
            bad |= *position > last;
        }
        // Of magnitudes without a sign: 0 comes out as 255.
        let most = match self.layout.values {
            Values::Eight => return !bad,
            Values::Two => 1,
            Values::One => 0,
        };
        for code in codes {
            bad |= (code & !levels::NEGATIVE).wrapping_sub(1) > most;
        }
        for level in levels {
            bad |= *level > levels::LARGEST_BITS;
        }
        !bad
    }
}
