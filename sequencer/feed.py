"""What the sequencer reads from L1: its heads, and the inbox, offered to the builder in order.

A message is read when L1 calls its block safe and ``confirmations`` blocks lie on top: the last block that is read is
min(latest - confirmations, safe). L1's safe head falls back only when a good part of its validators misbehave; until
then consumed messages stay. A message that was consumed and is no longer what L1 says makes every later outcome wrong:
that is a ``Reset``. Messages that were only offered are replaced silently. Reading resumes at the block that the last
message came from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from node.derive.chain import Chain
from node.derive.inbox import Inbox
from node.errors import Reset
from node.l1 import bindings
from node.l1.bindings import MessageEnqueued, decode_event
from node.l1.client import L1Client
from node.l1.heads import Heads, HeadTracker
from node.l1.types import CallReverted
from node.stf.commitments import ZERO32, inbox_hash
from sequencer.builder import Builder

log = structlog.get_logger("inbox_feed")

RANGE_MAX: Final = 2_000  # L1 blocks read in one round
MISSING_MAX: Final = 8  # L1 blocks that a reorganised transaction may take to be mined again
_FACT: Final = "sequencer/inbox"


class Feed:
    """One task calls ``poll``. ``builder`` gives the current builder."""

    def __init__(
        self, chain: Chain, client: L1Client, tracker: HeadTracker, rollup: bytes, builder: Callable[[], Builder], *,
        start_block: int, confirmations: int,
    ) -> None:
        self._chain = chain
        self._client = client
        self._tracker = tracker
        self._rollup = rollup
        self._builder = builder
        self._start_block = start_block
        self._confirmations = confirmations
        self.heads: Heads | None = None
        self.caught_up = False  # everything that is deep enough was read
        self._next = start_block  # L1 block to read next
        self._inbox = Inbox(chain, 0)
        self._missing_since = -1  # L1 block at which consumed messages were first not there
        self._recent: list[tuple[int, int]] = []  # (message, its L1 block), newest last

    async def start(self) -> None:
        """Resume where the last run stopped reading, if L1 still has that block."""
        fact = self._chain.fact(_FACT)
        if fact is None:
            return
        number, count, block_hash = int.from_bytes(fact[:8], "big"), int.from_bytes(fact[8:16], "big"), fact[16:]
        block = await self._client.block(number)
        if block is not None and block.hash == block_hash and number >= self._start_block:
            self._next, self._inbox = number + 1, Inbox(self._chain, count)

    async def poll(self) -> bool:
        """Look at L1 once; whether there was anything new. Raises Temporary, Reset or Critical."""
        heads = await self._tracker.poll()
        if heads is not None:
            self.heads = heads
            if heads.reorg is not None:
                self._rewind(heads.reorg.ancestor.number)
        if self.heads is None:
            return False
        tip = min(self.heads.latest.number - self._confirmations, self.heads.safe.number)
        last = min(tip, self._next + RANGE_MAX - 1)
        if last < self._next:
            self.caught_up = True
            return False
        block = await self._client.block(last)
        logs = await self._client.logs(self._rollup, self._next, last, [bindings.topic("MessageEnqueued")])
        for item in logs:
            event = decode_event(item.topics, item.data)
            assert isinstance(event, MessageEnqueued), "the filter asks for this event only"
            self._check_consumed(event)
            self._take(event)
            self._recent.append((event.number, item.block_number))
        del self._recent[:-10_000]
        await self._check_missing(last)
        self._next = last + 1
        if block is not None:
            numbers = last.to_bytes(8, "big") + self._inbox.count.to_bytes(8, "big")
            self._chain.put_fact(_FACT, numbers + block.hash)
        self._offer()
        self.caught_up = last == tip
        return True

    def _take(self, event: MessageEnqueued) -> None:
        """Append a message; one that an earlier run read may be read again, or be another one since."""
        if event.number < self._inbox.count:
            if self._inbox.message(event.number) == event.message:
                return
            self._inbox.truncate(event.number)
            self._builder().drop_messages(event.number)
        self._inbox.append(event.number, event.running_hash, event.message)

    def _rewind(self, ancestor: int) -> None:
        """L1 went back: what was read beyond the ancestor is read again."""
        if self._next <= ancestor + 1:
            return
        gone = [number for number, block in self._recent if block > ancestor]
        self._recent = [(number, block) for number, block in self._recent if block <= ancestor]
        if gone:
            self._inbox.truncate(gone[0])
            self._builder().drop_messages(gone[0])
        self._next = max(self._start_block, ancestor + 1)
        log.warning("inbox_rewound", ancestor=ancestor, messages=len(gone))

    def _check_consumed(self, event: MessageEnqueued) -> None:
        """Raise Reset if a consumed message is not what L1 says now."""
        builder = self._builder()
        if event.number < builder.cursor and builder.message(event.number) != event.message:
            raise Reset(f"inbox message {event.number}, which was consumed, is another one on L1 now")

    async def _check_missing(self, last: int) -> None:
        """Raise Reset if L1 has not listed a consumed message for MISSING_MAX blocks: it will not come back. One that a
        new branch has is only not safe there yet, and is what it was."""
        if self._inbox.count >= self._builder().cursor:
            self._missing_since = -1
        elif self._missing_since < 0:
            self._missing_since = last
        elif last - self._missing_since >= MISSING_MAX:
            if not await self._is_listed():
                raise Reset(f"inbox messages from {self._inbox.count} on were consumed and are gone from L1")
            self._missing_since = last

    async def _is_listed(self) -> bool:
        """Whether L1, up to its head, lists all consumed messages as they were consumed."""
        cursor = self._builder().cursor
        try:
            data = await self._client.call(self._rollup, bindings.encode_call("inbox_hash_at", cursor))
        except CallReverted:  # its inbox is shorter
            return False
        return bool(bindings.decode_result("inbox_hash_at", data) == self._hash_of_consumed(cursor))

    def _hash_of_consumed(self, cursor: int) -> bytes:
        """The running hash over the consumed messages: from the last header on, by the messages themselves."""
        record = self._chain.last_batch()
        while record is not None and (record.header is None or record.header.inbox_cursor > cursor):
            record = self._chain.batch(record.number - 1)
        first, running = 0, ZERO32
        if record is not None and record.header is not None:
            first, running = record.header.inbox_cursor, record.header.inbox_hash
        found = [self._builder().message(number) for number in range(first, cursor)]
        return inbox_hash([message or b"" for message in found], running)

    def _offer(self) -> None:
        builder = self._builder()
        for number in range(builder.next_message, self._inbox.count):
            message = self._inbox.message(number)
            assert message is not None, "the inbox holds its messages"
            builder.add_message(number, message)
