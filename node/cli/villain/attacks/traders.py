"""Traders who want what is not theirs, or that nobody else can trade: dust, dead orders, old signatures, thefts by
liquidation, borrowed margin, deep keys, deposits that L1 takes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from node.cli.villain.catalogue import BOND, DEV, SCENE, SOME, TENTH, TRADING, Amount, attack
from node.cli.villain.draft import Draft, Trader, buy, limit, sell
from node.cli.villain.field import USD, Field
from node.l1.bindings import encode_post_batch
from node.stf import encoding, state, witness
from node.stf.params import CHUNK_TXS_MAX, OPEN_ORDERS_MAX, REST_FEE
from node.stf.types import CANCEL_ALL, FOK, Action, Status

LIST: Final = 16  # orders in a list that surely has room
DEAD: Final = 40
DEEP: Final = 30


def dust_fees(count: int) -> Amount:
    """What so many dead orders leave behind."""
    return Amount(f"{count} resting fees", lambda _terms: count * REST_FEE)


async def opened(field: Field) -> tuple[Draft, int, int]:
    """A draft with a fresh price: the draft, the market, its mark."""
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    price = field.price_ticks(draft)
    draft.price({field.market: price})
    return draft, field.market, price


async def posted_and_right(field: Field, draft: Draft) -> None:
    """Post the draft; L1 takes it and the rules agree."""
    await field.stands(await field.operator.post(draft.batch(), draft))


@attack("traders", "Fill the book with dust, so that nobody can afford to walk through it.", needs={SCENE},
        loses={"mallory": SOME}, apart=TRADING)
async def dust_orders(field: Field) -> str:
    mallory = await field.trader("mallory", 2_000)
    draft, m, price = await opened(field)
    tiny = draft.actions(mallory, buy(m, 1, 1))
    field.check(tiny.action_statuses[0] in (Status.MIN_NOTIONAL, Status.PRICE_BAND), "an order worth nothing rests")
    placed = 0
    while placed < OPEN_ORDERS_MAX:
        orders = [buy(m, price - 1_000 - placed - at, 1, placed + at + 1) for at in range(LIST)]
        draft.ok(draft.actions(mallory, *orders))
        placed += LIST
    more = draft.actions(mallory, buy(m, price - 900, 1, 9_999))
    field.status(Status(more.action_statuses[0]), Status.TOO_MANY_ORDERS)
    sold = draft.ok(draft.actions(field.traders["bob"], sell(m, price - 1_000 - LIST, LIST, 77)))
    field.check(len(sold.fills) > 0, "a taker cannot walk through dust")
    draft.ok(draft.actions(mallory, Action(CANCEL_ALL, m)))
    draft.ok(draft.actions(field.traders["bob"], buy(m, price + 900, 1, 78)))
    await posted_and_right(field, draft)
    return f"{OPEN_ORDERS_MAX} orders of one account at most, and each can be bought"


@attack("traders", "Leave dead orders at the edge of the book, so that takers spend their steps on corpses.",
        needs={SCENE}, loses={"mallory": dust_fees(DEAD)}, apart=TRADING)
async def dead_order_flood(field: Field) -> str:
    mallory = await field.trader("mallory", 2_000)
    draft, m, price = await opened(field)
    draft.ok(draft.actions(field.traders["alice"], sell(m, price + 50, 20, 1)))
    expiry = draft.time + 5_000
    for first in range(0, DEAD, LIST // 2):
        draft.ok(draft.actions(mallory, *(
            sell(m, price + 1 + first + at, 1, first + at + 1, expiry=expiry) for at in range(LIST // 2))))
    draft.block(6_000)
    draft.price({m: price})
    taken = draft.actions(field.traders["bob"], buy(m, price + 60, 10, 41))
    rounds = 0
    while taken.action_statuses[:1] in ([Status.PENDING], (Status.PENDING,)) and rounds < 8:
        rounds += 1
        again = draft.run(encoding.write_continue(m))
        if again.fills or again.status != Status.PENDING:
            taken = again
    field.check(_size(field, draft, field.traders["bob"]) > 0, "the taker never reached the living order")
    await posted_and_right(field, draft)
    return f"removed in {rounds} further transactions that anybody may send; whoever left them has paid for each"


def _size(field: Field, draft: Draft, trader: Trader) -> int:
    draft.cut()
    leaf = draft.view.get(state.account_key(trader.account))
    assert leaf is not None, "the account is there"
    return sum(position.size for position in state.decode_account(leaf).positions if position.market == field.market)


# --- signatures -------------------------------------------------------------------------------------------------------


@attack("traders", "Replay an order after its key slot was given to another and set again to the same key.",
        needs={SCENE}, apart=TRADING)
async def order_of_an_old_key(field: Field) -> str:
    alice, device, other = field.traders["alice"], await field.actor("device"), await field.actor("other device")
    draft, m, price = await opened(field)
    draft.ok(draft.set_key(alice, 1, device.address))
    expiry, start = draft.time + 50_000, draft.time

    def order(at: int) -> bytes:  # the same signature at any time: only the bytes around it count from the block's
        return draft.signed_actions(
            alice, buy(m, price - 1_000 - at, 10, 5 + at), slot=1, signer=device, nonce=start + 1 + at, expiry=expiry)

    draft.ok(draft.run(order(0)))
    draft.block(1_000)
    draft.ok(draft.set_key(alice, 1, other.address))
    field.status(Status(draft.run(order(1)).status), Status.NO_KEY)
    draft.block(1_000)
    draft.ok(draft.set_key(alice, 1, device.address))
    for at in (0, 1):
        again = draft.run(order(at))
        field.check(again.status in (Status.NONCE_USED, Status.NONCE_TOO_OLD),
                    f"the rules answered {Status(again.status).name} to an order of the key's earlier life")
    await posted_and_right(field, draft)
    return "a key that is set again starts at the present"


@attack("traders", "Replay a signed order: in the same block, in the next, and through the inbox.", needs={SCENE},
        loses={"mallory": Amount("the fee of a forced message", lambda terms: terms.force_fee)}, apart=TRADING)
async def replayed_order(field: Field) -> str:
    bob = field.traders["bob"]
    mallory = await field.actor("mallory", usd=field.terms.force_fee // USD + 1)
    draft, m, price = await opened(field)
    nonce, expiry = draft.nonce(bob), draft.time + 50_000
    order = buy(m, price - 1_000, 10, 5)
    draft.ok(draft.run(draft.signed_actions(bob, order, nonce=nonce, expiry=expiry)))
    field.status(Status(draft.run(draft.signed_actions(bob, order, nonce=nonce, expiry=expiry)).status),
                 Status.NONCE_USED)
    forced = draft.signed_actions(bob, order, nonce=nonce, expiry=expiry, base=0)
    draft.block(500)
    field.status(Status(draft.run(draft.signed_actions(bob, order, nonce=nonce, expiry=expiry)).status),
                 Status.NONCE_USED)
    await posted_and_right(field, draft)
    await field.force(mallory, forced)
    later = await field.operator.draft()
    later.block()
    answers = later.consume()
    field.check(answers[-1].status != Status.OK, "the replayed order was executed")
    await posted_and_right(field, later)
    return f"the inbox's copy ends as {Status(answers[-1].status).name}"


@attack("traders", "Sign with nothing: zeros, the other half of the curve, another rollup's domain.", needs={SCENE},
        apart=TRADING)
async def edge_signatures(field: Field) -> str:
    bob, mallory = field.traders["bob"], await field.actor("mallory")
    draft, m, price = await opened(field)
    good = draft.signed_actions(bob, buy(m, price - 1_000, 10, 5))
    n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, vs = good[-64:-32], int.from_bytes(good[-32:], "big")
    parity, s = vs >> 255, vs & (1 << 255) - 1
    other_half = ((1 - parity) << 255 | (n - s) & (1 << 255) - 1).to_bytes(32, "big")
    for signature in (bytes(64), b"\xff" * 64, r + bytes(32), bytes(32) + good[-32:], r + other_half):
        answer = draft.run(good[:-64] + signature)
        field.check(answer.status in (Status.BAD_SIGNATURE, Status.NO_KEY),
                    f"the rules answered {Status(answer.status).name} to an edge signature")
    foreign = draft.run(draft.signed_actions(bob, buy(m, price - 1_000, 10, 5), signer=mallory))
    field.status(Status(foreign.status), Status.NO_KEY)
    draft.ok(draft.run(good))
    await posted_and_right(field, draft)
    return "five edges, one stranger; the true order is executed all the same"


# --- money ------------------------------------------------------------------------------------------------------------


@attack("traders", "Withdraw more than there is: margin in use, unrealized profit, everything twice.", needs={SCENE},
        apart={*TRADING, "mallory"})
async def overdrawn(field: Field) -> str:
    mallory = await field.trader("mallory", 1_000)
    draft, m, price = await opened(field)
    draft.ok(draft.actions(field.traders["alice"], sell(m, price, 100, 1)))
    draft.ok(draft.actions(mallory, buy(m, price, 100, 1)))
    for amount in (1_001 * USD, 990 * USD, 2**60):
        answer = draft.withdraw(mallory, amount)
        field.check(answer.status != Status.OK, f"{amount / USD:,.0f} USD left an account that needs them")
    draft.block(1_000)
    draft.price({m: price * 104 // 100})
    profit = draft.withdraw(mallory, 1_010 * USD)
    field.check(profit.status == Status.INSUFFICIENT_FREE, "unrealized profit was paid out")
    free = draft.withdraw(mallory, 600 * USD)
    again = draft.withdraw(mallory, 600 * USD)
    field.check(free.status == Status.OK and again.status == Status.INSUFFICIENT_FREE, "the same money left twice")
    await posted_and_right(field, draft)
    return "profit counts for margin, and leaves when it is realized"


@attack("traders", "Liquidate accounts that need none, through a bid of one's own far below.", needs={SCENE},
        loses={"mallory": dust_fees(1)}, apart=TRADING)
async def thief_liquidates(field: Field) -> str:
    mallory = await field.trader("mallory", 1_000)
    draft, m, price = await opened(field)
    draft.ok(draft.actions(field.traders["alice"], sell(m, price, 200, 1)))
    draft.ok(draft.actions(field.traders["bob"], buy(m, price, 200, 1)))
    draft.ok(draft.actions(mallory, buy(m, price * 96 // 100, 200, 1)))
    for name in ("alice", "bob", "carol"):
        account = field.traders[name].account
        answer = draft.run(encoding.write_liquidate(account, m))
        field.check(answer.status in (Status.NOT_LIQUIDATABLE, Status.NO_POSITION),
                    f"{name} was liquidated: {Status(answer.status).name}")
    draft.ok(draft.actions(mallory, Action(CANCEL_ALL, m)))
    await posted_and_right(field, draft)
    return "not below maintenance, not liquidatable; the bid that waited has cost a resting fee"


@attack("traders", "Trade with oneself to fake volume, funding and a price.", needs={SCENE}, loses={"mallory": SOME},
        apart=TRADING)
async def wash_trades(field: Field) -> str:
    one, two = await field.trader("mallory", 1_000), await field.trader("mallory", 1_000)
    draft, m, price = await opened(field)
    answer = draft.actions(one, sell(m, price + 10, 10, 1), buy(m, price + 10, 10, 2))
    field.check(not answer.fills, "an account traded with itself")
    for at in range(6):
        draft.ok(draft.actions(one, sell(m, price + 400, 10, 10 + at)))
        draft.ok(draft.actions(two, buy(m, price + 400, 10, 10 + at)))
    draft.block(1_000)
    draft.price({m: price})
    field.check(abs(field.price_ticks(draft) - price) <= price * 5 // 1_000, "fills between friends moved the mark")
    await posted_and_right(field, draft)
    return "fees for nothing: no rule reads volume, the mark is the publishers' with a capped basis"


# --- the trie and the inbox -------------------------------------------------------------------------------------------


@attack("traders", "Place orders at prices that differ in one bit each, so that the trie gets deep, and post a wrong "
        "batch down there.", needs={SCENE}, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1,
        apart={*TRADING, "mallory"})
async def deep_keys(field: Field) -> str:
    mallory = await field.trader("mallory", 3_000)
    draft, m, price = await opened(field)
    base = (price - 20_000) & ~0x3FFF
    prices = sorted({base, *(base ^ 1 << bit for bit in range(14))})
    for first in range(0, len(prices), LIST // 2):
        draft.ok(draft.actions(mallory, *(
            buy(m, at, 1, first + n + 1) for n, at in enumerate(prices[first : first + LIST // 2]))))
    for at in range(DEEP // 2):
        draft.ok(draft.actions(mallory, buy(m, base, 1, 100 + at)))
    await posted_and_right(field, draft)
    await field.operator.sync()
    depth = max(len(witness.build_path(field.operator.view, key).siblings) for key in field.operator.view.keys(b"O"))
    again, m, price = await opened(field)
    again.cut()
    again.ok(again.actions(field.traders["bob"], sell(m, base, LIST // 2, 5)))
    honest = again.batch()
    posted = await field.operator.post(replace(honest, roots=(*honest.roots[:-1], b"\x17" * 32)), again)
    drop = await field.fallen(posted)
    return f"{depth} levels: prices have 32 bits, sequences are dense; proven with {drop.gas_used:,} gas"


@attack("traders", "Trade on a deposit that an L1 reorganisation takes back.", needs={SCENE, DEV},
        apart={*TRADING, "mallory"})
async def deposit_taken_back(field: Field) -> str:
    mallory = await field.actor("mallory", usd=5_000)
    deposit = field.call("deposit", 0, mallory.address, 5_000 * USD)
    receipt = await field.l1.must(mallory, field.rollup, deposit)
    draft, m, price = await opened(field)  # too early: an honest sequencer reads the inbox at L1's safe head
    account = draft.engine.globals.next_account - 1
    draft.ok(draft.actions(field.traders["alice"], sell(m, price, 100, 1)))
    draft.ok(draft.actions(Trader(mallory, account), buy(m, price, 100, 1)))
    head = await field.l1.client.head()
    await field.l1.reorg(head.number - receipt.block_number + 1)
    said = await field.l1.refused(field.operator.actor, field.rollup, encode_post_batch(draft.batch()))
    field.check(said.split(":")[0] in ("INBOX_CURSOR", "INBOX_HASH", "L2_TIME"), f"L1 answered {said or 'yes'!r}")
    await field.operator.sync()
    after = await field.operator.draft()
    after.block()
    after.consume()
    await posted_and_right(field, after)
    bond = await field.ask("bond_of", field.operator.actor.address)
    field.check(bond[0] >= field.terms.bond, "an operator was slashed for what L1 took back")
    return "L1 refuses a batch that consumed what is not there; nobody is slashed, nothing has moved"


@attack("traders", "Hide depth behind fill-or-kill: make a taker look further than one transaction may.", needs={SCENE},
        apart={*TRADING, "mallory"})
async def fill_or_kill_in_the_deep(field: Field) -> str:
    mallory = await field.trader("mallory", 2_000)
    draft, m, price = await opened(field)
    draft.ok(draft.actions(mallory, *(sell(m, price + 1 + at, 1, at + 1) for at in range(LIST))))
    deep = draft.actions(field.traders["bob"], limit(m, 0, price + LIST + 1, LIST, 9, tif=FOK))
    field.status(Status(deep.action_statuses[0]), Status.FOK_TOO_DEEP)
    field.check(not deep.fills, "a fill-or-kill filled in part")
    more = [draft.signed_actions(field.traders["bob"], buy(m, price - 2_000, 1, 50)) for _ in range(3)]
    for transaction in more:
        draft.run(transaction)
    field.check(len(draft.transactions) < CHUNK_TXS_MAX, "the draft is one chunk's")
    await posted_and_right(field, draft)
    return "answered, not searched: no chunk is ever too heavy for its proof"
