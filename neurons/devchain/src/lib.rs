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

mod archive;
mod chain;
mod era;
mod externalities;
mod history;
mod node;
mod pool;
mod rpc;

pub use archive::ArchiveError;
pub use chain::ChainError;
pub use era::Era;
pub use node::{Config, DevchainError, Handle, run};
pub use node_subtensor_runtime::{Beacon, metadata, subtensor::yuma};
