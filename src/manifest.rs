//! The run manifest: one TOML file that says everything the nodes of a run must agree on.
//!
//! The leader publishes the file in its bucket and commits the file's hash on chain; a node refuses to
//! run another. [`ManifestFile::hash`] is over the file's bytes, so comments count too.

mod data;
mod gauntlet;
mod inner;
mod succession;

pub use data::{AssignmentRule, DataConfig};
pub use gauntlet::{AuditRules, Bins, GauntletConfig, Proof, RatingUse, Slashing, Tiers};
pub use inner::{InnerConfig, Precision};
pub use succession::SuccessionConfig;

use crate::{
    codec::{Rule, Settings},
    window::Schedule,
};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

/// Everything that the nodes of one run agree on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// A name for people; the run is identified by the manifest's hash.
    pub name: String,
    /// Seed of the initial weights and of every draw that a block hash does not seed.
    pub seed: u64,
    /// Windows and the put window.
    pub schedule: ScheduleConfig,
    /// The shape of the model.
    pub model: ModelConfig,
    /// The text that is trained on.
    pub data: DataConfig,
    /// What a miner does in one window.
    pub train: TrainConfig,
    /// How a pseudo-gradient is made small.
    pub compress: CompressConfig,
    /// The step that everybody takes.
    pub outer: OuterConfig,
    /// How peers are judged and paid.
    pub gauntlet: GauntletConfig,
    /// How often the model is saved.
    pub checkpoint: CheckpointConfig,
    /// Who decides a window when the first validator does not.
    #[serde(default)]
    pub succession: SuccessionConfig,
}

/// Windows and the put window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Blocks in one window.
    pub blocks_per_window: u64,
    /// Seconds for which uploads are accepted after a window's end.
    pub put_window_seconds: f64,
    /// Windows in the run; 0 for no end.
    pub windows: u64,
}

/// A Llama: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Entries of the vocabulary.
    pub vocab_size: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width of the SwiGLU's inner layer.
    pub intermediate_size: i64,
    /// Transformer blocks.
    pub layers: i64,
    /// Query heads; `hidden_size` is a multiple of it.
    pub heads: i64,
    /// Key and value heads; `heads` is a multiple of it.
    pub kv_heads: i64,
    /// Tokens in a training sequence.
    pub sequence_length: i64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched for texts longer than those first trained on; none unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f64,
    /// Whether the output head shares the embedding's weights.
    pub tied: bool,
    /// Standard deviation of the initial weights (norms start at 1).
    pub initial_std: f64,
}

/// A stretch of rotary frequencies, as Hugging Face's `modeling_rope_utils.py` computes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// Every frequency is divided by the factor.
    Linear {
        /// How many times longer texts may be.
        factor: f64,
    },
    /// The base grows with the text, once it is longer than the original length.
    Dynamic {
        /// How many times longer texts may be.
        factor: f64,
        /// Tokens up to which nothing changes.
        original_length: i64,
    },
    /// Low frequencies are divided by the factor, high ones stay, those between are mixed: Llama 3.1's.
    Llama3 {
        /// How many times longer texts may be.
        factor: f64,
        /// Wave lengths above the original length over this are divided.
        low_frequency_factor: f64,
        /// Wave lengths below the original length over this stay.
        high_frequency_factor: f64,
        /// Tokens of the texts first trained on.
        original_length: i64,
    },
}

impl RopeScaling {
    /// Whether its numbers give finite frequencies: factors above 0, lengths of at least 1, two bounds in their order.
    pub fn is_sound(&self) -> bool {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        match *self {
            Self::Linear { factor } => positive(factor),
            Self::Dynamic { factor, original_length } => positive(factor) && original_length > 0,
            Self::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_length,
            } => positive(factor) && positive(low) && high.is_finite() && high > low && original_length > 0,
        }
    }
}

/// What a miner does in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Sequences of one forward and backward pass.
    pub micro_batch: usize,
    /// Micro-batches whose gradients are averaged in one window, or in one inner step; in a window this is all of the work.
    pub batches: usize,
    /// Micro-batches that a window assigns: a miner with time left may do as many. As many as `batches` unless given; not with
    /// inner steps, which are the work where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batches: Option<usize>,
    /// Inner steps; without them a window's work is one gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<InnerConfig>,
}

impl TrainConfig {
    /// Sequences that one miner trains on in one window, as a rule.
    pub fn sequences(&self) -> usize {
        self.sequences_of(self.batches)
    }

    /// Sequences that a window assigns: the most that one miner can train on.
    pub fn most_sequences(&self) -> usize {
        self.sequences_of(self.max_batches.unwrap_or(self.batches))
    }

    fn sequences_of(&self, batches: usize) -> usize {
        let steps = self.inner.as_ref().map_or(1, |inner| inner.steps);
        self.micro_batch.saturating_mul(batches).saturating_mul(steps)
    }
}

/// How a pseudo-gradient is made small: the codec's own settings.
pub type CompressConfig = Settings;

/// The step on the aggregate, with a warm-up and a cosine decay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterConfig {
    /// What is made of the peers: the sign of their mean, or the mean.
    #[serde(default)]
    pub rule: Rule,
    /// Step at the peak.
    pub learning_rate: f64,
    /// Windows over which the step rises linearly to the peak.
    pub warmup_windows: u64,
    /// Windows after which the step has fallen to its floor.
    pub decay_windows: u64,
    /// The floor, as a share of the peak.
    pub floor: f64,
}

impl OuterConfig {
    /// The step of the `round`-th round of the run, counted from 0.
    ///
    /// Linear warm-up `(round + 1) / warmup_windows`, then
    /// `floor + (1 - floor) * (1 + cos(pi * t)) / 2` with `t` the share of the decay that has passed.
    pub fn step(&self, round: u64) -> f64 {
        self.learning_rate * cosine_schedule(round, self.warmup_windows, self.decay_windows, self.floor)
    }
}

/// A rate's share of its peak at `at`: a linear rise over `warmup`, then half a cosine down to `floor` at `decay`.
fn cosine_schedule(at: u64, warmup: u64, decay: u64, floor: f64) -> f64 {
    if at < warmup {
        return (at + 1) as f64 / warmup as f64;
    }
    let length = decay.saturating_sub(warmup).max(1);
    let t = ((at - warmup) as f64 / length as f64).min(1.0);
    floor + (1.0 - floor) * (1.0 + (std::f64::consts::PI * t).cos()) / 2.0
}

/// How often the model is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Windows between two checkpoints.
    pub every_windows: u64,
    /// The most bytes of weights in one file of a checkpoint; a tensor that is larger has a file of its own. 256 MiB unless given.
    #[serde(default = "default_shard_bytes")]
    pub shard_bytes: u64,
}

fn default_shard_bytes() -> u64 {
    256 << 20
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read the manifest {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a manifest.
    #[error("not a run manifest")]
    Parse(#[source] Box<toml::de::Error>),
    /// A value makes no sense.
    #[error("the manifest's {field} {problem}")]
    Value {
        /// Its path in the file.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no preset of that name.
    #[error(
        "no preset is called `{0}`; there are: local, local-sparseloco, templar-2, templar-1, sparseloco"
    )]
    UnknownPreset(String),
}

/// The presets, by name: a run of 1.2B parameters under our rules, those of the reference's two ages under theirs, and a small model for
/// two CPU cores with the training of each.
pub const PRESETS: [(&str, &str); 5] = [
    ("local", include_str!("manifest/local.toml")),
    ("local-sparseloco", include_str!("manifest/local-sparseloco.toml")),
    ("templar-2", include_str!("manifest/templar-2.toml")),
    ("templar-1", include_str!("manifest/templar-1.toml")),
    ("sparseloco", include_str!("manifest/sparseloco.toml")),
];

/// A manifest and the bytes it was read from.
#[derive(Debug, Clone)]
pub struct ManifestFile {
    /// What the file says.
    pub parsed: Manifest,
    /// The file, byte by byte.
    pub text: String,
}

impl ManifestFile {
    /// Reads the text of a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(|e| ManifestError::Parse(Box::new(e)))?;
        manifest.check()?;
        Ok(Self { parsed: manifest, text: text.to_owned() })
    }

    /// Reads a manifest from disk.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ManifestError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// A preset that comes with the program: one of [`PRESETS`].
    pub fn preset(name: &str) -> Result<Self, ManifestError> {
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text),
            None => Err(ManifestError::UnknownPreset(name.to_owned())),
        }
    }

    /// The rules of a preset's Gauntlet: `local` and `templar-2` (ours), `templar-1` (the paper's) or `sparseloco` (the reference's
    /// last version).
    pub fn gauntlet(name: &str) -> Result<GauntletConfig, ManifestError> {
        Ok(Self::preset(name)?.parsed.gauntlet)
    }

    /// blake3 over the file's bytes: the identity of the run.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.text.as_bytes()).as_bytes()
    }

    /// The first 8 bytes of the hash in hex: the prefix of every object key of the run.
    pub fn run_id(&self) -> String {
        hex::encode(&self.hash()[..8])
    }
}

impl Manifest {
    /// The schedule in typed units.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            blocks_per_window: self.schedule.blocks_per_window,
            put_window: Duration::from_secs_f64(self.schedule.put_window_seconds),
        }
    }

    /// The micro-batches that a peer may declare in a window; none where declared work is not audited.
    pub fn declared_batches(&self) -> Option<usize> {
        self.gauntlet.audit.map(|_| self.train.max_batches.unwrap_or(self.train.batches))
    }

    fn check(&self) -> Result<(), ManifestError> {
        let model = &self.model;
        let rules = [
            (self.schedule.blocks_per_window > 0, "schedule.blocks_per_window", "must be at least 1"),
            (
                (0.0..=86_400.0).contains(&self.schedule.put_window_seconds),
                "schedule.put_window_seconds",
                "must be between 0 and 86400",
            ),
            (
                model.heads > 0 && model.hidden_size % model.heads == 0,
                "model.heads",
                "must divide model.hidden_size",
            ),
            (
                model.kv_heads > 0 && model.heads % model.kv_heads == 0,
                "model.kv_heads",
                "must divide model.heads",
            ),
            (
                (model.hidden_size / model.heads) % 2 == 0,
                "model.hidden_size",
                "must give heads of even width",
            ),
            (model.vocab_size > 0 && model.layers > 0, "model", "must have a vocabulary and layers"),
            (model.sequence_length > 1, "model.sequence_length", "must be at least 2"),
            (
                model.rope_scaling.is_none_or(|scaling| scaling.is_sound()),
                "model.rope_scaling",
                "must have factors above 0 and lengths of at least 1, the low factor below the high one",
            ),
            ((1..=64).contains(&self.succession.ranks), "succession.ranks", "must be between 1 and 64"),
            (self.data.peers > 0, "data.peers", "must be at least 1"),
            (self.train.sequences() > 0, "train", "must have at least one sequence a window"),
            (
                self.train.inner.is_none() || self.train.max_batches.is_none(),
                "train.max_batches",
                "has no meaning with train.inner, whose steps are the work",
            ),
            (
                self.train.most_sequences() >= self.train.sequences(),
                "train.max_batches",
                "must be at least train.batches",
            ),
            ((1..=64).contains(&self.compress.chunk), "compress.chunk", "must be between 1 and 64"),
            (self.compress.top_k > 0, "compress.top_k", "must be at least 1"),
            (
                (0.0..=0.9999).contains(&self.compress.momentum),
                "compress.momentum",
                "must be at least 0 and at most 0.9999",
            ),
            (self.outer.learning_rate > 0.0, "outer.learning_rate", "must be positive"),
            (self.gauntlet.top_g > 0, "gauntlet.top_g", "must be at least 1"),
            (self.gauntlet.own_sequences > 1, "gauntlet.own_sequences", "must be at least 2"),
            (self.gauntlet.random_sequences > 1, "gauntlet.random_sequences", "must be at least 2"),
            (self.gauntlet.windows_per_weights > 0, "gauntlet.windows_per_weights", "must be at least 1"),
            (self.gauntlet.tables_hold(), "gauntlet", "has a table with a value out of bounds"),
            (
                self.gauntlet.audits_hold(),
                "gauntlet.audit",
                "belongs to the proof `audited`, with at least 2 micro_batches, a tolerance of at most 0.4 and a recent_alpha of 0 to 1",
            ),
            (
                self.gauntlet.audit.is_none() || self.train.inner.is_none(),
                "gauntlet.proof",
                "cannot be `audited` with train.inner: gradients of inner steps are of models that only the peer has",
            ),
            (
                self.gauntlet.audit.is_none() || self.gauntlet.random_sequences >= 2 * self.train.micro_batch,
                "gauntlet.random_sequences",
                "must be two micro-batches or more with the proof `audited`, which measures distances by them",
            ),
            (self.checkpoint.every_windows > 0, "checkpoint.every_windows", "must be at least 1"),
            (
                // What is larger goes up in parts, and has no tag that says what arrived.
                (1..=1 << 30).contains(&self.checkpoint.shard_bytes),
                "checkpoint.shard_bytes",
                "must be between 1 and 1073741824",
            ),
        ];
        let inner = self.train.inner.iter().flat_map(InnerConfig::rules);
        match inner.chain(rules).find(|(holds, _, _)| !holds) {
            Some((_, field, problem)) => Err(ManifestError::Value { field, problem }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_parse_and_differ() {
        let local = ManifestFile::preset("local").unwrap();
        let big = ManifestFile::preset("templar-1").unwrap();
        assert_ne!(local.hash(), big.hash());
        assert_eq!(big.parsed.gauntlet.top_g, 15);
        assert_eq!(big.parsed.schedule().blocks_per_window, 7);
        assert!(matches!(ManifestFile::preset("none"), Err(ManifestError::UnknownPreset(_))));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let text = include_str!("manifest/local.toml").replace("kv_heads = 2", "kv_heads = 3");
        let error = ManifestFile::parse(&text).unwrap_err().to_string();
        assert_eq!(error, "the manifest's model.kv_heads must divide model.heads");
        assert!(matches!(ManifestFile::parse("nonsense"), Err(ManifestError::Parse(_))));
    }

    #[test]
    fn the_step_rises_then_falls_to_its_floor() {
        let outer = OuterConfig {
            rule: Rule::Sign,
            learning_rate: 3.0,
            warmup_windows: 3,
            decay_windows: 13,
            floor: 0.1,
        };
        assert_eq!(outer.step(0), 1.0);
        assert_eq!(outer.step(2), 3.0);
        assert_eq!(outer.step(3), 3.0);
        assert!((outer.step(8) - 3.0 * 0.55).abs() < 1e-12);
        assert!((outer.step(13) - 0.3).abs() < 1e-12);
        assert!((outer.step(1000) - 0.3).abs() < 1e-12);
    }
}
