//! A server with trouble, and what a client says of it.

use crate::served::{reader, serve_with, writer};
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
    assert!(failed < 4, "{failed} of 60");
    assert!(started.elapsed() >= Duration::from_millis(60 * 20));
    // Nobody answers, and then somebody does.
    tell.send(Faults { silent: true, ..Faults::default() }).unwrap();
    let (held, ()) = tokio::join!(theirs.get("run/a", 9), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        tell.send(Faults::default()).unwrap();
    });
    assert_eq!(held.unwrap().bytes, Bytes::from_static(b"a"));
}
