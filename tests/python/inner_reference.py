"""Two rounds of AdamW steps by PyTorch's own optimizer on transformers' Llama.

usage: inner_reference.py FOLDER LIBTORCH

FOLDER holds settings.json (the model's shape and the table `train.inner`), weights.safetensors and results.safetensors: tokens
`[rounds, steps, sequences, length + 1]`, losses `[rounds, steps]`, and delta.ROUND.NAME. After a round the weights go back and
then half of the way, which is a stand-in for the run's step; the optimizer's state stays. Prints the largest relative error of
a loss, and for each round the length of all deltas' error relative to the deltas', as JSON.
"""

import json
import math
import os
import sys

from stand_ins import torch_from

folder, libtorch = sys.argv[1:]
torch_from(libtorch, folder)

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(1)
with open(os.path.join(folder, "settings.json")) as file:
    settings = json.load(file)
shape, inner = settings["model"], settings["inner"]
config = LlamaConfig(
    vocab_size=shape["vocab_size"],
    hidden_size=shape["hidden_size"],
    intermediate_size=shape["intermediate_size"],
    num_hidden_layers=shape["layers"],
    num_attention_heads=shape["heads"],
    num_key_value_heads=shape["kv_heads"],
    max_position_embeddings=shape["sequence_length"],
    rope_parameters={"rope_type": "default", "rope_theta": shape["rope_theta"]},
    rms_norm_eps=shape["norm_epsilon"],
    tie_word_embeddings=False,
    attn_implementation="eager",
    use_cache=False,
)
model = LlamaForCausalLM(config).float()
model.load_state_dict(load_file(os.path.join(folder, "weights.safetensors")), strict=True)
half = inner["precision"] == "bf16"
master = {name: weight.detach().clone().requires_grad_() for name, weight in model.named_parameters()}
if half:
    frequencies = model.model.rotary_emb.inv_freq.clone()
    model.bfloat16()
    model.model.rotary_emb.inv_freq = frequencies
optimizer = torch.optim.AdamW(
    master.values(), lr=inner["learning_rate"], betas=(inner["beta1"], inner["beta2"]), eps=inner["epsilon"],
    weight_decay=inner["weight_decay"], foreach=False,
)


def rate(step):
    warmup, decay, floor = inner["warmup_steps"], inner["decay_steps"], inner["floor"]
    if step < warmup:
        return inner["learning_rate"] * (step + 1) / warmup
    share = min(1.0, (step - warmup) / (decay - warmup))
    return inner["learning_rate"] * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def gradients(tokens):
    """Puts the gradient of the mean loss over all sequences onto the master weights; gives the loss."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(master[name])
            master[name].grad = torch.zeros_like(master[name])
    total = 0.0
    for sequence in tokens:
        model.zero_grad()
        logits = model(sequence[None, :-1]).logits.float()
        loss = torch.nn.functional.cross_entropy(logits[0], sequence[1:]) / len(tokens)
        loss.backward()
        total += loss.item()
        for name, weight in model.named_parameters():
            master[name].grad += weight.grad.float()
    return total


results = load_file(os.path.join(folder, "results.safetensors"))
losses, errors = [], []
for number, round_tokens in enumerate(results["tokens"]):
    start = {name: weight.detach().clone() for name, weight in master.items()}
    for step, tokens in enumerate(round_tokens):
        losses.append(gradients(tokens))
        if inner["clip_norm"] > 0:
            torch.nn.utils.clip_grad_norm_(master.values(), inner["clip_norm"])
        for group in optimizer.param_groups:
            group["lr"] = rate(number * inner["steps"] + step)
        optimizer.step()
    wrong = right = 0.0
    with torch.no_grad():
        for name, weight in master.items():
            delta = start[name] - weight
            found = results[f"delta.{number}.{name}"]
            assert found.shape == delta.shape and found.dtype == torch.float32
            wrong += (found - delta).double().square().sum().item()
            right += delta.double().square().sum().item()
            weight.copy_(start[name] - 0.5 * delta)
    errors.append(math.sqrt(wrong / right))
found = results["losses"].flatten().tolist()
assert len(found) == len(losses)
print(json.dumps({
    "losses": max(abs(a - b) / b for a, b in zip(found, losses)),
    "deltas": errors,
    "first": losses[0],
    "last": losses[-1],
}))
