//! Weights by every path: plainly, as a timelocked commit that the chain opens by itself, or as a salted commit that
//! the validator reveals later. Which one follows from the subnet's own settings.
//!
//! Everything that can be known before is checked before anything is signed: UIDs that are gone, the permit, the
//! rate limit, the version key.

mod book;
mod inherited;
pub mod plan;
pub mod request;
mod set;
mod validator_state;

#[cfg(test)]
mod tests;

pub use book::{CommitBook, MemoryBook};
pub use plan::Plan;
pub use request::{RevealState, SaltedCommit, SubmittedWeights, WeightsPath, WeightsRequest};
