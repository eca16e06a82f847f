//! The hash of a model: a tree of two levels, so that every core takes part. docs/protocol.md defines it.

use super::memory::with_bytes;
use rayon::prelude::*;
use tch::Tensor;

/// Keeps the root apart from every other hash, leaves included.
const CONTEXT: &str = "templar model hash, version 2";
/// Bytes of a tensor under one leaf; its last leaf may have fewer.
const LEAF: usize = 1 << 20;

/// [`super::Llama::hash`], parameter after parameter.
#[derive(Debug, Clone)]
pub(crate) struct ModelHasher(blake3::Hasher);

impl Default for ModelHasher {
    fn default() -> Self {
        Self(blake3::Hasher::new_derive_key(CONTEXT))
    }
}

impl ModelHasher {
    /// The next parameter, as float32. One in this process's memory is read where it lies, another is copied for as long
    /// as this takes.
    pub(crate) fn add(&mut self, name: &str, tensor: &Tensor) {
        self.number(name.len());
        self.0.update(name.as_bytes());
        let shape = tensor.size();
        self.number(shape.len());
        shape.iter().for_each(|d| self.number(*d as usize));
        let leaf = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
        let leaves: Vec<[u8; 32]> = with_bytes(tensor, |bytes| match bytes.len() {
            // A norm's weights are not worth waking a thread for.
            0..=LEAF => bytes.chunks(LEAF).map(leaf).collect(),
            _ => bytes.par_chunks(LEAF).map(leaf).collect(),
        });
        self.0.update(leaves.as_flattened());
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn hash(tensors: &[(&str, &Tensor)]) -> [u8; 32] {
        let mut hasher = ModelHasher::default();
        tensors.iter().for_each(|(name, tensor)| hasher.add(name, tensor));
        hasher.finish()
    }

    /// Three leaves and a part of a fourth.
    fn large() -> Tensor {
        Tensor::arange(900_000, (Kind::Float, Device::Cpu)).sin().view([900, 1000])
    }

    #[test]
    fn every_element_of_every_leaf_counts_and_so_do_name_and_shape() {
        let tensor = large();
        let whole = hash(&[("a", &tensor)]);
        let per_leaf = (LEAF / 4) as i64;
        for at in [0, per_leaf - 1, per_leaf, 3 * per_leaf, 899_999] {
            let other = tensor.copy();
            let _ = other.view([-1]).narrow(0, at, 1).fill_(7.0);
            assert_ne!(hash(&[("a", &other)]), whole, "{at}");
        }
        assert_ne!(hash(&[("b", &tensor)]), whole);
        assert_ne!(hash(&[("a", &tensor.view([1000, 900]))]), whole);
        // A tensor's data cannot pass for two tensors' data.
        let halves = tensor.chunk(2, 0);
        assert_ne!(hash(&[("a", &halves[0]), ("a", &halves[1])]), whole);
    }

    #[test]
    fn neither_threads_nor_the_place_in_memory_change_it() {
        let tensor = large();
        let whole = hash(&[("a", &tensor)]);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let tensor = tensor.shallow_clone();
            assert_eq!(pool.install(move || hash(&[("a", &tensor)])), whole);
        }
        let turned = tensor.transpose(0, 1).contiguous();
        assert_eq!(hash(&[("a", &turned.transpose(0, 1))]), whole);
    }
}
