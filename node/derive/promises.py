"""Promises: the sequencer's signature over the order of transactions, one for a whole group, checked by anyone.

    leaf               = keccak(0x00 ‖ position:8 ‖ keccak(tx bytes))   41-byte preimage: never a node's (RFC 6962, 2.1)
    root               = Merkle list of the group's leaves (commitments.list_root), at most 256
    struct hash        = EIP-712 hash of PROMISE_TYPE
    previous           = struct hash of the promise before, so that all promises of one sequencer are one chain
    signature          = over keccak(0x1901 ‖ domain ‖ struct hash), 65 bytes r ‖ s ‖ v (v = 0 or 1)

A promise binds order: the transaction with this hash stands at this position. The G leaf proves the position at which
every chunk starts, so another transaction at a promised position is provable (contracts/PromiseCourt.vy). ``time`` is
when it was given, ms since 1970, never before the L2 time of its transactions: the posting's deadline counts from it,
and L2 time may be held back while L1's does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.stf import encoding
from node.stf.commitments import CHUNKS_PER_BATCH_MAX, list_root, list_verify
from node.stf.trie import keccak

PROMISE_TYPE: Final = (
    "Promise(uint64 epoch,uint64 firstPosition,uint64 count,uint64 time,bytes32 previous,bytes32 root)"
)
GROUP_MAX: Final = CHUNKS_PER_BATCH_MAX
_TYPE_HASH: Final = keccak(PROMISE_TYPE.encode())


class BadPromise(Exception):
    """The promise does not say what it should; the message says in which point."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Positions [first_position, first_position + count) hold the transactions under ``root``."""

    epoch: int
    first_position: int
    count: int
    time: int
    previous: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class SignedPromise:
    """A promise with its 65-byte signature."""

    promise: Promise
    signature: bytes


def leaf(position: int, tx_hash: bytes) -> bytes:
    """The group's leaf for the transaction at a position."""
    return keccak(b"\x00" + position.to_bytes(8, "big") + tx_hash)


def group_leaves(first_position: int, tx_hashes: Sequence[bytes]) -> list[bytes]:
    """All leaves of a group of 1 to GROUP_MAX transactions."""
    return [leaf(first_position + index, tx_hash) for index, tx_hash in enumerate(tx_hashes)]


def group_paths(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every leaf's siblings up to the root, as ``commitments.list_proof`` gives them one by one."""
    paths: list[list[bytes]] = [[] for _ in leaves]
    level = list(leaves)
    members = [[index] for index in range(len(level))]
    while len(level) > 1:
        nodes, groups = [], []
        for at in range(0, len(level) - 1, 2):
            for index in members[at]:
                paths[index].append(level[at + 1])
            for index in members[at + 1]:
                paths[index].append(level[at])
            nodes.append(keccak(level[at] + level[at + 1]))
            groups.append(members[at] + members[at + 1])
        if len(level) % 2:
            nodes.append(level[-1])
            groups.append(members[-1])
        level, members = nodes, groups
    return paths


def make_promise(epoch: int, first_position: int, tx_hashes: Sequence[bytes], time: int, previous: bytes) -> Promise:
    """The promise of a group, given at ``time`` (ms). Raises ValueError for an empty one or one over GROUP_MAX."""
    root = list_root(group_leaves(first_position, tx_hashes))
    return Promise(epoch, first_position, len(tx_hashes), time, previous, root)


def struct_hash(promise: Promise) -> bytes:
    """EIP-712 struct hash: the next promise's ``previous``."""
    numbers = (promise.epoch, promise.first_position, promise.count, promise.time)
    words = b"".join([number.to_bytes(32, "big") for number in numbers])
    return keccak(_TYPE_HASH + words + promise.previous + promise.root)


def digest(domain: bytes, promise: Promise) -> bytes:
    """What the sequencer signs; ``domain`` is the rollup's EIP-712 domain separator."""
    return keccak(b"\x19\x01" + domain + struct_hash(promise))


def recover_signer(domain: bytes, signed: SignedPromise) -> bytes:
    """The 20-byte address that signed. Raises BadPromise if there is none."""
    if len(signed.signature) != 65 or signed.signature[64] > 1:
        raise BadPromise("a promise's signature has 65 bytes, the last one 0 or 1")
    r = int.from_bytes(signed.signature[:32], "big")
    vs = int.from_bytes(signed.signature[32:64], "big") | signed.signature[64] << 255
    address = encoding.recover_now(digest(domain, signed.promise), r, vs)
    if address == 0:
        raise BadPromise("no key signs this promise")
    return address.to_bytes(20, "big")


def check_promise(
    domain: bytes, sequencer: bytes, signed: SignedPromise, position: int, tx_hash: bytes, path: Sequence[bytes]
) -> None:
    """Raise BadPromise unless ``sequencer`` (20 bytes) promised the transaction with this hash this position."""
    promise = signed.promise
    index = position - promise.first_position
    if not 0 <= index < promise.count:
        raise BadPromise(f"position {position} is not among the {promise.count} from {promise.first_position}")
    if not list_verify(index, promise.count, leaf(position, tx_hash), path, promise.root):
        raise BadPromise(f"the transaction is not at position {position} of what was promised")
    signer = recover_signer(domain, signed)
    if signer != sequencer:
        raise BadPromise(f"0x{signer.hex()} signed, not the sequencer 0x{sequencer.hex()}")


# --- records ----------------------------------------------------------------------------------------------------------

PROMISE_BYTES: Final = 4 * 8 + 2 * 32


def encode_promise(promise: Promise) -> bytes:
    """epoch:8 first_position:8 count:8 time:8 previous:32 root:32."""
    numbers = (promise.epoch, promise.first_position, promise.count, promise.time)
    return b"".join([number.to_bytes(8, "big") for number in numbers]) + promise.previous + promise.root


def decode_promise(data: bytes) -> Promise:
    """The inverse of ``encode_promise``. Raises ValueError on another length."""
    if len(data) != PROMISE_BYTES:
        raise ValueError(f"a promise has {PROMISE_BYTES} bytes, not {len(data)}")
    epoch, first, count, time = (int.from_bytes(data[at : at + 8], "big") for at in (0, 8, 16, 24))
    return Promise(epoch, first, count, time, data[32:64], data[64:])
