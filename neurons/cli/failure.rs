//! How a failure reaches a person: one sentence, what to do next, an exit code; and which of them each of the library's
//! errors has.

use std::{error::Error, fmt, process::ExitCode};
use templar::{
    audit::AuditError,
    bucket::{
        BucketError, EndpointError, NamedBucketError, OwnBucketError,
        server::{KeysError, ServerError},
    },
    chain::ChainError,
    checkpoint::CheckpointError,
    data::DataError,
    device::DeviceError,
    eval::EvalError,
    hub::HubError,
    manifest::ManifestError,
    model::ModelError,
    node::{NodeError, ScoresError},
    report::{ReportError, weights::WeightsReportError},
    round::DocumentError,
    sim::ScenarioError,
    telemetry::{TelemetryError, score_log::ScoreLogError},
    tokenizer::TokenizerError,
    train::TrainError,
    wallet::WalletError,
};

/// Why the program ended, as its exit code. `templar help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something that should not happen.
    Unexpected = 1,
    /// A flag or an argument is wrong (clap uses the same code).
    Usage = 2,
    /// A wallet or a key is missing or unusable.
    Wallet = 3,
    /// An endpoint cannot be reached or does not speak the protocol.
    Network = 4,
    /// The chain refused what was asked, or would.
    Chain = 5,
    /// A bucket cannot be read or written.
    Storage = 6,
    /// A manifest, a corpus or a checkpoint is not what it should be.
    Data = 7,
    /// An audit found something that is not as the validator says, or a simulation that the rules fall short of what they are for.
    Differs = 8,
    /// Another process uses the folder.
    InUse = 9,
    /// A transaction was sent, and whether it gets into the chain is not certain yet: whoever signs it again may pay twice.
    FateUnknown = 10,
    /// It was told to stop before it was done.
    Interrupted = 130,
}

impl Exit {
    /// Whether what ended a process with this code can pass by itself, so that it helps to start it again: an endpoint or a storage that
    /// was away. A wrong flag, a key or a file stays wrong.
    pub fn passes(code: i32) -> bool {
        [Self::Network, Self::Storage].iter().any(|exit| *exit as i32 == code)
    }
}

/// What `templar help` says about the codes.
pub const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  unexpected
    2  wrong usage
    3  wallet or key
    4  endpoint
    5  refused by the chain, or would be
    6  storage
    7  manifest, data, log or checkpoint
    8  an audit found a difference, or a simulation that the rules fall short
    9  another process uses the folder
   10  sent, and not certain whether it gets into the chain
  130  interrupted";

/// A failure as a person sees it: one sentence, what to do next, and an exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, exit }
    }

    /// A failure from an error and its causes, as one sentence.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Wrapping errors often repeat their source's words.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self::new(exit, message)
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Its exit code.
    #[cfg(test)]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the failure on stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("  hint: {hint}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error of the library, as a person sees it.
trait Reported: std::error::Error + Sized + 'static {
    /// One sentence, a hint, an exit code.
    fn to_failure(&self) -> Failure;
}

impl<E: Reported> From<E> for Failure {
    fn from(error: E) -> Self {
        error.to_failure()
    }
}

/// Errors that carry their own hint and always end with one code.
macro_rules! hinted {
    ($($error:ty => $exit:ident),* $(,)?) => {$(
        impl Reported for $error {
            fn to_failure(&self) -> Failure {
                Failure::from_error(Exit::$exit, self).hint(self.hint())
            }
        }
    )*};
}

hinted! {
    WalletError => Wallet,
    BucketError => Storage,
    NamedBucketError => Usage,
    OwnBucketError => Storage,
    KeysError => Storage,
    ServerError => Storage,
    DataError => Data,
    EvalError => Data,
    ReportError => Storage,
    ScenarioError => Data,
    ScoreLogError => Data,
    TelemetryError => Usage,
    TokenizerError => Data,
    WeightsReportError => Data,
}

impl Reported for ModelError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Data, self).hint(self.hint())
    }
}

impl Reported for HubError {
    fn to_failure(&self) -> Failure {
        let exit = match self {
            Self::Name(_) | Self::Endpoint(_) | Self::ClearText(_) | Self::NoToken => Exit::Usage,
            Self::Disk { .. } => Exit::Storage,
            Self::WrongHash { .. } => Exit::Data,
            _ => Exit::Network,
        };
        Failure::from_error(exit, self).hint(self.hint())
    }
}

impl Reported for TrainError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Unexpected, self)
            .hint("please report this: a model of random numbers did not train")
    }
}

impl Reported for EndpointError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Storage, self)
            .hint("write it like https://{account_id}.r2.cloudflarestorage.com or http://127.0.0.1:9000")
    }
}

impl Reported for DeviceError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Usage, self).hint("`--device cpu` works everywhere")
    }
}

impl Reported for ManifestError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Data, self).hint(
            "start from a preset: `--run local`, `--run templar-2` or `--run sparseloco`; docs/protocol.md explains each field",
        )
    }
}

impl Reported for DocumentError {
    fn to_failure(&self) -> Failure {
        Failure::from_error(Exit::Data, self).hint("the bucket's owner must publish it again")
    }
}

impl Reported for ChainError {
    fn to_failure(&self) -> Failure {
        let exit = match self {
            Self::UnknownNetwork { .. } => Exit::Usage,
            Self::FateUnknown { .. } | Self::NotFinal { .. } => Exit::FateUnknown,
            Self::NotKept { .. } => Exit::Storage,
            Self::NotSent { .. }
            | Self::Connect { .. }
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

impl Reported for NodeError {
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
            Self::Missing { .. } | Self::NoRound { .. } | Self::OutOfOrder { .. } => {
                Failure::from_error(Exit::Data, self)
                    .hint("the leader must publish it again; this node can be started again at any time")
            }
            Self::Checkpoint(error) => error.to_failure(),
            Self::ScoreLog(error) => error.to_failure(),
            Self::File { .. } => Failure::from_error(Exit::Storage, self)
                .hint("check the disk, or name another folder with --dir"),
            Self::ChainEnded => {
                Failure::from_error(Exit::Network, self).hint("check --network and start again")
            }
            Self::NotFinal { .. } => Failure::from_error(Exit::Network, self)
                .hint("finality has stopped, or the endpoint does not see it; try another with --network"),
            Self::NoBlock(_) => Failure::from_error(Exit::Network, self)
                .hint("the endpoint is behind; try another with --network"),
            Self::Data(error) => error.to_failure(),
            _ => Failure::from_error(Exit::Unexpected, self)
                .hint("please report this with the log: it should not happen"),
        }
    }
}

impl Reported for CheckpointError {
    fn to_failure(&self) -> Failure {
        match self {
            Self::Model(error) => error.to_failure(),
            Self::Bucket(error) => error.to_failure(),
            Self::Document(error) => error.to_failure(),
            Self::File { .. } => Failure::from_error(Exit::Storage, self)
                .hint("check the disk, or name another folder with --dir"),
            _ => Failure::from_error(Exit::Data, self).hint(
                "a validator of the run must publish it again; start again at any time: what came whole is kept",
            ),
        }
    }
}

impl Reported for AuditError {
    fn to_failure(&self) -> Failure {
        match self {
            Self::Node(error) => error.to_failure(),
            Self::Scores(error) => error.to_failure(),
            _ => Failure::from_error(Exit::Unexpected, self),
        }
    }
}

impl Reported for ScoresError {
    fn to_failure(&self) -> Failure {
        match self {
            Self::Bucket(error) => error.to_failure(),
            Self::Log(error) => error.to_failure(),
            _ => Failure::from_error(Exit::Data, self).hint(self.hint()),
        }
    }
}
