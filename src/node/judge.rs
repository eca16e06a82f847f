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
#[derive(Debug)]
pub struct Judge {
    model: Llama,
    before: Snapshot,
}

/// What all peers of a window have in common: the random data, and what the round does to it.
#[derive(Debug)]
pub struct Shared {
    seed: [u8; 32],
    random: Tensor,
    before: Vec<f64>,
    chosen: BTreeSet<AccountId>,
    round: Option<Moved>,
}

/// An update and the losses on random data after it.
#[derive(Debug)]
struct Moved {
    update: Vec<Tensor>,
    random: Vec<f64>,
}

impl Judge {
    /// A judge with a model of its own.
    pub fn new(identity: &Identity, device: Device) -> Self {
        let manifest = &identity.manifest.parsed;
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
    pub fn held_out(&self, view: &View<'_>) -> Result<f64, NodeError> {
        let sequences: Vec<u64> = view.corpus.held_out().collect();
        let losses = losses(&view.replica.model, view, &view.tokens(&sequences)?);
        Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
    }

    /// Draws the window's random data and measures it before any step and after the round's; `chosen` is who was
    /// aggregated.
    pub fn share(
        &mut self,
        view: &View<'_>,
        window: Window,
        seed: &[u8; 32],
        gathered: &Gathered,
        chosen: &BTreeSet<AccountId>,
        step: f64,
    ) -> Result<Shared, NodeError> {
        let count = view.identity.manifest.parsed.gauntlet.random_sequences;
        let random = view.tokens(&data::random(seed, window, count, view.corpus.training()))?;
        let before = losses(&self.model, view, &random);
        let mut shared = Shared { seed: *seed, random, before, chosen: chosen.clone(), round: None };
        shared.round = self.round_without(view, gathered, &shared, None, step)?;
        Ok(shared)
    }

    /// Measures one peer. The comparator is the round without the peer: what everybody else's work does
    /// to the peer's own data. Who had no part in the round shares the round itself with all others.
    pub fn evidence(
        &mut self,
        view: &View<'_>,
        window: Window,
        hotkey: &AccountId,
        gathered: &Gathered,
        shared: &Shared,
        step: f64,
    ) -> Result<Evidence, NodeError> {
        let assigned = view.assigned(hotkey.as_ref(), window);
        let count = view.identity.manifest.parsed.gauntlet.own_sequences;
        let own = view.tokens(&data::judged(&shared.seed, hotkey.as_ref(), &assigned, count))?;
        let itself = gathered.accepted().filter(|(other, ..)| *other == hotkey);
        let tensors: Vec<&[SparseTensor]> =
            itself.map(|(_, _, payload, _)| payload.tensors.as_slice()).collect();
        let own_before = losses(&self.model, view, &own);
        let moved = self.moved(view, &tensors, step, &shared.random)?;
        let (own_after, random_after) = (self.after(view, &moved.update, step, &own), moved.random);
        let others = if shared.chosen.contains(hotkey) {
            &self.round_without(view, gathered, shared, Some(hotkey), step)?
        } else {
            &shared.round
        };
        let (own_comparator, random_comparator) = match others {
            Some(moved) => (self.after(view, &moved.update, step, &own), moved.random.clone()),
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
        view: &View<'_>,
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
        self.moved(view, &others, step, &shared.random).map(Some)
    }

    /// Some peers' aggregate, and the losses on random data after a step of it.
    fn moved(
        &mut self,
        view: &View<'_>,
        peers: &[&[SparseTensor]],
        step: f64,
        random: &Tensor,
    ) -> Result<Moved, NodeError> {
        let update = aggregate::aggregate(peers, view.replica.layout(), view.device)?;
        let random = self.after(view, &update, step, random);
        Ok(Moved { update, random })
    }

    /// The losses after a step of an update; the model is put back.
    fn after(&mut self, view: &View<'_>, update: &[Tensor], step: f64, tokens: &Tensor) -> Vec<f64> {
        aggregate::apply(self.model.parameters(), update, step);
        let after = losses(&self.model, view, tokens);
        self.model.restore(&self.before);
        after
    }
}

/// Mean loss of each sequence, nats a token.
fn losses(model: &Llama, view: &View<'_>, tokens: &Tensor) -> Vec<f64> {
    let micro_batch = view.identity.manifest.parsed.train.micro_batch;
    model.sequence_losses(tokens, micro_batch).into_iter().map(f64::from).collect()
}
