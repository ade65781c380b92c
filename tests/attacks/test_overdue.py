"""Attempts to make L1 refuse an honest sequencer's batches, by messages that it cannot consume in time."""

from __future__ import annotations

from node.config import BatcherConfig
from node.derive.blocks import Block
from node.l1.bindings import decode_post_batch, encode_post_batch
from node.stf.commitments import unpack_position
from node.stf.types import Status
from sequencer.batcher import new_record, plan_batch, post_arguments
from sequencer.builder import MESSAGES_MAX, Limits
from tests.sequencer.world import START_MS, Desk
from tests.stf.world import buy, message

FORCE_DELAY_MS = 7_200_000
HOUR_MS = 3_600_000
FORCED_PER_BATCH = 64  # contracts/inbox.vy


def overdue(desk: Desk, block: Block, parent_cursor: int) -> bool:
    """What Rollup would say to a batch that ends with this block."""
    cursor = block.header.cursor
    if cursor == len(desk.inbox) or cursor >= parent_cursor + FORCED_PER_BATCH:
        return False
    return int.from_bytes(desk.inbox[cursor][21:29], "big") * 1_000 + FORCE_DELAY_MS < block.header.time


def after_an_outage(limits: Limits, messages: int) -> Desk:
    """The sequencer slept for five hours; meanwhile a message a minute came in."""
    desk = Desk().start()
    desk.builder.seal()
    desk.limits = limits
    desk.builder = desk.new_builder()
    first = len(desk.inbox)
    for minute in range(messages):
        desk.inbox.append(message(2, b"\x02\x00", START_MS // 1_000 + 60 * minute))
    desk.now = START_MS + 5 * HOUR_MS
    for number in range(first, len(desk.inbox)):
        desk.builder.add_message(number, desk.inbox[number])
    return desk


def test_a_backlog_that_fills_blocks_does_not_block_posting() -> None:
    """Messages of which few fit a block: L2 time follows them until the last is consumed, then the clock."""
    desk = after_an_outage(Limits(block_bytes_max=8, overdue_ms=FORCE_DELAY_MS // 2), 12)
    head = desk.chain.head
    desk.builder.tick()
    desk.builder.seal()
    desk.now += 1
    desk.builder.tick()
    blocks = [desk.chain.block(number) for number in range(head.number + 1, desk.chain.head.number + 1)]
    cursor = head.cursor
    for block in blocks:
        assert block is not None and not overdue(desk, block, cursor)
        cursor = block.header.cursor
    assert cursor == len(desk.inbox) and len(blocks) >= 4


def test_after_a_backlog_orders_meet_the_present() -> None:
    """The order that wakes the sequencer up is executed at the clock's time, not in a block held back."""
    desk = after_an_outage(Limits(overdue_ms=FORCE_DELAY_MS // 2), MESSAGES_MAX * 2 + 5)
    answer = desk.act(1, buy(0, 590_000, 10))
    assert answer.receipt.status == Status.OK and answer.receipt.time >= desk.now
    assert desk.builder.cursor == len(desk.inbox)


def test_a_planned_batch_can_take_later_blocks() -> None:
    """A first block that consumed nothing is posted together with the one that did."""
    desk = Desk().start()
    desk.builder.seal()
    config = BatcherConfig(post_ms=1)
    plan = plan_batch(desk.chain, config, now_ms=desk.now + 10, l1_time_ms=desk.now)
    assert plan is not None
    record = new_record(desk.chain, plan)
    desk.chain.put_batch(record)
    desk.now += 1_000
    desk.builder.add_message(len(desk.inbox), message(2, b"\x02\x00", START_MS // 1_000))
    desk.act(1, buy(0, 590_000, 10))
    desk.builder.seal()
    longer = plan_batch(desk.chain, config, now_ms=desk.now, l1_time_ms=desk.now, first=record.first_block)
    assert longer is not None and longer.first == record.first_block and longer.last == record.last_block + 1
    following = plan_batch(desk.chain, config, now_ms=desk.now, l1_time_ms=desk.now)
    assert following is not None and following.first == longer.last
    posted = decode_post_batch(encode_post_batch(post_arguments(desk.chain, record)))
    assert unpack_position(posted.globals[0]).inbox_cursor == len(desk.inbox)
