"""The hash of a model, from its definition in docs/protocol.md.

usage: model_hash.py FILE     a safetensors file of float32 whose tensors lie in the model's order; prints the hash in hex
"""

import json
import sys

from blake3 import blake3

LEAF = 1 << 20


def number(value):
    return value.to_bytes(8, "little")


with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    root = blake3(derive_key_context="templar model hash, version 2")
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        assert entry["dtype"] == "F32"
        start, end = entry["data_offsets"]
        data = file.read(end - start)
        text = name.encode()
        root.update(number(len(text)) + text)
        root.update(number(len(entry["shape"])) + b"".join(map(number, entry["shape"])))
        for at in range(0, len(data), LEAF):
            root.update(blake3(data[at:at + LEAF]).digest())
    assert not file.read()
print(root.hexdigest())
