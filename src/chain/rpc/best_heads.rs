//! The newest blocks, final or not, as a node comes to know them, over a connection that may break.
//!
//! Nothing that was missed is fetched: whoever follows these wants to know what time it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::chain::{
    error::ChainError,
    rpc::connection::Connection,
    types::{Head, Heads},
};

/// Blocks that wait for a slow reader.
const BUFFER: usize = 64;
/// With no block for this long the node is asked for its newest one. A window may be over before a minute is.
const QUIET: Duration = Duration::from_secs(18);
/// With no block for this long the subscription is made anew, whatever the node says: a half-open connection says nothing.
const STALLED: Duration = Duration::from_secs(60);
/// The pause before another try to subscribe.
const PAUSE: Duration = Duration::from_millis(500);

/// Starts to follow the chain, from its newest block on.
pub(in crate::chain) fn follow(link: Arc<Connection>) -> Heads {
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let mut follower = Follower { link, sender, last: None, last_final: None };
        loop {
            match follower.subscription().await {
                Ok(()) => return,
                Err(e @ ChainError::OtherChain { .. }) => {
                    let _ = follower.sender.send(Err(e)).await;
                    return;
                }
                Err(e) => tracing::debug!(error = %e, "subscribing to the newest blocks again"),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = follower.sender.closed() => return,
            }
        }
    });
    Heads::new(receiver)
}

struct Follower {
    link: Arc<Connection>,
    sender: mpsc::Sender<Result<Head, ChainError>>,
    /// The block that was passed on last.
    last: Option<Head>,
    /// A final block, by which a chain that was made anew is told: the newest ones may be replaced by right.
    last_final: Option<Head>,
}

impl Follower {
    /// One subscription, until it breaks. `Ok` when nobody listens any more.
    async fn subscription(&mut self) -> Result<(), ChainError> {
        let link = self.link.clone();
        let name = "chain_subscribeNewHeads";
        let mut headers = link.ask(name, || link.rpc.chain_subscribe_new_heads()).await?;
        if link.block_hash(0).await? != Some(link.client.genesis_hash().0) {
            return Err(ChainError::OtherChain { endpoint: link.endpoint.clone() });
        }
        let (mut same_chain, mut heard) = (false, Instant::now());
        loop {
            let header = tokio::select! {
                header = tokio::time::timeout(QUIET, headers.next()) => header,
                () = self.sender.closed() => return Ok(()),
            };
            if header.is_err() {
                let newest = link.best().await?.number;
                // Either the chain stands still, or the node goes on and tells nobody.
                let told = self.last.is_some_and(|last| newest <= last.number);
                match told && heard.elapsed() < STALLED {
                    true => continue,
                    false => return Err(link.timeout(name)),
                }
            }
            heard = Instant::now();
            let number = match header {
                Ok(Some(header)) => header.map_err(|e| link.trouble(name, e))?.number,
                Ok(None) => {
                    return Err(ChainError::Disconnected {
                        endpoint: link.endpoint.clone(),
                        request: name.to_owned(),
                    });
                }
                Err(_) => return Err(link.timeout(name)),
            };
            if !same_chain {
                match self.last_final {
                    // A node that came back with fewer blocks has to catch up before anything is new.
                    Some(known) if number < known.number => continue,
                    Some(known) if link.block_hash(known.number).await? != Some(known.hash) => {
                        return Err(ChainError::OtherChain { endpoint: link.endpoint.clone() });
                    }
                    _ => {}
                }
                self.last_final = Some(link.head().await?);
                same_chain = true;
            }
            // The block may have been replaced since: then the next header says by which.
            let Some(hash) = link.block_hash(number).await? else { continue };
            let head = Head { number, hash };
            if self.last != Some(head) {
                if self.sender.send(Ok(head)).await.is_err() {
                    return Ok(());
                }
                self.last = Some(head);
            }
        }
    }
}
