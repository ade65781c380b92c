"""Anchorline's library: the rules, storage, L1, derivation, RPC, and the verifier that follows L1.

The hash backend is chosen here, before anything hashes: left to itself, eth-hash takes one that is seven times slower.
"""

import os

os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")
