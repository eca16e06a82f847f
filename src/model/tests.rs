use super::*;
use crate::{device::emulator, manifest::ManifestFile, train};

fn tiny() -> ModelConfig {
    ModelConfig {
        vocab_size: 64,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        sequence_length: 16,
        rope_theta: 10000.0,
        rope_scaling: None,
        norm_epsilon: 1e-6,
        tied: false,
        initial_std: 0.2,
    }
}

fn tokens(count: i64, length: i64) -> Tensor {
    (Tensor::arange(count * length, (Kind::Int64, Device::Cpu)) * 37).remainder(61).view([count, length])
}

#[test]
fn templar_1_has_its_parameters() {
    let config = ManifestFile::preset("templar-1").unwrap().parsed.model;
    assert_eq!(parameter_count(&config), 1_204_881_408);
    let tied = ModelConfig { tied: true, ..config };
    assert_eq!(parameter_count(&tied), 1_204_881_408 - 32000 * 2048);
}

#[test]
fn templar_1_builds() {
    let mut config = ManifestFile::preset("templar-1").unwrap().parsed.model;
    let expected = if std::env::var_os("TEMPLAR_FULL_TESTS").is_some() {
        1_204_881_408
    } else {
        // One block of the real width, without the real vocabulary.
        (config.layers, config.vocab_size) = (1, 256);
        2 * 256 * 2048 + 67_112_960 + 2048
    };
    let model = Llama::new(&config, 42, Device::Cpu);
    assert_eq!(model.parameters().iter().map(|(_, t)| t.numel()).sum::<usize>(), expected);
    let loss = tch::no_grad(|| floats(&model.losses(&tokens(1, 33))));
    // Untrained, it knows nothing: the loss is near the logarithm of the vocabulary.
    assert!((f64::from(loss[0]) - (config.vocab_size as f64).ln()).abs() < 1.0, "{loss:?}");
}

#[test]
fn a_seed_gives_one_model_and_the_hash_sees_every_bit() {
    let mut model = Llama::new(&tiny(), 1, Device::Cpu);
    assert_eq!(model.hash(), Llama::new(&tiny(), 1, Device::Cpu).hash());
    assert_ne!(model.hash(), Llama::new(&tiny(), 2, Device::Cpu).hash());
    let saved = model.snapshot();
    let before = model.hash();
    let _ = tch::no_grad(|| model.parameters().last().unwrap().1.narrow(0, 63, 1).narrow(1, 31, 1).neg_());
    assert_ne!(model.hash(), before);
    model.restore(&saved);
    assert_eq!(model.hash(), before);
}

#[test]
fn a_saved_model_is_the_same_and_another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = Llama::new(&tiny(), 3, Device::Cpu);
    let note = BTreeMap::from([("window".to_owned(), "12".to_owned())]);
    model.save(&path, &note).unwrap();
    let (read, found) = Llama::load(&tiny(), &path, Device::Cpu).unwrap();
    assert_eq!((read.hash(), found), (model.hash(), note));
    // It is what the safetensors crate calls a safetensors file.
    let bytes = std::fs::read(&path).unwrap();
    let other = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(other.tensor("lm_head.weight").unwrap().shape(), [64, 32]);
    let refused = |config: &ModelConfig| Llama::load(config, &path, Device::Cpu).unwrap_err();
    let wide = ModelConfig { intermediate_size: 64, ..tiny() };
    assert!(matches!(refused(&wide), ModelError::OtherModel { .. }));
    assert!(matches!(refused(&ModelConfig { tied: true, ..tiny() }), ModelError::OtherModel { .. }));
    for damaged in
        [&bytes[..bytes.len() - 1], &bytes[..100], &bytes[..4], &[255; 64], &[&bytes[..], &[0]].concat()]
    {
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(refused(&tiny()), ModelError::Format { .. }), "{}", damaged.len());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(refused(&tiny()), ModelError::Disk { .. }));
}

#[test]
fn the_loss_of_a_sequence_is_its_own() {
    let model = Llama::new(&tiny(), 4, Device::Cpu);
    let tokens = tokens(5, 17);
    let together = model.sequence_losses(&tokens, 5).unwrap();
    assert_eq!(together.len(), 5);
    for (alone, together) in model.sequence_losses(&tokens, 1).unwrap().iter().zip(&together) {
        assert!((alone - together).abs() < 1e-5);
    }
    // Longer than the training length works too, and the past does not see the future.
    let long = Tensor::arange(24, (Kind::Int64, Device::Cpu)).view([1, 24]);
    let whole = tch::no_grad(|| model.logits(&long));
    let part = tch::no_grad(|| model.logits(&long.narrow(1, 0, 9)));
    let difference = floats(&(whole.narrow(1, 0, 9) - part).abs().max())[0];
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn a_shown_value_is_the_models_own() {
    let model = Llama::new(&tiny(), 5, Device::Cpu);
    let hotkey = AccountId32::new([7; 32]);
    let shown = model.samples(&[1; 32], &hotkey, 9, 3);
    assert_eq!(shown.len(), 3 * model.parameters().len());
    let (index, tensor) = (4, &model.parameters()[4].1);
    let positions = model_samples(&[1; 32], &hotkey, 9, index, tensor.numel(), 3);
    let values = floats(tensor);
    let expected: Vec<f32> = positions.iter().map(|p| values[*p]).collect();
    assert_eq!(shown[3 * index..3 * index + 3], expected);
    assert_ne!(shown, model.samples(&[1; 32], &hotkey, 10, 3));
}

#[test]
fn gradients_do_not_depend_on_the_micro_batch_and_are_repeated_bit_for_bit() {
    let mut model = Llama::new(&tiny(), 6, Device::Cpu);
    let tokens = tokens(6, 17);
    let whole = train::local_step(&mut model, &tokens, 6).unwrap();
    let again = train::local_step(&mut model, &tokens, 6).unwrap();
    let parts = train::local_step(&mut model, &tokens, 4).unwrap();
    assert!((whole.loss - parts.loss).abs() < 1e-5);
    for ((a, b), c) in whole.gradients.iter().zip(&again.gradients).zip(&parts.gradients) {
        assert_eq!(floats(a), floats(b));
        let scale = floats(&a.abs().max())[0];
        assert!(floats(&(a - c).abs().max())[0] <= scale * 1e-4);
    }
    assert_eq!(model.hash(), Llama::new(&tiny(), 6, Device::Cpu).hash());
}

#[test]
fn a_gradient_is_the_slope_of_the_loss() {
    let mut model = Llama::new(&tiny(), 7, Device::Cpu);
    let tokens = tokens(4, 17);
    let step = train::local_step(&mut model, &tokens, 4).unwrap();
    let squares: f64 = step.gradients.iter().flat_map(floats).map(|v| f64::from(v).powi(2)).sum();
    let scale = 1e-3 / squares.sqrt();
    let mut moved = |factor: f64| {
        let saved = model.snapshot();
        tch::no_grad(|| {
            for ((_, p), g) in model.parameters().iter().zip(&step.gradients) {
                let _ = p.shallow_clone().g_add_(&(g * factor));
            }
        });
        let losses = model.sequence_losses(&tokens, 4).unwrap();
        model.restore(&saved);
        losses.iter().map(|l| f64::from(*l)).sum::<f64>() / 4.0
    };
    let slope = (moved(scale) - moved(-scale)) / (2.0 * scale);
    assert!((slope / squares - 1.0).abs() < 0.01, "{slope} {squares}");
}

/// Gradients of both ways, and the losses.
fn both_ways(model: &Llama, tokens: &Tensor) -> [(Vec<f32>, Vec<Tensor>); 2] {
    let zeros = || model.parameters().iter().map(|(_, t)| t.detach().zeros_like()).collect::<Vec<_>>();
    let (mut ours, mut autograds) = (zeros(), zeros());
    let ours_losses = model.accumulate(tokens, Precision::F32, 0.5, &mut ours).unwrap();
    let losses = model.accumulate_by_autograd(tokens, Precision::F32, 0.5, &mut autograds);
    [(ours_losses, ours), (losses, autograds)]
}

#[test]
fn the_backward_is_autograds() {
    let shapes = [
        tiny(),
        ModelConfig { tied: true, layers: 1, ..tiny() },
        ModelConfig { kv_heads: 4, layers: 3, hidden_size: 40, ..tiny() },
        ModelConfig { kv_heads: 1, layers: 0, ..tiny() },
        ModelConfig { vocab_size: 70_001, intermediate_size: 70, ..tiny() },
    ];
    for config in shapes {
        let model = Llama::new(&config, 7, Device::Cpu);
        // Longer than the model's usual length too, and of one token.
        for (count, length) in [(3, 17), (5, 2), (2, 41), (140, 3)] {
            let tokens = tokens(count, length);
            let [(losses, ours), (expected, autograds)] = both_ways(&model, &tokens);
            for (ours, expected) in losses.iter().zip(&expected) {
                assert!((ours - expected).abs() < 2e-5, "{ours} {expected}");
            }
            let norm = |t: &Tensor| f64::try_from(t.norm()).unwrap();
            let all = autograds.iter().map(norm).fold(0.0, f64::max);
            for ((ours, expected), (name, _)) in ours.iter().zip(&autograds).zip(model.parameters()) {
                let (off, length) = (norm(&(ours - expected)), norm(expected));
                // Of one token the gradient of queries is 0, and what is seen are roundings.
                assert!(off <= 1e-5 * length + 1e-6 * all, "{name}: {off} of {length} and {all}, {config:?}");
            }
            let alone = model.sequence_losses(&tokens, count as usize).unwrap();
            for (alone, losses) in alone.iter().zip(&losses) {
                assert!((alone - losses).abs() < 1e-5, "{alone} {losses}");
            }
        }
    }
}

/// A GPU's pass, with its kernels emulated: float32 as autograd has it, bf16 near it.
#[test]
fn a_pass_with_kernels_is_autograds() {
    let shapes = [
        ModelConfig { intermediate_size: 72, ..tiny() },
        ModelConfig { tied: true, layers: 1, kv_heads: 4, hidden_size: 40, ..tiny() },
        ModelConfig { layers: 0, ..tiny() },
    ];
    for config in shapes {
        let mut model = Llama::new(&config, 7, Device::Cpu);
        let tokens = tokens(3, 17);
        let [_, (expected, autograds)] = both_ways(&model, &tokens);
        model.run_kernels(Arc::new(emulator::Emulator::new()));
        let norm = |t: &Tensor| f64::try_from(t.norm()).unwrap();
        let all = autograds.iter().map(norm).fold(0.0, f64::max);
        for (precision, bound) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.03)] {
            let mut sums: Vec<Tensor> =
                model.parameters().iter().map(|(_, t)| t.detach().zeros_like()).collect();
            // Twice, in the same memory.
            for _ in 0..2 {
                sums.iter_mut().for_each(|sum| drop(sum.zero_()));
                let losses = model.accumulate(&tokens, precision, 0.5, &mut sums).unwrap();
                for (found, expected) in losses.iter().zip(&expected) {
                    assert!(f64::from((found - expected).abs()) < bound, "{found} {expected}, {precision:?}");
                }
                for ((ours, expected), (name, _)) in sums.iter().zip(&autograds).zip(model.parameters()) {
                    let (off, length) = (norm(&(ours - expected)), norm(expected));
                    assert!(
                        off <= bound * length + bound / 10.0 * all,
                        "{name}: {off} of {length}, {precision:?}"
                    );
                }
            }
        }
        let alone = model.sequence_losses(&tokens, 2).unwrap();
        for (alone, expected) in alone.iter().zip(&expected) {
            assert!((alone - expected).abs() < 1e-4, "{alone} {expected}");
        }
    }
}

/// Bytes on a GPU in training, of sequences of the model's length: weights and gradients, weights as products read them, and what a pass
/// leaves for its backward. Norms' factors, losses and libtorch's own rooms are small beside them.
fn planned(config: &ModelConfig, sequences: i64, again: bool) -> [i64; 3] {
    let (rows, hidden, wide) =
        (sequences * config.sequence_length, config.hidden_size, config.intermediate_size);
    let narrow = hidden / config.heads * config.kv_heads;
    let parameters = parameter_count(config) as i64;
    let norms = hidden * (2 * config.layers + 1);
    // The residual stream twice in float32; queries, keys, values, gate and up in bf16.
    let block = rows * (8 * hidden + 2 * (hidden + 2 * narrow + 2 * wide));
    let blocks = if again { block + config.layers * rows * 4 * hidden } else { config.layers * block };
    let shared = rows * (8 * hidden + 2 * (3 * hidden + wide));
    let logits = 2 * config.vocab_size * rows.min((1 << 28) / config.vocab_size);
    [8 * parameters, 2 * (parameters - norms), blocks + shared + logits]
}

/// The plan of `docs/benchmarks.md`: `cargo test --workspace --lib memory_that_was_planned -- --nocapture` prints it.
#[test]
fn a_pass_takes_the_memory_that_was_planned() {
    let config = ModelConfig { intermediate_size: 72, ..tiny() };
    let mut model = Llama::new(&config, 7, Device::Cpu);
    model.run_kernels(Arc::new(emulator::Emulator::new()));
    let mut sums: Vec<Tensor> = model.parameters().iter().map(|(_, t)| t.detach().zeros_like()).collect();
    for again in [false, true] {
        model.passes.lock().unwrap().clear();
        model.recompute(again);
        model.accumulate(&tokens(3, 17), Precision::Bf16, 0.5, &mut sums).unwrap();
        let [_, matrices, pass] = planned(&config, 3, again);
        let bytes: usize = model.passes.lock().unwrap().iter().map(Pass::bytes).sum();
        assert_eq!(bytes as i64, matrices + pass);
    }
    let large = ManifestFile::preset("templar-2").unwrap().parsed.model;
    let gibibytes = |bytes: i64| bytes as f64 / f64::from(1 << 30);
    for (sequences, again) in [1, 6, 8].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let [both, matrices, pass] = planned(&large, sequences, again);
        // What attention saw is a block's as well, until its backward.
        let blocks = if again { 1 } else { large.layers };
        let pass = pass + sequences * large.sequence_length * large.hidden_size * blocks * 2;
        let all = both + matrices + pass;
        println!(
            "{sequences} x {}{}: weights and gradients {:.1} GiB, matrices {:.1}, pass {:.1}, together {:.1}; with AdamW {:.1}",
            large.sequence_length,
            if again { ", blocks computed twice" } else { "" },
            gibibytes(both),
            gibibytes(matrices),
            gibibytes(pass),
            gibibytes(all),
            gibibytes(all + both)
        );
    }
}

#[test]
fn blocks_that_are_computed_again_give_the_same_bits_in_less_memory() {
    let config = ModelConfig { layers: 4, intermediate_size: 72, ..tiny() };
    for kernels in [false, true] {
        let mut model = Llama::new(&config, 7, Device::Cpu);
        if kernels {
            model.run_kernels(Arc::new(emulator::Emulator::new()));
        }
        let tokens = tokens(2, 9);
        let gradients = |model: &Llama| {
            let mut sums: Vec<Tensor> =
                model.parameters().iter().map(|(_, t)| t.detach().zeros_like()).collect();
            let losses = model.accumulate(&tokens, Precision::F32, 0.5, &mut sums).unwrap();
            let bytes: usize = model.passes.lock().unwrap().iter().map(Pass::bytes).sum();
            (losses, sums, bytes)
        };
        let (losses, sums, bytes) = gradients(&model);
        model.passes.lock().unwrap().clear();
        model.recompute(true);
        // Twice, in the same memory.
        for _ in 0..2 {
            let (same, again, fewer) = gradients(&model);
            assert_eq!(same, losses);
            assert!(sums.iter().zip(&again).all(|(a, b)| a.equal(b)));
            assert!(10 * fewer < 6 * bytes, "{fewer} of {bytes}");
        }
        assert_eq!(model.sequence_losses(&tokens, 2).unwrap(), losses);
    }
}

#[test]
fn a_pass_gives_the_same_bits_each_time() {
    let model = Llama::new(&tiny(), 7, Device::Cpu);
    let [(losses, first), _] = both_ways(&model, &tokens(6, 17));
    // Memory of another size between them.
    model.sequence_losses(&tokens(2, 9), 1).unwrap();
    let [(again, second), _] = both_ways(&model, &tokens(6, 17));
    assert_eq!(losses, again);
    assert!(first.iter().zip(&second).all(|(a, b)| a.equal(b)));
}

/// `cargo test --workspace --lib how_long_a_pass_takes -- --ignored --nocapture`: the figures of `docs/benchmarks.md`.
#[test]
#[ignore = "a measurement"]
fn how_long_a_pass_takes() {
    crate::device::set_threads(1);
    crate::device::set_own_threads(1);
    let shape = |hidden_size, intermediate_size, layers, sequence_length| ModelConfig {
        vocab_size: 256,
        hidden_size,
        intermediate_size,
        layers,
        sequence_length,
        ..tiny()
    };
    let sizes = [
        ("2 layers of 128, 4 x 64", shape(128, 256, 2, 64), 4),
        ("2 layers of 128, 16 x 128", shape(128, 384, 2, 128), 16),
        ("4 layers of 256, 4 x 128", shape(256, 512, 4, 128), 4),
    ];
    for (name, config, count) in sizes {
        let model = Llama::new(&config, 7, Device::Cpu);
        let tokens = tokens(count, config.sequence_length + 1);
        let mut sums: Vec<Tensor> = model.parameters().iter().map(|(_, t)| t.detach().zeros_like()).collect();
        let mut best = [f64::MAX; 4];
        for _ in 0..20 {
            let mut time = |at: usize, work: &mut dyn FnMut() -> Vec<f32>| {
                let started = std::time::Instant::now();
                work();
                best[at] = best[at].min(1e3 * started.elapsed().as_secs_f64());
            };
            time(0, &mut || model.accumulate(&tokens, Precision::F32, 0.1, &mut sums).unwrap());
            time(1, &mut || model.accumulate_by_autograd(&tokens, Precision::F32, 0.1, &mut sums));
            time(2, &mut || model.sequence_losses(&tokens, count as usize).unwrap());
            time(3, &mut || tch::no_grad(|| floats(&model.losses(&tokens))));
        }
        println!(
            "{name}: losses and gradients {:.2} ms, by autograd {:.2} ms ({:.2}); losses {:.2} ms, by libtorch {:.2} ms ({:.2})",
            best[0],
            best[1],
            best[1] / best[0],
            best[2],
            best[3],
            best[3] / best[2]
        );
    }
}
