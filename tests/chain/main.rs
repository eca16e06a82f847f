//! The chain's client and the verbs that use it, on a development chain in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod bad_input;
mod client;
mod commands;
mod commits;
mod flaky_connection;
mod history_commands;
mod interface;
mod metagraph;
mod node;
mod proxy;
mod sdk;
#[path = "../support.rs"]
mod support;
mod weights_history;
mod weights_paths;
