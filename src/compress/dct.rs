//! The orthonormal DCT-II of chunks.
//!
//! `X[k] = s_k * sum over n of x[n] cos(pi (2n + 1) k / 2N)`, `s_0 = sqrt(1/N)`, else `sqrt(2/N)`; its inverse
//! is its transpose. A chunk of `h x w` becomes `F_h^T x F_w`. The basis is computed with additions,
//! multiplications and square roots alone, which IEEE 754 defines to the last bit: it is the same on every
//! platform, which a library's cosine need not be.

use crate::gradient::{Layout, TensorLayout};
use std::{
    collections::BTreeMap,
    f64::consts::PI,
    sync::{Arc, Mutex, PoisonError},
};
use tch::{Device, Tensor};

/// Fraction bits of [`whole_basis`].
pub const BASIS_BITS: u32 = 14;

/// The basis of length `n`, row-major `[sample][frequency]`.
pub fn basis(n: usize) -> Vec<f64> {
    let scale = |k| if k == 0 { (1.0 / n as f64).sqrt() } else { (2.0 / n as f64).sqrt() };
    (0..n * n).map(|i| (i / n, i % n)).map(|(s, k)| scale(k) * cosine((2 * s + 1) * k, n)).collect()
}

/// [`basis`] in whole numbers: times `2^14`, rounded half away from zero. Computed once for each length.
pub fn whole_basis(n: usize) -> Arc<[i32]> {
    static KNOWN: Mutex<BTreeMap<usize, Arc<[i32]>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let compute = || basis(n).iter().map(|v| (v * f64::from(1 << BASIS_BITS)).round() as i32).collect();
    known.entry(n).or_insert_with(compute).clone()
}

/// `cos(pi * m / 2n)`: reduced to the first eighth of the circle in whole numbers, then a Taylor series.
fn cosine(m: usize, n: usize) -> f64 {
    let m = m % (4 * n);
    let m = if m > 2 * n { 4 * n - m } else { m };
    if m > n {
        return -cosine(2 * n - m, n);
    }
    // Sum of x^i / i! with alternating signs, for i even (cosine) or odd (sine of what is left to 90 degrees).
    let series = |m: usize, first: u32| {
        let x = PI * m as f64 / (2 * n) as f64;
        let start = if first == 0 { 1.0 } else { x };
        let next = |(term, i): (f64, u32)| (-term * x * x / f64::from((i + 1) * (i + 2)), i + 2);
        let terms = std::iter::successors(Some((start, first)), |t| Some(next(*t)));
        terms.take(11).map(|(term, _)| term).sum::<f64>()
    };
    if 2 * m <= n { series(m, 0) } else { series(n - m, 1) }
}

/// The bases of all chunk sides of a layout, in float32 on one device.
#[derive(Debug)]
pub(super) struct Bases(BTreeMap<usize, Tensor>);

impl Bases {
    pub(super) fn new(layout: &Layout, device: Device) -> Self {
        let sides = layout.tensors().iter().flat_map(|t| [t.chunk_rows, t.chunk_cols]);
        let tensor = |n: usize| {
            let values: Vec<f32> = basis(n).iter().map(|v| *v as f32).collect();
            Tensor::from_slice(&values).view([n as i64, n as i64]).to_device(device)
        };
        let mut bases = BTreeMap::new();
        sides.for_each(|n| {
            bases.entry(n).or_insert_with(|| tensor(n));
        });
        Self(bases)
    }

    /// Coefficients `[chunks, chunk_len]` of a tensor of the layout's shape.
    pub(super) fn forward(&self, shape: &TensorLayout, x: &Tensor) -> Tensor {
        let columns = into_chunks(shape, x);
        let turned = times(&columns, &self.0[&shape.chunk_rows]).transpose(1, 2);
        times(&turned, &self.0[&shape.chunk_cols]).reshape([shape.chunks() as i64, shape.chunk_len() as i64])
    }

    /// The tensor, in its own shape, that has these coefficients.
    pub(super) fn inverse(&self, shape: &TensorLayout, coefficients: &Tensor) -> Tensor {
        let sides = [-1, shape.chunk_rows as i64, shape.chunk_cols as i64];
        let turned = times(&coefficients.view(sides), &self.0[&shape.chunk_cols].tr()).transpose(1, 2);
        from_chunks(shape, &times(&turned, &self.0[&shape.chunk_rows].tr()))
    }
}

/// `x b` for every chunk as one product; a side of 1 is left as it is.
pub(crate) fn times(x: &Tensor, b: &Tensor) -> Tensor {
    let size = x.size();
    let side = size.last().copied().unwrap_or(1);
    if side == 1 { x.shallow_clone() } else { x.reshape([-1, side]).matmul(b).view(size.as_slice()) }
}

/// A tensor's chunks, each transposed: `[chunks, chunk_cols, chunk_rows]`.
pub(crate) fn into_chunks(shape: &TensorLayout, x: &Tensor) -> Tensor {
    let [y, h, x_, w] = grid(shape);
    x.reshape([y, h, x_, w]).permute([0, 2, 3, 1]).reshape([y * x_, w, h])
}

/// The inverse of [`into_chunks`].
pub(crate) fn from_chunks(shape: &TensorLayout, chunks: &Tensor) -> Tensor {
    let [y, h, x, w] = grid(shape);
    let dimensions: Vec<i64> = shape.shape.iter().map(|d| *d as i64).collect();
    chunks.view([y, x, w, h]).permute([0, 3, 1, 2]).reshape(dimensions)
}

fn grid(shape: &TensorLayout) -> [i64; 4] {
    [shape.grid_rows(), shape.chunk_rows, shape.grid_cols(), shape.chunk_cols].map(|d| d as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_transform_of_four_numbers() {
        let basis = basis(4);
        let x = [1.0, 2.0, 3.0, 4.0];
        let transform: Vec<f64> = (0..4).map(|k| (0..4).map(|n| x[n] * basis[n * 4 + k]).sum()).collect();
        for (found, golden) in transform.iter().zip([5.0, -2.230_442, 0.0, -0.158_513]) {
            assert!((found - golden).abs() < 1e-6, "{found} {golden}");
        }
    }

    #[test]
    fn cosines_are_right_to_the_last_bits_and_bases_orthonormal() {
        for n in [1usize, 2, 3, 5, 48, 63, 64] {
            for m in 0..8 * n {
                let exact = (PI * m as f64 / (2 * n) as f64).cos();
                assert!((cosine(m, n) - exact).abs() < 4e-15, "{m} {n}");
            }
            let b = basis(n);
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|s| b[s * n + i] * b[s * n + j]).sum();
                    assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-13);
                }
            }
        }
        assert_eq!(*whole_basis(1), [1 << BASIS_BITS]);
    }
}
