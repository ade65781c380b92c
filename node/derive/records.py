"""Records beside the chain's blocks: batches, and what finds a transaction inside its block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

import rlp

from node.derive.blocks import Chunk, Outcome, rlp_bytes, rlp_int, rlp_list
from node.stf import commitments
from node.stf.commitments import BatchHeader
from node.stf.types import BLOCK, INBOX, LIQUIDATE, RESUME

T = TypeVar("T")

# transactions whose bytes repeat: they are found by position, not by hash
_NAMELESS: Final = frozenset((RESUME, LIQUIDATE, INBOX, BLOCK))


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A run of whole blocks for L1. ``header`` is None until L1 has it; ``attempt`` counts postings given up."""

    number: int
    first_block: int
    last_block: int
    parent: bytes
    attempt: int = 0
    header: BatchHeader | None = None
    l1_tx: bytes = b""
    l1_block: int = 0
    l1_gas: int = 0


def rebase(record: BatchRecord, parent: bytes) -> BatchRecord:
    """The batch to be posted anew on another parent."""
    return replace(record, parent=parent, attempt=record.attempt + 1, header=None, l1_tx=b"", l1_block=0, l1_gas=0)


def encode_batch(record: BatchRecord) -> bytes:
    """RLP of a batch record."""
    header = b"" if record.header is None else commitments.encode_header(record.header)
    return rlp_list((
        rlp_int(record.number), rlp_int(record.first_block), rlp_int(record.last_block), rlp_bytes(record.parent),
        rlp_int(record.attempt), rlp_bytes(header), rlp_bytes(record.l1_tx), rlp_int(record.l1_block),
        rlp_int(record.l1_gas),
    ))


def decode_batch(data: bytes) -> BatchRecord:
    """The inverse of ``encode_batch``."""
    number, first, last, parent, attempt, header, l1_tx, l1_block, l1_gas = rlp.decode(data)
    return BatchRecord(
        int.from_bytes(number, "big"), int.from_bytes(first, "big"), int.from_bytes(last, "big"), parent,
        int.from_bytes(attempt, "big"), commitments.decode_header(header) if header else None, l1_tx,
        int.from_bytes(l1_block, "big"), int.from_bytes(l1_gas, "big"))


def slices(chunks: Iterable[Chunk], outcomes: Iterable[Outcome]) -> list[bytes]:
    """The bytes of each transaction."""
    whole = b"".join([chunk.data for chunk in chunks])
    found, at = [], 0
    for outcome in outcomes:
        found.append(whole[at : at + outcome.size])
        at += outcome.size
    return found


def named(chunks: Iterable[Chunk], outcomes: Sequence[Outcome]) -> Iterator[tuple[int, bytes]]:
    """Position and bytes of the transactions that are found by hash."""
    for data, outcome in zip(slices(chunks, outcomes), outcomes, strict=True):
        if outcome.receipt.kind not in _NAMELESS:
            yield outcome.receipt.position, data


class Recent(Generic[T]):
    """The last few values by block number."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[int, T] = OrderedDict()

    def put(self, number: int, value: T) -> None:
        self._values[number] = value
        self._values.move_to_end(number)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def get(self, number: int, load: Callable[[], T]) -> T:
        if number not in self._values:
            self.put(number, load())
        return self._values[number]

    def clear(self) -> None:
        self._values.clear()
