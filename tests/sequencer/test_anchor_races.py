"""Postings that L1 takes in awkward moments: between two looks, before its events show, with old messages waiting.

Everything is real but time: an embedded L1 that mines on demand, the Rollup on it, an ``Anchor`` stepped by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.config import BatcherConfig
from node.derive.chain import Chain
from node.errors import Critical, Reset, Temporary
from node.l1 import bindings
from node.l1.bindings import MessageEnqueued, encode_post_batch
from node.l1.client import L1Client
from node.l1.journal import FileJournal
from node.l1.sender import TxSender, open_sender
from node.l1.types import L1Block, L1Log
from node.storage.kv import MemoryKV
from sequencer.again import Undone, collect, position_after, remaining, repeat
from sequencer.anchoring import Anchor
from sequencer.batcher import new_record, plan_batch, post_arguments
from sequencer.builder import Builder, Limits
from sequencer.rejoin import rejoin, unchanged
from tests.sequencer.l1_world import OPERATOR, SENDER, TIMINGS, TRADERS, World, deployed

CONFIG = BatcherConfig(post_ms=100, post_bytes=60_000, confirmations=0)
Hook = Callable[[], Awaitable[None]]


class Between:
    """The L1 client, with something happening on L1 right before a view is answered, once."""

    def __init__(self, client: L1Client, rollup: bytes) -> None:
        self._client = client
        self._rollup = rollup
        self.before: dict[str, Hook] = {}
        self.hidden_from = -1  # events of this block and later are not shown yet

    async def head(self, tag: str = "latest") -> L1Block:
        return await self._client.head(tag)

    async def call(self, to: bytes, data: bytes) -> bytes:
        for name in list(self.before):
            if data[:4] == bindings.selector(name):
                await self.before.pop(name)()
        return await self._client.call(to, data)

    async def logs(self, address: bytes, first: int, last: int, topics: Any = None) -> list[L1Log]:
        found = await self._client.logs(address, first, last, topics)
        return [item for item in found if self.hidden_from < 0 or item.block_number < self.hidden_from]


class Poster:
    """A sequencer reduced to its chain and its anchor; ``now`` is its clock, ms."""

    def __init__(self, world: World, sender: TxSender) -> None:
        self.world = world
        self.now = 0
        self.chain = Chain.open(MemoryKV(), world.domain)
        self.l1 = Between(world.chain.client, world.rollup)
        self.builder = self.new_builder()
        self.anchor = Anchor(
            self.chain, self.l1, world.rollup, sender, CONFIG,  # type: ignore[arg-type]
            start_block=0, poll_s=0.01, unanchored_ms_max=10**9, now_ms=lambda: self.now)

    def new_builder(self) -> Builder:
        return Builder(self.chain, Limits(overdue_ms=10**12), lambda: self.now, lambda _kind, _content: None)

    async def read_inbox(self) -> int:
        """Offer every message that L1 has; returns their number."""
        head = await self.world.chain.client.head()
        logs = await self.world.chain.client.logs(
            self.world.rollup, 0, head.number, [bindings.topic("MessageEnqueued")])
        for number, item in enumerate(logs):
            event = bindings.decode_event(item.topics, item.data)
            assert isinstance(event, MessageEnqueued)
            self.builder.add_message(number, event.message)
        return len(logs)

    async def post_and_mine_again(self) -> None:
        """A batch is posted, and mined again half a minute later in another branch."""
        assert await self.anchor.step(flush=True)
        mined = await self.world.chain.client.head()
        await self.world.chain.rpc("evm_increaseTime", 30)
        await self.world.chain.rpc("dev_reorg", 1, 1, True)
        await self.world.chain.rpc("evm_mine")
        assert (await self.world.chain.client.head()).timestamp > mined.timestamp + 20

    async def seal_at_l1_time(self) -> int:
        """Seal a block at L1's present time, with the messages offered; returns its number."""
        self.now = (await self.world.chain.client.head()).timestamp * 1_000
        self.builder._ensure_open()
        sealed = self.builder.seal()
        assert sealed is not None
        return sealed.block.header.number

    async def post_behind_the_anchors_back(self) -> None:
        """What a former life of this sequencer had sent is mined now."""
        record = self.chain.last_batch()
        assert record is not None and record.header is None
        await self.world.send(OPERATOR, [(self.world.rollup, encode_post_batch(post_arguments(self.chain, record)))])

    def plan(self) -> None:
        """The record of the next batch, durable before anything is sent."""
        plan = plan_batch(self.chain, CONFIG, now_ms=self.now, l1_time_ms=self.now)
        assert plan is not None
        self.chain.put_batch(new_record(self.chain, plan))


@asynccontextmanager
async def posting(folder: Path) -> AsyncIterator[Poster]:
    """A poster on a deployed Rollup whose first messages are consumed and in one sealed block."""
    async with deployed(folder) as world:
        await world.chain.rpc("evm_setIntervalMining", 0)
        journal = FileJournal(folder / "batcher.journal")
        try:
            async with open_sender(world.chain.client, world.chain.signer(OPERATOR), journal, SENDER) as sender:
                poster = Poster(world, sender)
                await poster.read_inbox()
                await poster.seal_at_l1_time()
                yield poster
        finally:
            journal.close()


async def test_a_posting_mined_between_two_looks_is_adopted_and_not_sent_again(tmp_path: Path) -> None:
    async with posting(tmp_path) as poster:
        poster.plan()
        poster.l1.before["head_number"] = poster.post_behind_the_anchors_back
        posted = await poster.anchor.step()
        assert not posted and not poster.l1.before, "the posting was mined inside the step"
        head = await poster.world.chain.client.head()
        assert poster.anchor.head is not None and poster.anchor.head.number < head.number
        record = poster.chain.last_batch()
        assert record is not None and record.header is not None and record.l1_block == head.number
        assert await poster.world.posted() == [1] and poster.anchor.safe_block() == record.last_block


async def test_a_posting_whose_event_is_late_is_waited_for(tmp_path: Path) -> None:
    async with posting(tmp_path) as poster:
        poster.plan()
        await poster.post_behind_the_anchors_back()
        poster.l1.hidden_from = (await poster.world.chain.client.head()).number
        with pytest.raises(Temporary, match="does not show its event yet"):
            await poster.anchor.step()
        record = poster.chain.last_batch()
        assert record is not None and record.header is None, "nothing is adopted unseen"
        poster.l1.hidden_from = -1
        assert not await poster.anchor.step()
        assert await poster.world.posted() == [1] and poster.anchor.safe_block() == 1


async def test_a_batch_that_left_an_old_message_waiting_takes_in_the_block_that_consumes_it(tmp_path: Path) -> None:
    async with posting(tmp_path) as poster:
        world = poster.world
        assert await poster.anchor.step(flush=True)
        await world.deposit(TRADERS[0], "alice")
        later = (await world.chain.client.head()).timestamp + TIMINGS.force_delay_s + 10
        await world.chain.rpc("evm_setNextBlockTimestamp", later)
        await world.chain.rpc("evm_mine")
        assert await poster.seal_at_l1_time() == 2  # a feed that lags: the deposit is on L1 and not here
        for _ in range(2):
            with pytest.raises(Temporary, match="FORCED_OVERDUE"):
                await poster.anchor.step(flush=True)
        record = poster.chain.last_batch()
        assert record is not None and (record.first_block, record.last_block, record.attempt) == (2, 2, 0)
        assert await poster.read_inbox() == poster.builder.next_message
        await world.chain.rpc("evm_mine")
        assert await poster.seal_at_l1_time() == 3
        assert poster.builder.cursor == poster.builder.next_message, "block 3 consumes the deposit"
        with pytest.raises(Temporary, match="FORCED_OVERDUE"):
            await poster.anchor.step(flush=True)
        extended = poster.chain.last_batch()
        assert extended == replace(record, last_block=3, attempt=1)
        assert await poster.anchor.step(flush=True)
        last = poster.chain.last_batch()
        assert last is not None and last.header is not None and (last.number, last.last_block) == (2, 3)
        assert last.header.inbox_cursor == poster.builder.cursor
        assert await world.view("inbox_count") == poster.builder.cursor + 1, "the posting's own notice"
        assert await world.posted() == [1, 2]


async def test_a_posting_mined_again_at_another_time_is_adopted_anew(tmp_path: Path) -> None:
    """A reorganisation returns it: the same batch, and another header, since that has the time of posting."""
    async with posting(tmp_path) as poster:
        await poster.post_and_mine_again()
        before = poster.chain.last_batch()
        assert before is not None and before.header is not None
        assert not await poster.anchor.step()
        record = poster.chain.last_batch()
        assert record is not None and record.header is not None
        assert record.header == replace(before.header, posted_at=record.header.posted_at) != before.header
        assert await poster.world.posted() == [1] and poster.anchor.safe_block() == 1


async def test_a_posting_from_before_a_reset_is_taken_over_as_it_is(tmp_path: Path) -> None:
    """The chain went back and forgot its batch; L1 has it after all. It is derived, and compared with the promises."""
    async with posting(tmp_path) as poster:
        await poster.post_and_mine_again()
        chain, client, rollup = poster.chain, poster.world.chain.client, poster.world.rollup
        head = chain.head_hash
        undone = collect(chain, 0, Undone())
        assert len(await unchanged(client, rollup, start_block=0, undone=undone)) == len(undone.messages) > 0
        chain.rollback(0)
        assert await rejoin(chain, client, rollup, start_block=0, undone=undone) == 1
        assert chain.head_hash == head and remaining(undone, position_after(chain, chain.head.number)) == []
        assert not await poster.anchor.step() and await poster.world.posted() == [1]
        assert await rejoin(chain, client, rollup, start_block=0, undone=undone) == 0


async def test_a_batch_on_l1_that_breaks_a_promise_stops_the_sequencer(tmp_path: Path) -> None:
    async with posting(tmp_path) as poster:
        await poster.post_and_mine_again()
        undone = collect(poster.chain, 0, Undone())
        undone.transactions[1] = b"\x02\x00"
        poster.chain.rollback(0)
        with pytest.raises(Critical, match="another transaction at position 1"):
            await rejoin(poster.chain, poster.world.chain.client, poster.world.rollup, start_block=0, undone=undone)


async def test_a_batch_of_ours_that_is_cut_otherwise_resets_and_unknown_ones_stop(tmp_path: Path) -> None:
    async with posting(tmp_path) as poster:
        assert await poster.anchor.step(flush=True)
        undone = collect(poster.chain, 0, Undone())
        poster.chain.rollback(0)
        with pytest.raises(Critical, match="does not have: restore it"):
            await poster.anchor.step()
        poster.builder = poster.new_builder()
        repeat(undone, poster.builder)  # finds no messages: the outcomes differ, the order does not
        with pytest.raises(Reset, match="posted by this sequencer before"):
            await poster.anchor.step()
