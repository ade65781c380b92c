"""Strikes: on a devnet, an operator that posts a wrong batch before the honest one, is slashed for it, and comes back.

    honest batch due → its wrong twin is posted → a watchtower proves it → dropped, bond burned → seat taken anew
    → the honest batch is posted as if nothing had happened

The sequencer's own chain is honest throughout, so every promise holds. Each strike's outcome is one JSON line. Not for
any network that holds value: it costs a bond a strike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import trio

from node.derive.chain import BatchRecord, Chain
from node.errors import Critical
from node.l1 import bindings
from node.l1.bindings import MessageEnqueued, PostBatch, decode_event, encode_post_batch
from node.l1.client import L1Client
from node.l1.sender import Intent, TxSender
from node.l1.types import L1Log, L1Receipt
from sequencer.batcher import parent_header
from sequencer.villains import KINDS, Context, Unsuitable, corrupt

log = structlog.get_logger("villain")

WAIT_MAX_S: Final = 600.0
MESSAGES_MAX: Final = 2_000
NOBODY: Final = bytes(20)


class Strike(msgspec.Struct, frozen=True):
    """One villain's end. ``l1_transactions``: what the prover's account sent from the posting to the drop; ``gas`` and
    ``calldata_bytes`` are the proof's, ``seconds`` pass from the posting's confirmation to the drop."""

    kind: str
    batch: int
    posted_tx: str
    proof_tx: str
    l1_transactions: int
    gas: int
    calldata_bytes: int
    seconds: float


@dataclass(slots=True)
class Strikes:
    """The kinds that are still to come. ``before`` is awaited by whoever posts, just before an honest batch."""

    kinds: Sequence[str]
    chain: Chain
    client: L1Client
    rollup: bytes
    sender: TxSender
    start_block: int
    poll_s: float
    results: Path
    per_batch: int = 1

    def check(self) -> None:
        """Raise Critical for a kind that does not exist."""
        for kind in self.kinds:
            if kind not in KINDS:
                raise Critical(f"there is no villain {kind!r}; kinds: {', '.join(KINDS)}")

    def done(self) -> list[Strike]:
        """The strikes so far, those of earlier runs included."""
        if not self.results.exists():
            return []
        return [msgspec.json.decode(line, type=Strike) for line in self.results.read_bytes().splitlines()]

    async def before(self, record: BatchRecord, honest: PostBatch) -> None:
        """Strike with the next kinds that this batch gives an opportunity for. Raises Temporary, or Critical if nobody
        proves the fraud in time."""
        finished = {strike.kind for strike in self.done()}
        struck = 0
        for kind in self.kinds:
            if kind in finished:
                continue
            if struck == self.per_batch:
                return
            try:
                wrong = corrupt(kind, honest, await self._context(record, honest))
            except Unsuitable as error:
                log.info("villain_waits", villain=kind, batch=record.number, reason=str(error))
                continue
            await self._strike(kind, record, wrong)
            struck += 1

    # --- one strike ---------------------------------------------------------------------------------------------------

    async def _strike(self, kind: str, record: BatchRecord, wrong: PostBatch) -> None:
        name = f"villain-{kind}-{record.number}-{record.parent.hex()[:16]}"
        log.warning("villain_posting", villain=kind, batch=record.number)
        posted = await self.sender.send(Intent(name, self.rollup, encode_post_batch(wrong)))
        started = trio.current_time()
        drop = await self._await_drop(kind, record.number, posted)
        seconds = trio.current_time() - started
        await self._take_seat(name)
        strike = await self._describe(kind, record.number, posted, drop, seconds)
        with self.results.open("ab") as file:
            file.write(msgspec.json.encode(strike) + b"\n")
        log.warning("villain_fell", villain=kind, batch=record.number, gas=strike.gas, proof_tx=strike.proof_tx,
                    seconds=strike.seconds, l1_transactions=strike.l1_transactions)

    async def _await_drop(self, kind: str, number: int, posted: L1Receipt) -> L1Log:
        """The event that ends the batch. Raises Critical if none comes."""
        topics = [bindings.topic("BatchesDropped"), number.to_bytes(32, "big")]
        with trio.move_on_after(WAIT_MAX_S):
            while True:
                head = await self.client.head()
                found = await self.client.logs(self.rollup, posted.block_number, head.number, topics)
                later = [item for item in found if _order(item) > (posted.block_number, 0)]
                if later:
                    return later[0]
                await trio.sleep(self.poll_s)
        raise Critical(f"nobody proved villain {kind} wrong within {WAIT_MAX_S:.0f} s: is a watchtower running?")

    async def _take_seat(self, name: str) -> None:
        if await self._view("seat_holder") == self.sender.address:
            return
        params = await self._view("params")
        await self.sender.send(Intent(f"seat-{name}", self.rollup, bindings.encode_call("take_seat", int(params[1]))))

    async def _describe(self, kind: str, number: int, posted: L1Receipt, drop: L1Log, seconds: float) -> Strike:
        receipt = await self.client.receipt(drop.tx_hash)
        transaction = await self.client.transaction(drop.tx_hash)
        if receipt is None or transaction is None:
            raise Critical(f"L1 does not show the transaction that dropped batch {number}")
        sent = [await self.client.nonce(transaction.sender, block=block)
                for block in (posted.block_number, drop.block_number)]
        return Strike(
            kind, number, "0x" + posted.tx_hash.hex(), "0x" + drop.tx_hash.hex(), sent[1] - sent[0], receipt.gas_used,
            len(transaction.input), round(seconds, 3))

    # --- what an operator knows ---------------------------------------------------------------------------------------

    async def _context(self, record: BatchRecord, honest: PostBatch) -> Context:
        parent = parent_header(self.chain, record.number)
        head = await self.client.head()
        messages = await self._messages(parent.inbox_cursor, honest.inbox_cursor + 1, head.number)
        view = self.chain.store.at_block(record.first_block - 1)
        return Context(view, self.chain.domain, messages.get, head.timestamp * 1_000, parent)

    async def _messages(self, first: int, end: int, head: int) -> dict[int, bytes]:
        """Inbox messages by number, as many of [first, end) as L1 has."""
        if end - first > MESSAGES_MAX:
            raise Unsuitable(f"the batch consumes more than {MESSAGES_MAX} messages")
        numbers = [number.to_bytes(32, "big") for number in range(first, end)]
        logs = await self.client.logs(
            self.rollup, self.start_block, head, [bindings.topic("MessageEnqueued"), numbers])
        found: dict[int, bytes] = {}
        for item in logs:
            event = decode_event(item.topics, item.data)
            assert isinstance(event, MessageEnqueued), "the filter asks for this event only"
            found[event.number] = event.message
        return found

    async def _view(self, name: str, *args: Any) -> Any:
        data = await self.client.call(self.rollup, bindings.encode_call(name, *args))
        return bindings.decode_result(name, data)


def _order(item: L1Log) -> tuple[int, int]:
    return item.block_number, item.log_index
