//! Train one language model in the open, by strangers, paid for what their work is worth.
//!
//! A *run* is described by one file, the [`manifest`]; blocks of the [`chain`] are its clock
//! ([`window`]). Miners [`train`] the [`model`] on assigned [`data`], [`compress`] what they learned with the run's [`codec`] into
//! a pseudo-[`gradient`] and publish it in their [`bucket`]; validators judge it with [`gauntlet`], and
//! everybody [`aggregate`]s the same [`round`], which one of them decides ([`succession`]), and keeps a [`checkpoint`] now and then. [`node`] holds what the programs share, [`audit`] repeats
//! what a validator did.
//!
//! ```
//! use templar::{manifest::ManifestFile, model::parameter_count};
//!
//! let run = ManifestFile::preset("templar-1")?;
//! assert_eq!(parameter_count(&run.parsed.model), 1_204_881_408);
//! assert_eq!(run.parsed.schedule().window_of(6_999_993), 999_999);
//! # Ok::<(), templar::manifest::ManifestError>(())
//! ```

pub mod aggregate;
pub mod audit;
pub mod bucket;
pub mod chain;
pub mod checkpoint;
pub mod compress;
pub mod data;
pub mod device;
pub mod eval;
pub mod gauntlet;
pub mod gradient;
pub mod hub;
pub mod lab;
pub mod manifest;
pub mod model;
pub mod node;
pub mod report;
pub mod round;
pub mod sim;
pub mod succession;
pub mod telemetry;
pub mod tokenizer;
pub mod train;
pub mod wallet;
pub mod window;

pub use templar_codec as codec;
