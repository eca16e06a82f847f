//! What is compared: optimisers with their settings, and the settings that each was tried with.

use super::{Conduct, Task};
use crate::{
    codec::{Rule, Settings as Compress, Transform, Values},
    manifest::{InnerConfig, OuterConfig, Precision},
};
use serde::{Deserialize, Serialize};

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// AdamW on the gradient of the whole batch, in one place.
    AdamW,
    /// DeMo as TEMPLAR-I ran it: 32 of 4096 coefficients, 8 bits, sign of the sum.
    Demo,
    /// DeMo with more coefficients of one bit each: 256 of 4096.
    Dense,
    /// AdamW on the exact mean of what the peers send of their gradients: 256 of 4096 coefficients in 2 bits, the rest sent later.
    Exact,
    /// SparseLoCo: some AdamW steps each, 64 of 4096 in 2 bits, the mean.
    SparseLoco,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::AdamW, Self::Demo, Self::Dense, Self::Exact, Self::SparseLoco];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Demo => "demo",
            Self::Dense => "dense",
            Self::Exact => "exact",
            Self::SparseLoco => "sparseloco",
        }
    }

    /// The settings that it is tried with: as many for each of the contenders, three rates and two values of what else it depends on most
    /// (weight decay, momentum, outer rate).
    pub fn trials(self, task: &Task) -> Vec<Method> {
        let pairs = |rates: [f64; 3], others: [f64; 2]| {
            rates.into_iter().flat_map(move |rate| others.into_iter().map(move |other| (rate, other)))
        };
        match self {
            Self::AdamW => pairs([1e-3, 2e-3, 4e-3], [0.1, 0.0])
                .map(|(rate, weight_decay)| Method::Central(adamw(task, 1, rate, weight_decay)))
                .collect(),
            Self::Demo => pairs([2e-3, 3e-3, 4e-3], [0.8, 0.9])
                .map(|(rate, momentum)| Method::Gradients {
                    compress: Compress::demo(momentum, 64, 32),
                    outer: sign_steps(task, rate),
                })
                .collect(),
            Self::Dense => pairs([1e-3, 2e-3, 3e-3], [0.8, 0.9])
                .map(|(rate, momentum)| Method::Gradients {
                    compress: Compress {
                        momentum,
                        chunk: 64,
                        top_k: 256,
                        transform: Transform::Dct,
                        values: Values::One,
                    },
                    outer: sign_steps(task, rate),
                })
                .collect(),
            Self::Exact => pairs([1e-3, 2e-3, 4e-3], [0.9, 0.999])
                .map(|(rate, momentum)| Method::Means {
                    compress: Compress {
                        momentum,
                        chunk: 64,
                        top_k: 256,
                        transform: Transform::Dct,
                        values: Values::Two,
                    },
                    optimizer: adamw(task, 1, rate, 0.1),
                })
                .collect(),
            Self::SparseLoco => pairs([2e-3, 4e-3, 8e-3], [0.8, 1.0])
                .map(|(rate, outer)| Method::Loops {
                    inner: adamw(task, 5, rate, 0.1),
                    compress: Compress::sparse_loco(0.95, 64, 64),
                    outer: OuterConfig {
                        rule: Rule::Mean,
                        learning_rate: outer,
                        warmup_windows: 0,
                        decay_windows: 1,
                        floor: 1.0,
                    },
                })
                .collect(),
        }
    }
}

/// AdamW with the task's schedule, counted in its own steps.
fn adamw(task: &Task, steps: usize, learning_rate: f64, weight_decay: f64) -> InnerConfig {
    InnerConfig {
        steps,
        learning_rate,
        warmup_steps: task.warmup,
        decay_steps: task.steps,
        floor: task.floor,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay,
        clip_norm: 1.0,
        precision: Precision::F32,
    }
}

fn sign_steps(task: &Task, learning_rate: f64) -> OuterConfig {
    OuterConfig {
        rule: Rule::Sign,
        learning_rate,
        warmup_windows: task.warmup,
        decay_windows: task.steps,
        floor: task.floor,
    }
}

/// An optimiser with all of its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// AdamW steps on the gradient of the whole batch.
    Central(InnerConfig),
    /// Each peer compresses the gradient of its share, and everybody takes the step of the aggregate.
    Gradients {
        /// How gradients are compressed.
        compress: Compress,
        /// The steps.
        outer: OuterConfig,
    },
    /// Each peer compresses the gradient of its share, and everybody takes an AdamW step of the exact mean.
    Means {
        /// How gradients are compressed: what is not sent is sent later, less the decay.
        compress: Compress,
        /// The steps.
        optimizer: InnerConfig,
    },
    /// Each peer goes some steps of its own, and compresses the way that it went.
    Loops {
        /// Its steps.
        inner: InnerConfig,
        /// How the way is compressed.
        compress: Compress,
        /// The steps of the run.
        outer: OuterConfig,
    },
}

/// What is run: a method among which peers, judged or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The optimiser.
    pub method: Method,
    /// What each peer does; all are honest where there are none.
    pub conducts: Vec<Conduct>,
    /// Whether Gauntlet decides who is aggregated; else everybody is.
    pub gauntlet: bool,
}

impl Setup {
    /// All peers honest, and nobody judged.
    pub fn plain(method: Method) -> Self {
        Self { method, conducts: Vec::new(), gauntlet: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contender_has_as_many_trials_and_the_same_schedule() {
        let task = Task::named("tiny").unwrap();
        for contender in Contender::ALL {
            let trials = contender.trials(&task);
            assert_eq!(trials.len(), 6, "{contender:?}");
            for (at, trial) in trials.iter().enumerate() {
                assert!(!trials[..at].contains(trial));
                let schedule = match trial {
                    Method::Central(inner)
                    | Method::Means { optimizer: inner, .. }
                    | Method::Loops { inner, .. } => (inner.warmup_steps, inner.decay_steps, inner.floor),
                    Method::Gradients { outer, .. } => {
                        (outer.warmup_windows, outer.decay_windows, outer.floor)
                    }
                };
                assert_eq!(schedule, (task.warmup, task.steps, task.floor));
            }
        }
        assert!(Task::named("huge").is_err());
    }
}
