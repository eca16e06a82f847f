//! Mixing and spoiling pseudo-gradients: the craft of those who live off others' work.

use crate::gradient::{Layout, SparseTensor, TensorLayout};
use rand::{Rng, rngs::StdRng};

/// A pseudo-gradient that says nothing.
pub fn nothing(layout: &Layout) -> Vec<SparseTensor> {
    layout.tensors().iter().map(SparseTensor::nothing).collect()
}

/// The weighted sum of pseudo-gradients of unit length, with the largest coefficients of each chunk kept.
pub fn blend(parts: &[(f32, &[SparseTensor])], layout: &Layout) -> Vec<SparseTensor> {
    layout.tensors().iter().enumerate().map(|(index, shape)| one(parts, index, shape)).collect()
}

fn one(parts: &[(f32, &[SparseTensor])], index: usize, shape: &TensorLayout) -> SparseTensor {
    let length = shape.chunk_len();
    let mut dense = vec![0f32; shape.len()];
    for (weight, tensors) in parts {
        let Some(tensor) = tensors.get(index) else { continue };
        let values: Vec<f32> =
            (0..shape.chunks()).flat_map(|chunk| tensor.values_of_chunk(shape, chunk)).collect();
        let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        if norm == 0.0 {
            continue;
        }
        for (at, (position, value)) in tensor.positions.iter().zip(values).enumerate() {
            dense[at / shape.kept * length + usize::from(*position)] += weight * value / norm;
        }
    }
    // Sums of a few vectors of unit length are finite.
    SparseTensor::of(shape, &dense).unwrap_or_else(|_| SparseTensor::nothing(shape))
}

/// The same with every sign turned.
pub fn flip(tensors: &mut [SparseTensor]) {
    tensors.iter_mut().for_each(SparseTensor::flip);
}

/// The same `2^doublings` times as long.
pub fn inflate(tensors: &mut [SparseTensor], doublings: i8) {
    tensors.iter_mut().for_each(|tensor| tensor.inflate(doublings));
}

/// Random positions and values, of about one size: a wild one would hide the others.
pub fn noise(layout: &Layout, rng: &mut StdRng) -> Vec<SparseTensor> {
    let tensor = |shape: &TensorLayout| SparseTensor::noise(shape, |below| rng.random_range(0..below));
    layout.tensors().iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::CompressConfig;
    use rand::SeedableRng;

    fn layout() -> Layout {
        let compress = CompressConfig::demo(0.9, 8, 4);
        Layout::new(&[("w".to_owned(), vec![16, 8])], &compress, 1).unwrap()
    }

    #[test]
    fn a_blend_of_one_keeps_its_positions_and_signs() {
        let layout = layout();
        let noise = noise(&layout, &mut StdRng::seed_from_u64(1));
        let blend = blend(&[(1.0, &noise)], &layout);
        assert_eq!(blend[0].positions, noise[0].positions);
        let signs = |t: &SparseTensor| t.codes.iter().map(|c| c & 0x80).collect::<Vec<_>>();
        assert_eq!(signs(&blend[0]), signs(&noise[0]));
    }

    #[test]
    fn a_pseudo_gradient_and_its_opposite_cancel() {
        let layout = layout();
        let noise = noise(&layout, &mut StdRng::seed_from_u64(2));
        let mut flipped = noise.clone();
        flip(&mut flipped);
        let blend = blend(&[(1.0, &noise), (1.0, &flipped)], &layout);
        assert!(blend[0].codes.iter().all(|code| *code == 0));
        assert_eq!(nothing(&layout)[0].codes.len(), 8);
    }
}
