"""What Python's libraries take for a model of ours: opening and saving it, and 200 greedy tokens.

usage: bench_model.py FOLDER LIBTORCH THREADS     prints seconds as JSON; FOLDER/model is the model
"""

import json
import os
import sys
import time

from stand_ins import torch_from

folder, libtorch, threads = sys.argv[1:]
torch_from(libtorch, folder)

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(int(threads))
path = os.path.join(folder, "model", "model.safetensors")


def best(work, times=3):
    found = []
    for _ in range(times):
        started = time.monotonic()
        work()
        found.append(time.monotonic() - started)
    return min(found)


def load():
    # Touched, because a file that is only mapped was not read.
    return sum(float(tensor.sum()) for tensor in load_file(path).values())


out = {"load": best(load)}
tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
saved = os.path.join(folder, "saved.safetensors")


def save():
    save_file(tensors, saved)
    with open(saved, "rb") as file:
        os.fsync(file.fileno())


out["save"] = best(save)
model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "model"), dtype=torch.float32).eval()
prompt = torch.arange(2, 18).view(1, -1)


def generate(batch, count=200):
    tokens = prompt.repeat(batch, 1)
    with torch.no_grad():
        made = model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False, min_new_tokens=count,
                              max_new_tokens=count, pad_token_id=0)
    assert made.shape[1] == prompt.shape[1] + count


out["generate"] = best(lambda: generate(1), 2)
out["generate_8"] = best(lambda: generate(8), 2)
print(json.dumps(out))
