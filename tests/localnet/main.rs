//! A whole network of processes on this machine, and its audit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod audit;
mod network;
#[path = "../support.rs"]
mod support;
