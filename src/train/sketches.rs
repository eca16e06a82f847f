//! Sketches of the gradients of micro-batches: what a miner commits to while it trains, and what a validator computes again.

use super::{LocalStep, Models, TrainError, accumulate_while, mean_of};
use crate::{
    codec::sketch::{self, Sums},
    manifest::Precision,
    model::{Kernels, Llama, on_device, with_floats},
};
use tch::Tensor;

/// [`local_step_while`](super::local_step_while), and for each micro-batch the sketches of the gradient of its mean loss, a tensor each.
///
/// The gradient of one micro-batch is never there alone: a sketch is the difference of those of a device's sums after and before it, which
/// costs no memory, and one reading of the gradients a micro-batch.
///
/// # Errors
/// As [`local_step`](super::local_step).
pub fn sketched_step_while(
    mut models: Models<'_>,
    tokens: &Tensor,
    micro_batch: usize,
    seed: u64,
    go_on: impl FnMut() -> bool,
) -> Result<(LocalStep, Vec<Vec<Sums>>), TrainError> {
    let total = tokens.size().first().copied().unwrap_or(0);
    let (precision, devices) = (models.first().precision(), models.count());
    let each = |device: usize, model: &Llama, sums: &[Tensor]| {
        (device, of_gradients(model.kernels().as_ref(), sums, seed))
    };
    let (gradients, sequence_losses, seen) =
        accumulate_while(models, tokens, micro_batch, precision, go_on, each)?;
    let mut before: Vec<Option<Vec<Sums>>> = vec![None; devices];
    let mut own = |(sequences, (device, sums)): (usize, (usize, Vec<Sums>))| -> Vec<Sums> {
        // Each loss counts as one of all; what is committed to is the mean of the micro-batch.
        let factor = total as f64 / sequences as f64;
        let last = before[device].replace(sums.clone());
        let own = sums.iter().enumerate().map(|(tensor, sums)| {
            let last = last.as_ref().and_then(|last| last.get(tensor));
            std::array::from_fn(|bucket| (sums[bucket] - last.map_or(0.0, |sums| sums[bucket])) * factor)
        });
        own.collect()
    };
    let sketches = seen.into_iter().map(&mut own).collect();
    let loss = mean_of(&sequence_losses);
    Ok((LocalStep { gradients, loss, sequence_losses }, sketches))
}

/// The sketches of the gradient of the mean loss over `tokens` (`[sequences, length + 1]`), computed at once.
///
/// # Errors
/// As [`local_step`](super::local_step).
pub fn sketch(model: &mut Llama, tokens: &Tensor, seed: u64) -> Result<Vec<Sums>, TrainError> {
    let precision = model.precision();
    sketch_in(model, tokens, seed, precision)
}

/// [`sketch`] in another precision.
pub(crate) fn sketch_in(
    model: &mut Llama,
    tokens: &Tensor,
    seed: u64,
    precision: Precision,
) -> Result<Vec<Sums>, TrainError> {
    let all = tokens.size().first().map_or(0, |sequences| *sequences as usize);
    let each = |_: usize, model: &Llama, sums: &[Tensor]| of_gradients(model.kernels().as_ref(), sums, seed);
    let (.., mut seen) = accumulate_while(model.into(), tokens, all, precision, || true, each)?;
    Ok(seen.pop().map(|(_, sketches)| sketches).unwrap_or_default())
}

fn of_gradients(kernels: Option<&Kernels>, gradients: &[Tensor], seed: u64) -> Vec<Sums> {
    let host = || with_floats(gradients, |gradients| sketch::of_gradient(seed, gradients));
    on_device(kernels, |kernels| kernels.sketches(gradients, seed)).unwrap_or_else(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::emulator::Emulator,
        gauntlet::declared::{Spread, distance},
        manifest::ManifestFile,
        train::{self, local_step},
    };
    use std::sync::Arc;
    use tch::Device;

    const SEED: u64 = 11;
    const MICRO_BATCH: usize = 8;

    /// A small model that has begun to learn, and text of which every sequence is of another kind, as text is.
    struct Trained {
        model: Llama,
        tokens: Tensor,
    }

    impl Trained {
        fn new() -> Self {
            let mut config = ManifestFile::preset("local").unwrap().parsed.model;
            (config.hidden_size, config.intermediate_size, config.layers) = (32, 64, 2);
            let mut model = Llama::new(&config, 1, Device::Cpu);
            let sequence = |n: usize| -> Vec<u8> {
                let (start, step) = (n * 37 % 97, n * 11 % 7 + 1);
                (0..65).map(|i| (32 + (start + i * step + i * i * (n % 3)) % 90) as u8).collect()
            };
            let sequences: Vec<Vec<u8>> = (0..128).map(sequence).collect();
            let tokens = train::batch(&sequences, Device::Cpu).unwrap();
            for step in 0..20 {
                let part = tokens.narrow(0, step % 4 * 16 + 64, 16);
                let gradients = local_step(&mut model, &part, 16).unwrap().gradients;
                tch::no_grad(|| {
                    for ((_, weight), gradient) in model.parameters().iter().zip(&gradients) {
                        let _ = weight.shallow_clone().g_sub_(&(gradient.sign() * 2e-3));
                    }
                });
            }
            Self { model, tokens }
        }

        fn micro_batch(&self, number: i64) -> Tensor {
            self.tokens.narrow(0, number * MICRO_BATCH as i64, MICRO_BATCH as i64)
        }

        fn sketch(&mut self, number: i64) -> Vec<Sums> {
            let tokens = self.micro_batch(number);
            sketch(&mut self.model, &tokens, SEED).unwrap()
        }
    }

    #[test]
    fn what_a_miner_commits_to_is_what_a_validator_computes() {
        let mut trained = Trained::new();
        let tokens = trained.tokens.narrow(0, 0, 32);
        let (step, sketches) =
            sketched_step_while((&mut trained.model).into(), &tokens, MICRO_BATCH, SEED, || true).unwrap();
        let plain = local_step(&mut trained.model, &tokens, MICRO_BATCH).unwrap();
        assert!(step.gradients.iter().zip(&plain.gradients).all(|(a, b)| a.equal(b)), "training is the same");
        assert_eq!(sketches.len(), 4);
        let computed: Vec<_> = (0..4).map(|number| trained.sketch(number)).collect();
        let spread = Spread::of(&computed).unwrap();
        let sealed = |sketches: &[Sums]| {
            let bytes = sketch::seal(sketches);
            sketch::open(&bytes, sketches.len()).unwrap()
        };
        for (committed, computed) in sketches.iter().zip(&computed) {
            let off = distance(&sealed(committed), computed, &spread);
            assert!(off < 0.002, "{off}");
        }
        // Who stops early commits to what it did.
        let mut asked = 0;
        let go_on = || {
            asked += 1;
            asked < 3
        };
        let (early, sketches) =
            sketched_step_while((&mut trained.model).into(), &tokens, MICRO_BATCH, SEED, go_on).unwrap();
        assert_eq!((early.sequence_losses.len(), sketches.len()), (24, 3));
        assert!(distance(&sketches[2], &computed[2], &spread) < 0.002);
    }

    /// With a GPU's kernels, emulated: the processor's sketches, for miners and validators.
    #[test]
    fn a_gpu_computes_the_same_sketches() {
        let trained = Trained::new();
        let kernels = Kernels::new(Arc::new(Emulator::new()), Device::Cpu);
        // Gradients of a model, and a tensor that takes several blocks of threads.
        let mut tensors: Vec<Tensor> = trained.model.parameters().iter().map(|(_, t)| t.detach()).collect();
        tensors.push(Tensor::randn([3, 30_000], (tch::Kind::Float, Device::Cpu)));
        let there = kernels.sketches(&tensors, SEED).unwrap();
        let here = of_gradients(None, &tensors, SEED);
        for (there, here) in there.iter().flatten().zip(here.iter().flatten()) {
            assert!((there - here).abs() <= 1e-9 * here.abs().max(1.0), "{there} {here}");
        }
        // One that does not lie in one piece is read by the processor.
        tensors.push(tensors[0].tr());
        assert!(kernels.sketches(&tensors, SEED).is_err());
        assert_eq!(of_gradients(Some(&kernels), &tensors, SEED), of_gradients(None, &tensors, SEED));
    }

    /// The tolerance lies between what another precision does and what a lie does: the figures of `docs/gauntlet.md`.
    #[test]
    fn other_rounding_is_near_and_other_work_is_far() {
        let mut trained = Trained::new();
        let computed: Vec<_> = (0..8).map(|number| trained.sketch(number)).collect();
        let spread = Spread::of(&computed).unwrap();
        let far = |claimed: &[Sums], number: usize| distance(claimed, &computed[number], &spread);
        let mut worst: [f64; 2] = [0.0; 2];
        let mut least = [f64::INFINITY; 5];
        for number in 0..8usize {
            let tokens = trained.micro_batch(number as i64);
            let model = &mut trained.model;
            let bf16 = sketch_in(model, &tokens, SEED, Precision::Bf16).unwrap();
            worst[0] = worst[0].max(far(&bf16, number));
            let (_, parts) = sketched_step_while((&mut *model).into(), &tokens, 1, SEED, || true).unwrap();
            let mut whole = vec![[0.0; sketch::BUCKETS]; computed[0].len()];
            for part in &parts {
                for (sums, part) in whole.iter_mut().zip(part) {
                    sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part / MICRO_BATCH as f64);
                }
            }
            worst[1] = worst[1].max(far(&whole, number));

            let one_left_out = sketch(model, &tokens.narrow(0, 1, 7), SEED).unwrap();
            let fewer_tokens = sketch(model, &tokens.narrow(1, 0, 57), SEED).unwrap();
            let other_data = &computed[(number + 1) % 8];
            let others: Vec<usize> = (0..8).filter(|other| *other != number).collect();
            let mean: Vec<Sums> = (0..whole.len())
                .map(|tensor| {
                    let at = |bucket: usize| {
                        others.iter().map(|other| computed[*other][tensor][bucket]).sum::<f64>() / 7.0
                    };
                    std::array::from_fn(at)
                })
                .collect();
            // Another seed: the sketch of a window before.
            let old = sketch(model, &tokens, SEED + 1).unwrap();
            let lies = [&one_left_out, &fewer_tokens, other_data, &mean, &old];
            for (least, lie) in least.iter_mut().zip(lies) {
                *least = least.min(far(lie, number));
            }
        }
        println!("bf16 {:.4}, one by one {:.5}", worst[0], worst[1]);
        println!("one of 8 left out {:.3}, 56 of 64 tokens {:.3}", least[0], least[1]);
        println!("other data {:.3}, the mean {:.3}, another seed {:.3}", least[2], least[3], least[4]);
        assert!(worst[0] < 0.05 && worst[1] < 0.002, "{worst:?}");
        assert!(least.iter().all(|least| *least > 0.1), "{least:?}");
        assert!(least[2..].iter().all(|least| *least > 0.4), "{least:?}");
        // A model one step old.
        tch::no_grad(|| {
            for (_, weight) in trained.model.parameters() {
                let _ = weight.shallow_clone().g_mul_scalar_(0.98);
            }
        });
        let old =
            (0..8).map(|number| far(&trained.sketch(number as i64), number)).fold(f64::INFINITY, f64::min);
        println!("other weights {old:.3}");
        assert!(old > 0.1, "{old}");
    }
}
