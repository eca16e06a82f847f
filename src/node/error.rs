//! Why a node cannot go on.

use crate::{
    bucket::BucketError,
    chain::ChainError,
    checkpoint::CheckpointError,
    codec::{AggregateError, LayoutError},
    compress::CompressError,
    data::DataError,
    gauntlet::GauntletError,
    gradient::GradientError,
    manifest::ManifestError,
    model::ModelError,
    round::DocumentError,
    telemetry::score_log::ScoreLogError,
    train::TrainError,
    wallet::AccountId,
    window::Window,
};

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The chain cannot be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A bucket cannot be used.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A signed document is not what it should be.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A pseudo-gradient that the leader accepted cannot be used.
    #[error("the round of window {window} names a pseudo-gradient of {hotkey} that nobody can fetch")]
    Missing {
        /// The window.
        window: Window,
        /// Whose it is.
        hotkey: AccountId,
        /// What the last source said, where it was fetched but not usable.
        #[source]
        source: Option<GradientError>,
    },
    /// Nobody on the subnet has a validator permit, a bucket and a run.
    #[error("subnet {0} has no leader: no neuron with a validator permit has committed a bucket and a run")]
    NoLeader(u16),
    /// The hotkey has no UID on the subnet.
    #[error("hotkey {hotkey} is not registered on subnet {netuid}")]
    NotRegistered {
        /// The hotkey.
        hotkey: AccountId,
        /// The subnet.
        netuid: u16,
    },
    /// The validators run another manifest.
    #[error("the subnet's run has manifest {theirs}, this node has {ours}")]
    OtherRun {
        /// The leader's hash, hex.
        theirs: String,
        /// This node's hash, hex.
        ours: String,
    },
    /// The model is not the one that the leader's record was made for.
    #[error(
        "this node's model is not the run's any more: before the step of window {window} it is {ours}, the leader's is {theirs}"
    )]
    Diverged {
        /// The window.
        window: Window,
        /// This node's hash, hex.
        ours: String,
        /// The leader's hash, hex.
        theirs: String,
    },
    /// A record is out of its place in the chain of records.
    #[error("the leader's record of window {window} does not follow on what was applied before")]
    OutOfOrder {
        /// The window.
        window: Window,
    },
    /// A record names more pseudo-gradients than a round of the run can have.
    #[error(
        "the record of window {window} names {count} pseudo-gradients, and a round of this run has {limit} at most"
    )]
    TooManyAccepted {
        /// The window.
        window: Window,
        /// How many it names.
        count: usize,
        /// The manifest's `top_g`.
        limit: usize,
    },
    /// A record names a peer more than once.
    #[error("the record of window {window} names a peer twice")]
    NamedTwice {
        /// The window.
        window: Window,
    },
    /// Nobody has a record of a window that is over.
    #[error("no validator of the run has a record of window {window}")]
    NoRound {
        /// The window.
        window: Window,
    },
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The pseudo-gradients of a round cannot be combined.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The gradients cannot be made into a pseudo-gradient.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The node's own pseudo-gradient cannot be written.
    #[error(transparent)]
    Gradient(#[from] GradientError),
    /// The model does not fit the way pseudo-gradients are laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file of tensors cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The window's work has no result.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A window cannot be scored.
    #[error(transparent)]
    Gauntlet(#[from] GauntletError),
    /// The score log cannot be used.
    #[error(transparent)]
    ScoreLog(#[from] ScoreLogError),
    /// What a window assigns is not known yet.
    #[error("the block hash that draws the assignments of window {window} is not known yet")]
    NoSeed {
        /// The window.
        window: Window,
    },
    /// The text cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file of the node's own cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The block subscription ended for good.
    #[error("the chain's blocks stopped coming")]
    ChainEnded,
    /// The chain goes on and finalizes nothing.
    #[error("block {block} is not final after {seconds} s")]
    NotFinal {
        /// The block.
        block: u64,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The chain has no block where it must have one.
    #[error("the chain has no block {0}")]
    NoBlock(u64),
}

impl NodeError {
    /// Whether the same may go well a little later. Only what is set up wrong, and what the run itself says, is not.
    pub fn is_transient(&self) -> bool {
        match self {
            // An answer that makes no sense may come from something on the way; a clock can be set.
            Self::Bucket(BucketError::BadAnswer { .. } | BucketError::ClockSkew { .. }) => true,
            Self::Bucket(error) => error.is_transient(),
            // The endpoint may be behind, or have trouble of its own.
            Self::Chain(ChainError::Node { .. } | ChainError::NoSuchBlock { .. }) => true,
            Self::Chain(error) => error.is_transient(),
            Self::Checkpoint(error) => error.is_transient() || self.is_full_disk(),
            Self::Data(error) => error.is_transient() || self.is_full_disk(),
            Self::Missing { .. } | Self::NoBlock(_) | Self::NoSeed { .. } => true,
            Self::NotFinal { .. } => true,
            Self::File { .. } | Self::ScoreLog(_) | Self::Model(_) => self.is_full_disk(),
            _ => false,
        }
    }

    /// Whether it is for want of room on a disk.
    pub fn is_full_disk(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}
