"""The desk's judgement: which claim is bought, and for how much. It believes its own chain and L1, and nobody else.

A claim is bought when, all at the same time,
- this verifier has executed everything that L1 has, agrees with every root, and no batch is disputed;
- the withdrawal's leaf is in that state, with this recipient and amount, since a batch that still stands on L1 and lies
  deep enough there (``min_depth`` blocks, or L1's own safe head);
- L1 has neither paid it nor frozen the rollup, and the seller is who Rollup says owns it;
- amount and total of what is held stay under the caps.

What is left to L1 itself, in the purchase's own transaction: that the batch stands, that it is unpaid, and the owner.
Whatever happens between this judgement and the block, the price is paid for the claim that was checked, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from node.config import LiquidityConfig
from node.derive.records import BatchRecord
from node.errors import Temporary
from node.l1 import bindings
from node.l1.claims import BadOffer, Market, Offer, check_signature
from node.l1.types import L1Block, TagNotOffered
from node.liquidity.pricing import CENT, Terms
from node.rpc.errors import ErrorKind, RpcError, fail
from node.rpc.fields import hex_of
from node.rpc.methods.claims import QuoteInfo, offer_info
from node.service import Verifier
from node.stf import state
from node.stf.commitments import BatchHeader, header_hash

USD: Final = 1_000_000
DEADLINE_LEFT_S: Final = 30  # a purchase needs some time to be mined
BEHIND_MAX: Final = 2  # L1 blocks that may have come since the last poll
_M64: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A withdrawal that is there: its leaf, the batch that made it, who owns it on L1. ``payable_at``: L1 seconds."""

    id: int
    recipient: bytes
    amount: int
    header: BatchHeader
    l1_block: int
    owner: bytes
    payable_at: int


class Desk:
    """One verifier's judgement for one buyer in one market. Every method only reads."""

    def __init__(self, verifier: Verifier, market: Market, buyer: bytes, config: LiquidityConfig) -> None:
        self._verifier = verifier
        self._market = market
        self._buyer = buyer
        self._config = config
        self._terms = Terms(config.fee_ppm, config.rate_ppm, config.risk_ppm, config.fee_min_cents * CENT)

    async def quote(self, number: int, total: int) -> QuoteInfo:
        """What a claim would bring now; ``total``: micro-USD held or being bought. Raises RpcError, Temporary."""
        now = await self._head()
        claim = await self.find(number, now)
        if claim.owner == self._buyer:
            raise refuse("OWNED", f"we own the claim of withdrawal {number} already")
        self._check_caps(claim.amount, total)
        fee = self._terms.fee(claim.amount, claim.payable_at - now.timestamp)
        offer = Offer(
            claim.owner, claim.id, claim.recipient, claim.amount, claim.amount - fee, self._buyer, claim.header.number,
            header_hash(claim.header), now.timestamp + self._config.quote_s)
        return QuoteInfo(
            claim.amount, offer.price, fee, claim.payable_at, await self.waits_for(claim, now),
            self._market.l1_chain_id, hex_of(self._market.address), offer_info(offer))

    async def check(self, offer: Offer, signature: bytes, total: int) -> None:
        """Raise RpcError unless this offer is worth its price now; Temporary when L1 cannot be asked."""
        try:
            check_signature(self._market, offer, signature)
        except BadOffer as error:
            raise fail(ErrorKind.BadSignature, str(error), param="signature") from None
        if offer.buyer != self._buyer:
            raise refuse("BUYER", f"the offer is for 0x{offer.buyer.hex()}, we are 0x{self._buyer.hex()}")
        now = await self._head()
        if offer.deadline < now.timestamp + DEADLINE_LEFT_S:
            raise refuse("DEADLINE", "too little is left until the deadline for L1 to take it: get a new quote")
        claim = await self.find(offer.id, now)
        if (offer.recipient, offer.amount) != (claim.recipient, claim.amount):
            raise refuse("WITHDRAWAL", f"withdrawal {offer.id} is of {claim.amount} micro-USD to "
                         f"0x{claim.recipient.hex()}, not what was offered")
        if offer.seller != claim.owner:
            raise refuse("NOT_OWNER", f"0x{claim.owner.hex()} owns the claim, not the seller")
        if (offer.batch, offer.header) != (claim.header.number, header_hash(claim.header)):
            raise refuse("HEADER", f"the withdrawal is in another batch now, {claim.header.number}: get a new quote")
        waits_for = await self.waits_for(claim, now)
        if waits_for:
            raise fail(ErrorKind.Syncing, waits_for, reason="DEPTH")
        if offer.price > claim.amount - self._terms.fee(claim.amount, claim.payable_at - now.timestamp):
            raise refuse("PRICE", "we pay less than the offer asks: get a new quote")
        self._check_caps(claim.amount, total)

    # --- the claim ----------------------------------------------------------------------------------------------------

    async def find(self, number: int, now: L1Block) -> Claim:
        """The claim of a withdrawal that our own state has. Raises RpcError saying why there is none to buy."""
        self._check_agreement(now)
        chain = self._verifier.chain
        value = chain.store.get(state.withdrawal_key(number))
        record = None if value is None else self._created(number)
        if value is None or record is None or record.header is None:
            if await self._view("is_paid", number):
                raise refuse("PAID", f"withdrawal {number} was paid")
            raise fail(ErrorKind.NotFound, f"there is no withdrawal {number} in a batch that we have executed",
                       param="id")
        word = int.from_bytes(value, "big")
        recipient, amount = (word >> 64).to_bytes(20, "big"), word & _M64
        payable_at = record.header.posted_at + self._verifier.contract.challenge_window_s
        if await self._view("header_hash", record.number) != header_hash(record.header):
            raise fail(ErrorKind.Syncing, f"L1 has another batch {record.number} by now, or none", reason="HEADER")
        if await self._view("is_paid", number):
            raise refuse("PAID", f"withdrawal {number} was paid")
        if await self._view("frozen_at"):
            raise refuse("FROZEN", "the rollup has ended: L1 pays withdrawals, see `anchorline exodus`")
        if now.timestamp >= payable_at:
            raise refuse("FINAL", f"withdrawal {number} needs nobody to pay it early: L1 pays it now, without a fee")
        owner = await self._view("claim_owner", number, recipient, amount)
        return Claim(number, recipient, amount, record.header, record.l1_block, owner, payable_at)

    async def waits_for(self, claim: Claim, now: L1Block) -> str:
        """Why its batch does not lie deep enough on L1 yet; empty if it does."""
        if self._config.min_depth:
            depth = now.number - claim.l1_block
            left = self._config.min_depth - depth
            return f"its batch is {depth} L1 blocks deep, {left} more are needed" if left > 0 else ""
        try:
            safe = (await self._verifier.client.head("safe")).number
        except TagNotOffered:
            raise Temporary("L1 has no safe head: set liquidity.min_depth to a number of blocks") from None
        return f"its batch is in L1 block {claim.l1_block}, L1's safe head is {safe}" if safe < claim.l1_block else ""

    def _check_agreement(self, now: L1Block) -> None:
        """Raise RpcError unless our state is all that L1 has, and agrees with it."""
        progress, config = self._verifier.pipeline.progress, self._verifier.config.l1
        if progress.disputed is not None:
            number = progress.disputed.batch.header.number
            raise fail(ErrorKind.ExchangeNotAvailable, f"batch {number} is wrong: nothing is bought until L1 has "
                       "dropped it", reason="DISPUTED")
        behind = now.number - config.confirmations - progress.l1_derived
        if self._verifier.failures or behind > BEHIND_MAX:
            raise fail(ErrorKind.Syncing, f"we are {behind} L1 blocks behind: try again in a moment", reason="SYNCING")

    def _created(self, number: int) -> BatchRecord | None:
        """The batch whose state has a withdrawal first. Ids rise with batches, so bisection finds it."""
        chain = self._verifier.chain
        last = chain.last_batch()
        low, high = 1, 0 if last is None else last.number
        while low < high:
            middle = (low + high) // 2
            record = chain.batch(middle)
            assert record is not None, "batches have no gaps"
            low, high = (low, middle) if _next_withdrawal(record) > number else (middle + 1, high)
        return chain.batch(low)

    def _check_caps(self, amount: int, total: int) -> None:
        if amount > self._config.max_claim_usd * USD:
            raise refuse("MAX_CLAIM", f"we buy claims of up to {self._config.max_claim_usd:,} USD")
        if total + amount > self._config.max_total_usd * USD:
            raise fail(ErrorKind.RateLimitExceeded, "we hold as much in claims as we want to: try again when some are "
                       "paid", reason="MAX_TOTAL")

    # --- L1 -----------------------------------------------------------------------------------------------------------

    async def _head(self) -> L1Block:
        return await self._verifier.client.head()

    async def _view(self, name: str, *args: Any) -> Any:
        data = await self._verifier.client.call(self._verifier.contract.address, bindings.encode_call(name, *args))
        return bindings.decode_result(name, data)


def refuse(reason: str, text: str) -> RpcError:
    """The error for a claim that is not bought; ``reason`` is the contract's word where it has one."""
    return fail(ErrorKind.OperationRejected, text, reason=reason)


def _next_withdrawal(record: BatchRecord) -> int:
    assert record.header is not None, "a verifier's batches are posted ones"
    return record.header.globals[1] >> 128 & _M64
