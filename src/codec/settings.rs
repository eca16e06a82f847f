//! What a run says of its codec.

use serde::{Deserialize, Serialize};

/// How a pseudo-gradient is made small: the table `[compress]` of a run's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Decay of what was not sent yet, before a window's gradient is added (`beta`): DeMo's momentum, SparseLoCo's error
    /// feedback.
    pub momentum: f64,
    /// Side of a chunk. With a transform, a dimension is cut by its largest divisor that is not longer; without one, a
    /// tensor is cut into runs of at most the side's square.
    pub chunk: usize,
    /// Coefficients kept of each chunk.
    pub top_k: usize,
    /// What is done to a chunk before its largest coefficients are chosen.
    #[serde(default)]
    pub transform: Transform,
    /// How a kept value is written.
    #[serde(default)]
    pub values: Values,
}

/// What is done to a chunk before its largest coefficients are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// The orthonormal DCT-II along both sides: DeMo.
    #[default]
    Dct,
    /// Nothing: SparseLoCo.
    None,
}

/// How a kept value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Values {
    /// A tiny float over an exponent that the tensor shares ([`crate::eight_bit`]).
    #[default]
    #[serde(rename = "8-bit")]
    Eight,
    /// The sign and one of two levels of the chunk.
    #[serde(rename = "2-bit")]
    Two,
    /// The sign; the magnitude is the chunk's level.
    #[serde(rename = "1-bit")]
    One,
}

impl Values {
    /// Bits of one value on the wire.
    pub fn bits(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Two => 2,
            Self::One => 1,
        }
    }

    /// Magnitudes that are sent for each chunk, as bfloat16.
    pub fn levels(self) -> usize {
        match self {
            Self::Eight => 0,
            Self::Two => 2,
            Self::One => 1,
        }
    }
}

impl Settings {
    /// DeMo: DCT, values of 8 bits.
    pub fn demo(momentum: f64, chunk: usize, top_k: usize) -> Self {
        Self { momentum, chunk, top_k, transform: Transform::Dct, values: Values::Eight }
    }

    /// SparseLoCo: no transform, values of 2 bits.
    pub fn sparse_loco(momentum: f64, chunk: usize, top_k: usize) -> Self {
        Self { momentum, chunk, top_k, transform: Transform::None, values: Values::Two }
    }
}
