//! Final blocks as they come, each once and in order, over a connection that may break.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::{
    chain::{
        error::ChainError,
        rpc::connection::Connection,
        types::{Head, Heads},
    },
    window::Block,
};

/// Blocks that wait for a slow reader; those beyond are fetched when it asks again.
const BUFFER: usize = 64;
/// With no block for this long the subscription is made anew: a half-open connection says nothing.
const STALLED: Duration = Duration::from_secs(60);
/// The pause before another try to subscribe.
const PAUSE: Duration = Duration::from_millis(500);
/// Hashes of missed blocks that are asked for at once.
const CONCURRENT: usize = 16;

/// Starts to follow the chain, from its newest final block on.
pub(in crate::chain) fn follow(link: Arc<Connection>) -> Heads {
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let mut follower = Follower { link, sender, last: None };
        loop {
            match follower.subscription().await {
                Ok(()) => return,
                Err(e @ ChainError::OtherChain { .. }) => {
                    let _ = follower.sender.send(Err(e)).await;
                    return;
                }
                Err(e) => tracing::debug!(error = %e, "subscribing to blocks again"),
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
}

impl Follower {
    /// One subscription, until it breaks. `Ok` when nobody listens any more.
    async fn subscription(&mut self) -> Result<(), ChainError> {
        let link = self.link.clone();
        let name = "chain_subscribeFinalizedHeads";
        let mut headers = link.ask(name, || link.rpc.chain_subscribe_finalized_heads()).await?;
        if self.link.block_hash(0).await? != Some(self.link.client.genesis_hash().0) {
            return Err(ChainError::OtherChain { endpoint: self.link.endpoint.clone() });
        }
        let mut same_chain = self.last.is_none();
        loop {
            let header = tokio::select! {
                header = tokio::time::timeout(STALLED, headers.next()) => header,
                () = self.sender.closed() => return Ok(()),
            };
            let newest = match header {
                Ok(Some(header)) => header.map_err(|e| link.trouble(name, e))?.number,
                Ok(None) => {
                    return Err(ChainError::Disconnected {
                        endpoint: link.endpoint.clone(),
                        request: name.to_owned(),
                    });
                }
                Err(_) => return Err(link.timeout(name)),
            };
            match self.last {
                // A node that came back with fewer blocks has to catch up before anything is new.
                Some(last) if newest <= last.number => continue,
                Some(last) if !same_chain => {
                    if self.link.block_hash(last.number).await? != Some(last.hash) {
                        return Err(ChainError::OtherChain { endpoint: self.link.endpoint.clone() });
                    }
                    same_chain = true;
                }
                _ => {}
            }
            if !self.deliver(newest).await? {
                return Ok(());
            }
        }
    }

    /// Passes on every block that is due, up to `newest`. `false` when nobody listens any more.
    async fn deliver(&mut self, newest: Block) -> Result<bool, ChainError> {
        let due = self.last.map_or(newest, |last| last.number + 1);
        let link = &self.link;
        let mut missed = stream::iter(due..=newest)
            .map(|number| async move {
                let hash = link.block_hash(number).await?;
                Ok(Head { number, hash: hash.ok_or(ChainError::NoSuchBlock { block: number })? })
            })
            .buffered(CONCURRENT);
        while let Some(head) = missed.next().await {
            let head: Head = head?;
            if self.sender.send(Ok(head)).await.is_err() {
                return Ok(false);
            }
            self.last = Some(head);
        }
        Ok(true)
    }
}
