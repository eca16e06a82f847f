"""Compares a model with transformers' LlamaForCausalLM on the CPU, float32.

usage: model_reference.py FOLDER LIBTORCH

FOLDER holds config.json, weights.safetensors and results.safetensors (tokens, logits, losses, and gradient.NAME
for each weight). Prints the largest relative errors as JSON.

LIBTORCH is a PyTorch wheel that may lack NVIDIA's libraries. Nothing of CUDA is called here, so that empty
libraries of their names, bound lazily, are enough to import it.
"""

import json
import os
import re
import subprocess
import sys

folder, libtorch = sys.argv[1:]


def with_stand_ins():
    """Starts this script again with empty libraries in place of those that are missing."""
    lib = os.path.join(libtorch, "lib")
    listed = [subprocess.run(["ldd", os.path.join(lib, f)], capture_output=True, text=True).stdout
              for f in os.listdir(lib) if re.fullmatch(r"lib.*\.so", f)]
    missing = sorted(set(re.findall(r"(\S+) => not found", "".join(listed))))
    place = os.path.join(folder, "stand-ins")
    os.makedirs(place, exist_ok=True)
    for name in missing:
        out = os.path.join(place, name)
        subprocess.run(["cc", "-shared", f"-Wl,-soname,{name}", "-o", out, "-x", "c", os.devnull], check=True)
    search = os.pathsep.join(filter(None, [os.environ.get("LD_LIBRARY_PATH"), place]))
    modules = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.path.dirname(libtorch)]))
    environment = dict(os.environ, LD_LIBRARY_PATH=search, PYTHONPATH=modules, STAND_INS="1")
    environment.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1")
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


if "STAND_INS" not in os.environ:
    with_stand_ins()
sys.setdlopenflags(os.RTLD_LAZY)

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
