//! What a training step does between its matrix products, fused: every function reads and writes memory once.
//!
//! It knows slices of numbers and spans of a GPU's memory, rows of one width after each other; no tensor library, no model. Sums have
//! an order that does not depend on the number of threads, so that the same input gives the same bits on one machine.
//!
//! - [`host`]: loops for a processor;
//! - [`device`]: CUDA kernels for a GPU, compiled when they are first needed ([`nvrtc`]) and run by its driver ([`driver`]).

#![deny(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "kernels count places of several arrays at once")]

pub mod device;
pub mod driver;
pub mod host;
mod library;
pub mod nvrtc;

pub use device::{Device, Kind, Launch, Span};
pub use host::{Host, Turns};

/// Why a GPU's kernels cannot be had or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The driver's library is not there.
    #[error("the NVIDIA driver's library cannot be opened: {0}")]
    NoDriver(String),
    /// The driver knows less than is needed.
    #[error("the NVIDIA driver serves CUDA {found}, and {needed} is needed: install a newer driver")]
    OldDriver {
        /// The version that it serves.
        found: String,
        /// The one that is needed.
        needed: String,
    },
    /// The compiler's library is not there.
    #[error(
        "NVRTC, which compiles the kernels, cannot be opened: {0}: install the package nvidia-cuda-nvrtc beside torch"
    )]
    NoCompiler(String),
    /// The compiler refuses a kernel.
    #[error("NVRTC does not compile the kernels: {0}")]
    Refused(String),
    /// The GPU has no memory left.
    #[error("the GPU has no memory left: use smaller micro-batches, or a GPU with more")]
    OutOfMemory,
    /// The driver refuses.
    #[error("the NVIDIA driver refuses {what}: {code}")]
    Driver {
        /// What was asked for.
        what: String,
        /// Its answer.
        code: String,
    },
    /// libtorch refuses a product.
    #[error("libtorch says: {0}")]
    Torch(String),
    /// Spans that do not fit each other.
    #[error("{0}")]
    Shape(String),
}
