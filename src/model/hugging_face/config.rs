//! `config.json` of a Llama, read and written.

use super::Dtype;
use crate::manifest::{ModelConfig, RopeScaling};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Larger numbers in a configuration are a mistake: memory is taken for them before any weight was read.
const MAX_DIMENSION: i64 = 1 << 24;
const MAX_LAYERS: i64 = 1 << 12;
const MAX_POSITIONS: i64 = 1 << 22;

/// What templar needs of it; other fields do not change what a Llama computes.
#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    model_type: String,
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    #[serde(default = "default_positions")]
    max_position_embeddings: i64,
    #[serde(default = "default_act")]
    hidden_act: String,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "default_std")]
    initializer_range: f64,
}

fn default_positions() -> i64 {
    2048
}

fn default_act() -> String {
    "silu".to_owned()
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_std() -> f64 {
    0.02
}

/// The shape that a `config.json` describes, or one clause that says why templar cannot compute it.
///
/// # Errors
/// What is missing, out of bounds or not a Llama's.
pub fn parse_config(text: &str) -> Result<ModelConfig, String> {
    let raw: Raw =
        serde_json::from_str(text).map_err(|e| format!("it is no configuration of a Llama ({e})"))?;
    let is_llama = raw.model_type == "llama" || raw.architectures.iter().any(|a| a == "LlamaForCausalLM");
    if !is_llama {
        let what = raw.architectures.first().map_or(raw.model_type.as_str(), String::as_str);
        return Err(format!("it describes `{what}`; templar computes LlamaForCausalLM"));
    }
    if raw.attention_bias || raw.mlp_bias {
        let which = if raw.attention_bias { "attention" } else { "MLP" };
        return Err(format!("its {which} has biases, which templar's Llama has not"));
    }
    if raw.hidden_act != "silu" && raw.hidden_act != "swish" {
        return Err(format!("its activation is `{}`; templar computes silu", raw.hidden_act));
    }
    let kv_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
    for (name, number, largest) in [
        ("vocab_size", raw.vocab_size, MAX_DIMENSION),
        ("hidden_size", raw.hidden_size, MAX_DIMENSION),
        ("intermediate_size", raw.intermediate_size, MAX_DIMENSION),
        ("num_hidden_layers", raw.num_hidden_layers, MAX_LAYERS),
        ("num_attention_heads", raw.num_attention_heads, MAX_DIMENSION),
        ("num_key_value_heads", kv_heads, MAX_DIMENSION),
        ("max_position_embeddings", raw.max_position_embeddings, MAX_POSITIONS),
    ] {
        if !(1..=largest).contains(&number) {
            return Err(format!("its {name} is {number}, which no Llama has"));
        }
    }
    if raw.hidden_size % raw.num_attention_heads != 0 || raw.num_attention_heads % kv_heads != 0 {
        return Err("its heads do not divide its width".to_owned());
    }
    let head_dim = raw.hidden_size / raw.num_attention_heads;
    if head_dim % 2 != 0 || head_dim < 4 {
        return Err(format!(
            "its heads are {head_dim} wide: rotary positions need an even width of at least 4"
        ));
    }
    if raw.head_dim.is_some_and(|given| given != head_dim) {
        return Err(format!("its heads are not {head_dim} wide, as templar's are"));
    }
    let rope = raw.rope_parameters.as_ref().or(raw.rope_scaling.as_ref());
    let number = |name: &str| rope.and_then(|rope| rope.get(name)).and_then(Value::as_f64);
    let rope_theta = number("rope_theta").or(raw.rope_theta).unwrap_or(10_000.0);
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if !positive(rope_theta) || !positive(raw.rms_norm_eps) {
        return Err("its rope_theta or rms_norm_eps is not positive".to_owned());
    }
    Ok(ModelConfig {
        vocab_size: raw.vocab_size,
        hidden_size: raw.hidden_size,
        intermediate_size: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        kv_heads,
        sequence_length: raw.max_position_embeddings,
        rope_theta,
        rope_scaling: rope.map_or(Ok(None), |rope| scaling(rope, raw.max_position_embeddings))?,
        norm_epsilon: raw.rms_norm_eps,
        tied: raw.tie_word_embeddings,
        initial_std: raw.initializer_range,
    })
}

/// The scaling of rotary positions that a table describes.
fn scaling(rope: &Map<String, Value>, positions: i64) -> Result<Option<RopeScaling>, String> {
    let kind =
        rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default");
    let number = |name: &str| rope.get(name).and_then(Value::as_f64).filter(|n| n.is_finite() && *n > 0.0);
    let needed = |name: &str| number(name).ok_or_else(|| format!("its rope scaling `{kind}` lacks {name}"));
    // Where the length that the model was trained for first is not said, it is the one that it has.
    let original = number("original_max_position_embeddings").map_or(positions, |n| n as i64);
    let scaling = match kind {
        "default" => None,
        "linear" => Some(RopeScaling::Linear { factor: needed("factor")? }),
        "dynamic" => Some(RopeScaling::Dynamic { factor: needed("factor")?, original_length: original }),
        "llama3" => Some(RopeScaling::Llama3 {
            factor: needed("factor")?,
            low_frequency_factor: needed("low_freq_factor")?,
            high_frequency_factor: needed("high_freq_factor")?,
            original_length: needed("original_max_position_embeddings")? as i64,
        }),
        other => {
            return Err(format!(
                "its rope scaling is `{other}`; templar computes linear, dynamic and llama3"
            ));
        }
    };
    match scaling.as_ref().filter(|scaling| !scaling.is_sound()) {
        Some(_) => Err(format!("the numbers of its rope scaling `{kind}` make no sense")),
        None => Ok(scaling),
    }
}

/// `config.json` of a model whose texts begin and end with these tokens.
pub fn config_json(config: &ModelConfig, dtype: Dtype, (bos, eos): (Option<i64>, Option<i64>)) -> String {
    let scaling = match config.rope_scaling {
        None => Value::Null,
        Some(RopeScaling::Linear { factor }) => json!({ "rope_type": "linear", "factor": factor }),
        Some(RopeScaling::Dynamic { factor, original_length }) => {
            json!({ "rope_type": "dynamic", "factor": factor, "original_max_position_embeddings": original_length })
        }
        Some(RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_length,
        }) => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency_factor,
            "high_freq_factor": high_frequency_factor,
            "original_max_position_embeddings": original_length,
        }),
    };
    let value = json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "head_dim": config.hidden_size / config.heads.max(1),
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": config.initial_std,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.sequence_length,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "rope_scaling": scaling,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied,
        "torch_dtype": dtype.torch_name(),
        "use_cache": true,
        "vocab_size": config.vocab_size,
    });
    format!("{value:#}\n")
}
