"""What a liquidity provider and a seller of claims tell each other. Money is micro-USD, times are L1 seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from node.l1.claims import Offer
from node.rpc.fields import Address, Count, Hash32, bytes_of, hex_of


class OfferInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sale offer (node/l1/claims.py), as the seller signed it."""

    seller: Address
    id: Count
    recipient: Address
    amount: Count
    price: Count
    buyer: Address
    batch: Count
    header: Hash32
    deadline: Count


class QuoteInfo(msgspec.Struct):
    """What a provider pays for a claim now. ``waits_for`` is empty once it would buy; then ``offer`` is to sign."""

    amount: int
    price: int
    fee: int
    payable_at: int
    waits_for: str
    l1_chain_id: int
    market: str
    offer: OfferInfo


class SaleInfo(msgspec.Struct):
    """A purchase: sent to L1, done, or failed with a reason. ``digest`` names it."""

    digest: str
    state: Literal["sent", "bought", "failed"]
    l1_tx: str
    reason: str


def offer_info(offer: Offer) -> OfferInfo:
    """For JSON."""
    return OfferInfo(
        hex_of(offer.seller), offer.id, hex_of(offer.recipient), offer.amount, offer.price, hex_of(offer.buyer),
        offer.batch, hex_of(offer.header), offer.deadline)


def offer_of(info: OfferInfo) -> Offer:
    """The inverse of ``offer_info``."""
    return Offer(
        bytes_of(info.seller), info.id, bytes_of(info.recipient), info.amount, info.price, bytes_of(info.buyer),
        info.batch, bytes_of(info.header), info.deadline)
