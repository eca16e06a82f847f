//! The model, its data and its pseudo-gradients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and shows what it found"
)]

mod data;
mod data_reference;
mod eval;
mod gradient;
mod hash_reference;
mod hugging_face;
mod inner_reference;
mod lab;
mod learning;
mod mirrors;
mod numpy_pages;
mod reference;
mod reference_codec;
#[path = "../support.rs"]
mod support;
mod tasks;
mod tokenizers;
