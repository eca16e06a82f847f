//! CUDA kernels beside the loops for processors, and NVIDIA's compiler.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod buffer;
mod codec;
mod compiler;
mod driver;
mod emulator;
mod llama;
