//! Models in Hugging Face's form, with transformers as the judge: what it makes is computed the same here, and what is
//! exported here it loads and computes the same.

use crate::{reference::transformers, support};
use std::{collections::BTreeMap, fs, path::Path, process::Command};
use tch::{Device, Kind, Tensor};
use templar::model::{
    Llama,
    generate::{Engine, Sampling},
    hugging_face::{self, Dtype, ExportOptions, INDEX_FILE},
};

fn judge(verb: &str, folder: &Path) {
    let libtorch = std::env::var("LIBTORCH").unwrap_or_else(|_| ".libtorch/torch".to_owned());
    let output = Command::new(transformers())
        .arg(support::script("hugging_face.py"))
        .arg(verb)
        .arg(folder)
        .arg(std::path::absolute(libtorch).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn results(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// Largest difference, relative to the largest expected value.
fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    ((found - expected).abs().max() / expected.abs().max()).double_value(&[])
}

fn greedy(model: &Llama, prompt: &Tensor, count: i64) -> Tensor {
    let mut tokens = prompt.copy();
    for _ in 0..count {
        let logits = tch::no_grad(|| model.logits(&tokens));
        let next = logits.select(1, tokens.size()[1] - 1).argmax(-1, true);
        tokens = Tensor::cat(&[&tokens, &next], 1);
    }
    tokens.narrow(1, prompt.size()[1], count)
}

#[track_caller]
fn agrees(name: &str, model: &Llama, theirs: &BTreeMap<String, Tensor>) {
    let tokens = &theirs["tokens"];
    let found = error(&tch::no_grad(|| model.logits(tokens)), &theirs["logits"]);
    println!("{name}: logits {found:.1e}");
    assert!(found < 1e-4, "{name}: {found}");
    let count = theirs["greedy"].size()[1];
    assert_eq!(greedy(model, &tokens.narrow(0, 0, 1), count), theirs["greedy"], "{name}");
    // With keys and values that were kept, the same.
    let prompt: Vec<i64> = Vec::try_from(tokens.select(0, 0)).unwrap();
    let mut engine = Engine::new(model);
    engine.add(&prompt, Sampling::default());
    let found: Vec<i64> = (0..count).map(|_| engine.step()[0].1).collect();
    assert_eq!(found, Vec::<i64>::try_from(theirs["greedy"].select(0, 0)).unwrap(), "{name}");
}

#[test]
fn what_transformers_makes_is_computed_the_same_and_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    judge("make", folder.path());
    for case in ["untied", "tied", "grouped", "linear", "dynamic", "llama3", "bf16_shards", "f16"] {
        let theirs = folder.path().join(case);
        let model = hugging_face::import(&theirs, Device::Cpu).unwrap();
        agrees(case, &model, &results(&folder.path().join(format!("{case}.safetensors"))));
        // Sixteen bits are the same sixteen bits again.
        let dtype = match case {
            "bf16_shards" => Dtype::Bf16,
            "f16" => Dtype::F16,
            _ => Dtype::F32,
        };
        assert_eq!(theirs.join(INDEX_FILE).is_file(), case == "bf16_shards");
        let again = folder.path().join(format!("{case}-again"));
        let options = ExportOptions { dtype, ..ExportOptions::default() };
        hugging_face::export(&model, &again, options, |_| ()).unwrap();
        let back = hugging_face::import(&again, Device::Cpu).unwrap();
        assert_eq!((back.hash(), back.config()), (model.hash(), model.config()), "{case}");
    }
}

#[test]
fn what_is_exported_transformers_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    judge("make", folder.path());
    let model = hugging_face::import(&folder.path().join("llama3"), Device::Cpu).unwrap();
    // In shards, under the name that the judge loads.
    let options = ExportOptions { shard_bytes: 40_000, ..ExportOptions::default() };
    let exported = hugging_face::export(&model, &folder.path().join("export"), options, |_| ()).unwrap();
    let files = exported.files;
    assert_eq!(exported.hash, model.hash());
    assert!(files.len() > 5, "{files:?}");
    judge("load", folder.path());
    agrees("export", &model, &results(&folder.path().join("loaded.safetensors")));
    // Weights of bfloat16 are the nearest ones.
    let half = folder.path().join("half");
    let options = ExportOptions { dtype: Dtype::Bf16, ..ExportOptions::default() };
    hugging_face::export(&model, &half, options, |_| ()).unwrap();
    let half = hugging_face::import(&half, Device::Cpu).unwrap();
    for ((name, ours), (_, theirs)) in model.parameters().iter().zip(half.parameters()) {
        let nearest = ours.to_kind(Kind::BFloat16).to_kind(Kind::Float);
        assert_eq!(&nearest, theirs, "{name}");
    }
    assert!(fs::metadata(folder.path().join("half")).unwrap().is_dir());
}
