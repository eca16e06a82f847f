//! Buckets: the conformance suite on a real S3 server, another client, hostile servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod boto3;
mod hostile;
mod served;
mod store;
#[path = "../support.rs"]
mod support;
