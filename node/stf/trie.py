"""The state trie: a canonical binary crit-bit Merkle trie over 32-byte keys, with nodes stored by path.

    leaf(key, value)       = keccak(key ‖ keccak(value))            64-byte preimage
    node(bit, left, right) = keccak(uint8(bit) ‖ left ‖ right)      65-byte preimage
    empty trie             = 32 zero bytes

``bit`` (0 = most significant) is the first bit in which the two subtrees differ; bits rise from the root to the leaves.
One content has one root, whatever its history (PATRICIA: D. Morrison, JACM 15(4), 1968; crit-bit: D. J. Bernstein,
https://cr.yp.to/critbit.html).

A *path* is an integer: a sentinel bit 1, then the key bits down to a node's own bit, so an inner node's bit is
``path.bit_length() - 1`` and a leaf's path is ``2**256 | key``. A node's *address* is the path by which its parent
reaches it: 1 for the root, ``2 * path`` and ``2 * path + 1`` for the children of an inner node. Addresses survive
every change elsewhere: a splice moves the one node that takes the gap, its children stay where they are.

    leaf record  (path, hash)            inner record  (path, hash of left, hash of right)

``update`` applies a whole batch of changes in one descent and hashes every changed node once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

from sha3 import keccak_256

KEY_BITS: Final = 256
EMPTY_ROOT: Final = bytes(32)
ROOT_ADDRESS: Final = 1
LEAF_TOP: Final = 1 << 256  # sentinel of a whole key: every leaf's path is at least this, no inner node's is

# (path, hash) or (path, left hash, right hash): plain tuples, because millions of them stay in memory
Node: TypeAlias = tuple[Any, ...]
Writes: TypeAlias = dict[int, Node | None]

_BIT_BYTES: Final = [bytes((bit,)) for bit in range(256)]


class NodeReader(Protocol):
    """Where the trie's nodes are."""

    def get_node(self, address: int) -> Node | None:
        """The record at an address, None if there is none."""
        ...


class TrieView(Protocol):
    """One state, readable: the live store, a past block, or an overlay."""

    def root(self) -> bytes: ...

    def get_node(self, address: int) -> Node | None: ...

    def get(self, key: bytes) -> bytes | None:
        """The value of a leaf, None if absent."""
        ...

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys under a prefix, ascending."""
        ...


def keccak(data: bytes) -> bytes:
    """keccak-256 (the original padding, not SHA3-256)."""
    digest: bytes = keccak_256(data).digest()
    return digest


def leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    """Hash of a leaf; ``value_hash`` = keccak of its value."""
    return keccak(key + value_hash)


def node_hash(bit: int, left: bytes, right: bytes) -> bytes:
    """Hash of an inner node; 0 <= bit < 256."""
    return keccak(_BIT_BYTES[bit] + left + right)


def key_path(key: bytes) -> int:
    """Path of the leaf with this key."""
    if len(key) != 32:
        raise ValueError(f"a trie key has 32 bytes, this one has {len(key)}")
    return LEAF_TOP | int.from_bytes(key, "big")


def path_key(path: int) -> bytes:
    """Key of the leaf with this path."""
    return (path - LEAF_TOP).to_bytes(32, "big")


def is_leaf(node: Node) -> bool:
    return bool(node[0] >= LEAF_TOP)


def hash_of(node: Node) -> bytes:
    """Hash of a node from its record."""
    path: int = node[0]
    if path >= LEAF_TOP:
        leaf: bytes = node[1]
        return leaf
    return node_hash(path.bit_length() - 1, node[1], node[2])


def split_bit(a: int, b: int) -> int:
    """The first bit in which two leaf paths differ (a != b)."""
    return KEY_BITS - (a ^ b).bit_length()


# --- batch update -----------------------------------------------------------------------------------------------------


class _Batch:
    """One batch in the works: sorted leaf paths, their new hashes (None = delete), and the records to write."""

    __slots__ = ("hashes", "paths", "reader", "writes")

    def __init__(self, reader: NodeReader, changes: Mapping[bytes, bytes | None]) -> None:
        hashes: dict[int, bytes | None] = {}
        for key, value in changes.items():
            if value is not None and (not value or len(value) % 32):
                raise ValueError(f"a leaf's value is one or more 32-byte words, {key.hex()} has {len(value)} bytes")
            hashes[key_path(key)] = None if value is None else leaf_hash(key, keccak(value))
        self.reader = reader
        self.paths = sorted(hashes)
        self.hashes = hashes
        self.writes: Writes = {}


def update(reader: NodeReader, changes: Mapping[bytes, bytes | None]) -> tuple[bytes, Writes]:
    """Apply changes (key -> new value, None = delete) to the trie behind ``reader``.

    Returns the new root and the records to write by address (None = remove); the reader itself is not changed.
    Deleting an absent key changes nothing. Raises ValueError on a key or value of a wrong length.
    """
    batch = _Batch(reader, changes)
    old = reader.get_node(ROOT_ADDRESS)
    if not batch.paths:
        return (EMPTY_ROOT if old is None else hash_of(old)), batch.writes
    if old is None:
        top = _build(batch, [(path, leaf, (path, leaf)) for path, leaf in _inserts(batch, 0, len(batch.paths))])
    else:
        top = _merge(batch, ROOT_ADDRESS, old, 0, len(batch.paths))
    if top is None:
        batch.writes[ROOT_ADDRESS] = None
        return EMPTY_ROOT, batch.writes
    batch.writes[ROOT_ADDRESS] = top[1]
    return top[0], batch.writes


def _inserts(batch: _Batch, lo: int, hi: int) -> list[tuple[int, bytes]]:
    found = []
    for path in batch.paths[lo:hi]:
        leaf = batch.hashes[path]
        if leaf is not None:
            found.append((path, leaf))
    return found


def _merge(batch: _Batch, address: int, node: Node, lo: int, hi: int) -> tuple[bytes, Node] | None:
    """The subtree at ``address`` after changes [lo, hi), all of which lie under that address.

    Returns (hash, record) of its top, which the caller places, or None if nothing is left. Below the top everything is
    written. Old records are marked for removal first; a record that is placed at the same address later wins.
    """
    path: int = node[0]
    paths = batch.paths
    shift = KEY_BITS + 1 - path.bit_length()
    batch.writes.setdefault(address, None)
    if paths[lo] >> shift == path and paths[hi - 1] >> shift == path:
        return _merge_below(batch, node, lo, hi)
    # some changes leave the trie inside the bits that this node skips
    first = bisect_left(paths, path << shift, lo, hi)
    end = bisect_left(paths, (path + 1) << shift, lo, hi)
    items: list[tuple[int, bytes, Node]] = [(p, leaf, (p, leaf)) for p, leaf in _inserts(batch, lo, first)]
    kept = (hash_of(node), node) if first == end else _merge_below(batch, node, first, end)
    if kept is not None:
        items.append((kept[1][0], kept[0], kept[1]))
    items += [(p, leaf, (p, leaf)) for p, leaf in _inserts(batch, end, hi)]
    return _build(batch, items)


def _merge_below(batch: _Batch, node: Node, lo: int, hi: int) -> tuple[bytes, Node] | None:
    """Changes [lo, hi) share the node's whole path (and are not empty)."""
    path: int = node[0]
    if path >= LEAF_TOP:
        leaf = batch.hashes[path]
        return None if leaf is None else (leaf, (path, leaf))
    bit = path.bit_length() - 1
    left_address = path << 1
    middle = bisect_left(batch.paths, (left_address | 1) << (KEY_BITS - 1 - bit), lo, hi)
    left = _merge_child(batch, left_address, lo, middle) if lo < middle else None
    right = _merge_child(batch, left_address | 1, middle, hi) if middle < hi else None
    if left is None and lo < middle:  # the left side is gone: the right one takes this node's place
        if middle < hi:
            return right
        return _take(batch, left_address | 1)
    if right is None and middle < hi:
        return left if left is not None else _take(batch, left_address)
    left_hash, right_hash = node[1], node[2]
    if left is not None:
        left_hash = left[0]
        batch.writes[left_address] = left[1]
    if right is not None:
        right_hash = right[0]
        batch.writes[left_address | 1] = right[1]
    return keccak(_BIT_BYTES[bit] + left_hash + right_hash), (path, left_hash, right_hash)


def _merge_child(batch: _Batch, address: int, lo: int, hi: int) -> tuple[bytes, Node] | None:
    return _merge(batch, address, _existing(batch.reader, address), lo, hi)


def _take(batch: _Batch, address: int) -> tuple[bytes, Node]:
    """An unchanged subtree whose top moves up, away from ``address``."""
    node = _existing(batch.reader, address)
    batch.writes.setdefault(address, None)
    return hash_of(node), node


def _existing(reader: NodeReader, address: int) -> Node:
    node = reader.get_node(address)
    if node is None:
        raise LookupError(f"the trie has no node at address {address:#x}: the store is damaged, restore it from L1")
    return node


def _build(batch: _Batch, items: list[tuple[int, bytes, Node]]) -> tuple[bytes, Node] | None:
    """The subtree over ascending, disjoint items (path, hash, record): folded from left to right on a stack."""
    if not items:
        return None
    stack: list[tuple[int, bytes, Node, int]] = []  # path, hash, record, bit where it parts from what follows
    top_path, top_hash, top_node = items[0]
    for path, item_hash, node in items[1:]:
        bit = _parting_bit(top_path, path)
        while stack and stack[-1][3] > bit:
            top_path, top_hash, top_node = _join(batch, stack.pop(), top_hash, top_node)
        stack.append((top_path, top_hash, top_node, bit))
        top_path, top_hash, top_node = path, item_hash, node
    while stack:
        top_path, top_hash, top_node = _join(batch, stack.pop(), top_hash, top_node)
    return top_hash, top_node


def _parting_bit(a: int, b: int) -> int:
    """The first bit in which two paths differ; neither is a prefix of the other."""
    length = min(a.bit_length(), b.bit_length())
    return length - ((a >> (a.bit_length() - length)) ^ (b >> (b.bit_length() - length))).bit_length() - 1


def _join(batch: _Batch, left: tuple[int, bytes, Node, int], right: bytes, right_node: Node) -> tuple[int, bytes, Node]:
    path, left_hash, left_node, bit = left
    path >>= path.bit_length() - 1 - bit
    batch.writes[path << 1] = left_node
    batch.writes[path << 1 | 1] = right_node
    return path, node_hash(bit, left_hash, right), (path, left_hash, right)


# --- reading ----------------------------------------------------------------------------------------------------------


def root_of(leaves: Mapping[bytes, bytes]) -> bytes:
    """The root of these leaves, built from nothing."""
    return update(_Nowhere(), leaves)[0]


def lowest_leaf(reader: NodeReader, address: int) -> bytes:
    """The least key under an address that holds a node."""
    node = _existing(reader, address)
    for _ in range(KEY_BITS):
        if is_leaf(node):
            break
        node = _existing(reader, node[0] << 1)
    return path_key(node[0])


def keys_under(reader: NodeReader, prefix: bytes) -> Iterator[bytes]:
    """All keys with a prefix, ascending, read from the nodes."""
    want = (1 << 8 * len(prefix)) | int.from_bytes(prefix, "big")
    address, node = ROOT_ADDRESS, reader.get_node(ROOT_ADDRESS)
    while node is not None and node[0].bit_length() < want.bit_length():
        address = want >> (want.bit_length() - node[0].bit_length() - 1)
        if address >> 1 != node[0]:
            return
        node = reader.get_node(address)
    if node is None or node[0] >> (node[0].bit_length() - want.bit_length()) != want:
        return
    pending = [address]
    while pending:
        address = pending.pop()
        node = _existing(reader, address)
        if is_leaf(node):
            yield path_key(node[0])
        else:
            pending += ((node[0] << 1) | 1, node[0] << 1)


class _Nowhere:
    def get_node(self, address: int) -> Node | None:
        return None


class MemoryTrie:
    """A whole trie in memory: genesis, tests, and overlays over another view (``base``), which stays unchanged."""

    __slots__ = ("base", "nodes", "state_root", "values")

    def __init__(self, leaves: Mapping[bytes, bytes] | None = None, base: TrieView | None = None) -> None:
        self.base = base
        self.nodes: Writes = {}
        self.values: dict[bytes, bytes | None] = {}
        self.state_root = EMPTY_ROOT if base is None else base.root()
        if leaves:
            self.apply(leaves)

    def root(self) -> bytes:
        return self.state_root

    def get_node(self, address: int) -> Node | None:
        if self.base is not None and address not in self.nodes:
            return self.base.get_node(address)
        return self.nodes.get(address)

    def get(self, key: bytes) -> bytes | None:
        if self.base is not None and key not in self.values:
            return self.base.get(key)
        return self.values.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return keys_under(self, prefix)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> bytes:
        """Apply a batch of changes; returns the new root."""
        self.state_root, writes = update(self, changes)
        self.values.update(changes)
        self.nodes.update(writes)
        if self.base is None:
            drop_removed(self.nodes, writes)
            drop_removed(self.values, changes)
        return self.state_root


def drop_removed(store: dict[Any, Any], touched: Iterable[Any]) -> None:
    """Forget entries that a batch set to None."""
    for name in touched:
        if store.get(name) is None:
            store.pop(name, None)
