"""Keeps L2's state small: tells L2, through L1's inbox, which withdrawals L1 has paid, so that it deletes their leaves.

Payments are read up to L1's finalized head, which no reorganisation takes back. A paid id *waits* until its leaf is
gone from the state, whoever's notice did it; when ``count`` ids wait, one L1 transaction names the oldest of them.

Invariants: ids wait in the order of their payments, and a notice deletes all of its ids at once, so after a restart the
same ids form the same notice, and its intent, named after them, is the same transaction. L1 takes each id once, so
even another operator's notice costs at most a refusal. What waits is on disk with the L1 block that is read next, and
bounded: no more is read while WAITING_MAX ids wait. Nothing here can stop the sequencer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from node.derive.chain import Chain
from node.errors import Temporary
from node.l1 import bindings
from node.l1.bindings import Withdrawn, decode_event
from node.l1.client import L1Client
from node.l1.heads import Heads
from node.l1.sender import Intent, SendAborted, TxReverted, TxSender
from node.l1.types import CallReverted
from node.stf.state import withdrawal_key

log = structlog.get_logger("pruning")

RANGE_MAX: Final = 2_000  # L1 blocks read in one round
WAITING_MAX: Final = 512  # looked up one by one in every round
BACKOFF_MAX_S: Final = 60.0
_FACT: Final = "sequencer/pruning"


class Pruner:
    """One task's ``run``. ``heads`` gives L1's heads as last seen; ``count`` ids make a notice, 1 to PAID_MAX."""

    def __init__(
        self, chain: Chain, client: L1Client, rollup: bytes, sender: TxSender, heads: Callable[[], Heads | None], *,
        start_block: int, count: int, poll_s: float,
    ) -> None:
        self._chain = chain
        self._client = client
        self._rollup = rollup
        self._sender = sender
        self._heads = heads
        self._count = count
        self._poll_s = poll_s
        self._next = start_block  # L1 block to read next
        self._attempt = 0  # notices that were mined in vain: the next one needs another name
        self._told: set[int] = set()  # ids in notices of this run that L1 has
        self.waiting: list[int] = []
        self._load()

    async def run(self) -> None:
        """Look for ever. What fails is tried again, later and later."""
        failures = 0
        while True:
            try:
                await self.step()
                failures = 0
            except Temporary as error:
                failures += 1
                log.warning("paid_notice_delayed", reason=str(error), failures=failures)
            await trio.sleep(min(self._poll_s * 2 ** min(failures, 8), BACKOFF_MAX_S))

    async def step(self) -> bool:
        """Read what is final, forget what is gone, tell what is due; whether a notice was sent. Raises Temporary."""
        heads = self._heads()
        if heads is None:
            return False
        await self._read(heads.finalized.number)
        self._drop_gone()
        due = [number for number in self.waiting if number not in self._told][: self._count]
        if len(due) < self._count:
            return False
        await self._tell(due)
        return True

    async def _read(self, final: int) -> None:
        """Payments in the next blocks that are final."""
        last = min(final, self._next + RANGE_MAX - 1)
        if last < self._next or len(self.waiting) >= WAITING_MAX:
            return
        logs = await self._client.logs(self._rollup, self._next, last, [bindings.topic("Withdrawn")])
        for item in logs:
            event = decode_event(item.topics, item.data)
            assert isinstance(event, Withdrawn), "the filter asks for this event only"
            self.waiting.append(event.id)
        self._next = last + 1
        self._save()

    def _drop_gone(self) -> None:
        """Ids whose leaves have left the state wait no longer."""
        left = [number for number in self.waiting if self._chain.store.get(withdrawal_key(number)) is not None]
        if len(left) != len(self.waiting):
            log.info("withdrawals_pruned", count=len(self.waiting) - len(left), waiting=len(left))
            self._told &= set(left)
            self.waiting = left
            self._save()

    async def _tell(self, ids: list[int]) -> None:
        """Send one notice. Raises Temporary when it cannot be sent now."""
        name = f"paid-{self._attempt}-{'-'.join(map(str, ids))}"
        try:
            receipt = await self._sender.send(Intent(name, self._rollup, bindings.encode_call("notify_paid", ids)))
        except CallReverted as error:
            raise Temporary(f"L1 would refuse to tell L2 of the withdrawals {ids}: {error.reason}") from error
        except (TxReverted, SendAborted) as error:
            self._attempt += 1
            self._save()
            raise Temporary(f"a notice was not taken: {error}") from error
        self._told.update(ids)
        log.info("paid_notice_sent", ids=ids, tx=receipt.tx_hash.hex(), gas=receipt.gas_used)

    def _load(self) -> None:
        fact = self._chain.fact(_FACT)
        if fact is None:
            return
        numbers = [int.from_bytes(fact[at : at + 8], "big") for at in range(0, len(fact), 8)]
        self._next, self._attempt, self.waiting = max(self._next, numbers[0]), numbers[1], numbers[2:]

    def _save(self) -> None:
        numbers = (self._next, self._attempt, *self.waiting)
        self._chain.put_fact(_FACT, b"".join(number.to_bytes(8, "big") for number in numbers))
