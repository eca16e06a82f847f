//! The hash of a model against another implementation, in Python with the package blake3.

use crate::support;
use std::process::Command;
use tch::Device;
use templar::{
    manifest::{ManifestFile, ModelConfig},
    model::Llama,
};

#[test]
fn python_computes_the_same_hash() {
    let python = support::python("blake3", &["blake3==1.0.8"]);
    let folder = tempfile::tempdir().unwrap();
    let local = ManifestFile::preset("local").unwrap().parsed.model;
    // Its embedding has one leaf and a part, its other matrices have one or part of one.
    let wide = ModelConfig { vocab_size: 1000, hidden_size: 512, intermediate_size: 512, ..local.clone() };
    // Its embedding is two leaves exactly; the head is the embedding.
    let tied = ModelConfig { vocab_size: 1024, hidden_size: 512, tied: true, layers: 1, ..local.clone() };
    let mut seen = Vec::new();
    for (seed, config) in [(1, &local), (2, &local), (3, &wide), (4, &tied)] {
        let model = Llama::new(config, seed, Device::Cpu);
        let path = folder.path().join("model.safetensors");
        model.save(&path, &Default::default()).unwrap();
        let output = Command::new(&python).arg(support::script("model_hash.py")).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert_eq!(hex::encode(model.hash()), theirs.trim(), "seed {seed}");
        seen.push(model.hash());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}
