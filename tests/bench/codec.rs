//! The codec's works in a program of their own, which needs no libtorch: one JSON document a run. `scripts/bench codec` runs
//! it in turns with the same works in plain PyTorch, and prints the table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark may fail, and prints"
)]

use rayon::prelude::*;
use std::time::Instant;
use templar_codec as codec;
use works::{Clock, Failed, Group};

#[path = "../../neurons/cli/bench/works.rs"]
mod works;

const USAGE: &str = "usage: bench_codec [--preset templar-1|sparseloco] [--works encode,decode,aggregate,wire,judge,memory] \
    [--params N] [--large] [--threads N] [--repeats N]";

struct Args {
    preset: String,
    works: String,
    /// `None`: the shapes of templar-1.
    params: Option<u64>,
    threads: usize,
    repeats: usize,
}

/// The median of the repeats, after one that does not count.
struct Stopwatch {
    repeats: usize,
    params: usize,
    results: Vec<String>,
}

impl Clock for Stopwatch {
    fn time(
        &mut self,
        name: &'static str,
        bytes: usize,
        work: &mut dyn FnMut() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        work()?;
        let mut seconds = Vec::new();
        for _ in 0..self.repeats {
            let started = Instant::now();
            work()?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let median = f64::midpoint(seconds[(self.repeats - 1) / 2], seconds[self.repeats / 2]);
        let (ms, rate) = (1e3 * median, self.params as f64 / median);
        self.results.push(format!(r#"{{"work":"{name}","ms":{ms},"params_per_s":{rate},"bytes":{bytes}}}"#));
        Ok(())
    }
}

fn main() -> Result<(), Failed> {
    let args = args();
    let cores = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    cores.build_global()?;
    let (settings, rule) = match args.preset.as_str() {
        "templar-1" => (codec::Settings::demo(0.999, 64, 32), codec::Rule::Sign),
        "sparseloco" => (codec::Settings::sparse_loco(0.95, 64, 64), codec::Rule::Mean),
        other => panic!("{other}: no such preset\n{USAGE}"),
    };
    let shapes = args.params.map_or_else(templar_1, works::shapes);
    let codec = codec::Codec::new(&shapes, &settings)?;
    let mut clock = Stopwatch { repeats: args.repeats, params: codec.parameters(), results: Vec::new() };
    let mut bits = None;
    for works in args.works.split(',') {
        let group = match works {
            "encode" => Group::Encode,
            "decode" => Group::Decode,
            "aggregate" => Group::Aggregate,
            "wire" => Group::Wire,
            "judge" => Group::Judge,
            "memory" => {
                memory(&codec, &mut clock)?;
                continue;
            }
            other => panic!("{other}: no such works\n{USAGE}"),
        };
        bits = works::measure(group, &codec, rule, &mut clock)?.or(bits);
    }
    let position = bits.map_or(String::new(), |bits| format!(r#""bits_per_position":{bits},"#));
    println!(
        r#"{{"bench":"codec","preset":"{}","device":"cpu","params":{},"threads":{},"path":"{}",{position}"peak_bytes":{},"results":[{}]}}"#,
        args.preset,
        codec.parameters(),
        args.threads,
        codec.path().name(),
        peak_bytes(),
        clock.results.join(",")
    );
    Ok(())
}

/// One pass over as many weights, which are read and written: what a step cannot do without.
fn memory(codec: &codec::Codec, clock: &mut Stopwatch) -> Result<(), Failed> {
    let mut weights: Vec<Vec<f32>> = codec.tensors().iter().map(|t| vec![1.0; t.len()]).collect();
    clock.time("memory", 4 * codec.parameters(), &mut || {
        for tensor in &mut weights {
            tensor.par_chunks_mut(1 << 16).for_each(|part| part.iter_mut().for_each(|x| *x -= 1e-3));
        }
        Ok(())
    })
}

/// The most memory that this process had, as Linux tells it; 0 elsewhere.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    1024 * kilobytes.unwrap_or(0)
}

/// The matrices and vectors of the preset `templar-1`: 1,204,881,408 parameters.
fn templar_1() -> Vec<(String, Vec<usize>)> {
    const WIDTH: usize = 2048;
    let mut shapes = vec![("embed".to_owned(), vec![32_000, WIDTH])];
    for layer in 0..16 {
        let mut add = |name: &str, shape: &[usize]| shapes.push((format!("{layer}.{name}"), shape.to_vec()));
        for name in ["q", "k", "v", "o"] {
            add(name, &[WIDTH, WIDTH]);
        }
        for (name, shape) in [("gate", [8192, WIDTH]), ("up", [8192, WIDTH]), ("down", [WIDTH, 8192])] {
            add(name, &shape);
        }
        for name in ["norm.1", "norm.2"] {
            add(name, &[WIDTH]);
        }
    }
    shapes.push(("norm".to_owned(), vec![WIDTH]));
    shapes.push(("head".to_owned(), vec![32_000, WIDTH]));
    shapes
}

fn args() -> Args {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut args = Args {
        preset: "templar-1".to_owned(),
        works: "encode,decode,aggregate,wire".to_owned(),
        params: Some(works::PARAMETERS),
        threads: cores,
        repeats: 9,
    };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        if flag == "--large" {
            args.params = None;
            continue;
        }
        let value = given.next().unwrap_or_else(|| panic!("{flag} needs a value\n{USAGE}"));
        let number = || value.parse::<u64>().ok().filter(|n| *n > 0).unwrap_or_else(|| panic!("{USAGE}"));
        match flag.as_str() {
            "--preset" => args.preset = value,
            "--works" => args.works = value,
            "--params" => args.params = Some(number()),
            "--threads" => args.threads = number() as usize,
            "--repeats" => args.repeats = number() as usize,
            _ => panic!("{flag}: no such flag\n{USAGE}"),
        }
    }
    assert!(args.params.is_none_or(|n| n.is_multiple_of(works::CHUNK)), "not whole chunks of 4096\n{USAGE}");
    args
}
