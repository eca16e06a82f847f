//! The inner loop of SparseLoCo: AdamW steps from the run's weights, of which only the way that they went is sent.
//!
//! `theta_H = AdamW^H(theta_0)` and the result is `theta_0 - theta_H`; the weights go back to `theta_0`. Moments and the count
//! of steps stay from round to round.

mod state;

use super::{Models, TrainError, accumulate};
use crate::{
    manifest::InnerConfig,
    model::{Kernels, Llama, floats, on_device},
};
use tch::{Device, Tensor};
use templar_kernels::device::AdamW;

/// What a round's inner steps did.
#[derive(Debug)]
pub struct Inner {
    /// The weights before less the weights after, float32, in the model's order.
    pub deltas: Vec<Tensor>,
    /// Mean cross-entropy of each step's sequences before it, nats.
    pub losses: Vec<f64>,
}

impl Inner {
    /// Mean of the losses of all steps, nats.
    pub fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }
}

/// Decaying means of one tensor's gradients and of their squares, float32.
#[derive(Debug)]
struct Moments {
    first: Tensor,
    second: Tensor,
}

/// AdamW, whose moments outlive the rounds.
///
/// Memory on the model's device, in float32 weights: 2 between rounds; during one 4 more, of which 2 are the moments to return
/// to, besides gradients.
#[derive(Debug)]
pub struct InnerOptimizer {
    config: InnerConfig,
    shapes: Vec<(String, Vec<usize>)>,
    moments: Vec<Moments>,
    steps: u64,
    device: Device,
}

impl InnerOptimizer {
    /// The state before the first step: moments 0, on the model's device.
    pub fn new(model: &Llama, config: &InnerConfig) -> Self {
        let zeros = |(_, weight): &(String, Tensor)| Moments {
            first: weight.detach().zeros_like(),
            second: weight.detach().zeros_like(),
        };
        let moments = model.parameters().iter().map(zeros).collect();
        Self { config: config.clone(), shapes: shapes(model), moments, steps: 0, device: model.device() }
    }

    /// Steps taken in all rounds.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes one step for each of `tokens_by_step` (`[sequences, length + 1]`, int64), `micro_batch` sequences at a time, and
    /// puts the weights back, bit for bit.
    ///
    /// `round` is the run's, counted from 0: the learning rate follows the run's inner steps (`round * steps` and on), so that
    /// who joins late or missed a round has everybody's rate. The correction of the moments follows the own steps. A step is
    ///
    /// ```text
    /// g = g * min(1, clip_norm / (|g| + 1e-6))
    /// m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
    /// theta = (1 - rate weight_decay) theta - rate / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)
    /// ```
    ///
    /// On one device with one setting of threads the result is the same bits each time.
    ///
    /// # Errors
    /// No steps or a step without sequences, another model, losses or gradients that are not finite: then weights and moments
    /// are as they were before.
    pub fn run(
        &mut self,
        model: &mut Llama,
        tokens_by_step: &[Tensor],
        micro_batch: usize,
        round: u64,
    ) -> Result<Inner, TrainError> {
        self.run_while(model.into(), tokens_by_step, micro_batch, round, || true)
    }

    /// [`Self::run`], for as long as `go_on` says so before each step but the first: [`Inner::losses`] tells how many were taken.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_while(
        &mut self,
        mut models: Models<'_>,
        tokens_by_step: &[Tensor],
        micro_batch: usize,
        round: u64,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Inner, TrainError> {
        let model = models.first();
        if model.device() != self.device || shapes(model) != self.shapes {
            return Err(TrainError::OtherModel);
        }
        if tokens_by_step.is_empty() {
            return Err(TrainError::NoSequences);
        }
        let start = model.snapshot();
        let before: Vec<Moments> = self.moments.iter().map(Moments::copy).collect();
        let begun = self.steps;
        let first = round.saturating_mul(self.config.steps as u64);
        let steps = tokens_by_step.iter().zip(first..).take_while(|(_, at)| *at == first || go_on());
        let losses: Result<Vec<f64>, TrainError> =
            steps.map(|(tokens, at)| self.step(models.reborrow(), tokens, micro_batch, at)).collect();
        let model = models.first();
        if losses.is_err() {
            (self.moments, self.steps) = (before, begun);
        }
        let way = |((_, end), start): (&(String, Tensor), &Tensor)| start - end.detach();
        let deltas = losses.map(|losses| Inner {
            deltas: model.parameters().iter().zip(start.tensors()).map(way).collect(),
            losses,
        });
        model.restore(&start);
        deltas
    }

    /// One step; gives the loss before it.
    fn step(
        &mut self,
        mut models: Models<'_>,
        tokens: &Tensor,
        micro_batch: usize,
        at: u64,
    ) -> Result<f64, TrainError> {
        let (gradients, losses) = accumulate(models.reborrow(), tokens, micro_batch, self.config.precision)?;
        let loss = losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64;
        self.apply(models.first(), &gradients, at)?;
        models.share();
        Ok(loss)
    }

    /// The step of some gradients, in the model's order, at the rate of the run's step `at`: the formula of [`Self::run`], and the weights
    /// stay where it leads.
    ///
    /// # Errors
    /// Gradients that are not finite; then nothing was changed.
    pub fn apply(&mut self, model: &Llama, gradients: &[Tensor], at: u64) -> Result<(), TrainError> {
        tch::no_grad(|| {
            let kernels = model.kernels();
            let scale = self.clip(kernels.as_ref(), gradients);
            let scale = scale.ok_or(TrainError::NotFiniteGradient { step: at })?;
            self.steps += 1;
            let rate = self.config.rate(at);
            let weights = model.parameters().iter().map(|(_, weight)| weight.shallow_clone());
            for ((mut weight, gradient), moments) in weights.zip(gradients).zip(&mut self.moments) {
                let adamw = adamw(&self.config, scale, rate, self.steps);
                let both = (&moments.first, &moments.second);
                if on_device(kernels.as_ref(), |kernels| kernels.adamw(&weight, both, gradient, adamw))
                    .is_none()
                {
                    moments.step(&self.config, &mut weight, &(gradient * scale), rate, self.steps);
                }
            }
            Ok(())
        })
    }

    /// What the gradients are multiplied by, so that they are not too long; `None` where they are not finite.
    fn clip(&self, kernels: Option<&Kernels>, gradients: &[Tensor]) -> Option<f64> {
        let libtorchs = || {
            let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
            floats(&Tensor::stack(&norms, 0).norm()).first().map_or(f64::NAN, |norm| f64::from(*norm))
        };
        let norm = on_device(kernels, |kernels| kernels.length(gradients)).unwrap_or_else(libtorchs);
        let scale = if self.config.clip_norm > 0.0 { self.config.clip_norm / (norm + 1e-6) } else { 1.0 };
        norm.is_finite().then_some(scale.min(1.0))
    }
}

/// A step, for a GPU's kernel.
fn adamw(config: &InnerConfig, scale: f64, rate: f64, steps: u64) -> AdamW {
    AdamW {
        scale: scale as f32,
        rate: rate as f32,
        decay: config.weight_decay as f32,
        beta1: config.beta1 as f32,
        beta2: config.beta2 as f32,
        epsilon: config.epsilon as f32,
        step: i32::try_from(steps).unwrap_or(i32::MAX),
    }
}

impl Moments {
    fn copy(&self) -> Self {
        Self { first: self.first.copy(), second: self.second.copy() }
    }

    fn step(&mut self, config: &InnerConfig, weight: &mut Tensor, gradient: &Tensor, rate: f64, steps: u64) {
        let corrected = |beta: f64| 1.0 - beta.powf(steps as f64);
        let _ = self.first.lerp_(gradient, 1.0 - config.beta1);
        let _ = self.second.g_mul_scalar_(config.beta2).g_add_(&(gradient.square() * (1.0 - config.beta2)));
        let root = self.second.sqrt().g_div_scalar_(corrected(config.beta2).sqrt());
        let direction = &self.first / (root + config.epsilon);
        let _ = weight.g_mul_scalar_(1.0 - rate * config.weight_decay);
        let _ = weight.g_sub_(&(direction * (rate / corrected(config.beta1))));
    }
}

/// Names and shapes of a model's parameters.
fn shapes(model: &Llama) -> Vec<(String, Vec<usize>)> {
    let shape = |(name, weight): &(String, Tensor)| {
        (name.clone(), weight.size().iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect())
    };
    model.parameters().iter().map(shape).collect()
}

#[cfg(test)]
mod tests;
