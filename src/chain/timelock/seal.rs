//! Encrypting to a round, and decrypting with its signature.

use aes_gcm::{Aes256Gcm, KeyInit, aead::Aead};
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::{PUBLIC_KEY_BYTES, TimelockError, curve, ibe, wire};

/// How many bytes longer a ciphertext is than its plaintext.
pub const OVERHEAD_BYTES: usize = 244;

/// Encrypts to a round of a beacon: whoever has that round's signature can decrypt. The ciphertext is
/// [`OVERHEAD_BYTES`] longer than the plaintext; 76 bytes are drawn from `rng`, which must not be guessable.
///
/// # Errors
/// [`TimelockError::PublicKey`]; [`TimelockError::TooLong`] beyond 64 GiB.
pub fn encrypt(
    plaintext: &[u8],
    round: u64,
    public_key: &[u8; PUBLIC_KEY_BYTES],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, TimelockError> {
    let public_key = curve::read_public_key(public_key)?;
    let mut key = Zeroizing::new([0; 32]);
    let mut sigma = Zeroizing::new([0; 32]);
    let mut nonce = [0; wire::NONCE_BYTES];
    rng.fill_bytes(&mut *key);
    rng.fill_bytes(&mut *sigma);
    rng.fill_bytes(&mut nonce);
    let locked = ibe::lock(&key, &sigma, curve::identity(round)?, public_key)?;
    let text = Aes256Gcm::new((&*key).into())
        .encrypt((&nonce).into(), plaintext)
        .map_err(|_| TimelockError::TooLong)?;
    wire::Ciphertext { locked, text: &text, nonce: &nonce }.write()
}

/// Decrypts with the signature of the round that was encrypted to. What the chain takes is taken, and what it
/// drops is refused; the plaintext is never longer than the ciphertext.
///
/// # Errors
/// [`TimelockError::Signature`], [`TimelockError::Malformed`], [`TimelockError::WrongSignature`],
/// [`TimelockError::Damaged`].
pub fn decrypt(ciphertext: &[u8], signature: &[u8]) -> Result<Vec<u8>, TimelockError> {
    let signature = curve::read_signature(signature)?;
    let ciphertext = wire::Ciphertext::read(ciphertext)?;
    let key = ibe::open(&ciphertext.locked, signature)?;
    Aes256Gcm::new((&*key).into())
        .decrypt(ciphertext.nonce.into(), ciphertext.text)
        .map_err(|_| TimelockError::Damaged)
}

#[cfg(test)]
mod tests;
