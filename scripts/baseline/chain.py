"""Seconds that Bittensor's SDK takes for its connection and a metagraph, and for another: `chain.py URL NETUID`."""

import sys
import time

import bittensor

url, netuid = sys.argv[1], int(sys.argv[2])
start = time.perf_counter()
chain = bittensor.Subtensor(network=url)
chain.metagraph(netuid, lite=True)
first = time.perf_counter() - start
start = time.perf_counter()
for _ in range(3):
    assert len(chain.metagraph(netuid, lite=True).neurons) == 256
print(first, (time.perf_counter() - start) / 3, flush=True)
chain.close()
