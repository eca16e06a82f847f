//! The program as a person meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "../support.rs"]
mod support;
mod verbs;
mod wallet;
