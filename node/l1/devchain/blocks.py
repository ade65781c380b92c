"""The embedded L1's blocks: a small index in memory, bodies in an unlinked temporary file.

Invariants: ``entries[n].number == n``, each entry's parent hash is its predecessor's hash, and the transaction index
holds exactly the transactions of the indexed blocks. Memory per block is a few hundred bytes; bodies (header,
transactions, receipts) live on disk, so a chain of 1 s blocks runs for days. What a rollback cuts off stays as garbage.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import msgspec
import rlp
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth_hash.auto import keccak
from trie.hexary import HexaryTrie

from .errors import L1RpcError
from .executor import RawLog

BODIES_CACHED_MAX = 32


class LogRecord(msgspec.Struct, array_like=True, frozen=True):
    """A stored event."""

    address: bytes
    topics: list[bytes]
    data: bytes


class ReceiptRecord(msgspec.Struct, array_like=True, frozen=True):
    """A stored receipt; ``created`` is empty unless a contract was made; ``price`` in wei per gas."""

    tx_type: int
    success: bool
    gas_used: int
    gas_cumulative: int
    price: int
    sender: bytes
    created: bytes
    logs: list[LogRecord]


class Body(msgspec.Struct, array_like=True, frozen=True):
    """A stored block: RLP header, raw transactions, receipts in the same order."""

    header: bytes
    txs: list[bytes]
    receipts: list[ReceiptRecord]


@dataclass(frozen=True, slots=True)
class Entry:
    """The index's view of a block; ``bloom`` 0 means no events. ``offset``/``length`` locate its body in the file."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    state_root: bytes
    base_fee: int
    gas_used: int
    gas_limit: int
    bloom: int
    offset: int
    length: int
    tx_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A block ready to be appended."""

    header: Any  # py-evm's PragueBlockHeader
    body: Body
    tx_hashes: tuple[bytes, ...]


def logs_bloom(logs: list[LogRecord]) -> int:
    """2048-bit filter over addresses and topics of ``logs`` (Yellow Paper 4.3.1: three 11-bit numbers of keccak)."""
    bloom = 0
    for log in logs:
        for item in (log.address, *log.topics):
            bloom |= _bloom_bits(item)
    return bloom


def list_root(items: list[bytes]) -> bytes:
    """Root of the trie rlp(index) -> item, as headers commit to transactions and receipts."""
    tree = HexaryTrie({})
    for index, item in enumerate(items):
        tree[rlp.encode(index)] = item
    return bytes(tree.root_hash)


def encode_receipt(record: ReceiptRecord) -> bytes:
    """Consensus encoding of a receipt (typed envelope for types other than 0)."""
    bloom = logs_bloom(record.logs).to_bytes(256, "big")
    fields = [
        b"\x01" if record.success else b"", rlp.sedes.big_endian_int.serialize(record.gas_cumulative), bloom,
        [[log.address, list(log.topics), log.data] for log in record.logs],
    ]
    payload: bytes = rlp.encode(fields)
    return bytes([record.tx_type]) + payload if record.tx_type else payload


def to_records(logs: tuple[RawLog, ...]) -> list[LogRecord]:
    """Events of an execution in stored form."""
    return [LogRecord(log.address, list(log.topics), log.data) for log in logs]


class BlockStore:
    """Append, cut, look up. Not thread-safe: one task owns it."""

    def __init__(self) -> None:
        # The file has no name and vanishes with the process; it lives as long as the store.
        self._file = tempfile.TemporaryFile(prefix="anchorline-l1-")  # noqa: SIM115
        self._end = 0
        self.entries: list[Entry] = []
        self._by_hash: dict[bytes, int] = {}
        self._tx_at: dict[bytes, tuple[int, int]] = {}
        self._bodies: OrderedDict[bytes, Body] = OrderedDict()

    def close(self) -> None:
        """Give the file back. Idempotent."""
        self._file.close()

    @property
    def head(self) -> Entry:
        """The newest block."""
        return self.entries[-1]

    def append(self, sealed: Sealed) -> Entry:
        """Add a block on top of the head; returns its entry."""
        header = sealed.header
        if self.entries and header.parent_hash != self.head.hash:
            raise AssertionError("a block must extend the head")
        encoded = msgspec.msgpack.encode(sealed.body)
        os.pwrite(self._file.fileno(), encoded, self._end)
        entry = Entry(
            number=header.block_number, hash=bytes(header.hash),
            parent_hash=self.head.hash if self.entries else bytes(32), timestamp=header.timestamp,
            state_root=bytes(header.state_root), base_fee=header.base_fee_per_gas, gas_used=header.gas_used,
            gas_limit=header.gas_limit, bloom=header.bloom, offset=self._end, length=len(encoded),
            tx_hashes=sealed.tx_hashes,
        )
        self._end += len(encoded)
        self.entries.append(entry)
        self._by_hash[entry.hash] = entry.number
        for index, tx_hash in enumerate(sealed.tx_hashes):
            self._tx_at[tx_hash] = (entry.number, index)
        return entry

    def cut(self, number: int) -> list[Entry]:
        """Drop every block above ``number``; returns the dropped entries, oldest first."""
        dropped = self.entries[number + 1:]
        del self.entries[number + 1:]
        for entry in dropped:
            del self._by_hash[entry.hash]
            for tx_hash in entry.tx_hashes:
                del self._tx_at[tx_hash]
        return dropped

    def body(self, entry: Entry) -> Body:
        """Read a block's body (cut blocks too, as long as the entry is at hand)."""
        cached = self._bodies.get(entry.hash)
        if cached is not None:
            self._bodies.move_to_end(entry.hash)
            return cached
        encoded = os.pread(self._file.fileno(), entry.length, entry.offset)
        body = msgspec.msgpack.decode(encoded, type=Body)
        self._bodies[entry.hash] = body
        if len(self._bodies) > BODIES_CACHED_MAX:
            self._bodies.popitem(last=False)
        return body

    def header(self, entry: Entry) -> Any:
        """Decoded header of a block."""
        return rlp.decode(self.body(entry).header, sedes=PragueBlockHeader)

    def by_hash(self, block_hash: bytes) -> Entry | None:
        """The canonical block with this hash."""
        number = self._by_hash.get(block_hash)
        return None if number is None else self.entries[number]

    def by_number(self, number: int) -> Entry | None:
        """The canonical block of this number."""
        return self.entries[number] if 0 <= number < len(self.entries) else None

    def find_tx(self, tx_hash: bytes) -> tuple[Entry, int] | None:
        """Where a mined transaction sits: its block and its index in it."""
        at = self._tx_at.get(tx_hash)
        return None if at is None else (self.entries[at[0]], at[1])

    def prev_hashes(self, number: int) -> list[bytes]:
        """Hashes of the 256 blocks before ``number``, newest first (what BLOCKHASH sees)."""
        return [entry.hash for entry in reversed(self.entries[max(0, number - 256):number])]


@dataclass(frozen=True, slots=True)
class LogFilter:
    """``addresses`` empty = any; ``topics[i]`` None = any, else one of the list."""

    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes] | None, ...]

    def may_match(self, bloom: int) -> bool:
        """False only if the block certainly has no match."""
        if not bloom:
            return False
        if self.addresses and not any(_in_bloom(bloom, item) for item in self.addresses):
            return False
        return all(not options or any(_in_bloom(bloom, item) for item in options) for options in self.topics)

    def matches(self, log: LogRecord) -> bool:
        """Exact test."""
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(options is None or topic in options for options, topic in zip(self.topics, log.topics, strict=False))


@dataclass(frozen=True, slots=True)
class FoundLog:
    """An event with its place."""

    entry: Entry
    tx_index: int
    log_index: int
    log: LogRecord


def _bloom_bits(item: bytes) -> int:
    digest = keccak(item)
    return sum({1 << (int.from_bytes(digest[i:i + 2], "big") & 2047) for i in (0, 2, 4)})


def _in_bloom(bloom: int, item: bytes) -> bool:
    bits = _bloom_bits(item)
    return bloom & bits == bits


def block_logs(entry: Entry, body: Body) -> list[FoundLog]:
    """All events of a block with their block-wide indices."""
    found: list[FoundLog] = []
    for tx_index, receipt in enumerate(body.receipts):
        for log in receipt.logs:
            found.append(FoundLog(entry, tx_index, len(found), log))
    return found


def find_logs(store: BlockStore, first: int, last: int, wanted: LogFilter, logs_max: int) -> list[FoundLog]:
    """Matching events of the blocks [first, last]. Raises L1RpcError beyond ``logs_max``: ask for a shorter range."""
    found: list[FoundLog] = []
    for entry in store.entries[max(first, 0):last + 1]:
        if not wanted.may_match(entry.bloom):
            continue
        found += [item for item in block_logs(entry, store.body(entry)) if wanted.matches(item.log)]
        if len(found) > logs_max:
            raise L1RpcError(f"query returned more than {logs_max} results; narrow the block range", -32_005)
    return found
