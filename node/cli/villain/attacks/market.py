"""The market for claims: offers used again, twice, too late, cancelled, forged, bent, or for a withdrawal that is none.

A claim of 5 USD costs 4 here, so a purchase is worth a dollar to its buyer, and who cheats whom shows at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from node.cli.villain.attacks.claims import Claim, final, withdrawn
from node.cli.villain.attacks.tokens import Trap, of_life, opened
from node.cli.villain.attacks.tokens import withdrawn as withdrawn_in
from node.cli.villain.catalogue import BOND, DEV, SCENE, TENTH, attack, dollars
from node.cli.villain.evmcode import Call, forward
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import Actor, call_data
from node.cli.villain.sandbox import FEE, LIE
from node.l1 import claims
from node.l1.claims import NOBODY, BadOffer, Market, Offer
from node.l1.keys import LocalSigner
from node.stf import state
from node.stf.commitments import header_hash
from node.stf.encoding import CURVE_ORDER
from sequencer.forgery import LOOT, STRANGER

PRICE: Final = 4 * USD
DOLLAR: Final = dollars(1)
MINUTES_S: Final = 600
GAS: Final = 500_000
TIP: Final = 9 * 10**9


@dataclass(frozen=True)
class Deal:
    """A claim for sale: the market, and what its seller offers."""

    field: Field
    market: Market
    offer: Offer
    seller: Actor
    claim: Claim

    def altered(self, **changed: Any) -> Deal:
        """The same with another offer."""
        return replace(self, offer=replace(self.offer, **changed))

    @property
    def signature(self) -> bytes:
        """The seller's."""
        return claims.sign(self.market, self.offer, self.seller.signer)

    @property
    def purchase(self) -> bytes:
        """Calldata."""
        return claims.encode_buy(self.offer, self.signature)

    async def buy(self, buyer: Actor) -> None:
        """Buy it, which must work."""
        await self.field.l1.must(buyer, self.market.address, self.purchase)

    async def refused(self, buyer: Actor, reason: str, *, data: bytes = b"", pay: bool = False) -> str:
        """Try to buy what must not be sold."""
        return await self.field.refused(buyer, data or self.purchase, reason, to=self.market.address, pay=pay)


async def offered(field: Field, claim: Claim, seller: Actor) -> Deal:
    """A claim for 4 USD, for anybody, for ten minutes."""
    now = (await field.l1.client.head()).timestamp
    offer = Offer(
        seller=seller.address, id=claim.number, recipient=claim.recipient, amount=claim.amount, price=PRICE,
        buyer=NOBODY, batch=claim.posted.number, header=header_hash(claim.posted.header), deadline=now + MINUTES_S)
    return Deal(field, Market(field.courts["ClaimMarket"], field.l1.chain_id), offer, seller, claim)


async def customer(field: Field, name: str) -> Actor:
    """Somebody with money for the market."""
    actor = await field.actor(name, usd=PRICE // USD)
    allow = call_data("approve(address,uint256)", field.courts["ClaimMarket"], 2**256 - 1)
    await field.l1.must(actor, field.token, allow, book=False)
    return actor


async def sale(field: Field) -> Deal:
    """Alice withdraws 5 USD, and offers the claim."""
    claim, _draft = await withdrawn(field, field.traders["alice"])
    return await offered(field, claim, field.traders["alice"].actor)


# --- offers used again ------------------------------------------------------------------------------------------------


@attack("market", "Use an offer again after the claim has come back to its seller.", needs={SCENE})
async def offer_replayed(field: Field) -> str:
    mallory = await customer(field, "mallory")
    deal = await sale(field)
    await deal.buy(mallory)
    back = replace(deal, seller=mallory).altered(seller=mallory.address)
    await customer(field, "alice")
    await back.buy(field.traders["alice"].actor)
    said = await deal.refused(mallory, "USED", pay=True)
    await back.refused(field.traders["alice"].actor, "USED")
    return said


@attack("market", "Sell one claim to two buyers by two offers, both bought in one L1 block.", needs={SCENE, DEV},
        loses={"alice": DOLLAR}, gains={"buyer": DOLLAR})
async def two_offers_of_a_claim(field: Field) -> str:
    buyer, second = await customer(field, "buyer"), await customer(field, "second buyer")
    deal = await sale(field)
    named = deal.altered(buyer=second.address)
    async with field.l1.held():
        first = await field.l1.publish(buyer, deal.market.address, deal.purchase, gas=GAS, tip=TIP)
        later = await field.l1.publish(second, deal.market.address, named.purchase, gas=GAS)
        await field.l1.mine()
    field.check((await field.l1.mined(first)).success, "the first purchase was to work")
    field.check(not (await field.l1.mined(later)).success, "a claim was sold twice")
    return await named.refused(second, "NOT_OWNER")


@attack("market", "Have a claim paid in the block in which it is bought, right before the purchase.",
        needs={SCENE, DEV}, time_s=lambda terms: terms.challenge_window_s)
async def claim_paid_before_its_purchase(field: Field) -> str:
    buyer = await customer(field, "buyer")
    alice = field.traders["alice"]
    claim, _draft = await withdrawn(field, alice)
    await final(field)
    deal = await offered(field, claim, alice.actor)
    pay = field.call("withdraw", *claim.arguments())
    async with field.l1.held():
        paid = await field.l1.publish(alice.actor, field.rollup, pay, gas=GAS, tip=TIP)
        bought = await field.l1.publish(buyer, deal.market.address, deal.purchase, gas=GAS)
        await field.l1.mine()
    field.check((await field.l1.mined(paid)).success, "the payment was to come first")
    field.check(not (await field.l1.mined(bought)).success, "a claim was sold that L1 had paid")
    return await deal.refused(buyer, "PAID")


@attack("market", "Buy by an offer that its seller has taken back, in the same block or later.", needs={SCENE, DEV})
async def offer_cancelled(field: Field) -> str:
    mallory = await customer(field, "mallory")
    deal = await sale(field)
    await field.refused(mallory, claims.encode_cancel(deal.offer), "SELLER", to=deal.market.address)
    async with field.l1.held():
        cancelled = await field.l1.publish(
            deal.seller, deal.market.address, claims.encode_cancel(deal.offer), gas=GAS, tip=TIP)
        bought = await field.l1.publish(mallory, deal.market.address, deal.purchase, gas=GAS)
        await field.l1.mine()
    field.check((await field.l1.mined(cancelled)).success, "the cancellation was to come first")
    field.check(not (await field.l1.mined(bought)).success, "a cancelled offer was bought")
    return await deal.refused(mallory, "USED")


# --- forged offers ----------------------------------------------------------------------------------------------------


@attack("market", "Buy by offers that the owner has not signed, or signed for another price, market, chain or buyer.",
        needs={SCENE})
async def forged_offers(field: Field) -> str:
    mallory, buyer = await customer(field, "mallory"), await customer(field, "buyer")
    deal = await sale(field)
    good = deal.signature
    foreign = replace(deal.market, l1_chain_id=field.l1.chain_id + 1), replace(deal.market, address=field.rollup)
    high = CURVE_ORDER - int.from_bytes(good[32:64], "big")
    signatures = [
        _signed(deal, mallory), *(claims.sign(market, deal.offer, deal.seller.signer) for market in foreign),
        good[:32] + high.to_bytes(32, "big") + bytes((55 - good[64],)), good[:64], bytes(65), good[:64] + b"\x00"]
    for signature in signatures:
        await deal.refused(mallory, "SIGNATURE", data=claims.encode_buy(deal.offer, signature))
    for changed in ({"price": 1}, {"id": deal.offer.id + 1}, {"deadline": deal.offer.deadline + 1},
                    {"amount": 2 * deal.offer.amount}, {"buyer": mallory.address}):
        data = claims.encode_buy(replace(deal.offer, **changed), good)
        await deal.refused(mallory, "SIGNATURE", data=data)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"buyer": buyer.address}, "BUYER"), ({"price": 0}, "PRICE"), ({"price": deal.offer.amount + 1}, "PRICE"),
        ({"deadline": deal.offer.deadline - 2 * MINUTES_S}, "DEADLINE"), ({"header": bytes(32)}, "HEADER"),
        ({"batch": deal.offer.batch + 1, "header": bytes(32)}, "HEADER"), ({"batch": deal.offer.batch - 1}, "HEADER")]
    for changed, reason in bad:
        await deal.altered(**changed).refused(mallory, reason)
    field.check(await owner(field, deal.offer) == deal.seller.address, "the claim has moved")
    return await deal.refused(mallory, "SIGNATURE", data=claims.encode_buy(deal.offer, signatures[0]), pay=True)


def _signed(deal: Deal, actor: Actor) -> bytes:
    """Another key's signature over the seller's offer."""
    signature = actor.signer.sign_hash(claims.digest(deal.market, deal.offer))
    return signature[:64] + bytes((27 + signature[64],))


async def owner(field: Field, offer: Offer) -> bytes:
    """Whom L1 would pay."""
    found: bytes = await field.ask("claim_owner", offer.id, offer.recipient, offer.amount)
    return found


@attack("market", "Sell claims that are somebody else's, by offers of one's own.", needs={SCENE})
async def claims_of_others_sold(field: Field) -> str:
    mallory, buyer = await customer(field, "mallory"), await customer(field, "buyer")
    deal = await sale(field)
    stolen = replace(deal, seller=mallory).altered(seller=mallory.address)
    await stolen.refused(buyer, "NOT_OWNER")
    await deal.refused(deal.seller, "BUYER")
    claim = (deal.offer.id, deal.offer.recipient, deal.offer.amount)
    await field.refused(mallory, field.call("move_claim", *claim, deal.seller.address, mallory.address),
                        "NOT_CLAIM_MARKET")
    try:
        claims.check_signature(deal.market, deal.offer, _signed(deal, mallory))
    except BadOffer as error:
        said = str(error)
    else:
        said = ""
    field.check(bool(said), "a buyer's software takes a stranger's signature")
    field.check(await owner(field, deal.offer) == deal.seller.address, "the claim has moved")
    return "who does not own it sells nothing"


# --- withdrawals that are none ----------------------------------------------------------------------------------------


@attack("market", "Post a withdrawal that nobody has paid for, and sell its claim before the batch falls.",
        needs={SCENE}, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1)
async def false_withdrawal_sold(field: Field) -> str:
    buyer = await field.actor("buyer")
    thief = Actor("thief", LocalSigner(STRANGER.secret))
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    draft.ok(draft.withdraw(field.traders["alice"], USD))
    wrong = await field.operator.corrupt("undebited-withdrawal", draft)
    posted = await field.operator.post(wrong, draft)
    number = (posted.header.globals[1] >> 128 & 2**64 - 1) - 1
    claim = Claim(number, thief.address, LOOT, draft.view, posted)
    deal = await offered(field, claim, thief)
    await field.operator.sync()
    seen = field.operator.chain.batch(posted.number)
    field.check(seen is None and field.operator.view.get(state.withdrawal_key(number)) is None,
                "a buyer that derives L1 finds the withdrawal in its own state")
    await field.fallen(posted)
    said = await deal.refused(buyer, "HEADER", pay=True)
    await field.take_seat("operator")
    again, _draft = await withdrawn(field, field.traders["bob"])
    field.check(again.posted.number == posted.number, "the batch's number was to be used again")
    await deal.refused(buyer, "HEADER")
    return said


@attack("market", "Have L1 forget a withdrawal's batch between the quote and the purchase.", needs={SCENE, DEV})
async def batch_reorganised_before_its_purchase(field: Field) -> str:
    buyer = await customer(field, "buyer")
    deal = await sale(field)
    depth, _none = await field.l1.take_back(deal.claim.posted.receipt)
    await deal.refused(buyer, "HEADER")
    claim, _draft = await withdrawn(field, field.traders["bob"])
    field.check(claim.number == deal.offer.id and claim.posted.number == deal.offer.batch,
                "the numbers of batch and withdrawal were to be used again")
    said = await deal.refused(buyer, "HEADER", pay=True)
    return f"{depth} blocks were taken back; {said}"


# --- hostile money ----------------------------------------------------------------------------------------------------


@attack("market", "Call back from the token in the middle of a purchase; pay by a token that lies or keeps a part.",
        time_s=of_life)
async def reentrant_purchase(field: Field) -> str:
    box, trader = await opened(field)
    first, second = await withdrawn_in(box, trader, [trader.actor.address] * 2)
    market = Market(box.market, field.l1.chain_id)
    deals = [replace(await offered(field, claim, trader.actor), market=market) for claim in (first, second)]
    for slot, value, reason in ((FEE, 10, "TOKEN_FEE"), (LIE, 1, "TRANSFER_FROM")):
        await box.set(slot, value)
        await field.refused(trader.actor, forward(box.market, deals[0].purchase), reason, to=box.proxy)
        await box.set(slot, 0)
    doors = {"the same purchase": Call(box.proxy, forward(box.market, deals[0].purchase)),
             "another purchase": Call(box.proxy, forward(box.market, deals[1].purchase))}
    trap = Trap(box, await box.hang(list(doors.values())), tuple(doors))
    before = await box.balance(box.proxy)
    await trap.spring(field, "a purchase", box.market, deals[0].purchase)
    field.check(before - await box.balance(box.proxy) == PRICE, "the price was not paid once")
    field.check(await box.ask("claim_owner", first.number, first.recipient, first.amount) == box.proxy,
                "the claim was paid for and is not the buyer's")
    await trap.prove(field)
    field.check(await box.balance(box.market) == 0, "the market holds tokens")
    return "the market is locked while it pays, and holds nothing"
