"""The rollup that every simulation starts with: deployed, opened, anchored once, and L1's history up to there.

Built once per process by tests/prover/world.py on the fast EVM; a machine per simulated node goes on from its state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from node.l1.types import L1Log
from node.stf.commitments import BatchHeader
from tests.contracts.world import BOND, PARAMS
from tests.evm import Evm
from tests.prover.world import CourtWorld
from tests.simulation.blocks import Block, Log, Outcome, Tx

GULLIBLE = Path(__file__).parent / "mocks" / "GullibleVerifier.vy"
BONDS = 500  # that an operator can lose
GAS_PRICE = 10**9


@dataclass(frozen=True)
class Genesis:
    """Where a simulation starts. Addresses are 20 bytes; ``head`` is the last batch, ``leaves`` the state after it."""

    evm: Evm
    rollup: bytes
    verifier: bytes
    token: bytes
    domain: bytes
    history: list[Block]
    head: BatchHeader
    leaves: dict[bytes, bytes]
    messages: list[bytes]


@cache
def _world(window_s: int, gullible: bool) -> CourtWorld:
    class World(CourtWorld):
        base_params = replace(PARAMS, challenge_window_s=window_s)

    world = World()
    world.set_up()
    world.do(world.operator, "leave_seat")
    if gullible:
        mock = world.evm.deploy(GULLIBLE, world.rollup)
        world.evm.set_code(world.verifier, world.evm.code(mock))
    return world


def genesis(window_s: int, gullible: bool, funded: dict[str, bytes]) -> Genesis:
    """``funded``: who gets tokens, for bonds and deposits."""
    world = _world(window_s, gullible)
    for address in funded.values():
        _fund(world, address)
    return Genesis(
        world.evm, world.rollup_address, bytes.fromhex(world.verifier.address[2:]),
        bytes.fromhex(world.token.address[2:]), world.domain, _history(world), world.headers[-1],
        dict(world.store.leaves), list(world.inbox))


def _fund(world: CourtWorld, address: bytes) -> None:
    while world.token.call("balanceOf", address) < BONDS * BOND:
        world.token.transact("mint", address, 100 * BOND)
    world.token.transact("approve", world.rollup, 2**256 - 1, sender=address)


def _history(world: CourtWorld) -> list[Block]:
    """What has happened, as L1's first blocks: one transaction each."""
    blocks: list[Block] = []
    for mined in world.l1.blocks:
        known = mined.transaction
        tx = Tx(known.hash, b"", known.sender, known.nonce, GAS_PRICE, GAS_PRICE, 0, known.to or b"", 0, known.input)
        outcome = Outcome(True, 0, tuple(_log(log) for log in mined.logs))
        parent = blocks[-1] if blocks else None
        blocks.append(Block(mined.block.number, parent, mined.block.timestamp, GAS_PRICE, (tx,), (outcome,), {},
                            hash=mined.block.hash))
    return blocks


def _log(log: L1Log) -> Log:
    return Log(log.address, log.topics, log.data)
