"""Uses the development chain with Bittensor's own SDK, and prints what it saw as JSON.

Arguments: the chain's address, and the subnet that the test made, in which `//Validator` may set weights.
"""

import json
import sys
import tempfile

import bittensor
from bittensor_wallet import Wallet

url, netuid = sys.argv[1], int(sys.argv[2])
folder = tempfile.mkdtemp()


def wallet(name, coldkey, hotkey):
    made = Wallet(name=name, hotkey="default", path=folder)
    made.create_coldkey_from_uri(coldkey, use_password=False, overwrite=True, suppress=True)
    made.create_hotkey_from_uri(hotkey, use_password=False, overwrite=True, suppress=True)
    return made


validator = wallet("validator", "//Bob", "//Validator")
newcomer = wallet("newcomer", "//Charlie", "//Newcomer")
chain = bittensor.Subtensor(network=url)
saw = {"block": chain.block, "netuids": list(chain.get_all_subnets_netuid())}


def note(name, answer):
    saw[name] = bool(getattr(answer, "success", answer))
    if not saw[name]:
        saw[name + "_message"] = str(getattr(answer, "message", answer))


note(
    "register",
    chain.burned_register(wallet=newcomer, netuid=netuid, mev_protection=False),
)
note("commitment", chain.set_commitment(wallet=newcomer, netuid=netuid, data="hello"))
note(
    "weights",
    chain.set_weights(
        wallet=validator,
        netuid=netuid,
        uids=[1, 2],
        weights=[0.25, 1.0],
        wait_for_inclusion=True,
        wait_for_finalization=True,
    ),
)
graph = chain.metagraph(netuid, lite=False)
uid = chain.get_uid_for_hotkey_on_subnet(newcomer.hotkey.ss58_address, netuid)
saw |= {
    "n": int(graph.n),
    "hotkeys": [neuron.hotkey for neuron in graph.neurons],
    "newcomer": newcomer.hotkey.ss58_address,
    "uid": uid,
    "W": [[float(weight) for weight in row] for row in graph.W],
    "permits": [bool(permit) for permit in graph.validator_permit],
    "committed": chain.get_commitment(netuid, uid),
    "tempo": chain.tempo(netuid),
    "hyperparameters": chain.get_subnet_hyperparameters(netuid).tempo,
    "name": chain.subnet(netuid).subnet_name,
    "info": len(chain.get_metagraph_info(netuid).hotkeys),
    "stake": float(chain.get_stake(validator.coldkey.ss58_address, validator.hotkey.ss58_address, netuid).tao),
}
print(json.dumps(saw, default=str), flush=True)
chain.close()
