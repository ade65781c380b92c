"""Records about the chain, beside the state in the same store: blocks, transactions, batches, heads.

    C b ‖ number:8        block                     C h ‖ hash:32        number of the block with that hash
    C t ‖ position:8      transaction and receipt   C x ‖ hash:32        position of the transaction with that hash
    C c ‖ number:8        chunks of a block         C r ‖ number:8       receipts of a block
    C g ‖ number:8        G leaf after a block
    C a ‖ number:8        batch                     C i ‖ number:8       inbox message
    C p ‖ position:8      promise                   C m ‖ name           meta: heads, cursors, schema
    C k ‖ id:32           promise that a verifier keeps for a trader

A record is an RLP list whose meaning belongs to the caller; integers are big-endian without leading zeros, as RLP has
them. Nothing is written from here but through `write`: `put` and `delete` return changes, which join the block's one
atomic write (`TrieStore.commit_block(extra=…)`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

import rlp

from node.storage.kv import KV, Change, Reader, StorageError, prefix_end

SCHEMA: Final = 1
_SCHEMA_NAME: Final = "schema"
RECORD_BYTES_MAX: Final = 16 * 1024 * 1024

Item = bytes | int | str | Sequence["Item"]


class Table(Enum):
    """What a record is about; the value is its prefix."""

    BLOCK = b"Cb"
    BLOCK_NUMBER = b"Ch"
    CHUNKS = b"Cc"
    RECEIPTS = b"Cr"
    GLOBALS = b"Cg"
    TRANSACTION = b"Ct"
    TRANSACTION_POSITION = b"Cx"
    BATCH = b"Ca"
    MESSAGE = b"Ci"
    PROMISE = b"Cp"
    KEPT = b"Ck"
    META = b"Cm"


Name = int | bytes | str


def row_key(table: Table, name: Name) -> bytes:
    """The store's key: numbers as 8 bytes (0 <= n < 2**64), so that they iterate in order; text as UTF-8."""
    if isinstance(name, int):
        return table.value + name.to_bytes(8, "big")
    return table.value + (name.encode() if isinstance(name, str) else name)


def put(table: Table, name: Name, record: Sequence[Item]) -> Change:
    """The change that stores a record. Raises ValueError if it is too large."""
    data: bytes = rlp.encode(_plain(record))
    if len(data) > RECORD_BYTES_MAX:
        raise ValueError(f"a record of {len(data)} bytes is over the limit of {RECORD_BYTES_MAX}")
    return row_key(table, name), data


def delete(table: Table, name: Name) -> Change:
    """The change that removes a record."""
    return row_key(table, name), None


def number(field: bytes) -> int:
    """An integer field of a record."""
    return int.from_bytes(field, "big")


class ChainStore:
    """Reads records, and writes those that belong to no block."""

    __slots__ = ("_kv",)

    def __init__(self, kv: KV) -> None:
        """Raises StorageError if the records have another schema."""
        self._kv = kv
        found = self.get(Table.META, _SCHEMA_NAME)
        if found is None:
            kv.write([put(Table.META, _SCHEMA_NAME, [SCHEMA])], sync=True)
        elif number(found[0]) != SCHEMA:
            raise StorageError(
                f"the chain records have schema {number(found[0])}, this version reads {SCHEMA}; "
                "delete the data directory to derive again from L1"
            )

    def get(self, table: Table, name: Name) -> list[Any] | None:
        """A record as nested lists of bytes, None if there is none."""
        data = self._kv.get(row_key(table, name))
        return None if data is None else list(rlp.decode(data))

    def number_of(self, table: Table, name: Name) -> int | None:
        """The record [n] as its integer: indices by hash, cursors, heads."""
        record = self.get(table, name)
        return None if record is None else number(record[0])

    def iterate(
        self, table: Table, first: int = 0, last: int | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[int, list[Any]]]:
        """Records of a numbered table from ``first`` to ``last`` (inside; None = to the end)."""
        stop = prefix_end(table.value) if last is None else row_key(table, last) + b"\x00"
        for key, data in self._kv.iterate(row_key(table, first), stop, reverse=reverse):
            yield int.from_bytes(key[len(table.value) :], "big"), list(rlp.decode(data))

    def last(self, table: Table) -> int | None:
        """The greatest number in a numbered table."""
        return next((name for name, _ in self.iterate(table, reverse=True)), None)

    def drop_after(self, table: Table, last: int) -> list[Change]:
        """The changes that remove all records numbered above ``last`` (for a rollback)."""
        return [delete(table, name) for name, _ in self.iterate(table, last + 1)]

    def write(self, changes: Iterable[Change], *, sync: bool = False) -> None:
        self._kv.write(changes, sync=sync)


def records(reader: Reader, table: Table) -> Iterator[tuple[bytes, list[Any]]]:
    """All records of a table of a store or a snapshot, by raw name."""
    for key, data in reader.iterate(table.value, prefix_end(table.value)):
        yield key[len(table.value) :], list(rlp.decode(data))


def _plain(item: Item) -> Any:
    """What rlp encodes: bytes and lists."""
    if isinstance(item, int):
        if item < 0:
            raise ValueError(f"records hold no negative integers: {item}")
        return item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    return [_plain(part) for part in item]
