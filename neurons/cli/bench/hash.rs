//! The hash of a model, and what bounds it: the hash function on one thread, and the memory.

use super::{Measured, Setting};
use std::convert::Infallible;
use tch::Kind;
use templar::{manifest::Manifest, model::Llama};

/// Larger than any cache.
const BLOCK: usize = 64 << 20;

pub(super) fn measure(setting: &Setting, manifest: &Manifest) -> Vec<Measured> {
    let model = Llama::new(&manifest.model, manifest.seed, setting.device);
    let bytes = 4 * setting.params;
    let block: Vec<u8> = (0..BLOCK.min(bytes)).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 16) as u8).collect();
    let mut seen = 0u8;
    let mut time = |name, work: &mut dyn FnMut() -> u8| {
        let measured = setting.time(name, bytes as u64, || {
            // What nobody looks at may be left out by a compiler.
            seen ^= std::hint::black_box(work());
            Ok::<(), Infallible>(())
        });
        match measured {
            Ok(measured) => measured,
            Err(never) => match never {},
        }
    };
    let plain = &mut || {
        let mut hasher = blake3::Hasher::new();
        let mut left = bytes;
        while left > 0 {
            let now = left.min(block.len());
            hasher.update(&block[..now]);
            left -= now;
        }
        hasher.finalize().as_bytes()[0]
    };
    let read = &mut || {
        let sum = |(_, weight): &(String, tch::Tensor)| weight.detach().sum(Kind::Float).double_value(&[]);
        model.parameters().iter().map(sum).sum::<f64>().to_bits() as u8
    };
    vec![time("hash", &mut || model.hash()[0]), time("blake3", plain), time("read", read)]
}
