"""Leaves per second through the trie: batches into 100,000 leaves, in memory and into LevelDB.

    python -m tests.bench.bench_trie
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from node.stf.trie import MemoryTrie
from node.storage.kv import open_kv
from node.storage.trie_store import TrieStore

LEAVES, VALUE_BYTES = 100_000, 96
Changes = dict[bytes, bytes | None]


def rate(apply: Callable[[Changes], object], keys: list[bytes], batch: int, rounds: int) -> float:
    """Leaves per second over some batches of random leaves."""
    rnd = random.Random(batch)
    changes = [dict.fromkeys(rnd.sample(keys, batch), rnd.randbytes(VALUE_BYTES)) for _ in range(rounds)]
    start = time.perf_counter()
    for change in changes:
        apply(change)
    return batch * rounds / (time.perf_counter() - start)


def main() -> None:
    keys = [b"A" + n.to_bytes(4, "big") + bytes(27) for n in range(LEAVES)]
    leaves = dict.fromkeys(keys, bytes(VALUE_BYTES))
    memory = MemoryTrie(leaves)
    with tempfile.TemporaryDirectory() as folder:
        kv = open_kv(Path(folder) / "db")
        store = TrieStore(kv)
        store.commit_block(0, leaves)

        def commit(changes: Changes) -> None:
            store.commit_block((store.head() or 0) + 1, changes)

        print(f"{'leaves/s':>12} {'memory':>9} {'LevelDB':>9}")
        for batch, rounds in ((10_000, 3), (40, 200)):
            rates = [rate(apply, keys, batch, rounds) for apply in (memory.apply, commit)]
            print(f"{batch:12,} {rates[0]:9,.0f} {rates[1]:9,.0f}")
        kv.close()


if __name__ == "__main__":
    main()
