"""What a seller signs, and what it believes: a provider that lies about anything gets no signature, or no belief."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import trio
from eth_abi.abi import encode
from eth_hash.auto import keccak
from trio.testing import MockClock

from node.l1 import bindings, claims
from node.l1.claims import NOBODY, OFFER_SOLD, Market, Offer
from node.l1.client import L1Client
from node.l1.keys import LocalSigner
from node.l1.types import L1Block, L1Log
from node.rpc.methods.claims import QuoteInfo, SaleInfo, offer_info, offer_of
from node.sdk.client import Client, Network
from node.sdk.errors import ConnectionLost, NotFound, OperationRejected, RequestTimeout
from node.sdk.liquidity import BadQuote, ClaimSeller

ROLLUP, MARKET, BUYER, OTHER = (bytes([n]) * 20 for n in (1, 2, 3, 4))
HEADER = b"\x05" * 32
SELLER = LocalSigner(keccak(b"seller"))
AMOUNT, PRICE = 100_000_000, 99_800_000
NOW = 1_700_000_000
OFFER = Offer(SELLER.address, 7, SELLER.address, AMOUNT, PRICE, BUYER, 3, HEADER, NOW + 300)


@dataclass
class L1:
    """The seller's own L1: a Rollup with one claim and one batch, a market with its events. A second a block."""

    owner: bytes = SELLER.address
    sold: list[tuple[Offer, bytes]] = field(default_factory=list)
    number: int = 100

    async def chain_id(self) -> int:
        return 31_337

    async def head(self) -> L1Block:
        self.number += 1
        return L1Block(self.number, b"", b"", NOW + self.number - 101, 0)

    async def call(self, to: bytes, data: bytes) -> bytes:
        assert to == ROLLUP
        if data[:4] == bindings.selector("claim_market"):
            return MARKET.rjust(32, b"\0")
        if data[:4] == bindings.selector("claim_owner"):
            known = data[4:] == encode(["uint256", "address", "uint256"], [7, SELLER.address, AMOUNT])
            return (self.owner if known else OTHER).rjust(32, b"\0")
        assert data[:4] == bindings.selector("header_hash")
        return HEADER if data[4:] == (3).to_bytes(32, "big") else bytes(32)

    async def logs(self, address: bytes, first: int, last: int, topics: list[bytes]) -> list[L1Log]:
        assert address == MARKET and topics[0] == keccak(OFFER_SOLD.encode()) and first <= last
        found = []
        for offer, buyer in self.sold:
            if claims.digest(Market(MARKET, 31_337), offer) == topics[1]:
                data = encode(["uint256", "address", "uint256", "uint256"],
                              [offer.id, offer.recipient, offer.amount, offer.price])
                indexed = (topics[0], topics[1], offer.seller.rjust(32, b"\0"), buyer.rjust(32, b"\0"))
                found.append(L1Log(address, indexed, data, last, b"", b"\x09" * 32, 0, 0))
        return found


@dataclass
class Provider:
    """Answers with what it is told to; keeps what was signed for it. ``buys``: the purchase reaches L1."""

    l1: L1
    quotes: list[Any]
    answer: Any = None
    buys: bool = False
    rollup: bytes = ROLLUP
    taken: list[tuple[Offer, bytes]] = field(default_factory=list)

    @property
    def network(self) -> Network:
        return Network(1, self.rollup, b"", None)

    async def call(self, method: str, params: dict[str, Any], kind: Any) -> Any:
        if method == "al_quoteClaim":
            quote = self.quotes.pop(0) if len(self.quotes) > 1 else self.quotes[0]
            if isinstance(quote, Exception):
                raise quote
            return quote
        offer = offer_of(params["offer"])
        self.taken.append((offer, bytes.fromhex(params["signature"][2:])))
        if self.buys:
            self.l1.sold.append((offer, BUYER))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def quote(offer: Offer = OFFER, waits_for: str = "") -> QuoteInfo:
    return QuoteInfo(offer.amount, offer.price, offer.amount - offer.price, NOW + 600, waits_for, 31_337,
                     "0x" + OTHER.hex(), offer_info(offer))


def said(state: Any) -> SaleInfo:
    return SaleInfo("0x", state, "0x", "no money")


async def seller_of(provider: Provider) -> ClaimSeller:
    return await ClaimSeller.open(cast(Client, provider), cast(L1Client, provider.l1), ROLLUP, SELLER)


async def sell(provider: Provider, price_min: int = 99_000_000) -> Any:
    seller = await seller_of(provider)
    return await seller.sell(7, SELLER.address, AMOUNT, price_min=price_min, timeout_s=60)


async def test_the_offer_that_is_signed_is_ours_and_l1_says_that_it_was_paid(autojump_clock: MockClock) -> None:
    l1 = L1()
    provider = Provider(l1, [NotFound("not yet"), quote(waits_for="3 blocks"), quote()], said("bought"), buys=True)
    sold = await sell(provider)
    assert (sold.price, sold.buyer, sold.l1_tx) == (PRICE, BUYER, "0x" + "09" * 32)
    ((offer, signature),) = provider.taken
    assert offer == OFFER
    claims.check_signature(Market(MARKET, 31_337), offer, signature)  # our L1's market, whatever the quote said


@pytest.mark.parametrize(("lie", "complaint"), [
    ({"seller": OTHER}, "not the claim you sell"), ({"id": 8}, "not the claim you sell"),
    ({"recipient": OTHER}, "not the claim you sell"), ({"amount": AMOUNT + 1}, "not the claim you sell"),
    ({"price": 98_999_999}, "you want 99000000 or more"), ({"price": AMOUNT + 1}, "you want 99000000 or more"),
    ({"buyer": NOBODY}, "names no buyer"), ({"buyer": SELLER.address}, "names no buyer"),
    ({"deadline": NOW}, "must end within"), ({"deadline": NOW + 100_000}, "must end within"),
    ({"batch": 4}, "no such batch"), ({"header": bytes(32)}, "no such batch"),
])
async def test_a_quote_that_lies_is_not_signed(
    autojump_clock: MockClock, lie: dict[str, Any], complaint: str
) -> None:
    provider = Provider(L1(), [quote(replace(OFFER, **lie))], said("bought"))
    with pytest.raises(BadQuote, match=complaint):
        await sell(provider)
    assert provider.taken == []


async def test_a_claim_that_is_not_ours_any_more_is_not_sold(autojump_clock: MockClock) -> None:
    provider = Provider(L1(owner=OTHER), [quote()], said("bought"))
    with pytest.raises(BadQuote, match="does not own this claim"):
        await sell(provider)
    assert provider.taken == []


async def test_a_provider_of_another_rollup_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(BadQuote, match="serves rollup"):
        await seller_of(Provider(L1(), [quote()], rollup=OTHER))


async def test_a_provider_is_not_believed_when_it_says_that_it_bought(autojump_clock: MockClock) -> None:
    with pytest.raises(RequestTimeout, match="still yours"):
        await sell(Provider(L1(), [quote()], said("bought")))


async def test_a_refusal_is_passed_on_unless_l1_shows_the_money(autojump_clock: MockClock) -> None:
    refusals = (said("failed"), OperationRejected("no"))
    for answer in refusals:
        with pytest.raises(OperationRejected):
            await sell(Provider(L1(), [quote()], answer))
        assert (await sell(Provider(L1(), [quote()], answer, buys=True))).price == PRICE


async def test_a_lost_connection_is_no_refusal(autojump_clock: MockClock) -> None:
    """The offer may have arrived: until its deadline, only L1 knows."""
    assert (await sell(Provider(L1(), [quote()], ConnectionLost("gone"), buys=True))).price == PRICE
    with pytest.raises(RequestTimeout):
        await sell(Provider(L1(), [quote()], ConnectionLost("gone")))


async def test_a_provider_that_never_comes_to_buy_is_given_up(autojump_clock: MockClock) -> None:
    with trio.fail_after(120), pytest.raises(RequestTimeout, match="within 60 s: 3 blocks"):
        await sell(Provider(L1(), [quote(waits_for="3 blocks")]))
