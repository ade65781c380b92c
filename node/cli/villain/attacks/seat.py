"""The seat and who holds it: squatters, runaways, usurpers, and administrators in a hurry."""

from __future__ import annotations

from typing import Any, Final

from eth_hash.auto import keccak

from node.cli.villain.catalogue import BOND, SCENE, SEAT, TENTH, TRADING, attack, share
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import NotPlayable
from node.l1 import bindings, courts
from node.l1.courts import EXODUS

FINE: Final = share(10, "a tenth of the bond")
NOBODY: Final = bytes(20)
ADMIN_TRANSFER: Final = 5  # sub-kind of an admin message: fees to a market's insurance


async def evicted(field: Field) -> None:
    """Somebody who has no part in it empties the seat."""
    dave = await field.actor("dave", side="defence")
    await field.l1.must(dave, field.rollup, field.call("evict"))
    field.check(await field.ask("seat_holder") == NOBODY, "the seat is not empty after an eviction")


@attack("seat", "Sit, and do nothing, so that nobody else can serve.", needs={SEAT}, loses={"operator": FINE}, proofs=1,
        time_s=lambda terms: terms.seat_idle_s)
async def idle_seat(field: Field) -> str:
    await field.l1.pass_time(field.terms.seat_idle_s + 60)
    await evicted(field)
    return "the seat is free"


@attack("seat", "Post, but let L2 time crawl, so that no message is ever overdue there.", needs={SCENE},
        loses={"operator": FINE}, proofs=1, apart=TRADING, time_s=lambda terms: terms.seat_idle_s)
async def crawling_time(field: Field) -> str:
    alice = await field.actor("alice", usd=1, side="attack")
    await field.l1.must(alice, field.rollup, field.call("deposit", 0, alice.address, USD))
    for _ in range(2):
        await field.l1.pass_time(field.terms.seat_idle_s // 2 + 60)
        draft = await field.operator.draft()
        draft.block(1)
        posted = await field.operator.post(draft.batch(), draft)
        await field.stands(posted)
    await evicted(field)
    return "eviction counts L1's time"


@attack("seat", "Evict oneself and sit down again at once, for ever, for nothing.", needs={SEAT},
        loses={"operator": FINE}, proofs=None, time_s=lambda terms: terms.seat_idle_s)
async def evict_and_sit_again(field: Field) -> str:
    operator = await field.actor("operator", usd=field.terms.bond // 10 // USD + 1)
    await field.l1.pass_time(field.terms.seat_idle_s + 60)
    await field.l1.must(operator, field.rollup, field.call("evict"))
    await field.refused(operator, field.call("take_seat", 0), "BOND_LOW")
    await field.l1.must(operator, field.rollup, field.call("take_seat", field.terms.bond // 10))
    await field.refused(operator, field.call("evict"), "NOT_IDLE")
    return "each round costs a tenth and an idle time"


@attack("seat", "Evict an operator that serves.", needs={SEAT})
async def evict_a_servant(field: Field) -> str:
    mallory = await field.actor("mallory")
    return await field.refused(mallory, field.call("evict"), "NOT_IDLE")


@attack("seat", "Take a seat that is taken, with twice the bond.", needs={SEAT})
async def take_a_taken_seat(field: Field) -> str:
    mallory = await field.actor("mallory", usd=2 * field.terms.bond // USD)
    return await field.refused(mallory, field.call("take_seat", 2 * field.terms.bond), "SEAT_TAKEN")


@attack("seat", "Take the seat with a micro-dollar less than the bond.", needs={SEAT})
async def sit_down_too_cheaply(field: Field) -> str:
    operator = await field.take_seat()
    mallory = await field.actor("mallory", usd=field.terms.bond // USD)
    await field.l1.must(operator, field.rollup, field.call("leave_seat"))
    said = await field.refused(mallory, field.call("take_seat", field.terms.bond - 1), "BOND_LOW")
    await field.l1.must(operator, field.rollup, field.call("take_seat", 0))
    return said


@attack("seat", "Leave, and take the bond along before promises and batches are through.", needs={SEAT},
        time_s=lambda terms: terms.bond_delay_s)
async def release_the_bond_too_early(field: Field) -> str:
    operator = await field.take_seat()
    await field.refused(operator, field.call("release_bond"), "SEATED")
    await field.l1.must(operator, field.rollup, field.call("leave_seat"))
    await field.refused(operator, field.call("release_bond"), "BOND_LOCKED")
    await field.l1.pass_time(field.terms.bond_delay_s // 2)
    return await field.refused(operator, field.call("release_bond"), "BOND_LOCKED")


@attack("seat", "Post a stolen withdrawal, leave the seat at once, and run with the bond.", needs={SCENE},
        loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1)
async def post_and_run(field: Field) -> str:
    draft = await field.trade()
    wrong = await field.operator.corrupt("undebited-withdrawal", draft)
    posted = await field.operator.post(wrong, draft)
    operator = field.operator.actor
    await field.l1.must(operator, field.rollup, field.call("leave_seat"))
    reason = await field.l1.refused(operator, field.rollup, field.call("release_bond"))
    field.check(reason.split(":")[0] in ("BOND_LOCKED", "NO_BOND"), f"the bond could be taken along: {reason!r}")
    await field.fallen(posted)
    return "an empty seat is no cover"


@attack("seat", "Have a batch dropped, then keep everybody from the chain by an empty seat.", needs={SCENE},
        loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1, apart=TRADING)
async def empty_seat_after_a_drop(field: Field) -> str:
    draft = await field.trade()
    posted = await field.operator.post(await field.operator.corrupt("wrong-root-last", draft), draft)
    await field.fallen(posted)
    second = await field.actor("second", usd=field.terms.bond // USD)
    await field.l1.must(second, field.rollup, field.call("take_seat", field.terms.bond))
    again = await field.operator.draft()
    again.block()
    again.consume()
    served = await field.operator.post(again.batch(), again, actor=second)
    await field.stands(served)
    await field.l1.must(second, field.rollup, field.call("leave_seat"))
    return "a successor goes on from the last good root"


@attack("seat", "Call, as a stranger, what only the courts and the deployer may.", needs={SEAT})
async def usurped_powers(field: Field) -> str:
    mallory = await field.actor("mallory")
    parent = field.operator.head
    calls: list[tuple[str, tuple[Any, ...], str]] = [
        ("set_verifier", (mallory.address,), "NOT_DEPLOYER"), ("freeze", (), "NOT_EXODUS"),
        ("pay_out", (mallory.address, USD), "NOT_EXODUS"), ("fine_promise", (1,), "NOT_PROMISE_COURT"),
        ("slash_promise", (1, 0, mallory.address), "NOT_PROMISE_COURT"),
        ("pay_victim", (mallory.address, USD), "NOT_PROMISE_COURT"),
        ("leave_seat", (), "NOT_SEAT"), ("release_bond", (), "NO_BOND"), ("claim_reward", (), "NO_REWARD"),
        ("drop", (parent, parent, mallory.address), "NOT_VERIFIER"), ("open", (), "NOT_ADMIN"),
        ("propose_admin", (ADMIN_TRANSFER, bytes(10)), "NOT_ADMIN"), ("accept_admin", (), "NOT_CANDIDATE")]
    for name, args, reason in calls:
        await field.refused(mallory, bindings.encode_call(name, *args), reason)
    await field.refused(mallory, courts.encode_call(EXODUS, "freeze"), "NOT_DUE", to=field.courts["Exodus"])
    return f"{len(calls) + 1} doors, all locked"


@attack("seat", "As the administrator, change the rules of the market overnight.", needs={SEAT},
        time_s=lambda terms: terms.timelock_s)
async def administrator_in_a_hurry(field: Field) -> str:
    admin = field.funder
    if await field.ask("admin") != admin.address:
        raise NotPlayable("it needs the administrator's key, and the villain's purse has another one")
    body = field.market.to_bytes(2, "big") + bytes(8)
    await field.refused(admin, field.call("enqueue_admin", ADMIN_TRANSFER, body), "OPEN")
    await field.l1.must(admin, field.rollup, field.call("propose_admin", ADMIN_TRANSFER, body))
    await field.refused(admin, field.call("execute_admin", ADMIN_TRANSFER, body), "TIMELOCK")
    await field.l1.pass_time(field.terms.timelock_s // 2)
    await field.refused(admin, field.call("execute_admin", ADMIN_TRANSFER, body), "TIMELOCK")
    await field.l1.must(admin, field.rollup, field.call("cancel_admin", keccak(bytes((ADMIN_TRANSFER,)) + body)))
    return "whoever disagrees has left before the timelock ends"
