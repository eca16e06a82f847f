//! Wallets and timelocks, beside the programs that Bittensor uses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod btcli;
mod keyfiles;
#[path = "../support.rs"]
mod support;
mod timelock;
