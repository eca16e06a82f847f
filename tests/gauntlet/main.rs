//! What a validator makes of what it measured: the rules, the pay, the score log, the simulator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod claims;
mod openskill;
mod pay;
mod report;
mod rules;
mod scores_parquet;
mod sim;
#[path = "../support.rs"]
mod support;
mod training;
