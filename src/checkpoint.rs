//! Checkpoints: the run's model in files, each with its hash, and a signed record that names them all.
//!
//! [`Form`] says into which files a model is cut: a pure function of the run's manifest, so that the same model is the same
//! bytes in everybody's bucket, and a record that lists anything else is refused before anything is fetched.
//!
//! A [`Writer`] writes them to disk ([`Shelf`]) and from there into the node's bucket ([`Target`]) beside the node's work; the record
//! comes after all files, and the one that names it the newest comes last. [`Fetch`] takes the files from whoever has them.

mod error;
mod fetch;
mod form;
mod shelf;
mod thinning;
mod upload;
mod writer;

pub use error::CheckpointError;
pub use fetch::{Fetch, Source};
pub use form::{Form, PlannedFile};
pub use shelf::{Shelf, Stand};
pub use thinning::Thinning;
pub use upload::Target;
pub use writer::{Desk, Writer};

/// The signed record of a checkpoint, beside its files; it is written after all of them.
pub const RECORD_FILE: &str = "checkpoint.json";

#[cfg(test)]
mod tests;
