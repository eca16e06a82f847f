//! Mixing and spoiling pseudo-gradients: the craft of those who live off others' work.

use crate::gradient::{Layout, SparseTensor, TensorLayout, coefficient};
use rand::{Rng, rngs::StdRng};

/// A pseudo-gradient that says nothing: every code 0.
pub fn nothing(layout: &Layout) -> Vec<SparseTensor> {
    let tensor = |shape: &TensorLayout| SparseTensor {
        exponent: 0,
        positions: (0..shape.values()).map(|i| (i % shape.kept) as u16).collect(),
        codes: vec![0; shape.values()],
    };
    layout.tensors().iter().map(tensor).collect()
}

/// The weighted sum of pseudo-gradients of unit length, with the largest coefficients of each chunk kept.
pub fn blend(parts: &[(f32, &[SparseTensor])], layout: &Layout) -> Vec<SparseTensor> {
    layout.tensors().iter().enumerate().map(|(index, shape)| one(parts, index, shape)).collect()
}

fn one(parts: &[(f32, &[SparseTensor])], index: usize, shape: &TensorLayout) -> SparseTensor {
    let length = shape.chunk_len();
    let mut dense = vec![0f32; shape.chunks() * length];
    for (weight, tensors) in parts {
        let Some(tensor) = tensors.get(index) else { continue };
        let values = || tensor.codes.iter().map(|code| coefficient::magnitude(*code) as f32);
        let norm = values().map(|v| v * v).sum::<f32>().sqrt();
        if norm == 0.0 {
            continue;
        }
        for (at, (position, value)) in tensor.positions.iter().zip(values()).enumerate() {
            dense[at / shape.kept * length + usize::from(*position)] += weight * value / norm;
        }
    }
    let mut positions = Vec::with_capacity(shape.values());
    for chunk in dense.chunks_exact(length) {
        let mut order: Vec<u16> = (0..length as u16).collect();
        order.sort_by(|a, b| {
            chunk[usize::from(*b)].abs().total_cmp(&chunk[usize::from(*a)].abs()).then(a.cmp(b))
        });
        order.truncate(shape.kept);
        order.sort_unstable();
        positions.extend(order);
    }
    let kept = positions.iter().enumerate();
    let kept: Vec<f32> = kept.map(|(i, p)| dense[i / shape.kept * length + usize::from(*p)]).collect();
    let exponent = coefficient::shared_exponent(kept.iter().fold(0.0, |a, v| v.abs().max(a))).unwrap_or(0);
    let codes = kept.iter().map(|v| coefficient::encode(*v, exponent)).collect();
    SparseTensor { exponent, positions, codes }
}

/// The same with every sign turned.
pub fn flip(tensors: &mut [SparseTensor]) {
    for code in tensors.iter_mut().flat_map(|tensor| &mut tensor.codes) {
        *code ^= if *code & 0x7f == 0 { 0 } else { 0x80 };
    }
}

/// The same `2^doublings` times as long.
pub fn inflate(tensors: &mut [SparseTensor], doublings: i8) {
    for tensor in tensors {
        tensor.exponent = tensor.exponent.saturating_add(doublings).min(coefficient::MAX_EXPONENT);
    }
}

/// Random positions and values.
pub fn noise(layout: &Layout, rng: &mut StdRng) -> Vec<SparseTensor> {
    let tensor = |shape: &TensorLayout| {
        let mut positions = Vec::with_capacity(shape.values());
        for _ in 0..shape.chunks() {
            let mut drawn = std::collections::BTreeSet::new();
            while drawn.len() < shape.kept {
                drawn.insert(rng.random_range(0..shape.chunk_len()) as u16);
            }
            positions.extend(drawn);
        }
        // Codes of about one size: a wild one would hide the others.
        let codes = (0..shape.values()).map(|_| 0x60 | (rng.random::<u8>() & 0x87)).collect();
        SparseTensor { exponent: -30, positions, codes }
    };
    layout.tensors().iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::CompressConfig;
    use rand::SeedableRng;

    fn layout() -> Layout {
        let compress = CompressConfig { momentum: 0.9, chunk: 8, top_k: 4 };
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
