"""ClaimMarket: a claim and its price change hands together, or not at all. Each way to cheat either side is a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.l1 import claims
from node.l1.claims import NOBODY, BadOffer, Market, Offer
from node.l1.keys import LocalSigner
from node.stf.commitments import BatchHeader, header_hash
from node.stf.encoding import CURVE_ORDER
from tests.contracts.tiny_trie import proof_of, root_of, withdrawal_key, withdrawal_value
from tests.contracts.world import BOND, USD, World
from tests.evm import Actor, Receipt, reverts

AMOUNT, PRICE = 60 * USD, 59 * USD
FEE, LYING, REENTER = 1, 2, 3
BUYER_FUNDS = 1_000 * USD


def raw(actor: Actor) -> bytes:
    return bytes.fromhex(actor.address[2:])


class Sales(World):
    """A world whose trader has one withdrawal, in a posted batch whose window runs."""

    def __init__(self, token: str = "TestUSD", ids: tuple[int, ...] = (0,)) -> None:
        super().__init__(token=token)
        self.buyer, self.other = self.evm.actor("buyer"), self.evm.actor("other buyer")
        for actor in (self.buyer, self.other, self.trader):
            self.token.transact("mint", actor, BUYER_FUNDS)
            self.token.transact("approve", self.claim_market, 2**255, sender=actor)
        self.deposit(10_000 * USD)
        self.leaves = {withdrawal_key(i): withdrawal_value(self.trader.address, AMOUNT) for i in ids}
        self.leaves |= {(b"A" + i.to_bytes(4, "big")).ljust(32, b"\0"): bytes([i]) * 32 for i in range(1, 9)}
        self.batch_header: BatchHeader = self.post(roots=(root_of(self.leaves),))

    @property
    def market(self) -> Market:
        return Market(bytes.fromhex(self.claim_market.address[2:]), self.evm.chain_id)

    def offer(self, **changes: Any) -> Offer:
        """An honest one: the trader sells withdrawal 0 to anybody within ten minutes."""
        return replace(Offer(
            seller=raw(self.trader), id=0, recipient=raw(self.trader), amount=AMOUNT, price=PRICE, buyer=NOBODY,
            batch=self.batch_header.number, header=header_hash(self.batch_header),
            deadline=self.evm.timestamp + 600), **changes)

    def sign(self, offer: Offer, actor: Actor | None = None) -> bytes:
        return claims.sign(self.market, offer, LocalSigner((actor or self.trader).key))

    def forged(self, offer: Offer, actor: Actor) -> bytes:
        """Somebody else's signature over an offer that names another seller."""
        signature = LocalSigner(actor.key).sign_hash(claims.digest(self.market, offer))
        return signature[:64] + bytes((27 + signature[64],))

    def buy(self, offer: Offer, signature: bytes | None = None, by: Actor | None = None) -> Receipt:
        data = claims.encode_buy(offer, self.sign(offer) if signature is None else signature)
        return self.evm.message(self.claim_market, data, sender=by or self.buyer)

    def rebuild(self) -> None:
        """A proven fraud drops the batch; the operator comes back with a new bond."""
        self.drop(1)
        self.do(self.operator, "take_seat", BOND)

    def owner(self) -> str:
        return str(self.rollup.call("claim_owner", 0, self.trader, AMOUNT))

    def collect(self) -> Receipt:
        """Let the window pass; L1 pays withdrawal 0."""
        self.evm.warp(self.params.challenge_window_s)
        return self.pay()

    def pay(self, header: BatchHeader | None = None) -> Receipt:
        proof = proof_of(self.leaves, withdrawal_key(0))
        return self.do(self.stranger, "withdraw", header or self.batch_header, 0, self.trader, AMOUNT, *proof)

    def money(self) -> tuple[int, int, int]:
        return self.held(self.trader), self.held(self.buyer), self.held(self.other)


@pytest.fixture
def world() -> Sales:
    return Sales()


# ------------------------------------------------------------------------------------------------------------- honest


def test_claim_and_price_change_hands_together(world: Sales) -> None:
    seller, buyer, _ = world.money()
    offer = world.offer()
    receipt = world.buy(offer)
    assert world.money()[:2] == (seller + PRICE, buyer - PRICE)
    assert world.owner() == world.buyer.address.lower()
    assert receipt.events("ClaimSold") == [{
        "digest": claims.digest(world.market, offer), "seller": world.trader.address.lower(),
        "buyer": world.buyer.address.lower(), "id": 0, "recipient": world.trader.address.lower(), "amount": AMOUNT,
        "price": PRICE}]
    assert len(receipt.events("ClaimTransferred")) == 1
    world.collect()
    assert world.money()[:2] == (seller + PRICE, buyer - PRICE + AMOUNT)
    assert world.held(world.claim_market) == 0


def test_a_claim_is_sold_on_by_whoever_bought_it(world: Sales) -> None:
    world.buy(world.offer())
    again = world.offer(seller=raw(world.buyer), price=PRICE - USD)
    world.buy(again, world.sign(again, world.buyer), world.other)
    before = world.held(world.other)
    world.collect()
    assert world.held(world.other) - before == AMOUNT


def test_any_wallet_signs_the_same(world: Sales) -> None:
    """The digest of the contract, of Python, and of eth-account's typed data are one; so are the signatures."""
    offer = world.offer(buyer=raw(world.buyer))
    assert world.claim_market.call("digest_of", offer.as_tuple()) == claims.digest(world.market, offer)
    wallet = Account.from_key(world.trader.key)
    signed = wallet.sign_message(encode_typed_data(full_message=claims.typed_data(world.market, offer)))
    assert bytes(signed.signature) == world.sign(offer)
    world.buy(offer, bytes(signed.signature))


def test_gas_of_a_purchase(world: Sales, capsys: pytest.CaptureFixture[str]) -> None:
    gas = world.buy(world.offer()).gas_used
    with capsys.disabled():
        print(f"\n  buying a claim: {gas:,} gas")
    assert gas < 150_000


# ------------------------------------------------------------------------------------------------- the buyer is cheated


def test_a_claim_is_sold_once(world: Sales) -> None:
    """Two offers for one claim: the second buyer keeps his money."""
    first, second = world.offer(), world.offer(price=PRICE - USD)
    world.buy(first)
    before = world.money()
    with reverts("NOT_OWNER"):
        world.buy(second, by=world.other)
    assert world.money() == before


def test_a_purchase_is_refused_once_the_claim_was_given_away_or_paid(world: Sales) -> None:
    offer = world.offer()
    snapshot = world.evm.snapshot()
    world.do(world.trader, "transfer_claim", 0, world.trader, AMOUNT, world.stranger)
    with reverts("NOT_OWNER"):
        world.buy(offer)
    world.evm.restore(snapshot)
    late = world.offer(deadline=2**64)
    world.collect()
    before = world.money()
    with reverts("PAID"):
        world.buy(late)
    assert world.money() == before


def test_a_purchase_is_refused_once_the_batch_was_dropped(world: Sales) -> None:
    offer = world.offer()
    world.rebuild()
    with reverts("HEADER: the batch does not stand"):
        world.buy(offer)
    header = world.post(roots=(root_of(world.leaves),))
    with reverts("HEADER"):  # the same number, the same root, another batch: nobody has checked that one
        world.buy(offer)
    world.buy(replace(offer, header=header_hash(header)))


def test_a_header_that_never_was_matches_no_number(world: Sales) -> None:
    """Rollup answers zero for what does not stand: an offer with a header of zero must not take that for a match."""
    for number in (world.batch_header.number + 1, 2**255):
        with reverts("HEADER"):
            world.buy(world.offer(batch=number, header=bytes(32)))
    with reverts("HEADER"):
        world.buy(world.offer(batch=0))


def test_a_purchase_after_the_deadline_or_above_the_amount_is_refused(world: Sales) -> None:
    offer = world.offer()
    with reverts("PRICE"):
        world.buy(replace(offer, price=AMOUNT + 1))
    world.evm.warp(600)
    snapshot = world.evm.snapshot()
    world.buy(offer)
    world.evm.restore(snapshot)
    world.evm.warp(1)
    with reverts("DEADLINE"):
        world.buy(offer)


def test_a_claim_of_the_same_id_and_another_amount_is_another_claim(world: Sales) -> None:
    """The claim is bound to its amount: what was sold for more than the leaf says never takes the leaf."""
    offer = world.offer(amount=AMOUNT + 1)
    world.buy(offer)
    assert world.owner() == world.trader.address.lower()  # so buyers look at the leaf: the market cannot


def test_the_buyer_pays_out_of_its_own_allowance_only(world: Sales) -> None:
    poor = world.evm.actor("poor")
    with reverts("ALLOWANCE"):
        world.buy(world.offer(), by=poor)
    world.token.transact("approve", world.claim_market, 2**255, sender=poor)
    with reverts("BALANCE"):
        world.buy(world.offer(), by=poor)
    before = world.money()
    with reverts("BUYER: it is the seller"):  # the price would go in a circle
        world.buy(world.offer(), by=world.trader)
    assert world.money() == before and world.owner() == world.trader.address.lower()


# ------------------------------------------------------------------------------------------------ the seller is cheated


def test_an_offer_works_once_even_if_the_claim_comes_back(world: Sales) -> None:
    """The buyer sells the claim back for more, then shows the old, cheaper offer: it is used up."""
    offer = world.offer(price=50 * USD, deadline=2**40)
    signature = world.sign(offer)
    world.buy(offer, signature)
    back = world.offer(seller=raw(world.buyer), price=58 * USD, buyer=raw(world.trader))
    world.buy(back, world.sign(back, world.buyer), world.trader)
    assert world.owner() == world.trader.address.lower()
    for who in (world.buyer, world.other):
        with reverts("USED"):
            world.buy(offer, signature, who)
    assert world.claim_market.call("is_used", claims.digest(world.market, offer))


def test_a_cancelled_offer_is_dead_and_only_the_seller_cancels(world: Sales) -> None:
    offer = world.offer()
    for stranger in (world.buyer, world.admin, world.operator):
        with reverts("SELLER"):
            world.evm.message(world.claim_market, claims.encode_cancel(offer), sender=stranger)
    receipt = world.evm.message(world.claim_market, claims.encode_cancel(offer), sender=world.trader)
    assert receipt.events("OfferCancelled") == [
        {"digest": claims.digest(world.market, offer), "seller": world.trader.address.lower()}]
    with reverts("USED"):
        world.buy(offer)
    with reverts("USED"):
        world.evm.message(world.claim_market, claims.encode_cancel(offer), sender=world.trader)
    world.buy(world.offer(deadline=offer.deadline + 1))


def test_only_the_named_buyer_buys(world: Sales) -> None:
    offer = world.offer(buyer=raw(world.buyer))
    with reverts("BUYER: the offer is for somebody else"):
        world.buy(offer, by=world.other)
    world.buy(offer)


def test_a_claim_is_never_given_away_for_nothing(world: Sales) -> None:
    with reverts("PRICE"):
        world.buy(world.offer(price=0))


def test_nobody_else_sells_a_claim(world: Sales) -> None:
    thief = world.other
    own_name = world.offer(seller=raw(thief))
    with reverts("NOT_OWNER"):
        world.buy(own_name, world.sign(own_name, thief))
    with reverts("SIGNATURE: not the seller's"):
        world.buy(world.offer(), world.forged(world.offer(), thief))


@given(field=st.sampled_from(["id", "recipient", "amount", "price", "buyer", "batch", "header", "deadline", "seller"]),
       byte=st.integers(0, 31), flip=st.integers(1, 255))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_signature_binds_every_field(world: Sales, field: str, byte: int, flip: int) -> None:
    """Whatever one changes after signing, the digest is another one; and no such change lets the purchase pass."""
    offer = world.offer(buyer=raw(world.buyer))
    value = getattr(offer, field)
    changed: Any
    if isinstance(value, bytes):
        at = byte % len(value)
        changed = value[:at] + bytes((value[at] ^ flip,)) + value[at + 1:]
    else:
        changed = value ^ flip << (8 * byte)
    other = replace(offer, **{field: changed})
    assert world.claim_market.call("digest_of", other.as_tuple()) == claims.digest(world.market, other)
    assert claims.digest(world.market, other) != claims.digest(world.market, offer)
    snapshot = world.evm.snapshot()
    with reverts():
        world.buy(other, world.sign(offer))
    world.evm.restore(snapshot)


def test_a_signature_is_of_one_contract_and_one_chain(world: Sales) -> None:
    offer = world.offer()
    signer = LocalSigner(world.trader.key)
    for market in (replace(world.market, address=raw(world.stranger)), replace(world.market, l1_chain_id=1)):
        with reverts("SIGNATURE"):
            world.buy(offer, claims.sign(market, offer, signer))


def test_edge_signatures_are_refused(world: Sales) -> None:
    offer = world.offer()
    good = world.sign(offer)
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    upper = r + (CURVE_ORDER - s).to_bytes(32, "big") + bytes((55 - v,))
    bad = [upper, good[:64], good[:63], b"", good[:64] + b"\0", good[:64] + bytes((v - 27,)),
           good[:64] + bytes((55 - v,)), bytes(64) + b"\x1b", CURVE_ORDER.to_bytes(32, "big") + good[32:],
           b"\xff" * 64 + b"\x1c"]
    for signature in bad:
        with reverts("SIGNATURE"):
            world.buy(offer, signature)
        with pytest.raises(BadOffer):
            claims.check_signature(world.market, offer, signature)
    for signature in (bytes(64) + b"\x1b", bytes(65)):  # recovers address zero, which sells nothing
        nobody = world.offer(seller=NOBODY)
        with reverts("SIGNATURE"):
            world.buy(nobody, signature)
        with pytest.raises(BadOffer):
            claims.check_signature(world.market, nobody, signature)
    claims.check_signature(world.market, offer, good)
    world.buy(offer, good)


# --------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_that_keeps_a_fee_or_lies_moves_no_claim() -> None:
    world = Sales(token="mocks/OddToken.vy")
    offer = world.offer()
    for mode, reason in ((FEE, "TOKEN_FEE"), (LYING, "TRANSFER_FROM")):
        world.token.transact("set_mode", mode, world.trader, b"")
        before = world.money()
        with reverts(reason):
            world.buy(offer)
        assert world.money() == before and world.owner() == world.trader.address.lower()


def test_a_token_that_returns_nothing_works() -> None:
    world = Sales(token="mocks/SilentToken.vy")
    seller = world.held(world.trader)
    world.buy(world.offer())
    assert world.held(world.trader) == seller + PRICE


def test_the_token_cannot_call_back_into_the_market() -> None:
    """While the price moves, the claim is the buyer's already and the offer used: the lock refuses all the same."""
    world = Sales(token="mocks/OddToken.vy")
    offer, other = world.offer(), world.offer(price=PRICE - 1)
    payload = claims.encode_buy(other, world.sign(other))
    world.token.transact("set_mode", REENTER, world.claim_market, payload)
    world.buy(offer)
    assert world.token.call("refused") == 1 and world.owner() == world.buyer.address.lower()


def test_a_claim_cannot_be_sold_while_it_is_being_paid() -> None:
    """The token calls the market from inside `withdraw`: the withdrawal counts as paid before the token is called."""
    world = Sales(token="mocks/OddToken.vy")
    offer = world.offer(deadline=2**40)
    world.evm.warp(world.params.challenge_window_s)
    world.token.transact("set_mode", REENTER, world.claim_market, claims.encode_buy(offer, world.sign(offer)))
    with reverts("re-entered"):  # refused with a reason (PAID): what the mock tells apart from the lock
        world.pay()
    world.token.transact("set_mode", 0, world.claim_market, b"")
    world.pay()
    assert world.owner() == world.trader.address.lower()


# ------------------------------------------------------------------------------------------ rollback, the end, setup


def test_after_a_rollback_the_claim_follows_its_withdrawal_and_no_other(world: Sales) -> None:
    """The same withdrawal in the honest batch is the buyer's; another one under its id stays its recipient's."""
    world.buy(world.offer())
    world.rebuild()
    snapshot = world.evm.snapshot(), list(world.messages), list(world.headers)
    same = world.post(roots=(root_of(world.leaves),))
    world.evm.warp(world.params.challenge_window_s)
    before = world.held(world.buyer)
    world.pay(same)
    assert world.held(world.buyer) - before == AMOUNT
    world.evm.restore(snapshot[0])
    world.messages, world.headers = snapshot[1], snapshot[2]
    leaves = world.leaves | {withdrawal_key(0): withdrawal_value(world.stranger.address, AMOUNT)}
    other = world.post(roots=(root_of(leaves),))
    world.evm.warp(world.params.challenge_window_s)
    before = world.held(world.stranger)
    world.do(world.stranger, "withdraw", other, 0, world.stranger, AMOUNT, *proof_of(leaves, withdrawal_key(0)))
    assert world.held(world.stranger) - before == AMOUNT


def test_claims_are_sold_and_paid_after_the_freeze_too(world: Sales) -> None:
    world.do(world.operator, "leave_seat")
    world.evm.warp(50_001)
    world.exodus.transact("freeze")
    world.buy(world.offer())
    before = world.held(world.buyer)
    world.pay()
    assert world.held(world.buyer) - before == AMOUNT


def test_the_market_names_its_rollup_and_is_named_by_it(world: Sales) -> None:
    assert world.claim_market.call("rollup") == world.rollup.address.lower()
    assert world.rollup.call("claim_market") == world.claim_market.address.lower()
    rollup = world.evm.deploy("Rollup", world.token, world.admin, world.params)
    with reverts("COURTS: not contracts"):
        rollup.transact("set_courts", world.exodus, world.promise_court, world.stranger)
    foreign = world.evm.deploy("ClaimMarket", world.rollup)
    for who in (world.trader, world.buyer, world.admin):
        with reverts("NOT_CLAIM_MARKET"):
            world.do(who, "move_claim", 0, world.trader, AMOUNT, world.trader, who)
    offer = world.offer()
    market = Market(bytes.fromhex(foreign.address[2:]), world.evm.chain_id)
    world.token.transact("approve", foreign, 2**255, sender=world.buyer)
    signature = claims.sign(market, offer, LocalSigner(world.trader.key))
    with reverts("NOT_CLAIM_MARKET"):
        world.evm.message(foreign, claims.encode_buy(offer, signature), sender=world.buyer)


def test_python_says_why_an_offer_is_none(world: Sales) -> None:
    offer = world.offer()
    with pytest.raises(BadOffer, match="the key is of"):
        claims.sign(world.market, offer, LocalSigner(world.buyer.key))
    with pytest.raises(BadOffer, match="out of range"):
        claims.digest(world.market, replace(offer, amount=-1))
    with pytest.raises(BadOffer, match="not the seller's"):
        claims.check_signature(world.market, replace(offer, price=1), world.sign(offer))
