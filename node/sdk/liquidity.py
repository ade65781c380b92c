"""Selling a withdrawal's claim to a liquidity provider, and trusting it with nothing (imports web3).

    seller = await ClaimSeller.open(provider_rpc, l1, rollup, signer)
    sold = await seller.sell(withdrawal_id, recipient, amount, price_min=99_500_000)

A provider only names a price, its address and the batch. Everything that is signed is put together here: the market and
the chain id come from our own L1, the claim from the caller, the price is at least the caller's least one, the buyer is
named (so nobody else can use the offer), the deadline is near. And it is our own L1 that says when the money has come:
the market's event with our digest. What a provider can do at worst is nothing, until the deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import trio
from eth_abi.abi import decode
from eth_hash.auto import keccak

from node.l1 import bindings
from node.l1.claims import NOBODY, OFFER_SOLD, Market, Offer, digest, sign
from node.l1.client import L1Client
from node.l1.keys import Signer
from node.l1.types import L1Log
from node.rpc.fields import hex_of
from node.rpc.methods.claims import QuoteInfo, SaleInfo, offer_info, offer_of
from node.sdk.client import Client
from node.sdk.errors import (
    AnchorlineError,
    ExchangeError,
    NotFound,
    OperationFailed,
    OperationRejected,
    RequestTimeout,
)

DEADLINE_MAX_S: Final = 3_600  # until it passes, a signed offer is an option for the buyer: it must be near
POLL_S: Final = 0.25
REORG_BLOCKS: Final = 16  # the sale's event is looked for from a little before the offer


@dataclass(frozen=True, slots=True)
class Sold:
    """A claim that was sold: micro-USD, and the L1 transaction that paid. ``block`` of L1 holds it."""

    id: int
    amount: int
    price: int
    buyer: bytes
    l1_tx: str
    block: int


class BadQuote(ExchangeError):
    """The provider's quote is not one to sign; the message says in which point."""


class ClaimSeller:
    """One owner of claims, one provider. Make it with ``open``."""

    def __init__(self, provider: Client, l1: L1Client, rollup: bytes, market: Market, signer: Signer) -> None:
        self._provider = provider
        self._l1 = l1
        self._rollup = rollup
        self._market = market
        self._signer = signer

    @classmethod
    async def open(cls, provider: Client, l1: L1Client, rollup: bytes, signer: Signer) -> Self:
        """Ask our own L1 for the rollup's market. Raises BadQuote if the provider serves another rollup."""
        if provider.network.rollup != rollup:
            raise BadQuote(f"the provider serves rollup 0x{provider.network.rollup.hex()}, yours is 0x{rollup.hex()}")
        data = await l1.call(rollup, bindings.encode_call("claim_market"))
        market = Market(bindings.decode_result("claim_market", data), await l1.chain_id())
        return cls(provider, l1, rollup, market, signer)

    async def quote(self, number: int) -> QuoteInfo:
        """What the provider says, unchecked. Raises NotFound while it does not know the withdrawal's batch."""
        found: QuoteInfo = await self._provider.call("al_quoteClaim", {"id": number}, QuoteInfo)
        return found

    async def wait_quote(self, number: int, timeout_s: float = 600.0) -> QuoteInfo:
        """A quote that the provider would buy at now: its batch is on L1, deep enough. Raises RequestTimeout."""
        waits_for = "no answer yet"
        with trio.move_on_after(timeout_s):
            while True:
                try:
                    quote = await self.quote(number)
                    waits_for = quote.waits_for
                    if not waits_for:
                        return quote
                except (NotFound, OperationFailed) as error:
                    waits_for = str(error)
                await trio.sleep(POLL_S)
        raise RequestTimeout(f"the provider has not come to buy withdrawal {number} within {timeout_s} s: {waits_for}")

    async def sell(
        self, number: int, recipient: bytes, amount: int, *, price_min: int, timeout_s: float = 600.0,
        shown: Callable[[Offer], None] = lambda offer: None,
    ) -> Sold:
        """Sell the claim (number, recipient, amount) for ``price_min`` micro-USD or more, and wait for the money.

        ``shown`` sees the offer before it is signed.
        Raises BadQuote (nothing was signed), an AnchorlineError of the provider's (it does not buy), RequestTimeout.
        """
        quote = await self.wait_quote(number, timeout_s)
        offer = await self.check(quote, number, recipient, amount, price_min)
        first = max(0, (await self._l1.head()).number - REORG_BLOCKS)
        shown(offer)
        signature = sign(self._market, offer, self._signer)
        params = {"offer": offer_info(offer), "signature": hex_of(signature)}
        refused: AnchorlineError | None = None
        try:
            answer: SaleInfo = await self._provider.call("al_sellClaim", params, SaleInfo)
            if answer.state == "failed":
                refused = OperationRejected(f"the provider could not buy it: {answer.reason}")
        except OperationFailed:
            pass  # no answer is no refusal: it may have the offer, and L1 tells
        except AnchorlineError as error:
            refused = error
        return await self._wait_sold(offer, first, refused)

    async def check(self, quote: QuoteInfo, number: int, recipient: bytes, amount: int, price_min: int) -> Offer:
        """The offer to sign for a quote, put together from what we know ourselves. Raises BadQuote."""
        theirs = offer_of(quote.offer)
        now = (await self._l1.head()).timestamp
        offer = replace(theirs, seller=self._signer.address, id=number, recipient=recipient, amount=amount)
        if offer != theirs:
            raise BadQuote(f"the quote is for withdrawal {theirs.id} of {theirs.amount} micro-USD to "
                           f"0x{theirs.recipient.hex()}, owned by 0x{theirs.seller.hex()}: not the claim you sell, "
                           f"whose owner should be your key's 0x{self._signer.address.hex()}")
        if not price_min <= offer.price <= amount:
            raise BadQuote(f"the provider pays {offer.price} micro-USD for {amount}, you want {price_min} or more")
        if offer.buyer in (NOBODY, self._signer.address):
            raise BadQuote("the quote names no buyer: anybody could use the offer")
        if not now < offer.deadline <= now + DEADLINE_MAX_S:
            raise BadQuote(f"the offer would stand until {offer.deadline}, L1's time is {now}: it must end within "
                           f"{DEADLINE_MAX_S} s")
        if await self._view("claim_owner", number, recipient, amount) != self._signer.address:
            raise BadQuote(f"0x{self._signer.address.hex()} does not own this claim on L1")
        if await self._view("header_hash", offer.batch) != offer.header:
            raise BadQuote(f"L1 has no such batch {offer.batch}: the provider sees another chain")
        return offer

    # --- the money ----------------------------------------------------------------------------------------------------

    async def _wait_sold(self, offer: Offer, first: int, refused: AnchorlineError | None) -> Sold:
        """What L1 says about an offer. A refusal is believed once L1 has nothing either; else until the deadline."""
        while True:
            head = await self._l1.head()
            found = await self._sale(offer, first, head.number)
            if found is not None:
                return found
            if refused is not None:
                raise refused
            if head.timestamp > offer.deadline:
                raise RequestTimeout(
                    f"the provider has not bought withdrawal {offer.id} by the offer's deadline; the claim is still "
                    "yours: try another provider, or wait for the window")
            await trio.sleep(POLL_S)

    async def _sale(self, offer: Offer, first: int, last: int) -> Sold | None:
        topics = [keccak(OFFER_SOLD.encode()), digest(self._market, offer)]
        for entry in await self._l1.logs(self._market.address, first, last, topics):
            return _sold(offer, entry)
        return None

    async def _view(self, name: str, *args: Any) -> Any:
        return bindings.decode_result(name, await self._l1.call(self._rollup, bindings.encode_call(name, *args)))


def _sold(offer: Offer, entry: L1Log) -> Sold:
    _id, _recipient, _amount, price = decode(["uint256", "address", "uint256", "uint256"], entry.data)
    return Sold(offer.id, offer.amount, price, entry.topics[3][12:], hex_of(entry.tx_hash), entry.block_number)
