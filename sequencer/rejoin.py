"""After a reset: postings of ours that L1 has, and this chain does not have as L1 has them, are taken over from L1.

A reorganisation may mine our batches again at another time, or mine one of before a reset when its blocks were executed
anew. What L1 has is the truth then, cut and timed as it is there: it is derived from its bytes, as a verifier
derives it, before anything else is repeated (again.py). It has the promised bytes at the promised positions, since we
posted it; that is compared all the same, because our bond answers for it.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
import trio

from node.derive.chain import Chain
from node.derive.pipeline import fetch_batch
from node.derive.replay import Dispute, PostedBatch, Replayer
from node.errors import Critical, Temporary
from node.l1 import bindings
from node.l1.bindings import BatchPosted, MessageEnqueued
from node.l1.client import L1Client
from node.l1.types import L1Log
from node.stf.commitments import header_hash
from sequencer.again import Undone, position_after
from sequencer.batcher import parent_header

log = structlog.get_logger("sequencer")

BATCHES_MAX: Final = 256  # taken over in one round
NUMBERS_MAX: Final = 256  # messages asked for at once


class Listed:
    """Inbox messages by number, as L1 lists them now."""

    def __init__(self, messages: dict[int, bytes]) -> None:
        self._messages = messages

    def message(self, number: int) -> bytes | None:
        """As ``Inbox.message``."""
        return self._messages.get(number)


async def unchanged(client: L1Client, rollup: bytes, *, start_block: int, undone: Undone) -> dict[int, bytes]:
    """The consumed messages that L1 lists now as it did then, up to the first that it does not, however near its head:
    they were trusted before, and nobody's outcome may change for a branch that has them, too."""
    first, before = undone.first_message, undone.messages
    listed = await _listed(client, rollup, start_block, first, first + len(before))
    found: dict[int, bytes] = {}
    for number, message in enumerate(before, first):
        if listed.get(number) != message:
            break
        found[number] = message
    return found


async def rejoin(chain: Chain, client: L1Client, rollup: bytes, *, start_block: int, undone: Undone) -> int:
    """Derive the batches that L1 has beyond the chain's last one; returns how many. The chain must end with its last
    batch. Raises Temporary: try again, what was taken over stays; Critical if a batch is wrong, or breaks a promise."""
    taken = 0
    while True:
        last = chain.last_batch()
        first = 1 if last is None else last.number + 1
        data = await client.call(rollup, bindings.encode_call("head_number"))
        end = min(int(bindings.decode_result("head_number", data)), first + BATCHES_MAX - 1)
        if end < first:
            return taken
        await _take_over(chain, client, rollup, start_block, first, end, undone)
        taken += end - first + 1


async def _take_over(
    chain: Chain, client: L1Client, rollup: bytes, start_block: int, first: int, end: int, undone: Undone
) -> None:
    found = await _posted(client, rollup, start_block, first, end)
    cursor, cursor_end = chain.head.cursor, found[end][0].header.inbox_cursor
    messages = await _listed(client, rollup, start_block, cursor, cursor_end)
    if len(messages) < cursor_end - cursor:
        raise Temporary(f"L1 does not show all inbox messages up to {cursor_end} yet")
    replayer = Replayer(chain, Listed(messages))
    for number in range(first, end + 1):
        parent = parent_header(chain, number)
        event, entry = found[number]
        if event.header.parent != header_hash(parent):
            raise Temporary(f"L1 reorganised while batch {number} was taken over")
        await _replay(chain, replayer, await fetch_batch(client, rollup, event, entry), undone)


async def _replay(chain: Chain, replayer: Replayer, batch: PostedBatch, undone: Undone) -> None:
    """Commit one batch's blocks. Raises Critical unless it is right, and its transactions are those undone."""
    number, before = batch.header.number, chain.head.number
    for outcome in replayer.replay(batch, parent_header(chain, number)):
        if outcome is None:
            await trio.lowlevel.checkpoint()
        elif isinstance(outcome, Dispute):
            raise Critical(f"batch {number} on L1 is wrong ({outcome.reason}), and came from this sequencer's account: "
                           "somebody else has its key; stop, and compare with a verifier")
    for block in range(before + 1, chain.head.number + 1):
        for stored in chain.transactions(block):
            index = stored.receipt.position - undone.first
            if 0 <= index < len(undone.transactions) and stored.data != undone.transactions[index]:
                raise Critical(f"batch {number} on L1 has another transaction at position {stored.receipt.position} "
                               "than was promised: this sequencer's key posts elsewhere, too; leave the seat")
    log.warning("batch_taken_over", batch=number, last_block=chain.head.number,
                position=position_after(chain, chain.head.number))


async def _posted(
    client: L1Client, rollup: bytes, start_block: int, first: int, end: int
) -> dict[int, tuple[BatchPosted, L1Log]]:
    """Events of the batches that stand: the last one of each number. Raises Temporary if one does not show yet."""
    numbers = [number.to_bytes(32, "big") for number in range(first, end + 1)]
    found: dict[int, tuple[BatchPosted, L1Log]] = {}
    for event, entry in await _events(client, rollup, start_block, "BatchPosted", numbers):
        assert isinstance(event, BatchPosted), "the filter asks for this event only"
        found[event.header.number] = event, entry
    if len(found) <= end - first:
        raise Temporary(f"L1 says that it has batch {end}, and does not show all events yet")
    return found


async def _listed(client: L1Client, rollup: bytes, start_block: int, first: int, end: int) -> dict[int, bytes]:
    """Messages [first, end) by number, as many as L1 has."""
    found: dict[int, bytes] = {}
    for at in range(first, end, NUMBERS_MAX):
        numbers = [number.to_bytes(32, "big") for number in range(at, min(end, at + NUMBERS_MAX))]
        for event, _entry in await _events(client, rollup, start_block, "MessageEnqueued", numbers):
            assert isinstance(event, MessageEnqueued), "the filter asks for this event only"
            found[event.number] = event.message
    return found


async def _events(
    client: L1Client, rollup: bytes, start_block: int, name: str, numbers: list[bytes]
) -> list[tuple[Any, L1Log]]:
    head = await client.head()
    logs = await client.logs(rollup, start_block, head.number, [bindings.topic(name), numbers])
    return [(bindings.decode_event(entry.topics, entry.data), entry) for entry in logs]
