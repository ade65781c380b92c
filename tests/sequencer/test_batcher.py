"""Batches: whole blocks in order, due by size or age, never later than L1's clock."""

from __future__ import annotations

from dataclasses import replace

from node.config import BatcherConfig
from node.derive.chain import rebase
from node.l1.bindings import decode_post_batch, encode_post_batch, header_of
from node.stf.commitments import header_hash, inbox_hash, unpack_position
from sequencer.batcher import intent_id, new_record, parent_header, plan_batch, post_arguments
from tests.sequencer.world import Desk
from tests.stf.world import buy

CONFIG = BatcherConfig(post_ms=15_000, post_bytes=2_000, chunks_max=64)
FAR = 2_000_000_000_000


def desk_with_blocks(blocks: int) -> Desk:
    desk = Desk().start()
    for number in range(blocks):
        desk.now += 1_000
        for item in range(5):
            desk.act(1, buy(0, 599_000 - number, 10, 10 * number + item))
        desk.builder.seal()
    return desk


def test_a_batch_is_due_by_size_or_by_age() -> None:
    desk = desk_with_blocks(12)
    chain = desk.chain
    plan = plan_batch(chain, CONFIG, now_ms=0, l1_time_ms=chain.head.time)
    assert plan is not None and plan.due and plan.first == 1 and plan.last < chain.head.number
    assert plan.size <= CONFIG.post_bytes
    large = replace(CONFIG, post_bytes=60_000)
    waiting = plan_batch(chain, large, now_ms=chain.head.time, l1_time_ms=chain.head.time)
    assert waiting is not None and not waiting.due and waiting.last == chain.head.number
    oldest = chain.header(1)
    assert oldest is not None
    old = plan_batch(chain, large, now_ms=oldest.time + CONFIG.post_ms, l1_time_ms=chain.head.time)
    assert old is not None and old.due
    few = plan_batch(chain, replace(large, chunks_max=3), now_ms=0, l1_time_ms=chain.head.time)
    assert few is not None and few.due and few.chunks <= 3


def test_no_block_goes_to_l1_before_its_time() -> None:
    desk = desk_with_blocks(5)
    third = desk.chain.header(3)
    assert third is not None
    plan = plan_batch(desk.chain, CONFIG, now_ms=FAR, l1_time_ms=third.time)
    assert plan is not None and plan.last == 3
    first = desk.chain.header(1)
    assert first is not None
    assert plan_batch(desk.chain, CONFIG, now_ms=FAR, l1_time_ms=first.time - 1) is None


def test_batches_follow_each_other_until_nothing_is_left() -> None:
    desk = desk_with_blocks(12)
    chain = desk.chain
    parent = parent_header(chain, 1)
    while (plan := plan_batch(chain, CONFIG, now_ms=FAR, l1_time_ms=FAR)) is not None:
        record = new_record(chain, plan)
        assert record.parent == header_hash(parent)
        chain.put_batch(record)
        arguments = post_arguments(chain, record)
        assert decode_post_batch(encode_post_batch(arguments)) == arguments
        cursor = unpack_position(arguments.globals[0]).inbox_cursor
        assert arguments.inbox_hash == inbox_hash(desk.inbox[:cursor]) and cursor == arguments.inbox_cursor
        assert arguments.roots[-1] == chain.header(record.last_block).state_root  # type: ignore[union-attr]
        parent = header_of(arguments, 1_700_000_100 + record.number, b"\x01" * 20)
        chain.put_batch(replace(record, header=parent))
    last = chain.last_batch()
    assert last is not None and last.last_block == chain.head.number and last.number > 2
    blocks = [block for record in chain.batches() for block in chain.batch_blocks(record)]
    chunks = [chunk.data for block in blocks for chunk in block.chunks]
    assert chunks == [chunk.data for n in range(1, chain.head.number + 1) for chunk in chain.chunks(n)]


def test_another_parent_is_another_posting() -> None:
    desk = desk_with_blocks(1)
    plan = plan_batch(desk.chain, CONFIG, now_ms=FAR, l1_time_ms=FAR)
    assert plan is not None
    record = new_record(desk.chain, plan)
    again = rebase(record, b"\x02" * 32)
    assert intent_id(record) != intent_id(again) != intent_id(rebase(again, again.parent))
