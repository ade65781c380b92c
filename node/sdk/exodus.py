"""Leaving a rollup that has ended: what its contracts allow an owner at this moment, from L1 and a derived chain alone.

Steps, each possible in its phase only (contracts/Exodus.vy): freeze, pay withdrawals and refund deposits, register,
claim. ``Leaver.go`` does all that can be done now for one owner, and is called again when the next phase begins; what
is done already is skipped, so it may be repeated at any time and by anybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
import trio

from node.derive.chain import Chain
from node.derive.exodus import accounts_of, registration
from node.derive.pipeline import Pipeline
from node.errors import Critical, Temporary
from node.l1 import bindings, courts
from node.l1.bindings import MessageEnqueued, decode_event
from node.l1.client import L1Client
from node.l1.courts import EXODUS
from node.l1.deployment import Deployment
from node.l1.sender import Intent, TxSender
from node.stf import state, witness
from node.stf.commitments import MESSAGE_DEPOSIT, BatchHeader, decode_message, header_hash
from node.stf.trie import TrieView

log = structlog.get_logger("exodus")

ACCOUNTS_MAX: Final = 256  # of one owner, in one go


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the exodus stands: L1 times in seconds, 0 while the rollup lives. ``due``: it can be frozen now."""

    now: int
    due: bool
    settles_at: int
    claims_at: int
    head: int

    @property
    def phase(self) -> str:
        """In a word."""
        if self.settles_at == 0:
            return "due" if self.due else "alive"
        if self.now < self.settles_at:
            return "disputes"
        return "registration" if self.now < self.claims_at else "claims"


@dataclass(frozen=True, slots=True)
class Done:
    """One transaction: what it did for whom, ``amount`` in micro-USD (0: none), and its hash."""

    what: str
    number: int
    amount: int
    l1_tx: str


class Leaver:
    """One owner's way out. ``chain`` must hold L1's head batch: derive it first."""

    def __init__(self, client: L1Client, sender: TxSender, deployment: Deployment, chain: Chain, owner: bytes) -> None:
        self._client = client
        self._sender = sender
        self._chain = chain
        self._owner = owner
        self._rollup = bytes.fromhex(deployment.rollup[2:])
        self._start_block = deployment.start_block
        self._exodus = b""

    async def situation(self) -> Situation:
        """Ask L1."""
        if not self._exodus:
            self._exodus = bytes(await self._view("exodus"))
        settles_at, claims_at = await self._ask("phases")
        head = await self._client.head()
        return Situation(head.timestamp, await self._ask("is_due"), settles_at, claims_at,
                         await self._view("head_number"))

    async def go(self) -> list[Done]:
        """Everything that can be done now. Raises Critical if the chain is not at L1's head batch."""
        situation = await self.situation()
        if situation.phase == "due":
            return [await self._send("freeze", 0, 0, self._exodus, courts.encode_call(EXODUS, "freeze"))]
        if situation.phase in ("alive", "disputes"):
            return []
        done = await self._refunds()
        if situation.head == 0:
            return done  # nothing was ever credited
        header, view = await self._last_state(situation.head)
        done += await self._withdrawals(header, view)
        for account in accounts_of(view, self._owner)[:ACCOUNTS_MAX]:
            done += await self._account(account, header, view, situation.phase)
        return done

    # --- parts --------------------------------------------------------------------------------------------------------

    async def _last_state(self, number: int) -> tuple[BatchHeader, TrieView]:
        record = self._chain.batch(number)
        stored = await self._view("header_hash", number)
        if record is None or record.header is None or header_hash(record.header) != stored:
            raise Critical(f"this disk does not hold batch {number}, L1's last one: derive it first")
        return record.header, self._chain.store.at_block(record.last_block)

    async def _account(self, account: int, header: BatchHeader, view: TrieView, phase: str) -> list[Done]:
        owner, equity, claimed = await self._ask("share_of", account)
        registered = int(owner, 16) != 0
        if phase == "registration" and not registered:
            shown = registration(view, account)
            if shown.equity <= 0:
                return []
            data = courts.encode_call(EXODUS, "register", header, account, shown.witness)
            return [await self._send("register", account, shown.equity, self._exodus, data)]
        if phase == "claims" and registered and not claimed:
            pool, total = await self._ask("pool"), await self._ask("registered")
            data = courts.encode_call(EXODUS, "claim", account)
            return [await self._send("claim", account, equity * min(pool, total) // total, self._exodus, data)]
        return []

    async def _withdrawals(self, header: BatchHeader, view: TrieView) -> list[Done]:
        """Withdrawals that L2 made for the owner and L1 has not paid: they come before everything."""
        done = []
        for number, amount in _withdrawals_of(view, self._owner):
            if await self._view("is_paid", number):
                continue
            path = witness.build_path(view, state.withdrawal_key(number))
            data = bindings.encode_call(
                "withdraw", header, number, self._owner, amount, path.bits, path.siblings)
            done.append(await self._send("withdraw", number, amount, self._rollup, data))
        return done

    async def _refunds(self) -> list[Done]:
        """Deposits of the owner that no batch has consumed."""
        cursor = int(await self._view("head_position")) & (2**64 - 1)
        head = await self._client.head()
        logs = await self._client.logs(
            self._rollup, self._start_block, head.number, [bindings.topic("MessageEnqueued")])
        done = []
        for log in logs:
            event = decode_event(log.topics, log.data)
            if not isinstance(event, MessageEnqueued) or event.number < cursor:
                continue
            message = decode_message(event.message)
            if message.kind != MESSAGE_DEPOSIT or message.sender != self._owner:
                continue
            if not await self._ask("is_refunded", event.number):
                amount = int.from_bytes(message.payload[24:32], "big")
                data = courts.encode_call(EXODUS, "refund", event.number, event.message)
                done.append(await self._send("refund", event.number, amount, self._exodus, data))
        return done

    async def _ask(self, name: str, *args: Any) -> Any:
        data = await self._client.call(self._exodus, courts.encode_call(EXODUS, name, *args))
        return courts.decode_result(EXODUS, name, data)

    async def _view(self, name: str, *args: Any) -> Any:
        data = await self._client.call(self._rollup, bindings.encode_call(name, *args))
        return bindings.decode_result(name, data)

    async def _send(self, what: str, number: int, amount: int, to: bytes, data: bytes) -> Done:
        receipt = await self._sender.send(Intent(f"{what} {number} {secrets.token_hex(8)}", to, data))
        return Done(what, number, amount, "0x" + receipt.tx_hash.hex())


async def derive(chain: Chain, client: L1Client, rollup: bytes, start_block: int, poll_s: float = 0.5) -> int:
    """Bring a chain, empty or not, to L1's head batch; returns its number. Waits while L1 cannot be read."""
    pipeline = Pipeline(chain, client, rollup, start_block=start_block, confirmations=0)
    while True:
        try:
            if await pipeline.step():
                continue
            data = await client.call(rollup, bindings.encode_call("head_number"))
            number = int(bindings.decode_result("head_number", data))
            last = chain.last_batch()
            if number == (0 if last is None else last.number):
                return number
        except Temporary as error:
            log.warning("derivation_delayed", reason=str(error))
        await trio.sleep(poll_s)


def _withdrawals_of(view: TrieView, owner: bytes) -> Iterator[tuple[int, int]]:
    """Id and amount of every withdrawal leaf that names the owner."""
    for key in view.keys(b"W"):
        value = view.get(key)
        assert value is not None, "the view lists what it has"
        word = int.from_bytes(value[:32], "big")
        if (word >> 64).to_bytes(20, "big") == owner:
            yield int.from_bytes(key[1:9], "big"), word & (2**64 - 1)
