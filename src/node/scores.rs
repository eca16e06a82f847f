//! What a validator published of its judgement: score logs and states, read and checked.

use super::{NodeError, follow::document};
use crate::{
    bucket::{BucketError, Store, keys::Key, keys::RunKeys},
    gauntlet::Gauntlet,
    round::Document,
    telemetry::score_log::{self, LoggedWindow, MAX_WINDOW_BYTES, ScoreLogError},
    wallet::{AccountId, verify},
    window::{NetUid, Window},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a validator remembers after a window, as it publishes it: whoever has the state before a window
/// and the window's objects can score it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateRecord {
    /// Hash of the run manifest, hex of 32 bytes.
    pub run: String,
    /// The subnet.
    pub netuid: NetUid,
    /// The window that was scored last.
    pub window: Window,
    /// The window that was scored before it; none where Gauntlet began with `window`.
    pub previous: Option<Window>,
    /// Ratings, averages and scores of all peers.
    pub gauntlet: Gauntlet,
}

impl Document for StateRecord {
    const KIND: &'static str = "scores-state";
}

/// Keys that are listed at once.
const PAGE: usize = 1000;

/// Why a validator's score log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoresError {
    /// The bucket cannot be read.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The log is damaged or was changed.
    #[error(transparent)]
    Log(#[from] ScoreLogError),
    /// The object is the log of something else.
    #[error("the score log at window {window} is not that window's of this validator and run")]
    Other {
        /// The window that was asked for.
        window: Window,
    },
}

impl ScoresError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Bucket(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::Other { .. } => "the validator must publish it again; choose another validator or window",
        }
    }
}

/// The score logs and states in one validator's bucket, of one run.
#[derive(Debug, Clone)]
pub struct Scores {
    store: Arc<dyn Store>,
    keys: RunKeys,
    run_id: String,
    validator: AccountId,
}

impl Scores {
    /// Those of `validator` in its bucket `store`. `run` is the hash of the run's manifest.
    pub fn new(store: Arc<dyn Store>, validator: AccountId, run: &[u8]) -> Self {
        let run_id = hex::encode(&run[..run.len().min(8)]);
        Self { store, keys: RunKeys::new(run_id.clone()), run_id, validator }
    }

    /// The log of a window, its hash and signature checked; `None` where there is none.
    ///
    /// # Errors
    /// [`ScoresError`].
    pub async fn window(&self, window: Window) -> Result<Option<LoggedWindow>, ScoresError> {
        let object = match self.store.get(&self.keys.scores(window), MAX_WINDOW_BYTES).await {
            Ok(object) => object,
            Err(BucketError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A text that is no UTF-8 was not written by this program; its replacement fails the hash.
        let mut windows = score_log::read(&String::from_utf8_lossy(&object.bytes), verify)?;
        let logged = windows.pop().filter(|logged| {
            let closing = &logged.closing;
            closing.closes == window && closing.run == self.run_id && closing.validator == self.validator
        });
        match logged {
            Some(logged) if windows.is_empty() => Ok(Some(logged)),
            _ => Err(ScoresError::Other { window }),
        }
    }

    /// The first window from `from` on that has a log.
    ///
    /// # Errors
    /// [`ScoresError::Bucket`].
    pub async fn first_from(&self, from: Window) -> Result<Option<Window>, ScoresError> {
        let (prefix, after) = (self.keys.prefix("scores"), self.keys.before("scores", from));
        let keys = self.store.list_after(&prefix, &after, 1).await?;
        Ok(keys.first().and_then(|key| match self.keys.parse(key) {
            Some(Key::Scores { window }) => Some(window),
            _ => None,
        }))
    }

    /// The windows from `from` to `to` that have a log, ascending.
    ///
    /// # Errors
    /// [`ScoresError::Bucket`].
    pub async fn windows(&self, from: Window, to: Window) -> Result<Vec<Window>, ScoresError> {
        let (prefix, mut after) = (self.keys.prefix("scores"), self.keys.before("scores", from));
        let mut windows = Vec::new();
        loop {
            let page = self.store.list_after(&prefix, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(windows) };
            for key in &page {
                match self.keys.parse(key) {
                    Some(Key::Scores { window }) if window > to => return Ok(windows),
                    Some(Key::Scores { window }) => windows.push(window),
                    _ => {}
                }
            }
            after = last.clone();
        }
    }

    /// The newest window that has a log.
    ///
    /// # Errors
    /// [`ScoresError::Bucket`].
    pub async fn newest(&self) -> Result<Option<Window>, ScoresError> {
        let Some(mut low) = self.first_from(0).await? else { return Ok(None) };
        // Whether there is a log from a window on can be bisected; a list of years of them would be long.
        let mut step = 1;
        while let Some(found) = self.first_from(low.saturating_add(step)).await? {
            low = found;
            step *= 2;
        }
        while step > 0 {
            match self.first_from(low.saturating_add(step)).await? {
                Some(found) => low = found,
                None => step /= 2,
            }
        }
        Ok(Some(low))
    }

    /// The validator's state after a window, its signature checked; `None` where it published none.
    ///
    /// # Errors
    /// Those of the bucket; a document that is not signed by the validator.
    pub async fn state(&self, window: Window) -> Result<Option<StateRecord>, NodeError> {
        document(self.store.as_ref(), &self.keys.state(window), &self.validator).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bucket::{MemoryStore, system_clock},
        manifest::ManifestFile,
        round,
        wallet::Keypair,
    };

    async fn scores(windows: &[Window]) -> Scores {
        let run = ManifestFile::preset("local").unwrap();
        let alice = Keypair::from_uri("//Alice").unwrap();
        let store = Arc::new(MemoryStore::new("bucket", system_clock()));
        let scores = Scores::new(store.clone(), alice.account(), &run.hash());
        for window in windows {
            let sign = |message: &[u8]| alice.sign(message);
            let text = score_log::sign_window(&run.run_id(), *window, &alice.account(), &[], sign).unwrap();
            store.put(&scores.keys.scores(*window), text.into()).await.unwrap();
        }
        scores
    }

    #[tokio::test]
    async fn the_newest_log_is_found_whatever_the_gaps() {
        for windows in [&[][..], &[0], &[7], &[7, 8, 9], &[3, 4, 100, 1000, 1001, 65_000]] {
            let scores = scores(windows).await;
            assert_eq!(scores.newest().await.unwrap(), windows.last().copied(), "{windows:?}");
            let inside: Vec<Window> = windows.iter().copied().filter(|w| (4..=1000).contains(w)).collect();
            assert_eq!(scores.windows(4, 1000).await.unwrap(), inside);
        }
    }

    #[tokio::test]
    async fn only_the_log_that_was_asked_for_counts() {
        let scores = scores(&[5]).await;
        assert_eq!(scores.window(5).await.unwrap().unwrap().closing.closes, 5);
        assert_eq!(scores.window(6).await.unwrap(), None);
        let five = scores.store.get(&scores.keys.scores(5), 1 << 20).await.unwrap().bytes;
        scores.store.put(&scores.keys.scores(6), five).await.unwrap();
        assert!(matches!(scores.window(6).await, Err(ScoresError::Other { window: 6 })));
        let other = Scores { validator: AccountId::new([9; 32]), ..scores.clone() };
        assert!(matches!(other.window(5).await, Err(ScoresError::Other { window: 5 })));
    }

    #[tokio::test]
    async fn a_state_reads_back_to_the_last_bit() {
        let scores = scores(&[]).await;
        let alice = Keypair::from_uri("//Alice").unwrap();
        let config = ManifestFile::preset("local").unwrap().parsed.gauntlet;
        let state = StateRecord {
            run: "00".into(),
            netuid: 3,
            window: 5,
            previous: Some(3),
            gauntlet: Gauntlet::new(&config),
        };
        let bytes = round::sign(&state, &alice).unwrap();
        scores.store.put(&scores.keys.state(5), bytes.into()).await.unwrap();
        assert_eq!(scores.state(5).await.unwrap(), Some(state));
        assert_eq!(scores.state(4).await.unwrap(), None);
    }
}
