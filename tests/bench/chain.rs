//! How long it takes to ask a chain: `scripts/bench chain [BLOCKS]`.
//!
//! Real parts: the development chain in a process of its own with a subnet of 256 neurons; a proxy that delays what goes either way; the
//! program's own `weights history` in a process whose memory is watched; Bittensor's SDK where `BENCH_SDK` names a Python that has it.
//! Fails where a goal is missed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may fail, and shows what it found"
)]

use std::{
    cell::RefCell,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use subxt::rpcs::{RpcClient, rpc_params};
use templar::{
    chain::{
        AdminCall, Chain, Endpoints, MemoryBook, RAO_PER_TAO, SubtensorClient, WeightsRequest, endpoint,
    },
    wallet::Keypair,
    window::{Block, NetUid},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Time between blocks while the chain is made.
const PACE: &str = "20ms";
const NEURONS: u16 = 256;
/// Settings in the busy part, and the blocks that it takes at least.
const SETTINGS: usize = 496;
const BUSY_BLOCKS: Block = 1000;
/// Where the events of a block are.
const EVENTS: &str = "0x26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7";

struct Node(Child, String);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> String {
    std::env::var("BENCH_PROGRAM").expect("BENCH_PROGRAM is the program; `scripts/bench chain` sets it")
}

fn node() -> Node {
    let mut child = Command::new(program())
        .args(["devchain", "--port", "0", "--block-time", PACE])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Node(child, line.trim().to_owned())
}

fn key(uri: &str) -> Keypair {
    Keypair::from_uri(uri).unwrap()
}

async fn connect(url: &str) -> SubtensorClient {
    SubtensorClient::connect_to(Endpoints { main: vec![endpoint(url).unwrap()], archive: Vec::new() })
        .await
        .unwrap()
}

/// A proxy that holds back every byte for half of a round trip, either way.
async fn delayed(url: &str, round_trip: Duration) -> String {
    if round_trip.is_zero() {
        return url.to_owned();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let upstream = endpoint(url).unwrap().port().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(pass(from_client, to_server, round_trip / 2));
            tokio::spawn(pass(from_server, to_client, round_trip / 2));
        }
    });
    address
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
) {
    let (send, mut due) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let at = tokio::time::Instant::now() + delay;
        if send.send((at, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// A subnet of 256 neurons; the keys of those that were registered.
async fn subnet(chain: &SubtensorClient) -> (NetUid, Vec<Keypair>) {
    let (alice, bob) = (key("//Alice"), key("//Bob"));
    chain.sudo(AdminCall::AdminFreezeWindow { blocks: 0 }, &alice).await.unwrap();
    let netuid = chain.register_network(&alice.account(), &alice).await.unwrap();
    for call in [
        AdminCall::Tempo { netuid, blocks: 0 },
        AdminCall::WeightsSetRateLimit { netuid, blocks: 0 },
        AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false },
        AdminCall::MinBurn { netuid, rao: 500_000 },
        AdminCall::MaxBurn { netuid, rao: 1_000_000 },
        AdminCall::MaxRegistrationsPerBlock { netuid, count: 1000 },
        AdminCall::TargetRegistrations { netuid, count: 1000 },
    ] {
        chain.sudo(call, &alice).await.unwrap();
    }
    chain.start_call(netuid, &alice).await.unwrap();
    // Several coldkeys: one account's transactions go one after another.
    let coldkeys: Vec<Keypair> = (0..16).map(|n| key(&format!("//cold{n}"))).collect();
    for coldkey in &coldkeys {
        chain.transfer(&coldkey.account(), 10 * RAO_PER_TAO, &bob).await.unwrap();
    }
    let keys: Vec<Keypair> = (1..NEURONS).map(|n| key(&format!("//neuron{n}"))).collect();
    let work = coldkeys.iter().enumerate().map(|(at, coldkey)| {
        let own: Vec<&Keypair> = keys.iter().skip(at).step_by(16).collect();
        async move {
            for hotkey in own {
                chain.register(netuid, &hotkey.account(), coldkey).await.unwrap();
            }
        }
    });
    futures::future::join_all(work).await;
    (netuid, keys)
}

/// A neuron says something of itself alone, which needs no permit.
async fn say(chain: &SubtensorClient, netuid: NetUid, hotkey: &Keypair) {
    let uid = chain.uid(netuid, &hotkey.account()).await.unwrap().unwrap();
    let request = WeightsRequest { netuid, mechanism: 0, weights: vec![(uid, 1)], version_key: 0 };
    chain.set_weights(&request, hotkey, &MemoryBook::default()).await.unwrap();
}

async fn reach(chain: &SubtensorClient, block: Block) {
    while chain.head().await.unwrap().number < block {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every block's hash and events, so many at once: the seconds it takes.
async fn block_by_block(url: &str, from: Block, to: Block, at_once: usize) -> f64 {
    let rpc = RpcClient::from_insecure_url(url).await.unwrap();
    let start = Instant::now();
    let found: Vec<usize> = stream::iter(from..=to)
        .map(|block| {
            let rpc = rpc.clone();
            async move {
                let hash: String = rpc.request("chain_getBlockHash", rpc_params![block]).await?;
                let events: Option<String> =
                    rpc.request("state_getStorage", rpc_params![EVENTS, hash]).await?;
                Ok::<_, subxt::rpcs::Error>(events.map_or(0, |text| text.len()))
            }
        })
        .buffered(at_once)
        .try_collect()
        .await
        .unwrap();
    assert!(found.iter().all(|length| *length > 0));
    start.elapsed().as_secs_f64()
}

/// `templar weights history` into a file: seconds, peak memory in MiB, and how many events it found.
fn history(url: &str, netuid: NetUid, from: Block, to: Block) -> (f64, f64, usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    let start = Instant::now();
    let mut child = Command::new(program())
        .args(["weights", "history", "--netuid", &netuid.to_string(), "--network", url])
        .args(["--from", &from.to_string(), "--to", &to.to_string(), "--out"])
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0f64;
    let end = loop {
        if let Some(line) = fs::read_to_string(&status)
            .ok()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned)))
        {
            let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0.0);
            peak = peak.max(kibibytes / 1024.0);
        }
        if let Some(end) = child.try_wait().unwrap() {
            break end;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(end.success());
    let seconds = start.elapsed().as_secs_f64();
    (seconds, peak, fs::read_to_string(&file).unwrap().lines().count())
}

/// What the SDK takes for a metagraph: the first with its connection, and a repeated one.
fn sdk(url: &str, netuid: NetUid) -> Option<(f64, f64)> {
    let python = std::env::var("BENCH_SDK").ok()?;
    let output = Command::new(python)
        .args(["scripts/baseline/chain.py", url, &netuid.to_string()])
        .env("BT_NO_PARSE_CLI_ARGS", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.lines().last()?.split(' ').map(|number| number.parse().unwrap());
    Some((numbers.next()?, numbers.next()?))
}

#[tokio::main]
async fn main() {
    let blocks: Block =
        std::env::args().nth(1).map_or(2000, |text| text.parse().expect("a number of blocks"));
    let node = node();
    let calm = connect(&node.1).await;
    let (netuid, keys) = subnet(&calm).await;
    eprintln!("a subnet of {} neurons", calm.subnet_size(netuid, None).await.unwrap());

    let busy_from = calm.head().await.unwrap().number + 1;
    let start = Instant::now();
    // One after another in eight tasks, spread over the blocks.
    let pause = Duration::from_millis(20) * BUSY_BLOCKS as u32 / (SETTINGS as u32 / 8);
    let work = (0..8).map(|task| {
        let (chain, keys) = (&calm, &keys);
        async move {
            for n in 0..SETTINGS / 8 {
                let begun = Instant::now();
                say(chain, netuid, &keys[(task + n * 8) % keys.len()]).await;
                tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
            }
        }
    });
    futures::future::join_all(work).await;
    reach(&calm, busy_from + BUSY_BLOCKS).await;
    let busy_to = calm.head().await.unwrap().number;
    eprintln!(
        "busy: {SETTINGS} settings in {} blocks, {:.0} s",
        busy_to - busy_from,
        start.elapsed().as_secs_f64()
    );
    let quiet_from = busy_to + 1;
    for part in 0..4u64 {
        reach(&calm, quiet_from + blocks * part / 4).await;
        say(&calm, netuid, &keys[part as usize]).await;
    }
    reach(&calm, quiet_from + blocks).await;
    let quiet_to = quiet_from + blocks;
    eprintln!("quiet: 4 settings in {blocks} blocks");

    let missed = RefCell::new(Vec::new());
    let goal = |what: &str, found: f64, wanted: f64| {
        let kept = found >= wanted;
        if !kept {
            missed.borrow_mut().push(format!("{what}: {found:.1}, the goal is {wanted}"));
        }
        format!("{found:.1} (goal {wanted}{})", if kept { "" } else { ", missed" })
    };
    println!("| | 0 ms | 40 ms |\n|---|---|---|");
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut put = |name: &str, cell: String| match rows.iter_mut().find(|(row, _)| row == name) {
        Some((_, cells)) => cells.push(cell),
        None => rows.push((name.to_owned(), vec![cell])),
    };
    for round_trip in [0u64, 40] {
        let url = delayed(&node.1, Duration::from_millis(round_trip)).await;
        let start = Instant::now();
        let chain = connect(&url).await;
        chain.metagraph(netuid, None).await.unwrap();
        let first = start.elapsed().as_secs_f64();
        put("connect and first metagraph, s", format!("{first:.3}"));
        let start = Instant::now();
        for _ in 0..10 {
            chain.metagraph(netuid, None).await.unwrap();
        }
        let again = start.elapsed().as_secs_f64() / 10.0;
        put("metagraph again, s", format!("{again:.3}"));
        if let Some((theirs_first, theirs)) = sdk(&url, netuid) {
            put("the SDK's: connect and first, s", format!("{theirs_first:.3}"));
            put("the SDK's: again, s", format!("{theirs:.3}"));
            put(
                "the SDK's over ours, again",
                goal(&format!("metagraph at {round_trip} ms"), theirs / again, 10.0),
            );
        }
        let start = Instant::now();
        for hotkey in keys.iter().take(5) {
            say(&chain, netuid, hotkey).await;
        }
        put("a signed call until it is final, s", format!("{:.3}", start.elapsed().as_secs_f64() / 5.0));
        for (name, from, to, found, wanted) in
            [("busy", busy_from, busy_to, SETTINGS, 5.0), ("quiet", quiet_from, quiet_to, 4, 50.0)]
        {
            let (seconds, peak, events) = history(&url, netuid, from, to);
            assert_eq!(events, found, "{name}");
            // With latency one by one takes minutes: a part of it tells the rest.
            let part = if round_trip == 0 { to } else { (from + 199).min(to) };
            let one =
                block_by_block(&url, from, part, 1).await * (to - from + 1) as f64 / (part - from + 1) as f64;
            let many = block_by_block(&url, from, to, 32).await;
            put(&format!("history, {name}, s"), format!("{seconds:.2}"));
            put(&format!("{name}, block by block one at a time, s"), format!("{one:.2}"));
            put(&format!("{name}, block by block 32 at once, s"), format!("{many:.2}"));
            let ratio = if round_trip == 0 {
                format!("{:.1}", one / seconds)
            } else {
                goal(&format!("history, {name}"), one / seconds, wanted)
            };
            put(&format!("{name}, one at a time over ours"), ratio);
            put(&format!("{name}, peak memory, MiB"), format!("{peak:.0}"));
            if peak > 100.0 {
                missed.borrow_mut().push(format!("memory, {name}: {peak:.0} MiB, the goal is 100"));
            }
        }
    }
    for (name, cells) in &rows {
        println!("| {name} | {} |", cells.join(" | "));
    }
    let missed = missed.into_inner();
    for goal in &missed {
        eprintln!("missed: {goal}");
    }
    std::process::exit(i32::from(!missed.is_empty()));
}
