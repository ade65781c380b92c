"""Commitments that L1 keeps about L2: batch headers, chunk lists, inbox messages. Pure functions over bytes.

Twins: contracts/Rollup.vy computes the same values when a batch is posted or a message enqueued,
contracts/merkle_list.vy folds the same lists, contracts/court.vy checks the same proofs.

Formulas (‖ is concatenation, integers are big-endian):

    header hash   = keccak(abi_encode(BatchHeader))                    16 words, 512 bytes, no dynamic part
    list leaf i   = keccak(uint256 i ‖ keccak(chunk_i) ‖ post_root_i)   96-byte preimage
    list node     = keccak(left ‖ right)                               64-byte preimage; an odd last node moves up
    message       = kind:1 ‖ sender:20 ‖ l1_time_s:8 ‖ payload
    running hash  = h' = keccak(h ‖ keccak(message)), h_0 = 32 zero bytes

Leaf and node preimages differ in length, so neither can be passed off as the other (RFC 6962, section 2.1, has a prefix
byte for that). The count is in the header, so a list has exactly one shape and no phantom last element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

RULES_VERSION: Final = 3

GLOBALS_WORDS: Final = 6
HEADER_WORDS: Final = 16
HEADER_BYTES: Final = 32 * HEADER_WORDS

CHUNKS_PER_BATCH_MAX: Final = 256
LIST_DEPTH_MAX: Final = 8  # 2 ** 8 == CHUNKS_PER_BATCH_MAX

MESSAGE_HEAD_BYTES: Final = 29
MESSAGE_PAYLOAD_BYTES_MAX: Final = 1024

MESSAGE_DEPOSIT: Final = 1
MESSAGE_FORCED: Final = 2
MESSAGE_PAID: Final = 3
MESSAGE_ANCHOR: Final = 4
MESSAGE_ROLLBACK: Final = 5
MESSAGE_ADMIN: Final = 6

ZERO32: Final = bytes(32)
INVALID_ROOT: Final = b"\xff" * 32

_UINT64_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


# ------------------------------------------------------------------------------------------------------- batch header


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What L1 knows of a batch. Field order is the hash's order. Hashes are 32 bytes, the poster 20."""

    number: int
    parent: bytes
    rules: int
    inbox_cursor: int
    inbox_hash: bytes
    chunk_count: int
    chunks_root: bytes
    post_root: bytes
    globals: tuple[int, int, int, int, int, int]
    posted_at: int
    poster: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Word 0 of the `G` leaf: where L2 stands. `l2_time_ms` is in milliseconds, the others count from 0."""

    l2_time_ms: int
    block_number: int
    tx_position: int
    inbox_cursor: int


def genesis_header(genesis_root: bytes, genesis_globals: Sequence[int]) -> BatchHeader:
    """The pseudo-batch 0 that Rollup's constructor stores: no chunks, no poster, the genesis root and `G` words."""
    return BatchHeader(
        number=0,
        parent=ZERO32,
        rules=RULES_VERSION,
        inbox_cursor=0,
        inbox_hash=ZERO32,
        chunk_count=0,
        chunks_root=ZERO32,
        post_root=genesis_root,
        globals=globals_tuple(genesis_globals),
        posted_at=0,
        poster=bytes(20),
    )


def globals_tuple(words: Sequence[int]) -> tuple[int, int, int, int, int, int]:
    """The `G` leaf's words as the header's fixed array. Raises ValueError unless there are exactly six."""
    if len(words) != GLOBALS_WORDS:
        raise ValueError(f"G has {len(words)} words, the header mirrors exactly {GLOBALS_WORDS}")
    a, b, c, d, e, f = words
    return (a, b, c, d, e, f)


def encode_header(header: BatchHeader) -> bytes:
    """abi_encode(header): 512 bytes."""
    words = [
        _word(header.number),
        _bytes32(header.parent),
        _word(header.rules),
        _word(header.inbox_cursor),
        _bytes32(header.inbox_hash),
        _word(header.chunk_count),
        _bytes32(header.chunks_root),
        _bytes32(header.post_root),
        *(_word(word) for word in globals_tuple(header.globals)),
        _word(header.posted_at),
        _address_word(header.poster),
    ]
    return b"".join(words)


def decode_header(data: bytes) -> BatchHeader:
    """The inverse of `encode_header`. Raises ValueError on any other length or an address with high bits set."""
    if len(data) != HEADER_BYTES:
        raise ValueError(f"an encoded header has {HEADER_BYTES} bytes, got {len(data)}")
    words = [data[i : i + 32] for i in range(0, HEADER_BYTES, 32)]
    if any(words[15][:12]):
        raise ValueError("the header's poster is not an address: its upper 12 bytes are not zero")
    return BatchHeader(
        number=_int(words[0]),
        parent=words[1],
        rules=_int(words[2]),
        inbox_cursor=_int(words[3]),
        inbox_hash=words[4],
        chunk_count=_int(words[5]),
        chunks_root=words[6],
        post_root=words[7],
        globals=globals_tuple([_int(word) for word in words[8:14]]),
        posted_at=_int(words[14]),
        poster=words[15][12:],
    )


def header_hash(header: BatchHeader) -> bytes:
    """keccak of the encoded header: the batch's name on L1 and the next header's `parent`."""
    return keccak(encode_header(header))


def pack_position(position: Position) -> int:
    """Word 0 of `G`: l2_time_ms:64 | block_number:64 | tx_position:64 | inbox_cursor:64, most significant first."""
    word = 0
    for field in (position.l2_time_ms, position.block_number, position.tx_position, position.inbox_cursor):
        if not 0 <= field <= _UINT64_MASK:
            raise ValueError(f"{position} does not fit 64-bit fields")
        word = word << 64 | field
    return word


def unpack_position(word: int) -> Position:
    """The inverse of `pack_position`."""
    return Position(
        l2_time_ms=word >> 192 & _UINT64_MASK,
        block_number=word >> 128 & _UINT64_MASK,
        tx_position=word >> 64 & _UINT64_MASK,
        inbox_cursor=word & _UINT64_MASK,
    )


# --------------------------------------------------------------------------------------------------------- chunk list


def chunk_leaf(index: int, chunk_hash: bytes, post_root: bytes) -> bytes:
    """The list's leaf for chunk `index`: binds its place, its bytes and the root claimed after it."""
    return keccak(_word(index) + _bytes32(chunk_hash) + _bytes32(post_root))


def chunk_leaves(chunks: Sequence[bytes], post_roots: Sequence[bytes]) -> list[bytes]:
    """All leaves of a batch. Raises ValueError when chunks and roots differ in number."""
    if len(chunks) != len(post_roots):
        raise ValueError(f"{len(chunks)} chunks but {len(post_roots)} post-roots: each chunk has exactly one")
    pairs = zip(chunks, post_roots, strict=True)
    return [chunk_leaf(index, keccak(chunk), root) for index, (chunk, root) in enumerate(pairs)]


def chunks_root(chunks: Sequence[bytes], post_roots: Sequence[bytes]) -> bytes:
    """The header's `chunks_root`."""
    return list_root(chunk_leaves(chunks, post_roots))


def list_root(leaves: Sequence[bytes]) -> bytes:
    """Merkle root of 1 to 256 leaves; an odd last node moves up unchanged."""
    _check_count(len(leaves))
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def list_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from leaf `index` up to the root (none where a node moves up unchanged), at most 8."""
    _check_count(len(leaves))
    if not 0 <= index < len(leaves):
        raise ValueError(f"index {index} is not in a list of {len(leaves)}")
    proof: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level = _parents(level)
        index >>= 1
    return proof


def list_verify(index: int, count: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """True when `leaf` stands at `index` of the list of `count` leaves with this root. Any malformed proof is False."""
    if not 0 < count <= CHUNKS_PER_BATCH_MAX or not 0 <= index < count:
        return False
    node, used = leaf, 0
    while count > 1:
        if index ^ 1 < count:
            if used == len(proof):
                return False
            pair = (node, proof[used]) if index & 1 == 0 else (proof[used], node)
            node = keccak(pair[0] + pair[1])
            used += 1
        index >>= 1
        count = (count + 1) >> 1
    return used == len(proof) and node == root


def _parents(level: list[bytes]) -> list[bytes]:
    parents = [keccak(level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return parents + level[len(level) & ~1 :]


def _check_count(count: int) -> None:
    if not 0 < count <= CHUNKS_PER_BATCH_MAX:
        raise ValueError(f"a batch has 1 to {CHUNKS_PER_BATCH_MAX} chunks, got {count}")


# -------------------------------------------------------------------------------------------------------------- inbox


@dataclass(frozen=True, slots=True)
class Message:
    """One L1 → L2 message: `kind` (MESSAGE_*), the L1 sender, the L1 block's time in seconds, the payload."""

    kind: int
    sender: bytes
    l1_time_s: int
    payload: bytes


def encode_message(message: Message) -> bytes:
    """The bytes that L1 hashes and emits. Raises ValueError on a field out of range."""
    if not 0 <= message.kind <= 0xFF:
        raise ValueError(f"message kind {message.kind} does not fit one byte")
    if len(message.sender) != 20:
        raise ValueError(f"a sender has 20 bytes, got {len(message.sender)}")
    if len(message.payload) > MESSAGE_PAYLOAD_BYTES_MAX:
        raise ValueError(f"payload of {len(message.payload)} bytes: the inbox takes {MESSAGE_PAYLOAD_BYTES_MAX}")
    return bytes((message.kind,)) + message.sender + message.l1_time_s.to_bytes(8, "big") + message.payload


def decode_message(data: bytes) -> Message:
    """The inverse of `encode_message`. Raises ValueError on a length that L1 never emits."""
    if not MESSAGE_HEAD_BYTES <= len(data) <= MESSAGE_HEAD_BYTES + MESSAGE_PAYLOAD_BYTES_MAX:
        raise ValueError(f"an inbox message has 29 to 1,053 bytes, got {len(data)}")
    return Message(kind=data[0], sender=data[1:21], l1_time_s=_int(data[21:29]), payload=data[29:])


def next_inbox_hash(running_hash: bytes, message: bytes) -> bytes:
    """The running hash after one more (encoded) message."""
    return keccak(_bytes32(running_hash) + keccak(message))


def inbox_hash(messages: Sequence[bytes], running_hash: bytes = ZERO32) -> bytes:
    """The running hash after `messages`, from `running_hash` on."""
    for message in messages:
        running_hash = next_inbox_hash(running_hash, message)
    return running_hash


def deposit_payload(account: int, owner: bytes, amount: int) -> bytes:
    """Kind 1: account:4 (0 = open a new one) ‖ owner:20 ‖ amount:8 micro-USD."""
    if len(owner) != 20:
        raise ValueError(f"an owner has 20 bytes, got {len(owner)}")
    return account.to_bytes(4, "big") + owner + amount.to_bytes(8, "big")


def anchor_payload(batch: int, l2_time_ms: int) -> bytes:
    """Kind 4: batch:8 ‖ l2_time_ms:8, the batch just posted and the L2 time it covers."""
    return batch.to_bytes(8, "big") + l2_time_ms.to_bytes(8, "big")


def rollback_payload(batch: int, l2_time_ms: int) -> bytes:
    """Kind 5: batch:8 ‖ l2_time_ms:8, the first dropped batch and the surviving head's L2 time."""
    return batch.to_bytes(8, "big") + l2_time_ms.to_bytes(8, "big")


def admin_payload(sub_kind: int, body: bytes) -> bytes:
    """Kind 6: sub-kind:1 ‖ body. L1 does not read the body."""
    return bytes((sub_kind,)) + body


# ------------------------------------------------------------------------------------------------------------- words


def withdrawal_word(recipient: bytes, amount: int) -> int:
    """The one word of a `W` leaf: recipient << 64 | amount (micro-USD)."""
    if len(recipient) != 20 or not 0 <= amount <= _UINT64_MASK:
        raise ValueError("a withdrawal has a 20-byte recipient and a 64-bit amount")
    return _int(recipient) << 64 | amount


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _bytes32(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(f"a hash has 32 bytes, got {len(value)}")
    return value


def _address_word(value: bytes) -> bytes:
    if len(value) != 20:
        raise ValueError(f"an address has 20 bytes, got {len(value)}")
    return bytes(12) + value
