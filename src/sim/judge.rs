//! What a validator of the simulator measures: stage 1 and the losses, with the rules of the programs.
//!
//! Honest validators that see the same objects measure the same, to the last bit, so that each object is
//! measured once and every validator is told.

use super::{bigram::Probabilities, peer::World, population::Upload};
use crate::{
    codec::{Norms, Rule},
    data,
    gauntlet::{
        Evidence, Hotkey,
        declared::{FARTHEST, Spread, distance},
        overlap,
        proof::Claim,
        stage1,
        stage1::Stage1,
        sync,
    },
    gradient::{self, Expected, PseudoGradient, SparseTensor},
    manifest::GauntletConfig,
    window::{NetUid, PutWindow},
};
use std::collections::BTreeMap;

/// Micro-batches of random data that say how much gradients differ, as the validator has them.
const REFERENCES: usize = 4;

/// The simulator's subnet.
pub const NETUID: NetUid = 3;

/// One object, as every validator sees it.
pub struct Seen {
    /// Whose.
    pub hotkey: Hotkey,
    /// What it was assigned.
    pub assigned: Vec<u64>,
    /// The verdict of stage 1.
    pub stage1: Stage1,
    /// Its object, where it was accepted.
    pub object: Option<PseudoGradient>,
}

impl Seen {
    /// The object's coefficients, where it was accepted.
    pub fn tensors(&self) -> Option<&[SparseTensor]> {
        self.object.as_ref().map(|object| object.tensors.as_slice())
    }

    /// What it says to have done, where it was accepted.
    pub fn claim(&self) -> Option<Claim> {
        let claimed = self.object.as_ref()?.header.sample_count;
        Some(Claim { claimed, usual: self.assigned.len() as u64 })
    }

    /// The sequences that it says to have trained on.
    fn claimed(&self) -> &[u64] {
        let count = self.object.as_ref().map_or(0, |object| object.header.sample_count as usize);
        &self.assigned[..count.min(self.assigned.len())]
    }
}

/// Stands for an sr25519 signature, which costs more than all the rest of a simulated peer's window.
pub fn sign(hotkey: &Hotkey, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    blake3::Hasher::new_keyed(hotkey.as_ref()).update(message).finalize_xof().fill(&mut signature);
    signature
}

/// Stage 1 of one upload: time, form, digest of the data, model.
pub fn stage1(upload: &Upload, world: &World, put: PutWindow, rules: &GauntletConfig, step: f64) -> Seen {
    let (hotkey, uid, assigned) = (upload.hotkey.clone(), upload.uid, upload.assigned.clone());
    let Some((object, at_ms)) = &upload.object else {
        return Seen { hotkey, assigned, stage1: Stage1::Absent, object: None };
    };
    let timing = put.judge(at_ms / 1000);
    let expected =
        Expected { run: world.run, netuid: NETUID, window: world.window, uid, hotkey: hotkey.clone() };
    let verify = |signer: &Hotkey, message: &[u8], given: &[u8; 64]| sign(signer, message) == *given;
    let decoded = gradient::decode(object, world.layout, &expected, verify).map_err(|e| e.to_string());
    let decoded = decoded.and_then(|payload| {
        let claimed = assigned.get(..payload.header.sample_count as usize);
        if claimed.is_some_and(|claimed| payload.header.sample_digest == upload.digest_of(world, claimed)) {
            Ok(payload)
        } else {
            Err("it does not claim the data that the window assigns".to_owned())
        }
    });
    let ours = samples(world, &hotkey, 0);
    let content = decoded
        .as_ref()
        .map(|p| sync::steps_behind(&ours, &p.header.model_samples, step))
        .map_err(Clone::clone);
    let stage1 = stage1::judge(Some(stage1::Found { timing, content }), rules.sync_max);
    let object = decoded.ok().filter(|_| stage1.is_accepted());
    Seen { hotkey, assigned, stage1, object }
}

/// The values of the model of `lag` rounds ago that a peer shows.
pub fn samples(world: &World, hotkey: &Hotkey, lag: usize) -> Vec<f32> {
    let weights = world.model(lag).model.weights();
    let count = world.layout.samples_per_tensor();
    let places = gradient::model_samples(&world.run, hotkey, world.window, 0, weights.len(), count);
    places.into_iter().map(|place| weights[place]).collect()
}

/// What a window's judging needs.
pub struct Judge<'a> {
    world: &'a World<'a>,
    rules: &'a GauntletConfig,
    /// Step of an evaluation.
    step: f64,
    seed: [u8; 32],
    random: Vec<u64>,
    /// Gradient of the held-out loss.
    truth: Vec<f32>,
    before: &'a Probabilities,
    random_before: Vec<f64>,
    chosen: BTreeMap<&'a Hotkey, &'a [SparseTensor]>,
    norms: Norms,
    /// The round's aggregate and what it does to random data.
    everybody: Option<(Probabilities, Vec<f64>)>,
    /// How much the gradients of micro-batches differ; none where work is not audited.
    spread: Option<Spread>,
}

/// What was measured of one object.
pub struct Measured {
    /// The losses.
    pub evidence: Evidence,
    /// By how much the update alone lowers the held-out loss, to first order; nats a token.
    pub benefit: f64,
}

impl<'a> Judge<'a> {
    /// A judge of the window's objects; `chosen` is who is aggregated.
    pub fn new(
        world: &'a World<'a>,
        rules: &'a GauntletConfig,
        step: f64,
        seed: &[u8; 32],
        chosen: BTreeMap<&'a Hotkey, &'a [SparseTensor]>,
        norms: Norms,
    ) -> Self {
        let random = data::random(seed, world.window, rules.random_sequences, world.text.training());
        let before = &world.model(0).table;
        let random_before = losses(before, world, &random);
        let truth = before.gradient(world.text.held_out());
        let step = step * rules.evaluation_step;
        let references = random.chunks_exact(world.micro_batch).take(REFERENCES);
        let sketches: Vec<_> = references.map(|part| vec![world.sketch(part, 0)]).collect();
        let spread = rules.audit.and_then(|_| Spread::of(&sketches));
        let mut judge = Self {
            world,
            rules,
            step,
            seed: *seed,
            random,
            truth,
            before,
            random_before,
            chosen,
            norms,
            everybody: None,
            spread,
        };
        judge.everybody = judge.after_others(None);
        judge
    }

    /// Measures one object; `None` if it was not accepted.
    pub fn one(&self, seen: &Seen) -> Option<Measured> {
        let tensors = seen.tensors()?;
        let own = data::judged(&self.seed, seen.hotkey.as_ref(), seen.claimed(), self.rules.own_sequences);
        let (signs, after) = self.moved(&[tensors])?;
        let others = if self.chosen.contains_key(&seen.hotkey) {
            &self.after_others(Some(&seen.hotkey))
        } else {
            &self.everybody
        };
        let comparator = others.as_ref();
        let evidence = Evidence {
            own_before: losses(self.before, self.world, &own),
            own_after: losses(&after, self.world, &own),
            own_comparator: comparator.map_or_else(Vec::new, |(table, _)| losses(table, self.world, &own)),
            random_before: self.random_before.clone(),
            random_after: losses(&after, self.world, &self.random),
            random_comparator: comparator.map_or_else(Vec::new, |(_, losses)| losses.clone()),
            audits: self.audits(seen),
        };
        let benefit = signs.iter().zip(&self.truth).map(|(s, g)| f64::from(*s) * f64::from(*g)).sum::<f64>();
        Some(Measured { evidence, benefit: benefit * self.step })
    }

    /// How far the drawn sketches of an object are from what comes out.
    fn audits(&self, seen: &Seen) -> Vec<f64> {
        let (Some(rules), Some(spread), Some(object)) = (self.rules.audit, &self.spread, &seen.object) else {
            return Vec::new();
        };
        let parts: Vec<&[u64]> = seen.claimed().chunks(self.world.micro_batch).collect();
        let drawn = data::audited(&self.seed, seen.hotkey.as_ref(), parts.len(), rules.micro_batches);
        let audit = |number: usize| match (parts.get(number), object.sketch(number)) {
            (Some(part), Some(sketch)) => distance(&sketch, &[self.world.sketch(part, 0)], spread),
            _ => FARTHEST,
        };
        drawn.into_iter().map(audit).collect()
    }

    /// The model after the round without one peer, and its losses on random data.
    fn after_others(&self, without: Option<&Hotkey>) -> Option<(Probabilities, Vec<f64>)> {
        let others = self.chosen.iter().filter(|(hotkey, _)| Some(**hotkey) != without);
        let (_, table) = self.moved(&others.map(|(_, tensors)| *tensors).collect::<Vec<_>>())?;
        let random = losses(&table, self.world, &self.random);
        Some((table, random))
    }

    fn moved(&self, peers: &[&[SparseTensor]]) -> Option<(Vec<i8>, Probabilities)> {
        let signs = step_of(peers, self.world, self.norms)?;
        let mut model = self.world.model(0).model.clone();
        model.apply(&signs, self.step);
        Some((signs, model.probabilities()))
    }
}

/// The sign update of some peers; `None` for none.
pub fn step_of(peers: &[&[SparseTensor]], world: &World, norms: Norms) -> Option<Vec<i8>> {
    let mut signs = vec![0; world.layout.parameters()];
    world.layout.codec().aggregate_with(Rule::Sign, norms, peers).ok()?.signs(0, &mut signs);
    Some(signs)
}

/// Pairs of objects that overlap too much, as [`overlap::find`] tells them.
pub fn overlaps(
    objects: &[&Seen],
    world: &World,
    seed: &[u8; 32],
    rules: &GauntletConfig,
) -> Vec<overlap::Pair> {
    let candidates: Vec<overlap::Candidate> = objects
        .iter()
        .filter_map(|seen| Some(overlap::Candidate { hotkey: &seen.hotkey, tensors: seen.tensors()? }))
        .collect();
    overlap::find(&candidates, world.layout, seed, rules.overlap_limit())
}

fn losses(table: &Probabilities, world: &World, sequences: &[u64]) -> Vec<f64> {
    sequences.iter().map(|index| table.loss(world.text.sequence(*index))).collect()
}
