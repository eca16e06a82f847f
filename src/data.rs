//! The text that is trained on: the corpus, who trains on what, and what everybody is judged on.
//!
//! - [`Corpus`] is prepared text on disk: tokens and a small manifest with their hash.
//! - [`Sequences`] cuts it into training sequences and held-out ones.
//! - [`assigned`] and [`random`] draw sequences: pure functions that everyone recomputes.
//! - [`Shares`] gives every peer of a window a part of its own; no run uses it yet.

mod assignment;
mod corpus;
mod digest;
mod permutation;
mod prepare;
mod sequences;

pub use assignment::{assigned, judged, random};
pub use corpus::{Corpus, CorpusManifest};
pub use digest::{sample_digest, sample_id};
pub use permutation::{Permutation, Shares};
pub use prepare::default_sources;
pub use sequences::Sequences;

use std::path::PathBuf;

/// Why text cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The sources hold no text.
    #[error("no text was found in {sources}")]
    NoText {
        /// The files and folders that were searched.
        sources: String,
    },
    /// A file that was named is not text.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// What the default text is made of is not on this machine.
    #[error("there is no text to train on by default: cargo's registry on this machine has no {missing}")]
    NoRegistry {
        /// The first folder that is missing.
        missing: String,
    },
    /// The corpus' manifest cannot be understood.
    #[error("{} is not a corpus manifest", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The corpus uses what this program does not know.
    #[error("the corpus has the {field} `{value}`, which this program does not know")]
    Unknown {
        /// A field of the corpus' manifest.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// The tokens are not those that the manifest describes.
    #[error("the corpus in {} is not the one its manifest describes: {problem}", path.display())]
    Differs {
        /// The corpus' folder.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// There is too little text.
    #[error("the corpus has {sequences} sequences of {seq_len} tokens; {needed} are needed")]
    TooSmall {
        /// Sequences that there are.
        sequences: u64,
        /// Tokens of a sequence.
        seq_len: usize,
        /// The least that would do: the held-out ones and one to train on.
        needed: u64,
    },
}

impl DataError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "Check that it is there and that this user may use it.",
            Self::NoText { .. } => "Name a text file, or a folder with .rs, .md or .txt files in it.",
            Self::NotText { .. } => {
                "Name text files only; in a folder, other files are left out by themselves."
            }
            Self::NoRegistry { .. } => {
                "Name text files or folders with --data, or run `cargo fetch` in a clone of this program."
            }
            Self::Manifest { .. } | Self::Differs { .. } => "Prepare the corpus again.",
            Self::Unknown { .. } => "Use a newer version of this program, or prepare the corpus again.",
            Self::TooSmall { .. } => "Add text, or hold fewer sequences out in the run manifest.",
        }
    }
}
