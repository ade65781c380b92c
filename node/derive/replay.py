"""Replaying a posted batch: blocks out of chunks, every root compared, and what is wrong with a wrong one.

The verdict is the rules' own. A batch agrees if every chunk is valid, every posted root is the one that execution
leads to, and the header's mirror is the ``G`` leaf after the last chunk. The first chunk that differs is what a fraud
proof needs; nothing of a batch that disagrees stays in the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from node.derive.blocks import split_blocks
from node.derive.chain import BatchRecord, Chain, ExecutedChunk, SealedBlock, execute_chunk
from node.errors import Critical
from node.stf import state
from node.stf.commitments import BatchHeader, header_hash
from node.stf.engine import Engine
from node.stf.transition import INVALID_ROOT, InvalidChunk


@dataclass(frozen=True, slots=True)
class PostedBatch:
    """A batch as L1 shows it: the header that Rollup keeps, the chunks in the transaction's input."""

    header: BatchHeader
    chunks: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    l1_tx: bytes
    l1_block: int


class Fraud(Enum):
    """What is wrong with a batch."""

    ROOT = "wrong root"  # a chunk leads to another root
    INVALID = "invalid chunk"  # a chunk that may not be posted at all
    HEADER = "lying header"  # the mirror of G differs from the state


@dataclass(frozen=True, slots=True)
class Dispute:
    """Evidence against a batch: all that a proof is built from, with the chain's state at ``base_block``."""

    batch: PostedBatch
    parent: BatchHeader
    base_block: int
    kind: Fraud
    chunk: int  # index of the first wrong chunk; the last one for a lying header
    claimed: bytes
    true: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """A batch that is right, with the blocks it made."""

    record: BatchRecord
    roots: int


class _Wrong(Exception):
    def __init__(self, kind: Fraud, chunk: int, true: bytes, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.chunk = chunk
        self.true = true


class Messages(Protocol):
    """What replay asks of an inbox."""

    def message(self, number: int) -> bytes | None:
        """A message's bytes; None beyond the last one."""
        ...


class Replayer:
    """Replays batches on a chain, one after another."""

    def __init__(self, chain: Chain, inbox: Messages) -> None:
        self._chain = chain
        self._inbox = inbox
        self._cursor_max = 0
        self.engine = self._new_engine()

    def _new_engine(self) -> Engine:
        return self._chain.engine(self._message)

    def reset(self) -> None:
        """Forget decoded state after the chain has rolled back."""
        self.engine = self._new_engine()

    def _message(self, number: int) -> bytes | None:
        return self._inbox.message(number) if number < self._cursor_max else None

    def replay(self, batch: PostedBatch, parent: BatchHeader) -> Iterator[Agreement | Dispute | None]:
        """Execute and commit a batch on the chain's head, yielding None between chunks, the verdict last.

        After a Dispute the chain is where it was before.
        """
        base = self._chain.head.number
        self._cursor_max = batch.header.inbox_cursor
        roots = 0
        try:
            for block in split_blocks(batch.chunks):
                executed: list[ExecutedChunk] = []
                for index in block:
                    executed.append(self._execute(batch, index))
                    yield None
                sealed = self._chain.seal(executed)
                self._compare(batch, block, sealed)
                if sealed.block.header.number != self._chain.head.number + 1:
                    self._check_header(batch)  # L1 took a higher block number, and no chunk opened a block
                self._commit(sealed)
                roots += len(block)
            self._check_header(batch)
        except _Wrong as wrong:
            self._chain.rollback(base)
            self.reset()
            claimed = batch.roots[wrong.chunk]
            yield Dispute(batch, parent, base, wrong.kind, wrong.chunk, claimed, wrong.true, str(wrong))
            return
        record = BatchRecord(
            batch.header.number, base + 1, self._chain.head.number, header_hash(parent), 0, batch.header, batch.l1_tx,
            batch.l1_block,
        )
        self._chain.put_batch(record)
        yield Agreement(record, roots)

    def _execute(self, batch: PostedBatch, index: int) -> ExecutedChunk:
        try:
            return execute_chunk(self.engine, batch.chunks[index])
        except InvalidChunk as invalid:
            raise _Wrong(Fraud.INVALID, index, INVALID_ROOT, f"chunk {index} is invalid: {invalid}") from None

    def _compare(self, batch: PostedBatch, block: range, sealed: SealedBlock) -> None:
        for index, chunk in zip(block, sealed.block.chunks, strict=True):
            if chunk.post_root != batch.roots[index]:
                reason = f"chunk {index} leads to 0x{chunk.post_root.hex()}, not 0x{batch.roots[index].hex()}"
                raise _Wrong(Fraud.ROOT, index, chunk.post_root, reason)

    def _commit(self, sealed: SealedBlock) -> None:
        consumed: dict[int, bytes] = {}
        for number in range(self._chain.head.cursor, sealed.block.header.cursor):
            message = self._inbox.message(number)
            assert message is not None, "consumed messages were there when they were consumed"
            consumed[number] = message
        self._chain.commit(sealed, consumed)
        self.engine.evict()

    def _check_header(self, batch: PostedBatch) -> None:
        words = tuple(self.engine_globals())
        if words != batch.header.globals:
            wrong = next(i for i, (a, b) in enumerate(zip(words, batch.header.globals, strict=True)) if a != b)
            reason = f"word {wrong} of the header's totals is {batch.header.globals[wrong]:#x}, not {words[wrong]:#x}"
            raise _Wrong(Fraud.HEADER, len(batch.chunks) - 1, batch.roots[-1], reason)

    def engine_globals(self) -> list[int]:
        """Words of the G leaf at the head."""
        return state.global_words(self.engine.globals)


def verdict(steps: Iterator[Agreement | Dispute | None]) -> Agreement | Dispute:
    """Run a replay to its end at once."""
    for step in steps:
        if step is not None:
            return step
    raise Critical("a replay ended without a verdict: report this with the batch")
