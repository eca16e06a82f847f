//! Buckets: the conformance suite on a real S3 server, another client, hostile servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod boto3;
mod faults;
mod hostile;
mod served;
mod store;
#[path = "../support.rs"]
mod support;
