"""Partial-trie witnesses: what a fraud proof shows of an old state, and the one pass that checks it.

A witness is the ascending sequence of *elements* that covers the whole old trie, plus keys that are not in it:

    opened leaf      key and old value; no words = claimed absent
    opaque subtree   hash, branch bit b, side. On the right (R) it belongs to the nearest opened existing leaf before
                     it, on the left (L) to the nearest one after it: it is the sibling at bit b of that leaf's path.
                     Its *known prefix* is the leaf's bits [0, b) and then the flipped bit b; its *interval* is all
                     keys with that prefix.

One pass over the elements folds the crit-bit trie of their union. Where a side of a node has nothing in the old (new)
state, the other side's hash passes through, which is exactly what a crit-bit trie does on insertion and deletion, so
the same pass yields the old root and the new one. Why that is sound:

- Intervals must be disjoint and ascending, so every branch bit is the first bit in which two neighbours differ.
- If the old root matches, the elements are a cut through the true old trie (collision resistance; leaf and node
  preimages have different lengths). Every opaque subtree then really hangs at bit b on the path of its leaf, so its
  keys really have the known prefix, and nothing in the trie is outside the elements.
- An absent or inserted key is disjoint from every interval, so it is in no opaque subtree and its branch bits are
  known: any two neighbours differ within their known prefixes.
- A range [lo, hi] is complete if no opaque interval meets it: every leaf in it, old or inserted, is an element.

Encoding (big-endian): leaf count:1, op count:2, ops, heads (key:16, words:1 for each leaf), words of all leaves, hashes
of all opaque subtrees; one zero word instead if there are neither words nor hashes. An op is 0 for the next leaf, b for
an R and 128 + b for an L subtree: keys have 16 significant bytes and the first bit clear, so 1 <= b <= 127.
Twin: contracts/stf/witness.vy (verify, load) and contracts/stf/path.vy (fold_path).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from node.stf.trie import (
    EMPTY_ROOT,
    ROOT_ADDRESS,
    Node,
    TrieView,
    is_leaf,
    keccak,
    key_path,
    leaf_hash,
    node_hash,
    path_key,
)

MAX_LEAVES: Final = 255
MAX_WORDS: Final = 40
MAX_OPS: Final = 4096
KEY_BYTES: Final = 16
LEFT: Final = 128  # flag of an L subtree in an op
LEAF: Final = 0  # op: the next leaf

Range = tuple[bytes, bytes]  # first and last key, both inside


class BadWitness(Exception):
    """A witness that proves nothing: the message says which element is wrong."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Opened leaves (ascending; value b"" = absent), ops in order, hashes of opaque subtrees in order."""

    leaves: list[tuple[bytes, bytes]]
    ops: bytes
    hashes: list[bytes]


@dataclass(frozen=True, slots=True)
class WitnessSize:
    leaves: int
    words: int
    opaques: int
    size_bytes: int


# --- building ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Plan:
    """What must be shown, in leaf paths, and the elements found so far as (first path, op, leaf or hash)."""

    view: TrieView
    points: list[int]
    ranges: list[tuple[int, int]]
    opened: list[tuple[int, bytes]] = field(default_factory=list)
    opaques: list[tuple[int, int, bytes]] = field(default_factory=list)

    def wants(self, address: int) -> bool:
        """Whether something to be shown lies among the keys under an address."""
        shift = 257 - address.bit_length()
        first, last = address << shift, ((address + 1) << shift) - 1
        at = bisect_left(self.points, first)
        if at < len(self.points) and self.points[at] <= last:
            return True
        return any(lo <= last and hi >= first for lo, hi in self.ranges)


def build(view: TrieView, touched: Iterable[bytes], ranges: Iterable[Range] = ()) -> Witness:
    """The smallest canonical witness of one state: opens ``touched`` keys (existing and absent alike) and all leaves in
    ``ranges``, and, where a key or range falls into bits that the trie skips, the least leaf that shows it.

    Raises ValueError if it exceeds the contract's limits (255 leaves, 40 words a leaf, 4,096 elements).
    """
    points = sorted({key_path(key) for key in touched})
    plan = _Plan(view, points, [(key_path(lo), key_path(hi)) for lo, hi in ranges])
    root = view.get_node(ROOT_ADDRESS)
    if root is not None:
        _open(plan, root)
    known = {path for path, _ in plan.opened}
    plan.opened += [(path, b"") for path in points if path not in known]
    elements: list[tuple[int, int, bytes]] = [(path, LEAF, value) for path, value in plan.opened]
    elements += plan.opaques
    elements.sort(key=lambda element: element[0])
    return _checked(
        Witness(
            [(path_key(path), value) for path, op, value in elements if op == LEAF],
            bytes(op for _, op, _ in elements),
            [digest for _, op, digest in elements if op != LEAF],
        )
    )


def _checked(witness: Witness) -> Witness:
    if len(witness.leaves) > MAX_LEAVES or len(witness.ops) > MAX_OPS:
        raise ValueError(f"{len(witness.leaves)} leaves and {len(witness.ops)} elements are over a witness's limits")
    for key, value in witness.leaves:
        if len(value) > 32 * MAX_WORDS or any(key[KEY_BYTES:]) or key[0] >= LEFT or not any(key):
            raise ValueError(f"leaf {key.hex()} is outside the key space or has more than {MAX_WORDS} words")
    return witness


def _open(plan: _Plan, node: Node) -> None:
    """Open a node that must be shown: at least one leaf below it becomes an element."""
    if is_leaf(node):
        key = path_key(node[0])
        value = plan.view.get(key)
        if value is None:
            raise LookupError(f"the store has a trie node but no value for leaf {key.hex()}: restore it from L1")
        plan.opened.append((node[0], value))
        return
    left = node[0] << 1
    bit = node[0].bit_length() - 1
    open_left, open_right = plan.wants(left), plan.wants(left | 1)
    if not (open_left or open_right):
        open_left = True  # what is wanted lies in skipped bits: the least leaf shows them
    for address, wanted, digest, op in ((left, open_left, node[1], LEFT | bit), (left | 1, open_right, node[2], bit)):
        if not wanted:
            plan.opaques.append((address << (257 - address.bit_length()), op, digest))
            continue
        child = plan.view.get_node(address)
        if child is None:
            raise LookupError(f"the trie has no node at address {address:#x}: the store is damaged, restore it from L1")
        _open(plan, child)


# --- verifying --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Element:
    first: int  # interval of keys, both ends inside
    last: int
    old: bytes  # b"" = nothing in that state
    new: bytes


def verify(
    witness: Witness, old_root: bytes, new_values: Mapping[bytes, bytes | None], ranges: Iterable[Range] = ()
) -> bytes:
    """Check a witness against the old root; returns the root after the opened leaves take ``new_values``.

    ``new_values``: key -> value, None = deleted; leaves not named keep theirs. Raises BadWitness, also for a new value
    of a leaf that is not opened.
    """
    missing = set(new_values) - {key for key, _ in witness.leaves}
    if missing:
        raise BadWitness(f"the witness lacks leaf {min(missing).hex()} that execution touches")
    elements = _elements(witness, new_values)
    _check_ranges(witness, elements, ranges)
    stack: list[tuple[int, bytes, bytes]] = []  # branch bit, old and new hash of what is on its left
    old = new = b""
    for at, element in enumerate(elements):
        if at:
            before = elements[at - 1].last
            if before >= element.first:
                raise BadWitness(f"element {at} does not lie after the one before it")
            bit = 256 - (before ^ element.first).bit_length()
            while stack and stack[-1][0] > bit:
                old, new = _join(stack.pop(), old, new)
            stack.append((bit, old, new))
        old, new = element.old, element.new
    while stack:
        old, new = _join(stack.pop(), old, new)
    if (old or EMPTY_ROOT) != old_root:
        raise BadWitness(f"the elements fold to {(old or EMPTY_ROOT).hex()}, the old root is {old_root.hex()}")
    return new or EMPTY_ROOT


def _join(left: tuple[int, bytes, bytes], old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """Fold what is on the stack with what is on its right; an empty side passes the other one through."""
    bit, left_old, left_new = left
    joined = node_hash(bit, left_old, old) if left_old and old else left_old or old
    if left_old == left_new and old == new:
        return joined, joined
    return joined, node_hash(bit, left_new, new) if left_new and new else left_new or new


def _elements(witness: Witness, new_values: Mapping[bytes, bytes | None]) -> list[_Element]:
    """Elements with their intervals; checks structure, leaf order and that each subtree has a leaf to belong to."""
    keys = [int.from_bytes(key, "big") for key, _ in witness.leaves]
    if any(a >= b for a, b in pairwise(keys)) or any(key % (1 << 128) or key >> 255 for key in keys):
        raise BadWitness("leaves are not ascending, or a key is outside the key space")
    if witness.ops.count(LEAF) != len(keys) or len(witness.ops) - len(keys) != len(witness.hashes):
        raise BadWitness("ops, leaves and hashes do not count the same")
    existing = [key for key, (_, value) in zip(keys, witness.leaves, strict=True) if value]
    elements: list[_Element] = []
    seen = 0
    for op in witness.ops:
        if op == LEAF:
            key, value = witness.leaves[seen]
            elements.append(_leaf_element(key, value, new_values.get(key, value)))
            seen += 1
        else:
            last_key = keys[seen - 1] if seen else -1
            elements.append(_opaque_element(op, existing, last_key, witness, len(elements) - seen))
    return elements


def _leaf_element(key: bytes, value: bytes, new_value: bytes | None) -> _Element:
    path = int.from_bytes(key, "big")
    if len(value) % 32 or len(value) > 32 * MAX_WORDS:
        raise BadWitness(f"leaf {key.hex()} has {len(value)} bytes, not 0 to 40 words")
    old = leaf_hash(key, keccak(value)) if value else b""
    if new_value == value:
        return _Element(path, path, old, old)
    return _Element(path, path, old, leaf_hash(key, keccak(new_value)) if new_value else b"")


def _opaque_element(op: int, existing: Sequence[int], last_key: int, witness: Witness, at: int) -> _Element:
    """The interval of an opaque subtree after the leaf ``last_key`` (-1: before all leaves)."""
    bit = op % LEFT
    after = bisect_right(existing, last_key)
    reference = existing[after] if op >= LEFT and after < len(existing) else None
    if op < LEFT and after:
        reference = existing[after - 1]
    mask = 1 << (255 - bit)
    if bit == 0 or reference is None or bool(reference & mask) != (op >= LEFT):
        raise BadWitness(f"subtree {at} with op {op:#x} has no leaf whose sibling at bit {bit} it could be")
    digest = witness.hashes[at]
    if len(digest) != 32 or digest == EMPTY_ROOT:
        raise BadWitness(f"the hash of subtree {at} is not 32 bytes, or zero")
    first = (reference & -(mask << 1)) | (0 if op >= LEFT else mask)
    return _Element(first, first | (mask - 1), digest, digest)


def _check_ranges(witness: Witness, elements: Sequence[_Element], ranges: Iterable[Range]) -> None:
    subtrees = [element for element, op in zip(elements, witness.ops, strict=True) if op != LEAF]
    for lo_key, hi_key in ranges:
        lo, hi = int.from_bytes(lo_key, "big"), int.from_bytes(hi_key, "big")
        if any(element.first <= hi and element.last >= lo for element in subtrees):
            raise BadWitness(f"a closed subtree meets the observed range from {lo_key.hex()} to {hi_key.hex()}")


# --- calldata ---------------------------------------------------------------------------------------------------------


def encode(witness: Witness) -> bytes:
    """The bytes that contracts/stf/witness.vy reads."""
    out = bytearray((len(witness.leaves),))
    out += len(witness.ops).to_bytes(2, "big")
    out += witness.ops
    for key, value in witness.leaves:
        out += key[:KEY_BYTES]
        out.append(len(value) // 32)
    tail = b"".join(value for _, value in witness.leaves) + b"".join(witness.hashes)
    return bytes(out) + (tail or bytes(32))


def decode(data: bytes) -> Witness:
    """Inverse of ``encode``; raises BadWitness on a wrong length."""
    if len(data) < 3:
        raise BadWitness("a witness has at least 3 bytes")
    leaf_count, op_count = data[0], int.from_bytes(data[1:3], "big")
    at = 3 + op_count
    ops, heads = data[3:at], data[at : at + 17 * leaf_count]
    at += 17 * leaf_count
    leaves = []
    for i in range(leaf_count):
        head = heads[17 * i : 17 * i + 17]
        if len(head) < 17:
            raise BadWitness("the witness ends inside its leaves")
        leaves.append((head[:KEY_BYTES] + bytes(32 - KEY_BYTES), data[at : at + 32 * head[KEY_BYTES]]))
        at += 32 * head[KEY_BYTES]
    hash_count = op_count - leaf_count
    hashes = [data[at + 32 * i : at + 32 * i + 32] for i in range(hash_count)]
    padding = 32 if hash_count == 0 and not any(value for _, value in leaves) else 0
    if hash_count < 0 or len(data) != at + 32 * hash_count + padding:
        raise BadWitness(f"a witness of {leaf_count} leaves and {op_count} elements cannot have {len(data)} bytes")
    return Witness(leaves, ops, hashes)


def size(witness: Witness) -> WitnessSize:
    """What a witness costs: leaves, words, opaque subtrees, bytes of calldata."""
    words = sum(len(value) for _, value in witness.leaves) // 32
    size_bytes = 3 + len(witness.ops) + 17 * len(witness.leaves) + 32 * max(words + len(witness.hashes), 1)
    return WitnessSize(len(witness.leaves), words, len(witness.hashes), size_bytes)


# --- the proof of one leaf --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathProof:
    """A leaf with its siblings from the leaf up; ``bits[i]`` is the branch bit of ``siblings[i]``."""

    key: bytes
    value: bytes
    bits: bytes
    siblings: list[bytes]


def build_path(view: TrieView, key: bytes) -> PathProof:
    """The proof that a leaf is in a state. Raises KeyError if it is not."""
    value = view.get(key)
    if value is None:
        raise KeyError(f"there is no leaf {key.hex()} in this state")
    path = key_path(key)
    bits, siblings = bytearray(), list[bytes]()
    node = view.get_node(ROOT_ADDRESS)
    while node is not None and not is_leaf(node):
        bit = node[0].bit_length() - 1
        side = (path >> (255 - bit)) & 1
        bits.append(bit)
        siblings.append(node[2 - side])
        node = view.get_node(node[0] << 1 | side)
    if node is None or node[0] != path:
        raise LookupError(f"the store has a value but no trie node for leaf {key.hex()}: restore it from L1")
    return PathProof(key, value, bytes(reversed(bits)), siblings[::-1])


def fold_path(key: bytes, value_hash: bytes, bits: bytes, siblings: Sequence[bytes]) -> bytes:
    """The root of a trie that holds this leaf below these siblings. Raises BadWitness if bits do not fall."""
    if len(bits) != len(siblings) or any(a <= b for a, b in pairwise(bits)):
        raise BadWitness("a path needs as many bits as siblings, falling towards the root")
    path = key_path(key)
    root = leaf_hash(key, value_hash)
    for bit, sibling in zip(bits, siblings, strict=True):
        right = (path >> (255 - bit)) & 1
        root = node_hash(bit, sibling, root) if right else node_hash(bit, root, sibling)
    return root
