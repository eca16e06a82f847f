//! What a miner's training takes: one micro-batch of the preset, of made-up tokens.

use super::{Measured, Setting};
use crate::cli::Failure;
use tch::{Kind, Tensor};
use templar::{
    manifest::{InnerConfig, Manifest, Precision},
    model::Llama,
    train::{TrainError, inner::InnerOptimizer, local_step, sketches::sketched_step_while},
};

pub(super) fn measure(
    setting: &Setting,
    manifest: &Manifest,
    recompute: bool,
) -> Result<Vec<Measured>, Failure> {
    let config = &manifest.model;
    let mut model = Llama::new(config, manifest.seed, setting.device);
    model.recompute(recompute);
    let micro_batch = manifest.train.micro_batch;
    let shape = [micro_batch as i64, config.sequence_length + 1];
    let numbers = Tensor::arange(shape.iter().product::<i64>(), (Kind::Int64, setting.device));
    let tokens = (numbers.square() * 7).remainder(config.vocab_size).view(shape);
    let bytes = 4 * setting.params as u64;
    let mut results = vec![
        setting.time("losses", bytes, || {
            model.sequence_losses(&tokens, micro_batch).map(|_| ()).map_err(TrainError::from)
        })?,
        setting.time("train", bytes, || local_step(&mut model, &tokens, micro_batch).map(|_| ()))?,
        setting.time("sketched", bytes, || {
            sketched_step_while((&mut model).into(), &tokens, micro_batch, 1, || true).map(|_| ())
        })?,
    ];
    // What a run with one optimizer for everybody would do: the gradient, and AdamW's step by it.
    let mut optimizer = InnerOptimizer::new(&model, &inner(model.precision()));
    results.push(setting.time("step", bytes, || {
        let step = local_step(&mut model, &tokens, micro_batch)?;
        optimizer.apply(&model, &step.gradients, 0)
    })?);
    for (name, precision) in [("inner-f32", Precision::F32), ("inner-bf16", Precision::Bf16)] {
        let mut optimizer = InnerOptimizer::new(&model, &inner(precision));
        let steps = [tokens.shallow_clone()];
        let step = || optimizer.run(&mut model, &steps, micro_batch, 0).map(|_| ());
        results.push(setting.time::<TrainError>(name, bytes, step)?);
    }
    Ok(results)
}

/// Numbers do not change what a step takes.
fn inner(precision: Precision) -> InnerConfig {
    InnerConfig {
        steps: 1,
        learning_rate: 1e-4,
        warmup_steps: 0,
        decay_steps: 1,
        floor: 1.0,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        clip_norm: 1.0,
        precision,
    }
}
