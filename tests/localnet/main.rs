//! A whole network of processes on this machine, and its audit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod audit;
mod catch_up;
mod data;
mod faults;
mod finality;
mod kills;
mod network;
mod succession;
#[path = "../support.rs"]
mod support;

/// Held while a network trains: two at once would wait for each other, and each has measured the machine for itself.
static ONE_NETWORK: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn one_network() -> std::sync::MutexGuard<'static, ()> {
    ONE_NETWORK.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
