//! The bytes of a ciphertext: compressed points, and byte strings behind their length as eight bytes, lowest
//! first.
//!
//! U (96 bytes), then the strings V (32 bytes), W (32), the body, and the cipher's name; the body is itself
//! two strings, the text with its tag of 16 bytes, and the nonce (12).

use ark_bls12_381::G2Affine;
use ark_serialize::CanonicalDeserialize;

use super::{PUBLIC_KEY_BYTES, TimelockError, curve, ibe::Locked};

/// The name that stands at the end of every ciphertext.
const CIPHER: &[u8] = b"AES_GCM_";

/// Bytes of a nonce of AES-GCM.
pub(super) const NONCE_BYTES: usize = 12;

/// A ciphertext, taken apart.
pub(super) struct Ciphertext<'a> {
    pub locked: Locked,
    /// The encrypted text and its tag.
    pub text: &'a [u8],
    pub nonce: &'a [u8; NONCE_BYTES],
}

impl<'a> Ciphertext<'a> {
    pub fn write(&self) -> Result<Vec<u8>, TimelockError> {
        let mut body = Vec::with_capacity(16 + self.text.len() + NONCE_BYTES);
        put(&mut body, self.text);
        put(&mut body, self.nonce);
        let mut bytes = Vec::with_capacity(192 + body.len() + 8 + CIPHER.len());
        bytes.extend(curve::compressed::<PUBLIC_KEY_BYTES>(&self.locked.u)?);
        put(&mut bytes, &self.locked.v);
        put(&mut bytes, &self.locked.w);
        put(&mut bytes, &body);
        put(&mut bytes, CIPHER);
        Ok(bytes)
    }

    /// Takes apart without copying the text. As on the chain, bytes behind the end do not matter, and neither
    /// does what the cipher is called.
    pub fn read(mut bytes: &'a [u8]) -> Result<Self, TimelockError> {
        let malformed = TimelockError::Malformed { part: "point" };
        let (point, rest) = bytes.split_at_checked(PUBLIC_KEY_BYTES).ok_or(malformed)?;
        bytes = rest;
        let v = take_array(&mut bytes, "second part")?;
        let w = take_array(&mut bytes, "third part")?;
        let mut body = take(&mut bytes, "body")?;
        take(&mut bytes, "cipher's name")?;
        let text = take(&mut body, "text")?;
        let nonce = take_array(&mut body, "nonce")?;
        // Last, as it costs the most.
        let u = G2Affine::deserialize_compressed(point).map_err(|_| malformed)?;
        Ok(Self { locked: Locked { u, v: *v, w: *w }, text, nonce })
    }
}

fn put(bytes: &mut Vec<u8>, string: &[u8]) {
    bytes.extend((string.len() as u64).to_le_bytes());
    bytes.extend(string);
}

fn take<'a>(bytes: &mut &'a [u8], part: &'static str) -> Result<&'a [u8], TimelockError> {
    let malformed = TimelockError::Malformed { part };
    let (length, rest) = bytes.split_first_chunk().ok_or(malformed)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| malformed)?;
    let (string, rest) = rest.split_at_checked(length).ok_or(malformed)?;
    *bytes = rest;
    Ok(string)
}

fn take_array<'a, const N: usize>(
    bytes: &mut &'a [u8],
    part: &'static str,
) -> Result<&'a [u8; N], TimelockError> {
    take(bytes, part)?.try_into().map_err(|_| TimelockError::Malformed { part })
}
