//! Every store keeps the promises of `Store`: in memory, and over TCP against the embedded server.

use super::served::{Served, patient, reader, serve, writer};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use templar::{
    bucket::{
        BucketError, FetchError, MemoryStore, S3Store, Store, WriteCredential, conformance,
        fetch_in_put_window, keys::RunKeys, system_clock,
    },
    window::PutWindow,
};

#[tokio::test]
async fn memory_keeps_every_promise() {
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_700_000_000_123));
    let clock: templar::bucket::Clock =
        Arc::new(move || now.fetch_add(7, std::sync::atomic::Ordering::SeqCst));
    let store = Arc::new(MemoryStore::new("bucket", clock.clone()));
    conformance::check(store, &clock).await.unwrap();
}

#[tokio::test]
async fn s3_keeps_every_promise() {
    let served = serve(1).await;
    let store = Arc::new(writer(&served, 0));
    conformance::check(store, &system_clock()).await.unwrap();
    served.handle.stop().await;
}

#[tokio::test]
async fn a_read_key_reads_and_nothing_else() {
    let served = serve(1).await;
    let (owner, peer) = (writer(&served, 0), reader(&served, 0));
    owner.put("a/b", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(peer.get("a/b", 1).await.unwrap().bytes.as_ref(), b"x");
    assert_eq!(peer.list("", 10).await.unwrap(), ["a/b"]);
    for result in [peer.put("a/b", Bytes::from_static(b"y")).await, peer.delete("a/b").await] {
        let Err(BucketError::PermissionDenied { code, .. }) = &result else { panic!("{result:?}") };
        assert_eq!(code, "AccessDenied");
    }
    assert_eq!(owner.get("a/b", 1).await.unwrap().bytes.as_ref(), b"x");
}

#[tokio::test]
async fn a_key_reaches_its_own_bucket_only() {
    let served = serve(2).await;
    let (first, second) = (&served.buckets[0], &served.buckets[1]);
    writer(&served, 1).put("a/b", Bytes::from_static(b"x")).await.unwrap();
    // The first bucket's keys, used on the second bucket.
    let key = &first.write;
    let crossed = WriteCredential::new(second.write.account_id(), key.access_key_id(), key.secret()).unwrap();
    let store = S3Store::writer(&crossed, &served.endpoint, &patient());
    assert!(matches!(store.get("a/b", 1).await, Err(BucketError::PermissionDenied { .. })));
    assert!(matches!(store.list("", 1).await, Err(BucketError::PermissionDenied { .. })));
    assert!(matches!(store.put("a/c", Bytes::new()).await, Err(BucketError::PermissionDenied { .. })));
    // HEAD has no content, so only the status tells.
    let head = store.head("a/b").await;
    assert!(matches!(head, Err(BucketError::PermissionDenied { .. })), "{head:?}");
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told_apart_by_their_codes() {
    let served = serve(1).await;
    let write = &served.buckets[0].write;
    let denied = async |id: &str, secret: &str| {
        let credential = WriteCredential::new(write.account_id(), id, secret).unwrap();
        let store = S3Store::writer(&credential, &served.endpoint, &patient());
        match store.get("a", 1).await {
            Err(e @ BucketError::PermissionDenied { .. }) => {
                assert!(!e.hint().is_empty());
                e.to_string()
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(denied(write.access_key_id(), &"0".repeat(64)).await.contains("SignatureDoesNotMatch"));
    assert!(denied(&"0".repeat(32), write.secret()).await.contains("InvalidAccessKeyId"));
}

#[tokio::test]
async fn the_time_stamp_of_a_real_upload_is_judged_at_the_edges() {
    let served = serve(1).await;
    let (owner, peer) = (writer(&served, 0), reader(&served, 0));
    let key = RunKeys::new("0123456789abcdef").gradient(3);
    let clock = system_clock();
    let before_ms = clock();
    owner.put(&key, Bytes::from_static(b"gradient")).await.unwrap();
    let after_ms = clock();
    let second = peer.head(&key).await.unwrap().unwrap().last_modified_s;
    assert!((before_ms / 1000..=after_ms / 1000).contains(&second), "{before_ms} {second} {after_ms}");

    let fetch =
        async |open_ms, close_ms| fetch_in_put_window(&peer, &key, 8, &PutWindow { open_ms, close_ms }).await;
    let start = second * 1000;
    // Opens in the last millisecond of the upload's second, and closes in its first.
    assert_eq!(fetch(start + 999, start + 9000).await.unwrap().1, 0);
    assert_eq!(fetch(start - 4000, start).await.unwrap().1, 4);
    assert!(matches!(fetch(start + 1000, start + 9000).await, Err(FetchError::Early { seconds: 1 })));
    assert!(matches!(fetch(start - 4000, start - 1).await, Err(FetchError::Late { seconds: 1 })));
    let (object, _) = fetch(start, start).await.unwrap();
    assert_eq!(object.bytes.as_ref(), b"gradient");
    let large = fetch_in_put_window(&peer, &key, 7, &PutWindow { open_ms: start, close_ms: start }).await;
    assert!(
        matches!(
            large,
            Err(FetchError::Bucket(BucketError::TooLarge { size: 8, limit: 7, exact: true, .. }))
        ),
        "{large:?}"
    );
}

#[tokio::test]
async fn an_upload_in_parts_arrives_whole_and_does_not_count_for_a_put_window() {
    let served = serve(1).await;
    let mut options = patient();
    options.parts_above_bytes = 1 << 20;
    let owner = S3Store::writer(&served.buckets[0].write, &served.endpoint, &options);
    let content = Bytes::from_iter((0..70u32 << 20).map(|i| (i >> 7) as u8));
    owner.put("run/checkpoint/0000000001/model", content.clone()).await.unwrap();
    let object = owner.get("run/checkpoint/0000000001/model", 70 << 20).await.unwrap();
    assert!(object.bytes == content);
    assert!(object.info.uploaded_in_parts(), "{:?}", object.info.etag);
    let open_ms = object.info.last_modified_s * 1000;
    let put_window = PutWindow { open_ms, close_ms: open_ms };
    let judged = fetch_in_put_window(&owner, "run/checkpoint/0000000001/model", 70 << 20, &put_window).await;
    assert!(matches!(judged, Err(FetchError::InParts)));
}

#[tokio::test]
async fn more_than_a_page_is_listed() {
    let served = serve(1).await;
    let bucket = served.dir.path().join(served.buckets[0].write.account_id());
    // As files: a thousand uploads would only take time.
    std::fs::create_dir(bucket.join("many")).unwrap();
    for number in 0..1203 {
        std::fs::write(bucket.join(format!("many/{number:06}")), b"").unwrap();
    }
    std::fs::write(bucket.join("many/not a key"), b"").unwrap();
    let store = reader(&served, 0);
    let listed = store.list("many/", 5000).await.unwrap();
    assert_eq!(listed.len(), 1203);
    assert_eq!(listed[1202], "many/001202");
    let rest = store.list_after("many/", "many/001200", 5000).await.unwrap();
    assert_eq!(rest, ["many/001201", "many/001202"]);
    assert_eq!(store.list("many/", 1001).await.unwrap().len(), 1001);
}

#[tokio::test]
async fn a_stopped_server_is_unreachable_and_its_port_is_free() {
    let Served { handle, buckets, endpoint, dir } = serve(1).await;
    let addr = handle.addr();
    let store = S3Store::writer(&buckets[0].write, &endpoint, &patient());
    store.put("a", Bytes::from_static(b"kept")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), handle.stop()).await.unwrap();
    let gone = store.get("a", 4).await;
    assert!(matches!(gone, Err(BucketError::Unreachable { .. })), "{gone:?}");
    // Objects outlive the server.
    let served = super::served::serve_again(addr, dir, buckets).await;
    assert_eq!(reader(&served, 0).get("a", 4).await.unwrap().bytes.as_ref(), b"kept");
}
