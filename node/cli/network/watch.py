"""Watching a devnet through its public RPC: heads of every role, how far the settled heads lag, whether all agree.

A block's header binds its parent, its root and its chunks' roots, so equal hashes at one height prove that two nodes
agree on every root up to it; only where they differ are blocks compared one by one.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from node.keeper.figures import percentile
from node.rpc.client import HttpClient, RpcUnavailable
from node.transport import RpcError

POLL_S: Final = 0.5
BATCH: Final = 50


@dataclass(slots=True)
class Watch:
    """``urls``: name -> RPC of every role; ``statuses``: name -> its newest al_status."""

    urls: dict[str, str]
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    lags_s: dict[str, deque[float]] = field(default_factory=dict)

    async def run(self) -> None:
        """Look for ever; a role that does not answer in time keeps its old status."""
        self.lags_s = {name: deque(maxlen=10_000) for name in ("safe", "finalized")}
        async with trio.open_nursery() as nursery:
            for name, url in self.urls.items():
                nursery.start_soon(self._follow, name, url)

    async def _follow(self, name: str, url: str) -> None:
        async with HttpClient(url, timeout_s=20) as rpc:
            while True:
                try:
                    status = await rpc.call("al_status")
                except (RpcError, RpcUnavailable):
                    await trio.sleep(POLL_S)
                    continue
                if name == "sequencer":
                    self._measure(self.statuses.get(name), status)
                self.statuses[name] = status
                await trio.sleep(POLL_S)

    def _measure(self, before: dict[str, Any] | None, status: dict[str, Any]) -> None:
        """Time between a block and its becoming safe or finalized, for the newest such block."""
        for head, lags in self.lags_s.items():
            now = status["heads"][head]
            if before is not None and now["number"] > before["heads"][head]["number"] > 0:
                lags.append(time.time() - now["time"] / 1_000)

    def number(self, name: str, head: str) -> int:
        """A head's block number; 0 before the first answer."""
        status = self.statuses.get(name)
        return 0 if status is None else int(status["heads"][head]["number"])

    def lag_s(self, head: str) -> float | None:
        """Median lag of a head, seconds."""
        found = percentile(self.lags_s.get(head, deque()), 50)
        return None if found is None else round(found, 1)


@dataclass(slots=True)
class Agreement:
    """A verifier beside the sequencer: chunk roots that agree and do not, up to ``block``."""

    name: str
    block: int
    agreed: int
    disagreed: int
    batches_refuted: int


async def compare(sequencer: str, name: str, url: str) -> Agreement:
    """Compare two nodes' roots up to the newest block that the verifier has derived."""
    async with HttpClient(sequencer, timeout_s=60) as ours, HttpClient(url, timeout_s=60) as theirs:
        status = await theirs.call("al_status")
        block = int(status["heads"]["safe"]["number"])
        wrong = 0
        first, second = await ours.call("al_block", [block]), await theirs.call("al_block", [block])
        if first["hash"] != second["hash"]:
            wrong = await _count_wrong(ours, theirs, block)
        agreed = int(status["roots"]["agreed"])
        return Agreement(name, block, agreed if wrong == 0 else 0, wrong, int(status["batches"]["disagreed"]))


async def _count_wrong(ours: HttpClient, theirs: HttpClient, last: int) -> int:
    """Blocks 1 to ``last`` in which any chunk's root differs."""
    wrong = 0
    for first in range(1, last + 1, BATCH):
        calls = [("al_block", [number]) for number in range(first, min(first + BATCH, last + 1))]
        for mine, other in zip(await ours.batch(calls), await theirs.batch(calls), strict=True):
            same = isinstance(mine, dict) and isinstance(other, dict) and mine["chunks"] == other["chunks"]
            wrong += not same
    return wrong


async def count_batches(url: str) -> int:
    """Batches that the node knows to be on L1."""
    async with HttpClient(url, timeout_s=60) as rpc:
        newest = 0
        while True:
            found = await rpc.call("al_batches", {"first": newest + 1, "count": 500})
            if not found:
                return newest
            newest = int(found[-1]["number"])
