//! Randomness beacons: public keys, and the time of each round.

use std::fmt;

use ark_bls12_381::{Bls12_381, Fr, G1Projective, G2Affine};
use ark_ec::{AffineRepr, pairing::Pairing};
use ark_ff::{PrimeField, Zero};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, TimelockError, curve};

/// A beacon that signs the number of each round on its own (unchained), with signatures in G1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// The key that its signatures are checked with: a compressed point of G2.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// When round 1 was published, milliseconds since the Unix epoch.
    pub genesis_ms: u64,
    /// The time between rounds, milliseconds; 0 counts as 1.
    pub period_ms: u64,
}

/// The League of Entropy's quicknet, which the main network reveals by; its chain hash begins with
/// `52db9ba7`.
pub const QUICKNET: Beacon = Beacon {
    public_key: [
        0x83, 0xcf, 0x0f, 0x28, 0x96, 0xad, 0xee, 0x7e, 0xb8, 0xb5, 0xf0, 0x1f, 0xca, 0xd3, 0x91, 0x22, 0x12,
        0xc4, 0x37, 0xe0, 0x07, 0x3e, 0x91, 0x1f, 0xb9, 0x00, 0x22, 0xd3, 0xe7, 0x60, 0x18, 0x3c, 0x8c, 0x4b,
        0x45, 0x0b, 0x6a, 0x0a, 0x6c, 0x3a, 0xc6, 0xa5, 0x77, 0x6a, 0x2d, 0x10, 0x64, 0x51, 0x0d, 0x1f, 0xec,
        0x75, 0x8c, 0x92, 0x1c, 0xc2, 0x2b, 0x0e, 0x17, 0xe6, 0x3a, 0xaf, 0x4b, 0xcb, 0x5e, 0xd6, 0x63, 0x04,
        0xde, 0x9c, 0xf8, 0x09, 0xbd, 0x27, 0x4c, 0xa7, 0x3b, 0xab, 0x4a, 0xf5, 0xa6, 0xe9, 0xc7, 0x6a, 0x4b,
        0xc0, 0x9e, 0x76, 0xea, 0xe8, 0x99, 0x1e, 0xf5, 0xec, 0xe4, 0x5a,
    ],
    genesis_ms: 1_692_803_367_000,
    period_ms: 3000,
};

impl Beacon {
    /// The newest round at a time (milliseconds since the Unix epoch); 0 before the first.
    pub fn newest_round(&self, time_ms: u64) -> u64 {
        match time_ms.checked_sub(self.genesis_ms) {
            Some(since) => (since / self.period_ms.max(1)).saturating_add(1),
            None => 0,
        }
    }
}

/// The secret of a beacon of one's own, for a development chain. Overwritten when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct BeaconSecret(Fr);

impl BeaconSecret {
    /// The scalar that 32 bytes stand for, the highest first, modulo the order of the curve's groups.
    ///
    /// # Errors
    /// [`TimelockError::ZeroSecret`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, TimelockError> {
        let scalar = Fr::from_be_bytes_mod_order(bytes);
        if scalar.is_zero() { Err(TimelockError::ZeroSecret) } else { Ok(Self(scalar)) }
    }
}

impl fmt::Debug for BeaconSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeaconSecret(..)")
    }
}

/// The public key to a secret.
///
/// # Errors
/// [`TimelockError::Curve`], which should not happen.
pub fn public_key(secret: &BeaconSecret) -> Result<[u8; PUBLIC_KEY_BYTES], TimelockError> {
    curve::compressed(&(G2Affine::generator() * secret.0))
}

/// A round's signature by a beacon of one's own.
///
/// # Errors
/// [`TimelockError::Curve`], which should not happen.
pub fn sign_pulse(secret: &BeaconSecret, round: u64) -> Result<[u8; SIGNATURE_BYTES], TimelockError> {
    curve::compressed(&(curve::identity(round)? * secret.0))
}

/// Whether a signature is the beacon's of a round: e(signature, generator) = e(identity, public key).
pub fn verify_pulse(public_key: &[u8; PUBLIC_KEY_BYTES], round: u64, signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature), Ok(identity)) =
        (curve::read_public_key(public_key), curve::read_signature(signature), curve::identity(round))
    else {
        return false;
    };
    // One product of two pairings costs less than two pairings.
    let minus_identity = -G1Projective::from(identity);
    let product = Bls12_381::multi_pairing([signature.into(), minus_identity], [G2Affine::generator(), key]);
    product.is_zero()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use sha2::{Digest, Sha256};

    use super::*;

    /// Published by quicknet: round, signature.
    const PULSES: [(u64, &str); 4] = [
        (
            1000,
            "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
        ),
        (
            1001,
            "b33bf3667cbd5a82de3a24b4e0e9fe5513cc1a0e840368c6e31f5fcfa79bea03f73896b25883abf2853d10337fb8fa41",
        ),
        (
            1002,
            "ab066f9c12dd6de1336fca0f925192fb0c72a771c3e4c82ede1fd362c1a770f9eb05843c6308ce2530b53a99c0281a6e",
        ),
        (
            1003,
            "b104c82771698f45fd8dcfead083d482694c31ab519bcef077f126f3736fe98c8392fd5d45d88aeb76b56ccfcb0296d7",
        ),
    ];

    #[test]
    fn quicknets_published_signatures_are_its_own() {
        for (round, signature) in PULSES {
            let signature = hex::decode(signature).unwrap();
            assert!(verify_pulse(&QUICKNET.public_key, round, &signature), "{round}");
            assert!(!verify_pulse(&QUICKNET.public_key, round + 1, &signature), "{round}");
            assert!(!verify_pulse(&QUICKNET.public_key, round, &signature[..47]), "{round}");
        }
        // drand publishes a round's randomness beside its signature, whose hash it is.
        let randomness = Sha256::digest(hex::decode(PULSES[0].1).unwrap());
        assert_eq!(
            hex::encode(randomness),
            "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd"
        );
    }

    #[test]
    fn a_beacon_of_ones_own_signs_what_its_key_verifies() {
        let secret = BeaconSecret::from_bytes(&[0xfe; 32]).unwrap();
        let key = public_key(&secret).unwrap();
        let signature = sign_pulse(&secret, u64::MAX).unwrap();
        assert!(verify_pulse(&key, u64::MAX, &signature));
        assert!(!verify_pulse(&key, 0, &signature));
        assert!(!verify_pulse(&QUICKNET.public_key, u64::MAX, &signature));
        let mut zero = [0; SIGNATURE_BYTES];
        zero[0] = 0xc0;
        assert!(!verify_pulse(&key, 0, &zero));
        assert_eq!(format!("{secret:?}"), "BeaconSecret(..)");
        assert_eq!(BeaconSecret::from_bytes(&[0; 32]), Err(TimelockError::ZeroSecret));
    }

    #[test]
    fn the_key_of_secret_one_is_the_generator() {
        let mut one = [0; 32];
        one[31] = 1;
        let key = public_key(&BeaconSecret::from_bytes(&one).unwrap()).unwrap();
        assert_eq!(key, curve::compressed(&G2Affine::generator()).unwrap());
        assert!(hex::encode(key).starts_with("93e02b6052719f607dacd3a088274f65596bd0d09920b61a"));
    }

    #[test]
    fn rounds_and_times() {
        assert_eq!(QUICKNET.newest_round(0), 0);
        assert_eq!(QUICKNET.newest_round(QUICKNET.genesis_ms), 1);
        assert_eq!(QUICKNET.newest_round(1_692_806_364_000), 1000);
        assert_eq!(QUICKNET.newest_round(1_692_806_363_999), 999);
        let still = Beacon { period_ms: 0, ..QUICKNET };
        assert_eq!(still.newest_round(u64::MAX), u64::MAX - QUICKNET.genesis_ms + 1);
    }
}
