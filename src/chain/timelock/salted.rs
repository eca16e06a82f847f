//! Salted commits, the other kind: a hash now, the weights and the salt behind it later.

use blake2::{Blake2b, Digest, digest::consts::U32};
use parity_scale_codec::Encode;

/// What a validator commits to with `commit_weights`: BLAKE2b-256 of the SCALE tuple of all that it reveals
/// later.
///
/// `storage_index` is the subnet's number, plus 4096 for each mechanism after the first. The values are those
/// later given to `reveal_weights`; the salt may be of any length, and eight random numbers are the custom.
pub fn commit_hash(
    hotkey: &[u8; 32],
    storage_index: u16,
    uids: &[u16],
    values: &[u16],
    salt: &[u16],
    version_key: u64,
) -> [u8; 32] {
    let revealed = (hotkey, storage_index, uids, values, salt, version_key).encode();
    Blake2b::<U32>::digest(revealed).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn two_known_hashes() {
        // //Alice's sr25519 key.
        let alice = hex::decode("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d").unwrap();
        let alice = alice.try_into().unwrap();
        let salt: Vec<u16> = (1..=8).collect();
        let hash = |index| hex::encode(commit_hash(&alice, index, &[0, 1], &[65535, 32768], &salt, 0));
        assert_eq!(hash(1), "15d1d763685dfce22d8650296059d5767f0932787b33a80c31d996c3d36b6eef");
        assert_eq!(hash(4097), "f56c91559338c6be700b2c2d0ce59d9bdef46abd0ad6a4406c64fbcb60ea2360");
    }
}
