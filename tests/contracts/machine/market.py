"""Withdrawals sold before they are final, and the notices that let L2 forget the paid ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from node.l1 import claims
from node.l1.claims import NOBODY, Market, Offer
from node.l1.keys import LocalSigner
from node.stf.commitments import header_hash
from node.stf.params import PAID_MAX
from tests.contracts.machine.base import SILENT, Step, low, picks, whos
from tests.contracts.machine.chain import Claim
from tests.contracts.machine.ending import Ending
from tests.evm import Actor, Receipt

MARKET_LOCK = frozenset({"ClaimMarket"})
HOUR = 3_600
BENT = ("deadline", "named", "price", "nothing", "header", "future", "forged", "high s")


def raw(who: Any) -> bytes:
    return bytes.fromhex(low(who)[2:])


class Selling(Ending):
    @property
    def market(self) -> Market:
        return Market(raw(self.c.claim_market), self.evm.chain_id)

    def begin(self, guarded: bool) -> None:
        super().begin(guarded)
        self.offers: list[tuple[Offer, bytes, Actor]] = []
        self.dead: set[bytes] = set()  # digests that were bought or cancelled

    # ------------------------------------------------------------------------------------------------------------ sales

    def signed_offer(self, number: int, claim: Claim, seller: Actor, price: int, bent: str) -> tuple[Offer, bytes]:
        """What the owner of a claim signs, or what only looks like it."""
        offer = Offer(
            seller=raw(seller), id=claim.id, recipient=raw(claim.recipient), amount=claim.amount, price=price,
            buyer=NOBODY, batch=number, header=header_hash(self.c.headers[number]), deadline=self.now() + HOUR)
        changes: dict[str, dict[str, Any]] = {
            "deadline": {"deadline": self.now() - 1}, "named": {"buyer": raw(self.admin)},
            "price": {"price": claim.amount + 1}, "nothing": {"price": 0}, "header": {"header": bytes(32)},
            "future": {"batch": number + 10**6, "header": bytes(32)},
        }
        offer = replace(offer, **changes.get(bent, {}))
        signature = claims.sign(self.market, offer, LocalSigner(seller.key))
        if bent == "forged":
            other = LocalSigner(next(p for p in self.people if p is not seller).key)
            raw_signature = other.sign_hash(claims.digest(self.market, offer))
            signature = raw_signature[:64] + bytes((27 + raw_signature[64],))
        elif bent == "high s":
            signature = signature[:32] + b"\xff" + signature[33:]
        return offer, signature

    def a_sale(self, by: Any, offer: Offer, signature: bytes, signer: Actor) -> Step:
        """``buy``. ``signer`` made the signature, if it is whole."""
        claim = Claim(offer.id, "0x" + offer.recipient.hex(), offer.amount)
        name = claims.digest(self.market, offer)
        stands = offer.batch <= self.head_number and header_hash(self.c.headers[offer.batch]) == offer.header
        whole = signature[32] != 0xFF and raw(signer) == offer.seller
        ladder = (
            ("DEADLINE", self.now() <= offer.deadline), ("BUYER", offer.buyer in (NOBODY, raw(by))),
            ("BUYER", offer.seller != raw(by)), ("PRICE", 0 < offer.price <= offer.amount), ("HEADER", stands),
            ("PAID", offer.id not in self.paid), ("SIGNATURE", whole), ("USED", name not in self.dead),
            ("NOT_OWNER", raw(self.owner_of(claim)) == offer.seller),
        )
        reason = self.gets("0x" + offer.seller.hex(), next((word for word, holds in ladder if not holds), ""))

        def effect(_receipt: Receipt) -> None:
            self.dead.add(name)
            self.sold[claim.id, claim.recipient, claim.amount] = low(by)

        data = claims.encode_buy(offer, signature)
        return Step(self.c.claim_market, data, by, reason, effect, MARKET_LOCK, moves=True)

    @rule(who=whos, pick=picks, price=st.integers(1, 40), bent=st.sampled_from(("",) * 8 + BENT),
          later=st.integers(0, 3))
    def sell_claim(self, who: int, pick: int, price: int, bent: str, later: int) -> None:
        """Whoever owns a claim, of a batch that is right or not, sells it, or signs and waits (``later`` is 0)."""
        owned = [(number, claim, person) for number, claim in self.all_claims() if number for person in self.people
                 if low(person) == self.owner_of(claim)]
        if not owned:
            return
        number, claim, seller = owned[pick % len(owned)]
        buyer = self.people[who]
        offer, signature = self.signed_offer(number, claim, seller, min(price, claim.amount), bent)
        signer = next(p for p in self.people if p is not seller) if bent == "forged" else seller
        before = self.c.held(seller)
        if later and self.take(self.a_sale(buyer, offer, signature, signer)):
            assert self.c.held(seller) - before == offer.price
        self.offers.append((offer, signature, signer))
        del self.offers[:-8]

    @precondition(lambda self: self.offers)
    @rule(who=whos, pick=picks)
    def buy_again(self, who: int, pick: int) -> None:
        """An old offer, after whatever has happened since."""
        self.take(self.a_sale(self.people[who], *self.offers[pick % len(self.offers)]))

    @precondition(lambda self: self.offers)
    @rule(who=whos, pick=picks, willing=st.booleans(), fresh=st.booleans())
    def cancel_offer(self, who: int, pick: int, willing: bool, fresh: bool) -> None:
        offer, _, _ = self.offers[pick % len(self.offers)]
        offer = replace(offer, deadline=offer.deadline + self.salt + 1) if fresh else offer
        sellers = [p for p in self.people if raw(p) == offer.seller]
        by = sellers[0] if willing else self.people[who]
        name = claims.digest(self.market, offer)
        reason = "SELLER" if raw(by) != offer.seller else "USED" if name in self.dead else ""
        self.take(self.step(self.c.claim_market, "cancel", offer.as_tuple(), by=by, reason=reason,
                            effect=lambda _receipt: self.dead.add(name)))

    @rule(who=whos)
    def move_claim(self, who: int) -> None:
        """Only the market moves claims for others."""
        by = self.people[who]
        claim = next((claim for _, claim in self.all_claims()), Claim(1, low(self.people[1]), 5))
        self.take(self.step(
            self.rollup, "move_claim", claim.id, claim.recipient, claim.amount, self.owner_of(claim), by, by=by,
            reason="NOT_CLAIM_MARKET"))

    # ---------------------------------------------------------------------------------------------------------- notices

    def a_notice(self, by: Any, ids: list[int]) -> Step:
        """``notify_paid``: L2 is told of each paid withdrawal once, and of no other."""
        fresh = len(set(ids)) == len(ids) and set(ids) <= self.paid - self.told
        reason = SILENT if len(ids) > PAID_MAX else "FROZEN" if self.frozen_at else ""
        reason = reason or ("" if ids else "EMPTY") or ("" if fresh else "NOT_PAID")
        return self.step(self.rollup, "notify_paid", ids, by=by, reason=reason,
                         effect=lambda _receipt: self.told.update(ids))

    @rule(who=whos, ids=st.lists(st.integers(0, 12), max_size=9))
    def notify_paid(self, who: int, ids: list[int]) -> None:
        self.take(self.a_notice(self.people[who], ids))

    @precondition(lambda self: self.paid - self.told)
    @rule(who=whos, most=st.integers(1, PAID_MAX))
    def notify_all_paid(self, who: int, most: int) -> None:
        self.take(self.a_notice(self.people[who], sorted(self.paid - self.told)[:most]))
