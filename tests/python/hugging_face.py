"""Checkpoints that transformers makes, and what it computes with ours.

usage: hugging_face.py make FOLDER LIBTORCH     writes FOLDER/CASE for each case, and FOLDER/CASE.safetensors
       hugging_face.py load FOLDER LIBTORCH     loads FOLDER/export, writes FOLDER/loaded.safetensors

CASE.safetensors and loaded.safetensors hold `tokens`, their `logits` and the tokens that follow greedily, `greedy`: 24, or 200
where the case is one of LONG.
"""

import os
import sys

from stand_ins import torch_from

verb, folder, libtorch = sys.argv[1:]
torch_from(libtorch, folder)

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(1)
torch.manual_seed(5)
# Longer than the 48 positions of the scaled models.
TOKENS = (torch.arange(2 * 80).square() * 7).remainder(97).view(2, 80)


LONG = ("grouped", "llama3", "loaded")


def run(model, path):
    model = model.float().eval()
    count = 200 if os.path.basename(path).removesuffix(".safetensors") in LONG else 24
    with torch.no_grad():
        logits = model(TOKENS).logits
        found = TOKENS[:1]
        for _ in range(count):
            # Without a cache: what follows depends on nothing but the tokens.
            following = model(found, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            found = torch.cat([found, following], 1)
    greedy = found[:, TOKENS.shape[1]:].contiguous()
    if count > 24:
        mask = torch.ones_like(TOKENS[:1])
        cached = model.generate(TOKENS[:1], attention_mask=mask, do_sample=False, max_new_tokens=count, eos_token_id=None,
                                pad_token_id=0, use_cache=True)
        assert torch.equal(cached, found), "transformers' own cache changes its tokens"
    save_file({"tokens": TOKENS.contiguous(), "logits": logits.contiguous(), "greedy": greedy}, path)


BASE = dict(
    vocab_size=97, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=128, tie_word_embeddings=False, initializer_range=0.15,
    attn_implementation="eager",
)
SCALED = dict(max_position_embeddings=48)


def rope(**parameters):
    return dict(SCALED, rope_parameters=dict(rope_theta=10000.0, **parameters))


CASES = {
    "untied": {},
    "tied": dict(tie_word_embeddings=True),
    "grouped": dict(num_key_value_heads=2, rope_parameters=dict(rope_type="default", rope_theta=500000.0)),
    "linear": rope(rope_type="linear", factor=2.0),
    "dynamic": rope(rope_type="dynamic", factor=2.0),
    "llama3": rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32),
    "bf16_shards": dict(dtype=torch.bfloat16, shards="60KB"),
    "f16": dict(dtype=torch.float16),
}

if verb == "make":
    for case, changes in CASES.items():
        changes = dict(changes)
        dtype, shards = changes.pop("dtype", torch.float32), changes.pop("shards", "5GB")
        model = LlamaForCausalLM(LlamaConfig(**dict(BASE, **changes)))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" in name:
                    weight += 0.3 * torch.sin(torch.arange(weight.numel()))
        saved = os.path.join(folder, case)
        model.to(dtype).save_pretrained(saved, max_shard_size=shards)
        # Loaded anew: casting a model to 16 bits and back also casts the frequencies of its rotary positions.
        model = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32, attn_implementation="eager")
        run(model, saved + ".safetensors")
else:
    model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "export"), attn_implementation="eager")
    run(model, os.path.join(folder, "loaded.safetensors"))
