"""The state trie on disk: leaves by key, nodes by path, one undo record a block, one atomic write a block.

    l ‖ key:32          value of a leaf
    n ‖ address         node: leaf = hash:32 ‖ key:32, inner = left hash:32 ‖ right hash:32 ‖ path
    u ‖ block:8         undo: for each changed leaf key:32 ‖ words:2 ‖ value before the block (no words = absent)
    m trie              RLP [schema, head block, root]

Addresses and paths are big-endian integers with their sentinel bit (node/stf/trie.py). Nodes are overwritten in place,
so there is no garbage to collect. Undo records are fixed fields, since RLP would take a fifth of a commit. Because the
trie is canonical, the leaves alone decide every node: a rollback applies the undone leaves as one ordinary batch and
gets back exactly the old nodes. A crash leaves the last committed block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import rlp

from node.stf.trie import EMPTY_ROOT, LEAF_TOP, MemoryTrie, Node, TrieView, update
from node.storage.kv import KV, Change, Reader, StorageError, prefix_end

LEAF: Final = b"l"
NODE: Final = b"n"
UNDO: Final = b"u"
HEAD: Final = b"mtrie"
SCHEMA: Final = 1
CACHE_NODES: Final = 400_000  # in two generations, about 100 MB when full

_NONE: Final = -1  # head of a store without any block


def encode_node(node: Node) -> bytes:
    """The record of a node; inverse of `decode_node`."""
    path: int = node[0]
    if path >= LEAF_TOP:
        return bytes(node[1] + (path - LEAF_TOP).to_bytes(32, "big"))
    return bytes(node[1] + node[2] + path.to_bytes((path.bit_length() + 7) // 8, "big"))


def decode_node(record: bytes) -> Node:
    if len(record) == 64:
        return LEAF_TOP | int.from_bytes(record[32:], "big"), record[:32]
    return int.from_bytes(record[64:], "big"), record[:32], record[32:64]


def node_key(address: int) -> bytes:
    return NODE + address.to_bytes((address.bit_length() + 7) // 8, "big")


def undo_key(block: int) -> bytes:
    return UNDO + block.to_bytes(8, "big")


def encode_undo(before: Mapping[bytes, bytes | None]) -> bytes:
    """Values of leaves before a block (None = absent) as one record; inverse of `decode_undo`."""
    parts: list[bytes] = []
    for key, value in sorted(before.items()):
        content = value or b""
        parts += (key, (len(content) // 32).to_bytes(2, "big"), content)
    return b"".join(parts)


def decode_undo(record: bytes) -> dict[bytes, bytes | None]:
    before: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(record):
        end = at + 34 + 32 * int.from_bytes(record[at + 32 : at + 34], "big")
        before[record[at : at + 32]] = record[at + 34 : end] or None
        at = end
    return before


class StoreView:
    """A state as a reader shows it (a `TrieView`), with a bounded cache of nodes."""

    __slots__ = ("_capacity", "_hot", "_old", "_reader", "_root", "head")

    def __init__(self, reader: Reader, cache_nodes: int = CACHE_NODES) -> None:
        self._reader = reader
        self._capacity = cache_nodes // 2
        self._hot: dict[int, Node] = {}
        self._old: dict[int, Node] = {}
        self.head, self._root = _read_head(reader)

    def root(self) -> bytes:
        return self._root

    def get(self, key: bytes) -> bytes | None:
        return self._reader.get(LEAF + key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys of all leaves under a prefix, ascending."""
        start = LEAF + prefix
        return (key[1:] for key, _ in self._reader.iterate(start, prefix_end(start)))

    def get_node(self, address: int) -> Node | None:
        node = self._hot.get(address)
        if node is not None:
            return node
        node = self._old.get(address)
        if node is None:
            record = self._reader.get(node_key(address))
            if record is None:
                return None
            node = decode_node(record)
        self._remember(address, node)
        return node

    def _remember(self, address: int, node: Node) -> None:
        if len(self._hot) >= self._capacity:
            self._hot, self._old = {}, self._hot
        self._hot[address] = node

    def _moved(self, head: int, root: bytes, writes: Mapping[int, Node | None]) -> None:
        """Follow a write that the store has made."""
        self.head, self._root = head, root
        for address, node in writes.items():
            if node is None:
                self._hot.pop(address, None)
                self._old.pop(address, None)
            else:
                self._remember(address, node)


class TrieStore:
    """The node's state: one writer. Reads (`get`, `keys`, `get_node`, `root`) are those of the head block."""

    __slots__ = ("_kv", "_view", "get", "get_node", "keys", "root")

    def __init__(self, kv: KV, cache_nodes: int = CACHE_NODES) -> None:
        """Raises StorageError if the directory was written by another version."""
        self._kv = kv
        self._view = StoreView(kv, cache_nodes)
        self.root, self.get = self._view.root, self._view.get
        self.keys, self.get_node = self._view.keys, self._view.get_node

    def head(self) -> int | None:
        """Number of the last committed block, None before the first."""
        return None if self._view.head == _NONE else self._view.head

    def commit_block(
        self, number: int, changes: Mapping[bytes, bytes | None], extra: Iterable[Change] = (), *, sync: bool = False,
        hashed: MemoryTrie | None = None,
    ) -> bytes:
        """Apply a block's net changes (key -> value, None = delete) and ``extra`` records in one write; the new root.

        ``hashed`` is an overlay on this very state that has taken exactly these changes: its nodes are written as they
        are. Blocks follow each other by number; the first one (genesis) may have any. Raises ValueError otherwise.
        """
        if self._view.head not in (_NONE, number - 1):
            raise ValueError(f"block {number} cannot follow block {self._view.head}: commit them in order")
        before = {key: self.get(key) for key in changes}
        changed = {key: value for key, value in changes.items() if before[key] != value}
        undo = encode_undo({key: before[key] for key in changed})
        return self._write(number, changed, [(undo_key(number), undo), *extra], sync, hashed)

    def rollback(self, to_block: int, extra: Iterable[Change] = (), *, sync: bool = True) -> bytes:
        """Make ``to_block`` the head again, exactly as it was, in one write together with ``extra``; its root.

        Raises StorageError if the undo records do not reach back that far.
        """
        changes = _undone(self._kv, self._view.head, to_block)
        drops: list[Change] = [(undo_key(block), None) for block in range(to_block + 1, self._view.head + 1)]
        return self._write(to_block, changes, [*drops, *extra], sync)

    def at_block(self, number: int) -> TrieView:
        """The state after a block, readable whatever is committed later. Raises StorageError if that is pruned."""
        return self.rewind(number)()

    def rewind(self, number: int) -> Callable[[], TrieView]:
        """What `at_block` does, as of now, to be called later or in another thread: far back it takes long."""
        reader = self._kv.snapshot()

        def view() -> TrieView:
            base = StoreView(reader)
            if number == base.head:
                return base
            past = MemoryTrie(base=base)
            past.apply(_undone(reader, base.head, number))
            return past

        return view

    def oldest_block(self) -> int | None:
        """The oldest block that `rollback` and `at_block` can reach, None before the first block."""
        for key, _ in self._kv.iterate(UNDO, prefix_end(UNDO)):
            first = int.from_bytes(key[1:], "big")
            return max(first - 1, 0) if first else 0
        return self.head()

    def prune_undo(self, below: int, limit: int = 1_000) -> int:
        """Forget undo records that only states before block ``below`` need; at most ``limit``, returns how many."""
        stop = undo_key(min(below, max(self._view.head, 0)) + 1)
        keys: list[bytes] = []
        for key, _ in self._kv.iterate(UNDO, stop):
            if len(keys) == limit:
                break
            keys.append(key)
        self._kv.write([(key, None) for key in keys])
        return len(keys)

    def _write(
        self, head: int, changes: Mapping[bytes, bytes | None], extra: Iterable[Change], sync: bool,
        hashed: MemoryTrie | None = None,
    ) -> bytes:
        root, writes = update(self._view, changes) if hashed is None else (hashed.root(), hashed.nodes)
        batch: list[Change] = [(LEAF + key, value) for key, value in changes.items()]
        batch += [(node_key(address), None if node is None else encode_node(node)) for address, node in writes.items()]
        batch += extra
        batch.append((HEAD, rlp.encode([_int(SCHEMA), _int(head), root])))
        self._kv.write(batch, sync=sync)
        self._view._moved(head, root, writes)
        return root


def _undone(reader: Reader, head: int, to_block: int) -> dict[bytes, bytes | None]:
    """Leaves that turn the state after ``head`` into the one after ``to_block``."""
    if not 0 <= to_block <= head:
        raise StorageError(f"there is no block {to_block} to go back to: the head is {head}")
    changes: dict[bytes, bytes | None] = {}
    for block in range(head, to_block, -1):
        record = reader.get(undo_key(block))
        if record is None:
            raise StorageError(f"block {to_block} is pruned: undo begins after block {block}; derive again from L1")
        changes.update(decode_undo(record))
    return changes


def _read_head(reader: Reader) -> tuple[int, bytes]:
    record = reader.get(HEAD)
    if record is None:
        return _NONE, EMPTY_ROOT
    schema, head, root = rlp.decode(record)
    if int.from_bytes(schema, "big") != SCHEMA:
        found = int.from_bytes(schema, "big")
        raise StorageError(f"the state has schema {found}, not {SCHEMA}; delete the data directory to derive it again")
    return int.from_bytes(head, "big"), bytes(root)


def _int(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
