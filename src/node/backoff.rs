//! How long to wait before something that failed for the moment is tried again.

use super::{NodeError, time::chance};
use std::time::Duration;
use tokio::time::Instant;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double up to half a minute, each between half of that and all of it by chance, so that a network of nodes does not ask
/// a store that has come back all at once. A minute without a failure begins anew.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// How long to wait after one more failure.
    pub fn pause_length(&mut self) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() > LONGEST * 2) {
            self.failures = 0;
        }
        self.last = Some(Instant::now());
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        longest.mul_f64(0.5 + 0.5 * chance())
    }

    /// Says what went wrong for the moment, and waits.
    pub async fn pause(&mut self, error: &NodeError) {
        let pause = self.pause_length();
        let full = error.is_full_disk();
        let (seconds, failures) = (pause.as_secs_f64(), self.failures);
        match full {
            true => {
                tracing::error!(%error, seconds, "the disk is full: nothing is written until there is room")
            }
            false => tracing::warn!(%error, seconds, failures, "trying again"),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Does something again and again for as long as it fails for the moment.
///
/// # Errors
/// The first error that will not pass by itself.
pub async fn persist<T>(mut work: impl AsyncFnMut() -> Result<T, NodeError>) -> Result<T, NodeError> {
    let mut backoff = Backoff::default();
    loop {
        match work().await {
            Err(error) if error.is_transient() => backoff.pause(&error).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::BucketError;

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.pause_length()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        for (n, pause) in pauses.iter().enumerate() {
            let longest = FIRST.saturating_mul(1 << n.min(10)).min(LONGEST);
            assert!((longest / 2..=longest).contains(pause), "{n}: {pause:?}");
        }
        assert!(pauses[20..].windows(2).any(|two| two[0] != two[1]));
        backoff.last = Instant::now().checked_sub(LONGEST * 3);
        assert!(backoff.pause_length() <= FIRST);
    }

    #[tokio::test]
    async fn what_passes_is_waited_for_and_what_does_not_is_told() {
        let mut tries = 0;
        let busy = || BucketError::Busy { endpoint: "here".to_owned(), code: "HTTP 502".to_owned() };
        let done = persist(async || {
            tries += 1;
            if tries < 3 { Err(busy().into()) } else { Ok(tries) }
        });
        assert_eq!(done.await.unwrap(), 3);
        let denied = || BucketError::NoBucket { bucket: "b".to_owned() };
        let failed = persist::<()>(async || Err(denied().into())).await;
        assert!(matches!(failed, Err(NodeError::Bucket(BucketError::NoBucket { .. }))));
        let full = NodeError::File { path: "p".to_owned(), source: std::io::ErrorKind::StorageFull.into() };
        assert!(full.is_transient() && full.is_full_disk());
        let wrong =
            NodeError::File { path: "p".to_owned(), source: std::io::ErrorKind::PermissionDenied.into() };
        assert!(!wrong.is_transient());
    }
}
