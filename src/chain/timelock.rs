//! Weights that nobody can read before their time: commit-reveal version 4.
//!
//! A validator encrypts its weights ([`WeightCommit`]) to a future round of a randomness beacon ([`QUICKNET`]
//! on the main network) and gives the chain the ciphertext. The beacon's signature of that round, once it is
//! published, is the key: the chain decrypts and sets the weights by itself. Which round that is follows from
//! the subnet's epochs ([`EpochState`], or [`FixedEpochs`] on older chains).
//!
//! The encryption is the identity-based one of Boneh and Franklin over BLS12-381, with the round as identity,
//! and AES-256-GCM for the text; its bytes are those of the `tle` crate, which the chain decrypts with.
//! Everything here is computation: randomness and time come in as arguments.
//!
//! ```
//! use templar::chain::timelock::{BeaconSecret, WeightCommit, decrypt, encrypt, public_key, sign_pulse};
//!
//! let secret = BeaconSecret::from_bytes(&[7; 32])?;
//! let (uids, values) = (vec![0, 4], vec![65535, 9]);
//! let commit = WeightCommit { hotkey: Some([1; 32]), uids, values, version_key: 0 };
//! let sealed = encrypt(&commit.encode(), 1000, &public_key(&secret)?, &mut rand::rng())?;
//! let opened = decrypt(&sealed, &sign_pulse(&secret, 1000)?)?;
//! assert_eq!(WeightCommit::decode(&opened)?, commit);
//! # Ok::<(), templar::chain::timelock::TimelockError>(())
//! ```

mod beacon;
mod curve;
mod error;
mod ibe;
mod payload;
mod salted;
mod schedule;
mod seal;
mod wire;

pub use beacon::{Beacon, BeaconSecret, QUICKNET, public_key, sign_pulse, verify_pulse};
pub use error::TimelockError;
pub use payload::WeightCommit;
pub use salted::commit_hash;
pub use schedule::{EpochState, FixedEpochs, MOST_BLOCKS_WITHOUT_EPOCH, Reveal, SAFETY_BLOCKS};
pub use seal::{OVERHEAD_BYTES, decrypt, encrypt};

/// Bytes of a beacon's public key: a compressed point of G2.
pub const PUBLIC_KEY_BYTES: usize = 96;

/// Bytes of a beacon's signature: a compressed point of G1.
pub const SIGNATURE_BYTES: usize = 48;

/// The longest ciphertext that the chain takes as a weight commit, bytes.
pub const MAX_COMMIT_BYTES: usize = 5000;

/// The `commit_reveal_version` that goes with these commits.
pub const COMMIT_REVEAL_VERSION: u16 = 4;
