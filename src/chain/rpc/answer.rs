//! What a node answers: how long it may take, and what its errors say.

use std::time::Duration;

use subxt::rpcs::{
    self,
    client::reconnecting_rpc_client::{self as socket, RpcError},
};

/// How long one request may take, a reconnection in its midst included.
pub(in crate::chain) const REQUEST: Duration = Duration::from_secs(30);

/// Whether the connection broke, and is being made again. An answer that cannot be read, that is too large or that does not come is
/// trouble of the request's own: on another connection it would be the same.
pub(in crate::chain) fn is_lost(error: &rpcs::Error) -> bool {
    match error {
        rpcs::Error::DisconnectedWillReconnect(_) => true,
        rpcs::Error::Client(inner) => match inner.downcast_ref::<socket::Error>() {
            Some(socket::Error::RpcError(cause)) => matches!(
                cause,
                RpcError::Transport(_) | RpcError::RestartNeeded(_) | RpcError::ServiceDisconnect
            ),
            _ => true,
        },
        _ => false,
    }
}

/// That nothing was sent, because there is no connection.
#[derive(Debug)]
pub(in crate::chain) struct Unconnected(pub(in crate::chain) String);

impl std::fmt::Display for Unconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unconnected {}

/// Why nothing was sent, where that is certain.
pub(in crate::chain) fn unsent(error: &rpcs::Error) -> Option<String> {
    match error {
        rpcs::Error::Client(error) => error.downcast_ref::<Unconnected>().map(|error| error.0.clone()),
        _ => None,
    }
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
