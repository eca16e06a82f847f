//! Points of BLS12-381 as the beacon and the ciphertext have them.

use ark_bls12_381::{G1Affine, G1Projective, G2Affine, g1::Config as G1Config};
use ark_ec::{
    AffineRepr,
    hashing::{HashToCurve, curve_maps::wb::WBMap, map_to_curve_hasher::MapToCurveBasedHasher},
};
use ark_ff::field_hashers::DefaultFieldHasher;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use sha2::{Digest, Sha256};

use super::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, TimelockError};

/// RFC 9380's suite for hashing to G1, 128 bits of security.
type HashToG1 = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256, 128>, WBMap<G1Config>>;

/// The domain that drand's scheme `bls-unchained-g1-rfc9380` hashes in.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// What the beacon signs in a round, and what is encrypted to: the SHA-256 of the round as eight bytes, the
/// highest first, hashed to G1.
pub(super) fn identity(round: u64) -> Result<G1Affine, TimelockError> {
    hash_to_g1(DOMAIN, &Sha256::digest(round.to_be_bytes()))
}

fn hash_to_g1(domain: &[u8], message: &[u8]) -> Result<G1Affine, TimelockError> {
    HashToG1::new(domain).and_then(|hasher| hasher.hash(message)).map_err(|_| TimelockError::Curve)
}

/// Reads a public key, and refuses zero: to it, anybody could decrypt.
pub(super) fn read_public_key(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<G2Affine, TimelockError> {
    match G2Affine::deserialize_compressed(&bytes[..]) {
        Ok(point) if !point.is_zero() => Ok(point),
        _ => Err(TimelockError::PublicKey),
    }
}

/// Reads a signature of exactly [`SIGNATURE_BYTES`].
pub(super) fn read_signature(bytes: &[u8]) -> Result<G1Affine, TimelockError> {
    if bytes.len() != SIGNATURE_BYTES {
        return Err(TimelockError::Signature);
    }
    G1Affine::deserialize_compressed(bytes).map_err(|_| TimelockError::Signature)
}

/// The compressed form, which must be of `N` bytes.
pub(super) fn compressed<const N: usize>(value: &impl CanonicalSerialize) -> Result<[u8; N], TimelockError> {
    let mut bytes = [0; N];
    if value.compressed_size() != N {
        return Err(TimelockError::Curve);
    }
    value.serialize_compressed(&mut bytes[..]).map_err(|_| TimelockError::Curve)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn hashing_to_the_curve_is_that_of_rfc_9380() {
        // Appendix J.9.1 has the x and y of each point; compressed, x with the flags in its highest bits.
        let domain = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";
        let vectors = [
            (
                "",
                "852926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
            ),
            (
                "abc",
                "83567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
            ),
            (
                "abcdef0123456789",
                "91e0b079dea29a68f0383ee94fed1b940995272407e3bb916bbf268c263ddd57a6a27200a784cbc248e84f357ce82d98",
            ),
        ];
        for (message, expected) in vectors {
            let point = hash_to_g1(domain, message.as_bytes()).unwrap();
            assert_eq!(hex::encode(compressed::<SIGNATURE_BYTES>(&point).unwrap()), expected);
        }
    }

    #[test]
    fn points_off_the_curve_or_out_of_the_subgroup_are_refused() {
        assert_eq!(read_public_key(&[0x11; PUBLIC_KEY_BYTES]), Err(TimelockError::PublicKey));
        let mut zero = [0; PUBLIC_KEY_BYTES];
        zero[0] = 0xc0;
        assert_eq!(read_public_key(&zero), Err(TimelockError::PublicKey));
        assert_eq!(read_signature(&[]), Err(TimelockError::Signature));
        assert_eq!(read_signature(&[0xff; SIGNATURE_BYTES]), Err(TimelockError::Signature));
        // x = 4 is on the curve (y² = 68 has a root), but not in the subgroup of the prime order.
        let mut outside = [0; SIGNATURE_BYTES];
        outside[0] = 0x80;
        outside[SIGNATURE_BYTES - 1] = 4;
        assert!(G1Affine::deserialize_compressed_unchecked(&outside[..]).unwrap().is_on_curve());
        assert_eq!(read_signature(&outside), Err(TimelockError::Signature));
    }
}
