//! How the library's errors reach a person: an exit code and a hint for each.

use crate::cli::{Exit, Failure};
use templar::{
    bucket::{
        BucketError, EndpointError, OwnBucketError,
        server::{KeysError, ServerError},
    },
    chain::ChainError,
    data::DataError,
    device::DeviceError,
    manifest::ManifestError,
    node::NodeError,
    report::{ReportError, weights::WeightsReportError},
    round::DocumentError,
    sim::ScenarioError,
    telemetry::{TelemetryError, score_log::ScoreLogError},
    wallet::WalletError,
};

/// Turns an error into what a person sees.
pub trait ToFailure {
    /// One sentence, a hint, an exit code.
    fn to_failure(&self) -> Failure;
}

/// Errors that carry their own hint and always end with one code.
macro_rules! hinted {
    ($($error:ty => $exit:ident),* $(,)?) => {$(
        impl ToFailure for $error {
            fn to_failure(&self) -> Failure {
                Failure::from_error(Exit::$exit, self).hint(self.hint())
            }
        }
    )*};
}

hinted! {
    WalletError => Wallet,
    BucketError => Storage,
    OwnBucketError => Storage,
    KeysError => Storage,
    ServerError => Storage,
    DataError => Data,
    ReportError => Storage,
    ScenarioError => Data,
    ScoreLogError => Data,
    TelemetryError => Usage,
    WeightsReportError => Data,
}

impl ToFailure for EndpointError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Storage, self)
            .hint("write it like https://{account_id}.r2.cloudflarestorage.com or http://127.0.0.1:9000")
    }
}

impl ToFailure for DeviceError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Usage, self).hint("`--device cpu` works everywhere")
    }
}

impl ToFailure for ManifestError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Data, self).hint(
            "start from a preset: `--run local` or `--run templar-1`; docs/protocol.md explains each field",
        )
    }
}

impl ToFailure for DocumentError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Data, self).hint("the bucket's owner must publish it again")
    }
}

impl ToFailure for ChainError {
    fn to_failure(&self) -> Failure {
        let exit = match self {
            Self::UnknownNetwork { .. } => Exit::Usage,
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Disconnected { .. }
            | Self::Node { .. }
            | Self::OtherChain { .. }
            | Self::NotSubtensor { .. }
            | Self::Closed
            | Self::Pruned { .. } => Exit::Network,
            _ => Exit::Chain,
        };
        Failure::from_error(exit, self).hint(self.hint())
    }
}

impl ToFailure for NodeError {
    fn to_failure(&self) -> Failure {
        match self {
            Self::Chain(error) => error.to_failure(),
            Self::Bucket(error) => error.to_failure(),
            Self::Document(error) => error.to_failure(),
            Self::Manifest(error) => error.to_failure(),
            Self::NotRegistered { netuid, .. } => Failure::from_error(Exit::Chain, self)
                .hint(format!("register it with `templar register --netuid {netuid}`")),
            Self::NoLeader(_) => Failure::from_error(Exit::Chain, self)
                .hint("start a validator with stake, or wait for its permit: permits change once an epoch"),
            Self::OtherRun { .. } => Failure::from_error(Exit::Data, self).hint(
                "start with the leader's manifest, or without --run to take it from the leader's bucket",
            ),
            Self::Missing { .. }
            | Self::NoRound { .. }
            | Self::BadCheckpoint { .. }
            | Self::OutOfOrder { .. } => Failure::from_error(Exit::Data, self)
                .hint("the leader must publish it again; this node can be started again at any time"),
            Self::ScoreLog(error) => error.to_failure(),
            Self::File { .. } => Failure::from_error(Exit::Storage, self)
                .hint("check the disk, or name another folder with --dir"),
            Self::ChainEnded => {
                Failure::from_error(Exit::Network, self).hint("check --network and start again")
            }
            Self::NoBlock(_) => Failure::from_error(Exit::Network, self)
                .hint("the endpoint is behind; try another with --network"),
            Self::NoSequence { .. } => {
                Failure::from_error(Exit::Data, self).hint("name the run's prepared corpus with --data")
            }
            _ => Failure::from_error(Exit::Unexpected, self)
                .hint("please report this with the log: it should not happen"),
        }
    }
}
