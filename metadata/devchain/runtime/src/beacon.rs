//! The beacon that opens timelocks, as the program around the chain gives it.
//!
//! Subtensor mainnet takes its pulses from drand's quicknet. A development chain has a beacon of its own, with
//! quicknet's genesis, period and scheme and another key, so that it needs no network and its rounds never
//! lie in the future. The cryptography is not part of the runtime: whoever runs the chain installs it once.

use std::sync::OnceLock;

/// When round 1 was due, in seconds since the Unix epoch: quicknet's.
pub const GENESIS_SECONDS: u64 = 1_692_803_367;
/// Seconds between rounds: quicknet's.
pub const PERIOD_SECONDS: u64 = 3;

/// A beacon that signs the number of each round, and the opening of what was encrypted to one.
#[derive(Clone, Copy, Debug)]
pub struct Beacon {
    /// The key that its signatures are checked with: a compressed point of G2, 96 bytes.
    pub public_key: [u8; 96],
    /// A round's signature: a compressed point of G1.
    pub sign: fn(round: u64) -> Option<[u8; 48]>,
    /// The plaintext of a ciphertext that was encrypted to the round of this signature.
    pub open: fn(ciphertext: &[u8], signature: &[u8]) -> Option<Vec<u8>>,
}

static INSTALLED: OnceLock<Beacon> = OnceLock::new();

/// Installs the process's beacon. Later calls change nothing, as chains that run already rely on it.
pub fn install(beacon: Beacon) {
    let _ = INSTALLED.set(beacon);
}

/// The process's beacon, if it has one. Without one there are no pulses, and timelocks stay shut.
pub fn installed() -> Option<Beacon> {
    INSTALLED.get().copied()
}

/// The newest round at a time in milliseconds since the Unix epoch; 0 before the first.
pub fn newest_round(now_ms: u64) -> u64 {
    match (now_ms / 1_000).checked_sub(GENESIS_SECONDS) {
        Some(since) => since / PERIOD_SECONDS + 1,
        None => 0,
    }
}
