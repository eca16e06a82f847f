//! A run from the initial model to its last step.

use super::{
    LabError, Method, Setup, Task, Text,
    network::{Conduct, Network, Settings, sent_bytes},
};
use crate::{
    aggregate,
    codec::{Rule, Settings as Compress},
    compress::ErrorFeedback,
    gradient::{Layout, SparseTensor},
    manifest::{AuditRules, GauntletConfig, InnerConfig, ManifestFile, OuterConfig},
    model::{Llama, parameter_shapes},
    train::{inner::InnerOptimizer, local_step},
};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Sequences of one forward and backward pass of a centralised run.
const TOGETHER: usize = 64;
/// Peers that are judged in a window.
const JUDGED: usize = 3;
/// Bytes of a number that centralised training exchanges.
const FLOAT: u64 = 4;

/// The held-out loss after some steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps at which every peer has had a share.
    pub step: u64,
    /// Tokens that all peers have trained on.
    pub tokens: u64,
    /// Bytes that one peer has sent, on average: positions and values. A centralised run sends a gradient in float32 a step.
    pub bytes: u64,
    /// Mean loss on held-out text, nats a token.
    pub loss: f64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The losses.
    pub points: Vec<Point>,
    /// Parameters of the model.
    pub parameters: u64,
    /// Of the windows in the second half, the share in which a peer that is not honest was aggregated, on average over them; none where all are.
    pub attackers_aggregated: Option<f64>,
}

impl Curve {
    /// The loss at the end.
    pub fn last(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |point| point.loss)
    }
}

/// Trains a model from its initial weights, which `seed` draws, as it draws the order of `text`; `told` hears of every measurement.
///
/// # Errors
/// Those of training and judging.
pub fn run(
    task: &Task,
    setup: &Setup,
    text: &Text,
    seed: u64,
    told: impl FnMut(&Point),
) -> Result<Curve, LabError> {
    let model = Llama::new(&task.model, seed, text.device());
    let measured = Measured { task, text, points: Vec::new(), told };
    match &setup.method {
        Method::Central(config) => central(task, config, text, model, measured),
        Method::Gradients { compress, outer } => {
            gradients(task, setup, (compress, outer), text, (model, seed), measured)
        }
        Method::Means { compress, optimizer } => means(task, compress, optimizer, text, model, measured),
        Method::Loops { inner, compress, outer } => {
            loops(task, (inner, compress, outer), text, model, measured)
        }
    }
}

/// The points so far.
struct Measured<'a, F> {
    task: &'a Task,
    text: &'a Text,
    points: Vec<Point>,
    told: F,
}

impl<F: FnMut(&Point)> Measured<'_, F> {
    /// Measures after `step` steps, if they have come to where it is due since the last time.
    fn look(&mut self, model: &Llama, step: u64, bytes: u64) -> Result<(), LabError> {
        let due = self.points.last().is_none_or(|last| step >= last.step + self.task.every);
        if !due && step < self.task.steps {
            return Ok(());
        }
        let loss = self.text.held_out(model)?;
        let point = Point { step, tokens: step * self.task.tokens_a_step(), bytes, loss };
        (self.told)(&point);
        self.points.push(point);
        Ok(())
    }
}

fn central(
    task: &Task,
    config: &InnerConfig,
    text: &Text,
    mut model: Llama,
    mut measured: Measured<'_, impl FnMut(&Point)>,
) -> Result<Curve, LabError> {
    let parameters = parameters(&model);
    let mut optimizer = InnerOptimizer::new(&model, config);
    for step in 0..task.steps {
        let tokens = text.tokens(&text.order.batch(step))?;
        let gradients = local_step(&mut model, &tokens, TOGETHER)?.gradients;
        optimizer.apply(&model, &gradients, step)?;
        measured.look(&model, step + 1, (step + 1) * FLOAT * parameters)?;
    }
    Ok(Curve { points: measured.points, parameters, attackers_aggregated: None })
}

fn means(
    task: &Task,
    compress: &Compress,
    config: &InnerConfig,
    text: &Text,
    mut model: Llama,
    mut measured: Measured<'_, impl FnMut(&Point)>,
) -> Result<Curve, LabError> {
    let layout = Layout::new(&parameter_shapes(model.config()), compress, 0)?;
    let mut optimizer = InnerOptimizer::new(&model, config);
    let mut peers: Vec<ErrorFeedback> = (0..task.peers).map(|_| ErrorFeedback::new(&layout)).collect();
    let mut sent = 0;
    for step in 0..task.steps {
        let mut objects: Vec<Vec<SparseTensor>> = Vec::new();
        for (peer, feedback) in peers.iter_mut().enumerate() {
            let tokens = text.tokens(&text.order.share(step, peer))?;
            objects.push(feedback.encode(&local_step(&mut model, &tokens, task.share)?.gradients)?);
        }
        sent += objects.iter().map(|object| sent_bytes(&layout, object)).sum::<u64>();
        let objects: Vec<&[SparseTensor]> = objects.iter().map(Vec::as_slice).collect();
        let mean = aggregate::aggregate(Rule::Mean, &objects, &layout, text.device())?;
        optimizer.apply(&model, &mean, step)?;
        measured.look(&model, step + 1, sent / task.peers as u64)?;
    }
    let parameters = layout.parameters() as u64;
    Ok(Curve { points: measured.points, parameters, attackers_aggregated: None })
}

fn gradients(
    task: &Task,
    setup: &Setup,
    (compress, outer): (&Compress, &OuterConfig),
    text: &Text,
    (model, seed): (Llama, u64),
    mut measured: Measured<'_, impl FnMut(&Point)>,
) -> Result<Curve, LabError> {
    let mut conducts = setup.conducts.clone();
    conducts.resize(task.peers, Conduct::Honest);
    let micro_batch = (task.share / 2).max(1);
    let rules = if setup.gauntlet { vec![rules(task, micro_batch)?] } else { Vec::new() };
    let settings =
        Settings { compress: compress.clone(), outer: outer.clone(), micro_batch, rules, judged: JUDGED };
    let mut network = Network::new(model, settings, &conducts, seed)?;
    let parameters = network.parameters() as u64;
    let attackers: Vec<usize> = (0..conducts.len()).filter(|at| conducts[*at] != Conduct::Honest).collect();
    let (mut sent, mut aggregated, mut windows) = (0, 0, 0);
    for step in 0..task.steps {
        let round = network.window(text, step)?;
        sent += round.bytes;
        if step >= task.steps / 2 {
            aggregated += attackers.iter().filter(|at| round.aggregated[**at]).count();
            windows += attackers.len();
        }
        measured.look(network.model(), step + 1, sent / task.peers as u64)?;
    }
    let share = (windows > 0).then(|| aggregated as f64 / windows as f64);
    Ok(Curve { points: measured.points, parameters, attackers_aggregated: share })
}

/// The rules of `local` for shares of another size.
fn rules(task: &Task, micro_batch: usize) -> Result<GauntletConfig, LabError> {
    let preset = ManifestFile::gauntlet("local")?;
    Ok(GauntletConfig {
        own_sequences: task.share,
        random_sequences: (4 * micro_batch).max(8),
        audit: Some(AuditRules::default()),
        ..preset
    })
}

fn loops(
    task: &Task,
    (config, compress, outer): (&InnerConfig, &Compress, &OuterConfig),
    text: &Text,
    mut model: Llama,
    mut measured: Measured<'_, impl FnMut(&Point)>,
) -> Result<Curve, LabError> {
    let layout = Layout::new(&parameter_shapes(model.config()), compress, 0)?;
    let mut peers: Vec<(InnerOptimizer, ErrorFeedback)> =
        (0..task.peers).map(|_| (InnerOptimizer::new(&model, config), ErrorFeedback::new(&layout))).collect();
    let (mut sent, mut step, mut round) = (0, 0, 0);
    while step < task.steps {
        let steps = (task.steps - step).min(config.steps as u64);
        let mut objects: Vec<Vec<SparseTensor>> = Vec::new();
        for (peer, (optimizer, feedback)) in peers.iter_mut().enumerate() {
            let parts = (step..step + steps).map(|step| text.tokens(&text.order.share(step, peer)));
            let parts = parts.collect::<Result<Vec<Tensor>, _>>()?;
            let inner = optimizer.run(&mut model, &parts, task.share, round)?;
            objects.push(feedback.encode(&inner.deltas)?);
        }
        sent += objects.iter().map(|object| sent_bytes(&layout, object)).sum::<u64>();
        let objects: Vec<&[SparseTensor]> = objects.iter().map(Vec::as_slice).collect();
        aggregate::step(Rule::Mean, &objects, &layout, model.parameters(), outer.step(round))?;
        (step, round) = (step + steps, round + 1);
        measured.look(&model, step, sent / task.peers as u64)?;
    }
    let parameters = layout.parameters() as u64;
    Ok(Curve { points: measured.points, parameters, attackers_aggregated: None })
}

fn parameters(model: &Llama) -> u64 {
    model.parameters().iter().map(|(_, weight)| weight.numel() as u64).sum()
}
