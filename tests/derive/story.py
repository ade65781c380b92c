"""A rollup's history to derive: a world that trades, its blocks packed into batches, posted on an L1 in memory."""

from __future__ import annotations

from dataclasses import replace

from node.l1 import bindings
from node.stf import state
from node.stf.commitments import BatchHeader, genesis_header, globals_tuple, header_hash, inbox_hash
from node.stf.engine import genesis_leaves
from node.stf.state import Globals
from node.stf.trie import MemoryTrie
from tests.derive.fake_l1 import FakeL1
from tests.stf.world import World, buy, message, sell

START = 1_700_000_000


class Story(World):
    """A World whose inbox is an L1's, and whose chunks go into batches."""

    def __init__(self) -> None:
        self.l1 = FakeL1(START)
        super().__init__(start=START)
        self.trie = MemoryTrie(genesis_leaves())
        self.header: BatchHeader = genesis_header(self.trie.root(), state.global_words(Globals()))
        self.roots: list[bytes] = []
        self._posted = 0

    def deliver(self, kind: int, payload: bytes):  # type: ignore[no-untyped-def]
        """Enqueue on L1, then consume."""
        data = message(kind, payload, self.l1.time)
        self.l1.enqueue(data)
        self.inbox.append(data)
        return self.run(b"\x08")

    def cut(self) -> None:
        if not self._open:
            return
        super().cut()
        self.roots.append(self.trie.apply(self.results[-1].changes))

    def open_market(self) -> None:
        """Two traders, one market, a price."""
        self.block(START * 1000)
        self.create_market(0)
        self.alice = self.deposit("alice", 10_000_000_000)
        self.bob = self.deposit("bob", 10_000_000_000)
        self.price({0: 600_000})

    def trade(self, rounds: int = 3) -> None:
        """Some blocks with fills."""
        for number in range(rounds):
            self.block(250)
            self.actions(self.alice, *[sell(0, 600_000 + i, 100, i) for i in range(6)])
            self.actions(self.bob, buy(0, 600_010, 150 + number))

    def batch(self) -> bindings.PostBatch:
        """All chunks since the last batch, as an honest batcher packs them."""
        self.cut()
        chunks, roots = self.chunks[self._posted :], self.roots[self._posted :]
        self._posted = len(self.chunks)
        words = self.results[-1].global_words
        cursor = words[0] & (1 << 64) - 1
        return bindings.PostBatch(
            self.header.number + 1, header_hash(self.header), cursor, inbox_hash(self.inbox[:cursor]),
            globals_tuple(words), tuple(chunks), tuple(roots),
        )

    def post(self, batch: bindings.PostBatch) -> BatchHeader:
        """Post; an honest batch becomes the head that the next one builds on."""
        self.header = self.l1.post(batch)
        return self.header


def with_root(batch: bindings.PostBatch, index: int, root: bytes) -> bindings.PostBatch:
    """The batch with another root after one chunk."""
    roots = list(batch.roots)
    roots[index] = root
    return replace(batch, roots=tuple(roots))
