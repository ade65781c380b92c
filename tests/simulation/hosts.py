"""Machines that processes run on: disks that survive a crash, connections that lose messages, a switch to kill them.

A process dies in one of two ways, at a random time: it is cancelled where it waits, or its power fails in the middle of
a write, so that the exception goes through code which has just written. Either way it keeps what its disk has: every
synced write, and of the unsynced ones since then as many as a power cut leaves (LevelDB's log ends somewhere).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import trio

from node.config import L1Config
from node.errors import Temporary
from node.l1.client import L1Client
from node.l1.journal import Record, Version
from node.service import Host
from node.storage.kv import KV, Change, MemoryKV, Reader
from tests.simulation.blocks import Json
from tests.simulation.network import Network

WRITES_MAX = 60  # until the power fails, if it is to fail in a write


class PowerCut(BaseException):
    """The machine is off. Nothing may catch it, as nothing could."""


class Disk:
    """What a machine keeps: stores by path, and the sender's journal."""

    def __init__(self) -> None:
        self.stores: dict[Path, DiskKV] = {}
        self.journals: dict[Path, dict[str, Record]] = {}
        self.writes_left: int | None = None  # until the power fails

    def spend(self) -> None:
        """A write is about to happen. Raises PowerCut."""
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                raise PowerCut

    def recover(self, rng: Random) -> None:
        """The machine is switched on again."""
        self.writes_left = None
        for store in self.stores.values():
            store.lose(rng)

    def open_store(self, path: Path) -> KV:
        """The store at a path, with what it has."""
        return self.stores.setdefault(path, DiskKV(self))

    def open_journal(self, path: Path) -> DiskJournal:
        """The journal at a path, with what it has."""
        return DiskJournal(self, self.journals.setdefault(path, {}))


class DiskKV:
    """A ``KV`` that can lose what was not synced."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._data = MemoryKV()
        self._unsynced: list[list[Change]] = []  # for each write since the last sync: what it replaced

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def iterate(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._data.iterate(start, stop, reverse=reverse)

    def snapshot(self) -> Reader:
        return self._data.snapshot()

    def write(self, changes: Iterable[Change], *, sync: bool = False) -> None:
        listed = list(changes)
        self._disk.spend()
        if sync:
            self._unsynced.clear()
        else:
            self._unsynced.append([(key, self._data.get(key)) for key, _ in reversed(listed)])
        self._data.write(listed)

    def lose(self, rng: Random) -> None:
        """Some of the newest unsynced writes never happened."""
        for _ in range(rng.randint(0, len(self._unsynced))):
            self._data.write(self._unsynced.pop())
        self._unsynced.clear()

    def close(self) -> None:
        pass


class DiskJournal:
    """A sender's journal: every line is synced before the sender goes on."""

    def __init__(self, disk: Disk, kept: dict[str, Record]) -> None:
        self._disk = disk
        self._kept = kept
        self.records = {name: _copy(record) for name, record in kept.items()}

    def assign(self, record: Record) -> None:
        """See ``Journal.assign``."""
        self.records[record.intent_id] = record
        self._keep(record)

    def publish(self, record: Record, version: Version) -> None:
        """See ``Journal.publish``."""
        record.versions.append(version)
        self._keep(record)

    def finish(self, record: Record, *, tx_hash: bytes = b"", failure: str = "") -> None:
        """See ``Journal.finish``."""
        record.tx_hash, record.failure, record.data = tx_hash, failure, b""
        self._keep(record)

    def close(self) -> None:
        """See ``Journal.close``."""

    def _keep(self, record: Record) -> None:
        self._disk.spend()
        self._kept[record.intent_id] = _copy(record)


def _copy(record: Record) -> Record:
    return dataclasses.replace(record, versions=list(record.versions))


class Wire:
    """A ``Transport`` to one of the L1 nodes behind a balancer: another one after a failure, and now and then."""

    def __init__(self, network: Network, rng: Random) -> None:
        self._network = network
        self._rng = rng
        self._node = rng.choice(network.nodes)

    async def request(self, method: str, params: list[Any]) -> Json:
        """See ``Transport.request``. Half of the losses lose the answer: the node has done what it was asked."""
        weather, rng = self._network.weather, self._rng
        fate = rng.random()
        if rng.random() < weather.latency:
            await trio.sleep(rng.uniform(0.1, weather.latency_s))
        else:
            await trio.lowlevel.checkpoint()
        if fate < weather.request_loss / 2:
            await self._time_out()
        node, now = self._node, trio.current_time()
        if node.down_until > now:
            self._node = rng.choice(self._network.nodes)
            raise ConnectionRefusedError
        node.advance(now)
        answer = node.answer(method, params, lambda tx: self._network.publish(node, tx))
        if fate > 1 - weather.request_loss / 2:
            await self._time_out()
        if rng.random() < 0.01:
            self._node = rng.choice(self._network.nodes)
        return answer

    async def _time_out(self) -> None:
        await trio.sleep(self._network.weather.timeout_s)
        self._node = self._rng.choice(self._network.nodes)
        raise TimeoutError

    def close(self) -> None:
        """See ``Transport.close``."""


@dataclass(frozen=True)
class Lifetime:
    """How long a process runs and rests, seconds: uniform between the bounds."""

    up: tuple[float, float]
    down: tuple[float, float]
    loses_disk: float = 0.0  # chance that it comes back with an empty one
    power_cut: float = 0.4  # chance that it dies in a write instead of where it waits


@dataclass
class Process:
    """A program that is killed and started again, on one machine."""

    name: str
    run: Callable[[Host], Awaitable[None]]
    lifetime: Lifetime
    disk: Disk = field(default_factory=Disk)
    starts: int = 0
    gave_up: int = 0  # ends of its own accord, because it could not reach L1

    async def supervise(self, network: Network, rng: Random) -> None:
        """Run for ever. A failure that is neither ours nor L1's is a bug, and ends the simulation."""
        cut = False
        while True:
            self.starts += 1
            cut = not cut and rng.random() < self.lifetime.power_cut  # never twice in a row
            if cut:
                self.disk.writes_left = rng.randint(1, WRITES_MAX)
            with trio.move_on_after(rng.uniform(*self.lifetime.up)):
                try:
                    await self.run(self._host(network, rng))
                except BaseExceptionGroup as group:
                    self._expected(group)
                except (PowerCut, Temporary) as error:
                    self._expected(BaseExceptionGroup(self.name, [error]))
            await trio.sleep(rng.uniform(*self.lifetime.down))
            if rng.random() < self.lifetime.loses_disk:
                self.disk = Disk()
            self.disk.recover(rng)

    def _host(self, network: Network, rng: Random) -> Host:
        def connect(config: L1Config) -> L1Client:
            return L1Client(config.rpc, logs_range_max=config.logs_range_max, transport=Wire(network, rng))

        return Host(connect, self.disk.open_store, self.disk.open_journal, listens=False)

    def _expected(self, group: BaseExceptionGroup[BaseException]) -> None:
        """Let pass that the power failed or that L1 could not be reached at the start; raise everything else."""
        _, other = group.split((PowerCut, Temporary))
        if other is not None:
            raise other
        self.gave_up += group.subgroup(PowerCut) is None
