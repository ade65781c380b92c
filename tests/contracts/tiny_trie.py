"""A crit-bit trie of a handful of leaves, straight from its definition: roots and paths for Rollup's tests.

Deliberately not node/stf: the contract is compared with the formulas, not with another part of the project.
"""

from __future__ import annotations

from collections.abc import Mapping

from eth_hash.auto import keccak

Proof = tuple[bytes, list[bytes]]


def withdrawal_key(number: int) -> bytes:
    return (b"W" + number.to_bytes(8, "big")).ljust(32, b"\0")


def withdrawal_value(recipient: str, amount: int) -> bytes:
    return (int(recipient, 16) << 64 | amount).to_bytes(32, "big")


def root_of(leaves: Mapping[bytes, bytes]) -> bytes:
    """The root over {key: value}; 32 zero bytes when empty."""
    return _fold(sorted(leaves.items()), b"")[0]


def proof_of(leaves: Mapping[bytes, bytes], key: bytes) -> Proof:
    """(branch bits from the leaf up, siblings likewise)."""
    path = _fold(sorted(leaves.items()), key)[1]
    return bytes(bit for bit, _ in path), [sibling for _, sibling in path]


def _fold(items: list[tuple[bytes, bytes]], key: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    if not items:
        return bytes(32), []
    if len(items) == 1:
        return keccak(items[0][0] + keccak(items[0][1])), []
    bit = 256 - (int.from_bytes(items[0][0], "big") ^ int.from_bytes(items[-1][0], "big")).bit_length()
    ones = [item for item in items if item[0][bit // 8] >> 7 - bit % 8 & 1]
    zeros = items[: len(items) - len(ones)]
    left, left_path = _fold(zeros, key)
    right, right_path = _fold(ones, key)
    node = keccak(bytes([bit]) + left + right)
    if any(k == key for k, _ in zeros):
        return node, [*left_path, (bit, right)]
    return node, [*right_path, (bit, left)]
