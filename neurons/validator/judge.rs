//! Stage 2: the losses before and after a peer's step, on its own data and on random data.

use super::gather::Gathered;
use crate::setup::Ready;
use tch::Tensor;
use templar::{
    aggregate, data,
    gauntlet::Evidence,
    gradient::SparseTensor,
    model::{Llama, Snapshot},
    node::{NodeError, Replica},
    wallet::AccountId,
    window::Window,
};

/// A second copy of the model, kept at the state that the window's peers trained from.
pub struct Judge {
    model: Llama,
    before: Snapshot,
}

/// The random data of a window, the same for all its peers.
pub struct Shared {
    random: Tensor,
    before: Vec<f64>,
}

impl Judge {
    /// A judge with a model of its own.
    pub fn new(ready: &Ready) -> Self {
        let manifest = &ready.identity.manifest.manifest;
        let model = Llama::new(&manifest.model, manifest.seed, ready.device);
        let before = model.snapshot();
        Self { model, before }
    }

    /// Takes the replica's weights: what the peers of the next round trained from.
    pub fn keep(&mut self, replica: &Replica) {
        self.before = replica.model.snapshot();
        self.model.restore(&self.before);
    }

    /// Mean loss of the replica on text that nobody trains on, nats a token.
    pub fn held_out(&self, ready: &Ready) -> Result<f64, NodeError> {
        let sequences: Vec<u64> = ready.corpus.held_out().collect();
        let losses = losses(&ready.replica.model, ready, &ready.tokens(&sequences)?);
        Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
    }

    /// Draws the window's random data and measures it before any step.
    pub fn share(&self, ready: &Ready, window: Window, seed: &[u8; 32]) -> Result<Shared, NodeError> {
        let count = ready.identity.manifest.manifest.gauntlet.random_sequences;
        let random = ready.tokens(&data::random(seed, window, count, ready.corpus.training()))?;
        let before = losses(&self.model, ready, &random);
        Ok(Shared { random, before })
    }

    /// Measures one peer. The comparator is the round without the peer: what everybody else's work does
    /// to the peer's own data.
    pub fn evidence(
        &mut self,
        ready: &Ready,
        window: Window,
        hotkey: &AccountId,
        gathered: &Gathered,
        shared: &Shared,
        step: f64,
    ) -> Result<Evidence, NodeError> {
        let mut own = ready.assigned(hotkey.as_ref(), window);
        own.truncate(ready.identity.manifest.manifest.gauntlet.own_sequences);
        let own = ready.tokens(&own)?;
        let tensors = |own: bool| -> Vec<&[SparseTensor]> {
            let chosen = gathered.accepted().filter(|(other, ..)| (*other == hotkey) == own);
            chosen.map(|(_, _, payload, _)| payload.tensors.as_slice()).collect()
        };
        let own_before = losses(&self.model, ready, &own);
        let (own_after, random_after) = self.after(ready, &tensors(true), step, &own, &shared.random)?;
        let others = tensors(false);
        let (own_comparator, random_comparator) = if others.is_empty() {
            Default::default()
        } else {
            self.after(ready, &others, step, &own, &shared.random)?
        };
        Ok(Evidence {
            own_before,
            own_after,
            own_comparator,
            random_before: shared.before.clone(),
            random_after,
            random_comparator,
        })
    }

    /// The losses after the step of some peers' aggregate, on own and on random data; the model is put
    /// back.
    fn after(
        &mut self,
        ready: &Ready,
        peers: &[&[SparseTensor]],
        step: f64,
        own: &Tensor,
        random: &Tensor,
    ) -> Result<(Vec<f64>, Vec<f64>), NodeError> {
        let update = aggregate::aggregate(peers, ready.replica.layout(), ready.device)?;
        aggregate::apply(self.model.parameters(), &update, step);
        let after = (losses(&self.model, ready, own), losses(&self.model, ready, random));
        self.model.restore(&self.before);
        Ok(after)
    }
}

/// Mean loss of each sequence, nats a token.
fn losses(model: &Llama, ready: &Ready, tokens: &Tensor) -> Vec<f64> {
    let micro_batch = ready.identity.manifest.manifest.train.micro_batch;
    model.sequence_losses(tokens, micro_batch).into_iter().map(f64::from).collect()
}
