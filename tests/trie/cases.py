"""Random states and changes for the trie and the witness, and an oracle that knows nothing of either's algorithms."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from node.stf.trie import EMPTY_ROOT, MemoryTrie, keccak

Leaves = dict[bytes, bytes]


def slow_root(leaves: Mapping[bytes, bytes]) -> bytes:
    """The definition, word for word: split at the first differing bit, hash bottom-up."""

    def bit_of(key: bytes, bit: int) -> int:
        return key[bit // 8] >> (7 - bit % 8) & 1

    def fold(keys: list[bytes]) -> bytes:
        if len(keys) == 1:
            return keccak(keys[0] + keccak(leaves[keys[0]]))
        bit = next(bit for bit in range(256) if len({bit_of(key, bit) for key in keys}) == 2)
        left, right = ([key for key in keys if bit_of(key, bit) == side] for side in (0, 1))
        return keccak(bytes((bit,)) + fold(left) + fold(right))

    return fold(sorted(leaves)) if leaves else EMPTY_ROOT


def random_key(rnd: random.Random, width: int) -> bytes:
    """A key in the space of the state's keys; a small width makes neighbours and collisions likely."""
    kind = rnd.choice(b"AGO")
    return bytes((kind, rnd.randrange(3))) + rnd.randbytes(width) + bytes(14 - width) + bytes(16)


def random_value(rnd: random.Random) -> bytes:
    return rnd.randbytes(32 * rnd.randrange(1, 5))


@dataclass(frozen=True)
class Case:
    """An old state, what execution touches and observes there, and what it writes."""

    leaves: Leaves
    touched: list[bytes]
    ranges: list[tuple[bytes, bytes]]
    changes: dict[bytes, bytes | None]

    @property
    def old(self) -> MemoryTrie:
        return MemoryTrie(self.leaves)

    @property
    def after(self) -> Leaves:
        merged = {**self.leaves, **self.changes}
        return {key: value for key, value in merged.items() if value is not None}


def random_case(rnd: random.Random, sizes: tuple[int, ...] = (0, 1, 2, 3, 10, 40, 120)) -> Case:
    """Ranges are disjoint and ascending, as those of the books are."""
    width = rnd.choice((0, 1, 1, 2))
    leaves = {random_key(rnd, width): random_value(rnd) for _ in range(rnd.choice(sizes))}
    present = sorted(leaves)
    touched = [random_key(rnd, width) for _ in range(rnd.randrange(6))]
    touched += rnd.sample(present, min(len(present), rnd.randrange(8)))
    ends = sorted({random_key(rnd, width) for _ in range(2 * rnd.choice((0, 0, 1, 2)))})
    ranges = [(lo, hi) for lo, hi in zip(ends[::2], ends[1::2], strict=False)]
    if present and rnd.random() < 0.1:  # down to the empty trie
        touched = present
    changes = {key: None if rnd.random() < 0.45 else random_value(rnd) for key in touched if rnd.random() < 0.8}
    return Case(leaves, touched, ranges, changes)
