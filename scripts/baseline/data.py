"""`templar data prepare` beside the `tokenizers` library alone, on the same cores: scripts/bench data [MEBIBYTES].

The library gets texts that are in memory already, in batches, and its tokens are thrown away; `templar` reads Parquet, makes the same tokens,
writes shards, hashes and sample ids, and syncs them. In turns, three times; the ratio is of the medians.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import pyarrow.parquet
from tokenizers import Tokenizer

TEMPLAR, WORK, MEBIBYTES = os.environ["BENCH_PROGRAM"], pathlib.Path(sys.argv[1]), sys.argv[2]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def registry():
    home = os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo"
    return str(pathlib.Path(home) / "registry" / "src")


def alone(texts, tokenizer):
    started = time.perf_counter()
    tokens = 0
    for start in range(0, len(texts), 1000):
        encodings = tokenizer.encode_batch_fast(texts[start : start + 1000], add_special_tokens=False)
        tokens += sum(len(encoding) for encoding in encodings)
    return time.perf_counter() - started, tokens


def ours(out):
    command = [TEMPLAR, "data", "prepare", "--json", "--separator", "<|endoftext|>", "--tokenizer", str(WORK / "text/tokenizer.json")]
    command += ["--input", str(WORK / "text/parquet"), "--out", str(out), "--shard-tokens", str(1 << 24)]
    started = time.perf_counter()
    manifest = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return time.perf_counter() - started, json.loads(manifest)


def main():
    subprocess.run([sys.executable, str(ROOT / "tests/python/make_corpus.py"), str(WORK / "text"), MEBIBYTES, "32000", registry()], check=True)
    tokenizer = Tokenizer.from_file(str(WORK / "text/tokenizer.json"))
    texts = []
    for path in sorted((WORK / "text/parquet").iterdir()):
        texts += [text for text in pyarrow.parquet.read_table(path, columns=["text"])["text"].to_pylist() if text and text.strip()]
    size = sum(len(text.encode()) for text in texts)
    theirs, mine = [], []
    for turn in range(3):
        seconds, tokens = alone(texts, tokenizer)
        theirs.append(seconds)
        seconds, manifest = ours(WORK / f"corpus-{turn}")
        mine.append(seconds)
        assert manifest["tokens"] == tokens + len(texts), (manifest["tokens"], tokens, len(texts))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    a, b = statistics.median(theirs), statistics.median(mine)
    print(f"{size >> 20} MiB of text, {len(texts)} documents, {tokens} tokens, a vocabulary of {tokenizer.get_vocab_size()}, {os.cpu_count()} cores\n")
    print("| | million tokens a second | MiB of text a second | seconds, each turn |\n|---|---|---|---|")
    for name, median, turns in [("`tokenizers` alone", a, theirs), ("`templar data prepare`, all of it", b, mine)]:
        each = ", ".join(f"{seconds:.1f}" for seconds in turns)
        print(f"| {name} | {tokens / median / 1e6:.2f} | {size / median / 2**20:.1f} | {each} |")
    print(f"\nratio {a / b:.2f} (goal: at least 0.83); peak memory {peak:.0f} MiB", flush=True)
    sys.exit(0 if a / b >= 1 / 1.2 else 1)


main()
