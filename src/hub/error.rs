//! What can go wrong with the Hub.

use super::Repo;
use std::path::PathBuf;

/// Why something could not be fetched from the Hub, or put there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No name of a repository.
    #[error("`{0}` is no name of a repository")]
    Name(String),
    /// No address.
    #[error("the endpoint {0} is no address")]
    Endpoint(String),
    /// A token would be sent in clear text.
    #[error("the endpoint {0} is not encrypted, and a token would be sent to it")]
    ClearText(String),
    /// The client could not be made.
    #[error("no connection can be made")]
    Client(#[source] reqwest::Error),
    /// Not allowed.
    #[error("the Hub does not give access to {what} (status {status}){}", said_of(said))]
    Denied {
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was shown.
        with_token: bool,
        /// The server's own words.
        said: Option<String>,
    },
    /// Not there.
    #[error("the Hub has no {what}{}", said_of(said))]
    NotFound {
        /// What was asked for.
        what: String,
        /// The server's own words.
        said: Option<String>,
    },
    /// Another status that is no success.
    #[error("the Hub answered {status} to {what}{}", said_of(said))]
    Status {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// The server's own words.
        said: Option<String>,
    },
    /// No answer, or half of one.
    #[error("the connection broke while asking for {what}")]
    Broken {
        /// What was asked for.
        what: String,
        /// How.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is not what the Hub answers.
    #[error("the Hub's answer about {what} is not understood: {problem}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// A file whose content is another than its repository says.
    #[error("{file} came with a wrong hash")]
    WrongHash {
        /// The file.
        file: String,
    },
    /// Nothing may be fetched, and the cache does not have it.
    #[error("{repo} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")]
    Offline {
        /// The repository.
        repo: Repo,
    },
    /// The disk refused.
    #[error("cannot {verb} {path}")]
    Disk {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is nobody to put something there as.
    #[error("there is no token to show to the Hub")]
    NoToken,
}

fn said_of(said: &Option<String>) -> String {
    said.as_ref().map_or_else(String::new, |said| format!(": {said}"))
}

impl HubError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name(_) => "write it as hf:OWNER/NAME, or hf:OWNER/NAME@REVISION",
            Self::Endpoint(_) => "set HF_ENDPOINT to an address that begins with https://",
            Self::ClearText(_) => "use an endpoint with https://, or unset HF_TOKEN",
            Self::Denied { with_token: true, .. } => {
                "see on the repository's page whether this token's user has access, and whether the token may write"
            }
            Self::Denied { .. } => "set HF_TOKEN, or log in with Hugging Face's own tool",
            Self::NotFound { .. } => "check owner, name and revision; a private repository needs HF_TOKEN",
            Self::Status { status: 429, .. } => {
                "too many requests: wait some minutes and start again; what came is kept"
            }
            Self::Client(_) | Self::Broken { .. } | Self::Status { .. } => {
                "try again later: it goes on where it was"
            }
            Self::Answer { .. } => "check HF_ENDPOINT; it must speak the Hub's interface",
            Self::WrongHash { .. } => "try again, and if it stays so do not use this source",
            Self::Offline { .. } => "unset HF_HUB_OFFLINE",
            Self::Disk { .. } => {
                "see that the folder can be written and the disk has room; HF_HOME names another"
            }
            Self::NoToken => "set HF_TOKEN to a token that may write, or log in with Hugging Face's own tool",
        }
    }

    /// Whether it may be well another time.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == 408 || *status == 429 || *status >= 500,
            // A redirect that is refused stays refused.
            Self::Broken { source, .. } => !source.is_redirect() && !source.is_builder(),
            _ => false,
        }
    }
}
