use crate::{
    codec::{AggregateError, LayoutError},
    compress::CompressError,
    data::DataError,
    gauntlet::GauntletError,
    manifest::ManifestError,
    train::TrainError,
};

/// Why an experiment ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The text cannot be read, or is too short.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is no such size.
    #[error("there is no size `{0}`: take tiny, small or 100m")]
    NoTask(String),
    /// There is too little text for every token to be new.
    #[error("the text has {found} sequences to train on, and {needed} are needed")]
    TooLittleText {
        /// Sequences that there are.
        found: u64,
        /// Sequences of the whole experiment.
        needed: u64,
    },
    /// There are no rules to judge by.
    #[error(transparent)]
    Rules(#[from] ManifestError),
    /// The model cannot be cut into chunks.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// What was learned cannot be sent.
    #[error(transparent)]
    Encode(#[from] CompressError),
    /// The step cannot be computed.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// Gauntlet refused a window.
    #[error(transparent)]
    Gauntlet(#[from] GauntletError),
}
