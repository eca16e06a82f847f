use super::*;
use crate::{
    device::emulator::Emulator,
    manifest::{ManifestFile, ModelConfig, Precision},
    model::ModelError,
};
use std::{collections::BTreeMap, sync::Arc};
use tch::Kind;

fn tiny() -> ModelConfig {
    let config = ManifestFile::preset("local").unwrap().parsed.model;
    ModelConfig {
        vocab_size: 64,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 2,
        initial_std: 0.1,
        ..config
    }
}

fn config() -> InnerConfig {
    InnerConfig {
        steps: 3,
        learning_rate: 3e-3,
        warmup_steps: 2,
        decay_steps: 20,
        floor: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        clip_norm: 1.0,
        precision: Precision::F32,
    }
}

/// Tokens of a round's three steps, four sequences each.
fn tokens(round: i64) -> Vec<Tensor> {
    let step = |step: i64| {
        let numbers = Tensor::arange(4 * 17, (Kind::Int64, Device::Cpu)) * (37 + round) + 11 * step;
        numbers.square().remainder(61).view([4, 17])
    };
    (0..3).map(step).collect()
}

fn bits(tensors: &[Tensor]) -> Vec<u32> {
    tensors.iter().flat_map(floats).map(f32::to_bits).collect()
}

fn moments(optimizer: &InnerOptimizer) -> Vec<u32> {
    let both = |m: &Moments| [m.first.shallow_clone(), m.second.shallow_clone()];
    bits(&optimizer.moments.iter().flat_map(both).collect::<Vec<_>>())
}

#[test]
fn weights_come_back_and_moments_stay() {
    let mut model = Llama::new(&tiny(), 1, Device::Cpu);
    let before = model.hash();
    let mut optimizer = InnerOptimizer::new(&model, &config());
    let first = optimizer.run(&mut model, &tokens(0), 2, 0).unwrap();
    assert_eq!(model.hash(), before);
    assert_eq!((optimizer.steps(), first.losses.len(), first.deltas.len()), (3, 3, model.parameters().len()));
    for ((name, weight), delta) in model.parameters().iter().zip(&first.deltas) {
        assert_eq!((delta.size(), delta.kind(), delta.requires_grad()), (weight.size(), Kind::Float, false));
        assert!(floats(&delta.abs().max())[0] > 0.0, "{name}");
    }
    // The same work again is another way, for moments and rate have gone on.
    let second = optimizer.run(&mut model, &tokens(0), 2, 1).unwrap();
    assert_eq!((model.hash(), optimizer.steps()), (before, 6));
    assert_ne!(bits(&first.deltas), bits(&second.deltas));
    // The first loss is that of the weights which both began from.
    assert_eq!(first.losses[0], second.losses[0]);
    let mean = second.losses.iter().sum::<f64>() / 3.0;
    assert!((second.loss() - mean).abs() < 1e-12);
}

#[test]
fn steps_make_the_loss_smaller() {
    let mut model = Llama::new(&tiny(), 2, Device::Cpu);
    let mut optimizer = InnerOptimizer::new(&model, &InnerConfig { warmup_steps: 0, ..config() });
    let same: Vec<Tensor> = (0..12).map(|_| tokens(0)[0].shallow_clone()).collect();
    let losses = optimizer.run(&mut model, &same, 4, 0).unwrap().losses;
    assert!(losses[11] < losses[0] - 0.3, "{losses:?}");
}

#[test]
fn a_step_is_its_formula() {
    let mut model = Llama::new(&tiny(), 3, Device::Cpu);
    let config = config();
    let step = crate::train::local_step(&mut model, &tokens(0)[0], 4).unwrap();
    let norm = step.gradients.iter().flat_map(floats).map(|g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    // Epsilon as large as gradients are, so that their length, and with it the clipping, can be seen.
    let config = InnerConfig { epsilon: 1e-2, ..config };
    for clip_norm in [0.0, norm / 2.0, norm * 2.0] {
        let config = InnerConfig { clip_norm, ..config.clone() };
        let mut optimizer = InnerOptimizer::new(&model, &config);
        let inner = optimizer.run(&mut model, &tokens(0)[..1], 4, 2).unwrap();
        let scale = if clip_norm > 0.0 { (clip_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        // The first step of the run's third round: the rate is that of step 6.
        let rate = config.rate(6);
        for (((name, weight), gradient), delta) in
            model.parameters().iter().zip(&step.gradients).zip(&inner.deltas)
        {
            for ((theta, g), delta) in floats(weight).into_iter().zip(floats(gradient)).zip(floats(delta)) {
                let (theta, g) = (f64::from(theta), f64::from(g) * scale);
                // After one step both moments, corrected, are the gradient and its square.
                let expected = rate * config.weight_decay * theta + rate * g / (g.abs() + config.epsilon);
                let slack = 2e-7 * (1.0 + theta.abs()) + 1e-4 * expected.abs();
                assert!((f64::from(delta) - expected).abs() < slack, "{name}: {delta} {expected} {g}");
            }
        }
    }
}

/// With a GPU's kernels, emulated: the same steps by the same gradients, clipped alike.
#[test]
fn a_gpu_takes_the_same_steps() {
    let norm = |t: &Tensor| f64::try_from(t.norm()).unwrap();
    let mut model = Llama::new(&ModelConfig { layers: 1, ..tiny() }, 3, Device::Cpu);
    let gradients = crate::train::local_step(&mut model, &tokens(0)[0], 4).unwrap().gradients;
    let start = model.snapshot();
    for clip_norm in [0.0, 0.05] {
        let config = InnerConfig { clip_norm, ..config() };
        let step = |emulated: bool| {
            let mut model = Llama::new(model.config(), 3, Device::Cpu);
            if emulated {
                model.run_kernels(Arc::new(Emulator::new()));
            }
            let mut optimizer = InnerOptimizer::new(&model, &config);
            (0..2).for_each(|at| optimizer.apply(&model, &gradients, 5 + at).unwrap());
            let way = |((_, end), start): (&(String, Tensor), &Tensor)| start - end.detach();
            let ways: Vec<Tensor> = model.parameters().iter().zip(start.tensors()).map(way).collect();
            let broken: Vec<Tensor> = gradients.iter().map(|t| t.full_like(f64::INFINITY)).collect();
            let (hash, steps) = (model.hash(), optimizer.steps());
            let refused = optimizer.apply(&model, &broken, 9);
            assert!(matches!(refused, Err(TrainError::NotFiniteGradient { step: 9 })));
            assert_eq!((model.hash(), optimizer.steps()), (hash, steps), "nothing was changed");
            (ways, optimizer)
        };
        let ((here, optimizer), (there, other)) = (step(false), step(true));
        for (here, there) in here.iter().zip(&there) {
            let off = norm(&(here - there)) / norm(here);
            assert!(off < 1e-3, "{off}, clipped at {clip_norm}");
        }
        for (here, there) in optimizer.moments.iter().zip(&other.moments) {
            for (here, there) in [(&here.first, &there.first), (&here.second, &there.second)] {
                assert!(norm(&(here - there)) < 1e-4 * norm(here), "clipped at {clip_norm}");
            }
        }
    }
}

#[test]
fn micro_batches_add_up_inside_a_step() {
    let mut model = Llama::new(&tiny(), 4, Device::Cpu);
    let mut run = |micro_batch| {
        InnerOptimizer::new(&model, &config()).run(&mut model, &tokens(0), micro_batch, 0).unwrap()
    };
    let (whole, parts) = (run(4), run(3));
    for (a, b) in whole.losses.iter().zip(&parts.losses) {
        assert!((a - b).abs() < 1e-5);
    }
    let all = |inner: &Inner| Tensor::cat(&inner.deltas.iter().map(|d| d.view([-1])).collect::<Vec<_>>(), 0);
    let error = floats(&((all(&whole) - all(&parts)).norm() / all(&whole).norm()))[0];
    assert!(error < 1e-3, "{error}");
    assert_eq!(bits(&run(2).deltas), bits(&run(2).deltas));
}

#[test]
fn damage_changes_nothing() {
    let mut model = Llama::new(&tiny(), 5, Device::Cpu);
    let mut optimizer = InnerOptimizer::new(&model, &config());
    optimizer.run(&mut model, &tokens(0), 4, 0).unwrap();
    let (weights, before) = (model.hash(), moments(&optimizer));
    // The second step's sequences are missing, when the first step is done.
    let mut damaged = tokens(1);
    damaged[1] = damaged[1].narrow(0, 0, 0);
    assert_eq!(optimizer.run(&mut model, &damaged, 4, 1).unwrap_err(), TrainError::NoSequences);
    assert_eq!(optimizer.run(&mut model, &[], 4, 1).unwrap_err(), TrainError::NoSequences);
    assert_eq!((model.hash(), moments(&optimizer), optimizer.steps()), (weights, before.clone(), 3));
    // Steps that throw the weights far away: loss or gradients end as no numbers.
    optimizer.config = InnerConfig { learning_rate: 1e30, weight_decay: 0.0, warmup_steps: 0, ..config() };
    let error = optimizer.run(&mut model, &tokens(1), 4, 0).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite | TrainError::NotFiniteGradient { .. }), "{error}");
    assert_eq!((model.hash(), moments(&optimizer), optimizer.steps()), (weights, before, 3));
    let numbers = |last| [Tensor::from_slice(&[3.0f32]), Tensor::from_slice(&[last])];
    assert!((optimizer.clip(None, &numbers(4.0)).unwrap() - 0.2).abs() < 1e-6);
    assert_eq!([f32::NAN, f32::INFINITY].map(|last| optimizer.clip(None, &numbers(last))), [None, None]);
    let mut other = Llama::new(&ModelConfig { layers: 1, ..tiny() }, 5, Device::Cpu);
    assert_eq!(optimizer.run(&mut other, &tokens(1), 4, 1).unwrap_err(), TrainError::OtherModel);
}

#[test]
fn a_restart_between_rounds_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inner.safetensors");
    let mut model = Llama::new(&tiny(), 6, Device::Cpu);
    let mut optimizer = InnerOptimizer::new(&model, &config());
    optimizer.run(&mut model, &tokens(0), 2, 0).unwrap();
    let window = ("window".to_owned(), "12".to_owned());
    let note = BTreeMap::from([window.clone(), ("steps".to_owned(), "9".to_owned())]);
    optimizer.save(&path, &note).unwrap();
    let (mut again, read) = InnerOptimizer::load(&model, &config(), &path).unwrap();
    assert_eq!((read, again.steps()), (BTreeMap::from([window]), 3));
    let on = optimizer.run(&mut model, &tokens(1), 2, 1).unwrap();
    let restarted = again.run(&mut model, &tokens(1), 2, 1).unwrap();
    assert_eq!((bits(&restarted.deltas), restarted.losses), (bits(&on.deltas), on.losses));
    assert_eq!((moments(&again), again.steps()), (moments(&optimizer), 6));
}

#[test]
fn another_models_or_versions_state_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inner.safetensors");
    let model = Llama::new(&tiny(), 7, Device::Cpu);
    let refused = |model: &Llama| InnerOptimizer::load(model, &config(), &path).unwrap_err();
    assert!(matches!(refused(&model), ModelError::Disk { .. }));
    InnerOptimizer::new(&model, &config()).save(&path, &BTreeMap::new()).unwrap();
    let wide = Llama::new(&ModelConfig { intermediate_size: 64, ..tiny() }, 7, Device::Cpu);
    assert!(matches!(refused(&wide), ModelError::OtherModel { .. }));
    let whole = std::fs::read(&path).unwrap();
    let version = whole.windows(11).position(|w| w == b"optimizer 1").unwrap() + 10;
    let mut other = whole.clone();
    other[version] = b'2';
    std::fs::write(&path, &other).unwrap();
    let sentence = refused(&model).to_string();
    assert!(sentence.contains("it has `templar inner optimizer 2`"), "{sentence}");
    std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    assert!(matches!(refused(&model), ModelError::Format { .. }));
}

#[test]
fn bfloat16_goes_almost_the_same_way() {
    let mut model = Llama::new(&tiny(), 8, Device::Cpu);
    let before = model.hash();
    let mut run = |precision| {
        let config = InnerConfig { precision, ..config() };
        InnerOptimizer::new(&model, &config).run(&mut model, &tokens(0), 2, 0).unwrap()
    };
    let (full, half) = (run(Precision::F32), run(Precision::Bf16));
    assert!(half.deltas.iter().all(|d| d.kind() == Kind::Float));
    for (a, b) in full.losses.iter().zip(&half.losses) {
        assert!((a / b - 1.0).abs() < 1e-2 && a != b, "{a} {b}");
    }
    assert_eq!(model.hash(), before);
}
