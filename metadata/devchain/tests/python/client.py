"""Uses the development chain with a client that this project did not write, and prints what it saw.

Arguments: the chain's address, and the subnet that the test made. The last line is JSON for the test.
"""

import atexit
import json
import sys

from async_substrate_interface.errors import SubstrateRequestException
from async_substrate_interface.sync_substrate import SubstrateInterface
from bittensor_wallet import Keypair

url, netuid = sys.argv[1], int(sys.argv[2])
chain = SubstrateInterface(url, ss58_format=42)
# Left open, its connection keeps the interpreter from ending.
atexit.register(chain.close)
alice = Keypair.create_from_uri("//Alice")
bob = Keypair.create_from_uri("//Bob")
# A hotkey which never held a balance: its calls are free.
validator = Keypair.create_from_uri("//Validator")


def submit(module, function, params, signer):
    call = chain.compose_call(call_module=module, call_function=function, call_params=params)
    extrinsic = chain.create_signed_extrinsic(call=call, keypair=signer, era={"period": 64})
    return chain.submit_extrinsic(extrinsic, wait_for_finalization=True)


def value(answer):
    return getattr(answer, "value", answer)


def query(module, item, *params):
    return value(chain.query(module, item, list(params)))


def balance(who):
    return query("System", "Account", who.ss58_address)["data"]["free"]


before = balance(bob)
transfer = submit(
    "Balances",
    "transfer_keep_alive",
    {"dest": bob.ss58_address, "value": 1_500_000_000},
    alice,
)
weights = submit(
    "SubtensorModule",
    "set_weights",
    {"netuid": netuid, "dests": [0, 1], "weights": [65535, 7], "version_key": 0},
    validator,
)
try:
    refused = submit(
        "SubtensorModule",
        "set_weights",
        {"netuid": netuid, "dests": [0], "weights": [1], "version_key": 0},
        validator,
    )
    refusal = str(refused.error_message)
except SubstrateRequestException as error:
    refusal = str(error)
failed = submit(
    "SubtensorModule",
    "set_weights",
    {"netuid": 0, "dests": [0], "weights": [1], "version_key": 0},
    alice,
)
events = chain.get_events(weights.block_hash)
old = chain.get_block_hash(1)

print(
    json.dumps(
        {
            "chain": chain.rpc_request("system_chain", [])["result"],
            "calls": sorted(
                {
                    f"{pallet.name}.{call.name}"
                    for pallet in chain.get_metadata().pallets
                    for call in (pallet.calls or [])
                    if pallet.name in ("SubtensorModule", "Commitments")
                }
            ),
            "transferred": balance(bob) - before,
            "transfer_ok": transfer.is_success,
            "weights_ok": weights.is_success,
            "weights": query("SubtensorModule", "Weights", netuid, 1),
            "keys": len(list(chain.query_map("SubtensorModule", "Keys", [netuid]))),
            "hotkey": query("SubtensorModule", "Keys", netuid, 1) == validator.ss58_address,
            "tempo_default": query("SubtensorModule", "Tempo", 77),
            "weights_then": value(
                chain.query("SubtensorModule", "Weights", [netuid, 1], block_hash=old)
            ),
            "events": [
                [event["event"]["module_id"], event["event"]["event_id"]]
                if "event" in event
                else [event["module_id"], event["event_id"]]
                for event in events
            ],
            "refusal": refusal,
            "failed": failed.error_message,
        },
        default=str,
    )
)
