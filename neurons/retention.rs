//! What a node keeps in its bucket: docs/protocol.md, "What is kept".

use std::{collections::BTreeMap, sync::Arc};
use templar::{
    bucket::{
        BucketError, Store,
        keys::{Key, RunKeys},
    },
    window::Window,
};
use tokio::{sync::Mutex, task::JoinHandle};

/// Windows from one look to the next: listing costs a request a family, and a few objects more harm nobody.
const EVERY: u64 = 10;
/// Keys of one answer, and answers of one look at a family: after a long absence the next looks go on.
const PAGE: usize = 1000;
const PAGES: usize = 10;

/// How long the objects of a family stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    family: &'static str,
    /// The newest so many windows.
    windows: u64,
}

/// What a miner writes once a window.
pub fn of_a_miner() -> Vec<Rule> {
    vec![Rule { family: "gradient", windows: 100 }, Rule { family: "sync", windows: 100 }]
}

/// What a validator writes once a window: copies for as long as somebody may replay from a checkpoint, states for as long as somebody
/// may audit, copies of what was accepted and not aggregated for as long as the manifest says. Its records and scores are small, and all of them stay.
pub fn of_a_validator(every_windows: u64, judged: u64) -> Vec<Rule> {
    let copies = 500.max(every_windows.saturating_mul(4));
    vec![
        Rule { family: "round", windows: copies },
        Rule { family: "judged", windows: judged },
        Rule { family: "state", windows: 500 },
        Rule { family: "sync", windows: 100 },
    ]
}

/// Deletes a node's old objects now and then, beside everything else.
#[derive(Debug)]
pub struct Retention {
    rules: Vec<Rule>,
    looked: Option<Window>,
    task: Option<JoinHandle<()>>,
    /// By family: up to where nothing is left to delete.
    tidied: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Retention {
    /// By these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, looked: None, task: None, tidied: Arc::default() }
    }

    /// Begins to delete what is too old in a window, where it is time for a look. Old objects are found by listing, so that those of a time
    /// before this process are found too. What cannot be deleted costs storage and harms nobody: the next look finds it again.
    pub fn look(&mut self, bucket: &Arc<dyn Store>, keys: &RunKeys, window: Window) {
        let due = self.looked.is_none_or(|looked| window >= looked + EVERY);
        if !due || self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.looked = Some(window);
        let (bucket, keys, rules, tidied) =
            (bucket.clone(), keys.clone(), self.rules.clone(), self.tidied.clone());
        self.task = Some(tokio::spawn(async move {
            let mut tidied = tidied.lock().await;
            for rule in rules {
                match tidy(bucket.as_ref(), &keys, rule, window, tidied.entry(rule.family).or_default()).await
                {
                    Ok(0) => {}
                    Ok(objects) => tracing::debug!(window, rule.family, objects, "old objects are deleted"),
                    Err(error) => tracing::debug!(window, rule.family, %error, "old objects stay for now"),
                }
            }
        }));
    }
}

/// Deletes the objects of windows before the kept ones, from where the last look ended; says how many.
async fn tidy(
    bucket: &dyn Store,
    keys: &RunKeys,
    rule: Rule,
    window: Window,
    tidied: &mut String,
) -> Result<usize, BucketError> {
    let Some(kept_from) = (window + 1).checked_sub(rule.windows) else { return Ok(0) };
    // The order of keys is that of windows, and all old ones sort before this.
    let end = keys.before(rule.family, kept_from);
    let mut deleted = 0;
    for _ in 0..PAGES {
        let page = bucket.list_after(&keys.prefix(rule.family), tidied, PAGE).await?;
        for key in page.iter().take_while(|key| **key < end) {
            // What is not a key of the run is somebody else's.
            let goes = keys.parse(key).is_some_and(|parsed| {
                let stays = matches!(parsed, Key::Round { .. });
                !stays && parsed.window().is_some_and(|old| old < kept_from)
            });
            if goes {
                bucket.delete(key).await?;
                deleted += 1;
            }
            tidied.clone_from(key);
        }
        if page.len() < PAGE || page.last().is_none_or(|last| *last >= end) {
            break;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use templar::{
        bucket::{MemoryStore, system_clock},
        wallet::Keypair,
    };

    async fn put(bucket: &dyn Store, key: &str) {
        bucket.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    /// One look at all families, from the beginning.
    async fn tidy_all(bucket: &dyn Store, keys: &RunKeys, rules: &[Rule], window: Window) -> usize {
        let mut deleted = 0;
        for rule in rules {
            deleted += tidy(bucket, keys, *rule, window, &mut String::new()).await.unwrap();
        }
        deleted
    }

    #[tokio::test]
    async fn what_an_absence_left_behind_goes_and_nothing_else() {
        let (bucket, keys) = (MemoryStore::new("own", system_clock()), RunKeys::new("0123456789abcdef"));
        let other = RunKeys::new("fedcba9876543210");
        // A gap of an absence, and then the newest hundred.
        for window in (0..50).chain(300..=400) {
            for key in [keys.gradient(window), keys.sync(window), keys.round(window), other.gradient(window)]
            {
                put(&bucket, &key).await;
            }
        }
        put(&bucket, "0123456789abcdef/gradient/0-notes.txt").await;
        let kept = async |prefix: String| bucket.list(&prefix, 1000).await.unwrap();
        let rules = of_a_miner();
        assert_eq!(tidy_all(&bucket, &keys, &rules, 99).await, 0);
        assert_eq!(tidy_all(&bucket, &keys, &rules, 400).await, 2 * 51);
        let gradients = kept(keys.prefix("gradient")).await;
        assert_eq!((gradients.len(), &gradients[1]), (101, &keys.gradient(301)));
        assert_eq!(kept(keys.prefix("sync")).await.len(), 100);
        assert_eq!(kept(keys.prefix("round")).await.len(), 151);
        assert_eq!(kept(other.prefix("gradient")).await.len(), 151);
        assert_eq!(tidy_all(&bucket, &keys, &rules, 400).await, 0);
    }

    #[tokio::test]
    async fn a_validator_keeps_all_records_and_the_newest_copies() {
        let (bucket, keys) = (MemoryStore::new("own", system_clock()), RunKeys::new("0123456789abcdef"));
        let peers = ["//One", "//Two"].map(|uri| Keypair::from_uri(uri).unwrap().account());
        let rules = of_a_validator(200, 3);
        assert_eq!(rules[0].windows, 800, "four checkpoints");
        for window in 0..1000 {
            for key in [keys.round(window), keys.scores(window), keys.state(window)] {
                put(&bucket, &key).await;
            }
            for peer in &peers {
                put(&bucket, &keys.round_object(window, peer)).await;
                put(&bucket, &keys.judged(window, peer)).await;
            }
        }
        let mut tidied = String::new();
        let deleted = tidy(&bucket, &keys, rules[0], 999, &mut tidied).await.unwrap();
        assert_eq!(deleted, 2 * 200);
        assert_eq!(bucket.list(&keys.prefix("round"), 9999).await.unwrap().len(), 1000 + 2 * 800);
        // The next look goes on from there.
        assert_eq!(
            tidied,
            keys.round_object(199, peers.iter().max_by_key(|peer| keys.round_object(0, peer)).unwrap())
        );
        assert_eq!(tidy(&bucket, &keys, rules[0], 1000, &mut tidied).await.unwrap(), 2);
        assert_eq!(tidy(&bucket, &keys, rules[1], 999, &mut String::new()).await.unwrap(), 2 * 997);
        assert_eq!(tidy(&bucket, &keys, rules[2], 999, &mut String::new()).await.unwrap(), 500);
        assert_eq!(bucket.list(&keys.prefix("scores"), 9999).await.unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn it_looks_now_and_then() {
        let bucket: Arc<dyn Store> = Arc::new(MemoryStore::new("own", system_clock()));
        let (keys, mut retention) = (RunKeys::new("0123456789abcdef"), Retention::new(of_a_miner()));
        for window in 0..25 {
            put(bucket.as_ref(), &keys.gradient(window)).await;
        }
        for (window, left) in [(105, 19), (106, 19), (115, 9)] {
            retention.look(&bucket, &keys, window);
            if let Some(task) = &mut retention.task.take() {
                task.await.unwrap();
            }
            assert_eq!(bucket.list(&keys.prefix("gradient"), 100).await.unwrap().len(), left, "{window}");
        }
    }
}
