"""L2 blocks as records: headers, chunks, receipts, and how they are written down (RLP).

    header     = rlp([parent_hash, number, time, state_root, first_position, tx_count, cursor, chunks_root])
    block hash = keccak(header)
    chunks_root = Merkle list of the chunks with their post-roots (commitments.chunks_root); at genesis 32 zero bytes

``first_position`` is the position of the block's first transaction, ``cursor`` the inbox cursor after its last one,
``time`` the L2 time after its last one (ms), ``state_root`` the last chunk's root.

A ``Block`` transaction opens a block and stands first in a chunk. Chunks before the first one that opens a block belong
to that block: every batch that L1 accepts has a higher block number than its parent's, so it opens at least one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import rlp

from node.stf.trie import keccak
from node.stf.types import BLOCK, Fill, Receipt, Status

ZERO32: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What a block commits to. Hashes are 32 bytes, ``time`` is ms."""

    parent_hash: bytes
    number: int
    time: int
    state_root: bytes
    first_position: int
    tx_count: int
    cursor: int
    chunks_root: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of whole transactions and the state root after it."""

    data: bytes
    post_root: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block."""

    header: BlockHeader
    chunks: tuple[Chunk, ...]

    @property
    def hash(self) -> bytes:
        """The block's name."""
        return header_hash(self.header)

    @property
    def size(self) -> int:
        """Bytes of its chunks."""
        return sum(len(chunk.data) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One transaction of a block: what it did, and its length in the chunk's bytes."""

    receipt: Receipt
    size: int


# --- headers and chunks -----------------------------------------------------------------------------------------------


def encode_header(header: BlockHeader) -> bytes:
    """RLP of a header."""
    return rlp_list((
        rlp_bytes(header.parent_hash), rlp_int(header.number), rlp_int(header.time), rlp_bytes(header.state_root),
        rlp_int(header.first_position), rlp_int(header.tx_count), rlp_int(header.cursor),
        rlp_bytes(header.chunks_root),
    ))


def decode_header(data: bytes) -> BlockHeader:
    """The inverse of ``encode_header``. Raises ValueError on anything else."""
    items = _items(data, 8, "a block header")
    return BlockHeader(
        items[0], _int(items[1]), _int(items[2]), items[3], _int(items[4]), _int(items[5]), _int(items[6]), items[7])


def header_hash(header: BlockHeader) -> bytes:
    """keccak of the header's RLP."""
    return keccak(encode_header(header))


def encode_chunks(chunks: Sequence[Chunk]) -> bytes:
    """RLP of a block's chunks with their roots."""
    return rlp_list([rlp_list((rlp_bytes(chunk.data), rlp_bytes(chunk.post_root))) for chunk in chunks])


def decode_chunks(data: bytes) -> tuple[Chunk, ...]:
    """The inverse of ``encode_chunks``."""
    return tuple(Chunk(item[0], item[1]) for item in rlp.decode(data))


def opens_block(chunk: bytes) -> bool:
    """Whether a chunk begins with a Block transaction."""
    return chunk[:1] == bytes((BLOCK,))


def split_blocks(chunks: Sequence[bytes]) -> list[range]:
    """A batch's chunks by block, as index ranges; the first one takes what stands before the first opened block."""
    starts = [index for index, chunk in enumerate(chunks) if opens_block(chunk)]
    bounds = [0, *starts[1:], len(chunks)]
    return [range(first, end) for first, end in pairwise(bounds) if first < end]


# --- receipts ---------------------------------------------------------------------------------------------------------


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """RLP of a block's receipts, in order."""
    return rlp_list([_encode_outcome(outcome) for outcome in outcomes])


def _encode_outcome(outcome: Outcome) -> bytes:
    receipt = outcome.receipt
    return rlp_list((
        rlp_int(outcome.size), rlp_int(receipt.kind), rlp_int(receipt.position), rlp_int(receipt.time),
        rlp_int(receipt.status),
        rlp_list([rlp_int(status) for status in receipt.action_statuses]) if receipt.action_statuses else b"\xc0",
        rlp_list([_encode_fill(fill) for fill in receipt.fills]) if receipt.fills else b"\xc0",
    ))


def _encode_fill(fill: Fill) -> bytes:
    return rlp_list((
        rlp_int(fill.market), rlp_int(fill.price), rlp_int(fill.lots), rlp_int(fill.maker),
        rlp_int(fill.maker_client_id), rlp_int(fill.maker_seq), rlp_int(fill.taker), rlp_int(fill.taker_side),
        rlp_int(fill.taker_fee), rlp_int(fill.maker_fee),
    ))


def decode_outcomes(data: bytes) -> tuple[Outcome, ...]:
    """The inverse of ``encode_outcomes``."""
    return tuple(_decode_outcome(item) for item in rlp.decode(data))


def _decode_outcome(item: Any) -> Outcome:
    size, kind, position, time, status, statuses, fills = item
    receipt = Receipt(
        _int(kind), _int(position), _int(time), Status(_int(status)), [Status(_int(each)) for each in statuses],
        [Fill(*[_int(field) for field in fill]) for fill in fills])
    return Outcome(receipt, _int(size))


# --- RLP (Ethereum yellow paper, appendix B): written out, because the library's encoder is slow for many integers ----


_SMALL: Final = [b"\x80", *[bytes((value,)) for value in range(1, 0x80)]]


def rlp_int(value: int) -> bytes:
    """An unsigned integer, big-endian without leading zeros."""
    if 0 <= value < 0x80:
        return _SMALL[value]
    size = (value.bit_length() + 7) // 8
    return bytes((0x80 + size,)) + value.to_bytes(size, "big")


def rlp_bytes(value: bytes) -> bytes:
    """A byte string."""
    if len(value) == 1 and value[0] < 0x80:
        return value
    return _prefix(0x80, len(value)) + value


def rlp_list(items: Sequence[bytes]) -> bytes:
    """A list of items that are encoded already."""
    payload = b"".join(items)
    return _prefix(0xC0, len(payload)) + payload


def _prefix(base: int, length: int) -> bytes:
    if length < 56:
        return bytes((base + length,))
    size = (length.bit_length() + 7) // 8
    return bytes((base + 55 + size,)) + length.to_bytes(size, "big")


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _items(data: bytes, count: int, what: str) -> list[Any]:
    try:
        items: Any = rlp.decode(data)
    except rlp.exceptions.RLPException as error:
        raise ValueError(f"{what} does not decode: {error}") from error
    if not isinstance(items, list) or len(items) != count:
        raise ValueError(f"{what} has {count} fields")
    return list(items)
