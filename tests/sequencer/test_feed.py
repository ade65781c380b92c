"""The inbox is read where L1 calls it safe and the configured confirmations lie on top, whichever is deeper."""

from __future__ import annotations

import pytest

from node.errors import Reset
from node.l1 import bindings
from node.l1.bindings import MessageEnqueued
from node.l1.heads import HeadsConfig, HeadTracker
from node.l1.types import CallReverted, L1Block, L1Log, TagNotOffered
from sequencer.feed import Feed
from tests.derive.fake_l1 import ROLLUP, FakeL1
from tests.sequencer.world import START_MS, Desk


class TaggedL1:
    """The L1 in memory with a safe head ``lag`` blocks behind, or with no such tag at all."""

    def __init__(self, lag: int | None) -> None:
        self.l1 = FakeL1(START_MS // 1_000 - 12 * 50)
        self.lag = lag

    async def head(self, tag: str = "latest") -> L1Block:
        if tag == "latest":
            return self.l1.blocks[-1].block
        if self.lag is None:
            raise TagNotOffered(tag)
        depth = self.lag if tag == "safe" else 2 * self.lag
        return self.l1.blocks[max(0, len(self.l1.blocks) - 1 - depth)].block

    async def block(self, block: int | bytes) -> L1Block | None:
        if isinstance(block, int):
            return await self.l1.block(block)
        return next((mined.block for mined in self.l1.blocks if mined.block.hash == block), None)

    async def call(self, to: bytes, data: bytes) -> bytes:
        """The view ``inbox_hash_at``."""
        assert data[:4] == bindings.selector("inbox_hash_at")
        number = int.from_bytes(data[4:], "big")
        logs = [log for mined in self.l1.blocks for log in mined.logs]
        if number > len(logs):
            raise CallReverted("INBOX_CURSOR: beyond the inbox", b"")
        event = bindings.decode_event(logs[number - 1].topics, logs[number - 1].data)
        assert isinstance(event, MessageEnqueued)
        return event.running_hash

    async def logs(self, address: bytes, first: int, last: int, _topics: list[bytes]) -> list[L1Log]:
        return await self.l1.logs(address, first, last)


def reading(client: TaggedL1, confirmations: int) -> tuple[Feed, Desk]:
    desk = Desk()
    tracker = HeadTracker(client, HeadsConfig(safe_depth=3, finalized_depth=6))  # type: ignore[arg-type]
    feed = Feed(desk.chain, client, tracker, ROLLUP, lambda: desk.builder,  # type: ignore[arg-type]
                start_block=0, confirmations=confirmations)
    return feed, desk


@pytest.mark.parametrize(
    ("lag", "confirmations", "depth"),
    [(4, 0, 4), (4, 6, 6), (4, 4, 4), (0, 0, 0), (0, 2, 2), (None, 0, 3), (None, 5, 5)])
async def test_a_message_is_offered_at_the_deeper_of_both_depths(
    lag: int | None, confirmations: int, depth: int
) -> None:
    client = TaggedL1(lag)
    feed, desk = reading(client, confirmations)
    client.l1.mine(20)
    await feed.poll()
    client.l1.enqueue(desk.inbox[0])
    for on_top in range(depth + 1):
        if on_top:
            client.l1.mine()
        await feed.poll()
        assert desk.builder.next_message == (on_top == depth), f"{on_top} blocks on top"
    assert feed.caught_up


async def test_a_reorganisation_above_the_safe_head_takes_back_nothing_that_was_offered() -> None:
    client = TaggedL1(4)
    feed, desk = reading(client, 0)
    client.l1.mine(20)
    client.l1.enqueue(desk.inbox[0])
    client.l1.mine(4)
    client.l1.enqueue(desk.inbox[1])
    await feed.poll()
    assert desk.builder.next_message == 1
    desk.builder.tick()
    assert desk.builder.cursor == 1, "consumed"
    client.l1.reorg(4)
    client.l1.enqueue(desk.inbox[2])
    client.l1.mine(4)
    await feed.poll()
    assert desk.builder.next_message == 2 and desk.builder.message(1) == desk.inbox[2], "the message that stayed"


async def test_a_consumed_message_that_the_new_branch_has_nearer_its_head_is_waited_for() -> None:
    """It is not safe there yet, which is no reason to execute anything anew: L1 lists it as it was consumed."""
    client = TaggedL1(20)
    feed, desk = reading(client, 0)
    client.l1.mine(30)
    client.l1.enqueue(desk.inbox[0])
    client.l1.mine(20)
    await feed.poll()
    desk.builder.tick()
    assert desk.builder.cursor == 1
    client.l1.reorg(21)
    client.l1.enqueue(desk.inbox[0])
    for _ in range(30):
        client.l1.mine()
        await feed.poll()
    assert feed.caught_up and desk.builder.next_message == 1


async def test_a_consumed_message_that_stays_away_resets() -> None:
    client = TaggedL1(20)
    feed, desk = reading(client, 0)
    client.l1.mine(30)
    client.l1.enqueue(desk.inbox[0])
    client.l1.mine(20)
    await feed.poll()
    desk.builder.tick()
    client.l1.reorg(21)
    with pytest.raises(Reset, match="were consumed and are gone"):
        for _ in range(10):
            client.l1.mine()
            await feed.poll()
