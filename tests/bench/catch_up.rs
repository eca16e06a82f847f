//! How fast a newcomer replays a run: `scripts/bench catch-up [PRESET] [LAYERS] [WINDOWS] [PEERS]`.
//!
//! Real parts: the preset's model and codec, signed records and objects of every window in buckets of an S3 server over loopback,
//! the step and the hash of each round. The server is this process too, so a machine of its own would be faster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may fail, and shows what it found"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tch::Device;
use templar::{
    bucket::{
        S3Options, S3Store, Store,
        server::{self, BucketKeys, Keys, ServerConfig},
    },
    chain::{Chain, MemoryChain},
    codec::SparseTensor,
    gradient::{self, Expected, Header, PseudoGradient},
    manifest::ManifestFile,
    node::{self, BucketCache, Directory, FollowOutcome, Identity, Replica},
    round::{Accepted, RoundRecord, SignedRound},
    wallet::{Keypair, verify},
};

const FIRST: u64 = 10;
/// The shortest window of a localnet, and the window of the reference's run, in seconds.
const LOCAL_SECONDS: f64 = 4.0;
const REFERENCE_SECONDS: f64 = 84.0;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let preset = arguments.next().unwrap_or_else(|| "local".to_owned());
    let mut manifest = ManifestFile::preset(&preset).expect("a preset").parsed;
    let mut number = |otherwise: u64| arguments.next().map_or(otherwise, |n| n.parse().expect("a number"));
    manifest.model.layers = number(manifest.model.layers as u64).try_into().expect("a number of layers");
    let (windows, peers) = (number(20), number(15) as usize);
    let manifest = ManifestFile::parse(&toml::to_string(&manifest).unwrap()).expect("a manifest");
    let run = manifest.hash();

    let folder = tempfile::tempdir().unwrap();
    let owners: Vec<BucketKeys> = (0..=peers).map(|_| BucketKeys::generate().unwrap()).collect();
    let mut keys = Keys::default();
    owners.iter().for_each(|owner| keys.add(owner));
    let config = ServerConfig::new(([127, 0, 0, 1], 0).into(), folder.path(), keys);
    let server = server::start(config).await.unwrap();
    let endpoint: templar::bucket::Endpoint = format!("http://{}", server.addr()).parse().unwrap();
    let options = S3Options::default();
    let store = |owner: &BucketKeys| -> Arc<dyn Store> {
        Arc::new(S3Store::writer(&owner.write, &endpoint, &options))
    };
    let hotkeys: Vec<Keypair> =
        (0..=peers).map(|n| Keypair::from_uri(&format!("//Bench{n}")).unwrap()).collect();
    let chain = MemoryChain::new(3, 0);
    for (n, (hotkey, owner)) in hotkeys.iter().zip(&owners).enumerate() {
        chain.register(&hotkey.account(), 1000 - n as u64, n == 0);
        let mut fields = vec![owner.read.to_commitment().as_bytes().to_vec()];
        fields.extend((n == 0).then(|| run.to_vec()));
        chain.commit(3, &fields, hotkey).await.unwrap();
    }
    let identity = Identity {
        chain: Arc::new(chain.clone()),
        netuid: 3,
        hotkey: hotkeys[0].clone(),
        manifest: Arc::new(manifest),
        bucket: store(&owners[0]),
    };

    // The run itself, without training.
    let objects = identity.keys();
    let mut leader = Replica::initial(&identity.manifest.parsed, FIRST, Device::Cpu).unwrap();
    eprintln!(
        "{preset}: {} parameters; making {windows} windows of {peers} peers",
        leader.layout().parameters()
    );
    let mut random = 1u64;
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let tensors: Vec<Vec<SparseTensor>> = (0..peers)
        .map(|_| {
            leader.layout().tensors().iter().map(|shape| SparseTensor::noise(shape, &mut draw)).collect()
        })
        .collect();
    let (mut step, mut bytes) = (Duration::ZERO, 0);
    for window in FIRST..FIRST + windows {
        let (mut accepted, mut payloads) = (Vec::new(), Vec::<Arc<PseudoGradient>>::new());
        for (n, hotkey) in hotkeys.iter().enumerate().skip(1) {
            let (uid, account) = (n as u16, hotkey.account());
            let header = Header {
                run,
                netuid: 3,
                window,
                uid,
                hotkey: account.clone(),
                sample_digest: "0".repeat(32),
                sample_count: 1,
                model_hash: [1; 32],
                model_samples: vec![0.0; leader.layout().model_samples()],
            };
            let layout = leader.layout();
            let (object, _) = gradient::encode(&header, &tensors[n - 1], layout, |m| hotkey.sign(m)).unwrap();
            bytes = object.len();
            let expected = Expected { run, netuid: 3, window, uid, hotkey: account.clone() };
            let payload = gradient::decode(&object, layout, &expected, verify).unwrap();
            store(&owners[n]).put(&objects.gradient(window), object.into()).await.unwrap();
            accepted.push(Accepted { uid, hotkey: account, digest: hex::encode(payload.digest) });
            payloads.push(Arc::new(payload));
        }
        let (round, model) = (leader.round, leader.hash.clone());
        let record = RoundRecord {
            run: identity.run(),
            netuid: 3,
            by: identity.account(),
            previous: leader.last().map(|last| last.hash.clone()),
            passed: Default::default(),
            null: None,
            window,
            round,
            model,
            accepted,
        };
        let signed = SignedRound::sign(record, &identity.hotkey).unwrap();
        identity.bucket.put(&objects.round(window), signed.bytes.clone()).await.unwrap();
        let started = Instant::now();
        leader.apply(&signed, &payloads, None).unwrap();
        step += started.elapsed();
    }

    let last = FIRST + windows - 1;
    let mut seconds = Vec::new();
    for ahead in [false, true] {
        let mut buckets = BucketCache::new(endpoint.clone());
        let directory = Directory::read(&chain, 3, &mut buckets).await.unwrap();
        let mut replica = Replica::initial(&identity.manifest.parsed, FIRST, Device::Cpu).unwrap();
        let started = Instant::now();
        // Window by window there is nothing to fetch ahead.
        let targets: Vec<u64> = if ahead { vec![last] } else { (FIRST..=last).collect() };
        for target in targets {
            let outcome = node::follow(&identity, &directory, &mut replica, target).await.unwrap();
            assert_eq!(outcome, FollowOutcome::Reached);
        }
        seconds.push(started.elapsed().as_secs_f64() / windows as f64);
        assert_eq!(replica.hash, leader.hash, "the newcomer's model is the run's");
    }
    let window = if preset.starts_with("local") { LOCAL_SECONDS } else { REFERENCE_SECONDS };
    println!(
        "| replay of a window, {preset}, {} parameters, {peers} peers | s | times as fast as the run |",
        leader.layout().parameters()
    );
    println!("|---|---|---|");
    for (what, seconds) in [
        ("one window after the other", seconds[0]),
        ("fetched and decoded ahead", seconds[1]),
        ("step and hash alone", step.as_secs_f64() / windows as f64),
    ] {
        println!("| {what} | {seconds:.3} | {:.0} |", window / seconds);
    }
    println!("\n{windows} windows; the run's own take {window:.0} s each. Object: {bytes} bytes.");
    server.stop().await;
}
