//! The chain's client and the verbs that use it, on a development chain in a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod bad_input;
mod client;
mod commands;
mod commits;
mod fault_proxy;
mod flaky_connection;
mod full_scan;
mod history_commands;
mod interface;
mod kills;
mod metagraph;
mod money;
mod node;
mod old_runtime;
mod outputs;
mod proxied;
mod proxy;
mod sdk;
#[path = "../support.rs"]
mod support;
mod weights_history;
mod weights_paths;
