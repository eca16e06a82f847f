#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;
use crate::manifest::RopeScaling;

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 32,
        hidden_size: 16,
        intermediate_size: 24,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        sequence_length: 8,
        rope_theta: 10_000.0,
        rope_scaling: None,
        norm_epsilon: 1e-6,
        tied: false,
        initial_std: 0.02,
    }
}

fn exported(shard_bytes: u64) -> (tempfile::TempDir, PathBuf, Llama) {
    let folder = tempfile::tempdir().unwrap();
    let model = Llama::new(&config(), 7, Device::Cpu);
    let out = folder.path().join("out");
    let mut told = 0;
    export(&model, &out, ExportOptions { shard_bytes, ..ExportOptions::default() }, |bytes| told += bytes)
        .unwrap();
    assert_eq!(told, 4 * crate::model::parameter_count(&config()) as u64);
    (folder, out, model)
}

#[test]
fn shards_hold_the_same_model_as_one_file() {
    for shard_bytes in [1, 3000, 1 << 30] {
        let (_folder, out, model) = exported(shard_bytes);
        let back = import(&out, Device::Cpu).unwrap();
        assert_eq!((back.hash(), back.config()), (model.hash(), model.config()));
        let found = describe(&out).unwrap();
        assert_eq!(found.files.len() > 1, shard_bytes < 1 << 30);
        assert_eq!(found.weights["F32"], crate::model::parameter_count(&config()) as u64);
        // Nothing else stays beside it.
        assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 1);
    }
}

#[test]
fn every_scaling_survives_its_configuration() {
    for rope_scaling in [
        Some(RopeScaling::Linear { factor: 2.0 }),
        Some(RopeScaling::Dynamic { factor: 4.0, original_length: 8 }),
        Some(RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_length: 8192,
        }),
        None,
    ] {
        let config = ModelConfig { rope_scaling, tied: true, ..config() };
        assert_eq!(parse_config(&config_json(&config, Dtype::Bf16, (Some(1), None))).unwrap(), config);
    }
}

#[test]
fn what_is_no_llama_of_ours_is_named() {
    let good: serde_json::Value =
        serde_json::from_str(&config_json(&config(), Dtype::F32, (None, None))).unwrap();
    for (field, value, words) in [
        ("model_type", serde_json::json!("gpt2"), "GPT2LMHeadModel"),
        ("attention_bias", serde_json::json!(true), "attention has biases"),
        ("mlp_bias", serde_json::json!(true), "MLP has biases"),
        ("hidden_act", serde_json::json!("gelu"), "gelu"),
        ("head_dim", serde_json::json!(32), "heads are not 4 wide"),
        ("hidden_size", serde_json::json!(-4), "hidden_size is -4"),
        ("hidden_size", serde_json::json!(1_i64 << 40), "which no Llama has"),
        ("num_hidden_layers", serde_json::json!(1 << 20), "which no Llama has"),
        ("max_position_embeddings", serde_json::json!(1 << 23), "which no Llama has"),
        ("num_attention_heads", serde_json::json!(16), "even width"),
        (
            "rope_scaling",
            serde_json::json!({ "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
                "original_max_position_embeddings": 8192 }),
            "make no sense",
        ),
        (
            "rope_scaling",
            serde_json::json!({ "rope_type": "dynamic", "factor": 2, "original_max_position_embeddings": 0.5 }),
            "make no sense",
        ),
        ("num_attention_heads", serde_json::json!(3), "do not divide"),
        ("rope_theta", serde_json::json!(0), "not positive"),
        ("rope_scaling", serde_json::json!({ "rope_type": "yarn" }), "yarn"),
        ("rope_scaling", serde_json::json!({ "rope_type": "linear" }), "lacks factor"),
        ("vocab_size", serde_json::json!("many"), "no configuration of a Llama"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        if field == "model_type" {
            bad["architectures"] = serde_json::json!(["GPT2LMHeadModel"]);
        }
        let problem = parse_config(&bad.to_string()).unwrap_err();
        assert!(problem.contains(words), "{field}: {problem}");
    }
    assert!(parse_config("{").is_err());
}

#[test]
fn damaged_folders_are_refused() {
    let refused = |change: &dyn Fn(&Path)| {
        let (_folder, out, _) = exported(3000);
        change(&out);
        import(&out, Device::Cpu).unwrap_err().to_string()
    };
    let shard = |out: &Path| describe(out).unwrap().files[1].clone();
    assert!(refused(&|out| fs::remove_file(shard(out)).unwrap()).starts_with("cannot read"));
    let cut = |out: &Path| {
        let path = shard(out);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    };
    assert!(refused(&cut).contains("is cut off"));
    assert!(refused(&|out| fs::write(shard(out), b"short").unwrap()).contains("too short"));
    assert!(
        refused(&|out| fs::write(shard(out), u64::MAX.to_le_bytes()).unwrap())
            .contains("longer than it can be")
    );
    let index = |from: &'static str, to: &'static str| {
        move |out: &Path| {
            let path = out.join(INDEX_FILE);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(&path, text.replace(from, to)).unwrap();
        }
    };
    assert!(refused(&index("model-00001", "../model-00001")).contains("no file beside it"));
    assert!(
        refused(&index("model.norm.weight\": \"model", "model.norm.other\": \"model"))
            .contains("model.norm.weight")
    );
    let wider = |out: &Path| {
        let path = out.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"intermediate_size\": 24", "\"intermediate_size\": 48")).unwrap();
    };
    assert!(refused(&wider).contains("not of the shape"));
    // A folder that holds something is not written over.
    let (_folder, out, model) = exported(1 << 30);
    let again = export(&model, &out, ExportOptions::default(), |_| ()).unwrap_err();
    assert!(again.to_string().starts_with("cannot write"));
    assert!(import(&out, Device::Cpu).is_ok());
}
