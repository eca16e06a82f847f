//! Stage 2: the losses before and after a peer's step, on its own data and on random data. The validator
//! and the audit run this code.

use super::{Identity, NodeError, Replica, View, gather::Gathered};
use crate::{
    aggregate, data,
    gauntlet::{
        Evidence,
        declared::{FARTHEST, Spread, distance},
    },
    gradient::{PseudoGradient, SparseTensor, sketch_seed},
    model::Llama,
    train::{TrainError, sketches},
    wallet::AccountId,
    window::Window,
};
use std::{collections::BTreeSet, sync::Arc};
use tch::{Device, Tensor};

/// Micro-batches of random data that say how much gradients differ.
const MOST_REFERENCES: usize = 4;

/// Two more copies of the model: what the window's peers trained from, and that after the step of whoever is measured.
#[derive(Debug)]
pub struct Judge {
    before: Llama,
    moved: Llama,
}

/// What all peers of a window have in common: the random data, and what the round does to it.
#[derive(Debug)]
pub struct Shared {
    seed: [u8; 32],
    random: Tensor,
    before: Vec<f64>,
    chosen: BTreeSet<AccountId>,
    /// Those of the chosen whose objects are here.
    members: Vec<(AccountId, Arc<PseudoGradient>)>,
    /// The losses on random data after the round; none where nobody was aggregated.
    round: Option<Vec<f64>>,
    /// How much the gradients of micro-batches differ, by those of the random data; none where declared work is not audited.
    spread: Option<Spread>,
}

impl Judge {
    /// A judge with a model of its own.
    pub fn new(identity: &Identity, device: Device) -> Self {
        let manifest = &identity.manifest.parsed;
        let [before, moved] = [(); 2].map(|()| Llama::new(&manifest.model, manifest.seed, device));
        Self { before, moved }
    }

    /// Takes the replica's weights: what the peers of the next round trained from.
    pub fn keep(&mut self, replica: &Replica) {
        self.before.take(&replica.model);
    }

    /// Mean loss of the replica on text that nobody trains on, nats a token.
    pub fn held_out(&self, view: &View<'_>) -> Result<f64, NodeError> {
        let sequences: Vec<u64> = view.corpus.held_out().collect();
        let losses = losses(&view.replica.model, view, &view.tokens(&sequences)?)?;
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
        let before = losses(&self.before, view, &random)?;
        let members = gathered.accepted().filter(|(hotkey, ..)| chosen.contains(*hotkey));
        let members = members.map(|(hotkey, _, delivered)| Ok((hotkey.clone(), delivered.gradient()?)));
        let members = members.collect::<Result<_, NodeError>>()?;
        let spread = self.spread(view, window, &random)?;
        let mut shared =
            Shared { seed: *seed, random, before, chosen: chosen.clone(), members, round: None, spread };
        let round = shared.round_without(None);
        if !round.is_empty() {
            let [random] = self.after(view, &round, step, [&shared.random])?;
            shared.round = Some(random);
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
        let itself = itself.map(|(.., delivered)| delivered.gradient()).transpose()?;
        // Stage 1 has refused who claims more than the window assigns.
        let mut claimed = view.assigned(hotkey, window)?;
        claimed.truncate(itself.as_ref().map_or(0, |payload| payload.header.sample_count as usize));
        let count = view.identity.manifest.parsed.gauntlet.own_sequences;
        let own = view.tokens(&data::judged(&shared.seed, hotkey.as_ref(), &claimed, count))?;
        let tensors: Vec<&[SparseTensor]> = itself.iter().map(|payload| payload.tensors.as_slice()).collect();
        let own_before = losses(&self.before, view, &own)?;
        let [own_after, random_after] = self.after(view, &tensors, step, [&own, &shared.random])?;
        let chosen = shared.chosen.contains(hotkey);
        let others = shared.round_without(chosen.then_some(hotkey));
        let (own_comparator, random_comparator) = match &shared.round {
            _ if others.is_empty() => Default::default(),
            Some(random) if !chosen => {
                let [own] = self.after(view, &others, step, [&own])?;
                (own, random.clone())
            }
            _ => self.after(view, &others, step, [&own, &shared.random])?.into(),
        };
        let audits = match &itself {
            Some(payload) => self.audit(view, window, hotkey, payload, &claimed, shared)?,
            None => Vec::new(),
        };
        Ok(Evidence {
            own_before,
            own_after,
            own_comparator,
            random_before: shared.before.clone(),
            random_after,
            random_comparator,
            audits,
        })
    }

    /// How much the gradients of the window's random data differ from micro-batch to micro-batch, where declared work is audited. They
    /// are nobody's, so that nobody's objects have a say in how far is far.
    fn spread(
        &mut self,
        view: &View<'_>,
        window: Window,
        random: &Tensor,
    ) -> Result<Option<Spread>, NodeError> {
        let manifest = &view.identity.manifest.parsed;
        if manifest.gauntlet.audit.is_none() {
            return Ok(None);
        }
        let seed = sketch_seed(&view.identity.manifest.hash(), window);
        let (micro_batch, count) = (manifest.train.micro_batch, random.size()[0] as usize);
        let whole = (0..count / micro_batch.max(1)).take(MOST_REFERENCES);
        let sketches = whole.map(|number| {
            let tokens = random.narrow(0, (number * micro_batch) as i64, micro_batch as i64);
            sketches::sketch(&mut self.before, &tokens, seed)
        });
        Ok(Spread::of(&sketches.collect::<Result<Vec<_>, _>>()?))
    }

    /// Computes some of the declared micro-batches again, drawn by the window's seed: how far each of the object's sketches is from
    /// that. Empty where declared work is not audited.
    fn audit(
        &mut self,
        view: &View<'_>,
        window: Window,
        hotkey: &AccountId,
        payload: &PseudoGradient,
        claimed: &[u64],
        shared: &Shared,
    ) -> Result<Vec<f64>, NodeError> {
        let manifest = &view.identity.manifest.parsed;
        let (Some(rules), Some(spread)) = (manifest.gauntlet.audit, &shared.spread) else {
            return Ok(Vec::new());
        };
        let seed = sketch_seed(&view.identity.manifest.hash(), window);
        let micro_batches: Vec<&[u64]> = claimed.chunks(manifest.train.micro_batch.max(1)).collect();
        let drawn = data::audited(&shared.seed, hotkey.as_ref(), micro_batches.len(), rules.micro_batches);
        let audit = |number: usize| {
            let (Some(sequences), Some(sketch)) = (micro_batches.get(number), payload.sketch(number)) else {
                return Ok(FARTHEST);
            };
            let computed = sketches::sketch(&mut self.before, &view.tokens(sequences)?, seed)?;
            Ok(distance(&sketch, &computed, spread))
        };
        drawn.into_iter().map(audit).collect()
    }

    /// The losses on each batch after a step of some peers.
    fn after<const N: usize>(
        &mut self,
        view: &View<'_>,
        peers: &[&[SparseTensor]],
        step: f64,
        batches: [&Tensor; N],
    ) -> Result<[Vec<f64>; N], NodeError> {
        let (before, moved) = (self.before.parameters(), self.moved.parameters());
        aggregate::step_from(view.rule(), peers, view.replica.layout(), before, moved, step)?;
        let mut all = [const { Vec::new() }; N];
        for (all, tokens) in all.iter_mut().zip(batches) {
            *all = losses(&self.moved, view, tokens)?;
        }
        Ok(all)
    }
}

impl Shared {
    /// Who was aggregated in the round, but one peer.
    fn round_without(&self, without: Option<&AccountId>) -> Vec<&[SparseTensor]> {
        let others = self.members.iter().filter(|(other, _)| Some(other) != without);
        others.map(|(_, gradient)| gradient.tensors.as_slice()).collect()
    }
}

/// Mean loss of each sequence, nats a token.
fn losses(model: &Llama, view: &View<'_>, tokens: &Tensor) -> Result<Vec<f64>, TrainError> {
    let micro_batch = view.identity.manifest.parsed.train.micro_batch;
    Ok(model.sequence_losses(tokens, micro_batch)?.into_iter().map(f64::from).collect())
}
