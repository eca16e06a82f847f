//! numpy itself as the judge of `numpy`, on many seeds.

use crate::support;
use std::process::Command;
use templar::data::{
    numpy::{Pcg64, choice},
    sample_digest, sample_id,
};

const SCRIPT: &str = r#"
import hashlib, numpy as np
cases = []
for seed in [0, 1, 7, 2**32 - 1, 2**32, 2**64 - 1, 2**64 + 5, 2**127 + 3]:
    rng = np.random.default_rng(seed)
    raw = [int(x) for x in np.random.PCG64(seed).random_raw(3)]
    ints = [int(rng.integers(0, n, endpoint=True, dtype=np.uint64)) for n in (0, 5, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**63)]
    print("seed", seed, *raw, *ints)
for seed, population, count in [(3, 10, 10), (3, 10000, 9999), (3, 10001, 200), (3, 10001, 201), (4, 10001, 10001),
                                (5, 2**33, 50), (6, 1, 1), (6, 5, 0), (7, 50000, 1000), (7, 50000, 1001)]:
    got = [int(x) for x in np.random.default_rng(seed).choice(population, count, replace=False)]
    print("choice", seed, population, count, *got)
ids = [int(x) for x in np.random.default_rng(1).integers(0, 2**64, 1000, dtype=np.uint64)]
digest = hashlib.blake2b(np.sort(np.array(ids, dtype='<u8')).tobytes(), digest_size=16).hexdigest()
print("digest", int(digest, 16), *ids)
sample = np.arange(2048, dtype='<u4').tobytes()
print("sample", int.from_bytes(hashlib.blake2b(sample, digest_size=8).digest(), 'little'))
"#;

#[test]
fn numpy_draws_the_same() {
    let python = support::python("numpy", &["numpy==2.4.6"]);
    let output = Command::new(python.trim()).args(["-c", SCRIPT]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut kinds = [0; 4];
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (kind, numbers) = line.split_once(' ').unwrap();
        let numbers: Vec<u128> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
        let words = |from: usize| numbers[from..].iter().map(|&n| n as u64).collect::<Vec<_>>();
        match kind {
            "seed" => {
                kinds[0] += 1;
                let mut raw = Pcg64::new(numbers[0]);
                let mut ours: Vec<u64> = (0..3).map(|_| raw.next_u64()).collect();
                let mut generator = Pcg64::new(numbers[0]);
                let lasts = [0, 5, 1 << 31, (1 << 32) - 2, (1 << 32) - 1, 1 << 32, 1 << 63];
                ours.extend(lasts.map(|last| generator.up_to(last)));
                assert_eq!(ours, words(1), "seed {}", numbers[0]);
            }
            "choice" => {
                kinds[1] += 1;
                let ours = choice(&mut Pcg64::new(numbers[0]), numbers[1] as u64, numbers[2] as usize);
                assert_eq!(ours, Some(words(3)), "choice {:?}", &numbers[..3]);
            }
            "digest" => {
                kinds[2] += 1;
                assert_eq!(sample_digest(&words(1)), format!("{:032x}", numbers[0]));
            }
            "sample" => {
                kinds[3] += 1;
                let bytes: Vec<u8> = (0..2048u32).flat_map(u32::to_le_bytes).collect();
                assert_eq!(u128::from(sample_id(&bytes)), numbers[0]);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(kinds, [8, 10, 1, 1]);
}
