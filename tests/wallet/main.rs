//! Wallets and timelocks, beside the programs that Bittensor uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod btcli;
mod keyfiles;
#[path = "../support.rs"]
mod support;
mod timelock;
