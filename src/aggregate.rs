//! The step that everybody takes: the run's [`crate::codec`] over a model's tensors.

use crate::{
    codec::{Aggregate, AggregateError, Rule},
    gradient::{Layout, SparseTensor},
    model::{floats_in_place, floats_in_place_mut, made},
};
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
    let aggregate = layout.codec().aggregate(rule, peers)?;
    Ok((0..layout.tensors().len()).map(|index| update(&aggregate, index, layout, device)).collect())
}

fn update(aggregate: &Aggregate<'_>, index: usize, layout: &Layout, device: Device) -> Tensor {
    let shape: Vec<i64> = layout.tensors()[index].shape.iter().map(|d| *d as i64).collect();
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

/// [`aggregate`] and [`apply`] at once: on a CPU the update is never whole in memory.
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
    let aggregate = layout.codec().aggregate(rule, peers)?;
    for (index, (name, parameter)) in parameters.iter().enumerate() {
        let mut here = parameter.detach();
        match floats_in_place_mut(&mut here) {
            Some(floats) => aggregate.step(index, floats, step as f32),
            None => {
                let update = update(&aggregate, index, layout, parameter.device());
                apply(&[(name.clone(), parameter.shallow_clone())], &[update], step);
            }
        }
    }
    Ok(())
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
    let aggregate = layout.codec().aggregate(rule, peers)?;
    for (index, ((name, parameter), (_, before))) in parameters.iter().zip(before).enumerate() {
        let (mut here, before) = (parameter.detach(), before.detach());
        match (floats_in_place_mut(&mut here), floats_in_place(&before)) {
            (Some(floats), Some(before)) => aggregate.step_from(index, before, floats, step as f32),
            _ => {
                let update = update(&aggregate, index, layout, parameter.device());
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
    use crate::{compress::ErrorFeedback, manifest::CompressConfig};

    #[test]
    fn a_step_is_the_aggregate_applied() {
        let shapes = [("w".to_owned(), vec![128, 64]), ("norm".to_owned(), vec![40])];
        for settings in [CompressConfig::demo(0.9, 64, 32), CompressConfig::sparse_loco(0.95, 64, 64)] {
            let layout = Layout::new(&shapes, &settings, 1).unwrap();
            tch::manual_seed(1);
            let sent: Vec<Vec<SparseTensor>> = (0..3)
                .map(|_| {
                    let gradients = shapes.clone().map(|(_, shape)| {
                        let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
                        Tensor::randn(&shape, (Kind::Float, Device::Cpu))
                    });
                    ErrorFeedback::new(&layout).encode(&gradients).unwrap()
                })
                .collect();
            let peers: Vec<&[SparseTensor]> = sent.iter().map(Vec::as_slice).collect();
            for rule in [Rule::Sign, Rule::Mean] {
                let update = aggregate(rule, &peers, &layout, Device::Cpu).unwrap();
                assert_eq!(update[0].size(), [128, 64]);
                let kind = if rule == Rule::Sign { Kind::Int8 } else { Kind::Float };
                assert_eq!(update[1].kind(), kind);
                let model = || {
                    shapes.clone().map(|(name, shape)| {
                        let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
                        (name, Tensor::full(&shape, 0.3, (Kind::Float, Device::Cpu)).set_requires_grad(true))
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
