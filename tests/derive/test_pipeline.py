"""Derivation from L1 alone: agreement, disputes of every kind, rollbacks, reorgs, restarts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.derive.chain import Chain
from node.derive.pipeline import Pipeline
from node.derive.replay import Dispute, Fraud
from node.stf import encoding
from node.storage.kv import MemoryKV
from tests.derive.fake_l1 import ROLLUP, FakeL1
from tests.derive.story import Story, with_root
from tests.stf.world import DOMAIN


class Follower:
    """A verifier's derivation on a store that survives restarts."""

    def __init__(self, l1: FakeL1, confirmations: int = 0) -> None:
        self.l1 = l1
        self.kv = MemoryKV()
        self.confirmations = confirmations
        self.disputes: list[Dispute] = []
        self.restart()

    def restart(self) -> None:
        self.chain = Chain.open(self.kv, DOMAIN)
        self.pipeline = Pipeline(
            self.chain, self.l1, ROLLUP, start_block=0, confirmations=self.confirmations,  # type: ignore[arg-type]
            on_dispute=self._note,
        )

    async def _note(self, dispute: Dispute) -> None:
        self.disputes.append(dispute)

    async def follow(self) -> None:
        while await self.pipeline.step():
            pass


def told(batches: int = 3) -> Story:
    story = Story()
    story.open_market()
    for _ in range(batches):
        story.trade()
        story.post(story.batch())
    return story


async def test_a_verifier_reaches_the_roots_of_the_sequencer_from_l1_alone() -> None:
    story = told()
    follower = Follower(story.l1)
    await follower.follow()
    assert follower.chain.head.state_root == story.trie.root()
    assert follower.pipeline.progress.roots == len(story.chunks)
    assert follower.pipeline.progress.disagreed == 0
    assert [b.number for b in follower.chain.batches()] == [1, 2, 3]


async def test_restarts_at_any_point_change_nothing() -> None:
    story = Story()
    story.open_market()
    follower = Follower(story.l1)
    for _ in range(4):
        story.trade()
        story.post(story.batch())
        await follower.pipeline.step()
        follower.restart()
        await follower.follow()
        follower.restart()
    late = Follower(story.l1)
    await late.follow()
    assert late.chain.head_hash == follower.chain.head_hash
    assert late.chain.head.state_root == story.trie.root()


@pytest.mark.parametrize("index", [0, 1, -1])
async def test_a_wrong_root_is_disputed_at_its_chunk_and_followed_back(index: int) -> None:
    story = told(2)
    story.trade()
    honest = story.batch()
    assert len(honest.chunks) >= 3
    story.l1.post(with_root(honest, index, b"\x77" * 32))
    follower = Follower(story.l1)
    await follower.follow()
    (dispute,) = follower.disputes
    assert (dispute.kind, dispute.chunk) == (Fraud.ROOT, index % len(honest.chunks))
    assert dispute.true == honest.roots[index]
    assert follower.chain.last_batch().number == 2  # type: ignore[union-attr]
    follower.restart()
    await follower.follow()
    assert len(follower.disputes) == 2, "a restart meets the open dispute again"
    story.l1.drop(3)
    story.l1.post(honest)
    await follower.follow()
    assert follower.pipeline.progress.disputed is None
    assert follower.chain.head.state_root == story.trie.root()


async def test_what_is_built_on_a_disputed_batch_is_held_back() -> None:
    story = told(1)
    story.trade()
    story.post(with_root(story.batch(), 0, b"\x77" * 32))
    story.trade()
    story.post(story.batch())
    follower = Follower(story.l1)
    await follower.follow()
    assert follower.pipeline.progress.skipped == 1
    assert follower.chain.last_batch().number == 1  # type: ignore[union-attr]


async def test_an_invalid_chunk_is_disputed() -> None:
    story = told(1)
    story.trade()
    honest = story.batch()
    chunks = (*honest.chunks[:-1], honest.chunks[-1] + b"\x07")
    story.l1.post(replace(honest, chunks=chunks))
    follower = Follower(story.l1)
    await follower.follow()
    (dispute,) = follower.disputes
    assert (dispute.kind, dispute.chunk, dispute.true) == (Fraud.INVALID, len(chunks) - 1, b"\xff" * 32)


@pytest.mark.parametrize("word", [0, 1, 3])
async def test_a_header_that_lies_is_disputed(word: int) -> None:
    story = told(1)
    story.trade()
    honest = story.batch()
    words = list(honest.globals)
    words[word] += 1 << 128
    story.l1.post(replace(honest, globals=tuple(words)))
    follower = Follower(story.l1)
    await follower.follow()
    assert [d.kind for d in follower.disputes] == [Fraud.HEADER]
    assert follower.chain.last_batch().number == 1  # type: ignore[union-attr]


async def test_a_batch_that_opens_no_block_is_a_lying_header() -> None:
    story = told(1)
    story.price({0: 600_500})
    story.post(story.batch())
    story.cut()
    story.run(encoding.write_liquidate(story.alice, 0))
    honest = story.batch()
    words = list(honest.globals)
    words[0] += 1 << 128
    story.l1.post(replace(honest, globals=tuple(words)))
    follower = Follower(story.l1)
    await follower.follow()
    assert [d.kind for d in follower.disputes] == [Fraud.HEADER]


@pytest.mark.parametrize("depth", [1, 2, 5, 30])
async def test_reorgs_are_followed_to_the_new_branch(depth: int) -> None:
    story = told(2)
    follower = Follower(story.l1)
    while await follower.pipeline.step():
        pass
    before = follower.chain.head.number
    for _ in range(4):
        story.l1.mine()
        await follower.pipeline.step()
    story.l1.reorg(min(depth, len(story.l1.blocks) - 1))
    await follower.follow()
    fresh = Follower(story.l1)
    await fresh.follow()
    assert follower.chain.head_hash == fresh.chain.head_hash
    assert follower.pipeline.inbox.count == fresh.pipeline.inbox.count
    assert before >= follower.chain.head.number


async def test_confirmations_hide_the_newest_blocks() -> None:
    story = told(1)
    follower = Follower(story.l1, confirmations=3)
    await follower.follow()
    assert follower.chain.head.number == 0
    story.l1.mine(3)
    await follower.follow()
    assert follower.chain.head.state_root == story.trie.root()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_rollback_that_l1_takes_back_opens_the_dispute_again(restart: bool) -> None:
    """The proof's block is reorganised away: the wrong batch stands, its evidence must be met again."""
    story = told(1)
    story.trade()
    honest = story.batch()
    story.l1.post(with_root(honest, 0, b"\x77" * 32))
    follower = Follower(story.l1)
    await follower.follow()
    story.l1.mine(2)
    await follower.follow()
    story.l1.drop(2)
    await follower.follow()
    assert follower.pipeline.progress.disputed is None
    if restart:
        follower.restart()
    story.l1.reorg(1)
    await follower.follow()
    assert follower.pipeline.progress.disputed is not None
    assert [dispute.batch.header.number for dispute in follower.disputes] == [2, 2]
    story.l1.drop(2)
    story.l1.post(honest)
    await follower.follow()
    assert follower.pipeline.progress.disputed is None
    assert follower.chain.head.state_root == story.trie.root()
