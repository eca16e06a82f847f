//! The program as a person meets it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod data;
mod eval;
mod help;
mod house;
mod hub;
mod model;
mod outputs;
mod serve;
#[path = "../support.rs"]
mod support;
mod verbs;
mod wallet;
