//! A connection that is cut, delayed, and whose messages come out of order: no block is missed or seen twice, and a
//! transaction is on chain exactly as often as it is said to be.
//!
//! 200 blocks; `TEMPLAR_FULL_TESTS=1` follows a thousand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::node::{Node, key, neurons, subnet, until};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use templar::chain::{Chain, ChainError, Endpoints, MemoryBook, SubtensorClient, WeightsRequest, endpoint};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Time between blocks.
const PACE: Duration = Duration::from_millis(100);

/// What the proxy did.
#[derive(Default)]
struct Weather {
    cut: AtomicU64,
    swapped: AtomicU64,
}

/// Starts a proxy in front of a node and returns its address.
async fn storm(node: &Node, seed: u64, weather: Arc<Weather>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let upstream = node.port();
    tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(seed);
        while let Ok((client, _)) = listener.accept().await {
            let (weather, seed) = (weather.clone(), random.random());
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
                let life = Duration::from_millis(StdRng::seed_from_u64(seed).random_range(400..3000));
                let passed = pass(client, server, seed, weather.clone());
                if tokio::time::timeout(life, passed).await.is_err() {
                    weather.cut.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    address
}

/// Passes bytes both ways: to the server as they are, to the client frame by frame, late and now and then in another
/// order.
async fn pass(client: TcpStream, server: TcpStream, seed: u64, weather: Arc<Weather>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let down = async move {
        let mut random = StdRng::seed_from_u64(seed);
        // The answer to the upgrade to a WebSocket ends with an empty line.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = from_server.read_u8().await else { return };
            head.push(byte);
        }
        if to_client.write_all(&head).await.is_err() {
            return;
        }
        let mut held: Option<Vec<u8>> = None;
        loop {
            let wait = Duration::from_millis(if held.is_some() { 50 } else { 10_000 });
            let next = tokio::time::timeout(wait, frame(&mut from_server)).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..15))).await;
            let send = match (next, held.take()) {
                (Ok(None), _) => return,
                (Err(_), Some(late)) => vec![late],
                (Err(_), None) => continue,
                (Ok(Some(next)), Some(late)) => {
                    weather.swapped.fetch_add(1, Ordering::Relaxed);
                    vec![next, late]
                }
                (Ok(Some(next)), None) if random.random_bool(0.2) => {
                    held = Some(next);
                    continue;
                }
                (Ok(Some(next)), None) => vec![next],
            };
            for bytes in send {
                if to_client.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}

/// One WebSocket frame of a server, as it came. Not to be cancelled in its midst: [`pass`] waits only when the
/// connection is idle, and a cut frame is a cut connection.
async fn frame(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 2];
    from.read_exact(&mut bytes).await.ok()?;
    let (length, more) = match bytes[1] & 0x7f {
        126 => (None, 2),
        127 => (None, 8),
        short => (Some(usize::from(short)), 0),
    };
    let at = bytes.len();
    bytes.resize(at + more, 0);
    from.read_exact(&mut bytes[at..]).await.ok()?;
    let length = length.unwrap_or_else(|| bytes[at..].iter().fold(0, |n, byte| n << 8 | usize::from(*byte)));
    let at = bytes.len();
    bytes.resize(at + length, 0);
    from.read_exact(&mut bytes[at..]).await.ok()?;
    Some(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_block_is_missed_or_doubled_and_every_setting_is_on_chain_once() {
    let wanted = if std::env::var_os("TEMPLAR_FULL_TESTS").is_some() { 1000 } else { 200 };
    let node = Node::start_at_pace(0, None, PACE);
    let calm = node.client().await;
    let netuid = subnet(&calm).await;
    let keys = [key("//validator"), key("//miner")];
    let uids = neurons(&calm, netuid, &keys).await;
    until(&calm, netuid, |m| m.neuron(&keys[0].account()).is_some_and(|n| n.validator_permit)).await;
    let start = calm.head().await.unwrap().number;

    let weather = Arc::new(Weather::default());
    let proxy = storm(&node, 7, weather.clone()).await;
    // Two ways into the storm: when one breaks, the other is next.
    let other = storm(&node, 8, weather.clone()).await;
    let main = vec![endpoint(&proxy).unwrap(), endpoint(&other).unwrap()];
    let chain = SubtensorClient::connect_to(Endpoints { main, archive: Vec::new() }).await.unwrap();
    let mut heads = chain.heads().await.unwrap();
    let follow = async {
        let mut seen = Vec::new();
        while seen.len() < wanted {
            seen.push(heads.next().await.unwrap());
        }
        seen
    };
    let send = async {
        let mut done = 0;
        for n in 0..8u16 {
            let order =
                WeightsRequest { netuid, mechanism: 0, weights: vec![(uids[1], 1 + n)], version_key: 0 };
            match chain.set_weights(&order, &keys[0], &MemoryBook::default()).await {
                Ok(_) => done += 1,
                // It never reached the node, and the blocks that it could be in were searched.
                Err(ChainError::NotIncluded { .. } | ChainError::NotSent { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        done
    };
    let both = async { tokio::join!(follow, send) };
    let (seen, done) = tokio::time::timeout(Duration::from_secs(300), both).await.expect("it goes on");

    for pair in seen.windows(2) {
        assert_eq!(pair[1].number, pair[0].number + 1, "in order, none missed, none doubled");
    }
    for head in seen.iter().step_by(20) {
        assert_eq!(calm.block_hash(head.number).await.unwrap(), Some(head.hash));
    }
    let end = calm.head().await.unwrap().number;
    let settings = calm.weights_history(netuid, start, end, Some(uids[0])).await.unwrap();
    assert_eq!(settings.len(), done, "each is there once");
    assert!(done > 0, "some got through");
    let (cut, swapped) = (weather.cut.load(Ordering::Relaxed), weather.swapped.load(Ordering::Relaxed));
    eprintln!("{} blocks, {done} settings, {cut} connections cut, {swapped} messages swapped", seen.len());
    assert!(cut > 3 && swapped > 3, "{cut} cut, {swapped} swapped");
}
