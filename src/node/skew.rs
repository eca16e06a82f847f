//! How far apart the clocks are: this machine's, by which a node sleeps and stops training; the chain's, which opens a put window;
//! the store's, which dates uploads.

use std::sync::{Arc, Mutex, PoisonError};

/// Above this it is a warning, in milliseconds.
const MUCH_MS: u64 = 2_000;
/// What changed by more than this is said again, in milliseconds.
const NEWS_MS: u64 = 1_000;
/// How long after its time a block may come, in milliseconds: it is made, sent around and told.
const BLOCK_MS: i64 = 12_000;

/// What was seen of the other clocks. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Skew(Arc<Mutex<Said>>);

/// How far each is ahead of this machine's, in milliseconds, as it was said last.
#[derive(Debug, Default)]
struct Said {
    chain: Option<i64>,
    store: Option<i64>,
}

impl Skew {
    /// A block with this time was told just now.
    pub fn chain(&self, block_ms: u64, now_ms: u64) {
        let ahead = ahead_of_chain(block_ms, now_ms);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_news(&mut said.chain, ahead) {
            say("chain", ahead);
        }
    }

    /// An object that was uploaded between these two times has this `Last-Modified`.
    pub fn store(&self, last_modified_s: u64, before_ms: u64, after_ms: u64) {
        let ahead = ahead_of_store(last_modified_s, before_ms, after_ms);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_news(&mut said.store, ahead) {
            say("store", ahead);
        }
    }
}

/// How far the chain is ahead at least; negative where it is behind.
fn ahead_of_chain(block_ms: u64, now_ms: u64) -> i64 {
    let ahead = block_ms.cast_signed().saturating_sub(now_ms.cast_signed());
    if ahead < 0 { ahead.saturating_add(BLOCK_MS).min(0) } else { ahead }
}

/// How far the store is ahead at least; negative where it is behind. Its times have whole seconds, cut off.
fn ahead_of_store(last_modified_s: u64, before_ms: u64, after_ms: u64) -> i64 {
    let from = last_modified_s.saturating_mul(1000).cast_signed();
    let to = from.saturating_add(999);
    let (before, after) = (before_ms.cast_signed(), after_ms.cast_signed());
    if from > after { from.saturating_sub(after) } else { to.saturating_sub(before).min(0) }
}

/// Whether this was not said yet; from here on it was.
fn is_news(said: &mut Option<i64>, ahead: i64) -> bool {
    let news = said.is_none_or(|said| said.abs_diff(ahead) > NEWS_MS);
    if news {
        *said = Some(ahead);
    }
    news
}

fn say(whose: &str, ahead_ms: i64) {
    let seconds = ahead_ms as f64 / 1000.0;
    if ahead_ms.unsigned_abs() <= MUCH_MS {
        tracing::info!(seconds, "the clock of the {whose} and this machine's agree");
    } else {
        tracing::warn!(
            seconds_ahead = seconds,
            "the clock of the {whose} and this machine's are apart, and uploads may come too early or too late; set this machine's, for \
             example with NTP (chronyd, systemd-timesyncd)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cut_off_second_or_the_way_explains_is_no_difference() {
        assert_eq!(ahead_of_store(10, 10_900, 11_300), 0);
        assert_eq!(ahead_of_store(12, 10_900, 11_300), 700);
        assert_eq!(ahead_of_store(7, 10_900, 11_300), -2_901);
        assert_eq!(ahead_of_chain(100_000, 106_000), 0);
        assert_eq!(ahead_of_chain(100_000, 97_000), 3_000);
        assert_eq!(ahead_of_chain(100_000, 115_000), -3_000);
    }

    #[test]
    fn it_is_said_once_and_again_when_it_changes() {
        let mut said = None;
        assert!(is_news(&mut said, 0));
        assert!(!is_news(&mut said, 900));
        assert!(is_news(&mut said, -1_200));
        assert!(!is_news(&mut said, -2_100));
        assert!(is_news(&mut said, 5_000));
    }
}
