"""Uses a chain with Bittensor's own SDK, and prints what it saw as JSON.

Arguments: the chain's address, the subnet, and what to do:
  write   register //sdk-miner, commit, serve an axon, and set weights as the validator //validator
  commit  commit weights as //validator, where the subnet asks for that
  salted  commit weights as //validator by a hash of them and a salt of its own, where the subnet asks for that
  reveal  reveal what was committed so: the weights as a JSON list of [uid, weight], and the salt as another
  read    the metagraph and every commitment
"""

import json
import sys
import tempfile

import bittensor
from bittensor_wallet import Wallet

url, netuid, verb = sys.argv[1], int(sys.argv[2]), sys.argv[3]
folder = tempfile.mkdtemp()


def wallet(name, coldkey, hotkey):
    made = Wallet(name=name, hotkey="default", path=folder)
    made.create_coldkey_from_uri(coldkey, use_password=False, overwrite=True, suppress=True)
    made.create_hotkey_from_uri(hotkey, use_password=False, overwrite=True, suppress=True)
    return made


validator = wallet("validator", "//Bob", "//validator")
newcomer = wallet("newcomer", "//Charlie", "//sdk-miner")
chain = bittensor.Subtensor(network=url)
saw = {"block": chain.block, "netuids": list(chain.get_all_subnets_netuid())}


def note(name, answer):
    saw[name] = bool(getattr(answer, "success", answer))
    if not saw[name]:
        saw[name + "_message"] = str(getattr(answer, "message", answer))


def weigh(uids, weights):
    return chain.set_weights(
        wallet=validator,
        netuid=netuid,
        uids=uids,
        weights=weights,
        wait_for_inclusion=True,
        wait_for_finalization=True,
    )


if verb == "write":
    note("register", chain.burned_register(wallet=newcomer, netuid=netuid, mev_protection=False))
    note("commitment", chain.set_commitment(wallet=newcomer, netuid=netuid, data="hello"))
    axon = bittensor.Axon(wallet=newcomer, ip="127.0.0.1", port=8123, external_ip="8.8.4.4", external_port=8124)
    note("axon", chain.serve_axon(netuid=netuid, axon=axon))
    note("weights", weigh([1, 2], [0.25, 1.0]))
elif verb == "commit":
    note("weights", weigh([2, 3], [1.0, 0.5]))
elif verb == "salted":
    how = {"version_key": 0, "wait_for_inclusion": True, "wait_for_finalization": True}
    made = chain.commit_weights(validator, netuid, salt=[7, 8, 65535], uids=[1, 2], weights=[16384, 65535], **how)
    note("salted", made)
elif verb == "reveal":
    rows, salt = json.loads(sys.argv[4]), json.loads(sys.argv[5])
    uids, weights = [uid for uid, _ in rows], [weight for _, weight in rows]
    note("reveal", chain.reveal_weights(validator, netuid, uids=uids, weights=weights, salt=salt, version_key=0))

saw["block"] = chain.block
graph = chain.metagraph(netuid, lite=False, block=saw["block"])
uid = chain.get_uid_for_hotkey_on_subnet(newcomer.hotkey.ss58_address, netuid)
saw |= {
    "n": int(graph.n),
    "hotkeys": [neuron.hotkey for neuron in graph.neurons],
    "newcomer": newcomer.hotkey.ss58_address,
    "uid": uid,
    "W": [[float(weight) for weight in row] for row in graph.W],
    "permits": [bool(permit) for permit in graph.validator_permit],
    "last_update": [int(block) for block in graph.last_update],
    "commitments": {str(key): str(value) for key, value in chain.get_all_commitments(netuid).items()},
    "tempo": chain.tempo(netuid),
    "hyperparameters": chain.get_subnet_hyperparameters(netuid).tempo,
    "name": chain.subnet(netuid).subnet_name,
    "info": len(chain.get_metagraph_info(netuid).hotkeys),
    "stake": float(chain.get_stake(validator.coldkey.ss58_address, validator.hotkey.ss58_address, netuid).tao),
}
print(json.dumps(saw, default=str), flush=True)
chain.close()
