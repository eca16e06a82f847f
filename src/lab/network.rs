//! Peers that train, validators that judge them, and the step that everybody takes.

use super::{LabError, Text};
use crate::{
    aggregate,
    codec::{Settings as Compress, sketch::Sums, wire},
    compress::ErrorFeedback,
    data,
    gauntlet::{
        Evidence, Gauntlet, Hotkey, Observation, Peer, ScoreRecord,
        declared::{Spread, distance},
        overlap,
        proof::Claim,
        stage1::Stage1,
    },
    gradient::{Layout, SparseTensor, sketch_seed},
    manifest::{GauntletConfig, OuterConfig},
    model::{Llama, parameter_shapes},
    train::{TrainError, sketches},
    window::Window,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

/// Samples of the model that an object would show; nobody is out of step here.
const SAMPLES: usize = 2;
/// Sequences of one forward pass of a judge.
const FORWARD: usize = 32;

/// What a peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conduct {
    /// All of its work.
    Honest,
    /// Half of its work, and says so.
    Half,
    /// As much work on data that it was not assigned.
    OtherData,
    /// All of its work, and sends random numbers.
    Noise,
    /// All of its work, and sends the opposite.
    Flipped,
}

/// The constants of a network.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How gradients are compressed.
    pub compress: Compress,
    /// The steps.
    pub outer: OuterConfig,
    /// Sequences of a micro-batch, the unit in which work is declared and audited.
    pub micro_batch: usize,
    /// Rules that judge the same measurements. The first decide who is aggregated; where there are none everybody is.
    pub rules: Vec<GauntletConfig>,
    /// Peers that are judged in a window, at most.
    pub judged: usize,
}

/// Some peers and a model.
#[derive(Debug)]
pub struct Network {
    model: Llama,
    settings: Settings,
    layout: Layout,
    members: Vec<Member>,
    gauntlets: Vec<Gauntlet>,
    run: [u8; 32],
    rng: StdRng,
}

#[derive(Debug)]
struct Member {
    conduct: Conduct,
    hotkey: Hotkey,
    feedback: ErrorFeedback,
}

/// What a peer sends, and on what it says to have trained.
struct Upload {
    tensors: Vec<SparseTensor>,
    sketches: Vec<Vec<Sums>>,
    claimed: Vec<u64>,
}

/// What came of a window.
#[derive(Debug)]
pub struct Round {
    /// The records under each set of rules.
    pub records: Vec<Vec<ScoreRecord>>,
    /// Bytes of all positions and values that were sent.
    pub bytes: u64,
    /// By peer: whether it was aggregated.
    pub aggregated: Vec<bool>,
}

/// What all peers of a window are judged by.
struct Shared {
    window: Window,
    seed: [u8; 32],
    step: f64,
    random: Tensor,
    random_before: Vec<f64>,
    spread: Option<Spread>,
    chosen: BTreeSet<usize>,
}

impl Network {
    /// A network of peers, one for each conduct, with a model of its own. `seed` draws what is random.
    ///
    /// # Errors
    /// Settings that do not fit the model.
    pub fn new(model: Llama, settings: Settings, conducts: &[Conduct], seed: u64) -> Result<Self, LabError> {
        let layout = Layout::new(&parameter_shapes(model.config()), &settings.compress, SAMPLES)?;
        let run = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        let hotkey = |at: usize| {
            let mut hash = blake3::Hasher::new_keyed(&run);
            hash.update(&(at as u64).to_le_bytes());
            Hotkey::from(*hash.finalize().as_bytes())
        };
        let member = |(at, conduct): (usize, &Conduct)| Member {
            conduct: *conduct,
            hotkey: hotkey(at),
            feedback: ErrorFeedback::new(&layout),
        };
        let members: Vec<Member> = conducts.iter().enumerate().map(member).collect();
        let peers: Vec<Peer> = (0..).zip(&members).map(|(uid, member)| peer(uid, member)).collect();
        let gauntlets = settings.rules.iter().map(|rules| {
            let mut gauntlet = Gauntlet::new(rules);
            gauntlet.roster(&peers);
            gauntlet
        });
        let gauntlets = gauntlets.collect();
        Ok(Self { model, settings, layout, members, gauntlets, run, rng: StdRng::seed_from_u64(seed) })
    }

    /// The model.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.layout.parameters()
    }

    /// One window: everybody trains and sends, some are judged, and the model takes its step.
    ///
    /// # Errors
    /// Those of training, sending and judging.
    pub fn window(&mut self, text: &Text, window: Window) -> Result<Round, LabError> {
        let uploads = (0..self.members.len()).map(|at| self.upload(text, at, window));
        let uploads = uploads.collect::<Result<Vec<Upload>, _>>()?;
        let hotkeys: Vec<Hotkey> = self.members.iter().map(|member| member.hotkey.clone()).collect();
        let seed = *blake3::hash(&[self.run.as_slice(), &window.to_le_bytes()].concat()).as_bytes();
        let step = self.settings.outer.step(window);
        let overlapping = self.overlapping(&uploads, &seed);
        let chosen: BTreeSet<usize> = match self.gauntlets.first() {
            Some(gauntlet) => {
                let most = gauntlet.config().top_g;
                let set = gauntlet.aggregate_set_without(&hotkeys, &overlapping, most, &seed);
                (0..hotkeys.len()).filter(|at| set.contains(&hotkeys[*at])).collect()
            }
            None => (0..hotkeys.len()).collect(),
        };
        let mut records = Vec::new();
        if let Some(order) = self.gauntlets.first().map(|g| g.evaluation_order(&hotkeys, window, &seed)) {
            let order = &order[..order.len().min(self.settings.judged)];
            let judged: BTreeSet<usize> =
                (0..hotkeys.len()).filter(|at| order.contains(&hotkeys[*at])).collect();
            let observations =
                self.observations(text, window, &seed, step, &uploads, chosen.clone(), &judged)?;
            let usual = text.order.share(window, 0).len() as u64;
            let claims: BTreeMap<Hotkey, Claim> = hotkeys
                .iter()
                .zip(&uploads)
                .map(|(hotkey, upload)| {
                    (hotkey.clone(), Claim { claimed: upload.claimed.len() as u64, usual })
                })
                .collect();
            for gauntlet in &mut self.gauntlets {
                records.push(gauntlet.update_with(window, step, &observations, &overlapping, &claims)?);
            }
        }
        let bytes = uploads.iter().map(|upload| sent_bytes(&self.layout, &upload.tensors)).sum();
        let peers: Vec<&[SparseTensor]> = chosen.iter().map(|at| uploads[*at].tensors.as_slice()).collect();
        if !peers.is_empty() {
            aggregate::step(self.settings.outer.rule, &peers, &self.layout, self.model.parameters(), step)?;
        }
        let aggregated = (0..uploads.len()).map(|at| chosen.contains(&at)).collect();
        Ok(Round { records, bytes, aggregated })
    }

    fn overlapping(&self, uploads: &[Upload], seed: &[u8; 32]) -> Vec<overlap::Pair> {
        let Some(gauntlet) = self.gauntlets.first() else { return Vec::new() };
        let candidates: Vec<overlap::Candidate<'_>> = self
            .members
            .iter()
            .zip(uploads)
            .map(|(member, upload)| overlap::Candidate { hotkey: &member.hotkey, tensors: &upload.tensors })
            .collect();
        overlap::find(&candidates, &self.layout, seed, gauntlet.config().overlap_limit())
    }

    fn upload(&mut self, text: &Text, at: usize, window: Window) -> Result<Upload, LabError> {
        let conduct = self.members[at].conduct;
        let mut claimed = text.order.share(window, at);
        if conduct == Conduct::Half {
            claimed.truncate(claimed.len() / 2);
        }
        let trained = match conduct {
            Conduct::OtherData => {
                let (drawn, population) = (self.rng.random(), text.sequences.training());
                data::random(&drawn, window, claimed.len(), population)
            }
            _ => claimed.clone(),
        };
        let tokens = text.tokens(&trained)?;
        let seed = sketch_seed(&self.run, window);
        let (step, sketches) = match self.gauntlets.is_empty() {
            true => (crate::train::local_step(&mut self.model, &tokens, claimed.len())?, Vec::new()),
            false => sketches::sketched_step_while(
                (&mut self.model).into(),
                &tokens,
                self.settings.micro_batch,
                seed,
                || true,
            )?,
        };
        let gradients = match conduct {
            Conduct::Flipped => step.gradients.iter().map(|gradient| -gradient).collect(),
            _ => step.gradients,
        };
        let mut tensors = self.members[at].feedback.encode(&gradients)?;
        if conduct == Conduct::Noise {
            let rng = &mut self.rng;
            let noise = |layout| SparseTensor::noise(layout, |n| rng.random_range(0..n));
            tensors = self.layout.tensors().iter().map(noise).collect();
        }
        Ok(Upload { tensors, sketches, claimed })
    }

    #[expect(clippy::too_many_arguments, reason = "all that a window has")]
    fn observations(
        &mut self,
        text: &Text,
        window: Window,
        seed: &[u8; 32],
        step: f64,
        uploads: &[Upload],
        chosen: BTreeSet<usize>,
        judged: &BTreeSet<usize>,
    ) -> Result<Vec<Observation>, LabError> {
        let rules = self.gauntlets[0].config().clone();
        let random = data::random(seed, window, rules.random_sequences, text.sequences.training());
        let spread = match rules.audit {
            Some(_) => {
                let part = self.settings.micro_batch;
                let parts = random.chunks_exact(part).take(4).map(|part| self.sketch(text, part, window));
                Spread::of(&parts.collect::<Result<Vec<_>, _>>()?)
            }
            None => None,
        };
        let random = text.tokens(&random)?;
        let random_before = losses(&self.model, &random)?;
        let step = step * rules.evaluation_step;
        let shared = Shared { window, seed: *seed, step, random, random_before, spread, chosen };
        let observation = |at: usize| -> Result<Observation, LabError> {
            let evidence = judged.contains(&at).then(|| self.evidence(text, &rules, uploads, at, &shared));
            Ok(Observation {
                hotkey: self.members[at].hotkey.clone(),
                stage1: Stage1::Accepted { seconds: 1, steps_behind: 0.0 },
                evidence: evidence.transpose()?,
                aggregated: shared.chosen.contains(&at),
            })
        };
        (0..uploads.len()).map(observation).collect()
    }

    /// What a validator measures of one peer.
    fn evidence(
        &mut self,
        text: &Text,
        rules: &GauntletConfig,
        uploads: &[Upload],
        at: usize,
        shared: &Shared,
    ) -> Result<Evidence, LabError> {
        let (hotkey, upload) = (self.members[at].hotkey.clone(), &uploads[at]);
        let own = data::judged(&shared.seed, hotkey.as_ref(), &upload.claimed, rules.own_sequences);
        let own = text.tokens(&own)?;
        let own_before = losses(&self.model, &own)?;
        let audits = self.audits(text, rules, upload, &hotkey, shared)?;
        let before = self.model.snapshot();
        let (rule, layout) = (self.settings.outer.rule, &self.layout);
        let model = &mut self.model;
        let mut after = |peers: &[&[SparseTensor]]| -> Result<(Vec<f64>, Vec<f64>), LabError> {
            aggregate::step(rule, peers, layout, model.parameters(), shared.step)?;
            let measured = (losses(model, &own)?, losses(model, &shared.random)?);
            model.restore(&before);
            Ok(measured)
        };
        let (own_after, random_after) = after(&[&upload.tensors])?;
        let others = shared.chosen.iter().filter(|other| **other != at);
        let others: Vec<&[SparseTensor]> = others.map(|other| uploads[*other].tensors.as_slice()).collect();
        let (own_comparator, random_comparator) =
            if others.is_empty() { Default::default() } else { after(&others)? };
        Ok(Evidence {
            own_before,
            own_after,
            own_comparator,
            random_before: shared.random_before.clone(),
            random_after,
            random_comparator,
            audits,
        })
    }

    /// How far the drawn ones of a peer's sketches are from what comes out.
    fn audits(
        &mut self,
        text: &Text,
        rules: &GauntletConfig,
        upload: &Upload,
        hotkey: &Hotkey,
        shared: &Shared,
    ) -> Result<Vec<f64>, LabError> {
        let (Some(audit), Some(spread)) = (rules.audit, &shared.spread) else { return Ok(Vec::new()) };
        let drawn = data::audited(&shared.seed, hotkey.as_ref(), upload.sketches.len(), audit.micro_batches);
        let parts: Vec<&[u64]> = upload.claimed.chunks(self.settings.micro_batch).collect();
        let one = |number: usize| -> Result<f64, LabError> {
            let computed = self.sketch(text, parts[number], shared.window)?;
            Ok(distance(&upload.sketches[number], &computed, spread))
        };
        drawn.into_iter().map(one).collect()
    }

    fn sketch(&mut self, text: &Text, sequences: &[u64], window: Window) -> Result<Vec<Sums>, LabError> {
        let tokens = text.tokens(sequences)?;
        Ok(sketches::sketch(&mut self.model, &tokens, sketch_seed(&self.run, window))?)
    }
}

fn peer(uid: u16, member: &Member) -> Peer {
    Peer { hotkey: member.hotkey.clone(), uid, registered_at_block: 0 }
}

fn losses(model: &Llama, tokens: &Tensor) -> Result<Vec<f64>, TrainError> {
    Ok(model.sequence_losses(tokens, FORWARD)?.into_iter().map(f64::from).collect())
}

/// Bytes of an object's positions and values: what grows with the model.
pub(super) fn sent_bytes(layout: &Layout, tensors: &[SparseTensor]) -> u64 {
    let mut out = Vec::new();
    let positions = layout
        .tensors()
        .iter()
        .zip(tensors)
        .map(|(shape, tensor)| wire::encode(shape, tensor, &mut out).unwrap_or(0) + shape.value_bytes());
    positions.sum::<usize>() as u64
}
