//! Stage 2: the losses before and after a peer's step, on its own data and on random data. The validator
//! and the audit run this code.

use super::{Identity, NodeError, Replica, View, gather::Gathered};
use crate::{
    aggregate, data,
    gauntlet::Evidence,
    gradient::SparseTensor,
    model::{Llama, Snapshot},
    wallet::AccountId,
    window::Window,
};
use std::collections::BTreeSet;
use tch::{Device, Tensor};

/// A second copy of the model, kept at the state that the window's peers trained from.
pub struct Judge {
    model: Llama,
    before: Snapshot,
}

/// What all peers of a window have in common: the random data, and what the round does to it.
pub struct Shared {
    seed: [u8; 32],
    random: Tensor,
    before: Vec<f64>,
    chosen: BTreeSet<AccountId>,
    round: Option<Moved>,
}

/// An update and the losses on random data after it.
struct Moved {
    update: Vec<Tensor>,
    random: Vec<f64>,
}

impl Judge {
    /// A judge with a model of its own.
    pub fn new(identity: &Identity, device: Device) -> Self {
        let manifest = &identity.manifest.manifest;
        let model = Llama::new(&manifest.model, manifest.seed, device);
        let before = model.snapshot();
        Self { model, before }
    }

    /// Takes the replica's weights: what the peers of the next round trained from.
    pub fn keep(&mut self, replica: &Replica) {
        self.before = replica.model.snapshot();
        self.model.restore(&self.before);
    }

    /// Mean loss of the replica on text that nobody trains on, nats a token.
    pub fn held_out(&self, ready: &View<'_>) -> Result<f64, NodeError> {
        let sequences: Vec<u64> = ready.corpus.held_out().collect();
        let losses = losses(&ready.replica.model, ready, &ready.tokens(&sequences)?);
        Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
    }

    /// Draws the window's random data and measures it before any step and after the round's; `chosen` is who was
    /// aggregated.
    pub fn share(
        &mut self,
        ready: &View<'_>,
        window: Window,
        seed: &[u8; 32],
        gathered: &Gathered,
        chosen: &BTreeSet<AccountId>,
        step: f64,
    ) -> Result<Shared, NodeError> {
        let count = ready.identity.manifest.manifest.gauntlet.random_sequences;
        let random = ready.tokens(&data::random(seed, window, count, ready.corpus.training()))?;
        let before = losses(&self.model, ready, &random);
        let mut shared = Shared { seed: *seed, random, before, chosen: chosen.clone(), round: None };
        shared.round = self.round_without(ready, gathered, &shared, None, step)?;
        Ok(shared)
    }

    /// Measures one peer. The comparator is the round without the peer: what everybody else's work does
    /// to the peer's own data. Who had no part in the round shares the round itself with all others.
    pub fn evidence(
        &mut self,
        ready: &View<'_>,
        window: Window,
        hotkey: &AccountId,
        gathered: &Gathered,
        shared: &Shared,
        step: f64,
    ) -> Result<Evidence, NodeError> {
        let assigned = ready.assigned(hotkey.as_ref(), window);
        let count = ready.identity.manifest.manifest.gauntlet.own_sequences;
        let own = ready.tokens(&data::judged(&shared.seed, hotkey.as_ref(), &assigned, count))?;
        let itself = gathered.accepted().filter(|(other, ..)| *other == hotkey);
        let tensors: Vec<&[SparseTensor]> =
            itself.map(|(_, _, payload, _)| payload.tensors.as_slice()).collect();
        let own_before = losses(&self.model, ready, &own);
        let moved = self.moved(ready, &tensors, step, &shared.random)?;
        let (own_after, random_after) = (self.after(ready, &moved.update, step, &own), moved.random);
        let others = if shared.chosen.contains(hotkey) {
            &self.round_without(ready, gathered, shared, Some(hotkey), step)?
        } else {
            &shared.round
        };
        let (own_comparator, random_comparator) = match others {
            Some(moved) => (self.after(ready, &moved.update, step, &own), moved.random.clone()),
            None => Default::default(),
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

    /// The aggregate of the round without one peer; `None` where nobody is left.
    fn round_without(
        &mut self,
        ready: &View<'_>,
        gathered: &Gathered,
        shared: &Shared,
        without: Option<&AccountId>,
        step: f64,
    ) -> Result<Option<Moved>, NodeError> {
        let others = gathered.accepted().filter(|(other, ..)| shared.chosen.contains(*other));
        let others: Vec<&[SparseTensor]> = others
            .filter(|(other, ..)| Some(*other) != without)
            .map(|(_, _, payload, _)| payload.tensors.as_slice())
            .collect();
        if others.is_empty() {
            return Ok(None);
        }
        self.moved(ready, &others, step, &shared.random).map(Some)
    }

    /// Some peers' aggregate, and the losses on random data after a step of it.
    fn moved(
        &mut self,
        ready: &View<'_>,
        peers: &[&[SparseTensor]],
        step: f64,
        random: &Tensor,
    ) -> Result<Moved, NodeError> {
        let update = aggregate::aggregate(peers, ready.replica.layout(), ready.device)?;
        let random = self.after(ready, &update, step, random);
        Ok(Moved { update, random })
    }

    /// The losses after a step of an update; the model is put back.
    fn after(&mut self, ready: &View<'_>, update: &[Tensor], step: f64, tokens: &Tensor) -> Vec<f64> {
        aggregate::apply(self.model.parameters(), update, step);
        let after = losses(&self.model, ready, tokens);
        self.model.restore(&self.before);
        after
    }
}

/// Mean loss of each sequence, nats a token.
fn losses(model: &Llama, ready: &View<'_>, tokens: &Tensor) -> Vec<f64> {
    let micro_batch = ready.identity.manifest.manifest.train.micro_batch;
    model.sequence_losses(tokens, micro_batch).into_iter().map(f64::from).collect()
}
