//! What is true of every [`Store`], checked on a real one.
//!
//! A backend is sound if [`check`] finds nothing on an empty bucket that it may write to.

use super::{BucketError, Clock, MAX_KEY_BYTES, Store};
use bytes::Bytes;
use futures::TryStreamExt;
use std::sync::Arc;

/// A promise of [`Store`] that a backend does not keep.
#[derive(Debug, thiserror::Error)]
#[error("{promise}: {seen}")]
pub struct Violation {
    /// What should hold.
    pub promise: &'static str,
    /// What was seen instead.
    pub seen: String,
}

fn hold(promise: &'static str, holds: bool, seen: &dyn std::fmt::Debug) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { promise, seen: format!("{seen:?}") }) }
}

fn works<T>(promise: &'static str, result: Result<T, BucketError>) -> Result<T, Violation> {
    result.map_err(|e| Violation { promise, seen: format!("{e:?}") })
}

/// Runs every check on an empty bucket. `clock` is the one that the store dates objects by, or one that
/// is at most a second away from it.
pub async fn check(store: Arc<dyn Store>, clock: &Clock) -> Result<(), Violation> {
    absence(&*store).await?;
    round_trip(&*store, clock).await?;
    replacement(&*store).await?;
    bounds(&*store).await?;
    pieces(&*store).await?;
    ranges(&*store).await?;
    listing(&*store).await?;
    deletion(&*store).await?;
    names(&*store).await?;
    whole_or_not_at_all(store).await
}

async fn absence(store: &dyn Store) -> Result<(), Violation> {
    let promise = "an object that is not there is None to head and NotFound to get";
    let head = works(promise, store.head("nothing/here").await)?;
    hold(promise, head.is_none(), &head)?;
    let get = store.get("nothing/here", 10).await;
    hold(promise, matches!(get, Err(BucketError::NotFound { .. })), &get)?;
    let listed = works("an empty bucket lists nothing", store.list("", 10).await)?;
    hold("an empty bucket lists nothing", listed.is_empty(), &listed)
}

async fn round_trip(store: &dyn Store, clock: &Clock) -> Result<(), Violation> {
    let promise = "what was put is got back, dated by the second it was put in";
    let content = Bytes::from_iter((0..70_000u32).map(|i| (i * 31 % 251) as u8));
    let before = clock() / 1000;
    works(promise, store.put("a/round/trip.bin", content.clone()).await)?;
    let after = clock() / 1000;
    let object = works(promise, store.get("a/round/trip.bin", 70_000).await)?;
    hold(promise, object.bytes == content, &object.bytes.len())?;
    let dated = object.info.last_modified_s;
    hold(promise, (before.saturating_sub(1)..=after + 1).contains(&dated), &(before, dated, after))?;
    let head = works(promise, store.head("a/round/trip.bin").await)?;
    hold("head says the same as get", head.as_ref() == Some(&object.info), &(head, &object.info))?;
    hold("the size is that of the content", object.info.size == 70_000, &object.info)?;

    let promise = "an object may be empty";
    works(promise, store.put("a/empty", Bytes::new()).await)?;
    let empty = works(promise, store.get("a/empty", 0).await)?;
    hold(promise, empty.bytes.is_empty() && empty.info.size == 0, &empty)?;

    let promise = "the parent of an object is not an object";
    let parent = works(promise, store.head("a/round").await)?;
    hold(promise, parent.is_none(), &parent)?;
    let parent = store.get("a/round", 10_000).await;
    hold(promise, matches!(parent, Err(BucketError::NotFound { .. })), &parent)
}

async fn replacement(store: &dyn Store) -> Result<(), Violation> {
    let promise = "a second put replaces the first and changes the tag";
    works(promise, store.put("b/again", Bytes::from_static(b"one")).await)?;
    let first = works(promise, store.head("b/again").await)?;
    works(promise, store.put("b/again", Bytes::from_static(b"two!")).await)?;
    let second = works(promise, store.get("b/again", 10).await)?;
    hold(promise, second.bytes.as_ref() == b"two!", &second)?;
    let tags = (first.and_then(|info| info.etag), second.info.etag);
    hold(promise, tags.0.is_some() && tags.1.is_some() && tags.0 != tags.1, &tags)
}

async fn bounds(store: &dyn Store) -> Result<(), Violation> {
    let promise = "a read takes exactly as much as it allows";
    works(promise, store.put("c/bounded", Bytes::from(vec![7; 1000])).await)?;
    let whole = works(promise, store.get("c/bounded", 1000).await)?;
    hold(promise, whole.bytes.len() == 1000, &whole.bytes.len())?;
    let refused = store.get("c/bounded", 999).await;
    let right = matches!(&refused, Err(BucketError::TooLarge { size: 1000, limit: 999, exact: true, .. }));
    hold(promise, right, &refused)
}

async fn pieces(store: &dyn Store) -> Result<(), Violation> {
    let promise = "an object that is read in pieces is the same object, within the same bounds";
    let content = Bytes::from_iter((0..3_000_000u32).map(|i| (i * 37 % 253) as u8));
    works(promise, store.put("c/pieces", content.clone()).await)?;
    let read = works(promise, store.read("c/pieces", 3_000_000).await)?;
    hold(promise, read.info.size == 3_000_000, &read.info)?;
    let whole: Result<Vec<Bytes>, BucketError> = read.content.try_collect().await;
    let whole = works(promise, whole)?.concat();
    hold(promise, whole == content, &whole.len())?;
    let refused = store.read("c/pieces", 2_999_999).await;
    let right = matches!(&refused, Err(BucketError::TooLarge { size: 3_000_000, exact: true, .. }));
    hold(promise, right, &refused)?;
    let missing = store.read("c/nothing", 1).await;
    hold(promise, matches!(missing, Err(BucketError::NotFound { .. })), &missing)
}

async fn ranges(store: &dyn Store) -> Result<(), Violation> {
    let promise = "a range is exactly the bytes that were asked for";
    let content = Bytes::from_iter((0..10_000u32).map(|i| (i * 31 % 251) as u8));
    works(promise, store.put("c/ranges", content.clone()).await)?;
    for (start, length) in [(0, 1), (0, 10_000), (9_999, 1), (4_096, 4_096), (17, 0)] {
        let range = works(promise, store.get_range("c/ranges", start, length).await)?;
        let expected = content.slice(start as usize..(start + length) as usize);
        hold(promise, range == expected, &(start, length, range.len()))?;
    }
    let beyond = store.get_range("c/ranges", 9_999, 2).await;
    hold("a range that ends beyond the object is an error", beyond.is_err(), &beyond)?;
    let absent = store.get_range("c/no/ranges", 0, 1).await;
    hold(promise, matches!(absent, Err(BucketError::NotFound { .. })), &absent)
}

async fn listing(store: &dyn Store) -> Result<(), Violation> {
    let promise = "listing gives keys in ascending order, by prefix, from a key on, up to a limit";
    for key in ["d/10", "d/2", "d1/x", "d/1/z", "e/1"] {
        works(promise, store.put(key, Bytes::from_static(b"x")).await)?;
    }
    let list = async |prefix, after, limit| works(promise, store.list_after(prefix, after, limit).await);
    let cases: [(&str, &str, usize, &[&str]); 7] = [
        ("d/", "", 10, &["d/1/z", "d/10", "d/2"]),
        ("d/", "", 2, &["d/1/z", "d/10"]),
        ("d/", "d/1/z", 10, &["d/10", "d/2"]),
        ("d/", "d/11", 10, &["d/2"]),
        ("d/", "d/2", 10, &[]),
        ("d", "", 10, &["d/1/z", "d/10", "d/2", "d1/x"]),
        ("d/", "", 0, &[]),
    ];
    for (prefix, after, limit, expected) in cases {
        let listed = list(prefix, after, limit).await?;
        hold(promise, listed == expected, &(prefix, after, limit, listed))?;
    }
    Ok(())
}

async fn deletion(store: &dyn Store) -> Result<(), Violation> {
    let promise = "what was deleted is gone, and may be deleted again";
    works(promise, store.put("f/gone", Bytes::from_static(b"x")).await)?;
    works(promise, store.delete("f/gone").await)?;
    works(promise, store.delete("f/gone").await)?;
    let head = works(promise, store.head("f/gone").await)?;
    hold(promise, head.is_none(), &head)?;
    works("a deleted key may be put again", store.put("f/gone", Bytes::from_static(b"y")).await)
}

async fn names(store: &dyn Store) -> Result<(), Violation> {
    let promise = "a name that could mean something else is refused before anything is sent";
    for key in ["", "/x", "x/", "x//y", "../other/x", "x/../../other/x", "x y", "\u{e4}"] {
        let results = [
            store.put(key, Bytes::new()).await.err(),
            store.head(key).await.err(),
            store.get(key, 1).await.err(),
            store.delete(key).await.err(),
        ];
        let refused = results.iter().all(|e| matches!(e, Some(BucketError::BadName { .. })));
        hold(promise, refused, &(key, results))?;
    }
    let longest = format!("g/{}", "k".repeat(MAX_KEY_BYTES - 2));
    works("the longest key works", store.put(&longest, Bytes::from_static(b"x")).await)?;
    works("the longest key works", store.get(&longest, 1).await).map(drop)
}

async fn whole_or_not_at_all(store: Arc<dyn Store>) -> Result<(), Violation> {
    let promise = "a reader sees one whole object, never a mixture or a part";
    let contents = [Bytes::from(vec![b'a'; 300_000]), Bytes::from(vec![b'b'; 200_000])];
    works(promise, store.put("h/whole", contents[0].clone()).await)?;
    let (writer, written) = (store.clone(), contents.clone());
    let writing = tokio::spawn(async move {
        for turn in 1..20 {
            writer.put("h/whole", written[turn % 2].clone()).await?;
        }
        Ok::<_, BucketError>(())
    });
    loop {
        let done = writing.is_finished();
        // A store that never waits would not let the writer run on a runtime of one thread.
        tokio::task::yield_now().await;
        let object = works(promise, store.get("h/whole", 300_000).await)?;
        hold(promise, contents.contains(&object.bytes), &object.bytes.len())?;
        if done {
            break;
        }
    }
    match writing.await {
        Ok(result) => works(promise, result),
        Err(e) => Err(Violation { promise, seen: e.to_string() }),
    }
}
