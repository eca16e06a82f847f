use std::time::Duration;

/// Why an operation on a bucket failed: what happened, whatever the backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// There is no object of that key.
    #[error("there is no object `{key}` in the bucket {bucket}")]
    NotFound {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// There is no bucket of that name.
    #[error("there is no bucket {bucket}")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// The store knows the request's sender and forbids it, or does not know the key or its secret.
    #[error("the store refuses to {operation} in the bucket {bucket} with this key ({code})")]
    PermissionDenied {
        /// The bucket.
        bucket: String,
        /// What was asked for: `read`, `write`, `list` or `delete`.
        operation: &'static str,
        /// The store's word for it, or the HTTP status.
        code: String,
    },
    /// The machine's clock and the store's are too far apart for a signature to be valid.
    #[error("the store says that this machine's clock is wrong ({code})")]
    ClockSkew {
        /// The store's word for it.
        code: String,
    },
    /// The object is larger than the caller allows.
    #[error("`{key}` has {} bytes{}, the limit is {limit}", size, if *exact { "" } else { " or more" })]
    TooLarge {
        /// The key.
        key: String,
        /// Bytes: as the store states them, or as many as had come when the read was cut off.
        size: u64,
        /// The most that was allowed.
        limit: u64,
        /// Whether `size` is the store's statement; else the store understated it.
        exact: bool,
    },
    /// No connection to the store.
    #[error("cannot reach the store at {endpoint}")]
    Unreachable {
        /// The store's address.
        endpoint: String,
        /// What the network said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store did not answer, or not fast enough.
    #[error("the store at {endpoint} did not finish to {operation} within {:.1} s", after.as_secs_f64())]
    TimedOut {
        /// The store's address.
        endpoint: String,
        /// What was asked for.
        operation: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The store asks to be asked less often, or has trouble of its own.
    #[error("the store at {endpoint} cannot answer for the moment ({code})")]
    Busy {
        /// The store's address.
        endpoint: String,
        /// The store's word for it.
        code: String,
    },
    /// The name cannot be a bucket's or an object's.
    #[error("the name `{name}` {problem}")]
    BadName {
        /// The name, made printable.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The object was replaced while it was being read.
    #[error("`{key}` was replaced while it was being read")]
    Changed {
        /// The key.
        key: String,
    },
    /// The store answered something else than S3 says.
    #[error("the store at {endpoint} gave an answer that makes no sense: {problem}")]
    BadAnswer {
        /// The store's address.
        endpoint: String,
        /// What was wrong with it.
        problem: String,
    },
}

impl BucketError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "The object may not have been published yet, or was removed.",
            Self::NoBucket { .. } => {
                "Create the bucket; it must be named like the account id, because the commitment has no room for another name."
            }
            Self::PermissionDenied { operation: "write" | "delete", .. } => {
                "Use a key that may write to this bucket, and check its secret."
            }
            Self::PermissionDenied { .. } => {
                "Check that the key may read this bucket, that its secret is right, and that the commitment on chain is current."
            }
            Self::ClockSkew { .. } => "Set this machine's clock, for example with NTP.",
            Self::TooLarge { .. } => {
                "The limit follows from the run manifest; such an object is not part of the run."
            }
            Self::Unreachable { .. } => "Check the endpoint's address and that the store is running.",
            Self::TimedOut { .. } => "Check the network, or allow more time.",
            Self::Busy { .. } => "Try again later.",
            Self::BadName { .. } => "Use letters, digits, `.`, `_`, `-` and single slashes.",
            Self::Changed { .. } => "Read it again.",
            Self::BadAnswer { .. } => "Check that the endpoint is an S3 server.",
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy { .. } | Self::Changed { .. }
        )
    }
}
