"""Derivation: from L1's logs to blocks on disk, one pull at a time.

    L1 blocks at the configured depth → Rollup's events → inbox messages, batches, rollbacks → replay → roots compared

``step`` takes one bounded range of L1 blocks. Everything it concludes is durable with the checkpoint that ends the
range, so a restart, at any moment, goes on from the last checkpoint. A reorganisation goes back to the newest
checkpoint that L1 still has; a rollback on L1 (proven fraud) goes back to the batch that survived. While a batch is
disputed, it and what was built on it are held back: the state stays the last good one until L1 drops them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import rlp
import structlog
import trio

from node.derive.blocks import rlp_bytes, rlp_int, rlp_list
from node.derive.chain import Chain
from node.derive.inbox import Inbox
from node.derive.replay import Agreement, Dispute, PostedBatch, Replayer
from node.errors import Critical, Reset, Temporary
from node.l1 import bindings
from node.l1.bindings import BatchesDropped, BatchPosted, MessageEnqueued
from node.l1.client import L1Client
from node.l1.types import L1Block, L1Log
from node.stf import state
from node.stf.commitments import BatchHeader, decode_header, encode_header, genesis_header
from node.stf.engine import Engine
from node.stf.state import Globals

log = structlog.get_logger("derive")

CHECKPOINTS_MAX: Final = 1_024
RANGE_MAX: Final = 500  # L1 blocks in one step
SETTLED: Final = 16  # blocks under L1's head from which on events are asked for by range, above it block by block
_FACT: Final = "derive/checkpoints"
_GENESIS: Final = "derive/genesis"

OnDispute = Callable[[Dispute], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that was derived from L1 up to one of its blocks. One inside a dispute (not ``clean``) says where L1 was, but
    nobody goes back to it: derivation would go on behind the batch whose evidence it must meet again."""

    l1_number: int
    l1_hash: bytes
    l2_block: int
    batch: int
    messages: int
    clean: bool = True


@dataclass(slots=True)
class Progress:
    """What operators see. ``disputed``: the open dispute, if any; ``skipped``: later batches built on it."""

    l1_head: int = 0
    l1_derived: int = 0
    agreed: int = 0
    disagreed: int = 0
    roots: int = 0
    dropped: int = 0
    skipped: int = 0
    reorgs: int = 0
    disputed: Dispute | None = None


class Pipeline:
    """See the module. Owns the chain's writes; one task calls ``step``."""

    def __init__(
        self,
        chain: Chain,
        client: L1Client,
        rollup: bytes,
        *,
        start_block: int,
        confirmations: int,
        genesis: BatchHeader | None = None,
        on_dispute: OnDispute | None = None,
    ) -> None:
        self._chain = chain
        self._client = client
        self._rollup = rollup
        self._start = start_block
        self._confirmations = confirmations
        self._on_dispute = on_dispute
        self._genesis = genesis or self._stored_genesis() or genesis_header(*_genesis_state(chain))
        self._checkpoints = self._load()
        self._resets = 0  # in a row, without a step in between
        last = self._last()
        if chain.head.number > last.l2_block:
            chain.rollback(last.l2_block)
        chain.drop_batches(last.batch + 1)
        self.inbox = Inbox(chain, last.messages)
        self._replayer = Replayer(chain, self.inbox)
        roots = sum(record.header.chunk_count for record in chain.batches() if record.header is not None)
        self.progress = Progress(l1_derived=last.l1_number, agreed=last.batch, roots=roots)

    @property
    def engine(self) -> Engine:
        """The rules at the last agreed block, for reads."""
        return self._replayer.engine

    @property
    def messages(self) -> int:
        """Inbox messages seen at the configured depth."""
        return self.inbox.count

    def header(self, number: int) -> BatchHeader | None:
        """The header of an agreed batch (0: the genesis pseudo-batch)."""
        if number == 0:
            return self._genesis
        record = self._chain.batch(number)
        return None if record is None else record.header

    # --- one step -----------------------------------------------------------------------------------------------------

    async def step(self) -> bool:
        """Derive from the next range of L1 blocks; False when there is none yet. Raises Temporary: try again later."""
        await self._follow_reorg()
        head = await self._client.head("latest")
        self.progress.l1_head = head.number
        first = self._last().l1_number + 1
        last = min(head.number - self._confirmations, first + RANGE_MAX - 1)
        if last < first:
            return False
        if last > head.number - SETTLED > first:
            last = head.number - SETTLED
        end, logs = await (self._range(first, last) if last <= head.number - SETTLED else self._by_block(first, last))
        try:
            for entry in logs:
                await self._event(entry)
        except Temporary:
            self._go_back(self._checkpoints)  # the events before this one are not to be met twice
            raise
        except Reset as error:
            log.warning("derivation_reset", reason=str(error))
            self._go_back(self._safe_point())
            raise Temporary(str(error)) from error
        self._resets = 0
        clean = self.progress.disputed is None
        self._save(Checkpoint(last, end.hash, self._chain.head.number, self._batch_number(), self.inbox.count, clean))
        self.progress.l1_derived = last
        return True

    async def _range(self, first: int, last: int) -> tuple[L1Block, list[L1Log]]:
        """Blocks that are settled: their events in one question, and the last block."""
        end = await self._block(last)
        logs = await self._client.logs(self._rollup, first, last)
        if (await self._block(last)).hash != end.hash:
            raise Temporary("L1 reorganised while its events were read")
        return end, logs

    async def _by_block(self, first: int, last: int) -> tuple[L1Block, list[L1Log]]:
        """Blocks that may still change: the events of exactly these, each the child of the one before.

        Nodes behind one address may see different branches, or lag: asked by number, one could leave out a batch, and
        nobody would miss it.
        """
        checkpoint = self._last()
        before = checkpoint.l1_hash if checkpoint.l1_number >= self._start else None
        logs: list[L1Log] = []
        for number in range(first, last + 1):
            end = await self._block(number)
            if before is not None and end.parent_hash != before:
                raise Temporary(f"L1 block {number} does not continue the one before: L1 reorganises")
            logs += await self._client.block_logs(self._rollup, end.hash)
            before = end.hash
        return end, logs

    async def _block(self, number: int) -> L1Block:
        block = await self._client.block(number)
        if block is None:
            raise Temporary(f"L1 has no block {number} any more")
        return block

    def _batch_number(self) -> int:
        last = self._chain.last_batch()
        return 0 if last is None else last.number

    async def _event(self, entry: L1Log) -> None:
        event = bindings.decode_event(entry.topics, entry.data)
        if isinstance(event, MessageEnqueued):
            self.inbox.append(event.number, event.running_hash, event.message)
        elif isinstance(event, BatchPosted):
            await self._batch(event, entry)
        elif isinstance(event, BatchesDropped):
            self._dropped(event)

    # --- batches ------------------------------------------------------------------------------------------------------

    async def _batch(self, event: BatchPosted, entry: L1Log) -> None:
        number = event.header.number
        if self.progress.disputed is not None:
            self.progress.skipped += 1
            log.warning("batch_skipped", batch=number, because_of=self.progress.disputed.batch.header.number)
            return
        parent = self.header(number - 1)
        if parent is None or number != self._batch_number() + 1:
            raise Reset(f"L1 posted batch {number}, {self._batch_number() + 1} was due")
        batch = await fetch_batch(self._client, self._rollup, event, entry)
        for outcome in self._replayer.replay(batch, parent):
            if outcome is None:
                await trio.lowlevel.checkpoint()
            elif isinstance(outcome, Agreement):
                self._agreed(outcome)
            else:
                await self._disagreed(outcome)

    def _agreed(self, outcome: Agreement) -> None:
        self.progress.agreed = outcome.record.number
        self.progress.roots += outcome.roots
        log.info("batch_agreed", batch=outcome.record.number, last_block=outcome.record.last_block, roots=outcome.roots)

    async def _disagreed(self, dispute: Dispute) -> None:
        self.progress.disputed = dispute
        self.progress.disagreed += 1
        log.error(
            "batch_disputed", batch=dispute.batch.header.number, chunk=dispute.chunk, kind=dispute.kind.value,
            reason=dispute.reason, claimed="0x" + dispute.claimed.hex(), true="0x" + dispute.true.hex(),
        )
        if self._on_dispute is not None:
            await self._on_dispute(dispute)

    def _dropped(self, event: BatchesDropped) -> None:
        disputed = self.progress.disputed
        if disputed is not None and disputed.batch.header.number >= event.first:
            self.progress.disputed = None
        record = self._chain.batch(event.head)
        block = 0 if record is None else record.last_block
        self._chain.rollback(min(block, self._chain.head.number))
        self._chain.drop_batches(event.first)
        self._replayer.reset()
        self.progress.dropped += 1
        self.progress.agreed = min(self.progress.agreed, event.head)
        log.warning("batches_dropped", first=event.first, head=event.head, l2_block=block)

    # --- checkpoints and reorgs ---------------------------------------------------------------------------------------

    async def _follow_reorg(self) -> None:
        """Go back to the newest checkpoint that is still on L1's chain."""
        depth = 0
        for checkpoint in reversed(self._checkpoints):
            if checkpoint.l1_number < self._start:
                break
            block = await self._client.block(checkpoint.l1_number)
            if block is not None and block.hash == checkpoint.l1_hash:
                break
            depth += 1
        if depth == 0:
            return
        self._go_back(self._checkpoints[: len(self._checkpoints) - depth])
        self.progress.reorgs += 1
        log.warning("l1_reorg_followed", to_l1_block=self._last().l1_number, checkpoints=depth)
        self._write()

    def _safe_point(self) -> list[Checkpoint]:
        """The checkpoints to keep when L1 contradicts what was read before: the newest may be wrong itself, if nodes
        behind one address disagreed. So each time in a row one, two, four… more of them are given up."""
        self._resets += 1
        return self._checkpoints[: max(1, len(self._checkpoints) + 1 - 2 ** min(self._resets - 1, 10))]

    def _go_back(self, kept: list[Checkpoint]) -> None:
        """Restore the newest of these checkpoints that is in no dispute."""
        oldest = self._checkpoints[0].l1_number
        kept = list(kept)
        while kept and not kept[-1].clean:
            kept.pop()
        if not kept:
            raise Critical(f"L1 reorganised below block {oldest}, the oldest that is remembered: remove the datadir to "
                           "derive anew")
        self._checkpoints = kept
        self._restore(kept[-1])

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._chain.rollback(min(checkpoint.l2_block, self._chain.head.number))
        self._chain.drop_batches(checkpoint.batch + 1)
        self.inbox.truncate(checkpoint.messages)
        self._replayer.reset()
        disputed = self.progress.disputed
        if disputed is not None and disputed.batch.l1_block > checkpoint.l1_number:
            self.progress.disputed = None
        self.progress.l1_derived = checkpoint.l1_number
        self.progress.agreed = checkpoint.batch

    def _last(self) -> Checkpoint:
        return self._checkpoints[-1]

    def _save(self, checkpoint: Checkpoint) -> None:
        self._checkpoints.append(checkpoint)
        del self._checkpoints[: max(0, len(self._checkpoints) - CHECKPOINTS_MAX)]
        self._write()

    def _write(self) -> None:
        """Make checkpoints durable, but none past a disputed batch: a restart must meet its evidence again."""
        disputed = self.progress.disputed
        limit = self.progress.l1_head + 1 if disputed is None else disputed.batch.l1_block
        kept = [c for c in self._checkpoints if c.clean and self._start <= c.l1_number < limit]
        rows = [
            rlp_list((
                rlp_int(c.l1_number), rlp_bytes(c.l1_hash), rlp_int(c.l2_block), rlp_int(c.batch), rlp_int(c.messages)))
            for c in kept
        ]
        self._chain.put_fact(_GENESIS, encode_header(self._genesis))
        self._chain.put_fact(_FACT, rlp_list(rows), sync=True)

    def _load(self) -> list[Checkpoint]:
        data = self._chain.fact(_FACT)
        rows = [] if data is None else rlp.decode(data)
        found = [Checkpoint(self._start - 1, bytes(32), 0, 0, 0)] if len(rows) < CHECKPOINTS_MAX - 1 else []
        for number, block_hash, l2_block, batch, messages in rows:
            numbers = [int.from_bytes(field, "big") for field in (number, l2_block, batch, messages)]
            found.append(Checkpoint(numbers[0], block_hash, numbers[1], numbers[2], numbers[3]))
        return found

    def _stored_genesis(self) -> BatchHeader | None:
        data = self._chain.fact(_GENESIS)
        return None if data is None else decode_header(data)


async def fetch_batch(client: L1Client, rollup: bytes, event: BatchPosted, entry: L1Log) -> PostedBatch:
    """The batch that an event tells of, from its transaction's input. Raises Temporary while L1 does not show that one,
    Critical if its bytes are not those that the Rollup committed to."""
    transaction = await client.transaction(entry.tx_hash)
    if transaction is None:
        shown = f"transaction 0x{entry.tx_hash.hex()} that posted batch {event.header.number}"
        raise Temporary(f"L1 does not show {shown}")
    if transaction.to != rollup:
        raise Critical(f"batch {event.header.number} came through another contract: this Rollup is not ours")
    posted = bindings.decode_post_batch(transaction.input)
    header = bindings.header_of(posted, event.header.posted_at, event.header.poster)
    if header != event.header:
        raise Critical(f"batch {header.number}: the transaction's bytes are not those that L1 committed to")
    return PostedBatch(header, posted.chunks, posted.roots, entry.tx_hash, entry.block_number)


def _genesis_state(chain: Chain) -> tuple[bytes, list[int]]:
    header = chain.header(0)
    assert header is not None, "every chain has a genesis"
    return header.state_root, state.global_words(Globals())
