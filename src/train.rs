//! What a miner does in one window: gradients, averaged over micro-batches, or the steps of an [`inner`] loop.

pub mod inner;
mod models;
pub mod sketches;

pub use models::Models;

use crate::{manifest::Precision, model::Llama};
use tch::{Device, Tensor};
use templar_kernels::KernelError;

/// The gradients of one window's work.
#[derive(Debug)]
pub struct LocalStep {
    /// The gradient of the mean loss by each parameter, in the model's order.
    pub gradients: Vec<Tensor>,
    /// Mean cross-entropy of all sequences, nats, before any step.
    pub loss: f64,
    /// Mean cross-entropy of each sequence, nats.
    pub sequence_losses: Vec<f32>,
}

/// Why a local step has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// No sequences.
    #[error("there is nothing to train on: no sequences were given")]
    NoSequences,
    /// Sequences of different lengths, or shorter than two tokens.
    #[error("the sequences of a batch must have one length of at least 2 tokens")]
    Ragged,
    /// The loss is not a number.
    #[error("the loss is not a finite number: the model or its data is damaged")]
    NotFinite,
    /// A gradient is not a number, or too long for one.
    #[error(
        "a gradient of inner step {step} is not finite: lower the learning rate, or the model or its data is damaged"
    )]
    NotFiniteGradient {
        /// The run's inner step, counted from 0.
        step: u64,
    },
    /// An optimizer's moments are of another model.
    #[error("the inner optimizer was made for a model of another shape or on another device: make a new one")]
    OtherModel,
    /// What was learned was handed on to be written, and did not come back.
    #[error(
        "what was not sent yet was lost while it was written to disk: start the node again, to take it up from there"
    )]
    Lost,
    /// The GPU, its driver or libtorch.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Token ids as a batch `[sequences, length]` of int64.
///
/// # Errors
/// No sequences, sequences of different lengths, or of fewer than two tokens.
pub fn batch<T: Copy + Into<i64>, S: AsRef<[T]>>(
    sequences: &[S],
    device: Device,
) -> Result<Tensor, TrainError> {
    let length = sequences.first().ok_or(TrainError::NoSequences)?.as_ref().len();
    if length < 2 || sequences.iter().any(|s| s.as_ref().len() != length) {
        return Err(TrainError::Ragged);
    }
    let ids: Vec<i64> = sequences.iter().flat_map(|s| s.as_ref().iter().map(|t| (*t).into())).collect();
    Ok(Tensor::from_slice(&ids).view([sequences.len() as i64, length as i64]).to_device(device))
}

/// Gradients of the mean loss over `tokens` (`[sequences, length + 1]`), `micro_batch` sequences at a time.
///
/// Every sequence counts overlapping, however they are split. The weights are not changed. On one device with one
/// setting of threads the result is the same bits each time.
///
/// # Errors
/// No sequences, or a loss that is not finite.
pub fn local_step(model: &mut Llama, tokens: &Tensor, micro_batch: usize) -> Result<LocalStep, TrainError> {
    local_step_while(model.into(), tokens, micro_batch, || true)
}

/// [`local_step`], for as long as `go_on` says so before each micro-batch but the first (before each row of them, with several devices):
/// the result is that of the first so many sequences as [`LocalStep::sequence_losses`] has losses.
///
/// # Errors
/// As [`local_step`].
pub fn local_step_while(
    mut models: Models<'_>,
    tokens: &Tensor,
    micro_batch: usize,
    go_on: impl FnMut() -> bool,
) -> Result<LocalStep, TrainError> {
    let precision = models.first().precision();
    let (gradients, sequence_losses, _) =
        accumulate_while(models, tokens, micro_batch, precision, go_on, |_, _, _| ())?;
    let loss = mean_of(&sequence_losses);
    Ok(LocalStep { gradients, loss, sequence_losses })
}

fn mean_of(losses: &[f32]) -> f64 {
    losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64
}

/// Gradients of the mean loss, summed in float32 over micro-batches, and the loss of each sequence.
fn accumulate(
    models: Models<'_>,
    tokens: &Tensor,
    micro_batch: usize,
    precision: Precision,
) -> Result<(Vec<Tensor>, Vec<f32>), TrainError> {
    let (gradients, losses, _) =
        accumulate_while(models, tokens, micro_batch, precision, || true, |_, _, _| ())?;
    Ok((gradients, losses))
}

/// Gradients, losses, and what was made of each micro-batch, with its number of sequences.
type Accumulated<T> = (Vec<Tensor>, Vec<f32>, Vec<(usize, T)>);

/// [`accumulate`], for as long as `go_on` says so before each row of micro-batches but the first. `each` sees the number of the device, its
/// model and its gradients so far after each micro-batch.
fn accumulate_while<T: Send>(
    mut models: Models<'_>,
    tokens: &Tensor,
    micro_batch: usize,
    precision: Precision,
    mut go_on: impl FnMut() -> bool,
    each: impl Fn(usize, &Llama, &[Tensor]) -> T + Sync,
) -> Result<Accumulated<T>, TrainError> {
    let total = tokens.size().first().copied().unwrap_or(0);
    if total == 0 {
        return Err(TrainError::NoSequences);
    }
    let mut sums = models.zeros();
    let mut sequence_losses = Vec::with_capacity(total as usize);
    let mut seen = Vec::new();
    for row in tokens.split(micro_batch.max(1) as i64, 0).chunks(models.count()) {
        if !sequence_losses.is_empty() && !go_on() {
            break;
        }
        for (losses, made) in models.row(row, precision, 1.0 / total as f64, &mut sums, &each)? {
            seen.push((losses.len(), made));
            sequence_losses.extend(losses);
        }
    }
    let mut gradients = tch::no_grad(|| models::together(sums));
    let done = sequence_losses.len() as i64;
    if done < total {
        // Each was weighed as one of all; the mean is over those that were done.
        gradients = gradients.into_iter().map(|gradient| gradient * (total as f64 / done as f64)).collect();
    }
    if sequence_losses.iter().all(|l| l.is_finite()) {
        Ok((gradients, sequence_losses, seen))
    } else {
        Err(TrainError::NotFinite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ManifestFile;

    #[test]
    fn bad_batches_are_refused() {
        assert_eq!(batch::<u8, Vec<u8>>(&[], Device::Cpu).unwrap_err(), TrainError::NoSequences);
        assert_eq!(batch(&[vec![1u8, 2], vec![3]], Device::Cpu).unwrap_err(), TrainError::Ragged);
        assert_eq!(batch(&[vec![1u8]], Device::Cpu).unwrap_err(), TrainError::Ragged);
        let good = batch(&[vec![1u16, 2], vec![3, 4]], Device::Cpu).unwrap();
        assert_eq!(Vec::<i64>::try_from(good.view([-1])).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn work_that_ends_early_is_the_mean_of_what_was_done() {
        let mut config = ManifestFile::preset("local").unwrap().parsed.model;
        (config.hidden_size, config.intermediate_size, config.layers) = (16, 16, 1);
        let mut model = Llama::new(&config, 1, Device::Cpu);
        let sequences: Vec<[u8; 5]> = (0..8).map(|i| [i, i + 1, i + 2, 9 - i, 3]).collect();
        let tokens = batch(&sequences, Device::Cpu).unwrap();
        let mut turns = 0;
        let go_on = || {
            turns += 1;
            turns < 3
        };
        let early = local_step_while((&mut model).into(), &tokens, 2, go_on).unwrap();
        assert_eq!(early.sequence_losses.len(), 6, "three micro-batches of two");
        let same = local_step(&mut model, &tokens.narrow(0, 0, 6), 2).unwrap();
        assert_eq!(early.sequence_losses, same.sequence_losses);
        assert_eq!(early.loss, same.loss);
        for (a, b) in early.gradients.iter().zip(&same.gradients) {
            assert!(a.allclose(b, 1e-5, 1e-7, false));
        }
        let least = local_step_while((&mut model).into(), &tokens, 2, || false).unwrap();
        assert_eq!(least.sequence_losses.len(), 2, "at least one micro-batch is done");
    }

    #[test]
    fn a_damaged_model_has_no_step() {
        let mut config = ManifestFile::preset("local").unwrap().parsed.model;
        (config.hidden_size, config.intermediate_size, config.layers) = (16, 16, 1);
        let mut model = Llama::new(&config, 1, Device::Cpu);
        let tokens = batch(&[vec![1u8, 2, 3]], Device::Cpu).unwrap();
        assert!(local_step(&mut model, &tokens, 4).is_ok());
        assert_eq!(local_step(&mut model, &tokens.narrow(0, 0, 0), 4).unwrap_err(), TrainError::NoSequences);
        let _ = tch::no_grad(|| model.parameters()[0].1.shallow_clone().fill_(f64::NAN));
        assert_eq!(local_step(&mut model, &tokens, 4).unwrap_err(), TrainError::NotFinite);
    }
}
