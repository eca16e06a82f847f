//! What is trained, and for how long.

use super::LabError;
use crate::manifest::ModelConfig;
use serde::{Deserialize, Serialize};

/// A size of the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// The model.
    pub model: ModelConfig,
    /// Peers that share each step's tokens.
    pub peers: usize,
    /// Sequences of a peer in a step.
    pub share: usize,
    /// Steps at which every peer has had a share.
    pub steps: u64,
    /// Steps over which rates rise.
    pub warmup: u64,
    /// The end of the decay of rates, as a share of the peak.
    pub floor: f64,
    /// Sequences of held-out text.
    pub held_out: usize,
    /// Steps from one measurement of the held-out loss to the next.
    pub every: u64,
    /// Bytes of text.
    pub text_bytes: u64,
}

impl Task {
    /// The sizes that `scripts/reproduce` knows: `tiny`, `small`, `100m`.
    ///
    /// # Errors
    /// [`LabError::NoTask`].
    pub fn named(name: &str) -> Result<Self, LabError> {
        // Widths of which 64 is a divisor: the codec is slower with chunks of another size.
        let (hidden_size, intermediate_size, layers, heads, sequence_length) = match name {
            "tiny" => (128, 256, 2, 4, 64),
            "small" => (192, 384, 3, 3, 128),
            "100m" => (768, 2048, 12, 12, 1024),
            _ => return Err(LabError::NoTask(name.to_owned())),
        };
        let (share, steps) = match name {
            "tiny" => (4, 200),
            "small" => (4, 300),
            _ => (8, 2000),
        };
        let model = ModelConfig {
            vocab_size: 256,
            hidden_size,
            intermediate_size,
            layers,
            heads,
            kv_heads: heads,
            sequence_length,
            rope_theta: 10_000.0,
            rope_scaling: None,
            norm_epsilon: 1e-6,
            tied: false,
            initial_std: 0.02,
        };
        let name = name.to_owned();
        Ok(Self {
            peers: 15,
            share,
            steps,
            warmup: steps / 10,
            floor: 0.1,
            held_out: 128,
            every: steps / 20,
            text_bytes: if name == "100m" { 300_000_000 } else { 8_000_000 },
            name,
            model,
        })
    }

    /// Tokens of a step.
    pub fn tokens_a_step(&self) -> u64 {
        (self.peers * self.share) as u64 * self.model.sequence_length as u64
    }
}
