"""The codec beside the same works in plain PyTorch, as a Markdown table. Exit code 1 where a goal is missed by more than a third.

usage: scripts/bench codec [--params N] [--threads N] [--rounds N] [--repeats N] [--pages none|glibc|libtorch] [--large] [--json]

Both programs run in turns, on the same cores, with the same number of threads and the same environment. A rate is the median of
the rounds, in each of which it is the median of the repeats. `--pages`: without huge pages, with those that glibc asks for, or
with those of libtorch's own allocator too. `--large` measures the codec at the shapes of `templar-1` as well (1,204,881,408
parameters, which takes more than 10 GB of memory). BENCH_CODEC and BENCH_PROGRAM, which the script sets, are the paths of the
two programs of ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

BASELINE = Path(__file__).with_name("codec.py")
# A goal that is missed by more than this is a failure.
TOLERANCE = 1 / 3
GLIBC, LIBTORCH = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, {"THP_MEM_ALLOC_ENABLE": "1"}
PAGES = {"none": {}, "glibc": GLIBC, "libtorch": GLIBC | LIBTORCH}
NAMES = {"templar-1": "DeMo, 64 x 64, top 32, 8 bits", "sparseloco": "SparseLoCo, top 64 of 4096, 2 bits"}
# Work of ours, work of the baseline, how many times as fast it is to be.
RATIOS = {
    "templar-1": [("encode", "encode", 40), ("decode", "decode", 90), ("signs-15", "aggregate", 40)],
    "sparseloco": [("encode", "encode", 100), ("decode", "decode", 180), ("mean-15", "aggregate", 140)],
}
LABELS = {
    "encode": "encode",
    "decode": "decode to float32",
    "signs-15": "aggregate 15, signs",
    "mean-15": "aggregate 15, float32",
    "step-15": "aggregate 15 and take the step",
    "write": "write",
    "read": "read",
    "judge-14": "judge one peer of 15",
    "memory": "one pass over the weights",
}


def run(command, environment):
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {done.returncode}")
    return json.loads(done.stdout)


def verdict(share):
    return "met" if share >= 1 else "nearly" if share >= 1 - TOLERANCE else "MISSED"


class Table:
    def __init__(self):
        self.rows, self.missed = [], 0

    def add(self, codec, work, reference, ours, ratio, goal, share=None):
        if share is not None:
            goal = f"{goal}: {verdict(share)}"
            self.missed += share < 1 - TOLERANCE
        self.rows.append((codec, work, reference, ours, ratio, goal))

    def print(self):
        print("| codec | work | PyTorch, M parameters/s | templar, M parameters/s | ratio | goal |")
        print("|---|---|---|---|---|---|")
        for row in self.rows:
            print(f"| {' | '.join(row)} |")


def rates(documents):
    """The median rate of each work, in millions."""
    works = {}
    for document in documents:
        for result in document["results"]:
            works.setdefault(result["work"], []).append(result["params_per_s"] / 1e6)
    return {work: statistics.median(found) for work, found in works.items()}


def small(arguments, environment, table):
    """The works that PyTorch does too, and those that have a goal of their own."""
    size = ["--params", str(arguments.params), "--threads", str(arguments.threads)]
    works = ["--works", "encode,decode,aggregate,wire,memory"]
    found = {preset: ([], []) for preset in NAMES}
    for number in range(arguments.rounds):
        for preset, (theirs, ours) in found.items():
            print(f"round {number + 1} of {arguments.rounds}: {preset}", file=sys.stderr)
            shared = ["--preset", preset, *size]
            python = [sys.executable, BASELINE, *shared, "--repeats", "3", "--json"]
            theirs.append(run(python, environment))
            repeats = ["--repeats", str(arguments.repeats)]
            ours.append(run([arguments.codec, *shared, *works, *repeats], environment))
    for preset, (theirs, ours) in found.items():
        if {document["params"] for document in theirs + ours} != {arguments.params}:
            sys.exit("error: --params must be a square of a multiple of 64, so that both sides have the same matrix")
        reference, rate, name = rates(theirs), rates(ours), NAMES[preset]
        for work, other, goal in RATIOS[preset]:
            ratio = rate[work] / reference[other]
            numbers = f"{reference[other]:.1f}", f"{rate[work]:.0f}", f"{ratio:.0f}"
            table.add(name, LABELS[work], *numbers, f"{goal}", ratio / goal)
        if preset == "templar-1":
            table.add(name, LABELS["mean-15"], "", f"{rate['mean-15']:.0f}", "", "")
        # The aggregate has to be computed, and the weights have to be read and written; a step is to take no more than both.
        update = "signs-15" if preset == "templar-1" else "mean-15"
        share = (1 / rate[update] + 1 / rate["memory"]) * rate["step-15"]
        table.add(name, LABELS["step-15"], "", f"{rate['step-15']:.0f}", "", "aggregate and one pass", share)
        for work in "write", "read":
            gigabytes = 4 * rate[work] / 1000
            label = f"{LABELS[work]}, one core ({ours[0]['bits_per_position']:.2f} bits a position)"
            table.add(name, label, "", f"{rate[work]:.0f}", "", "1 GB of model a second", gigabytes)
        table.add(name, LABELS["memory"], "", f"{rate['memory']:.0f}", "", "")
        arguments.documents += theirs + ours


def model_hash(arguments, environment, table):
    if not os.access(arguments.program, os.X_OK):
        print("no hash of a model: `cargo build --bins` makes the program that has it", file=sys.stderr)
        return
    command = [arguments.program, "bench", "hash", "--preset", "templar-1", "--params", "300000000", "--json"]
    document = run([*command, "--threads", str(arguments.threads)], environment)
    rate = rates([document])["hash"]
    gigabytes = 4 * rate / 1000
    table.add("", f"hash of a model ({gigabytes:.1f} GB/s)", "", f"{rate:.0f}", "", "4 GB/s", gigabytes / 4)
    arguments.documents.append(document)


def large(arguments, environment, table):
    """A second for each work at 1.2 billion parameters."""
    for preset, name in NAMES.items():
        for group in "encode", "aggregate", "judge":
            print(f"large: {preset}, {group}", file=sys.stderr)
            command = [arguments.codec, "--preset", preset, "--large", "--works", group, "--repeats", "3"]
            document = run([*command, "--threads", str(arguments.threads)], environment)
            for result in document["results"]:
                seconds, peak = result["ms"] / 1000, document["peak_bytes"] / 1e9
                label = f"{LABELS[result['work']]}, {document['params']:,} ({seconds:.2f} s, peak {peak:.1f} GB)"
                rate = f"{result['params_per_s'] / 1e6:.0f}"
                table.add(name, label, "", rate, "", "1 s", 1 / seconds)
            arguments.documents.append(document)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench codec", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=int, default=9_437_184, metavar="N", help="a square of a multiple of 64")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--repeats", type=int, default=15, metavar="N", help="of ours in a round; the baseline's are 3")
    parser.add_argument("--pages", choices=PAGES, default="glibc", help="huge pages for both programs")
    parser.add_argument("--large", action="store_true", help="also at 1,204,881,408 parameters")
    parser.add_argument("--json", action="store_true", help="what was measured, a document a line, instead of the table")
    arguments = parser.parse_args()
    if min(arguments.params, arguments.threads, arguments.rounds, arguments.repeats) < 1:
        parser.error("numbers must be at least 1")
    arguments.codec, arguments.program = os.environ["BENCH_CODEC"], os.environ["BENCH_PROGRAM"]
    arguments.documents = []
    # Children have the same cores.
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    os.sched_setaffinity(0, cores)
    # Without huge pages a good part of the time goes to the first touch of what was allocated: most of all in PyTorch, which
    # allocates every result anew.
    pages = PAGES[arguments.pages]
    plain = {name: value for name, value in os.environ.items() if name not in PAGES["libtorch"]}
    environment = plain | pages
    before, table = os.getloadavg()[0], Table()
    small(arguments, environment, table)
    model_hash(arguments, environment, table)
    if arguments.large:
        large(arguments, environment, table)
    if arguments.json:
        print("\n".join(json.dumps(document) for document in arguments.documents))
    else:
        table.print()
        with_pages = " ".join(f"{name}={value}" for name, value in pages.items()) or "no huge pages"
        print(
            f"\n{arguments.params:,} parameters, float32, {arguments.threads} threads on cores {cores} of both programs in turns,"
            f" median of {arguments.rounds} rounds; `{with_pages}` for both; load average before the first round {before:.2f}."
        )
    sys.exit(1 if table.missed else 0)


if __name__ == "__main__":
    main()
