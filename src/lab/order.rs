//! Which tokens come when: the same for everybody who is compared.

use super::{LabError, Task};
use crate::{
    data::{Permutation, Sequences},
    model::Llama,
    train::TrainError,
};
use tch::{Device, Tensor};

/// Sequences of one forward pass.
const TOGETHER: usize = 64;

/// The order of a text's sequences. In each step every peer has a share of its own; a centralised run has all of them at once. No
/// sequence comes twice, and none is of the held-out text.
#[derive(Debug, Clone)]
pub struct Order {
    permutation: Permutation,
    peers: u64,
    share: u64,
}

impl Order {
    /// An order drawn by a seed, for so many peers with so many sequences each.
    pub fn new(seed: u64, peers: usize, share: usize, population: u64) -> Self {
        let mut key = blake3::Hasher::new_derive_key("templar lab order of sequences");
        key.update(&seed.to_le_bytes());
        let permutation = Permutation::new(*key.finalize().as_bytes(), population);
        Self { permutation, peers: peers as u64, share: share as u64 }
    }

    /// The sequences of a peer in a step, counted from 0.
    pub fn share(&self, step: u64, peer: usize) -> Vec<u64> {
        let from = (step * self.peers + peer as u64) * self.share;
        (from..from + self.share).filter_map(|place| self.permutation.at(place)).collect()
    }

    /// The sequences of all peers in a step.
    pub fn batch(&self, step: u64) -> Vec<u64> {
        (0..self.peers as usize).flat_map(|peer| self.share(step, peer)).collect()
    }
}

/// The text of an experiment and its order.
#[derive(Debug, Clone)]
pub struct Text {
    /// The text.
    pub sequences: Sequences,
    /// What comes when.
    pub order: Order,
    device: Device,
}

impl Text {
    /// A text in the order of a seed.
    ///
    /// # Errors
    /// [`LabError::TooLittleText`] where a sequence would have to come twice.
    pub fn new(sequences: Sequences, task: &Task, seed: u64, device: Device) -> Result<Self, LabError> {
        let (found, needed) = (sequences.training(), task.steps * (task.peers * task.share) as u64);
        if found < needed {
            return Err(LabError::TooLittleText { found, needed });
        }
        let order = Order::new(seed, task.peers, task.share, found);
        Ok(Self { sequences, order, device })
    }

    /// Mean loss of a model on the held-out text, nats a token.
    ///
    /// # Errors
    /// What reading says.
    pub fn held_out(&self, model: &Llama) -> Result<f64, LabError> {
        let held_out: Vec<u64> = self.sequences.held_out().collect();
        let losses = model.sequence_losses(&self.tokens(&held_out)?, TOGETHER).map_err(TrainError::from)?;
        Ok(losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len().max(1) as f64)
    }

    /// Sequences as a batch `[sequences, length + 1]`.
    pub(super) fn tokens(&self, indices: &[u64]) -> Result<Tensor, LabError> {
        let ids = self.sequences.batch(indices)?;
        Ok(Tensor::from_slice(&ids).view([indices.len() as i64, -1]).to_device(self.device))
    }

    /// The device that batches come on.
    pub(super) fn device(&self) -> Device {
        self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_sees_the_same_tokens_once_and_none_that_is_held_out() {
        let (peers, share, steps, population) = (15, 4, 50, 3500);
        let order = Order::new(7, peers, share, population);
        let mut seen = BTreeSet::new();
        for step in 0..steps {
            let whole = order.batch(step);
            let parts: Vec<u64> = (0..peers).flat_map(|peer| order.share(step, peer)).collect();
            assert_eq!((whole.len(), &whole), (peers * share, &parts));
            // The held-out sequences come after the population.
            assert!(whole.iter().all(|sequence| *sequence < population));
            seen.extend(whole);
        }
        assert_eq!(seen.len() as u64, steps * (peers * share) as u64, "none comes twice");
        assert_ne!(Order::new(8, peers, share, population).batch(0), order.batch(0));
        assert_eq!(Order::new(7, peers, share, population).batch(49), order.batch(49));
    }
}
