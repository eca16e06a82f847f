"""Uses a chain with version 11 of Bittensor's SDK, which shares no code with version 10, and prints what it saw as JSON.

Arguments: the chain's address, the subnet, and what to do:
  write   register //sdk11-miner, commit, serve an axon, and set weights as the validator //validator
  commit  commit weights as //validator, where the subnet asks for that
  reveal  reveal weights that were committed with a salt: a JSON list of [uid, weight], and the salt as another
  read    neurons, weights and every commitment
"""

import asyncio
import json
import sys

import bittensor as bt
from bittensor import calls
from bittensor.intents import serving, weights
from bittensor.sp_core import Keypair

url, netuid, verb = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Keys:
    """What the SDK takes for a wallet."""

    def __init__(self, coldkey, hotkey):
        self.name = hotkey.strip("/")
        self.coldkey = self.coldkeypub = Keypair.create_from_uri(coldkey)
        self.hotkey = self.hotkeypub = Keypair.create_from_uri(hotkey)


validator, newcomer = Keys("//Bob", "//validator"), Keys("//Charlie", "//sdk11-miner")
saw = {}


def note(name, answer):
    saw[name] = bool(answer.success)
    if not answer.success:
        saw[name + "_message"] = f"{answer.message} {answer.error}"


async def main():
    async with bt.Client(url, fallback_endpoints=[], archive_endpoints=[]) as chain:
        if verb == "write":
            call = calls.SubtensorModule.burned_register(netuid=netuid, hotkey=newcomer.hotkey.ss58_address)
            note("register", await chain.submit_call(call, newcomer))
            info = {"fields": [[{"Raw6": b"eleven"}]]}
            call = calls.Commitments.set_commitment(netuid=netuid, info=info)
            note("commitment", await chain.submit_call(call, newcomer, signer="hotkey"))
            axon = serving.ServeAxon(netuid=netuid, ip="8.8.4.4", port=8125)
            note("axon", await chain.execute(axon, newcomer))
        if verb in ("write", "commit"):
            rows = weights.SetWeights(netuid=netuid, uids=[1, 2], weights=[0.25, 1.0])
            note("weights", await chain.execute(rows, validator))
        if verb == "reveal":
            rows, salt = json.loads(sys.argv[4]), json.loads(sys.argv[5])
            uids, values = [uid for uid, _ in rows], [float(weight) for _, weight in rows]
            made = weights.RevealWeights(netuid=netuid, uids=uids, weights=values, salt=salt)
            note("reveal", await chain.execute(made, validator))
        saw["block"] = await chain.block()
        neurons = await chain.read("neurons", netuid=netuid)
        saw["hotkeys"] = [neuron.hotkey for neuron in neurons]
        saw["permits"] = [neuron.validator_permit for neuron in neurons]
        rows = await chain.read("weights", netuid=netuid)
        saw["W"] = {str(row): {str(uid): share for uid, share in shares.items()} for row, shares in rows.items()}
        # One by one: the read of all of them asks for storage of timelocked ones too, which the chain does not keep.
        made = {hotkey: await chain.read("commitment", netuid=netuid, hotkey_ss58=hotkey) for hotkey in saw["hotkeys"]}
        saw["commitments"] = {hotkey: str(one.data) for hotkey, one in made.items() if one}
        saw["balance"] = int((await chain.balances.get(newcomer.coldkey.ss58_address)).rao)
        saw["waiting"] = len(await chain.read("timelocked_weight_commits", netuid=netuid))
        saw["mechanisms"] = await chain.read("mechanism_count", netuid=netuid)


asyncio.run(main())
print(json.dumps(saw, default=str), flush=True)
