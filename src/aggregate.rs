//! The step that everybody takes: the run's [`crate::codec`] over a model's tensors.

use crate::{
    codec::{Aggregate, AggregateError, Rule},
    gradient::{Layout, SparseTensor},
    model::{Kernels, Outcome, floats_in_place, floats_in_place_mut, made, on_device, torch, with_bytes},
};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// The aggregate of some peers, one tensor for each parameter in its shape, on `device`: under [`Rule::Sign`] int8 of -1, 0
/// and 1, under [`Rule::Mean`] float32.
///
/// `peers` holds each peer's tensors in the layout's order, as [`crate::gradient::decode()`] returned them. The
/// result does not depend on the order of peers, and is the same bits on every machine.
///
/// # Errors
/// No peers or more than can be summed, or tensors that do not fit the layout.
pub fn aggregate(
    rule: Rule,
    peers: &[&[SparseTensor]],
    layout: &Layout,
    device: Device,
) -> Result<Vec<Tensor>, AggregateError> {
    let (aggregate, kernels) = (layout.codec().aggregate(rule, peers)?, Kernels::of(device));
    let of = |index| update(kernels.as_ref(), &aggregate, index, layout, device);
    Ok((0..layout.tensors().len()).map(of).collect())
}

fn update(
    kernels: Option<&Kernels>,
    aggregate: &Aggregate<'_>,
    index: usize,
    layout: &Layout,
    device: Device,
) -> Tensor {
    let shape: Vec<i64> = layout.tensors()[index].shape.iter().map(|d| *d as i64).collect();
    let there = on_device(kernels, |kernels| {
        let kind = if aggregate.rule() == Rule::Sign { Kind::Int8 } else { Kind::Float };
        let out = torch(Tensor::f_empty(&shape, (kind, device)))?;
        kernels.aggregate(aggregate, index, Outcome::Update(&out)).map(|()| out)
    });
    if let Some(update) = there {
        return update;
    }
    let update = match aggregate.rule() {
        Rule::Sign => made(&shape, |out| aggregate.signs(index, out)),
        Rule::Mean => made(&shape, |out| aggregate.mean(index, out)),
    };
    update.to_device(device)
}

/// `theta -= step * update` for every parameter; the step is rounded to float32 first.
///
/// Under [`Rule::Sign`] the product with -1, 0 or 1 is exact, and so there is one rounding, the same on every device; under
/// [`Rule::Mean`] there are two.
pub fn apply(parameters: &[(String, Tensor)], update: &[Tensor], step: f64) {
    tch::no_grad(|| {
        for ((_, parameter), update) in parameters.iter().zip(update) {
            let change = update.to_kind(Kind::Float) * f64::from(step as f32);
            let _ = parameter.shallow_clone().g_sub_(&change);
        }
    });
}

/// The same from the weights of another model: `parameters` become `before` after the step of an update that [`aggregate`] made.
pub fn apply_from(
    before: &[(String, Tensor)],
    parameters: &[(String, Tensor)],
    update: &[Tensor],
    step: f64,
) {
    let kernels = Kernels::of(device_of(parameters));
    apply_from_with(kernels.as_ref(), [before, parameters], update, step);
}

fn apply_from_with(
    kernels: Option<&Kernels>,
    [before, parameters]: [&[(String, Tensor)]; 2],
    update: &[Tensor],
    step: f64,
) {
    for (((name, parameter), (_, before)), update) in parameters.iter().zip(before).zip(update) {
        let (mut here, before) = (parameter.detach(), before.detach());
        let signs = update.kind() == Kind::Int8;
        if let (true, Some(to), Some(from)) =
            (signs, floats_in_place_mut(&mut here), floats_in_place(&before))
        {
            with_bytes(update, |signs| signed(to, from, signs, step as f32));
            continue;
        }
        tch::no_grad(|| here.copy_(&before));
        let kernels = kernels.filter(|_| signs);
        if on_device(kernels, |kernels| kernels.sign_step(&here, update, step as f32)).is_none() {
            apply(&[(name.clone(), here)], std::slice::from_ref(update), step);
        }
    }
}

/// `to = from - step * sign`, of signs of 8 bits.
fn signed(to: &mut [f32], from: &[f32], signs: &[u8], step: f32) {
    const TOGETHER: usize = 1 << 16;
    let parts = to.par_chunks_mut(TOGETHER).zip(from.par_chunks(TOGETHER)).zip(signs.par_chunks(TOGETHER));
    parts.for_each(|((to, from), signs)| {
        for ((to, from), sign) in to.iter_mut().zip(from).zip(signs) {
            *to = from - step * f32::from(sign.cast_signed());
        }
    });
}

/// [`aggregate`] and [`apply`] at once: the update is never whole in memory.
///
/// # Errors
/// As [`aggregate`]; then no parameter was changed.
pub fn step(
    rule: Rule,
    peers: &[&[SparseTensor]],
    layout: &Layout,
    parameters: &[(String, Tensor)],
    step: f64,
) -> Result<(), AggregateError> {
    let kernels = Kernels::of(device_of(parameters));
    step_with(kernels.as_ref(), rule, peers, layout, parameters, step)
}

fn step_with(
    kernels: Option<&Kernels>,
    rule: Rule,
    peers: &[&[SparseTensor]],
    layout: &Layout,
    parameters: &[(String, Tensor)],
    step: f64,
) -> Result<(), AggregateError> {
    let aggregate = layout.codec().aggregate(rule, peers)?;
    for (index, (name, parameter)) in parameters.iter().enumerate() {
        let mut here = parameter.detach();
        let in_place = |kernels: &Kernels| {
            kernels.aggregate(&aggregate, index, Outcome::Step(&here, &here, step as f32))
        };
        if on_device(kernels, in_place).is_some() {
            continue;
        }
        match floats_in_place_mut(&mut here) {
            Some(floats) => aggregate.step(index, floats, step as f32),
            None => {
                let update = update(None, &aggregate, index, layout, parameter.device());
                apply(&[(name.clone(), parameter.shallow_clone())], &[update], step);
            }
        }
    }
    Ok(())
}

/// Where a model's parameters are.
fn device_of(parameters: &[(String, Tensor)]) -> Device {
    parameters.first().map_or(Device::Cpu, |(_, parameter)| parameter.device())
}

/// The same from the weights of another model: `parameters` become `before` after the step.
///
/// # Errors
/// As [`step()`].
pub fn step_from(
    rule: Rule,
    peers: &[&[SparseTensor]],
    layout: &Layout,
    before: &[(String, Tensor)],
    parameters: &[(String, Tensor)],
    step: f64,
) -> Result<(), AggregateError> {
    let kernels = Kernels::of(device_of(parameters));
    step_from_with(kernels.as_ref(), rule, peers, layout, [before, parameters], step)
}

fn step_from_with(
    kernels: Option<&Kernels>,
    rule: Rule,
    peers: &[&[SparseTensor]],
    layout: &Layout,
    [before, parameters]: [&[(String, Tensor)]; 2],
    step: f64,
) -> Result<(), AggregateError> {
    let aggregate = layout.codec().aggregate(rule, peers)?;
    for (index, ((name, parameter), (_, before))) in parameters.iter().zip(before).enumerate() {
        let (mut here, before) = (parameter.detach(), before.detach());
        let between = |kernels: &Kernels| {
            kernels.aggregate(&aggregate, index, Outcome::Step(&before, &here, step as f32))
        };
        if on_device(kernels, between).is_some() {
            continue;
        }
        match (floats_in_place_mut(&mut here), floats_in_place(&before)) {
            (Some(floats), Some(before)) => aggregate.step_from(index, before, floats, step as f32),
            _ => {
                let update = update(None, &aggregate, index, layout, parameter.device());
                tch::no_grad(|| here.copy_(&before));
                apply(&[(name.clone(), here)], &[update], step);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compress::ErrorFeedback, device::emulator::Emulator, manifest::CompressConfig};
    use std::sync::Arc;

    fn shaped(shape: &[usize]) -> Vec<i64> {
        shape.iter().map(|d| *d as i64).collect()
    }

    /// What some peers send.
    fn sent(layout: &Layout, shapes: &[(String, Vec<usize>)]) -> Vec<Vec<SparseTensor>> {
        tch::manual_seed(1);
        let one = || {
            let gradient =
                |(_, shape): &(String, Vec<usize>)| Tensor::randn(shaped(shape), (Kind::Float, Device::Cpu));
            let gradients: Vec<Tensor> = shapes.iter().map(gradient).collect();
            ErrorFeedback::new(layout).encode(&gradients).unwrap()
        };
        (0..3).map(|_| one()).collect()
    }

    /// With a GPU's kernels, emulated: the bits that a processor has, for whoever steps, judges or asks for the update.
    #[test]
    fn a_gpu_takes_the_same_step() {
        let shapes = [("w".to_owned(), vec![128, 64]), ("norm".to_owned(), vec![40])];
        let kernels = Kernels::new(Arc::new(Emulator::new()), Device::Cpu);
        let settings = [CompressConfig::demo(0.9, 64, 32), CompressConfig::sparse_loco(0.95, 64, 64)];
        for (settings, rule) in settings.into_iter().flat_map(|s| [(s.clone(), Rule::Sign), (s, Rule::Mean)])
        {
            let layout = Layout::new(&shapes, &settings, 1).unwrap();
            let sent = sent(&layout, &shapes);
            let peers: Vec<&[SparseTensor]> = sent.iter().map(Vec::as_slice).collect();
            let model = || {
                shapes.clone().map(|(name, shape)| {
                    let weights = Tensor::full(shaped(&shape), 0.3, (Kind::Float, Device::Cpu));
                    (name, weights.set_requires_grad(true))
                })
            };
            let same = |a: &[(String, Tensor)], b: &[(String, Tensor)]| {
                assert!(a.iter().zip(b).all(|((_, a), (_, b))| a.equal(b)), "{settings:?} {rule:?}");
            };
            let (here, there) = (model(), model());
            step(rule, &peers, &layout, &here, 0.07).unwrap();
            step_with(Some(&kernels), rule, &peers, &layout, &there, 0.07).unwrap();
            same(&here, &there);
            assert!(!here[0].1.equal(&model()[0].1));
            let (before, moved) = (model(), model().map(|(name, t)| (name, t.detach() + 7.0)));
            step_from_with(Some(&kernels), rule, &peers, &layout, [&before, &moved], 0.07).unwrap();
            same(&here, &moved);
            same(&before, &model());
            let (codec, updates) = (layout.codec(), aggregate(rule, &peers, &layout, Device::Cpu).unwrap());
            let aggregate = codec.aggregate(rule, &peers).unwrap();
            for (index, expected) in updates.iter().enumerate() {
                let found = update(Some(&kernels), &aggregate, index, &layout, Device::Cpu);
                assert!(found.equal(expected) && found.kind() == expected.kind(), "{settings:?} {rule:?}");
            }
            // The same update again, from weights that stay.
            for kernels in [None, Some(&kernels)] {
                let moved = model().map(|(name, t)| (name, t.detach() + 7.0));
                apply_from_with(kernels, [&before, &moved], &updates, 0.07);
                same(&here, &moved);
                let turned =
                    [("w".to_owned(), Tensor::full([64, 128], 7.0, (Kind::Float, Device::Cpu)).tr())];
                apply_from_with(kernels, [&before[..1], &turned], &updates, 0.07);
                assert_eq!(turned[0].1, here[0].1);
            }
            // Weights that do not lie in one piece take the processor's way, to the same numbers.
            let turned = [("w".to_owned(), Tensor::full([64, 128], 0.3, (Kind::Float, Device::Cpu)).tr())];
            step_with(Some(&kernels), rule, &peers, &layout, &turned, 0.07).unwrap();
            assert_eq!(turned[0].1, here[0].1);
        }
    }

    #[test]
    fn a_step_is_the_aggregate_applied() {
        let shapes = [("w".to_owned(), vec![128, 64]), ("norm".to_owned(), vec![40])];
        for settings in [CompressConfig::demo(0.9, 64, 32), CompressConfig::sparse_loco(0.95, 64, 64)] {
            let layout = Layout::new(&shapes, &settings, 1).unwrap();
            let sent = sent(&layout, &shapes);
            let peers: Vec<&[SparseTensor]> = sent.iter().map(Vec::as_slice).collect();
            for rule in [Rule::Sign, Rule::Mean] {
                let update = aggregate(rule, &peers, &layout, Device::Cpu).unwrap();
                assert_eq!(update[0].size(), [128, 64]);
                let kind = if rule == Rule::Sign { Kind::Int8 } else { Kind::Float };
                assert_eq!(update[1].kind(), kind);
                let model = || {
                    shapes.clone().map(|(name, shape)| {
                        (
                            name,
                            Tensor::full(shaped(&shape), 0.3, (Kind::Float, Device::Cpu))
                                .set_requires_grad(true),
                        )
                    })
                };
                let (one, other) = (model(), model());
                apply(&one, &update, 0.07);
                step(rule, &peers, &layout, &other, 0.07).unwrap();
                assert!(one.iter().zip(&other).all(|((_, a), (_, b))| a == b));
                assert_ne!(one[0].1, model()[0].1);
                let (from, other) = (model(), model().map(|(name, t)| (name, t.detach() + 7.0)));
                step_from(rule, &peers, &layout, &from, &other, 0.07).unwrap();
                assert!(one.iter().zip(&other).all(|((_, a), (_, b))| a == b));
                // One that does not lie as it is numbered takes the other way, to the same numbers.
                let turned =
                    [("w".to_owned(), Tensor::full([64, 128], 0.3, (Kind::Float, Device::Cpu)).tr())];
                step(rule, &peers, &layout, &turned, 0.07).unwrap();
                assert_eq!(turned[0].1, one[0].1);
            }
            assert_eq!(
                aggregate(Rule::Sign, &[], &layout, Device::Cpu).unwrap_err(),
                AggregateError::NoPeers
            );
        }
    }
}
