#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::chain::timelock::{QUICKNET, WeightCommit, verify_pulse};

const ROUND: u64 = 1000;

/// Quicknet's signature of that round.
fn signature() -> Vec<u8> {
    let signature =
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";
    hex::decode(signature).unwrap()
}

#[test]
fn a_ciphertext_of_the_official_library_opens() {
    // Made by bittensor-drand 2.0.0.
    let parts = [
        "99e6025db5fabbbc1c86a0d6af48fb032afb3e3edddcecaadf155095b1f7bcdbc8acdfae40ac51fc9ba0b1fa6953d8a4",
        "0d7dd66f5a4abbe89cd6f589d194661d30145ea94dd125f1365d1443fc16d1dc42d40484f9e53ebf6f1668beb34b20d0",
        "2000000000000000eb2ca602ab0826f3beab87cbb2bd6758857c47e515f7acaf6d37bd0a46ad7a35",
        "20000000000000003dcfee3261223f6c29e463f4044fda098d70ea9dbd53179552b80a21cc9b3757",
        "310000000000000015000000000000003c3948b28f5c88993b1dd2ff850680056d0e4e35370c000000000000007257ae93",
        "ac6a92f2eeee713d08000000000000004145535f47434d5f",
    ];
    let theirs = hex::decode(parts.concat()).unwrap();
    assert_eq!(theirs.len(), 5 + OVERHEAD_BYTES);
    assert_eq!(decrypt(&theirs, &signature()).unwrap(), b"hello");
    // Taken apart and put together, it is the same.
    assert_eq!(wire::Ciphertext::read(&theirs).unwrap().write().unwrap(), theirs);
}

#[test]
fn chance_decides_every_part() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut sealed = || encrypt(&[0; 32], ROUND, &QUICKNET.public_key, &mut rng).unwrap();
    let (first, second) = (sealed(), sealed());
    for part in [0..96, 104..136, 144..176, 192..240, 248..260] {
        assert_ne!(first[part.clone()], second[part]);
    }
    assert_eq!(encrypt(b"", 1, &[0; 96], &mut rng), Err(TimelockError::PublicKey));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_ciphertexts_are_errors_and_no_panics(
        seed: u64,
        text in prop::collection::vec(any::<u8>(), 0..80),
        damages in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        cut in any::<prop::sample::Index>(),
        cuts: bool,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sealed = encrypt(&text, ROUND, &QUICKNET.public_key, &mut rng).unwrap();
        // The last eight bytes are the cipher's name, which nobody reads.
        let read = sealed.len() - 8;
        for (place, change) in damages {
            sealed[place.index(read)] ^= change;
        }
        if cuts {
            sealed.truncate(cut.index(read));
        }
        match decrypt(&sealed, &signature()) {
            // Two changes of one byte may undo each other.
            Ok(opened) => prop_assert_eq!(opened, text),
            Err(TimelockError::Malformed { .. } | TimelockError::WrongSignature | TimelockError::Damaged) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn any_bytes_are_errors_and_no_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        signed in prop::collection::vec(any::<u8>(), 0..60),
        lengths in prop::collection::vec(any::<u64>(), 4),
    ) {
        prop_assert!(decrypt(&bytes, &signature()).is_err());
        prop_assert!(decrypt(&bytes, &signed).is_err());
        prop_assert!(!verify_pulse(&QUICKNET.public_key, 7, &signed));
        let _ = WeightCommit::decode(&bytes);
        // Lengths beyond all memory, where lengths stand.
        let mut rng = StdRng::seed_from_u64(5);
        let whole = encrypt(b"weights", ROUND, &QUICKNET.public_key, &mut rng).unwrap();
        for (place, length) in [96, 136, 176, 184].into_iter().zip(lengths) {
            let mut damaged = whole.clone();
            damaged[place..place + 8].copy_from_slice(&length.to_le_bytes());
            prop_assert!(decrypt(&damaged, &signature()).is_err());
        }
    }
}
