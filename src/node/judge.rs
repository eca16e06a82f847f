//! Stage 2: the losses before and after a peer's step, on its own data and on random data. The validator
//! and the audit run this code.
//!
//! What is asked of a peer is put together first, from the run's text and the peer's object; then a device measures it, with two models of
//! its own. Several devices take a peer each, at the same time.

use super::{Identity, NodeError, Replica, View, gather::Gathered};
use crate::{
    aggregate,
    codec::{Rule, sketch::Sums},
    data, device,
    gauntlet::{
        Evidence,
        declared::{FARTHEST, Spread, distance},
    },
    gradient::{Layout, PseudoGradient, SparseTensor, sketch_seed},
    model::Llama,
    train::{TrainError, sketches},
    wallet::AccountId,
    window::Window,
};
use std::{collections::BTreeSet, panic::resume_unwind, sync::Arc};
use tch::{Device, Tensor};

/// Micro-batches of random data that say how much gradients differ.
const MOST_REFERENCES: usize = 4;

/// Two more copies of the model on each device that judges: what the window's peers trained from, and that after the step of whoever is
/// measured.
#[derive(Debug)]
pub struct Judge {
    first: Bench,
    others: Vec<Bench>,
}

/// What one device measures with.
#[derive(Debug)]
struct Bench {
    before: Llama,
    moved: Llama,
    /// The window's random data.
    random: Tensor,
    /// What the round does, as most peers are compared with: a byte a parameter where it takes signs, else four. Empty where nobody was
    /// aggregated.
    round: Vec<Tensor>,
}

/// What all peers of a window have in common.
#[derive(Debug)]
pub struct Shared {
    seed: [u8; 32],
    before: Vec<f64>,
    chosen: BTreeSet<AccountId>,
    /// Those of the chosen whose objects are here.
    members: Vec<(AccountId, Arc<PseudoGradient>)>,
    /// The losses on random data after the round; none where nobody was aggregated.
    round: Option<Vec<f64>>,
    /// How much the gradients of micro-batches differ, by those of the random data; none where declared work is not audited.
    spread: Option<Spread>,
    /// The outer step.
    step: f64,
    /// The seed of the window's sketches.
    sketch_seed: u64,
}

/// What is asked of one peer.
struct Exam {
    hotkey: AccountId,
    itself: Option<Arc<PseudoGradient>>,
    own: Tensor,
    /// Of each drawn micro-batch its tokens, and what the peer committed to; none where it has nothing to show.
    audits: Vec<Option<(Tensor, Vec<Sums>)>>,
}

/// How the run judges.
#[derive(Clone, Copy)]
struct Rules<'a> {
    rule: Rule,
    layout: &'a Layout,
    micro_batch: usize,
}

impl<'a> Rules<'a> {
    fn of(view: &View<'a>) -> Self {
        let micro_batch = view.identity.manifest.parsed.train.micro_batch;
        Self { rule: view.rule(), layout: view.replica.layout(), micro_batch }
    }
}

impl Judge {
    /// A judge with models of its own, two on each device.
    pub fn new(identity: &Identity, device: Device, helpers: &[Device]) -> Self {
        let bench = |device: Device| {
            let manifest = &identity.manifest.parsed;
            let [before, moved] = [(); 2].map(|()| Llama::new(&manifest.model, manifest.seed, device));
            Bench { before, moved, random: Tensor::new(), round: Vec::new() }
        };
        Self { first: bench(device), others: helpers.iter().copied().map(bench).collect() }
    }

    /// How many peers are measured at once.
    pub fn devices(&self) -> usize {
        1 + self.others.len()
    }

    /// Takes the replica's weights: what the peers of the next round trained from.
    pub fn keep(&mut self, replica: &Replica) {
        self.first.before.take(&replica.model);
        self.others.iter_mut().for_each(|bench| bench.before.take(&self.first.before));
    }

    /// Mean loss of the replica on text that nobody trains on, nats a token.
    pub fn held_out(&self, view: &View<'_>) -> Result<f64, NodeError> {
        let sequences: Vec<u64> = view.corpus.held_out().collect();
        let micro_batch = view.identity.manifest.parsed.train.micro_batch;
        let losses = losses(&view.replica.model, &view.tokens(&sequences)?, micro_batch)?;
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
        let rules = Rules::of(view);
        let count = view.identity.manifest.parsed.gauntlet.random_sequences;
        let random = view.tokens(&data::random(seed, window, count, view.corpus.training()))?;
        let before = losses(&self.first.before, &random, rules.micro_batch)?;
        let members = gathered.accepted().filter(|(hotkey, ..)| chosen.contains(*hotkey));
        let members = members.map(|(hotkey, _, delivered)| Ok((hotkey.clone(), delivered.gradient()?)));
        let members = members.collect::<Result<_, NodeError>>()?;
        let sketch_seed = sketch_seed(&view.identity.manifest.hash(), window);
        let spread = self.spread(view, sketch_seed, &random)?;
        let (seed, chosen) = (*seed, chosen.clone());
        let mut shared = Shared { seed, before, chosen, members, round: None, spread, step, sketch_seed };
        let round = shared.round_without(None);
        let update = match round.is_empty() {
            true => Vec::new(),
            false => aggregate::aggregate(rules.rule, &round, rules.layout, self.first.moved.device())?,
        };
        for bench in std::iter::once(&mut self.first).chain(&mut self.others) {
            let there = |tensor: &Tensor| tensor.to_device(bench.moved.device());
            (bench.random, bench.round) = (there(&random), update.iter().map(there).collect());
        }
        if !update.is_empty() {
            let [random] = self.first.after_round(rules, step, [&random])?;
            shared.round = Some(random);
        }
        Ok(shared)
    }

    /// Measures some peers, a device each; as many as there are [`Self::devices`] at once. The comparator is the round without the peer:
    /// what everybody else's work does to the peer's own data. Who had no part in the round shares the round itself with all others.
    pub fn evidence(
        &mut self,
        view: &View<'_>,
        window: Window,
        hotkeys: &[AccountId],
        gathered: &Gathered,
        shared: &Shared,
    ) -> Result<Vec<Evidence>, NodeError> {
        let rules = Rules::of(view);
        let exam = |hotkey: &AccountId| Exam::new(view, window, hotkey, gathered, shared);
        let mut evidence = Vec::with_capacity(hotkeys.len());
        for row in hotkeys.chunks(self.devices()) {
            let mut exams = row.iter().map(exam).collect::<Result<Vec<_>, _>>()?.into_iter();
            let Some(own) = exams.next() else { continue };
            let threads = device::threads();
            let measured = std::thread::scope(|scope| {
                let helpers: Vec<_> = self
                    .others
                    .iter_mut()
                    .zip(exams)
                    .map(|(bench, exam)| {
                        scope.spawn(move || {
                            device::set_threads(threads);
                            bench.measure(exam, shared, rules)
                        })
                    })
                    .collect();
                let mut measured = vec![self.first.measure(own, shared, rules)];
                measured.extend(
                    helpers.into_iter().map(|h| h.join().unwrap_or_else(|panic| resume_unwind(panic))),
                );
                measured
            });
            for measured in measured {
                evidence.push(measured?);
            }
        }
        Ok(evidence)
    }

    /// How much the gradients of the window's random data differ from micro-batch to micro-batch, where declared work is audited. They
    /// are nobody's, so that nobody's objects have a say in how far is far.
    fn spread(&mut self, view: &View<'_>, seed: u64, random: &Tensor) -> Result<Option<Spread>, NodeError> {
        let manifest = &view.identity.manifest.parsed;
        if manifest.gauntlet.audit.is_none() {
            return Ok(None);
        }
        let (micro_batch, count) = (manifest.train.micro_batch, random.size()[0] as usize);
        let whole = (0..count / micro_batch.max(1)).take(MOST_REFERENCES);
        let sketches = whole.map(|number| {
            let tokens = random.narrow(0, (number * micro_batch) as i64, micro_batch as i64);
            sketches::sketch(&mut self.first.before, &tokens, seed)
        });
        Ok(Spread::of(&sketches.collect::<Result<Vec<_>, _>>()?))
    }
}

impl Exam {
    fn new(
        view: &View<'_>,
        window: Window,
        hotkey: &AccountId,
        gathered: &Gathered,
        shared: &Shared,
    ) -> Result<Self, NodeError> {
        let manifest = &view.identity.manifest.parsed;
        let itself = gathered.accepted().find(|(other, ..)| *other == hotkey);
        let itself = itself.map(|(.., delivered)| delivered.gradient()).transpose()?;
        // Stage 1 has refused who claims more than the window assigns.
        let mut claimed = view.assigned(hotkey, window)?;
        claimed.truncate(itself.as_ref().map_or(0, |payload| payload.header.sample_count as usize));
        let count = manifest.gauntlet.own_sequences;
        let own = view.tokens(&data::judged(&shared.seed, hotkey.as_ref(), &claimed, count))?;
        let mut audits = Vec::new();
        if let (Some(rules), Some(payload), true) =
            (manifest.gauntlet.audit, &itself, shared.spread.is_some())
        {
            let parts: Vec<&[u64]> = claimed.chunks(manifest.train.micro_batch.max(1)).collect();
            for number in data::audited(&shared.seed, hotkey.as_ref(), parts.len(), rules.micro_batches) {
                audits.push(match parts.get(number).zip(payload.sketch(number)) {
                    Some((sequences, sketch)) => Some((view.tokens(sequences)?, sketch)),
                    None => None,
                });
            }
        }
        Ok(Self { hotkey: hotkey.clone(), itself, own, audits })
    }
}

impl Bench {
    fn measure(&mut self, exam: Exam, shared: &Shared, rules: Rules<'_>) -> Result<Evidence, NodeError> {
        let (device, step) = (self.moved.device(), shared.step);
        let own = exam.own.to_device(device);
        let random = self.random.shallow_clone();
        let tensors: Vec<&[SparseTensor]> =
            exam.itself.iter().map(|payload| payload.tensors.as_slice()).collect();
        let own_before = losses(&self.before, &own, rules.micro_batch)?;
        let [own_after, random_after] = self.after(rules, &tensors, step, [&own, &random])?;
        let chosen = shared.chosen.contains(&exam.hotkey);
        let others = shared.round_without(chosen.then_some(&exam.hotkey));
        let (own_comparator, random_comparator) = match &shared.round {
            _ if others.is_empty() => Default::default(),
            Some(random) if !chosen => {
                let [own] = self.after_round(rules, step, [&own])?;
                (own, random.clone())
            }
            _ => self.after(rules, &others, step, [&own, &random])?.into(),
        };
        let audits = exam.audits.into_iter().map(|drawn| self.audit(drawn, shared));
        Ok(Evidence {
            own_before,
            own_after,
            own_comparator,
            random_before: shared.before.clone(),
            random_after,
            random_comparator,
            audits: audits.collect::<Result<_, _>>()?,
        })
    }

    /// Computes a declared micro-batch again: how far what the peer committed to is from that.
    fn audit(&mut self, drawn: Option<(Tensor, Vec<Sums>)>, shared: &Shared) -> Result<f64, TrainError> {
        let (Some((tokens, committed)), Some(spread)) = (drawn, &shared.spread) else { return Ok(FARTHEST) };
        let tokens = tokens.to_device(self.before.device());
        let computed = sketches::sketch(&mut self.before, &tokens, shared.sketch_seed)?;
        Ok(distance(&committed, &computed, spread))
    }

    /// The losses on each batch after a step of some peers.
    fn after<const N: usize>(
        &mut self,
        rules: Rules<'_>,
        peers: &[&[SparseTensor]],
        step: f64,
        batches: [&Tensor; N],
    ) -> Result<[Vec<f64>; N], NodeError> {
        let (before, moved) = (self.before.parameters(), self.moved.parameters());
        aggregate::step_from(rules.rule, peers, rules.layout, before, moved, step)?;
        self.moved_losses(rules, batches)
    }

    /// The losses on each batch after the round's step.
    fn after_round<const N: usize>(
        &mut self,
        rules: Rules<'_>,
        step: f64,
        batches: [&Tensor; N],
    ) -> Result<[Vec<f64>; N], NodeError> {
        aggregate::apply_from(self.before.parameters(), self.moved.parameters(), &self.round, step);
        self.moved_losses(rules, batches)
    }

    fn moved_losses<const N: usize>(
        &self,
        rules: Rules<'_>,
        batches: [&Tensor; N],
    ) -> Result<[Vec<f64>; N], NodeError> {
        let mut all = [const { Vec::new() }; N];
        for (all, tokens) in all.iter_mut().zip(batches) {
            *all = losses(&self.moved, tokens, rules.micro_batch)?;
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
fn losses(model: &Llama, tokens: &Tensor, micro_batch: usize) -> Result<Vec<f64>, TrainError> {
    Ok(model.sequence_losses(tokens, micro_batch)?.into_iter().map(f64::from).collect())
}
