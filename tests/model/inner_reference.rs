//! The inner loop against torch.optim.AdamW on transformers' Llama: losses and deltas of two rounds, moments kept between them.

use super::reference::{config, transformers};
use crate::support;
use std::process::Command;
use tch::{Device, Kind, Tensor};
use templar::{
    manifest::{InnerConfig, Precision},
    model::Llama,
    train::inner::InnerOptimizer,
};

/// What the Python script found: largest errors, relative to what it has itself.
#[derive(serde::Deserialize)]
struct Report {
    losses: f64,
    deltas: Vec<f64>,
    first: f64,
    last: f64,
}

fn inner() -> InnerConfig {
    InnerConfig {
        steps: 4,
        learning_rate: 2e-3,
        warmup_steps: 3,
        decay_steps: 12,
        floor: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        clip_norm: 1.0,
        precision: Precision::F32,
    }
}

/// Runs two rounds with `ours` here and with `theirs` there.
fn compare(ours: &InnerConfig, theirs: &InnerConfig) -> Report {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let mut model = Llama::new(&config(), 12, Device::Cpu);
    model.save(&folder.path().join("weights.safetensors"), &Default::default()).unwrap();
    let numbers = Tensor::arange(2 * 4 * 4 * 65, (Kind::Int64, Device::Cpu));
    let tokens = (numbers.square() * 7).remainder(251).view([2, 4, 4, 65]);
    let mut optimizer = InnerOptimizer::new(&model, ours);
    let mut losses = Vec::new();
    let mut results = vec![("tokens".to_owned(), tokens.shallow_clone())];
    for round in 0..2 {
        let steps = tokens.get(round).unbind(0);
        let done = optimizer.run(&mut model, &steps, 3, round as u64).unwrap();
        losses.extend(done.losses);
        for ((name, weight), delta) in model.parameters().iter().zip(done.deltas) {
            tch::no_grad(|| {
                let _ = weight.shallow_clone().g_sub_(&(&delta * 0.5));
            });
            results.push((format!("delta.{round}.{name}"), delta));
        }
    }
    results.push(("losses".to_owned(), Tensor::from_slice(&losses).view([2, 4])));
    Tensor::write_safetensors(&results, folder.path().join("results.safetensors")).unwrap();
    let settings = serde_json::json!({ "model": config(), "inner": theirs });
    std::fs::write(folder.path().join("settings.json"), settings.to_string()).unwrap();
    let libtorch = std::env::var("LIBTORCH").unwrap_or_else(|_| ".libtorch/torch".to_owned());
    let output = Command::new(transformers())
        .arg(support::script("inner_reference.py"))
        .arg(folder.path())
        .arg(std::path::absolute(libtorch).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Report = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let Report { losses, deltas, first, last } = &report;
    println!("losses {losses:.1e}, deltas {deltas:?}; loss {first:.3} to {last:.3}");
    report
}

#[test]
fn float32_goes_the_way_of_torch() {
    let plain = InnerConfig { clip_norm: 0.0, weight_decay: 0.0, ..inner() };
    for config in [inner(), plain] {
        let report = compare(&config, &config);
        assert!(report.losses < 1e-6, "{}", report.losses);
        assert!(report.deltas.iter().all(|error| *error < 1e-4), "{:?}", report.deltas);
    }
}

#[test]
fn bfloat16_goes_the_way_of_torch() {
    let half = InnerConfig { precision: Precision::Bf16, ..inner() };
    let report = compare(&half, &half);
    assert!(report.losses < 5e-3, "{}", report.losses);
    assert!(report.deltas.iter().all(|error| *error < 0.1), "{:?}", report.deltas);
}

#[test]
fn the_comparison_finds_other_settings() {
    for other in [
        InnerConfig { beta2: 0.99, ..inner() },
        InnerConfig { weight_decay: 0.0, ..inner() },
        InnerConfig { clip_norm: 0.0, ..inner() },
        InnerConfig { decay_steps: 13, ..inner() },
    ] {
        let report = compare(&inner(), &other);
        assert!(report.deltas[1] > 5e-3, "{other:?}: {:?}", report.deltas);
    }
}
