use blake2::{
    Blake2b, Digest,
    digest::consts::{U8, U16},
};

/// The id of a sample: BLAKE2b with 8 bytes of output over the sample's raw token bytes, read as a
/// little-endian number. The same text has the same id wherever it stands.
pub fn sample_id(token_bytes: &[u8]) -> u64 {
    u64::from_le_bytes(Blake2b::<U8>::digest(token_bytes).into())
}

/// The receipt for a set of samples: BLAKE2b with 16 bytes of output, in hex, over the sorted ids as
/// little-endian u64. The order of `ids` does not matter.
pub fn sample_digest(ids: &[u64]) -> String {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let mut hash = Blake2b::<U16>::new();
    for id in sorted {
        hash.update(id.to_le_bytes());
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_reference() {
        assert_eq!(sample_digest(&[5, 3, 1 << 40]), "9d65001a503de0f97115628e7e6bc2d7");
        assert_eq!(sample_digest(&[1 << 40, 5, 3]), sample_digest(&[5, 3, 1 << 40]));
        assert_ne!(sample_digest(&[5, 3]), sample_digest(&[5, 3, 3]));
    }

    #[test]
    fn the_id_is_that_of_python() {
        // int.from_bytes(hashlib.blake2b(b"abc", digest_size=8).digest(), "little")
        assert_eq!(sample_id(b"abc"), 6455300059550759896);
        assert_ne!(sample_id(b"abc"), sample_id(b"abd"));
    }
}
