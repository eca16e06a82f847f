//! The inner loop of SparseLoCo: several AdamW steps of a miner in one window.

use super::cosine_schedule;
use serde::{Deserialize, Serialize};

/// AdamW with a warm-up and a cosine decay, `steps` times a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerConfig {
    /// Steps of one window.
    pub steps: usize,
    /// Learning rate at the peak.
    pub learning_rate: f64,
    /// Steps of the run over which the rate rises linearly to the peak.
    pub warmup_steps: u64,
    /// Steps of the run after which the rate has fallen to its floor.
    pub decay_steps: u64,
    /// The floor, as a share of the peak.
    pub floor: f64,
    /// Decay of the mean of the gradients.
    #[serde(default = "beta1")]
    pub beta1: f64,
    /// Decay of the mean of the gradients' squares.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// Added to the root of the mean square.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
    /// Share of a weight that a step of rate 1 would take away.
    #[serde(default = "weight_decay")]
    pub weight_decay: f64,
    /// The longest that a gradient may be, over all tensors; 0 for any.
    #[serde(default = "clip_norm")]
    pub clip_norm: f64,
    /// What forward and backward pass compute in.
    #[serde(default)]
    pub precision: Precision,
}

/// What forward and backward pass compute in. Weights, gradients' sums and moments are float32 in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.95
}

fn epsilon() -> f64 {
    1e-8
}

fn weight_decay() -> f64 {
    0.1
}

fn clip_norm() -> f64 {
    1.0
}

impl InnerConfig {
    /// The learning rate of the run's inner step `step`, counted from 0 over all rounds.
    ///
    /// Linear warm-up `(step + 1) / warmup_steps`, then `floor + (1 - floor) * (1 + cos(pi * t)) / 2` with `t` the share of
    /// the decay that has passed.
    pub fn rate(&self, step: u64) -> f64 {
        self.learning_rate * cosine_schedule(step, self.warmup_steps, self.decay_steps, self.floor)
    }

    /// What must hold, with the field and what is wrong otherwise.
    pub(super) fn rules(&self) -> [(bool, &'static str, &'static str); 9] {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        [
            ((1..=100_000).contains(&self.steps), "train.inner.steps", "must be between 1 and 100000"),
            (positive(self.learning_rate), "train.inner.learning_rate", "must be positive"),
            (
                self.warmup_steps <= self.decay_steps,
                "train.inner.decay_steps",
                "must not be below train.inner.warmup_steps",
            ),
            ((0.0..=1.0).contains(&self.floor), "train.inner.floor", "must be between 0 and 1"),
            (share(self.beta1), "train.inner.beta1", "must be at least 0 and below 1"),
            (share(self.beta2), "train.inner.beta2", "must be at least 0 and below 1"),
            (positive(self.epsilon), "train.inner.epsilon", "must be positive"),
            (
                not_negative(self.weight_decay) && self.learning_rate * self.weight_decay < 1.0,
                "train.inner.weight_decay",
                "must be at least 0, and below 1 when multiplied by the learning rate",
            ),
            (not_negative(self.clip_norm), "train.inner.clip_norm", "must be at least 0"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::{Manifest, ManifestFile, Precision};

    fn with(table: &str) -> Result<ManifestFile, String> {
        let local = ManifestFile::preset("local").unwrap().parsed;
        let local = Manifest { gauntlet: local.gauntlet.clone().without_audits(), ..local };
        let text = toml::to_string(&local).unwrap();
        let at = text.find("[compress]").unwrap();
        ManifestFile::parse(&format!("{}{table}\n{}", &text[..at], &text[at..])).map_err(|e| e.to_string())
    }

    const TABLE: &str =
        "[train.inner]\nsteps = 30\nlearning_rate = 1.0\nwarmup_steps = 4\ndecay_steps = 14\nfloor = 0.1\n";

    #[test]
    fn a_run_without_the_table_has_no_inner_loop_and_defaults_fill_one_with_it() {
        let without = ManifestFile::preset("local").unwrap().parsed.train;
        assert_eq!((without.inner.clone(), without.sequences()), (None, 64));
        let train = with(TABLE).unwrap().parsed.train;
        let inner = train.inner.clone().unwrap();
        assert_eq!((inner.beta1, inner.beta2, inner.epsilon), (0.9, 0.95, 1e-8));
        assert_eq!((inner.weight_decay, inner.clip_norm, inner.precision), (0.1, 1.0, Precision::F32));
        assert_eq!(train.sequences(), 30 * 64);
        let bf16 = with(&format!("{TABLE}precision = \"bf16\"")).unwrap().parsed.train.inner.unwrap();
        assert_eq!(bf16.precision, Precision::Bf16);
        assert!(with(&format!("{TABLE}precision = \"fp8\"")).is_err());
    }

    #[test]
    fn the_rate_rises_then_falls_to_its_floor() {
        let inner = with(TABLE).unwrap().parsed.train.inner.unwrap();
        assert_eq!([0, 1, 3, 4].map(|step| inner.rate(step)), [0.25, 0.5, 1.0, 1.0]);
        assert!((inner.rate(9) - 0.55).abs() < 1e-12);
        assert!((inner.rate(14) - 0.1).abs() < 1e-12 && (inner.rate(10_000) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn each_value_out_of_bounds_is_named() {
        for (line, field) in [
            ("steps = 0", "steps"),
            ("learning_rate = 0.0", "learning_rate"),
            ("learning_rate = inf", "learning_rate"),
            ("decay_steps = 3", "decay_steps"),
            ("floor = 1.5", "floor"),
            ("beta1 = 1.0", "beta1"),
            ("beta2 = -0.1", "beta2"),
            ("epsilon = 0.0", "epsilon"),
            ("weight_decay = 1.0", "weight_decay"),
            ("clip_norm = nan", "clip_norm"),
        ] {
            let name = line.split(' ').next().unwrap();
            let kept: Vec<&str> = TABLE.lines().filter(|known| !known.starts_with(name)).collect();
            let error = with(&format!("{}\n{line}", kept.join("\n"))).unwrap_err();
            assert!(error.contains(&format!("train.inner.{field} must")), "{line}: {error}");
        }
    }
}
