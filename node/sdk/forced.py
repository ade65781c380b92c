"""Transactions past the operator: signed for the inbox, and followed on L1 until a batch consumes them.

Times inside a forced transaction count from zero (node/stf/encoding.py), so no clock of the operator's is needed: they
come from L1's, which L2 time is lifted to when the message is consumed. The nonce is the wall clock's, as that of any
other order of the same key, but never so far ahead of L1 that the rules would refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import trio

from node.l1.keys import Signer
from node.rpc.client import HttpClient
from node.stf import encoding
from node.stf.params import EXPIRY_AHEAD_MS, NONCE_AHEAD_MS
from node.stf.types import IOC, PLACE, Action

POLL_S: Final = 0.5
#: a signature lives as long as the rules let it: until then the operator must have consumed it
LIFE_MS: Final = EXPIRY_AHEAD_MS - 3_600_000


class ForcedSigner:
    """Builds forced transactions of one key slot. ``now_ms``: L1's latest time; ``clock_ms``: the wall clock's;
    ``domain``: the rollup's."""

    def __init__(self, signer: Signer, domain: bytes, account: int, slot: int, now_ms: int, clock_ms: int) -> None:
        self._signer = signer
        self._domain = domain
        self._account = account
        self._slot = slot
        self._now = now_ms
        self._nonce = min(max(now_ms, clock_ms), now_ms + NONCE_AHEAD_MS - 1)

    def withdraw(self, amount: int, recipient: bytes) -> bytes:
        """All of it or nothing, micro-USD to an L1 address."""
        to = int.from_bytes(recipient, "big")
        signature = self._sign(encoding.withdraw_digest, self._account, self._nonce, self._expiry, to, amount)
        return encoding.write_withdraw(self._account, self._nonce, self._expiry, to, amount, signature, 0)

    def actions(self, *listed: Action) -> bytes:
        """Orders and cancels."""
        signature = self._sign(
            encoding.actions_digest, self._account, self._slot, self._nonce, self._expiry, list(listed))
        return encoding.write_actions(
            self._account, self._slot, self._nonce, self._expiry, list(listed), signature, 0)

    def reduce(self, market: int, side: int, price: int, lots: int) -> bytes:
        """An order that can only make a position smaller, at once or not at all."""
        return self.actions(Action(PLACE, market, side, price, lots, IOC, reduce_only=1, client_id=self._nonce))

    def price(self, publisher: int, market: int, price: int) -> bytes:
        """A publisher's price of one market, as of now."""
        signature = self._sign(encoding.oracle_price_digest, publisher, self._now, [market], [price])
        return encoding.write_oracle_price(publisher, self._now, [market], [price], signature, 0)

    @property
    def _expiry(self) -> int:
        return self._now + LIFE_MS

    def _sign(self, digest: Callable[..., bytes], *args: Any) -> bytes:
        encoding.set_domain(self._domain)
        signature = self._signer.sign_hash(digest(*args))
        vs = int.from_bytes(signature[32:64], "big") | signature[64] << 255
        return signature[:32] + vs.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules made of a message: its L2 position, the statuses of the transaction and of its actions."""

    position: int
    statuses: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether nothing of it was refused."""
        return set(self.statuses) <= {"OK", "PENDING"}


async def find_outcome(rpc: HttpClient, number: int) -> Outcome:
    """Ask a node what became of inbox message ``number`` as soon as it has the block that consumed it; the caller sets
    a deadline. Raises what ``HttpClient.call`` raises."""
    while (head := await rpc.call("al_block", ["unsafe"]))["cursor"] <= number:
        await trio.sleep(POLL_S)
    low, high = 1, head["number"]  # cursors never fall: the first block whose cursor is beyond the message has it
    while low < high:
        middle = (low + high) // 2
        if (await rpc.call("al_block", [middle]))["cursor"] > number:
            high = middle
        else:
            low = middle + 1
    block = await rpc.call("al_block", [high])
    before = (await rpc.call("al_block", [high - 1]))["cursor"] if high > 1 else 0
    return await _consumed(rpc, block["first_position"], block["transactions"], number - before)


async def _consumed(rpc: HttpClient, first: int, count: int, skip: int) -> Outcome:
    """The outcome of the message after ``skip`` others in a block."""
    for position in range(first, first + count):
        receipt = await rpc.call("al_receipt", [position])
        if receipt["kind"] != "Inbox" or receipt["status"] == "NO_MESSAGE":
            continue
        if skip == 0:
            return Outcome(position, (receipt["status"], *receipt["statuses"]))
        skip -= 1
    raise LookupError("the node's block does not hold the message that its header says it consumed")
