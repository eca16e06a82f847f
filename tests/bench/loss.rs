//! Loss at equal tokens: centralised AdamW, DeMo under Gauntlet, SparseLoCo. `scripts/reproduce loss`.
//!
//! Every run is a process of its own with one thread, some side by side, and its result a file: what was interrupted goes on with
//! `--resume`. Which settings each contender was tried with, and what came of it, is in `docs/loss/SIZE-trials.csv`; `--tune` tries them again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark may fail, and shows what it found"
)]

#[path = "loss/figure.rs"]
mod figure;
#[path = "loss/jobs.rs"]
mod jobs;

use figure::{Summary, Variant};
use jobs::{Device, Job};
use std::{
    fs,
    path::{Path, PathBuf},
    process::exit,
    time::Instant,
};
use templar::{
    data::{Corpus, default_sources},
    lab::{Conduct, Contender, Curve, Method, Setup, Task},
};

/// The seed of the trials, which is none of the runs'.
const TRIAL_SEED: u64 = 100;
const HELP: &str = "reproduce_loss [--size tiny|small|100m] [--device cpu|cuda:0] [--resume] [--tune] [--seeds N] [--jobs N] [--text PATH]... [--out FOLDER] [--trials FILE]";

struct Arguments {
    size: String,
    device: Device,
    resume: bool,
    tune: bool,
    seeds: u64,
    jobs: usize,
    /// Files and folders to train on; the text at hand where there are none.
    text: Vec<PathBuf>,
    out: PathBuf,
    trials: PathBuf,
}

fn arguments() -> Arguments {
    let mut given = Arguments {
        size: "tiny".to_owned(),
        device: Device::Cpu,
        resume: false,
        tune: false,
        seeds: 3,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        text: Vec::new(),
        out: PathBuf::new(),
        trials: PathBuf::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| wrong(&format!("{word} wants a value")));
        match word.as_str() {
            "--size" => given.size = value(),
            "--device" => given.device = Device::parse(&value()).unwrap_or_else(|| wrong("cpu or cuda:N")),
            "--resume" => given.resume = true,
            "--tune" => given.tune = true,
            "--seeds" => given.seeds = value().parse().unwrap_or_else(|_| wrong("--seeds wants a number")),
            "--jobs" => given.jobs = value().parse().unwrap_or_else(|_| wrong("--jobs wants a number")),
            "--text" => given.text.push(value().into()),
            "--out" => given.out = value().into(),
            "--trials" => given.trials = value().into(),
            "--help" => {
                println!("{HELP}");
                exit(0);
            }
            other => wrong(&format!("{other} is not known")),
        }
    }
    if given.out.as_os_str().is_empty() {
        given.out = PathBuf::from(format!("target/loss-{}", given.size));
    }
    if given.trials.as_os_str().is_empty() {
        given.trials = PathBuf::from(format!("docs/loss/{}-trials.csv", given.size));
    }
    given
}

fn wrong(problem: &str) -> ! {
    eprintln!("error: {problem}\nusage: {HELP}");
    exit(2);
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("job") {
        let file = std::env::args().nth(2).unwrap_or_else(|| wrong("job wants a file"));
        return jobs::run(Path::new(&file));
    }
    let given = arguments();
    let task = Task::named(&given.size).unwrap_or_else(|error| wrong(&error.to_string()));
    let started = Instant::now();
    if !given.resume && given.out.exists() {
        let _ = fs::remove_dir_all(given.out.join("runs"));
    }
    fs::create_dir_all(given.out.join("runs")).expect("a folder for the results");
    let corpus = given.out.join("corpus");
    if Corpus::open(&corpus).is_err() {
        let sources = match given.text.as_slice() {
            [] => default_sources().expect("the text at hand"),
            given => given.to_vec(),
        };
        Corpus::prepare(&sources, &corpus, task.text_bytes).expect("the text can be prepared");
    }
    let made = |name: String, setup: Setup, seed: u64| Job {
        out: given.out.join("runs").join(format!("{name}.json")),
        name,
        task: given.size.clone(),
        setup,
        seed,
        device: given.device,
        corpus: corpus.clone(),
    };

    let mut chosen = figure::chosen(&given.trials, &task);
    if given.tune || chosen.is_none() {
        let trials: Vec<(Contender, Method)> = Contender::ALL
            .into_iter()
            .flat_map(|contender| contender.trials(&task).into_iter().map(move |trial| (contender, trial)))
            .collect();
        let each = trials.len() / Contender::ALL.len();
        eprintln!("{} trials, {} of each contender", trials.len(), each);
        let jobs: Vec<Job> = trials
            .iter()
            .enumerate()
            .map(|(at, (contender, method))| {
                let name = format!("trial-{}-{}", contender.name(), at % each);
                made(name, Setup::plain(method.clone()), TRIAL_SEED)
            })
            .collect();
        let curves = jobs::all(&jobs, given.jobs);
        figure::write_trials(&given.trials, &trials, &curves);
        chosen = figure::chosen(&given.trials, &task);
    }
    let chosen = chosen.expect("every contender has trials");

    let attackers = vec![Conduct::Noise, Conduct::Flipped, Conduct::Flipped];
    let judged = |contender: Contender, conducts: &[Conduct], gauntlet: bool| Setup {
        method: chosen[&contender].clone(),
        conducts: conducts.to_vec(),
        gauntlet,
    };
    let variants: Vec<(Variant, Setup)> = vec![
        (Variant::new("AdamW, centralised", "AdamW"), Setup::plain(chosen[&Contender::AdamW].clone())),
        (Variant::new("DeMo 1/128, Gauntlet", "DeMo 1/128"), judged(Contender::Demo, &[], true)),
        (Variant::new("DeMo 1/16, Gauntlet", "DeMo 1/16"), judged(Contender::Dense, &[], true)),
        (
            Variant::new("DeMo 1/16, 3 attackers, Gauntlet", "1/16, attacked"),
            judged(Contender::Dense, &attackers, true),
        ),
        (
            Variant::new("DeMo 1/16, 3 attackers, nobody judged", "and not judged"),
            judged(Contender::Dense, &attackers, false),
        ),
        (
            Variant::new("AdamW on the mean of 1/16", "AdamW on 1/16"),
            Setup::plain(chosen[&Contender::Exact].clone()),
        ),
        (Variant::new("SparseLoCo", "SparseLoCo"), Setup::plain(chosen[&Contender::SparseLoco].clone())),
    ];
    let mut jobs = Vec::new();
    for seed in 1..=given.seeds {
        for (at, (_, setup)) in variants.iter().enumerate() {
            jobs.push(made(format!("run-{at}-seed-{seed}"), setup.clone(), seed));
        }
    }
    eprintln!(
        "{} runs of {} steps, {} tokens each",
        jobs.len(),
        task.steps,
        task.steps * task.tokens_a_step()
    );
    let curves: Vec<Curve> = jobs::all(&jobs, given.jobs);
    let summaries: Vec<Summary> = variants
        .iter()
        .enumerate()
        .map(|(at, (variant, setup))| {
            let own: Vec<Curve> = curves.iter().skip(at).step_by(variants.len()).cloned().collect();
            Summary::new(variant.clone(), setup, own)
        })
        .collect();
    figure::write(&given.out, &task, &summaries).expect("the results can be written");
    println!("{}", figure::table(&task, &summaries));
    eprintln!("{:.0} s; results: {}", started.elapsed().as_secs_f64(), given.out.display());
    let known = PathBuf::from(format!("docs/loss/{}.csv", given.size));
    match figure::compare(&known, &summaries) {
        Ok(said) => println!("{said}"),
        Err(differs) => {
            eprintln!("error: {differs}");
            exit(8);
        }
    }
}
