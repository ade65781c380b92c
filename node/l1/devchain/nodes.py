"""Merkle-Patricia nodes in one dictionary: proofs and garbage collection.

py-evm only ever adds nodes. States older than the history window are unreachable from any retained root, so a
mark-and-sweep bounds the memory of a chain that runs for days: ``sweep`` keeps exactly what the given roots reach
(account trie, storage tries, code).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rlp
from eth_hash.auto import keccak

BLANK_ROOT = keccak(rlp.encode(b""))
EMPTY_CODE_HASH = keccak(b"")


def nibbles(key: bytes) -> list[int]:
    """Hexary path of a key."""
    return [half for byte in key for half in (byte >> 4, byte & 15)]


def compact_path(encoded: bytes) -> tuple[list[int], bool]:
    """Decode a node's hex-prefix path: (nibbles, is it a leaf)."""
    path = nibbles(encoded)
    return path[1:] if path[0] & 1 else path[2:], path[0] >= 2


def proof(nodes: dict[bytes, bytes], root: bytes, key: bytes) -> list[bytes]:
    """Nodes on the path from ``root`` towards keccak(``key``), outermost first; [] for the empty trie.

    Ends at the leaf, or where the key's absence shows. Nodes under 32 bytes sit inside their parent.
    """
    if root == BLANK_ROOT:
        return []
    found: list[bytes] = [nodes[root]]
    node: Any = rlp.decode(nodes[root])
    path = nibbles(keccak(key))
    while path and node:
        if len(node) == 17:
            child, path = node[path[0]], path[1:]
        else:
            prefix, is_leaf = compact_path(node[0])
            if is_leaf or path[: len(prefix)] != prefix:
                break
            child, path = node[1], path[len(prefix):]
        if isinstance(child, bytes) and len(child) == 32:
            found.append(nodes[child])
            node = rlp.decode(nodes[child])
        else:
            node = child
    return found


def reachable(nodes: dict[bytes, bytes], roots: set[bytes]) -> set[bytes]:
    """Hashes of every node and code reachable from the state ``roots``."""
    seen: set[bytes] = set()
    stack = [(root, True) for root in roots if root != BLANK_ROOT]
    while stack:
        digest, is_account_trie = stack.pop()
        if digest in seen:
            continue
        seen.add(digest)
        for child in _children(rlp.decode(nodes[digest])):
            if isinstance(child, tuple):
                if is_account_trie:
                    storage_root, code_hash = child
                    if storage_root != BLANK_ROOT:
                        stack.append((storage_root, False))
                    if code_hash != EMPTY_CODE_HASH:
                        seen.add(code_hash)
            else:
                stack.append((child, is_account_trie))
    return seen


def _children(node: Any) -> Iterator[Any]:
    """Child hashes, and (storage root, code hash) for leaves that hold an account."""
    pending = [node]
    while pending:
        item = pending.pop()
        if len(item) == 17:
            links = item[:16]
        else:
            _, is_leaf = compact_path(item[0])
            if is_leaf:
                account = rlp.decode(item[1])
                if isinstance(account, list) and len(account) == 4:
                    yield (account[2], account[3])
                continue
            links = [item[1]]
        for link in links:
            if isinstance(link, bytes) and len(link) == 32:
                yield link
            elif link:
                pending.append(link)


def sweep(nodes: dict[bytes, bytes], roots: set[bytes]) -> int:
    """Drop what ``roots`` do not reach; returns how many entries went."""
    live = reachable(nodes, roots)
    dead = [digest for digest in list(nodes) if digest not in live]
    for digest in dead:
        del nodes[digest]
    return len(dead)
