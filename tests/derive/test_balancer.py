"""L1 nodes behind one address that do not agree: what one leaves out or adds must not stay in what is derived."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from node.derive.pipeline import SETTLED, Pipeline
from node.errors import Temporary
from node.l1.types import L1Block, L1Log, L1Transaction, NodeRefused
from tests.derive.fake_l1 import FakeL1
from tests.derive.story import Story
from tests.derive.test_pipeline import Follower, told


class Balancer:
    """Blocks and transactions from one node, events from another one while there is one."""

    def __init__(self, blocks: FakeL1, events: FakeL1 | None) -> None:
        self.blocks = blocks
        self.events = events

    async def head(self, tag: str = "latest") -> L1Block:
        return await self.blocks.head(tag)

    async def block(self, number: int) -> L1Block | None:
        return await self.blocks.block(number)

    async def transaction(self, tx_hash: bytes) -> L1Transaction | None:
        return await self.blocks.transaction(tx_hash)

    async def logs(self, address: bytes, first: int, last: int) -> list[L1Log]:
        return await (self.events or self.blocks).logs(address, first, last)

    async def block_logs(self, address: bytes, block_hash: bytes) -> list[L1Log]:
        node = self.events or self.blocks
        if all(mined.block.hash != block_hash for mined in node.blocks):
            raise NodeRefused("eth_getLogs", -32_000, "unknown block")
        return await node.block_logs(address, block_hash)


def behind(l1: FakeL1, blocks: int) -> FakeL1:
    """A node that has not seen the newest blocks yet."""
    lagging = copy.copy(l1)
    lagging.blocks = l1.blocks[: len(l1.blocks) - blocks]
    return lagging


def following(story: Story, events: FakeL1 | None) -> tuple[Follower, Balancer]:
    balancer = Balancer(story.l1, events)
    return Follower(balancer), balancer  # type: ignore[arg-type]


async def drain(pipeline: Pipeline, tries: int = 40) -> None:
    """Step until nothing is left, waiting out what is temporary."""
    for _ in range(tries):
        try:
            if not await pipeline.step():
                return
        except Temporary:
            continue
    raise AssertionError(f"derivation does not end in {tries} steps")


async def test_a_batch_that_a_lagging_node_leaves_out_is_not_passed_over() -> None:
    story = told(2)
    follower, balancer = following(story, None)
    await follower.follow()
    agreed = follower.pipeline.progress.agreed
    story.trade()
    story.post(story.batch())
    balancer.events = behind(story.l1, 1)
    with pytest.raises(Temporary):
        await follower.pipeline.step()
    assert follower.pipeline.progress.agreed == agreed
    balancer.events = None
    await follower.follow()
    assert follower.pipeline.progress.agreed == agreed + 1
    assert follower.chain.head.state_root == story.trie.root()


async def test_a_branch_with_other_blocks_is_not_mixed_in() -> None:
    """The block is of one branch, the checkpoint of another: L1 is in the middle of a reorganisation."""
    story = told(2)
    follower, _balancer = following(story, None)
    await follower.follow()
    known = follower.pipeline.progress.l1_derived
    block = story.l1.blocks[known].block
    story.l1.mine()
    story.l1.blocks[known + 1].block = L1Block(known + 1, bytes(31) + b"\1", bytes(32), block.timestamp + 12, 7)
    with pytest.raises(Temporary, match="does not continue"):
        await follower.pipeline.step()
    assert follower.pipeline.progress.l1_derived == known


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_was_left_out_far_below_the_head_is_found_when_l1_contradicts_it(restarts: bool) -> None:
    """A range that one node answers with less than there is becomes a checkpoint that nothing fits: it is given up."""
    story = told(2)
    lagging = behind(story.l1, 1)  # lacks the second batch
    story.l1.mine(SETTLED + 1)
    follower, balancer = following(story, lagging)
    assert await follower.pipeline.step()
    assert follower.pipeline.progress.agreed == 1, "the second batch was left out"
    balancer.events = None
    await drain(follower.pipeline)
    if restarts:
        follower.restart()
    story.trade()
    story.post(story.batch())
    await drain(follower.pipeline)
    assert follower.pipeline.progress.agreed == 3
    assert follower.chain.head.state_root == story.trie.root()


async def test_an_l1_that_never_makes_sense_is_temporary_and_harms_nothing() -> None:
    story = told(2)
    follower, _ = following(story, None)
    await follower.follow()
    story.trade()
    story.l1.post(replace(story.batch(), number=7))
    for _ in range(12):
        with pytest.raises(Temporary, match="was due"):
            await follower.follow()
    late = Follower(story.l1)
    with pytest.raises(Temporary, match="was due"):
        await late.follow()
    assert late.pipeline.progress.disagreed == follower.pipeline.progress.disagreed == 0
