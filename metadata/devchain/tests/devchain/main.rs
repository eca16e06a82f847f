//! The chain as its clients see it: over JSON-RPC, in a process of its own, and from Python.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod client;
mod crash;
mod python;
mod rpc;
mod subnet;
mod upgrade;

use std::time::Duration;
use templar_devchain::{Config, Handle, run};

/// A chain in memory with quick blocks.
async fn chain() -> Handle {
    run(Config { port: 0, block_time: Duration::from_millis(50), ..Default::default() }).await.unwrap()
}
