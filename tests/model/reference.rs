//! The model against PyTorch's own Llama: logits, losses and every gradient, from the same weights.

use crate::support;
use std::process::Command;
use tch::{Device, Kind, Tensor};
use templar::{
    manifest::ModelConfig,
    model::{Llama, parameter_count},
    train::local_step,
};

/// What the Python script found: largest errors, relative to the largest value.
#[derive(serde::Deserialize)]
struct Report {
    parameters: usize,
    logits: f64,
    losses: f64,
    gradients: std::collections::BTreeMap<String, f64>,
}

pub fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 256,
        hidden_size: 128,
        intermediate_size: 384,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        sequence_length: 64,
        rope_theta: 10000.0,
        rope_scaling: None,
        norm_epsilon: 1e-6,
        tied: false,
        // Larger than in training, so that attention is far from uniform.
        initial_std: 0.1,
    }
}

pub fn transformers() -> String {
    let packages = ["transformers==5.17.0", "safetensors", "numpy", "typing_extensions", "sympy", "networkx"];
    let more = ["jinja2", "filelock", "fsspec", "mpmath"];
    support::python("model-reference", &[&packages[..], &more].concat())
}

/// Runs a model of shape `ours` here, and of shape `theirs` there, on the same weights.
fn compare(ours: &ModelConfig, theirs: &ModelConfig) -> Report {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let mut model = Llama::new(ours, 11, Device::Cpu);
    // Norms away from 1, or a norm that forgets its weight would not be found.
    tch::no_grad(|| {
        for (name, weight) in model.parameters() {
            if name.contains("norm") {
                let wave = Tensor::arange(weight.numel() as i64, (Kind::Float, Device::Cpu)).sin() * 0.3;
                let _ = weight.shallow_clone().g_add_(&wave);
            }
        }
    });
    let tokens =
        (Tensor::arange(4 * 65, (Kind::Int64, Device::Cpu)).square() * 7).remainder(251).view([4, 65]);
    let step = local_step(&mut model, &tokens, 2).unwrap();
    let (logits, losses) = tch::no_grad(|| (model.logits(&tokens.narrow(1, 0, 64)), model.losses(&tokens)));
    let mut results =
        vec![("tokens".to_owned(), tokens), ("logits".to_owned(), logits), ("losses".to_owned(), losses)];
    for ((name, _), gradient) in model.parameters().iter().zip(step.gradients) {
        results.push((format!("gradient.{name}"), gradient));
    }
    model.save(&folder.path().join("weights.safetensors"), &Default::default()).unwrap();
    Tensor::write_safetensors(&results, folder.path().join("results.safetensors")).unwrap();
    std::fs::write(folder.path().join("config.json"), serde_json::to_vec(theirs).unwrap()).unwrap();
    let libtorch = std::env::var("LIBTORCH").unwrap_or_else(|_| ".libtorch/torch".to_owned());
    let output = Command::new(transformers())
        .arg(support::script("model_reference.py"))
        .arg(folder.path())
        .arg(std::path::absolute(libtorch).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Report = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report.gradients.len(), model.parameters().len());
    report
}

fn assert_agrees(config: &ModelConfig) {
    let report = compare(config, config);
    println!("logits {:.1e}, losses {:.1e}", report.logits, report.losses);
    assert_eq!(report.parameters, parameter_count(config));
    assert!(report.logits < 1e-4 && report.losses < 1e-4, "{} {}", report.logits, report.losses);
    for (name, error) in report.gradients {
        println!("{name} {error:.1e}");
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn grouped_query_attention_agrees_with_transformers() {
    assert_agrees(&config());
}

#[test]
fn a_tied_head_agrees_with_transformers() {
    assert_agrees(&ModelConfig { tied: true, kv_heads: 4, layers: 1, ..config() });
}

#[test]
fn the_comparison_finds_a_wrong_model() {
    // Another base of the rotary positions, and nothing else.
    let other = ModelConfig { rope_theta: 500.0, ..config() };
    let report = compare(&config(), &other);
    assert!(report.logits > 1e-2, "{}", report.logits);
    assert!(report.gradients.values().all(|error| *error > 1e-3));
}
