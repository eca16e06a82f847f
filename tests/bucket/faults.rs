//! A server with trouble, and what a client says of it.

use crate::served::{patient_reader, reader, serve_with, writer};
use bytes::Bytes;
use std::time::{Duration, Instant};
use templar::bucket::{Store, server::Faults};
use tokio::sync::watch;

#[tokio::test]
async fn trouble_of_a_store_is_told_from_wrong_settings_and_passes() {
    let (tell, faults) = watch::channel(Faults::default());
    let served = serve_with(1, faults).await;
    let (own, theirs) = (writer(&served, 0), reader(&served, 0));
    own.put("run/a", Bytes::from_static(b"a")).await.unwrap();
    for faults in [Faults { errors: 1.0, ..Faults::default() }, Faults { resets: 1.0, ..Faults::default() }] {
        tell.send(faults.clone()).unwrap();
        // Five kinds of answers, one after the other.
        for _ in 0..5 {
            let error = theirs.get("run/a", 9).await.unwrap_err();
            assert!(error.is_transient(), "{faults:?}: {error}");
            let error = own.put("run/a", Bytes::from_static(b"b")).await.unwrap_err();
            assert!(error.is_transient(), "{faults:?}: {error}");
        }
    }
    // Of a few the client itself asks again.
    tell.send(Faults { errors: 0.05, latency_ms: 20, ..Faults::default() }).unwrap();
    let started = Instant::now();
    let mut failed = 0;
    for _ in 0..60 {
        failed += u32::from(theirs.get("run/a", 9).await.is_err());
    }
    assert!(failed < 3, "{failed} of 60");
    assert!(started.elapsed() >= Duration::from_millis(60 * 20));
    // Bodies that are not whole are noticed, whether the answer says so or not.
    let long = Bytes::from(vec![7; 100_000]);
    tell.send(Faults::default()).unwrap();
    own.put("run/b", long.clone()).await.unwrap();
    tell.send(Faults { cut: 1.0, ..Faults::default() }).unwrap();
    let error = theirs.get("run/b", 1 << 20).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    tell.send(Faults { bytes_per_second: 100_000, ..Faults::default() }).unwrap();
    let started = Instant::now();
    assert_eq!(theirs.get("run/b", 1 << 20).await.unwrap().bytes, long);
    assert!(started.elapsed() >= Duration::from_millis(900));
    // What lies about its length too is for the hashes and signatures of whoever reads it.
    tell.send(Faults { short: 1.0, ..Faults::default() }).unwrap();
    assert_eq!(theirs.get("run/b", 1 << 20).await.unwrap().bytes, long.slice(..50_000));
    // A listing of the past, and then one of today.
    tell.send(Faults { stale_listing_s: 1, ..Faults::default() }).unwrap();
    assert_eq!(theirs.list("run/", 9).await.unwrap(), ["run/a", "run/b"]);
    own.delete("run/b").await.unwrap();
    assert_eq!(theirs.list("run/", 9).await.unwrap(), ["run/a", "run/b"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(theirs.list("run/", 9).await.unwrap(), ["run/a"]);
    // A clock that is wrong dates what it keeps wrong.
    tell.send(Faults::default()).unwrap();
    let before = theirs.head("run/a").await.unwrap().unwrap().last_modified_s;
    tell.send(Faults { clock_skew_s: -40, ..Faults::default() }).unwrap();
    let skewed = theirs.head("run/a").await.unwrap().unwrap().last_modified_s;
    assert_eq!(before - skewed, 40);
    // Nobody answers, and then somebody does.
    tell.send(Faults { silent: true, ..Faults::default() }).unwrap();
    let (held, ()) = tokio::join!(theirs.get("run/a", 9), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        tell.send(Faults::default()).unwrap();
    });
    assert_eq!(held.unwrap().bytes, Bytes::from_static(b"a"));
}

#[tokio::test]
async fn a_store_that_fails_takes_nothing_from_the_patience_with_another() {
    let (tell, faults) = watch::channel(Faults::default());
    let (dead, alive) = (serve_with(1, faults.clone()).await, serve_with(1, faults).await);
    writer(&alive, 0).put("run/a", Bytes::from_static(b"a")).await.unwrap();
    tell.send(Faults { errors: 1.0, ..Faults::default() }).unwrap();
    let store = reader(&dead, 0);
    let asked = futures::future::join_all((0..120).map(|_| store.get("run/a", 9))).await;
    assert!(asked.iter().all(Result::is_err));
    // A fifth of the requests fails, one in five of those with HTTP 429 and no content.
    tell.send(Faults { errors: 0.2, ..Faults::default() }).unwrap();
    let store = patient_reader(&alive, 0);
    for (number, asked) in
        futures::future::join_all((0..120).map(|_| store.get("run/a", 9))).await.iter().enumerate()
    {
        assert!(asked.is_ok(), "{number}: {asked:?}");
    }
}
