//! The development chain: Bittensor's interface for what a subnet needs, in one process.
//!
//! FRAME pallets run natively, blocks are made on a clock, and Substrate's legacy JSON-RPC is served to
//! subxt and to Python clients. Every block is final at once, and every block and every state stays
//! readable: the chain is its own archive. With a folder it survives a crash of its process or machine.
//!
//! ```no_run
//! # async fn example() -> Result<(), templar_devchain::DevchainError> {
//! let config = templar_devchain::Config { port: 9944, ..Default::default() };
//! let chain = templar_devchain::run(config).await?;
//! println!("{}", chain.url());
//! chain.stopped().await
//! # }
//! ```

/// The secret of the beacon that a development chain should have: 32 bytes of a scalar, the highest first.
///
/// It is public, so what is encrypted to this beacon is hidden from nobody. That is its purpose: every client
/// of every development chain finds the same beacon, and needs no network for it.
pub const BEACON_SECRET: [u8; 32] = *b"templar devchain's public secret";

mod archive;
mod chain;
mod externalities;
mod history;
mod node;
mod pool;
mod rpc;
mod spec;

pub use archive::ArchiveError;
pub use chain::ChainError;
pub use node::{Config, DevchainError, Handle, run};
pub use node_subtensor_runtime::{Beacon, metadata};
pub use spec::SpecVersion;
