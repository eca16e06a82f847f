"""What the codec's work takes in plain PyTorch, on the CPU or a GPU: DeMo (`templar-1`) and SparseLoCo's 2 bits (`sparseloco`).

usage: scripts/bench codec-python [--preset templar-1|sparseloco|all] [--params N] [--threads N] [--peers N] [--repeats N] [--device cpu|cuda:0] [--json]

One square float32 matrix of N elements (the nearest whole number of 64 x 64 chunks a side). Works: `encode` takes a gradient
into the error feedback and gives the bytes to send; `decode` makes a dense float32 tensor of them; `aggregate` makes one dense
update of all peers' bytes. The median of the repeats after one that is not counted. `bytes` are what one peer sends, without
any packing of positions: PyTorch has none.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

try:
    import torch
except ImportError:
    # The libraries that the program itself runs on, so that both sides have the same kernels.
    root = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root / "tests/python"))
    from stand_ins import torch_from

    libtorch = os.path.abspath(os.environ.get("LIBTORCH", root / ".libtorch/torch"))
    torch_from(libtorch, os.path.dirname(libtorch))
    import torch

CHUNK = 64
AREA = CHUNK * CHUNK


def dct_basis():
    """The orthonormal DCT-II of 64 values: `coefficients = basis @ values`."""
    n = torch.arange(CHUNK, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * n[None, :] + 1) * n[:, None] / (2 * CHUNK)) * math.sqrt(2 / CHUNK)
    basis[0] = math.sqrt(1 / CHUNK)
    return basis.float()


def to_chunks(matrix):
    """`[side, side]` as `[chunks, 64, 64]`."""
    rows, columns = (size // CHUNK for size in matrix.shape)
    return matrix.view(rows, CHUNK, columns, CHUNK).transpose(1, 2).reshape(-1, CHUNK, CHUNK)


def from_chunks(chunks, shape):
    rows, columns = (size // CHUNK for size in shape)
    return chunks.view(rows, columns, CHUNK, CHUNK).transpose(1, 2).reshape(shape)


class Demo:
    """Momentum, DCT-II of 64 x 64 chunks, the 32 largest coefficients of each in 8 bits; sign of the aggregate."""

    kept, beta = 32, 0.999

    def __init__(self, shape):
        self.shape = shape
        self.basis = dct_basis()
        self.momentum = torch.zeros(shape)

    def inverse(self, coefficients):
        chunks = self.basis.T @ coefficients.view(-1, CHUNK, CHUNK) @ self.basis
        return from_chunks(chunks, self.shape)

    def encode(self, gradient):
        self.momentum.mul_(self.beta).add_(gradient)
        coefficients = (self.basis @ to_chunks(self.momentum) @ self.basis.T).view(-1, AREA)
        positions = coefficients.abs().topk(self.kept, dim=1).indices
        values = coefficients.gather(1, positions)
        scale = values.abs().max() / 127
        message = positions.to(torch.int16), (values / scale).round_().to(torch.int8), scale
        self.momentum.sub_(self.decode(message))
        return message

    def coefficients(self, message):
        positions, codes, scale = message
        dense = torch.zeros(len(positions), AREA)
        return dense.scatter_(1, positions.long(), codes.float().mul_(scale))

    def decode(self, message):
        return self.inverse(self.coefficients(message))

    def aggregate(self, messages):
        """Every peer counts as much: its values are divided by their length. Where several sent one, their mean."""
        chunks = len(messages[0][0])
        total, count = torch.zeros(chunks, AREA), torch.zeros(chunks, AREA)
        for positions, codes, _ in messages:
            places, values = positions.long(), codes.float()
            total.scatter_add_(1, places, values / values.norm().clamp_min(1e-12))
            count.scatter_add_(1, places, torch.ones_like(values))
        return self.inverse(total.div_(count.clamp_(min=1))).sign_()


class SparseLoCo:
    """Error feedback, the 64 largest of each 64 x 64 chunk in 2 bits: a sign and one of two levels, per chunk."""

    kept, decay = 64, 0.95

    def __init__(self, shape):
        self.shape = shape
        self.error = torch.zeros(shape)

    def encode(self, delta):
        self.error.mul_(self.decay).add_(delta)
        chunks = to_chunks(self.error).view(-1, AREA)
        positions = chunks.abs().topk(self.kept, dim=1).indices
        values = chunks.gather(1, positions)
        magnitudes = values.abs()
        # Two levels on either side of the mean magnitude, each the mean of what is there.
        high = magnitudes > magnitudes.mean(dim=1, keepdim=True)
        count = high.sum(dim=1, keepdim=True)
        upper = (magnitudes * high).sum(dim=1, keepdim=True)
        lower = magnitudes.sum(dim=1, keepdim=True) - upper
        levels = torch.cat([lower / (self.kept - count).clamp(min=1), upper / count.clamp(min=1)], dim=1)
        codes = (values < 0).to(torch.uint8).mul_(2).add_(high)
        # Four codes a byte.
        packed = codes[:, 0::4] | codes[:, 1::4] << 2 | codes[:, 2::4] << 4 | codes[:, 3::4] << 6
        message = positions.to(torch.int16), packed, levels
        self.error.sub_(self.decode(message))
        return message

    def values(self, message):
        _, packed, levels = message
        shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8)
        codes = (packed[:, :, None] >> shifts).bitwise_and_(3).view(len(packed), -1)
        magnitudes = levels.gather(1, codes.bitwise_and(1).long())
        return torch.where(codes > 1, -magnitudes, magnitudes)

    def decode(self, message):
        dense = torch.zeros(len(message[0]), AREA)
        return from_chunks(dense.scatter_(1, message[0].long(), self.values(message)), self.shape)

    def aggregate(self, messages):
        """The mean over the peers."""
        total = torch.zeros(len(messages[0][0]), AREA)
        for message in messages:
            total.scatter_add_(1, message[0].long(), self.values(message))
        return from_chunks(total.div_(len(messages)), self.shape)


PRESETS = {"templar-1": Demo, "sparseloco": SparseLoCo}


def milliseconds(work, repeats):
    """The median of `repeats` after one that is not counted, and what the last one gave."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        made = work()
        if torch.get_default_device().type == "cuda":
            torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken[1:]), made


def check(codec, gradient, messages):
    """What is sent and what is kept are all that there was; the aggregate of equal peers is one's."""
    fresh = type(codec)(codec.shape)
    sent = fresh.decode(fresh.encode(gradient))
    kept = fresh.momentum if isinstance(fresh, Demo) else fresh.error
    assert torch.allclose(sent + kept, gradient, atol=1e-4)
    assert sent.norm() > 0.1 * gradient.norm()
    same, one = codec.aggregate(messages[:1] * 3), codec.decode(messages[0])
    # Two roundings of almost nothing may differ in sign.
    agree = same == one.sign() if isinstance(codec, Demo) else (same - one).abs() < 1e-5
    assert agree.float().mean() > 0.999


@torch.inference_mode()
def measure(preset, side, arguments):
    generator = torch.Generator(torch.get_default_device()).manual_seed(7)
    peers = []
    codec = PRESETS[preset]((side, side))
    for _ in range(arguments.peers):
        gradient = torch.randn(side, side, generator=generator)
        peers.append(PRESETS[preset](codec.shape).encode(gradient))
    check(codec, gradient, peers)
    encode, message = milliseconds(lambda: codec.encode(gradient), arguments.repeats)
    decode, _ = milliseconds(lambda: codec.decode(message), arguments.repeats)
    aggregate, _ = milliseconds(lambda: codec.aggregate(peers), arguments.repeats)
    size = sum(part.numel() * part.element_size() for part in message)
    results = []
    for work, ms, count in ("encode", encode, 1), ("decode", decode, 1), ("aggregate", aggregate, len(peers)):
        results.append({"work": work, "ms": ms, "params_per_s": 1000 * side * side / ms, "bytes": size * count})
    device = str(torch.get_default_device())
    return {"bench": "codec", "preset": preset, "device": device, "params": side * side, "results": results}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=[*PRESETS, "all"], default="all")
    parser.add_argument("--params", type=int, default=9_437_184, metavar="N")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--peers", type=int, default=15, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--device", default="cpu", help="what computes: cpu or cuda:N")
    parser.add_argument("--json", action="store_true", help="one JSON document a line and preset")
    arguments = parser.parse_args()
    if min(arguments.params, arguments.threads, arguments.peers, arguments.repeats) < 1:
        parser.error("numbers must be at least 1")
    torch.set_num_threads(arguments.threads)
    torch.set_default_device(arguments.device)
    side = max(1, round(math.sqrt(arguments.params) / CHUNK)) * CHUNK
    for preset in PRESETS if arguments.preset == "all" else [arguments.preset]:
        found = measure(preset, side, arguments)
        if arguments.json:
            print(json.dumps(found))
            continue
        print(f"{preset}, {found['params']:,} parameters, {arguments.threads} threads, {arguments.peers} peers")
        for line in found["results"]:
            print(f"  {line['work']:9} {line['ms']:9.1f} ms {line['params_per_s'] / 1e6:9.1f} M/s {line['bytes']:12,} bytes")


if __name__ == "__main__":
    main()
