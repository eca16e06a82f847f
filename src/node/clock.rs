//! The chain as a clock: blocks, windows, and when a put window opens.

use super::NodeError;
use crate::{
    chain::{Chain, Head},
    window::{Block, PutWindow, Schedule, Window},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// The newest block, kept up to date in the background.
#[derive(Debug, Clone)]
pub struct Clock {
    chain: Arc<dyn Chain>,
    schedule: Schedule,
    head: watch::Receiver<Head>,
}

impl Clock {
    /// Starts to follow the chain's blocks.
    pub async fn start(chain: Arc<dyn Chain>, schedule: Schedule) -> Result<Self, NodeError> {
        let mut blocks = chain.heads().await?;
        let (tell, head) = watch::channel(chain.head().await?);
        tokio::spawn(async move {
            loop {
                match blocks.next().await {
                    Ok(block) if tell.send(block).is_ok() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::error!(%error, "the chain's blocks stopped coming");
                        break;
                    }
                }
            }
        });
        Ok(Self { chain, schedule, head })
    }

    /// The newest block.
    pub fn block(&self) -> Block {
        self.head.borrow().number
    }

    /// The window of the newest block.
    pub fn window(&self) -> Window {
        self.schedule.window_of(self.block())
    }

    /// Waits until the chain has reached a block.
    pub async fn reach(&mut self, block: Block) -> Result<(), NodeError> {
        while self.block() < block {
            self.head.changed().await.map_err(|_| NodeError::ChainEnded)?;
        }
        Ok(())
    }

    /// Waits for the opening of a window's put window and says when it opens and closes.
    pub async fn put_window(&mut self, window: Window) -> Result<PutWindow, NodeError> {
        let opening = self.schedule.opening_block(window);
        self.reach(opening).await?;
        Ok(self.schedule.put_window(self.chain.timestamp_ms(opening).await?))
    }

    /// The first block after `from` whose chain time is not before `time_ms`; waits for it. Everyone who
    /// asks gets the same block.
    pub async fn first_block_at(&mut self, from: Block, time_ms: u64) -> Result<Block, NodeError> {
        let mut high = self.block().max(from + 1);
        self.reach(high).await?;
        while self.chain.timestamp_ms(high).await? < time_ms {
            high = self.block().max(high + 1);
            self.reach(high).await?;
        }
        // The time of blocks only rises: bisect between one that is before and one that is not.
        let mut low = from;
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if self.chain.timestamp_ms(middle).await? < time_ms { low = middle } else { high = middle }
        }
        Ok(high)
    }

    /// Waits until no upload can be judged to be inside of a put window any more.
    pub async fn closed(&mut self, window: Window) -> Result<PutWindow, NodeError> {
        let put = self.put_window(window).await?;
        sleep_until_ms(put.last_accepted_ms() + 1).await;
        Ok(put)
    }
}

/// Milliseconds since the Unix epoch, by this machine's clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Sleeps until a time of this machine's clock; returns at once if it has passed.
pub async fn sleep_until_ms(time_ms: u64) {
    tokio::time::sleep(Duration::from_millis(time_ms.saturating_sub(now_ms()))).await;
}
