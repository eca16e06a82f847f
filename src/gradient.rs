//! The pseudo-gradient as it travels: layout, codes, wire format, signature, bounded decoder.
//!
//! A pseudo-gradient is what the run's [`crate::codec`] kept of each tensor of the model. It is one safetensors file:
//!
//! - for each tensor of the [`Layout`], in its order, a byte blob `NAME.positions` and a byte blob `NAME.values`, both as
//!   [`crate::codec::wire`] says;
//! - where the run audits declared work, a byte blob `templar.sketches`: of each micro-batch the sketches of its gradient, a tensor
//!   each, as [`crate::codec::sketch::seal`] writes them;
//! - in `__metadata__` one entry `templar`: JSON with the [`Header`], the tensors' exponents and the
//!   hotkey's signature.
//!
//! What is signed is [`signing_message`]: network, run, window and the *content digest*, a blake3 hash over
//! header and blobs, each with its length in front. How the JSON is written does not change the digest.
//!
//! This module is pure: it knows neither tensors nor keys. What signs and what verifies comes as an argument.

mod decode;
mod digest;
mod encode;
mod error;
mod layout;
mod metadata;

pub use decode::decode;
pub use digest::signing_message;
pub use encode::{encode, encode_with_sketches};
pub use error::GradientError;
pub use layout::{Audited, Layout};
pub use templar_codec::{LayoutError, SparseTensor, TensorLayout};

use templar_codec::sketch::{self, Sums};

use crate::window::{NetUid, Uid, Window};
use sp_core::crypto::AccountId32;

/// Length of a sample digest: BLAKE2b-128 in hex.
pub const SAMPLE_DIGEST_CHARS: usize = 32;

/// What a pseudo-gradient says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The run: the manifest's hash.
    pub run: [u8; 32],
    /// The subnet.
    pub netuid: NetUid,
    /// The window that it was trained in.
    pub window: Window,
    /// The sender's UID.
    pub uid: Uid,
    /// The sender, who signs.
    pub hotkey: AccountId32,
    /// Digest of the ids of the sequences trained on: [`SAMPLE_DIGEST_CHARS`] lower-case hex digits.
    pub sample_digest: String,
    /// How many sequences it was trained on.
    pub sample_count: u64,
    /// Hash of the model that it was trained from.
    pub model_hash: [u8; 32],
    /// Values of that model at the positions of [`model_samples`], tensor after tensor.
    pub model_samples: Vec<f32>,
}

/// What a receiver knows before it opens a pseudo-gradient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The run: the manifest's hash.
    pub run: [u8; 32],
    /// The subnet.
    pub netuid: NetUid,
    /// The window.
    pub window: Window,
    /// The sender's UID.
    pub uid: Uid,
    /// The sender.
    pub hotkey: AccountId32,
}

/// A pseudo-gradient that was checked: well-formed, as expected, signed by its sender.
#[derive(Debug, Clone, PartialEq)]
pub struct PseudoGradient {
    /// What it says about itself.
    pub header: Header,
    /// The coefficients, in the layout's order.
    pub tensors: Vec<SparseTensor>,
    /// The sealed sketches of its micro-batches; empty where the run asks for none.
    pub sketches: Vec<u8>,
    /// The content digest that the sender signed.
    pub digest: [u8; 32],
}

impl PseudoGradient {
    /// The sketches of one of its micro-batches, a tensor each; none where it did not commit to so many.
    pub fn sketch(&self, micro_batch: usize) -> Option<Vec<Sums>> {
        let bytes = self.tensors.len() * sketch::SEALED_BYTES;
        let start = micro_batch.checked_mul(bytes)?;
        sketch::open(self.sketches.get(start..start.checked_add(bytes)?)?, self.tensors.len())
    }
}

/// The seed of the sketches of a window of a run, the same for all peers: the first 8 bytes, little-endian, of
/// blake3("templar gradient sketch v1" ‖ run ‖ window LE u64).
pub fn sketch_seed(run: &[u8; 32], window: Window) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar gradient sketch v1");
    hasher.update(run);
    hasher.update(&window.to_le_bytes());
    let mut seed = [0; 8];
    hasher.finalize_xof().fill(&mut seed);
    u64::from_le_bytes(seed)
}

/// The positions, in row-major order, of the values that a peer shows of one tensor of its model.
///
/// Drawn for each (run, hotkey, window, tensor), so that nobody can copy another's answer or prepare its
/// own before it has the model. `length` is the tensor's number of elements; positions can repeat.
/// The `i`-th is `x * length / 2^64` with `x` the `i`-th little-endian u64 of
/// blake3-XOF("templar model samples v1" ‖ run ‖ hotkey ‖ window LE u64 ‖ tensor LE u64).
pub fn model_samples(
    run: &[u8; 32],
    hotkey: &AccountId32,
    window: Window,
    tensor: usize,
    length: usize,
    samples: usize,
) -> Vec<usize> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar model samples v1");
    hasher.update(run);
    hasher.update(hotkey.as_ref());
    hasher.update(&window.to_le_bytes());
    hasher.update(&(tensor as u64).to_le_bytes());
    let mut stream = hasher.finalize_xof();
    let mut draw = [0; 8];
    (0..samples)
        .map(|_| {
            stream.fill(&mut draw);
            ((u128::from(u64::from_le_bytes(draw)) * length as u128) >> 64) as usize
        })
        .collect()
}
