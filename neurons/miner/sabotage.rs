//! Miners that misbehave on purpose, for local networks.

use templar::gradient::{Layout, SparseTensor};

/// How a saboteur misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// Publishes random values of the right shape.
    Noise,
    /// Trains on other data than its own.
    Lazy,
}

/// Replaces every position and value by random ones that decode without complaint.
pub fn randomise(tensors: &mut [SparseTensor], layout: &Layout, window: u64, hotkey: &[u8]) {
    let mut seed = blake3::Hasher::new_derive_key("templar sabotage noise");
    seed.update(hotkey).update(&window.to_le_bytes());
    let mut random = seed.finalize_xof();
    let mut draw = move |below: usize| {
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % below
    };
    for (tensor, shape) in tensors.iter_mut().zip(layout.tensors()) {
        *tensor = SparseTensor::noise(shape, &mut draw);
    }
}
