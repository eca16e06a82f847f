//! Runs as processes of their own.

use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, exit},
    time::{Duration, Instant},
};
use templar::{
    data::Corpus,
    device,
    lab::{self, Curve, Setup, Task, Text},
};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Device {
    Cpu,
    Cuda(usize),
}

impl Device {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cpu" => Some(Self::Cpu),
            other => other.strip_prefix("cuda:")?.parse().ok().map(Self::Cuda),
        }
    }

    fn torch(self) -> tch::Device {
        match self {
            Self::Cpu => tch::Device::Cpu,
            Self::Cuda(number) => tch::Device::Cuda(number),
        }
    }
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub task: String,
    pub setup: Setup,
    pub seed: u64,
    pub device: Device,
    pub corpus: PathBuf,
    pub out: PathBuf,
}

/// What a child process does.
pub fn run(file: &Path) {
    let job: Job = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    device::set_threads(1);
    device::set_own_threads(1);
    let task = Task::named(&job.task).unwrap();
    let corpus = Corpus::open(&job.corpus).unwrap();
    let sequences = corpus.sequences(task.model.sequence_length as usize, task.held_out).unwrap();
    let device = job.device.torch();
    let curve = Text::new(sequences, &task, job.seed, device)
        .and_then(|text| lab::run(&task, &job.setup, &text, job.seed, |_| ()));
    match curve {
        Ok(curve) => write(&job.out, &serde_json::to_vec(&curve).unwrap()),
        Err(error) => {
            eprintln!("error: {}: {error}", job.name);
            exit(1);
        }
    }
}

/// The file is there whole or not at all.
fn write(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("part");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

fn read(job: &Job) -> Option<Curve> {
    serde_json::from_slice(&fs::read(&job.out).ok()?).ok()
}

/// Runs all that have no result yet, so many side by side, in their order.
pub fn all(jobs: &[Job], side_by_side: usize) -> Vec<Curve> {
    let mut waiting = jobs.iter().filter(|job| read(job).is_none()).peekable();
    let mut running: Vec<(&Job, Child, Instant)> = Vec::new();
    while waiting.peek().is_some() || !running.is_empty() {
        while running.len() < side_by_side.max(1)
            && let Some(job) = waiting.next()
        {
            let file = job.out.with_extension("job");
            write(&file, &serde_json::to_vec(job).unwrap());
            let child = Command::new(std::env::current_exe().unwrap())
                .arg("job")
                .arg(&file)
                .env("OMP_NUM_THREADS", "1")
                .spawn()
                .expect("a process can be started");
            running.push((job, child, Instant::now()));
        }
        std::thread::sleep(Duration::from_millis(100));
        running.retain_mut(|(job, child, started)| match child.try_wait().unwrap() {
            None => true,
            Some(status) if status.success() => {
                let loss = read(job).map_or(f64::NAN, |curve| curve.last());
                eprintln!("{}: {loss:.4} nats, {:.0} s", job.name, started.elapsed().as_secs_f64());
                false
            }
            Some(_) => exit(1),
        });
    }
    jobs.iter().map(|job| read(job).expect("every run has a result")).collect()
}
