//! The model, its data and its pseudo-gradients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod data;
mod data_reference;
mod gradient;
mod learning;
mod reference;
#[path = "../support.rs"]
mod support;
