//! Blocks, windows and the put window: the clock that everyone shares.
//!
//! A *window* is a run of `blocks_per_window` blocks. What is trained in window `w` is uploaded in its
//! *put window*, which opens at the chain time of the first block of window `w + 1`.

use std::time::Duration;

/// A window's number, `block / blocks_per_window`.
pub type Window = u64;
/// A block's number.
pub type Block = u64;
/// A neuron's number in a subnet. UIDs are re-used: state is keyed by hotkey, never by this.
pub type Uid = u16;
/// A subnet's number.
pub type NetUid = u16;

/// How blocks make windows, and how long uploads are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Blocks in one window, at least 1.
    pub blocks_per_window: u64,
    /// How long the put window stays open.
    pub put_window: Duration,
}

impl Schedule {
    /// The window that `block` belongs to.
    pub fn window_of(&self, block: Block) -> Window {
        block / self.blocks_per_window
    }

    /// The first block of `window`.
    pub fn first_block(&self, window: Window) -> Block {
        window.saturating_mul(self.blocks_per_window)
    }

    /// The block whose chain time opens the put window of `window`: the first block of the next window.
    pub fn opening_block(&self, window: Window) -> Block {
        self.first_block(window.saturating_add(1))
    }

    /// The put window of what was trained in a window, given the chain time of [`Self::opening_block`]
    /// in milliseconds since the Unix epoch.
    pub fn put_window(&self, opening_ms: u64) -> PutWindow {
        PutWindow {
            open_ms: opening_ms,
            close_ms: opening_ms.saturating_add(self.put_window.as_millis() as u64),
        }
    }
}

/// When an upload counts: both ends in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutWindow {
    /// The chain time of the first block of the next window.
    pub open_ms: u64,
    /// The opening plus the manifest's put window.
    pub close_ms: u64,
}

/// What an upload's time stamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Timing {
    /// Before the put window opened.
    Early {
        /// Whole seconds before the opening second.
        seconds: u64,
    },
    /// Inside the put window.
    OnTime {
        /// Whole seconds after the opening second.
        seconds: u64,
    },
    /// After the put window closed.
    Late {
        /// Whole seconds after the closing second.
        seconds: u64,
    },
}

impl PutWindow {
    /// The last millisecond at which an upload can still be judged to be inside: see [`Self::judge`].
    pub fn last_accepted_ms(&self) -> u64 {
        (self.close_ms / 1000).saturating_mul(1000).saturating_add(999)
    }

    /// Judges an object's `Last-Modified`.
    ///
    /// HTTP dates have whole seconds, and servers cut the fraction off. Both ends are therefore cut to
    /// whole seconds too, and both count as inside: an upload at the opening instant is never called
    /// early, at the price of accepting one that came up to a second before the opening, or up to a
    /// second after the close.
    pub fn judge(&self, last_modified_s: u64) -> Timing {
        let (open, close) = (self.open_ms / 1000, self.close_ms / 1000);
        if last_modified_s < open {
            Timing::Early { seconds: open - last_modified_s }
        } else if last_modified_s > close {
            Timing::Late { seconds: last_modified_s - close }
        } else {
            Timing::OnTime { seconds: last_modified_s - open }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { blocks_per_window: 7, put_window: Duration::from_secs(10) };

    #[test]
    fn blocks_and_windows_agree_at_the_edges() {
        assert_eq!(SCHEDULE.window_of(6), 0);
        assert_eq!(SCHEDULE.window_of(7), 1);
        assert_eq!(SCHEDULE.first_block(3), 21);
        assert_eq!(SCHEDULE.window_of(SCHEDULE.opening_block(3)), 4);
        assert_eq!(SCHEDULE.window_of(SCHEDULE.opening_block(3) - 1), 3);
    }

    #[test]
    fn whole_seconds_decide_and_both_edges_count() {
        let put = SCHEDULE.put_window(100_700);
        assert_eq!(put.close_ms, 110_700);
        assert_eq!(put.judge(99), Timing::Early { seconds: 1 });
        // 100.7 s opens; an upload at 100.0 to 100.999 s reads 100.
        assert_eq!(put.judge(100), Timing::OnTime { seconds: 0 });
        assert_eq!(put.judge(110), Timing::OnTime { seconds: 10 });
        assert_eq!(put.judge(111), Timing::Late { seconds: 1 });
    }

    #[test]
    fn a_put_window_shorter_than_a_second_still_accepts_its_own_second() {
        let short = Schedule { put_window: Duration::from_millis(250), ..SCHEDULE };
        assert_eq!(short.put_window(5_100).judge(5), Timing::OnTime { seconds: 0 });
        assert_eq!(short.put_window(5_100).judge(6), Timing::Late { seconds: 1 });
        assert_eq!(short.put_window(5_900).judge(6), Timing::OnTime { seconds: 1 });
    }
}
