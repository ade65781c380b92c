"""Commits blocks to a store until it is killed; prints each block's number and root once it is durable."""

import random
import sys

from node.storage.kv import open_kv
from node.storage.trie_store import TrieStore
from tests.trie.cases import random_key, random_value


def changes_of(block: int) -> dict[bytes, bytes | None]:
    """What a block writes: a function of its number alone, so that the parent can rebuild every state."""
    rnd = random.Random(block)
    return {random_key(rnd, 1): None if rnd.random() < 0.4 else random_value(rnd) for _ in range(60)}


if __name__ == "__main__":
    store = TrieStore(open_kv(sys.argv[1]))
    head = store.head()
    block = 0 if head is None else head + 1
    while True:  # the parent kills this process
        root = store.commit_block(block, changes_of(block), [(b"Cmlast", b"%d" % block)], sync=True)
        print(block, root.hex(), flush=True)
        block += 1
