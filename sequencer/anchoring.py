"""Posting: keeps L1 at most so far behind, exactly once per batch, whatever restarts and reorganisations do.

A batch's record is durable before its transaction exists; the sender's journal makes the transaction unique; L1 refuses
a second one (number and parent are checked there). Every round first compares our batches with L1's head:

    L1 is behind us     its reorganisation took a posting away: the record goes back to "not on L1" and is posted again
    L1 is ahead of us   a posting of ours was mined while we did not look: adopt it from its event
    L1 has it anew      a reorganisation mined it again, at another time: as if it were lost, then adopted
    L1 has a former one a posting of ours from before a reset came after all, cut otherwise: ``Reset``, and take it over
    L1 has another one  somebody else posts, or fraud was proven: stop and say so

Back-pressure: ``closed`` refuses new orders while the oldest un-anchored block is older than the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import structlog
import trio

from node.config import BatcherConfig
from node.derive.chain import BatchRecord, Chain, SealedBlock, rebase
from node.errors import Critical, Reset, Temporary
from node.l1 import bindings
from node.l1.bindings import BatchPosted, PostBatch, decode_event, encode_post_batch
from node.l1.client import L1Client
from node.l1.sender import Intent, SendAborted, SendDisplaced, TxReverted, TxSender
from node.l1.types import CallReverted, L1Block, L1Log, L1Receipt
from node.metrics import Metrics
from node.rpc.errors import ErrorKind, RpcError, fail
from node.stf.commitments import BatchHeader, header_hash, unpack_position
from sequencer.again import position_after
from sequencer.batcher import intent_id, new_record, parent_header, plan_batch, post_arguments

log = structlog.get_logger("anchoring")

BACKOFF_MAX_S: Final = 30.0
SIZES_MAX: Final = 100_000
ADOPT_MAX: Final = 1_000  # batches adopted from L1 in one round


class Anchor:
    """One task's ``run``. ``now_ms`` is the wall clock; ``notify`` hears of sealed blocks."""

    def __init__(
        self, chain: Chain, client: L1Client, rollup: bytes, sender: TxSender, config: BatcherConfig, *,
        start_block: int, poll_s: float, unanchored_ms_max: int, now_ms: Callable[[], int],
        metrics: Metrics | None = None,
    ) -> None:
        self.before_post: Callable[[BatchRecord, PostBatch], Awaitable[None]] | None = None  # a devnet's villain
        self._chain = chain
        self._client = client
        self._rollup = rollup
        self._sender = sender
        self._config = config
        self._start_block = start_block
        self._poll_s = poll_s
        self._unanchored_ms_max = unanchored_ms_max
        self._now_ms = now_ms
        self._metrics = metrics
        self._oldest_ms = -1  # time of the oldest block that waits for L1, -1: none does
        self._sizes: deque[tuple[int, int]] = deque(maxlen=SIZES_MAX)  # bytes of blocks that wait, by number
        self.head: L1Block | None = None

    def notify(self, sealed: SealedBlock) -> None:
        """A block was sealed: from now on it waits for L1."""
        if self._oldest_ms < 0:
            self._oldest_ms = sealed.block.header.time
        self._sizes.append((sealed.block.header.number, sealed.block.size))

    def safe_block(self) -> int:
        """The last block that L1 has."""
        last = self._last_on_l1()
        return 0 if last is None else last.last_block

    def closed(self) -> RpcError | None:
        """Why no order is taken: the anchors lag too far behind."""
        waited = max(self._now_ms(), self._chain.head.time) - self._oldest_ms
        if self._oldest_ms < 0 or waited <= self._unanchored_ms_max:
            return None
        return fail(ErrorKind.AnchorLag, f"blocks wait for L1 since {waited} ms: orders open again once they are "
                    "anchored", waited_ms=waited)

    async def run(self) -> None:
        """Anchor for ever. Raises Critical when going on would do harm."""
        failures = 0
        while True:
            try:
                await self.step()
                failures = 0
            except Temporary as error:
                failures += 1
                log.warning("anchor_delayed", reason=str(error), failures=failures)
                await trio.sleep(min(self._poll_s * 2 ** min(failures, 8), BACKOFF_MAX_S))
            await trio.sleep(self._poll_s)

    async def step(self, *, flush: bool = False) -> bool:
        """Compare with L1, then post what is due (``flush``: all that may be); whether something was posted."""
        self.head = await self._client.head()
        await self.reconcile()
        posted = False
        while (record := self._next(flush)) is not None:
            await self._post(record)
            posted = True
        self.measure()
        return posted

    # --- posting ------------------------------------------------------------------------------------------------------

    def _next(self, flush: bool) -> BatchRecord | None:
        last = self._chain.last_batch()
        if last is not None and last.header is None:
            return self._chain.batch(self._last_number() + 1)
        assert self.head is not None, "step reads the head first"
        plan = plan_batch(
            self._chain, self._config, now_ms=self._now_ms(), l1_time_ms=self.head.timestamp * 1_000)
        if plan is None or not (plan.due or flush):
            return None
        record = new_record(self._chain, plan)
        self._chain.put_batch(record)
        return record

    async def _post(self, record: BatchRecord) -> None:
        """Get one batch onto L1. Raises Temporary to try again, Critical if L1 has something else."""
        parent = header_hash(parent_header(self._chain, record.number))
        if record.parent != parent:
            record = rebase(record, parent)
            self._chain.put_batch(record)
        batch = post_arguments(self._chain, record)
        if self.before_post is not None:
            await self.before_post(record, batch)
        intent = Intent(intent_id(record), self._rollup, encode_post_batch(batch))
        log.info("batch_sending", batch=record.number, first=record.first_block, last=record.last_block,
                 chunks=len(batch.chunks), bytes=sum(map(len, batch.chunks)))
        try:
            receipt = await self._send(intent, record.number)
        except CallReverted as error:
            raise await self._refused(record, error.reason) from error
        except TxReverted as error:
            self._chain.put_batch(rebase(record, parent))
            raise Temporary(f"batch {record.number} was mined and reverted ({error.reason}): posted anew") from error
        except SendAborted as error:
            self._chain.put_batch(rebase(record, parent))
            if isinstance(error, SendDisplaced):
                raise Temporary(f"batch {record.number} is posted anew: {error}") from error
            raise
        except Temporary:
            await self._retry_lost(record, parent)
            raise
        self._adopt(record, _posted_header(receipt), receipt.tx_hash, receipt.block_number, receipt.gas_used)

    async def _send(self, intent: Intent, number: int) -> L1Receipt:
        """Send, and stop waiting when L1 loses the batch before: nonces before this one may be free again then, and
        until that batch is posted anew, with the first of them, no node mines what comes later. Raises as ``send``."""
        failure: Critical | Temporary = Temporary(f"L1 lost the batch before batch {number} while that was sent")
        receipt: L1Receipt | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_lost, number - 1, nursery.cancel_scope)
            try:
                receipt = await self._sender.send(intent)
            except (Critical, Temporary) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if receipt is None:
            raise failure
        return receipt

    async def _until_lost(self, number: int, scope: trio.CancelScope) -> None:
        """Cancel when L1's head falls behind a batch; an L1 that does not answer is the sender's to complain about."""
        while True:
            await trio.sleep(self._poll_s)
            with suppress(Temporary):
                if await self._view("head_number") < number:
                    scope.cancel()

    async def _refused(self, record: BatchRecord, reason: str) -> Exception:
        """What a dry run that reverted means."""
        if reason.startswith("NOT_SEAT"):
            holder = await self._view("seat_holder")
            return Critical(f"the seat is held by 0x{holder.hex()}, not by 0x{self._sender.address.hex()}: take the "
                            "seat, or stop this sequencer; its un-anchored blocks cannot be posted")
        if reason.startswith("FORCED_OVERDUE"):
            self._extend(record)
        return Temporary(f"L1 would refuse batch {record.number}: {reason}")

    def _extend(self, record: BatchRecord) -> None:
        """Let later blocks join a batch that leaves old messages waiting: they have consumed them, or will."""
        assert self.head is not None, "step reads the head first"
        plan = plan_batch(
            self._chain, self._config, now_ms=self._now_ms(), l1_time_ms=self.head.timestamp * 1_000,
            first=record.first_block)
        if plan is not None and plan.last > record.last_block:
            self._chain.put_batch(replace(record, last_block=plan.last, attempt=record.attempt + 1))

    async def _retry_lost(self, record: BatchRecord, parent: bytes) -> None:
        """A posting that was confirmed once and is gone from L1: the next one needs a name of its own."""
        if not self._sender.known(intent_id(record)) or self._sender.in_flight:
            return
        if await self._view("head_number") == record.number - 1:
            self._chain.put_batch(rebase(record, parent))

    def _adopt(self, record: BatchRecord, header: BatchHeader, tx: bytes, block: int, gas: int) -> None:
        """Take over a header from L1. Raises Reset or Critical unless it is the header of exactly our batch."""
        expected = bindings.header_of(post_arguments(self._chain, record), header.posted_at, header.poster)
        if header != expected:
            raise self._other(header)
        self._chain.put_batch(replace(record, header=header, l1_tx=tx, l1_block=block, l1_gas=gas))
        if self._metrics is not None:
            self._metrics.batches_posted.inc()
        log.info("batch_posted", batch=record.number, last_block=record.last_block, tx=tx.hex(), gas=gas)

    def _other(self, header: BatchHeader) -> Exception:
        """What it means that L1 has another batch than ours under a number. Ours of before a reset has transactions
        that we hold, in other blocks perhaps; taking it over compares them byte by byte."""
        number = header.number
        if header.poster != self._sender.address:
            return Critical(f"L1 has batch {number} (0x{header_hash(header).hex()}) from 0x{header.poster.hex()}: "
                            "somebody else posts for this rollup; stop all but one, and derive anew")
        if unpack_position(header.globals[0]).tx_position > position_after(self._chain, self._chain.head.number):
            return Critical(f"L1 has batch {number} with transactions that this database does not have: restore it, or "
                            "derive anew first; is another sequencer running with this key?")
        return Reset(f"L1 has another batch {number} than this chain, posted by this sequencer before")

    # --- comparing ----------------------------------------------------------------------------------------------------

    async def reconcile(self) -> None:
        """Bring our records in line with L1's head. Raises Reset, or Critical if they cannot be."""
        number = await self._view("head_number")
        known = self._last_number()
        while known > 0 and (number < known or not await self._is_on_l1(known)):
            record = self._chain.batch(known)
            assert record is not None and record.header is not None, "on-L1 records have headers"
            await self._check_seat(known)
            log.warning("batch_lost", batch=known, l1_head=number)
            self._chain.put_batch(rebase(record, record.parent))
            known -= 1
        if number > known:
            await self._adopt_from_l1(known + 1, min(number, known + ADOPT_MAX))

    async def _check_seat(self, number: int) -> None:
        """A batch vanished: by a reorganisation if the seat is still ours, else it was proven wrong."""
        holder = await self._view("seat_holder")
        if holder != self._sender.address:
            raise Critical(f"batch {number} was dropped and the seat is not ours any more: fraud was proven against "
                           "it, or the seat was lost; do not go on, compare with a verifier")

    async def _adopt_from_l1(self, first: int, last: int) -> None:
        """Postings of ours that we did not see confirmed."""
        head = await self._client.head()  # L1 may have moved on since the step began
        logs = await self._client.logs(
            self._rollup, self._start_block, head.number,
            [bindings.topic("BatchPosted"), [number.to_bytes(32, "big") for number in range(first, last + 1)]])
        found = {event.header.number: (event.header, item) for event, item in map(_posted_event, logs)}
        for number in range(first, last + 1):
            if number not in found:
                raise Temporary(f"L1 says that it has batch {number}, and does not show its event yet")
            header, item = found[number]
            record = self._chain.batch(number)
            if record is None:
                raise self._other(header)
            if header.parent != record.parent:
                record = replace(record, parent=header.parent)
            self._adopt(record, header, item.tx_hash, item.block_number, 0)

    async def _is_on_l1(self, number: int) -> bool:
        record = self._chain.batch(number)
        assert record is not None and record.header is not None, "on-L1 records have headers"
        return bool(await self._view("header_hash", number) == header_hash(record.header))

    async def check_genesis(self) -> None:
        """Raise Critical unless the contract was deployed with this chain's genesis."""
        if await self._view("header_hash", 0) != header_hash(parent_header(self._chain, 1)):
            raise Critical(f"the Rollup at 0x{self._rollup.hex()} has another genesis: check l1.rollup, and that its "
                           "rules version is this node's")

    async def _view(self, name: str, *args: Any) -> Any:
        data = await self._client.call(self._rollup, bindings.encode_call(name, *args))
        return bindings.decode_result(name, data)

    def _last_on_l1(self) -> BatchRecord | None:
        record = self._chain.last_batch()
        while record is not None and record.header is None:
            record = self._chain.batch(record.number - 1)
        return record

    def _last_number(self) -> int:
        last = self._last_on_l1()
        return 0 if last is None else last.number

    def measure(self) -> None:
        """Look at what waits for L1."""
        first = self.safe_block() + 1
        oldest = self._chain.header(first)
        self._oldest_ms = -1 if oldest is None else oldest.time
        while self._sizes and self._sizes[0][0] < first:
            self._sizes.popleft()
        if self._metrics is None:
            return
        self._metrics.unanchored_seconds.set(0 if oldest is None else max(0, self._now_ms() - oldest.time) / 1_000)
        self._metrics.unanchored_bytes.set(sum(size for _, size in self._sizes))


def _posted_header(receipt: L1Receipt) -> BatchHeader:
    for item in receipt.logs:
        event = decode_event(item.topics, item.data)
        if isinstance(event, BatchPosted):
            return event.header
    raise Critical(f"L1 transaction 0x{receipt.tx_hash.hex()} posted no batch: check l1.rollup")


def _posted_event(item: L1Log) -> tuple[BatchPosted, L1Log]:
    event = decode_event(item.topics, item.data)
    assert isinstance(event, BatchPosted), "the filter asks for this event only"
    return event, item
