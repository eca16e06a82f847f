//! How long a window of a localnet has to be on this machine: measured, because a window that is too short loses uploads
//! and one that is too long is waited for.

use std::{
    fmt,
    time::{Duration, Instant},
};
use tch::{Device, Kind, Tensor};
use templar::{manifest::Manifest, model::Llama, train};

/// Room for what is not measured: starts, fetching, the machine's other work.
const MARGIN: f64 = 1.6;
/// Windows are between this and that long, in seconds.
const SHORTEST: f64 = 4.0;
const LONGEST: f64 = 300.0;
/// The part of a window that is its put window, at most.
const PUT_SHARE: f64 = 0.3;

/// What one core of this machine does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// A miner's local step of a window.
    pub step: Duration,
    /// Losses of one sequence.
    pub loss: Duration,
    /// Cores that the processes share.
    pub cores: usize,
}

/// The windows that were chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pace: Pace,
    judging: f64,
    /// Length of a window, seconds.
    pub window_seconds: f64,
    /// Length of a put window, seconds.
    pub put_window_seconds: f64,
}

impl Pace {
    /// Takes one step and some losses, on one thread as the neurons do.
    pub fn measure(manifest: &Manifest) -> Result<Self, train::TrainError> {
        tch::set_num_threads(1);
        let mut model = Llama::new(&manifest.model, manifest.seed, Device::Cpu);
        let length = manifest.model.sequence_length + 1;
        let tokens = |sequences: i64| {
            Tensor::randint(manifest.model.vocab_size, [sequences, length], (Kind::Int64, Device::Cpu))
        };
        let (batch, micro_batch) = (manifest.train.sequences() as i64, manifest.train.micro_batch);
        // The first step of a process also sets libtorch up.
        train::local_step(&mut model, &tokens(micro_batch as i64), micro_batch)?;
        let started = Instant::now();
        train::local_step(&mut model, &tokens(batch), micro_batch)?;
        let step = started.elapsed();
        let some = tokens(batch);
        let started = Instant::now();
        model.sequence_losses(&some, 32).map_err(train::TrainError::from)?;
        let loss = started.elapsed() / batch.max(1) as u32;
        Ok(Self { step, loss, cores: std::thread::available_parallelism().map_or(1, usize::from) })
    }

    /// The windows for so many miners, saboteurs among them, and validators.
    pub fn choose(self, manifest: &Manifest, miners: usize, validators: usize) -> Choice {
        let gauntlet = &manifest.gauntlet;
        // Three times on its own data and twice on random data for each peer; for all together twice on random data and
        // once on what nobody trains on.
        let each = 3 * gauntlet.own_sequences + 2 * gauntlet.random_sequences;
        let shared = 2 * gauntlet.random_sequences + manifest.data.held_out_sequences;
        let judging = (each * miners + shared) as f64 * self.loss.as_secs_f64();
        let work = judging * validators as f64 + self.step.as_secs_f64() * miners as f64;
        let window_seconds =
            (MARGIN * judging.max(work / self.cores as f64) + 1.0).clamp(SHORTEST, LONGEST).ceil();
        let put_window_seconds = manifest.schedule.put_window_seconds.min(PUT_SHARE * window_seconds);
        Choice { pace: self, judging, window_seconds, put_window_seconds }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "windows of {:.0} s: on this machine ({} cores) a miner's step takes {:.1} s and judging all of them {:.1} s; \
             --window-seconds sets another length",
            self.window_seconds,
            self.pace.cores,
            self.pace.step.as_secs_f64(),
            self.judging
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar::manifest::ManifestFile;

    #[test]
    fn slower_machines_and_more_peers_get_longer_windows() {
        let manifest = ManifestFile::preset("local").unwrap().parsed;
        let pace = |ms: u64, cores| Pace {
            step: Duration::from_millis(ms),
            loss: Duration::from_micros(ms * 3),
            cores,
        };
        let seconds = |pace: Pace, miners| pace.choose(&manifest, miners, 1).window_seconds;
        assert_eq!(seconds(pace(1, 2), 5), SHORTEST);
        assert!(seconds(pace(1000, 2), 5) > 1.5 * seconds(pace(500, 2), 5));
        assert!(seconds(pace(700, 2), 12) > seconds(pace(700, 2), 6));
        // With cores for everybody the validator alone counts.
        assert!(seconds(pace(700, 1), 6) > seconds(pace(700, 16), 6));
        assert_eq!(seconds(pace(100_000, 1), 6), LONGEST);
        let choice = pace(1, 2).choose(&manifest, 5, 1);
        assert!(choice.put_window_seconds <= 0.3 * choice.window_seconds);
    }
}
