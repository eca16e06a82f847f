//! When a miner has to stop training: late enough to use its window, early enough for its upload.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use templar::{
    node::{Clock, NodeError},
    window::Window,
};
use tokio::task::JoinHandle;

/// Windows whose times are remembered.
const REMEMBERED: usize = 16;
/// What is kept beside the worst time that was seen, for what was not seen yet.
const MARGIN: Duration = Duration::from_millis(250);

/// How long it took, in recent windows, from the end of training to the end of the upload.
#[derive(Debug, Default)]
pub struct Closing(VecDeque<Duration>);

impl Closing {
    /// Adds a window's time.
    pub fn add(&mut self, time: Duration) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(time);
    }

    /// Adds the time of a window whose upload came so much too late: what had been kept free for it was not enough. Never more than
    /// three put windows: a clock that is wrong is not to be outrun.
    pub fn add_late(&mut self, time: Duration, reserve: Duration, late: Duration, put_window: Duration) {
        self.add((time.max(reserve) + late).min(put_window * 3));
    }

    /// How long before the close of the put window training has to end: the worst of the recent times and a quarter of it, and a
    /// margin; half of the put window where nothing is known yet.
    pub fn reserve(&self, put_window: Duration) -> Duration {
        self.0.iter().max().map_or(put_window / 2, |worst| *worst * 5 / 4 + MARGIN)
    }
}

/// The time at which training of one window has to be over.
#[derive(Debug)]
pub struct Deadline {
    clock: Clock,
    close_ms: Arc<AtomicU64>,
    reserve: Duration,
    task: JoinHandle<()>,
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Deadline {
    /// `reserve` before the close of a window's put window. Until the block is there that opens it, the window is taken to be as long
    /// as the last one.
    ///
    /// # Errors
    /// What the chain says.
    pub async fn of(clock: &Clock, window: Window, reserve: Duration) -> Result<Self, NodeError> {
        let mut clock = clock.clone();
        let begun = clock.put_window(window.saturating_sub(1)).await?;
        let before = clock.put_window(window.saturating_sub(2)).await?;
        let expected = begun.close_ms + begun.open_ms.saturating_sub(before.open_ms);
        let close_ms = Arc::new(AtomicU64::new(expected));
        let (known, same) = (close_ms.clone(), clock.clone());
        let task = tokio::spawn(async move {
            if let Ok(put) = clock.put_window(window).await {
                known.store(put.close_ms, Ordering::Relaxed);
            }
        });
        Ok(Self { clock: same, close_ms, reserve, task })
    }

    /// Whether there is still time for something that takes so long.
    pub fn leaves(&self, time: Duration) -> bool {
        let end = self.clock.now_ms() + (time + self.reserve).as_millis() as u64;
        end < self.close_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar::node::now_ms;
    use templar::{
        chain::{Chain, MemoryChain},
        window::Schedule,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_worst_of_recent_windows_is_kept_free() {
        let mut closing = Closing::default();
        assert_eq!(closing.reserve(SECOND * 4), SECOND * 2);
        closing.add(SECOND * 4);
        closing.add(SECOND);
        assert_eq!(closing.reserve(SECOND), SECOND * 5 + MARGIN);
        (0..REMEMBERED - 1).for_each(|_| closing.add(SECOND / 5));
        assert_eq!(closing.reserve(SECOND), SECOND * 5 / 4 + MARGIN, "the four seconds are forgotten");
    }

    #[test]
    fn who_was_late_keeps_more_free_within_bounds() {
        let mut closing = Closing::default();
        closing.add(SECOND);
        let reserve = closing.reserve(SECOND * 10);
        closing.add_late(SECOND * 2, reserve, SECOND * 3, SECOND * 10);
        assert!(closing.reserve(SECOND * 10) >= reserve + SECOND * 3);
        closing.add_late(SECOND * 2, reserve, SECOND * 3000, SECOND * 10);
        assert_eq!(closing.reserve(SECOND * 10), SECOND * 30 * 5 / 4 + MARGIN);
    }

    #[tokio::test]
    async fn the_close_is_foreseen_and_then_known() {
        let chain = MemoryChain::new(3, 0);
        let schedule = Schedule { blocks_per_window: 2, put_window: SECOND * 10 };
        chain.advance(7);
        let clock = Clock::start(Arc::new(chain.clone()), schedule).await.unwrap();
        let time = chain.timestamp_ms(6).await.unwrap();
        let deadline = Deadline::of(&clock, 3, SECOND).await.unwrap();
        // Window 3 has the blocks 6 and 7; its put window opens with block 8 and two blocks are a window.
        let block_ms = chain.timestamp_ms(7).await.unwrap() - time;
        assert_eq!(deadline.close_ms.load(Ordering::Relaxed), time + 2 * block_ms + 10_000);
        assert!(!deadline.leaves(Duration::ZERO), "the chain in memory is of 1970");
        deadline.close_ms.store(now_ms() + 60_000, Ordering::Relaxed);
        assert!(deadline.leaves(SECOND * 58) && !deadline.leaves(SECOND * 59));
        chain.advance(1);
        let close = chain.timestamp_ms(8).await.unwrap() + 10_000;
        for _ in 0..100 {
            if deadline.close_ms.load(Ordering::Relaxed) == close {
                return;
            }
            tokio::time::sleep(SECOND / 50).await;
        }
        panic!("the block that opens the put window was not seen");
    }
}
