"""EleutherAI's lm-evaluation-harness on a model and task files of ours.

usage: harness.py FOLDER LIBTORCH SHOTS TASK...

Reads the model and its tokenizer from FOLDER/model, and of each task FOLDER/tasks/TASK/SPLIT.jsonl (`mmlu_SUBJECT`s: from
FOLDER/tasks/mmlu/SUBJECT/), with the harness's own task definitions; writes FOLDER/harness.json with its results and samples.
`own_text` is a rolling task on FOLDER/tasks/own_text/test.jsonl.
"""

import importlib.machinery
import json
import logging
import os
import sys
import types

from stand_ins import torch_from

folder, libtorch, shots = sys.argv[1], sys.argv[2], int(sys.argv[3])
wanted = sys.argv[4:]
torch_from(libtorch, folder)

import transformers  # noqa: E402, F401

# Names that the harness imports for computing on several devices, which does not happen here. transformers has looked for
# them already, and goes without.
for module, names in {"accelerate": ["Accelerator", "InitProcessGroupKwargs", "find_executable_batch_size"], "accelerate.utils": ["get_max_memory"]}.items():
    sys.modules[module] = types.ModuleType(module)
    sys.modules[module].__spec__ = importlib.machinery.ModuleSpec(module, None)
    for name in names:
        setattr(sys.modules[module], name, object)

import datasets  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(int(os.environ.get("HARNESS_THREADS", "1")))


def local(path, name=None, **_):
    """What `load_dataset` gives: the splits of a repository, from our files."""
    repository = path.split("/")[-1]
    place = {
        "ai2_arc": {"ARC-Easy": "arc_easy", "ARC-Challenge": "arc_challenge"}.get(name),
        "mmlu": f"mmlu/{name}",
    }.get(repository, repository)
    place = os.path.join(folder, "tasks", place)
    splits = {}
    for file in sorted(os.listdir(place)):
        with open(os.path.join(place, file)) as lines:
            splits[file.removesuffix(".jsonl")] = datasets.Dataset.from_list([json.loads(line) for line in lines])
    return datasets.DatasetDict(splits)


datasets.load_dataset = local

import lm_eval  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

logging.disable(logging.WARNING)
os.environ["DISABLE_MULTIPROC"] = "1"
place = os.path.join(folder, "model")
model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
lm = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(place),
          batch_size=int(os.environ.get("HARNESS_BATCH", "8")))
OWN_TEXT = dict(task="own_text", dataset_path="own_text", output_type="loglikelihood_rolling", test_split="test",
                doc_to_text="", doc_to_target="{{text}}", metric_list=[
                    dict(metric=m, aggregation=a, higher_is_better=False)
                    for m, a in (("word_perplexity", "weighted_perplexity"), ("byte_perplexity", "weighted_perplexity"),
                                 ("bits_per_byte", "bits_per_byte"))])
tasks = [OWN_TEXT if name == "own_text" else name for name in wanted]
import time  # noqa: E402

started = time.monotonic()
found = lm_eval.simple_evaluate(model=lm, tasks=tasks, num_fewshot=shots, log_samples=True, verbosity=None,
                                bootstrap_iters=int(os.environ.get("HARNESS_BOOTSTRAP", "100000")))
seconds = time.monotonic() - started
keys = ["results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"]
out = {key: found[key] for key in keys if key in found}
out["samples"] = {
    task: [{"arguments": s["arguments"], "answers": s["filtered_resps"], "metrics": {m: s[m] for m in s["metrics"]},
            "target": str(s["target"])} for s in samples]
    for task, samples in found["samples"].items()
}
out["seconds"] = seconds
with open(os.path.join(folder, "harness.json"), "w") as file:
    json.dump(out, file, default=str)
