//! The text that is trained on: the corpus, who trains on what, and what everybody is judged on.
//!
//! - [`Preparation`] makes a corpus of Parquet, JSON lines and text, whatever their size.
//! - [`Corpus`] is prepared text: shards of tokens, and a manifest ([`CorpusManifest`]) that names every byte of them.
//! - [`Sequences`] cuts it into training sequences and held-out ones.
//! - [`Shares`] gives every peer of a window a part of its own, [`assigned`] and [`numpy`] draw for each by itself; [`random`] draws what
//!   everybody is judged on. All are pure functions that everyone recomputes.

mod assignment;
mod corpus;
mod digest;
mod error;
mod format;
mod health;
mod mirror;
mod permutation;
mod pieces;
mod prepare;
mod remote;
mod sequences;
mod slab;
mod tree;
mod verify;

pub mod numpy;

pub use assignment::{assigned, audited, judged, random};
pub use corpus::Corpus;
pub use digest::{sample_digest, sample_id};
pub use error::DataError;
pub use format::{CorpusManifest, Dtype, MANIFEST, Shard, ids_file, shard_file, tree_file};
pub use mirror::{InBucket, Mirror, mirror};
pub use permutation::{Permutation, Shares};
pub use prepare::{Bring, InputFile, Kind, Place, Preparation, Progress, Tokens, default_sources, local};
pub use sequences::Sequences;
pub use tree::{PIECE, Piece, Shape, TreeBuilder};
pub use verify::verify;
