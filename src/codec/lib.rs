//! What a pseudo-gradient is made of, at the speed of memory: the codec that a run's manifest describes.
//!
//! Read it from top to bottom:
//!
//! 1. [`settings`]: what a manifest says of it: transform, density, bits of a value;
//! 2. [`layout`]: how a model's tensors are cut into chunks;
//! 3. `transform`: a gradient goes through the DCT (or none) onto the state;
//! 4. `select`: the largest coefficients of each chunk are chosen;
//! 5. [`eight_bit`], [`levels`]: a kept value in 8, 2 or 1 bits; [`feedback`] does 3 to 5 for a miner;
//! 6. [`positions`], [`wire`]: what is kept, as bytes, and back from a stranger's bytes;
//! 7. [`aggregate`](mod@aggregate): many peers become one step; `inverse` is the way back through the transform;
//! 8. [`sketch`]: by how much two gradients differ, from a few numbers of each.
//!
//! It knows slices of numbers: no tensor library, no model, no network. Kernels are written once over vectors of any width
//! ([`Path`]) and give the same bytes on all of them; threads take rows of chunks.
//!
//! ```
//! use templar_codec::{Codec, ErrorFeedback, Rule, Settings};
//!
//! let shapes = [("w".to_owned(), vec![128, 192])];
//! let codec = Codec::new(&shapes, &Settings::demo(0.9, 64, 32))?;
//! let mut miner = ErrorFeedback::new(&codec);
//! let gradient: Vec<f32> = (0..128 * 192).map(|i| (i as f32 / 100.0).sin()).collect();
//! let sent = miner.encode(&[&gradient])?;
//! // Six chunks of 64 x 64, 32 values each.
//! assert_eq!(sent[0].positions.len(), 6 * 32);
//!
//! let mut weights = vec![0.0; 128 * 192];
//! codec.aggregate(Rule::Sign, &[&sent])?.step(0, &mut weights, 0.01);
//! assert!(weights.iter().all(|w| w.abs() <= 0.01));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "kernels count vectors and places of several arrays at once")]

pub mod aggregate;
mod cosines;
pub mod eight_bit;
pub mod feedback;
mod inverse;
pub mod layout;
pub mod levels;
pub mod positions;
mod select;
pub mod settings;
mod simd;
pub mod sketch;
mod sparse;
mod transform;
pub mod wire;

pub use aggregate::{Aggregate, AggregateError, Norms, Parts, PeerWeight, Rule};
pub use cosines::basis;
pub use feedback::{EncodeError, ErrorFeedback, LARGEST};
pub use layout::{LayoutError, TensorLayout};
pub use settings::{Settings, Transform, Values};
pub use simd::{Loops, Path};
pub use sparse::SparseTensor;

use std::sync::Arc;

/// How a run's pseudo-gradients are made, for the tensors of its model in their fixed order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Codec(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    tensors: Vec<TensorLayout>,
    path: Path,
}

impl Codec {
    /// The codec for named tensors, on the widest instruction set of this processor.
    ///
    /// # Errors
    /// A tensor that is neither a vector nor a matrix, and chunks whose side is not from 1 to 64.
    pub fn new(tensors: &[(String, Vec<usize>)], settings: &Settings) -> Result<Self, LayoutError> {
        let layout = |(name, shape): &(String, Vec<usize>)| TensorLayout::new(name, shape, settings);
        let tensors = tensors.iter().map(layout).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner { settings: settings.clone(), tensors, path: Path::detect() })))
    }

    /// The same on another instruction set, with the same results.
    pub fn on(&self, path: Path) -> Self {
        let Inner { settings, tensors, .. } = self.0.as_ref();
        Self(Arc::new(Inner { settings: settings.clone(), tensors: tensors.clone(), path }))
    }

    /// The tensors, in the model's order.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.0.tensors
    }

    /// What the manifest says of it.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The instruction set that it uses.
    pub fn path(&self) -> Path {
        self.0.path
    }

    /// Elements of all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(TensorLayout::len).sum()
    }

    /// The most bytes that all tensors' positions and values can have.
    pub fn max_payload_bytes(&self) -> usize {
        self.tensors().iter().map(|t| t.max_position_bytes() + t.value_bytes()).sum()
    }

    /// What one peer's tensor stands for, as float32, row after row of `out`: through the same whole numbers as the
    /// aggregate, with at least 20 bits of the tensor's largest value without a transform, and 13 of its chunk's with one.
    ///
    /// # Errors
    /// A tensor that does not fit the layout.
    pub fn decode(
        &self,
        tensor: usize,
        sparse: &SparseTensor,
        out: &mut [f32],
    ) -> Result<(), AggregateError> {
        aggregate::decode(self, tensor, sparse, out)
    }
}

/// Two codecs are equal where they give the same bytes.
impl PartialEq for Codec {
    fn eq(&self, other: &Self) -> bool {
        self.settings() == other.settings() && self.tensors() == other.tensors()
    }
}
