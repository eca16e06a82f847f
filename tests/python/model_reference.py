"""Compares a model with transformers' LlamaForCausalLM on the CPU, float32.

usage: model_reference.py FOLDER LIBTORCH

FOLDER holds config.json, weights.safetensors and results.safetensors (tokens, logits, losses, and gradient.NAME
for each weight). Prints the largest relative errors as JSON.
"""

import json
import os
import sys

from stand_ins import torch_from

folder, libtorch = sys.argv[1:]


torch_from(libtorch, folder)

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(1)
with open(os.path.join(folder, "config.json")) as file:
    wanted = json.load(file)
config = LlamaConfig(
    vocab_size=wanted["vocab_size"],
    hidden_size=wanted["hidden_size"],
    intermediate_size=wanted["intermediate_size"],
    num_hidden_layers=wanted["layers"],
    num_attention_heads=wanted["heads"],
    num_key_value_heads=wanted["kv_heads"],
    max_position_embeddings=wanted["sequence_length"],
    rope_parameters={"rope_type": "default", "rope_theta": wanted["rope_theta"]},
    rms_norm_eps=wanted["norm_epsilon"],
    tie_word_embeddings=wanted["tied"],
    attn_implementation="eager",
    use_cache=False,
)
model = LlamaForCausalLM(config).float()
weights = load_file(os.path.join(folder, "weights.safetensors"))
if wanted["tied"]:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
model.load_state_dict(weights, strict=True)
if wanted["tied"]:
    model.tie_weights()
results = load_file(os.path.join(folder, "results.safetensors"))


def error(found, expected):
    """Largest difference, relative to the largest expected value."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return ((found - expected).abs().max() / expected.abs().max()).item()


tokens = results["tokens"]
logits = model(tokens[:, :-1]).logits
vocabulary = logits.shape[-1]
per_token = torch.nn.functional.cross_entropy(
    logits.reshape(-1, vocabulary), tokens[:, 1:].reshape(-1), reduction="none"
)
losses = per_token.view(tokens.shape[0], -1).mean(1)
losses.mean().backward()
gradients = {
    name: error(results["gradient." + name], weight.grad) for name, weight in model.named_parameters()
}
print(json.dumps({
    "parameters": sum(p.numel() for p in model.parameters()),
    "logits": error(results["logits"], logits.detach()),
    "losses": error(results["losses"], losses.detach()),
    "gradients": gradients,
}))
