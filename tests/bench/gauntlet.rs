//! How long a validator's arithmetic takes for 256 peers. `scripts/bench gauntlet` prints the table.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may fail, and prints")]

#[path = "../support.rs"]
mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};
use templar::{
    gauntlet::{
        Evidence, Gauntlet, Hotkey, Observation, Peer, overlap,
        rating::{PlackettLuce, Rating},
        stage1::Stage1,
    },
    gradient::{Layout, SparseTensor},
    manifest::ManifestFile,
    model::parameter_shapes,
    telemetry::score_log::sign_window,
};

const PEERS: usize = 256;

/// The shortest of some runs: what the work takes where nothing else runs.
fn best(runs: usize, mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..runs).map(time).min().unwrap()
}

fn key(n: usize) -> Hotkey {
    Hotkey::from(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// Milliseconds that openskill.py takes for the same match on this machine.
fn openskill() -> f64 {
    let python = support::python("openskill", &["openskill==6.1.3"]);
    let script = "import time\nfrom openskill.models import PlackettLuce\nm = PlackettLuce(beta=7, tau=0.1)\n\
        teams = [[m.rating()] for _ in range(256)]\nscores = [(i * 37) % 256 + 1 for i in range(256)]\nbest = 9e9\n\
        for _ in range(10):\n    t = time.perf_counter()\n    m.rate(teams, scores=scores)\n    best = min(best, time.perf_counter() - t)\n\
        print(best * 1000)";
    let output = Command::new(python.trim()).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// An object with random places of one chunk out of `chunks`.
fn object(n: usize, layout: &Layout) -> Vec<SparseTensor> {
    let mut stream = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
    let mut bytes = [0; 2];
    let tensor = |shape: &templar::gradient::TensorLayout| {
        let mut positions = Vec::with_capacity(shape.kept_values());
        for _ in 0..shape.chunks() {
            let stride = shape.chunk_len() / shape.kept;
            positions.extend((0..shape.kept).map(|k| {
                stream.fill(&mut bytes);
                (k * stride + usize::from(u16::from_le_bytes(bytes)) % stride) as u16
            }));
        }
        SparseTensor {
            exponent: 0,
            codes: positions.iter().map(|p| 0x40 | (*p as u8 & 0x87)).collect(),
            positions,
            ..SparseTensor::default()
        }
    };
    layout.tensors().iter().map(tensor).collect()
}

fn main() {
    let manifest = ManifestFile::preset("local").unwrap().parsed;
    let model = PlackettLuce { mu: 25.0, sigma: 25.0 / 3.0, beta: 7.0, tau: 0.1 };
    let players: Vec<(Rating, f64)> =
        (0..PEERS).map(|i| (model.fresh(), ((i * 37) % PEERS + 1) as f64)).collect();
    let ours = best(50, || {
        std::hint::black_box(model.rate(std::hint::black_box(&players)));
    });
    let theirs = openskill();
    println!("| work | time or size | beside |");
    println!("|---|---|---|");
    println!(
        "| Plackett-Luce of 256 players | {:.0} microseconds | openskill.py {theirs:.1} ms, {:.0} times |",
        ours.as_secs_f64() * 1e6,
        theirs / 1e3 / ours.as_secs_f64()
    );

    let layout =
        Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, manifest.gauntlet.sync_samples)
            .unwrap();
    let objects: Vec<_> = (0..PEERS).map(|n| (key(n), object(n, &layout))).collect();
    let candidates: Vec<_> =
        objects.iter().map(|(hotkey, tensors)| overlap::Candidate { hotkey, tensors }).collect();
    let pairs = PEERS * (PEERS - 1) / 2;
    let time = best(2, || assert_eq!(overlap::find(&candidates, &layout, &[1; 32], 0.5), []));
    println!(
        "| copies among 256 peers, 256 chunks each | {:.0} ms | {pairs} pairs |",
        time.as_secs_f64() * 1e3
    );

    let mut gauntlet = Gauntlet::new(&manifest.gauntlet);
    let peers: Vec<_> =
        (0..PEERS).map(|n| Peer { hotkey: key(n), uid: n as u16, registered_at_block: 1 }).collect();
    gauntlet.roster(&peers);
    let losses =
        |n: usize, by: f64| (0..64).map(|i| 4.0 - by + 0.01 * ((i * 7 + n) % 5) as f64).collect::<Vec<f64>>();
    let observations: Vec<_> = (0..PEERS)
        .map(|n| Observation {
            hotkey: key(n),
            stage1: Stage1::Accepted { seconds: 1, steps_behind: 0.0 },
            evidence: Some(Evidence {
                own_before: losses(n, 0.0),
                own_after: losses(n + 1, 0.05),
                own_comparator: losses(n + 2, 0.04),
                random_before: losses(0, 0.0),
                random_after: losses(n + 3, 0.02),
                random_comparator: losses(n + 4, 0.02),
                audits: Vec::new(),
            }),
            aggregated: n < 15,
        })
        .collect();
    let mut window = 0;
    let mut records = Vec::new();
    let time = best(5, || {
        window += 1;
        records = gauntlet.update(window, 1e-3, &observations).unwrap();
    });
    println!("| Gauntlet::update of 256 peers, 128 sequences each | {:.1} ms | |", time.as_secs_f64() * 1e3);
    let log = sign_window("00ff00ff00ff00ff", window, &key(0), &records, |_| [0; 64]).unwrap();
    println!("| score log of one window | {} bytes | {} a peer |", log.len(), log.len() / PEERS);
}
