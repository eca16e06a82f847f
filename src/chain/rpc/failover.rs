//! One connection at a time to one of several endpoints: when it breaks, the next one is tried.
//!
//! A request that a break cuts off fails, and whoever made it decides whether to make it again
//! ([`Connection::ask`](crate::chain::rpc::connection::Connection::ask) does, for requests that change nothing); a transaction is never sent twice
//! by the connection. Subscriptions end with the connection. An endpoint that turns clients away (HTTP 403 and 429,
//! too many requests) is left alone for a while rather than asked again at once.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use subxt::rpcs::{
    self,
    client::{RawRpcFuture, RawRpcSubscription, RawValue, RpcClientT, reconnecting_rpc_client as socket},
};
use url::Url;

use crate::chain::rpc::{
    answer::{REQUEST, Unconnected, is_lost, root_cause},
    endpoint::shown,
};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(15);
/// The pause after a round of endpoints none of which answered; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long an endpoint that turned us away is left alone.
const TURNED_AWAY: Duration = Duration::from_secs(60);

/// Several endpoints of one chain.
pub(in crate::chain) struct Failover {
    endpoints: Vec<Url>,
    /// Until when each endpoint is left alone.
    alone: Mutex<Vec<Option<Instant>>>,
    current: tokio::sync::Mutex<Current>,
    /// The first block's hash, once it is known: an endpoint of another chain is no endpoint.
    genesis: Mutex<Option<String>>,
}

struct Current {
    open: Option<Arc<Open>>,
    /// The endpoint to try next.
    next: usize,
    pause: Duration,
}

/// A connection.
struct Open {
    rpc: socket::RpcClient,
    at: usize,
    broken: Arc<AtomicBool>,
}

/// No second try by the connection itself: the pool makes the next one.
#[derive(Debug, Clone)]
struct Once;

impl Iterator for Once {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        None
    }
}

impl fmt::Debug for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints.iter().map(shown)).finish()
    }
}

impl Failover {
    /// Endpoints in the order in which they are preferred; at least one.
    pub(in crate::chain) fn new(endpoints: Vec<Url>) -> Self {
        let alone = Mutex::new(vec![None; endpoints.len()]);
        let current = Current { open: None, next: 0, pause: FIRST_PAUSE };
        Self { endpoints, alone, current: tokio::sync::Mutex::new(current), genesis: Mutex::new(None) }
    }

    /// Makes the first connection; every endpoint is tried once.
    pub(in crate::chain) async fn connect(&self) -> Result<(), String> {
        let mut current = self.current.lock().await;
        let mut said = Vec::new();
        for at in 0..self.endpoints.len() {
            match self.open(at).await {
                Ok(open) => {
                    (current.open, current.next) = (Some(Arc::new(open)), at);
                    return Ok(());
                }
                Err(reason) if self.endpoints.len() == 1 => return Err(reason),
                Err(reason) => said.push(format!("{}: {reason}", shown(&self.endpoints[at]))),
            }
        }
        Err(said.join("; "))
    }

    /// The endpoint in use, as it may be shown.
    pub(in crate::chain) fn endpoint(&self) -> String {
        self.endpoints.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    async fn open(&self, at: usize) -> Result<Open, String> {
        let builder = socket::RpcClient::builder()
            .connection_timeout(CONNECT)
            .request_timeout(REQUEST)
            .retry_policy(Once);
        let built = tokio::time::timeout(CONNECT, builder.build(self.endpoints[at].as_str()));
        let rpc = match built.await {
            Err(_) => return Err(format!("no answer within {} s", CONNECT.as_secs())),
            Ok(Err(error)) => {
                let reason = root_cause(&error);
                if turns_away(&reason) {
                    self.leave_alone(at);
                }
                return Err(reason);
            }
            Ok(Ok(rpc)) => rpc,
        };
        let asked =
            rpc.request("chain_getBlockHash".to_owned(), RawValue::from_string("[0]".to_owned()).ok());
        let genesis = tokio::time::timeout(REQUEST, asked).await.ok().and_then(Result::ok);
        let Some(genesis) = genesis.map(|hash| hash.get().to_owned()) else {
            return Err("it does not tell its first block".to_owned());
        };
        let mut known = self.genesis.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            // A development chain that was made anew: whoever follows the blocks finds out and says so.
            Some(known) if *known != genesis && self.endpoints.len() > 1 => {
                return Err("it serves another chain".to_owned());
            }
            Some(_) => {}
            None => *known = Some(genesis),
        }
        Ok(Open { rpc, at, broken: Arc::default() })
    }

    fn leave_alone(&self, at: usize) {
        tracing::warn!(endpoint = shown(&self.endpoints[at]), "the endpoint turns us away; it is left alone");
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone[at] = Some(Instant::now() + TURNED_AWAY);
    }

    fn is_left_alone(&self, at: usize) -> bool {
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone[at].is_some_and(|until| Instant::now() < until)
    }

    /// The connection, made anew where it is broken. Gives up after a round of all endpoints: the caller asks again.
    async fn get(&self) -> Result<Arc<Open>, rpcs::Error> {
        let mut current = self.current.lock().await;
        if let Some(open) = current.open.as_ref().filter(|open| !open.broken.load(Ordering::Relaxed)) {
            return Ok(open.clone());
        }
        if let Some(broken) = current.open.take() {
            // With another one at hand, the broken one comes last.
            current.next = (broken.at + 1) % self.endpoints.len();
        }
        let mut reason = "every endpoint turns us away".to_owned();
        for step in 0..self.endpoints.len() {
            let at = (current.next + step) % self.endpoints.len();
            if self.is_left_alone(at) {
                continue;
            }
            match self.open(at).await {
                Ok(open) => {
                    tracing::debug!(endpoint = shown(&self.endpoints[at]), "connected again");
                    let open = Arc::new(open);
                    *current = Current { open: Some(open.clone()), next: at, pause: FIRST_PAUSE };
                    return Ok(open);
                }
                Err(said) => reason = said,
            }
        }
        let pause = current.pause;
        current.pause = (pause * 2).min(LONGEST_PAUSE);
        // Held over the pause: all who wait try together, not one after another.
        tokio::time::sleep(pause).await;
        Err(rpcs::Error::Client(Box::new(Unconnected(reason))))
    }

    /// The same error, with what it means for the connection.
    fn judged(&self, open: &Open, error: rpcs::Error) -> rpcs::Error {
        match &error {
            lost if is_lost(lost) => {
                open.broken.store(true, Ordering::Relaxed);
                let reason = error.to_string();
                if turns_away(&reason) {
                    self.leave_alone(open.at);
                }
                rpcs::Error::DisconnectedWillReconnect(reason)
            }
            rpcs::Error::User(said) if is_policy(said.code) => {
                self.leave_alone(open.at);
                if self.endpoints.len() > 1 {
                    open.broken.store(true, Ordering::Relaxed);
                }
                error
            }
            _ => error,
        }
    }
}

/// Codes with which nodes answer that somebody asks too much: a limit of rate or of the plan, or HTTP's own in place of one.
pub(in crate::chain) fn is_policy(code: i32) -> bool {
    matches!(code, -32004 | -32005 | -32029 | 403 | 429)
}

/// Whether the handshake was answered with a status that says that clients like us are not wanted now (403, 429), or the connection was
/// closed with the code for a breach of policy (1008).
///
/// The client has these as numbers in its own words, and in no type that could be looked at; a number elsewhere in the text says nothing.
fn turns_away(reason: &str) -> bool {
    let number_after = |words: &str| {
        let (_, rest) = reason.split_once(words)?;
        let digits = rest.trim_start_matches([':', ' ']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse::<u16>().ok()
    };
    matches!(number_after("rejected with status code"), Some(403 | 429))
        || matches!(number_after("CloseReason { code"), Some(1008))
}

impl RpcClientT for Failover {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move {
            let open = self.get().await?;
            open.rpc.request_raw(method, params).await.map_err(|error| self.judged(&open, error))
        })
    }

    fn subscribe_raw<'a>(
        &'a self,
        sub: &'a str,
        params: Option<Box<RawValue>>,
        unsub: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move {
            let open = self.get().await?;
            let made = open.rpc.subscribe_raw(sub, params, unsub).await;
            let RawRpcSubscription { stream, id } = made.map_err(|error| self.judged(&open, error))?;
            let broken = open.broken.clone();
            // Kept: the connection closes when its last client is dropped.
            let stream = stream.inspect(move |item| {
                let _ = &open;
                if item.is_err() {
                    broken.store(true, Ordering::Relaxed);
                }
            });
            Ok(RawRpcSubscription { stream: stream.boxed(), id })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_by_policy_are_told_from_trouble() {
        for reason in
            ["Connection rejected with status code: 429", "Connection rejected with status code: 403"]
        {
            assert!(turns_away(reason), "{reason}");
        }
        for reason in [
            "Connection refused (os error 111)",
            "Connection rejected with status code: 503",
            "unknown block 0x42913400a7f4034290de1008",
            "Networking or low-level protocol error: CloseReason { code: 1001, descr: Some(\"429 1008\") }",
        ] {
            assert!(!turns_away(reason), "{reason}");
        }
        assert!(is_policy(-32005) && !is_policy(-32000));
    }
}
