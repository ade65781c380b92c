"""Leaving a rollup that has ended: as the first at the exit, in others' names, twice, too late, with others' deposits.

Anybody may register, claim and refund for anybody, so villains do here what owners would do: who is paid is proven.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from node.cli.villain.attacks.ends import (
    accounts_closed,
    call,
    denied,
    do,
    everybody_leaves,
    freeze,
    paid,
    settle,
    until_claims,
    until_settled,
)
from node.cli.villain.catalogue import ENDS, SCENE, SOME, TRADING, attack, dollars, fees
from node.cli.villain.draft import Trader, buy, sell
from node.cli.villain.field import TRADERS, USD, Field
from node.stf import state, witness

ALL: Final = 10_000  # USD: what a villain's own account holds
CRASH: Final = (1, 5)  # the part that the market falls by
WAIT_MS: Final = 11_000  # L2 time after which a jump is believed, and before which no price is stale
LATE: Final = 7 * USD


@attack("exits", "Ruin a shell in a falling market, and be first at the exit with the gains of its other side.",
        needs={SCENE, ENDS}, loses={"mallory": dollars(ALL), **{name: SOME for name in TRADERS}},
        gains={"accomplice": SOME}, time_s=until_claims)
async def first_at_the_exit(field: Field) -> str:
    shell, other = await field.trader("mallory", ALL), await field.trader("accomplice", ALL)
    await field.l1.pass_time(60)
    await crash(field, shell, other)
    last = await freeze(field, other.actor)
    await settle(field)
    await denied(field, other.actor, last.register(shell.account), "NO_EQUITY")
    winners = [other, *(field.traders[name] for name in TRADERS)]
    owed = {trader.account: last.shown(trader.account).equity for trader in winners}
    for trader in winners:
        await do(field, other.actor, last.register(trader.account))
    await accounts_closed(field)
    pool, registered = await field.ask_court("Exodus", "pool"), await field.ask_court("Exodus", "registered")
    field.check(pool < registered == sum(owed.values()), "the history was to owe more than there is")
    total = 0
    for trader in winners:
        got = await paid(field, other.actor, call("claim", trader.account), trader.actor)
        part = owed[trader.account] * pool // registered
        field.check(got == part, f"{trader.actor.name} was paid {got}, its part is {part}")
        total += got
    field.check(pool - len(winners) < total <= pool, "more was paid than there was, or less")
    return f"everybody got {100 * pool / registered:.2f}%, the first and the last"


async def crash(field: Field, shell: Trader, other: Trader) -> None:
    """The shell buys all that it may of its accomplice; the market falls by a fifth, and nobody liquidates in time."""
    draft = await field.operator.draft()
    price = field.price_ticks(draft)
    fallen = price - price * CRASH[0] // CRASH[1]
    lots = 10_000
    draft.block(1)
    draft.price({field.market: price})
    draft.ok(draft.actions(other, sell(field.market, price, lots)))
    draft.ok(draft.actions(shell, buy(field.market, price, lots)))
    for _ in range(2):
        draft.block(WAIT_MS)
        draft.price({field.market: fallen})
    field.check(field.price_ticks(draft) == fallen, "the market was to fall")
    await field.operator.post(draft.batch(), draft)


@attack("exits", "Register other people's accounts, twice, under other numbers, headers and witnesses.",
        needs={SCENE, ENDS}, apart=TRADING, time_s=until_settled)
async def registrations_of_others(field: Field) -> str:
    mallory = await field.actor("mallory")
    _, first = await field.honest()
    draft, _ = await field.honest()
    last = await freeze(field, mallory)
    alice, bob = field.traders["alice"].account, field.traders["bob"].account
    await denied(field, mallory, last.register(alice), "NOT_SETTLED", pay=True)
    await settle(field)
    nobody = draft.engine.globals.next_account
    empty = witness.encode(witness.build(last.view, [state.GLOBAL_KEY, state.account_key(nobody)]))
    bent = bytearray(last.shown(alice).witness)
    bent[-1] ^= 1
    tries: list[tuple[int, dict[str, Any], str]] = [
        (alice, {"header": first.header}, "HEADER"), (alice, {"witness": last.shown(bob).witness}, "BAD_WITNESS"),
        (alice, {"header": replace(last.header, poster=mallory.address)}, "HEADER"),
        (alice, {"witness": bytes(bent)}, "BAD_WITNESS"), (nobody, {"witness": empty}, "NO_EQUITY"),
        *((alice + 2**bits, {"witness": last.shown(alice).witness}, "ACCOUNT") for bits in (32, 64, 255))]
    for account, changed, reason in tries:
        await denied(field, mallory, last.register(account, **changed), reason)
    await do(field, mallory, last.register(alice))
    share = await field.ask_court("Exodus", "share_of", alice)
    owner, equity = field.traders["alice"].actor.address, last.shown(alice).equity
    field.check(share == ("0x" + owner.hex(), equity, False), f"the registration says {share}")
    for account in (alice, alice + 2**32):
        await denied(field, mallory, last.register(account, witness=last.shown(alice).witness),
                     "REGISTERED" if account == alice else "ACCOUNT", pay=True)
    field.check(await field.ask_court("Exodus", "registered") == equity, "something else was registered")
    return f"{len(tries) + 2} false registrations; a true one is its owner's, whoever sends it"


@attack("exits", "Claim too early, twice, without a registration; register when the others are paid.",
        needs={SCENE, ENDS}, apart=TRADING, time_s=until_claims)
async def claims_out_of_time(field: Field) -> str:
    mallory = await field.actor("mallory")
    await field.honest()
    alice, bob = field.traders["alice"], field.traders["bob"].account
    claim = call("claim", alice.account)
    await denied(field, mallory, claim, "NOT_FROZEN")
    last = await freeze(field, mallory)
    await denied(field, mallory, claim, "NOT_SETTLED")
    await settle(field)
    await do(field, mallory, last.register(alice.account))
    await denied(field, mallory, claim, "TOO_EARLY", pay=True)
    await accounts_closed(field)
    await denied(field, mallory, last.register(bob), "TOO_LATE", pay=True)
    await denied(field, mallory, call("claim", bob), "NOT_REGISTERED")
    got = await paid(field, mallory, claim, alice.actor)
    field.check(got == last.shown(alice.account).equity, f"alice was paid {got}")
    return await denied(field, mallory, claim, "CLAIMED", pay=True)


@attack("exits", "Be paid a withdrawal, and its money as equity again.", needs={SCENE, ENDS}, apart=TRADING,
        time_s=until_claims)
async def withdrawn_and_claimed(field: Field) -> str:
    alice = field.traders["alice"]
    draft, posted = await field.honest()
    number = draft.engine.globals.next_withdrawal - 1
    last = await freeze(field, alice.actor)
    path = witness.build_path(last.view, state.withdrawal_key(number))
    data = field.call(
        "withdraw", posted.header, number, alice.actor.address, 5 * USD, path.bits, path.siblings)
    await settle(field)
    before = await field.cast.balance(alice.actor.address)
    await field.l1.must(alice.actor, field.rollup, data)
    total = await everybody_leaves(field, alice.actor, last)
    await field.refused(alice.actor, data, "PAID")
    got = await field.cast.balance(alice.actor.address) - before
    field.check(got == last.shown(alice.account).equity + 5 * USD, f"alice left with {got}")
    deposits = field.operator.pipeline.engine.globals
    field.check(total <= deposits.deposits - deposits.withdrawn, "the pool does not cover what was paid")
    return "what was withdrawn is no equity any more, and is paid whatever the others get"


# --- deposits ---------------------------------------------------------------------------------------------------------


@attack("exits", "Have deposits refunded that L2 has credited, twice, of others, or that are none.",
        needs={SCENE, ENDS}, apart=TRADING, loses={"mallory": fees(1)}, time_s=until_settled)
async def refunds_of_others(field: Field) -> str:
    mallory, dave = await field.actor("mallory", usd=5), await field.actor("dave", usd=LATE // USD)
    await field.honest(leave=0)
    consumed = await first_deposit(field)
    late = await field.l1.must(dave, field.rollup, field.call("deposit", 0, mallory.address, LATE))
    number = field.message_number(late)
    forced, _ = await field.force(mallory, b"\x01" * 32)
    last = await freeze(field, mallory)
    messages = [field.operator.pipeline.inbox.message(at) or b"" for at in (consumed, number, forced)]
    await denied(field, mallory, call("refund", number, messages[1]), "NOT_SETTLED", pay=True)
    await settle(field)
    mine = messages[1][:1] + mallory.address + messages[1][21:]
    for at, message, reason in (
            (consumed, messages[0], "CONSUMED"), (number, mine, "MESSAGE"), (number, messages[0], "MESSAGE"),
            (number, messages[1][:-1] + b"\xff", "MESSAGE"), (forced, messages[2], "MESSAGE"),
            (number + 2**64, messages[1], "INBOX_CURSOR"), (forced + 1, messages[1], "INBOX_CURSOR")):
        await denied(field, mallory, call("refund", at, message), reason)
    got = await paid(field, mallory, call("refund", number, messages[1]), dave)
    field.check(got == LATE, f"dave was paid back {got}: whom the deposit was for does not matter")
    await denied(field, mallory, call("refund", number, messages[1]), "REFUNDED", pay=True)
    field.check(last.header.inbox_cursor <= number, "the deposit was to wait")
    return "the depositor is paid, once"


async def first_deposit(field: Field) -> int:
    """Number of a deposit that L2 has consumed."""
    await field.operator.sync()
    inbox = field.operator.pipeline.inbox
    for number in range(inbox.count):
        if (inbox.message(number) or b"\0")[0] == 1:
            return number
    raise AssertionError("the scene's traders have deposited")
