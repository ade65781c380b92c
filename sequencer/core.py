"""The sequencer without L1: chain, log, builder, group commit and ingress, opened together and run in one nursery.

Opening replays the log on top of the last committed block, so that every promise ever given still holds, then starts a
new segment. The ticker seals by time; whatever reads L1 only offers messages and posts what is sealed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from node.derive.chain import Chain, SealedBlock
from node.l1.keys import Signer
from node.metrics import Metrics
from node.rpc.errors import RpcError
from node.storage.kv import KV
from sequencer.builder import Builder, Limits
from sequencer.ingress import Ingress
from sequencer.log import Log
from sequencer.promises import Committer, restore_promises

log = structlog.get_logger("sequencer")

TICKS_PER_BLOCK = 5


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Core:
    """An opened sequencer. ``closed`` says why no order is taken now (None: all are); ``on_sealed`` hears of blocks."""

    def __init__(
        self, kv: KV, folder: Path, domain: bytes, signer: Signer, limits: Limits, *,
        epoch: int, group_ms: int, clock: Callable[[], int] = wall_clock_ms, metrics: Metrics | None = None,
        age: Callable[[], int] | None = None,
    ) -> None:
        self.chain = Chain.open(kv, domain)
        self.journal = Log(folder, domain)
        self.limits = limits
        self.clock = clock
        self.metrics = metrics
        self.closed: Callable[[], RpcError | None] = lambda: None
        self.on_sealed: list[Callable[[SealedBlock], None]] = []
        found = self.journal.recover()
        self.builder = Builder(self.chain, limits, clock, self.journal.append, self._sealed, age)
        replayed = self.builder.replay(found.records)
        restore_promises(self.chain, found.promises, signer)
        self.journal.rotate(self.builder.position, found.previous)
        self.chain.put_fact("log", self.builder.position.to_bytes(8, "big"), sync=True)
        self.journal.prune(self.chain.head.first_position + self.chain.head.tx_count)
        self.committer = Committer(
            self.chain, self.builder, self.journal, signer,
            epoch=epoch, previous=found.previous, group_ms=group_ms, clock=clock, metrics=metrics)
        self.ingress = Ingress(self.builder, self.committer, domain, self._why_closed, metrics)
        log.info("chain_opened", block=self.chain.head.number, position=self.builder.position, replayed=replayed)

    def add_message(self, number: int, message: bytes) -> None:
        """Offer the next inbox message; the ticker consumes it."""
        self.builder.add_message(number, message)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.committer.run)
            nursery.start_soon(self.ingress.run)
            nursery.start_soon(self._tick)
            task_status.started()

    def close(self) -> None:
        """Close the log; what is not committed there was promised to nobody."""
        self.journal.close()

    def _why_closed(self) -> RpcError | None:
        return self.closed()

    async def _tick(self) -> None:
        pause = self.limits.block_ms / 1000 / TICKS_PER_BLOCK
        while True:
            self.builder.tick()
            if self.builder.entries:
                self.committer.wake()
            await trio.sleep(pause)

    def _sealed(self, sealed: SealedBlock) -> None:
        if self.metrics is not None:
            self.metrics.blocks_sealed.inc()
        log.debug("block_sealed", block=sealed.block.header.number, txs=sealed.block.header.tx_count,
                  bytes=sealed.block.size, chunks=len(sealed.block.chunks))
        for listener in self.on_sealed:
            listener(sealed)
