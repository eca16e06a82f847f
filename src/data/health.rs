//! Which mirror is asked first.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a mirror that has not been asked yet is expected to take; it is tried soon, for it may be the fastest.
const UNKNOWN: f64 = 0.0;
/// Weight of the newest answer in the mean.
const NEWEST: f64 = 0.2;
/// How long a mirror is left alone after its first failure; twice as long after each further one.
const REST: Duration = Duration::from_secs(2);
/// The longest that it is left alone.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// A failure that is a lie counts for so many.
const LIE: u32 = 5;
/// The shortest and the longest wait before a second mirror is asked for the same.
const SHORTEST_WAIT: Duration = Duration::from_millis(150);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// How mirrors have done so far.
#[derive(Debug)]
pub(super) struct Health(Mutex<Vec<Record>>);

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Mean seconds of an answer.
    seconds: f64,
    asked: bool,
    /// Failures since the last answer.
    failures: u32,
    rests_until: Option<Instant>,
}

impl Health {
    pub fn new(mirrors: usize) -> Self {
        let record = Record { seconds: UNKNOWN, asked: false, failures: 0, rests_until: None };
        Self(Mutex::new(vec![record; mirrors]))
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All mirrors, the one to be asked first at the front: those that rest come last, the one that may be asked again soonest before the others.
    pub fn order(&self) -> Vec<usize> {
        let records = self.records();
        let now = Instant::now();
        let key = |mirror: &usize| {
            let record = records.get(*mirror)?;
            let rests =
                record.rests_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            Some((rests, record.seconds))
        };
        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        order
    }

    /// Whether a mirror is left alone for now.
    pub fn rests(&self, mirror: usize) -> bool {
        let until = self.records().get(mirror).and_then(|record| record.rests_until);
        until.is_some_and(|until| until > Instant::now())
    }

    /// How long to wait for a mirror before the next one is asked for the same.
    pub fn wait(&self, mirror: usize) -> Duration {
        let seconds = self.records().get(mirror).map_or(0.0, |record| record.seconds);
        Duration::from_secs_f64((seconds * 4.0).min(60.0)).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    /// A mirror took so long, whether what it gave was still wanted or not.
    pub fn took(&self, mirror: usize, time: Duration) {
        if let Some(record) = self.records().get_mut(mirror) {
            let seconds = time.as_secs_f64();
            record.seconds =
                if record.asked { record.seconds + NEWEST * (seconds - record.seconds) } else { seconds };
            record.asked = true;
        }
    }

    /// What a mirror gave is right.
    pub fn right(&self, mirror: usize) {
        if let Some(record) = self.records().get_mut(mirror) {
            (record.failures, record.rests_until) = (0, None);
        }
    }

    /// A mirror failed; `lied` where it gave other bytes than the corpus has. Returns whether that is its first failure for a while.
    pub fn failed(&self, mirror: usize, lied: bool) -> bool {
        let mut records = self.records();
        let Some(record) = records.get_mut(mirror) else { return false };
        let first = record.failures == 0;
        record.failures += if lied { LIE } else { 1 };
        let rest = REST.saturating_mul(1 << (record.failures - 1).min(16)).min(LONGEST_REST);
        record.rests_until = Some(Instant::now() + rest);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_comes_first_and_who_fails_last() {
        let health = Health::new(3);
        assert_eq!(health.order(), [0, 1, 2]);
        health.took(0, Duration::from_millis(300));
        health.took(1, Duration::from_millis(50));
        assert_eq!(health.order(), [2, 1, 0], "who was never asked is tried");
        health.took(2, Duration::from_millis(100));
        assert_eq!(health.order(), [1, 2, 0]);
        assert!(health.failed(1, false));
        assert!(!health.failed(1, false));
        assert!(health.failed(2, true));
        assert_eq!(health.order(), [0, 1, 2], "a lie counts more than a failure");
        assert!(health.rests(1) && !health.rests(0));
        health.right(2);
        assert_eq!(health.order(), [2, 0, 1]);
        assert_eq!(health.wait(2), Duration::from_millis(400));
        assert_eq!(Health::new(1).wait(0), SHORTEST_WAIT);
    }
}
