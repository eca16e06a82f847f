use crate::{bucket::BucketError, model::ModelError, round::DocumentError, window::Window};

/// Why a checkpoint cannot be written, published or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The record lists other files than the run's manifest gives.
    #[error("the record of the checkpoint of window {window} does not fit the run: {problem}")]
    Form {
        /// The window.
        window: Window,
        /// What is wrong.
        problem: String,
    },
    /// A file of tensors cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A bucket cannot be used.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The record cannot be signed or opened.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A file of the node's own cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what its record says.
    #[error("{file} of the checkpoint of window {window} is damaged in {place}")]
    Damaged {
        /// The window.
        window: Window,
        /// The file's name.
        file: String,
        /// Where it was read.
        place: String,
    },
    /// The files are whole, and hold another model than the record names.
    #[error("the checkpoint of window {window} is not the model that its record names")]
    OtherModel {
        /// The window.
        window: Window,
    },
    /// What was written to the node's own bucket is not what the bucket has.
    #[error(
        "the bucket {bucket} does not have {file} of the checkpoint of window {window} as it was written"
    )]
    NotStored {
        /// The window.
        window: Window,
        /// The file's name.
        file: String,
        /// The bucket.
        bucket: String,
    },
    /// Another source was there, and this one took too long.
    #[error("{place} is too slow for {file} of the checkpoint of window {window}")]
    Slow {
        /// The window.
        window: Window,
        /// The file's name.
        file: String,
        /// Where it was read.
        place: String,
    },
    /// Every source was asked.
    #[error("none of {sources} buckets gives {file} of the checkpoint of window {window}")]
    NoSource {
        /// The window.
        window: Window,
        /// The file's name.
        file: String,
        /// How many were asked.
        sources: usize,
        /// What the last one said.
        #[source]
        source: Option<Box<CheckpointError>>,
    },
    /// The thread that wrote it is gone.
    #[error("the checkpoint of window {window} was not written to its end")]
    Interrupted {
        /// The window.
        window: Window,
    },
}

impl CheckpointError {
    /// Whether the same may go well a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bucket(error) => error.is_transient(),
            Self::Slow { .. } | Self::NotStored { .. } => true,
            Self::NoSource { source, .. } => source.as_ref().is_some_and(|source| source.is_transient()),
            _ => false,
        }
    }
}
