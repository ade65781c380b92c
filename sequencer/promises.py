"""Group commit: everything executed since the last one becomes durable with one sync, then is promised and answered.

▸ A promise leaves only after its transactions and the promise itself are on disk. A commit covers all transactions in
order, ours too; it holds as many promises of at most GROUP_MAX transactions as it takes. Waiting clients are answered
by whoever gave them the Deferred: here only the figures of the promise are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
import trio

from node.derive.chain import Chain
from node.derive.promises import (
    GROUP_MAX,
    PROMISE_BYTES,
    Promise,
    SignedPromise,
    decode_promise,
    digest,
    encode_promise,
    group_leaves,
    group_paths,
    make_promise,
    struct_hash,
)
from node.l1.keys import Signer
from node.metrics import Metrics
from node.storage.chain_store import Table, row_key
from sequencer.builder import Builder, Entry
from sequencer.log import Log

log = structlog.get_logger("promises")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a client gets: the promise its transaction is in, and the way from its leaf to the root."""

    signed: SignedPromise
    index: int
    path: list[bytes]
    shared: dict[str, Any]  # what all members of the group get, for JSON


Waiting = Callable[[Kept], None]


class Committer:
    """One task's ``run``; ``expect`` names who waits for a position, ``wake`` says that there is work."""

    def __init__(
        self, chain: Chain, builder: Builder, journal: Log, signer: Signer, *,
        epoch: int, previous: bytes, group_ms: int, clock: Callable[[], int], metrics: Metrics | None = None,
    ) -> None:
        self._chain = chain
        self._builder = builder
        self._journal = journal
        self._signer = signer
        self._epoch = epoch
        self._previous = previous
        self._clock = clock
        self._group_s = group_ms / 1000
        self._metrics = metrics
        self._waiting: dict[int, Waiting] = {}
        self._work = trio.Event()

    def expect(self, position: int, waiting: Waiting) -> None:
        """Call back with the promise of this position."""
        self._waiting[position] = waiting

    def wake(self) -> None:
        """There are new entries."""
        self._work.set()

    async def run(self) -> None:
        """Commit for ever. Raises Critical when the log cannot be written."""
        while True:
            await self._work.wait()
            if self._group_s:
                await trio.sleep(self._group_s)
            self._work = trio.Event()
            await self.commit()

    async def commit(self) -> None:
        """Commit what there is now."""
        entries, self._builder.entries = self._builder.entries, []
        if not entries:
            return
        groups = [entries[at : at + GROUP_MAX] for at in range(0, len(entries), GROUP_MAX)]
        promises = [self._promise(group) for group in groups]
        self._journal.append_group(promises)
        data = self._journal.take()
        begun = trio.current_time()
        await trio.to_thread.run_sync(self._journal.flush, data)
        if self._metrics is not None:
            self._metrics.commit_seconds.observe(trio.current_time() - begun)
            self._metrics.promises.inc(len(entries))
        for group, promise in zip(groups, promises, strict=True):
            self._answer(group, promise)
        if self._journal.full:
            self._rotate(entries[-1].position + 1)

    def _promise(self, group: list[Entry]) -> Promise:
        # L2 time may stand still while a message waits: the deadline must not have passed when the promise is given
        time = max(self._clock(), self._builder.engine.globals.time)
        hashes = [entry.hash for entry in group]
        promise = make_promise(self._epoch, group[0].position, hashes, time, self._previous)
        self._previous = struct_hash(promise)
        return promise

    def _answer(self, group: list[Entry], promise: Promise) -> None:
        signed = SignedPromise(promise, self._signer.sign_hash(digest(self._chain.domain, promise)))
        self._chain.kv.write([promise_write(signed)])
        if not any(entry.position in self._waiting for entry in group):
            return
        paths = group_paths(group_leaves(promise.first_position, [entry.hash for entry in group]))
        shared = shared_info(signed)
        for index, entry in enumerate(group):
            waiting = self._waiting.pop(entry.position, None)
            if waiting is not None:
                waiting(Kept(signed, index, paths[index], shared))

    def _rotate(self, position: int) -> None:
        """A new segment, and none kept that the database holds on disk. Rare, so it may wait for the disk here."""
        head = self._chain.head
        self._chain.put_fact("log", position.to_bytes(8, "big"), sync=True)
        self._journal.rotate(position, self._previous)
        removed = self._journal.prune(head.first_position + head.tx_count)
        log.info("log_rotated", position=position, segments_removed=removed)


def promise_write(signed: SignedPromise) -> tuple[bytes, bytes]:
    """The record of a promise, by its first position."""
    return row_key(Table.PROMISE, signed.promise.first_position), encode_promise(signed.promise) + signed.signature


def restore_promises(chain: Chain, promises: list[Promise], signer: Signer) -> None:
    """Write again the promises that the log holds (the database may have lost the last of them)."""
    missing = [p for p in promises if chain.kv.get(row_key(Table.PROMISE, p.first_position)) is None]
    chain.kv.write([promise_write(SignedPromise(p, signer.sign_hash(digest(chain.domain, p)))) for p in missing])


def find_promise(chain: Chain, position: int) -> Kept | None:
    """A promise that a committed position was given, with its path; None if there is none.

    After a reset the same positions are promised again, in other groups: one that begins nearer may not reach so far.
    """
    first, stop = row_key(Table.PROMISE, max(0, position - GROUP_MAX + 1)), row_key(Table.PROMISE, position + 1)
    for _name, value in chain.kv.iterate(first, stop, reverse=True):
        promise = decode_promise(value[:PROMISE_BYTES])
        index = position - promise.first_position
        if index >= promise.count:
            continue
        hashes = _hashes(chain, promise.first_position, promise.count)
        if len(hashes) != promise.count:
            continue
        paths = group_paths(group_leaves(promise.first_position, hashes))
        signed = SignedPromise(promise, value[PROMISE_BYTES:])
        return Kept(signed, index, paths[index], shared_info(signed))
    return None


def _hashes(chain: Chain, first: int, count: int) -> list[bytes]:
    """Hashes of the transactions at positions from ``first`` on, as many of ``count`` as are sealed."""
    found: list[bytes] = []
    block = chain.block_at(first)
    while block is not None and len(found) < count and block <= chain.head.number:
        for stored in chain.transactions(block):
            if first <= stored.receipt.position < first + count:
                found.append(stored.hash)
        block += 1
    return found


def shared_info(signed: SignedPromise) -> dict[str, Any]:
    """What a promise says to every member of its group, for JSON."""
    promise = signed.promise
    return {
        "epoch": promise.epoch,
        "first_position": promise.first_position,
        "count": promise.count,
        "time": promise.time,
        "previous": "0x" + promise.previous.hex(),
        "root": "0x" + promise.root.hex(),
        "signature": "0x" + signed.signature.hex(),
    }


def promise_info(kept: Kept) -> dict[str, Any]:
    """A promise for JSON."""
    return {**kept.shared, "index": kept.index, "path": ["0x" + sibling.hex() for sibling in kept.path]}
