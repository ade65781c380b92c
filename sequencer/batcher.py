"""What goes into a batch and when it is due: pure decisions over sealed blocks.

A batch is a run of whole blocks from the first un-anchored one on, none later than the latest L1 block's time (L1 would
refuse it). It is due when more waits than fits, or when its oldest block has waited ``post_ms``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from node.config import BatcherConfig
from node.derive.blocks import Block
from node.derive.chain import BatchRecord, Chain
from node.l1.bindings import BATCH_BYTES_MAX, PostBatch
from node.stf import commitments
from node.stf.commitments import CHUNKS_PER_BATCH_MAX, BatchHeader, genesis_header, header_hash
from sequencer.again import boundary

BLOCKS_MAX: Final = 10_000  # looked at for one batch


@dataclass(frozen=True, slots=True)
class Plan:
    """Blocks ``first`` to ``last``; ``due`` when they should be posted now."""

    first: int
    last: int
    size: int
    chunks: int
    due: bool


def parent_header(chain: Chain, number: int) -> BatchHeader:
    """The header before batch ``number``. Raises LookupError if that one is not on L1 yet."""
    if number == 1:
        genesis = chain.header(0)
        assert genesis is not None, "a chain has a genesis block"
        return genesis_header(genesis.state_root, chain.global_words(0))
    record = chain.batch(number - 1)
    if record is None or record.header is None:
        raise LookupError(f"batch {number - 1} is not on L1 yet")
    return record.header


def plan_batch(
    chain: Chain, config: BatcherConfig, *, now_ms: int, l1_time_ms: int, first: int | None = None
) -> Plan | None:
    """The next batch (from block ``first``: by default what no batch has yet), None while no block may go to L1."""
    if first is None:
        last = chain.last_batch()
        first = 1 if last is None else last.last_block + 1
    plan: Plan | None = None
    oldest = chain.header(first)
    if oldest is None or oldest.time > l1_time_ms:
        return None
    is_old = max(now_ms, l1_time_ms) - oldest.time >= config.post_ms
    bytes_max, chunks_max = min(config.post_bytes, BATCH_BYTES_MAX), min(config.chunks_max, CHUNKS_PER_BATCH_MAX)
    size = chunks = 0
    last_allowed = boundary(chain)
    for block in _blocks(chain, first):
        if plan is not None and first <= last_allowed < block.header.number:
            return Plan(plan.first, plan.last, plan.size, plan.chunks, True)
        size, chunks = size + block.size, chunks + len(block.chunks)
        fits = size <= bytes_max and chunks <= chunks_max
        if plan is not None and not fits:
            return Plan(plan.first, plan.last, plan.size, plan.chunks, True)
        if block.header.time > l1_time_ms:
            break
        plan = Plan(first, block.header.number, size, chunks, is_old or not fits)
    return plan


def _blocks(chain: Chain, first: int) -> Iterator[Block]:
    for number in range(first, min(chain.head.number, first + BLOCKS_MAX) + 1):
        block = chain.block(number)
        assert block is not None, "blocks up to the head are stored"
        yield block


def new_record(chain: Chain, plan: Plan) -> BatchRecord:
    """The record of a planned batch on its parent."""
    last = chain.last_batch()
    number = 1 if last is None else last.number + 1
    return BatchRecord(number, plan.first, plan.last, header_hash(parent_header(chain, number)))


def post_arguments(chain: Chain, record: BatchRecord) -> PostBatch:
    """What ``post_batch`` is called with. Raises LookupError if its blocks or its parent's header are missing."""
    parent = parent_header(chain, record.number)
    blocks = chain.batch_blocks(record)
    assert all(a.header.number + 1 == b.header.number for a, b in pairwise(blocks)), "a batch is a run of blocks"
    words = chain.global_words(record.last_block)
    cursor = commitments.unpack_position(words[0]).inbox_cursor
    consumed = [chain.message(number) for number in range(parent.inbox_cursor, cursor)]
    messages = [message for message in consumed if message is not None]
    assert len(messages) == len(consumed), "consumed messages are stored with their block"
    chunks = [chunk for block in blocks for chunk in block.chunks]
    return PostBatch(
        number=record.number,
        parent=record.parent,
        inbox_cursor=cursor,
        inbox_hash=commitments.inbox_hash(messages, parent.inbox_hash),
        globals=words,
        chunks=tuple(chunk.data for chunk in chunks),
        roots=tuple(chunk.post_root for chunk in chunks),
    )


def intent_id(record: BatchRecord) -> str:
    """One name per posting: the same batch on the same parent is never sent twice, a new parent is a new posting."""
    return f"batch-{record.number}-{record.parent.hex()[:16]}-{record.last_block}-{record.attempt}"
