//! What is encrypted: weights, and whose they are.

use parity_scale_codec::{Decode, Encode};

use super::TimelockError;

/// The plaintext of a timelocked weight commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightCommit {
    /// The public key of the hotkey that commits. The chain drops a commit whose hotkey is another than the
    /// one that signed it. `None` only in the legacy form, which anybody could copy and hand in as their own.
    pub hotkey: Option<[u8; 32]>,
    /// Whom the weights are for.
    pub uids: Vec<u16>,
    /// The weights, in the same order.
    pub values: Vec<u16>,
    /// The version of the validator's code, at least the subnet's `weights_version`, or 0 where that is 0.
    pub version_key: u64,
}

#[derive(Encode, Decode)]
struct Present {
    hotkey: Vec<u8>,
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

#[derive(Encode, Decode)]
struct Legacy {
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

impl WeightCommit {
    /// The SCALE bytes; without a hotkey, those of the legacy form.
    pub fn encode(&self) -> Vec<u8> {
        let rest = (&self.uids, &self.values, self.version_key);
        match &self.hotkey {
            Some(hotkey) => (&hotkey[..], rest).encode(),
            None => rest.encode(),
        }
    }

    /// Reads either form as the chain does: the legacy one if the present one cannot be read or its hotkey is
    /// shorter than 32 bytes. Of a longer hotkey, the first 32 bytes count; bytes behind the end do not.
    ///
    /// # Errors
    /// [`TimelockError::NotWeights`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TimelockError> {
        if let Ok(Present { hotkey, uids, values, version_key }) = Present::decode(&mut &bytes[..])
            && let Some(hotkey) = hotkey.first_chunk()
        {
            return Ok(Self { hotkey: Some(*hotkey), uids, values, version_key });
        }
        match Legacy::decode(&mut &bytes[..]) {
            Ok(Legacy { uids, values, version_key }) => Ok(Self { hotkey: None, uids, values, version_key }),
            Err(_) => Err(TimelockError::NotWeights),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn commit(hotkey: Option<[u8; 32]>) -> WeightCommit {
        WeightCommit { hotkey, uids: vec![0, 1], values: vec![65535, 1], version_key: 7 }
    }

    #[test]
    fn the_bytes_are_those_of_the_official_library() {
        let weights = "080000010008ffff01000700000000000000";
        assert_eq!(hex::encode(commit(Some([1; 32])).encode()), format!("80{}{weights}", "01".repeat(32)));
        assert_eq!(hex::encode(commit(None).encode()), weights);
    }

    #[test]
    fn both_forms_are_read_back() {
        for commit in [commit(Some([9; 32])), commit(None)] {
            let mut bytes = commit.encode();
            assert_eq!(WeightCommit::decode(&bytes).unwrap(), commit);
            bytes.push(0);
            assert_eq!(WeightCommit::decode(&bytes).unwrap(), commit);
        }
        let many: Vec<u16> = (0..=255).collect();
        let large = WeightCommit { uids: many.clone(), values: many, ..commit(Some([2; 32])) };
        assert_eq!(WeightCommit::decode(&large.encode()).unwrap(), large);
    }

    #[test]
    fn a_hotkey_of_another_length() {
        let hotkey = [[3u8; 32], [4; 32]].concat();
        let long = (hotkey, vec![5u16], vec![6u16], 0u64).encode();
        assert_eq!(WeightCommit::decode(&long).unwrap().hotkey, Some([3; 32]));
        let short = (vec![3u8; 31], vec![5u16], vec![6u16], 0u64).encode();
        assert_eq!(WeightCommit::decode(&short), Err(TimelockError::NotWeights));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert_eq!(WeightCommit::decode(&[]), Err(TimelockError::NotWeights));
        // A length of 2³⁰ − 1 with nothing behind it.
        assert_eq!(WeightCommit::decode(&[0xfe, 0xff, 0xff, 0xff]), Err(TimelockError::NotWeights));
        let bytes = commit(Some([1; 32])).encode();
        assert_eq!(WeightCommit::decode(&bytes[..bytes.len() - 1]), Err(TimelockError::NotWeights));
    }
}
