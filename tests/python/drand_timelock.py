"""Locks and unlocks with bittensor-drand: a JSON list of requests on stdin, the answers on stdout.

Bytes are hex. Each request is one of
{"encrypt": plaintext, "round": number} -> ciphertext (without the library's envelope)
{"decrypt": ciphertext, "round": number, "signature": bytes} -> plaintext, or null where it is refused
{"commit": {argument: value, ...}} -> [ciphertext, round, seconds before, seconds after]; the arguments are those of
    the version's function, weights and hotkey included; "round" in place of "block_time" asks for a block time that
    leads to that round, which takes "blocks", the number of blocks until the round.
"""

import json
import sys
import time

import bittensor_drand as drand

GENESIS = 1692803367
PERIOD = 3

make_commit = getattr(drand, "get_encrypted_commit_v2", None) or drand.get_encrypted_commit


def compact(number):
    """SCALE's form of a length."""
    if number < 1 << 6:
        return bytes([number << 2])
    if number < 1 << 14:
        return (number << 2 | 1).to_bytes(2, "little")
    return (number << 2 | 2).to_bytes(4, "little")


def unwrap(envelope):
    """The ciphertext in the library's envelope, which is SCALE of (bytes, round)."""
    width = (1, 2, 4)[envelope[0] & 3]
    length = int.from_bytes(envelope[:width], "little") >> 2
    assert len(envelope) == width + length + 8
    return envelope[width : width + length]


def answer(request):
    if "encrypt" in request:
        envelope, _ = drand.encrypt_at_round(bytes.fromhex(request["encrypt"]), request["round"])
        return unwrap(envelope).hex()
    if "decrypt" in request:
        ciphertext = bytes.fromhex(request["decrypt"])
        envelope = compact(len(ciphertext)) + ciphertext + request["round"].to_bytes(8, "little")
        try:
            return drand.decrypt_with_signature(envelope, request["signature"]).hex()
        except ValueError:
            return None
    arguments = dict(request["commit"], hotkey=bytes.fromhex(request["commit"]["hotkey"]))
    before = time.time()
    if "blocks" in arguments:
        target = GENESIS + PERIOD * (arguments.pop("round") + 0.5)
        arguments["block_time"] = (target - before) / arguments.pop("blocks")
    ciphertext, at = make_commit(**arguments)
    return [ciphertext.hex(), at, before, time.time()]


json.dump([answer(request) for request in json.load(sys.stdin)], sys.stdout)
