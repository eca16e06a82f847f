//! What a node says of itself: logs, and the signed [`score_log`], also as a table
//! ([`columns`]).

pub mod columns;
pub mod files;
pub(crate) mod parquet_table;
pub mod score_log;

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    sync::Mutex,
};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The environment variable that says what is logged, in the syntax of `tracing`'s filters: `info`,
/// `templar=debug,warn`.
pub const LOG_VARIABLE: &str = "TEMPLAR_LOG";

/// What is logged where the variable is not set.
const DEFAULT_FILTER: &str = "warn,templar=info";

/// Where log lines go.
#[derive(Debug, Clone, Copy)]
pub enum LogOutput<'a> {
    /// To people: stderr, in colour where that is a terminal. Stdout carries results and nothing else.
    Stderr,
    /// To a file that is appended to, without colours.
    File(&'a Path),
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The variable holds no filter.
    #[error("{LOG_VARIABLE} is set to `{value}`, which is no log filter")]
    Filter {
        /// What it holds.
        value: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The log file cannot be opened.
    #[error("cannot open the log file {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something in this process logs already.
    #[error("logging was set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl TelemetryError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "use a level such as `info` or a list such as `templar=debug,warn`",
            Self::Open { .. } => "make its folder, or name a file that can be written",
            Self::Twice(_) => "set it up once, at the start of the program",
        }
    }
}

/// Starts logging for the whole process. Call it once.
///
/// # Errors
///
/// When [`LOG_VARIABLE`] is no filter, the file cannot be opened, or something logs already.
pub fn init(output: LogOutput<'_>) -> Result<(), TelemetryError> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(value) if !value.is_empty() => {
            EnvFilter::try_new(&value).map_err(|source| TelemetryError::Filter { value, source })?
        }
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match output {
        LogOutput::Stderr => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour)).try_init()
        }
        LogOutput::File(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|source| TelemetryError::Open { path: path.to_owned(), source })?;
            registry.with(fmt::layer().with_writer(Mutex::new(file)).with_ansi(false)).try_init()
        }
    };
    started.map_err(TelemetryError::Twice)
}
