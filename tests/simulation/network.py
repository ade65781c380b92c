"""The simulated L1: nodes that propose blocks every 12 s of trio's clock, lose messages, fall behind, fork and restart.

Time is trio's clock and nothing else. Whatever is random comes from one generator, so a seed names one history.

- At every slot a node that is up proposes a block on its own head, from its own mempool. One that is behind proposes a
  sibling of a block that others have, and the longest chain decides; some slots are missed.
- Now and then the last blocks are replaced by a longer branch, with some of their transactions left out or moved.
- Blocks and transactions travel to each node with a delay of its own; a node that is down gets them when it is back.

Bounds: a node behind by more than ``BEHIND_MAX`` blocks does not propose, and reorganisations replace at most
``REORG_MAX`` blocks, fewer than L1's safe depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

import trio

from tests.evm import Evm
from tests.simulation.blocks import Block, Outcome, Tx
from tests.simulation.node import BLOCK_TXS, GWEI, Node

SLOT_S = 12
BEHIND_MAX = 1
REORG_MAX = 3
BASE_FEE_MIN = GWEI


@dataclass(frozen=True)
class Weather:
    """How bad the network is. Probabilities per message, block or slot; delays and durations in seconds."""

    request_loss: float = 0.02  # a request or its answer is lost: half of them after they took effect
    timeout_s: float = 10.0
    latency: float = 0.2  # a request takes a while; others no time
    latency_s: float = 1.5
    gossip_loss: float = 0.05  # a transaction does not reach another node
    gossip_s: float = 3.0
    slow_block: float = 0.08  # a block comes late to a node
    slow_block_s: float = 20.0
    outage: float = 0.015  # a node goes down at a slot, unless another one is down
    outage_s: float = 90.0
    missed_slot: float = 0.03
    reorg: float = 0.03


class Network:
    """See the module. ``inspect`` sees every block right after it was executed first, with the node that did."""

    def __init__(
        self, genesis: Evm, history: list[Block], nodes: int, weather: Weather, rng: Random,
        inspect: Callable[[Node, Block], None],
    ) -> None:
        self.nodes = [Node(f"l1-{index}", genesis, history) for index in range(nodes)]
        self.weather = weather
        self.rng = rng
        self.best = history[-1]
        self.reorgs: list[int] = []  # depths
        self.proposed = 0
        self._inspect = inspect
        self._genesis_time = history[-1].timestamp

    async def run(self) -> None:
        """Propose for ever."""
        for slot in count(1):
            await trio.sleep_until(slot * SLOT_S)
            self._tempest()
            self._slot(self._genesis_time + slot * SLOT_S)

    def _tempest(self) -> None:
        """A node may go down. Never two at a time: that would be a network without L1."""
        now, weather = trio.current_time(), self.weather
        if self.rng.random() < weather.outage and all(node.down_until <= now for node in self.nodes):
            self.rng.choice(self.nodes).fail(now + self.rng.uniform(0.2, 1.0) * weather.outage_s)

    def _slot(self, timestamp: int) -> None:
        if self.rng.random() < self.weather.missed_slot:
            return
        node = self._proposer()
        if self.rng.random() < self.weather.reorg and self.best.number > REORG_MAX:
            self._reorganise(node, timestamp)
        else:
            self._propose(node, timestamp)

    def _proposer(self) -> Node:
        now = trio.current_time()
        able: list[Node] = []
        for node in self.nodes:
            if node.down_until <= now:
                node.advance(now)
                able.append(node)
        synced = [node for node in able if node.head.number >= self.best.number - BEHIND_MAX]
        if not synced:
            able[0].switch(self.best)
            return able[0]
        return self.rng.choice(synced)

    def _reorganise(self, node: Node, timestamp: int) -> None:
        """Replace the newest blocks by a branch that is longer by one, on which other transactions came first."""
        depth = self.rng.randint(1, REORG_MAX)
        if node.head is not self.best:
            node.switch(self.best)
        times = [block.timestamp for block in node.chain[-depth:]]
        node.undo(node.head.number - depth)
        self.reorgs.append(depth)
        for at in times:
            self._propose(node, at, leave_out=0.5)
        self._propose(node, timestamp, leave_out=0.2)

    def _propose(self, node: Node, timestamp: int, leave_out: float = 0.0) -> None:
        parent = node.head
        base_fee = _base_fee(parent)
        node.begin(parent.number + 1, timestamp)
        nonces = dict(parent.nonces)
        txs: list[Tx] = []
        outcomes: list[Outcome] = []
        skipped: set[bytes] = set()
        for tx in _by_price(node.pool, nonces, base_fee):
            if len(txs) >= BLOCK_TXS:
                break
            if tx.sender in skipped or (leave_out and self.rng.random() < leave_out):
                skipped.add(tx.sender)
                continue
            outcomes.append(node.machine.transact(tx.sender, tx.to, tx.data))
            nonces[tx.sender] = tx.nonce + 1
            txs.append(tx)
        extra = self.rng.randbytes(8)
        block = Block(parent.number + 1, parent, timestamp, base_fee, tuple(txs), tuple(outcomes), nonces, extra)
        node.adopt(block)
        self.proposed += 1
        self._inspect(node, block)
        self._spread(node, block)

    def _spread(self, origin: Node, block: Block) -> None:
        if block.number > self.best.number:
            self.best = block
        now, weather = trio.current_time(), self.weather
        for node in self.nodes:
            if node is not origin:
                slow = self.rng.random() < weather.slow_block
                node.deliver(now + self.rng.uniform(0.1, weather.slow_block_s if slow else 1.0), block)

    def publish(self, origin: Node, tx: Tx) -> None:
        """A transaction that a node took travels on to the others."""
        now, weather = trio.current_time(), self.weather
        for node in self.nodes:
            if node is not origin and self.rng.random() >= weather.gossip_loss:
                node.deliver(now + self.rng.uniform(0.1, weather.gossip_s), tx)


def _base_fee(parent: Block) -> int:
    """EIP-1559 in spirit: an eighth up after a full block, an eighth down after one that is less than half full."""
    if len(parent.txs) >= BLOCK_TXS:
        return parent.base_fee * 9 // 8
    return max(BASE_FEE_MIN, parent.base_fee * 7 // 8) if 2 * len(parent.txs) < BLOCK_TXS else parent.base_fee


def _by_price(pool: dict[tuple[bytes, int], Tx], nonces: dict[bytes, int], base_fee: int) -> list[Tx]:
    """What may be included, each sender's in order of nonces, else who pays more first (equals: who came first)."""
    runs: dict[bytes, list[Tx]] = {}
    for sender, nonce in sorted(pool, key=lambda key: key[1]):
        run = runs.setdefault(sender, [])
        if nonce == nonces.get(sender, 0) + len(run) and pool[sender, nonce].pays(base_fee) >= 0:
            run.append(pool[sender, nonce])
    order: list[Tx] = []
    while any(runs.values()):
        best = max((run for run in runs.values() if run), key=lambda run: run[0].pays(base_fee))
        order.append(best.pop(0))
    return order
