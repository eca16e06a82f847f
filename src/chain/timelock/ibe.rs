//! A key of 32 bytes locked to a round: Boneh and Franklin's `FullIdent`, with signatures in G1.
//!
//! With Q the round's identity, P the generator of G2, K the beacon's public key and H the SHA-256:
//!
//! - σ is random; r = H(σ ‖ key) as a number, the highest byte first, modulo the groups' order;
//! - U = r·P, V = σ ⊕ H(e(Q, r·K)), W = key ⊕ H(σ), where a value of the pairing is hashed in its compressed
//!   form.
//!
//! The round's signature S gives σ back, as e(S, U) = e(Q, r·K). Whoever decrypts computes r once more and
//! compares U, so that a ciphertext cannot be changed unnoticed (Fujisaki and Okamoto).

use ark_bls12_381::{Bls12_381, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup, pairing::Pairing};
use ark_ff::PrimeField;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{TimelockError, curve};

/// What is locked, and what σ, V and W are: 32 bytes.
pub(super) type Block = [u8; 32];

/// A locked key.
pub(super) struct Locked {
    pub u: G2Affine,
    pub v: Block,
    pub w: Block,
}

/// Locks a key to the round whose identity is given.
pub(super) fn lock(
    key: &Block,
    sigma: &Block,
    identity: G1Affine,
    public_key: G2Affine,
) -> Result<Locked, TimelockError> {
    let r = challenge(sigma, key);
    let mask = mask(identity, (public_key * r).into_affine())?;
    let u = (G2Affine::generator() * r).into_affine();
    Ok(Locked { u, v: xor(sigma, &mask), w: xor(key, &hash(sigma)) })
}

/// Opens a locked key with the round's signature.
pub(super) fn open(locked: &Locked, signature: G1Affine) -> Result<Zeroizing<Block>, TimelockError> {
    let sigma = Zeroizing::new(xor(&locked.v, &mask(signature, locked.u)?));
    let key = Zeroizing::new(xor(&locked.w, &hash(sigma.as_slice())));
    let u = G2Affine::generator() * challenge(&sigma, &key);
    if u == locked.u { Ok(key) } else { Err(TimelockError::WrongSignature) }
}

fn challenge(sigma: &Block, key: &Block) -> Fr {
    Fr::from_be_bytes_mod_order(&hash([&sigma[..], &key[..]].concat()))
}

fn mask(left: G1Affine, right: G2Affine) -> Result<Block, TimelockError> {
    // Twelve numbers of 381 bits, each in 48 bytes.
    let value: [u8; 576] = curve::compressed(&Bls12_381::pairing(left, right))?;
    Ok(hash(value))
}

fn hash(bytes: impl AsRef<[u8]>) -> Block {
    Sha256::digest(bytes).into()
}

fn xor(left: &Block, right: &Block) -> Block {
    std::array::from_fn(|place| left[place] ^ right[place])
}
