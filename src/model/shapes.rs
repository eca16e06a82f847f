//! Names, shapes and the fixed order of the parameters.

use crate::manifest::ModelConfig;

/// Parameters of one transformer block.
pub(super) const PER_LAYER: usize = 9;

/// Names and shapes of every parameter in the fixed order that hashes, files and layouts follow: the
/// embedding, the blocks, the last norm, and the output head unless it is tied to the embedding.
pub fn parameter_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let size = |d: i64| usize::try_from(d).unwrap_or(0);
    let (hidden, inner) = (size(config.hidden_size), size(config.intermediate_size));
    let narrow = hidden / size(config.heads).max(1) * size(config.kv_heads);
    let embedding = vec![size(config.vocab_size), hidden];
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), embedding.clone())];
    for layer in 0..config.layers {
        let block: [(&str, Vec<usize>); PER_LAYER] = [
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![narrow, hidden]),
            ("self_attn.v_proj", vec![narrow, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
        ];
        shapes.extend(block.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    }
    shapes.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !config.tied {
        shapes.push(("lm_head.weight".to_owned(), embedding));
    }
    shapes
}

/// Parameters of a model, a tied head counted once.
pub fn parameter_count(config: &ModelConfig) -> usize {
    parameter_shapes(config).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}
