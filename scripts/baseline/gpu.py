"""A GPU's work beside transformers' Llama in PyTorch, eager and compiled, in one run, as a Markdown table.

usage: scripts/bench gpu [--device cuda:0] [--preset templar-1] [--params N] [--sequences 8] [--repeats 5] [--no-compile] [--json]

Without Rust, on a machine with Python, PyTorch 2.11 and transformers, it runs a program that was built elsewhere:
`python3 scripts/baseline/gpu.py --program ./templar`. `templar bench train` says which model it measured; PyTorch has the same one,
float32 weights under autocast to bfloat16 (float32 on a processor), and AdamW that is fused on a GPU. Both measure each work
`--repeats` times after one that does not count, and take the median; the compiled model is warm. The codec's works are PyTorch's as
`scripts/baseline/codec.py` has them, on that device. Losses of both are compared once, with weights of their own: near the logarithm of
the vocabulary, both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

try:
    # A second try after one that failed half-way would find half of it.
    if "STAND_INS" in os.environ:
        raise ImportError
    import torch
except ImportError:
    # The libraries that the program itself runs on, so that both sides have the same kernels.
    root = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root / "tests/python"))
    from stand_ins import torch_from

    libtorch = os.path.abspath(os.environ.get("LIBTORCH", root / ".libtorch/torch"))
    torch_from(libtorch, os.path.dirname(libtorch))
    import torch

# Work of ours, work of the baseline, what it is called.
MODEL = [
    ("losses", "losses", "losses of a micro-batch"),
    ("train", "gradients", "forward and backward"),
    ("sketched", "gradients", "the same, with sketches"),
    ("step", "step", "training step: forward, backward, AdamW"),
]
CODEC = [
    ("aggregate", "signs-15", "aggregate 15 peers, signs"),
    ("aggregate", "step-15", "aggregate 15 peers and take the step"),
    ("judge", "judge-14", "one peer judged: both steps, without losses"),
    ("judge", "judge-round", "the round's step again"),
]


def seconds(work, device, repeats):
    """The median of `repeats` after one that is not counted."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def ours(arguments, bench, *more):
    command = [arguments.program, "bench", bench, "--preset", arguments.preset, "--device", arguments.device]
    command += ["--repeats", str(arguments.repeats), "--json", *more]
    environment = dict(os.environ)
    # A program that was built elsewhere finds the libtorch of this Python.
    libraries = [os.path.join(os.path.dirname(torch.__file__), "lib"), environment.get("LD_LIBRARY_PATH")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def llama(shape, device):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape["vocab_size"],
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=shape["sequence_length"],
        rms_norm_eps=shape["norm_epsilon"],
        tie_word_embeddings=shape["tied"],
        initializer_range=shape["initial_std"],
        attn_implementation="sdpa",
        use_cache=False,
    )
    return LlamaForCausalLM(config).to(device)


def pytorch(shape, sequences, arguments):
    """Seconds of each work, eager and compiled, and the loss of a model that was not trained."""
    device = torch.device(arguments.device)
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = llama(shape, device)
    numbers = torch.arange(sequences * (shape["sequence_length"] + 1), device=device)
    tokens = ((numbers * numbers * 7) % shape["vocab_size"]).view(sequences, -1)
    read, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=on_gpu)
    found = {}
    for way in ["eager"] + ([] if arguments.no_compile else ["compiled"]):
        network = model if way == "eager" else torch.compile(model)

        def loss():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_gpu):
                logits = network(input_ids=read).logits
                return torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets)

        def losses():
            with torch.no_grad():
                return loss()

        def gradients():
            optimizer.zero_grad(set_to_none=True)
            loss().backward()

        def step():
            gradients()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        first = losses().item()
        for name, work in ("losses", losses), ("gradients", gradients), ("step", step):
            if way == "compiled":
                work()
            found[name, way] = 1000 * seconds(work, device, arguments.repeats)
    memory = torch.cuda.max_memory_allocated(device) if on_gpu else 0
    del model, optimizer
    if on_gpu:
        torch.cuda.empty_cache()
    return found, first, memory


def codec(arguments, params):
    """Milliseconds of the codec's works in plain PyTorch on the device."""
    command = [sys.executable, str(Path(__file__).with_name("codec.py")), "--preset", "templar-1", "--json"]
    command += ["--device", arguments.device, "--params", str(params), "--repeats", str(arguments.repeats)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}")
    return {result["work"]: result["ms"] for result in json.loads(done.stdout)["results"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--preset", default="templar-1")
    parser.add_argument("--params", type=int, metavar="N", help="a smaller model, and matrices of as many for the codec")
    parser.add_argument("--sequences", type=int, default=8, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--program", default=os.environ.get("BENCH_PROGRAM", "./templar"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    size = ["--params", str(arguments.params)] if arguments.params else []
    # Ours first, in a process that gives all of the GPU's memory back.
    model = ours(arguments, "train", "--sequences", str(arguments.sequences), *size)
    # Whole chunks, as the codec's works want them.
    params = arguments.params or model["params"]
    params -= params % 4096
    kernels = {}
    for bench in "aggregate", "judge":
        for result in ours(arguments, bench, "--params", str(params))["results"]:
            kernels[bench, result["work"]] = result["ms"]
    mine = {result["work"]: result["ms"] for result in model["results"]}
    theirs, loss, memory = pytorch(model["model"], model["sequences"], arguments)
    plain = codec(arguments, params)
    rows = []
    for own, other, label in MODEL:
        eager, compiled = theirs[other, "eager"], theirs.get((other, "compiled"))
        rows.append({"work": label, "ms": mine[own], "eager_ms": eager, "compiled_ms": compiled})
    for bench, work, label in CODEC:
        if (bench, work) in kernels:
            eager = plain["aggregate"] if work in ("signs-15", "step-15") else None
            rows.append({"work": label, "ms": kernels[bench, work], "eager_ms": eager, "compiled_ms": None})
    report = {"device": arguments.device, "params": model["params"], "sequences": model["sequences"],
              "torch": torch.__version__, "loss": loss, "peak_bytes": memory, "rows": rows}
    if torch.device(arguments.device).type == "cuda":
        report["gpu"] = torch.cuda.get_device_name(torch.device(arguments.device))
    if arguments.json:
        print(json.dumps(report))
        return
    length = model["model"]["sequence_length"]
    print(f"{report.get('gpu', arguments.device)}, PyTorch {report['torch']}: {report['params']} parameters, "
          f"{report['sequences']} x {length} tokens\n")
    print("| work | ours, ms | eager, ms | compiled, ms | of the better one |")
    print("|---|---|---|---|---|")
    for row in rows:
        others = [ms for ms in (row["eager_ms"], row["compiled_ms"]) if ms is not None]
        cells = [f"{ms:.1f}" if ms is not None else "" for ms in (row["ms"], row["eager_ms"], row["compiled_ms"])]
        share = f"{min(others) / row['ms']:.2f}x" if others else ""
        print(f"| {row['work']} | {' | '.join(cells)} | {share} |")


if __name__ == "__main__":
    main()
