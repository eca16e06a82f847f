//! Servers that lie, trickle or say nothing: a read ends, in bounded time and memory, with the right word.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use templar::bucket::{BucketError, ReadCredential, S3Options, S3Store, Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Accepts connections, reads the head of each request, and answers as `answer` does. Counts requests.
async fn hostile<F, R>(answer: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (requests.clone(), Arc::new(answer));
    tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let (count, answer) = (count.clone(), answer.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                answer(socket, count.fetch_add(1, Ordering::SeqCst)).await;
            });
        }
    });
    (addr, requests)
}

fn store(addr: SocketAddr, attempts: u32) -> S3Store {
    let credential = ReadCredential::new(&"0".repeat(32), &"1".repeat(32), &"2".repeat(64)).unwrap();
    let options = S3Options {
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_millis(500),
        attempts,
        ..S3Options::default()
    };
    S3Store::reader(&credential, &format!("http://{addr}").parse().unwrap(), &options)
}

const DATED: &str = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nETag: \"abc\"\r\n";

async fn send(socket: &mut TcpStream, head: &str) {
    let _ = socket.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (addr, requests) = hostile(async |socket, _| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(socket);
    })
    .await;
    let started = Instant::now();
    let result = store(addr, 2).get("a", 10).await;
    assert!(matches!(result, Err(BucketError::TimedOut { operation: "read", .. })), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert!(matches!(store(addr, 1).head("a").await, Err(BucketError::TimedOut { .. })));
    assert!(matches!(store(addr, 1).list("a", 1).await, Err(BucketError::TimedOut { .. })));
    let put = store(addr, 1).put("a", vec![0; 10].into()).await;
    assert!(matches!(put, Err(BucketError::TimedOut { operation: "write", .. })), "{put:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let result = store(addr, 1).get("a", 10).await;
    let Err(error @ BucketError::Unreachable { .. }) = result else { panic!("{result:?}") };
    assert_eq!(error.to_string(), format!("cannot reach the store at http://{addr}"));
    assert!(error.is_transient() && std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_stated_size_above_the_limit_is_refused_before_the_content() {
    let (addr, requests) = hostile(async |mut socket, _| {
        send(&mut socket, &format!("200 OK\r\n{DATED}Content-Length: 1000000000000")).await;
        // Never sends it: whoever waits for it waits in vain.
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let started = Instant::now();
    let result = store(addr, 3).get("a", 1000).await;
    let right = matches!(
        &result,
        Err(BucketError::TooLarge { size: 1_000_000_000_000, limit: 1000, exact: true, .. })
    );
    assert!(right, "{result:?}");
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_without_a_stated_size_is_cut_off_at_the_limit() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let (addr, requests) = hostile(move |mut socket, _| {
        let counter = counter.clone();
        async move {
            send(&mut socket, &format!("200 OK\r\n{DATED}Transfer-Encoding: chunked")).await;
            let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
            while socket.write_all(&chunk).await.is_ok() {
                counter.fetch_add(0x10000, Ordering::SeqCst);
            }
        }
    })
    .await;
    let result = store(addr, 3).get("a", 100_000).await;
    let Err(BucketError::TooLarge { size, limit: 100_000, exact: false, .. }) = result else {
        panic!("{result:?}")
    };
    assert!((100_001..2_000_000).contains(&size), "{size}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    // What the system's buffers took, and then no more.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let first = sent.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sent.load(Ordering::SeqCst), first);

    let (addr, _) = hostile(async |mut socket, _| {
        send(&mut socket, &format!("200 OK\r\n{DATED}Transfer-Encoding: chunked")).await;
        let _ = socket.write_all(b"3\r\nabc\r\n0\r\n\r\n").await;
    })
    .await;
    let object = store(addr, 1).get("a", 3).await.unwrap();
    assert_eq!((object.bytes.as_ref(), object.info.size), (b"abc".as_slice(), 3));
    assert!(matches!(store(addr, 1).head("a").await, Err(BucketError::BadAnswer { .. })));
}

#[tokio::test]
async fn more_than_stated_is_cut_off_and_less_is_tried_again() {
    // Says 10 bytes and sends a hundred: the connection's reader stops at ten.
    let (addr, _) = hostile(async |mut socket, _| {
        send(&mut socket, &format!("200 OK\r\n{DATED}Content-Length: 10")).await;
        let _ = socket.write_all(&[b'x'; 100]).await;
    })
    .await;
    let object = store(addr, 1).get("a", 50).await.unwrap();
    assert_eq!(object.bytes.as_ref(), [b'x'; 10]);
    assert_eq!(object.info.last_modified_s, 1_445_412_480);
    assert_eq!(object.info.etag.as_deref(), Some("abc"));

    // Breaks off in the middle once, then serves: the second try succeeds.
    let (addr, requests) = hostile(async |mut socket, number| {
        send(&mut socket, &format!("200 OK\r\n{DATED}Content-Length: 10")).await;
        let _ = socket.write_all(&[b'x'; 10][..if number == 0 { 5 } else { 10 }]).await;
    })
    .await;
    assert_eq!(store(addr, 2).get("a", 50).await.unwrap().bytes.len(), 10);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    // One that always breaks off is given up.
    let (addr, requests) = hostile(async |mut socket, _| {
        send(&mut socket, &format!("200 OK\r\n{DATED}Content-Length: 10")).await;
        let _ = socket.write_all(b"xxxxx").await;
    })
    .await;
    let broken = store(addr, 3).get("a", 50).await;
    assert!(matches!(broken, Err(BucketError::Unreachable { .. })), "{broken:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_trickle_is_given_up() {
    let (addr, _) = hostile(async |mut socket, _| {
        send(&mut socket, &format!("200 OK\r\n{DATED}Content-Length: 1000")).await;
        while socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let started = Instant::now();
    let result = store(addr, 1).get("a", 1000).await;
    assert!(matches!(result, Err(BucketError::TimedOut { .. })), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn answers_that_are_no_s3_are_named() {
    for (head, expected) in [
        ("200 OK\r\nContent-Length: 2".to_owned(), "Last-Modified"),
        (format!("200 OK\r\n{DATED}Content-Length: -2"), ""),
        ("418 I'm a teapot\r\nContent-Length: 0".to_owned(), "status 418"),
    ] {
        let answer = head.clone();
        let (addr, _) = hostile(move |mut socket, _| {
            let answer = answer.clone();
            async move { send(&mut socket, &answer).await }
        })
        .await;
        let error = store(addr, 1).get("a", 10).await.unwrap_err();
        assert!(
            matches!(error, BucketError::BadAnswer { .. } | BucketError::Unreachable { .. }),
            "{head}: {error:?}"
        );
        assert!(error.to_string().contains(expected), "{head}: {error}");
    }
}

#[tokio::test]
async fn a_busy_store_is_asked_again_and_a_redirect_is_not_followed() {
    let (addr, requests) = hostile(async |mut socket, number| match number {
        0 => send(&mut socket, "503 Slow Down\r\nContent-Length: 0").await,
        _ => {
            send(&mut socket, &format!("200 OK\r\n{DATED}Content-Length: 2")).await;
            let _ = socket.write_all(b"ok").await;
        }
    })
    .await;
    assert_eq!(store(addr, 2).get("a", 10).await.unwrap().bytes.as_ref(), b"ok");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    let (addr, _) = hostile(async |mut socket, _| {
        send(&mut socket, "503 Slow Down\r\nContent-Length: 0").await;
    })
    .await;
    assert!(matches!(store(addr, 1).get("a", 10).await, Err(BucketError::Busy { .. })));

    let (elsewhere, reached) = hostile(async |mut socket, _| {
        send(&mut socket, "200 OK\r\nContent-Length: 0").await;
    })
    .await;
    let (addr, _) = hostile(move |mut socket, _| async move {
        let head = format!("307 Temporary Redirect\r\nLocation: http://{elsewhere}/a\r\nContent-Length: 0");
        send(&mut socket, &head).await;
    })
    .await;
    let redirected = store(addr, 2).get("a", 10).await;
    assert!(matches!(redirected, Err(BucketError::BadAnswer { .. })), "{redirected:?}");
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}
