//! What a miner does in a window besides training, at the size of a preset: `scripts/bench round [PRESET] [LAYERS]`.
//!
//! Real parts: the preset's model and codec, objects of fifteen peers in buckets of an S3 server over loopback, signatures, the
//! step and the hash of the model. Only training is left out: what it had of the window is what the rest leaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may fail, and shows what it found"
)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tch::{Device, Kind, Tensor};
use templar::{
    aggregate,
    bucket::{
        S3Options, S3Store, Store,
        keys::RunKeys,
        server::{self, BucketKeys, Keys, ServerConfig},
    },
    compress::ErrorFeedback,
    gradient::{self, Expected, Header, Layout, SparseTensor},
    manifest::ManifestFile,
    model::{Llama, parameter_shapes},
    wallet::{Keypair, verify},
};

const PEERS: usize = 15;
const WINDOWS: usize = 3;
/// Seconds of a window of the reference's run: seven blocks of twelve.
const WINDOW_SECONDS: f64 = 84.0;
/// A record is looked for so often after the close, and the close itself is known to the second.
const POLL: f64 = 0.15;
const ROUNDING: f64 = 1.0;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let preset = arguments.next().unwrap_or_else(|| "templar-1".to_owned());
    let mut manifest = ManifestFile::preset(&preset).expect("a preset").parsed;
    if let Some(layers) = arguments.next() {
        manifest.model.layers = layers.parse().expect("a number of layers");
    }
    let layout =
        Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, manifest.gauntlet.sync_samples)
            .unwrap();
    eprintln!("{preset}: {} parameters; making the model and {PEERS} peers", layout.parameters());

    let folder = tempfile::tempdir().unwrap();
    let owners: Vec<BucketKeys> = (0..=PEERS).map(|_| BucketKeys::generate().unwrap()).collect();
    let mut keys = Keys::default();
    owners.iter().for_each(|owner| keys.add(owner));
    let config = ServerConfig::new(([127, 0, 0, 1], 0).into(), folder.path(), keys);
    let server = server::start(config).await.unwrap();
    let endpoint = format!("http://{}", server.addr()).parse().unwrap();
    let writer = |owner: &BucketKeys| S3Store::writer(&owner.write, &endpoint, &S3Options::default());
    let reader = |owner: &BucketKeys| S3Store::reader(&owner.read, &endpoint, &S3Options::default());

    let key = Keypair::from_uri("//miner").unwrap();
    let header = |window: u64| Header {
        run: [7; 32],
        netuid: 3,
        window,
        uid: 1,
        hotkey: key.account(),
        sample_digest: "0".repeat(32),
        sample_count: 36,
        model_hash: [1; 32],
        model_samples: vec![0.0; layout.model_samples()],
    };
    let expected = |window| Expected { run: [7; 32], netuid: 3, window, uid: 1, hotkey: key.account() };
    let objects = RunKeys::new("bench".to_owned());
    let mut random = 1u64;
    for owner in &owners[1..] {
        let mut draw = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let tensors: Vec<SparseTensor> =
            layout.tensors().iter().map(|shape| SparseTensor::noise(shape, &mut draw)).collect();
        let (object, _) = gradient::encode(&header(0), &tensors, &layout, |m| key.sign(m)).unwrap();
        writer(owner).put(&objects.gradient(0), object.into()).await.unwrap();
    }
    let model = Llama::new(&manifest.model, manifest.seed, Device::Cpu);
    let gradients: Vec<Tensor> = model
        .parameters()
        .iter()
        .map(|(_, weight)| Tensor::randn(weight.size(), (Kind::Float, Device::Cpu)) * 1e-3)
        .collect();
    let mut feedback = ErrorFeedback::new(&layout);

    let mut found: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    let mut bytes = 0;
    for window in 0..WINDOWS as u64 {
        let mut note = |order, phase, time: Duration| {
            found.entry((order, phase)).or_default().push(time.as_secs_f64());
        };
        let started = Instant::now();
        let tensors = feedback.encode(&gradients).unwrap();
        note(0, "encode", started.elapsed());
        let started = Instant::now();
        let (object, _) = gradient::encode(&header(window), &tensors, &layout, |m| key.sign(m)).unwrap();
        bytes = object.len();
        note(1, "write and sign", started.elapsed());
        let started = Instant::now();
        writer(&owners[0]).put(&objects.gradient(window + 1), object.into()).await.unwrap();
        note(2, "upload", started.elapsed());
        // Beside training, in the put window.
        let started = Instant::now();
        let mut peers = Vec::new();
        for owner in &owners[1..] {
            let read =
                reader(owner).get(&objects.gradient(0), layout.max_object_bytes() as u64).await.unwrap();
            peers.push(gradient::decode(&read.bytes, &layout, &expected(0), verify).unwrap().tensors);
        }
        note(3, "fetch, verify and decode 15, ahead", started.elapsed());
        let started = Instant::now();
        let peers: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
        aggregate::step(manifest.outer.rule, &peers, &layout, model.parameters(), 1e-4).unwrap();
        note(4, "step", started.elapsed());
        let started = Instant::now();
        model.hash();
        note(5, "hash", started.elapsed());
    }
    let path = folder.path().join("state.safetensors");
    let started = Instant::now();
    feedback.save(&path, &BTreeMap::new()).unwrap();
    let saved = started.elapsed().as_secs_f64();

    println!("| phase of a window, {preset}, {} parameters | median s | worst s |", layout.parameters());
    println!("|---|---|---|");
    let mut spent = POLL + ROUNDING;
    for ((_, phase), mut times) in found {
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        spent += median;
        println!("| {phase} | {median:.2} | {worst:.2} |");
    }
    println!("| the record: poll and whole seconds, at most | {:.2} | |", POLL + ROUNDING);
    println!(
        "| **left for training of {WINDOW_SECONDS:.0} s** | **{:.1} %** | |",
        100.0 * (1.0 - spent / WINDOW_SECONDS)
    );
    println!("\nObject: {bytes} bytes. The state is written beside training, in {saved:.1} s.");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("Peak memory of this process, which is the storage server too: {}.", peak.trim());
    }
    server.stop().await;
}
