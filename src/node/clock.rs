//! The chain as a clock: blocks, windows, and when a put window opens.
//!
//! What time it is, the newest block says, which is final only a dozen seconds later or more: whoever waited for that would miss a
//! put window. What has to stay true, such as a hash that draws something, is taken of final blocks alone ([`until_final`]).

use super::{NodeError, Skew, now_ms};
use crate::{
    chain::{Chain, ChainError, Head},
    window::{Block, PutWindow, Schedule, Window},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// How long the newest blocks may take to be told at the start; those that follow tell them too.
const FIRST: Duration = Duration::from_secs(10);
/// How long a block that was told may be unknown where it is asked for: endpoints differ by a block or two, and blocks are replaced.
const UNKNOWN: Duration = Duration::from_secs(30);
/// How long a block may take to be final. On the main network it takes 12 to 24 s.
const FINAL: Duration = Duration::from_secs(180);
/// How far this machine's clock may be from the chain's time, by which it is not believed any more. A block comes some seconds after its time.
const FAR_MS: u64 = 20_000;
/// Pause between two questions.
const POLL: Duration = Duration::from_millis(500);

/// The newest block, final or not, kept up to date in the background.
#[derive(Debug, Clone)]
pub struct Clock {
    chain: Arc<dyn Chain>,
    schedule: Schedule,
    head: watch::Receiver<Head>,
    skew: Skew,
    /// The time of a block, milliseconds, and when it was told. Clones share it.
    told: Arc<Mutex<Option<(u64, Instant)>>>,
}

impl Clock {
    /// Starts to follow the chain's blocks.
    pub async fn start(chain: Arc<dyn Chain>, schedule: Schedule) -> Result<Self, NodeError> {
        let mut blocks = chain.best_heads().await?;
        // Also says whether anybody answers.
        let known = chain.head().await?;
        let first = match tokio::time::timeout(FIRST, blocks.next()).await {
            Ok(block) => block?,
            Err(_) => known,
        };
        let (tell, head) = watch::channel(first);
        tokio::spawn(async move {
            loop {
                match blocks.next().await {
                    // Time does not run backwards, though a reorganisation may.
                    Ok(block) => {
                        tell.send_if_modified(|head| {
                            let newer = block.number >= head.number;
                            if newer {
                                *head = block;
                            }
                            newer
                        });
                        if tell.is_closed() {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the chain's blocks stopped coming");
                        break;
                    }
                }
            }
        });
        Ok(Self { chain, schedule, head, skew: Skew::default(), told: Arc::default() })
    }

    /// How far this machine's clock is from the others'.
    pub fn skew(&self) -> &Skew {
        &self.skew
    }

    /// Milliseconds since the Unix epoch: by this machine's clock, as long as that is not far from the chain's time. A clock that jumped, or
    /// was never set, must not close a put window that is open, nor wait for the close of one that is over.
    pub fn now_ms(&self) -> u64 {
        let machine = now_ms();
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((block_ms, when)) = told else { return machine };
        let chain = block_ms + when.elapsed().as_millis() as u64;
        if machine.abs_diff(chain) > FAR_MS { chain } else { machine }
    }

    /// Sleeps until a time by [`Self::now_ms`]; returns at once if it has passed.
    pub async fn sleep_until_ms(&self, time_ms: u64) {
        tokio::time::sleep(Duration::from_millis(time_ms.saturating_sub(self.now_ms()))).await;
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

    /// The chain's time at a block that was told.
    async fn time_ms(&self, block: Block) -> Result<u64, NodeError> {
        let begun = Instant::now();
        loop {
            match self.chain.timestamp_ms(block).await {
                Err(ChainError::NoSuchBlock { .. } | ChainError::Node { .. })
                    if begun.elapsed() < UNKNOWN =>
                {
                    tokio::time::sleep(POLL).await;
                }
                other => return Ok(other?),
            }
        }
    }

    /// Waits for the opening of a window's put window and says when it opens and closes. Until the block that opens it is final,
    /// another may take its place, and the put window may be another with it.
    pub async fn put_window(&mut self, window: Window) -> Result<PutWindow, NodeError> {
        let opening = self.schedule.opening_block(window);
        let waited = self.block() < opening;
        self.reach(opening).await?;
        let (told, heard) = (now_ms(), Instant::now());
        let opening_ms = self.time_ms(opening).await?;
        if waited && self.block() == opening {
            self.skew.chain(opening_ms, told);
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((opening_ms, heard));
        }
        Ok(self.schedule.put_window(opening_ms))
    }

    /// [`Self::put_window`] as it stays: waits until the block that opens it is final.
    pub async fn final_put_window(&mut self, window: Window) -> Result<PutWindow, NodeError> {
        let opening = self.schedule.opening_block(window);
        self.reach(opening).await?;
        until_final(self.chain.as_ref(), opening).await?;
        self.put_window(window).await
    }

    /// The first block after `from` whose chain time is not before `time_ms`; waits until it is final. Everyone who
    /// asks gets the same block.
    pub async fn first_block_at(&mut self, from: Block, time_ms: u64) -> Result<Block, NodeError> {
        loop {
            let mut high = self.block().max(from + 1);
            self.reach(high).await?;
            while self.time_ms(high).await? < time_ms {
                high = self.block().max(high + 1);
                self.reach(high).await?;
            }
            // The time of blocks only rises: bisect between one that is before and one that is not.
            let mut low = from;
            while low + 1 < high {
                let middle = low + (high - low) / 2;
                if self.time_ms(middle).await? < time_ms { low = middle } else { high = middle }
            }
            until_final(self.chain.as_ref(), high).await?;
            // Blocks with other times may have come in their places meanwhile.
            let first = low == from || self.time_ms(low).await? < time_ms;
            if first && self.time_ms(high).await? >= time_ms {
                return Ok(high);
            }
        }
    }

    /// Waits until no upload can be judged to be inside of a put window any more.
    pub async fn closed(&mut self, window: Window) -> Result<PutWindow, NodeError> {
        let mut put = self.put_window(window).await?;
        loop {
            self.sleep_until_ms(put.last_accepted_ms() + 1).await;
            let now = self.put_window(window).await?;
            if now == put {
                return Ok(put);
            }
            tracing::warn!(window, "the block that opens the put window was replaced by another");
            put = now;
        }
    }
}

/// Waits until a block that the chain has reached is final.
///
/// # Errors
/// Those of asking the chain, and [`NodeError::NotFinal`] after minutes.
pub async fn until_final(chain: &dyn Chain, block: Block) -> Result<(), NodeError> {
    let begun = Instant::now();
    while chain.head().await?.number < block {
        if begun.elapsed() >= FINAL {
            return Err(NodeError::NotFinal { block, seconds: FINAL.as_secs() });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::MemoryChain,
        node::window::{DecidingBlocks, block_hash},
    };

    const SCHEDULE: Schedule = Schedule { blocks_per_window: 5, put_window: Duration::from_secs(10) };

    async fn clock(lag: Block) -> (MemoryChain, Clock) {
        let chain = MemoryChain::new(3, lag);
        let clock = Clock::start(Arc::new(chain.clone()), SCHEDULE).await.unwrap();
        (chain, clock)
    }

    #[tokio::test]
    async fn a_put_window_opens_with_the_newest_block_and_not_when_that_is_final() {
        let (chain, mut clock) = clock(3).await;
        chain.advance(5);
        let put = tokio::time::timeout(Duration::from_secs(5), clock.put_window(0)).await.unwrap().unwrap();
        assert_eq!((put.open_ms, clock.window()), (60_000, 1));
        assert_eq!(chain.head().await.unwrap().number, 2);
        // Another block opens it, 12 s later.
        chain.reorganise(1, 12_000);
        assert_eq!(clock.put_window(0).await.unwrap().open_ms, 72_000);
        assert_eq!(clock.closed(0).await.unwrap().open_ms, 72_000);
    }

    #[tokio::test]
    async fn what_is_drawn_waits_for_a_final_block_and_a_replaced_one_draws_nothing() {
        let (chain, mut clock) = clock(3).await;
        chain.advance(7);
        assert!(matches!(block_hash(&chain, 8).await, Err(NodeError::NoBlock(8))));
        // By the newest blocks, block 6 is the first after the put window of window 0, which closes 10 s after block 5.
        let before = chain.block_hash(6).await.unwrap().unwrap();
        let deciding = {
            let mut clock = clock.clone();
            tokio::spawn(async move { DecidingBlocks::find(&mut clock, &SCHEDULE, 0).await })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!deciding.is_finished(), "it is not final");
        chain.reorganise(9, 2_000);
        chain.advance(2);
        let blocks = tokio::time::timeout(Duration::from_secs(9), deciding).await.unwrap().unwrap().unwrap();
        assert_eq!((blocks.lots, blocks.opening, blocks.evaluation), (0, 5, 6));
        assert_eq!(blocks.put.open_ms, 62_000);
        let hash = block_hash(&chain, 6).await.unwrap();
        assert_ne!(hash, before);
        assert_eq!(Some(hash), chain.block_hash(6).await.unwrap());
        assert_eq!(clock.final_put_window(0).await.unwrap(), blocks.put);
    }

    #[test]
    fn a_machine_clock_that_jumps_neither_closes_a_put_window_nor_holds_it_open() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            crate::node::simulate(0, 1);
            let (chain, mut clock) = clock(0).await;
            let blocks = chain.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(12)).await;
                    blocks.advance(1);
                }
            });
            let begun = Instant::now();
            // A clock that is right; one that jumps ahead by an hour while the put window is open; one that jumps back.
            for (window, jump_ms) in [(0, 0), (1, 3_600_000), (2, 0)] {
                let put = clock.put_window(window).await.unwrap();
                assert_eq!(put.open_ms, begun.elapsed().as_millis() as u64);
                crate::node::simulate(put.open_ms + jump_ms, 1);
                clock.closed(window).await.unwrap();
                let after_s = begun.elapsed().as_secs() - put.open_ms / 1000;
                assert!((10..=12).contains(&after_s), "window {window}: closed after {after_s} s");
            }
        });
    }
}
