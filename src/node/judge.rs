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
        if let Some(update) = self.round_without(view, gathered, &shared, None)? {
            let [random] = self.after(view, &update, step, [&shared.random]);
            shared.round = Some(Moved { update, random });
        }
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
        let itself = gathered.accepted().find(|(other, ..)| *other == hotkey);
        let itself = itself.map(|(_, _, payload, _)| payload);
        // Stage 1 has refused who claims more than the window assigns.
        let mut claimed = view.assigned(hotkey.as_ref(), window);
        claimed.truncate(itself.map_or(0, |payload| payload.header.sample_count as usize));
        let count = view.identity.manifest.parsed.gauntlet.own_sequences;
        let own = view.tokens(&data::judged(&shared.seed, hotkey.as_ref(), &claimed, count))?;
        let tensors: Vec<&[SparseTensor]> = itself.iter().map(|payload| payload.tensors.as_slice()).collect();
        let own_before = losses(&self.model, view, &own);
        let update = aggregate::aggregate(view.rule(), &tensors, view.replica.layout(), view.device)?;
        let [own_after, random_after] = self.after(view, &update, step, [&own, &shared.random]);
        let (own_comparator, random_comparator) = if shared.chosen.contains(hotkey) {
            match self.round_without(view, gathered, shared, Some(hotkey))? {
                Some(update) => self.after(view, &update, step, [&own, &shared.random]).into(),
                None => Default::default(),
            }
        } else {
            match &shared.round {
                Some(round) => {
                    let [own] = self.after(view, &round.update, step, [&own]);
                    (own, round.random.clone())
                }
                None => Default::default(),
            }
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
        &self,
        view: &View<'_>,
        gathered: &Gathered,
        shared: &Shared,
        without: Option<&AccountId>,
    ) -> Result<Option<Vec<Tensor>>, NodeError> {
        let others = gathered.accepted().filter(|(other, ..)| shared.chosen.contains(*other));
        let others: Vec<&[SparseTensor]> = others
            .filter(|(other, ..)| Some(*other) != without)
            .map(|(_, _, payload, _)| payload.tensors.as_slice())
            .collect();
        if others.is_empty() {
            return Ok(None);
        }
        Ok(Some(aggregate::aggregate(view.rule(), &others, view.replica.layout(), view.device)?))
    }

    /// The losses on each batch after a step of an update; the model is moved once and put back.
    fn after<const N: usize>(
        &mut self,
        view: &View<'_>,
        update: &[Tensor],
        step: f64,
        batches: [&Tensor; N],
    ) -> [Vec<f64>; N] {
        aggregate::apply(self.model.parameters(), update, step);
        let after = batches.map(|tokens| losses(&self.model, view, tokens));
        self.model.restore(&self.before);
        after
    }
}

/// Mean loss of each sequence, nats a token.
fn losses(model: &Llama, view: &View<'_>, tokens: &Tensor) -> Vec<f64> {
    let micro_batch = view.identity.manifest.parsed.train.micro_batch;
    model.sequence_losses(tokens, micro_batch).into_iter().map(f64::from).collect()
}
