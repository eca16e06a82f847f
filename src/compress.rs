//! DeMo: what a miner sends of its gradient, and what it keeps for later.
//!
//! For each tensor: `m = beta * m + g`; the chunks of `m` go through an orthonormal DCT-II; the `top_k` largest
//! coefficients of each chunk are written in 8 bits; what those bytes decode to is taken off `m`. Whatever
//! is not sent, rounding included, stays in `m` and is sent in a later window (*error feedback*).

pub mod dct;

use crate::{
    gradient::{Layout, SparseTensor, TensorLayout, coefficient},
    model::{ModelError, floats, read_tensors, write_tensors},
};
use dct::Bases;
use std::{collections::BTreeMap, path::Path};
use tch::{Device, Kind, Tensor};

/// Why a gradient cannot be compressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// Not one gradient for each tensor of the layout.
    #[error("{found} gradients were given for {expected} tensors")]
    Count {
        /// Gradients given.
        found: usize,
        /// Tensors of the layout.
        expected: usize,
    },
    /// A gradient is not of its tensor's shape.
    #[error("the gradient of {name} has shape {found:?}, the tensor {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The gradient's shape.
        found: Vec<i64>,
        /// The tensor's shape.
        expected: Vec<usize>,
    },
    /// NaN, infinity, or numbers too large to send. Nothing was changed.
    #[error("the gradient of {0} is not finite, or too large to send")]
    NotFinite(String),
}

/// The momentum of one miner: all that it has learned and not yet sent.
#[derive(Debug)]
pub struct Demo {
    layout: Layout,
    beta: f64,
    momentum: Vec<Tensor>,
    bases: Bases,
    device: Device,
}

impl Demo {
    /// A miner's state at its first window: momentum 0. `beta` is the manifest's `compress.momentum`.
    pub fn new(layout: &Layout, beta: f64, device: Device) -> Self {
        let zeros = |t: &TensorLayout| {
            let shape: Vec<i64> = t.shape.iter().map(|d| *d as i64).collect();
            Tensor::zeros(&shape, (Kind::Float, device))
        };
        let momentum = layout.tensors().iter().map(zeros).collect();
        Self { layout: layout.clone(), beta, momentum, bases: Bases::new(layout, device), device }
    }

    /// The momentum of each tensor, in the layout's order.
    pub fn momentum(&self) -> &[Tensor] {
        &self.momentum
    }

    /// Adds one window's gradients and takes off what is to be sent of them.
    ///
    /// # Errors
    /// Gradients that do not fit the layout or are not finite; then nothing was changed.
    pub fn encode(&mut self, gradients: &[Tensor]) -> Result<Vec<SparseTensor>, CompressError> {
        self.check(gradients)?;
        tch::no_grad(|| {
            let Self { layout, beta, momentum, bases, .. } = self;
            let tensors = layout.tensors().iter().zip(momentum.iter_mut()).zip(gradients);
            tensors
                .map(|((shape, m), g)| {
                    let _ = m.g_mul_scalar_(*beta).g_add_(g);
                    encode_tensor(shape, m, bases)
                })
                .collect()
        })
    }

    /// The momentum must stay within what a code can say, so that a refusal can come before any change.
    fn check(&self, gradients: &[Tensor]) -> Result<(), CompressError> {
        let (found, expected) = (gradients.len(), self.momentum.len());
        if found != expected {
            return Err(CompressError::Count { found, expected });
        }
        for ((shape, g), m) in self.layout.tensors().iter().zip(gradients).zip(&self.momentum) {
            if g.size() != m.size() {
                let (name, expected) = (shape.name.clone(), shape.shape.clone());
                return Err(CompressError::Shape { name, found: g.size(), expected });
            }
            let largest = floats(&tch::no_grad(|| g.abs().max() + m.abs().max()));
            // A coefficient is at most the side of its chunk times the largest element.
            let bound = largest.first().map_or(f32::NAN, |v| v * 2.0 * (shape.chunk_len() as f32).sqrt());
            if coefficient::shared_exponent(bound).is_none() {
                return Err(CompressError::NotFinite(shape.name.clone()));
            }
        }
        Ok(())
    }

    /// Writes the state, so that a restarted miner keeps its error feedback; the file appears whole or not at
    /// all. `metadata` is for the caller, such as the window.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<(), ModelError> {
        let names = self.layout.tensors().iter().map(|t| t.name.as_str());
        let tensors: Vec<_> = names.zip(&self.momentum).collect();
        write_tensors(path, &tensors, metadata)
    }

    /// Reads a state that [`Self::save`] wrote, and its metadata.
    ///
    /// # Errors
    /// A file that cannot be read or is of another model.
    pub fn load(
        layout: &Layout,
        beta: f64,
        path: &Path,
        device: Device,
    ) -> Result<(Self, BTreeMap<String, String>), ModelError> {
        let shapes: Vec<_> = layout.tensors().iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        let (tensors, metadata) = read_tensors(path, &shapes, device)?;
        let momentum = tensors.into_iter().map(|(_, t)| t).collect();
        let bases = Bases::new(layout, device);
        Ok((Self { layout: layout.clone(), beta, momentum, bases, device }, metadata))
    }

    /// Where the momentum is.
    pub fn device(&self) -> Device {
        self.device
    }
}

/// Chooses, codes and takes off the largest coefficients of one tensor's momentum.
fn encode_tensor(shape: &TensorLayout, m: &mut Tensor, bases: &Bases) -> Result<SparseTensor, CompressError> {
    let coefficients = bases.forward(shape, m);
    let positions = largest(&coefficients, shape.kept as i64);
    let kept = floats(&coefficients.gather(1, &positions, false));
    let top = kept.iter().fold(0f32, |a, v| a.max(v.abs()));
    let exponent =
        coefficient::shared_exponent(top).ok_or_else(|| CompressError::NotFinite(shape.name.clone()))?;
    let codes: Vec<u8> = kept.iter().map(|v| coefficient::encode(*v, exponent)).collect();
    let decoded: Vec<f32> = codes.iter().map(|c| coefficient::decode(*c, exponent)).collect();
    let decoded = Tensor::from_slice(&decoded).to_device(m.device()).view_as(&positions);
    let sent = coefficients.zeros_like().scatter(1, &positions, &decoded);
    let _ = m.g_sub_(&bases.inverse(shape, &sent));
    let mut flat = vec![0i64; positions.numel()];
    let count = flat.len();
    positions.to_device(Device::Cpu).contiguous().view([-1]).copy_data(&mut flat, count);
    Ok(SparseTensor { exponent, positions: flat.iter().map(|p| *p as u16).collect(), codes })
}

/// Positions (int64, ascending) of the `k` largest magnitudes of each row; of equal ones the first.
///
/// The keys are whole numbers, the bits of the magnitude above the position from the end, and so all
/// different: every device chooses the same.
fn largest(rows: &Tensor, k: i64) -> Tensor {
    let length = rows.size()[1];
    let from_end = Tensor::arange_start_step(length - 1, -1, -1, (Kind::Int64, rows.device()));
    let bits = rows.view_dtype(Kind::Int).bitwise_and(i64::from(i32::MAX)).to_kind(Kind::Int64);
    let (keys, _) = (bits * length + from_end).topk(k, 1, true, false);
    (keys.remainder(length).neg() + (length - 1)).sort(1, false).0
}

#[cfg(test)]
mod tests;
