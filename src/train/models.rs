//! One model, or copies of it on several devices, each of which takes a micro-batch at a time.

use crate::{device, manifest::Precision, model::Llama};
use std::panic::resume_unwind;
use tch::Tensor;
use templar_kernels::KernelError;

/// Models of one shape and one set of weights. What is trained is the first; the others help it.
///
/// Of the micro-batches in a row each device takes one, at the same time, and the next row begins when all are done: the work of a window
/// that ends early is the first micro-batches of it, as on one device. Gradients are summed on each device and then over them, in their
/// order: for one number of devices the same bits each time, and other last bits than for another number.
#[derive(Debug)]
pub struct Models<'a> {
    first: &'a mut Llama,
    others: &'a mut [Llama],
}

impl<'a> From<&'a mut Llama> for Models<'a> {
    fn from(first: &'a mut Llama) -> Self {
        Self { first, others: &mut [] }
    }
}

/// What a micro-batch left: the losses of its sequences, and what `each` made of the sums after it.
pub(super) type Done<T> = (Vec<f32>, T);

impl<'a> Models<'a> {
    /// A model and others, which take its weights.
    pub fn new(first: &'a mut Llama, others: &'a mut [Llama]) -> Self {
        let mut models = Self { first, others };
        models.share();
        models
    }

    /// The same, for a shorter time.
    pub fn reborrow(&mut self) -> Models<'_> {
        Models { first: self.first, others: self.others }
    }

    /// What is trained.
    pub fn first(&mut self) -> &mut Llama {
        self.first
    }

    /// The others take the first one's weights.
    pub(super) fn share(&mut self) {
        self.others.iter_mut().for_each(|other| other.take(self.first));
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Gradients that nothing was added to yet, for each model.
    pub(super) fn zeros(&self) -> Vec<Vec<Tensor>> {
        let zeros = |model: &Llama| -> Vec<Tensor> {
            model.parameters().iter().map(|(_, weight)| weight.detach().zeros_like()).collect()
        };
        std::iter::once(&*self.first).chain(&*self.others).map(zeros).collect()
    }

    /// One micro-batch on each model, or on the first so many as there are parts: gradients of the sum of losses times `weight` are added to
    /// the model's `sums`, of which `each` sees the number of the model, the model and the sums.
    pub(super) fn row<T: Send>(
        &mut self,
        parts: &[Tensor],
        precision: Precision,
        weight: f64,
        sums: &mut [Vec<Tensor>],
        each: impl Fn(usize, &Llama, &[Tensor]) -> T + Sync,
    ) -> Result<Vec<Done<T>>, KernelError> {
        let work = |at: usize, model: &mut Llama, part: Tensor, sums: &mut Vec<Tensor>| {
            let losses = model.accumulate(&part.to_device(model.device()), precision, weight, sums)?;
            let seen = each(at, model, sums);
            Ok((losses, seen))
        };
        let (Some(part), Some((own, rest))) = (parts.first(), sums.split_first_mut()) else {
            return Ok(Vec::new());
        };
        let threads = device::threads();
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..)
                .zip(&mut *self.others)
                .zip(parts.iter().skip(1).zip(rest))
                .map(|((at, model), (part, sums))| {
                    let (part, work) = (part.shallow_clone(), &work);
                    scope.spawn(move || {
                        device::set_threads(threads);
                        work(at, model, part, sums)
                    })
                })
                .collect();
            let mut done = vec![work(0, self.first, part.shallow_clone(), own)?];
            for helper in helpers {
                done.push(helper.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok(done)
        })
    }
}

/// The sums of all models, on the first one's device.
pub(super) fn together(sums: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    let mut models = sums.into_iter();
    let mut all = models.next().unwrap_or_default();
    for other in models {
        for (sum, part) in all.iter_mut().zip(&other) {
            let _ = sum.g_add_(&part.to_device(sum.device()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        manifest::{InnerConfig, ManifestFile},
        train::{inner::InnerOptimizer, local_step, local_step_while, sketches::sketched_step_while},
    };
    use tch::{Device, Kind};

    const SEED: u64 = 3;

    fn model(seed: u64) -> Llama {
        let mut config = ManifestFile::preset("local").unwrap().parsed.model;
        (config.hidden_size, config.intermediate_size, config.layers) = (32, 32, 2);
        Llama::new(&config, seed, Device::Cpu)
    }

    fn tokens(count: i64) -> Tensor {
        let numbers = Tensor::arange(count * 17, (Kind::Int64, Device::Cpu));
        (numbers.square() * 37).remainder(251).view([count, 17])
    }

    /// Models of other weights than the first: what helps takes them.
    fn others(count: u64) -> Vec<Llama> {
        (0..count).map(|seed| model(seed + 10)).collect()
    }

    fn near(a: &[Tensor], b: &[Tensor]) {
        for (a, b) in a.iter().zip(b) {
            assert!(a.allclose(b, 1e-4, 1e-6, false));
        }
    }

    #[test]
    fn several_devices_do_what_one_does() {
        let (mut first, tokens) = (model(1), tokens(14));
        let before = first.hash();
        // Seven micro-batches: rows of two and three, the last of which is not whole.
        let (alone, sketches) = sketched_step_while((&mut first).into(), &tokens, 2, SEED, || true).unwrap();
        for count in [1, 2] {
            let mut others = others(count);
            let mut step = || {
                let models = Models::new(&mut first, &mut others);
                sketched_step_while(models, &tokens, 2, SEED, || true).unwrap()
            };
            let ((shared, own), (again, _)) = (step(), step());
            assert_eq!(shared.sequence_losses, alone.sequence_losses);
            near(&shared.gradients, &alone.gradients);
            assert!(shared.gradients.iter().zip(&again.gradients).all(|(a, b)| a.equal(b)), "the same bits");
            assert_eq!(own.len(), 7);
            for (own, expected) in own.iter().flatten().flatten().zip(sketches.iter().flatten().flatten()) {
                assert!((own - expected).abs() < 1e-5, "{own} {expected}");
            }
            assert!(others.iter().all(|other| other.hash() == before));
        }
        assert_eq!(first.hash(), before);
    }

    #[test]
    fn work_that_ends_early_is_the_first_of_it() {
        let (mut first, mut others, tokens) = (model(1), others(1), tokens(12));
        let mut asked = 0;
        let go_on = || {
            asked += 1;
            asked < 2
        };
        let models = Models::new(&mut first, &mut others);
        let early = local_step_while(models, &tokens, 2, go_on).unwrap();
        assert_eq!(early.sequence_losses.len(), 8, "two rows of two micro-batches of two");
        let same = local_step(&mut first, &tokens.narrow(0, 0, 8), 2).unwrap();
        assert_eq!(early.sequence_losses, same.sequence_losses);
        near(&early.gradients, &same.gradients);
    }

    #[test]
    fn inner_steps_are_taken_by_all() {
        let config = InnerConfig {
            steps: 3,
            learning_rate: 1e-3,
            warmup_steps: 0,
            decay_steps: 10,
            floor: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            // Large, so that rounding does not decide a step's direction.
            epsilon: 1e-3,
            weight_decay: 0.1,
            clip_norm: 1.0,
            precision: Precision::F32,
        };
        let steps: Vec<Tensor> = (0..3).map(|step| tokens(8) + step).collect();
        let mut first = model(1);
        let before = first.hash();
        let mut run = |others: &mut [Llama]| {
            let mut optimizer = InnerOptimizer::new(&first, &config);
            let models = Models::new(&mut first, others);
            optimizer.run_while(models, &steps, 2, 0, || true).unwrap()
        };
        let (alone, shared) = (run(&mut []), run(&mut others(1)));
        near(&shared.deltas, &alone.deltas);
        assert!(shared.losses.iter().zip(&alone.losses).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_eq!(first.hash(), before);
    }

    #[test]
    fn what_one_device_cannot_do_is_said() {
        let (mut first, mut others) = (model(1), others(1));
        let _ = tch::no_grad(|| first.parameters()[0].1.shallow_clone().fill_(f64::NAN));
        let models = Models::new(&mut first, &mut others);
        let refused = local_step_while(models, &tokens(4), 2, || true).unwrap_err();
        assert_eq!(refused, crate::train::TrainError::NotFinite);
    }
}
