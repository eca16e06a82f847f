//! What a node answers: how long it may take, and what its errors say.

use std::time::Duration;

use subxt::rpcs;

/// How long one request may take, a reconnection in its midst included.
pub(in crate::chain) const REQUEST: Duration = Duration::from_secs(30);

/// Whether the connection broke, and is being made again.
pub(in crate::chain) fn is_lost(error: &rpcs::Error) -> bool {
    matches!(error, rpcs::Error::DisconnectedWillReconnect(_) | rpcs::Error::Client(_))
}

/// What a node said, its details included: the reason of a refusal is in them.
pub(in crate::chain) fn words(error: &rpcs::UserError) -> String {
    match error.data.as_deref().map(|data| data.get().trim_matches('"')) {
        Some(data) if !data.is_empty() => format!("{}: {data}", error.message),
        _ => error.message.clone(),
    }
}

/// The innermost cause, which is the one that says something.
pub(in crate::chain) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
