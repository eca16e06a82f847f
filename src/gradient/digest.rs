//! What is hashed and what is signed.

use super::Header;
use crate::window::{NetUid, Window};

/// The message that a hotkey signs: the domain `templar pseudo-gradient v1`, netuid (LE u16), run, window
/// (LE u64), content digest.
pub fn signing_message(netuid: NetUid, run: &[u8; 32], window: Window, digest: &[u8; 32]) -> Vec<u8> {
    let mut message = b"templar pseudo-gradient v1".to_vec();
    message.extend_from_slice(&netuid.to_le_bytes());
    message.extend_from_slice(run);
    message.extend_from_slice(&window.to_le_bytes());
    message.extend_from_slice(digest);
    message
}

/// The content digest: blake3 over the header's fields in their order (numbers little-endian, text and
/// lists with their length as u64 in front), the exponents, then each tensor's positions and values as
/// they stand in the file, each with its length in front.
pub(super) fn content_digest<'a>(
    header: &Header,
    exponents: &[i8],
    blobs: impl Iterator<Item = &'a [u8]>,
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar pseudo-gradient content v1");
    hasher.update(&header.run);
    hasher.update(&header.netuid.to_le_bytes());
    hasher.update(&header.window.to_le_bytes());
    hasher.update(&header.uid.to_le_bytes());
    hasher.update(header.hotkey.as_ref());
    framed(&mut hasher, header.sample_digest.as_bytes());
    hasher.update(&header.sample_count.to_le_bytes());
    hasher.update(&header.model_hash);
    hasher.update(&(header.model_samples.len() as u64).to_le_bytes());
    for sample in &header.model_samples {
        hasher.update(&sample.to_le_bytes());
    }
    hasher.update(&(exponents.len() as u64).to_le_bytes());
    for exponent in exponents {
        hasher.update(&exponent.to_le_bytes());
    }
    for blob in blobs {
        framed(&mut hasher, blob);
    }
    *hasher.finalize().as_bytes()
}

fn framed(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
