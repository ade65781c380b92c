"""The inbox: flooded, stuffed, ignored, served as late as can be.

Whatever is put into it, an honest operator goes on posting; whatever an operator does with it, a forced transaction is
executed in time or the operator pays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from node.cli.villain.catalogue import FEE, SCENE, SEAT, SOME, TRADING, attack, dollars, fees, share
from node.cli.villain.draft import Draft, buy
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import NO_REASON, Actor
from node.cli.villain.operator import Posted
from node.l1.bindings import encode_post_batch
from node.stf import state
from node.stf.types import Status

PER_BATCH: Final = 64  # messages that a batch must consume at most
PAYLOAD_MAX: Final = 1_024
FLOOD: Final = PER_BATCH + 6
FORCE_GAS: Final = 250_000  # a message's, with room
KINDS_MAX: Final = 16


async def flood(field: Field, actor: Actor, count: int, payload: bytes = b"\xff") -> None:
    """So many messages, on a development chain all in one block."""
    data = field.call("force", payload)
    if not field.l1.dev or count == 1:
        for _ in range(count):
            await field.l1.must(actor, field.rollup, data)
        return
    before = await field.ask("inbox_count")
    async with field.l1.held():
        for _ in range(count):
            await field.l1.publish(actor, field.rollup, data, gas=FORCE_GAS)
        await field.l1.mine()
    field.check(await field.ask("inbox_count") == before + count, "L1 lost messages of the flood")


async def serve(field: Field, count: int | None = None, actor: Actor | None = None) -> tuple[Draft, Posted]:
    """An honest batch that consumes ``count`` messages, or all."""
    draft = await field.operator.draft()
    draft.block()
    draft.consume(count)
    posted = await field.operator.post(draft.batch(), draft, actor=actor)
    await field.stands(posted)
    return draft, posted


# --- floods -----------------------------------------------------------------------------------------------------------


@attack("inbox", "Flood the inbox with noise, so that no honest batch can consume all that is overdue.", needs={SEAT},
        loses={"mallory": fees(FLOOD)}, time_s=lambda terms: terms.force_delay_s)
async def noise_flood(field: Field) -> str:
    mallory = await field.actor("mallory", usd=FLOOD * field.terms.force_fee // USD + 1)
    await serve(field)
    await flood(field, mallory, FLOOD)
    await field.l1.pass_time(field.terms.force_delay_s + 60)
    _draft, posted = await serve(field, PER_BATCH + 1)
    left = await field.ask("inbox_count") - posted.batch.inbox_cursor
    field.check(left > 0, "the flood was no flood")
    await serve(field)
    return f"a batch with {PER_BATCH} messages is taken whatever else is overdue"


@attack("inbox", "As the operator, flood one's own inbox to keep a forced withdrawal waiting.", needs={SCENE},
        loses={"operator": fees(FLOOD)}, apart=TRADING, proofs=1, time_s=lambda terms: terms.force_delay_s)
async def own_inbox_flooded(field: Field) -> str:
    operator = await field.actor("operator", usd=FLOOD * field.terms.force_fee // USD + 1)
    await serve(field)
    await flood(field, operator, FLOOD)
    alice = field.traders["alice"]
    await field.actor("alice", usd=field.terms.force_fee // USD + 1, side="defence")
    draft = await field.operator.draft()
    number, _ = await field.force(alice.actor, draft.signed_withdraw(alice, 5 * USD, alice.actor.address, base=0))
    await field.l1.pass_time(field.terms.force_delay_s + 60)
    await serve(field, PER_BATCH)
    early = await field.operator.draft()
    early.block()
    await field.refused(operator, _calldata(early), "FORCED_OVERDUE")
    _, posted = await serve(field)
    field.check(posted.batch.inbox_cursor > number, "the withdrawal still waits")
    return "two batches, whatever was put before it; the fees are burned, not the operator's"


@attack("inbox", "Send messages as long as L1 takes them.", needs={SEAT}, loses={"mallory": fees(4)})
async def largest_messages(field: Field) -> str:
    mallory = await field.actor("mallory", usd=4 * field.terms.force_fee // USD + 1)
    said, _ = await field.l1.must_fail(mallory, field.rollup, field.call("force", bytes(PAYLOAD_MAX + 1)))
    field.check(said == NO_REASON, f"a longer message was refused for {said!r}")
    await field.refused(mallory, field.call("force", b""), "EMPTY")
    for payload in (bytes(PAYLOAD_MAX), b"\xff" * PAYLOAD_MAX, b"\x01" * PAYLOAD_MAX, b"\x05" * PAYLOAD_MAX):
        await flood(field, mallory, 1, payload)
    draft, _ = await serve(field)
    statuses = {receipt.status for receipt in draft.receipts[-4:]}
    field.check(statuses == {Status.FORCED_INVALID}, f"the rules answered {statuses}")
    return "consumed without effect"


@attack("inbox", "Force a transaction of every kind, cut off, nested, or the operator's own.", needs={SEAT},
        loses={"mallory": fees(KINDS_MAX)})
async def forced_fragments(field: Field) -> str:
    mallory = await field.actor("mallory", usd=KINDS_MAX * field.terms.force_fee // USD + 1)
    for kind in range(KINDS_MAX):
        await flood(field, mallory, 1, bytes((kind,)) + b"\x00\x01")
    await serve(field)
    return "an inbox byte or a block in the inbox is no transaction"


@attack("inbox", "Force a list of orders with more work than a chunk has, to make any chunk INVALID.", needs={SCENE},
        loses={"bob": FEE})
async def forced_beyond_a_chunk(field: Field) -> str:
    bob = field.traders["bob"]
    await field.actor("bob", usd=field.terms.force_fee // USD + 1)
    draft = await field.operator.draft()
    price = field.price_ticks(draft)
    orders = [buy(field.market, price - 1_000 - at, 30, 700 + at) for at in range(24)]
    await field.force(bob.actor, draft.signed_actions(bob, *orders, base=0))
    served, _ = await serve(field)
    field.status(served.receipts[-1].status, Status.FORCED_INVALID)
    return "the message's room is its room"


# --- deposits ---------------------------------------------------------------------------------------------------------


@attack("inbox", "Make L2's state grow by accounts that hold nothing.", needs={SEAT})
async def dust_deposits(field: Field) -> str:
    mallory = await field.actor("mallory", usd=8 * field.terms.deposit_min // USD + 1)
    least = field.terms.deposit_min
    for amount in (0, least - 1, 2**53 + 1):
        await field.refused(mallory, field.call("deposit", 0, mallory.address, amount), "AMOUNT")
    await field.refused(mallory, field.call("deposit", 0, bytes(20), least), "OWNER")
    for _ in range(8):
        await field.l1.must(mallory, field.rollup, field.call("deposit", 0, mallory.address, least))
    await serve(field)
    return f"an account costs a deposit of {least / USD:,.2f} USD"


@attack("inbox", "Deposit into somebody's account under one's own name, to share it.", needs={SCENE})
async def deposit_under_another_name(field: Field) -> str:
    alice = field.traders["alice"]
    mallory = await field.actor("mallory", usd=10)
    before = _collateral(field, alice.account)
    await field.l1.must(mallory, field.rollup, field.call("deposit", alice.account, mallory.address, 10 * USD))
    await serve(field)
    await field.operator.sync()
    field.check(_collateral(field, alice.account) == before, "somebody else's deposit reached the account")
    return "it opened an account for its owner"


@attack("inbox", "Poison somebody's account with a gift.", needs={SCENE}, loses={"mallory": dollars(10)},
        gains={"alice": dollars(10)})
async def poisoned_gift(field: Field) -> str:
    alice = field.traders["alice"]
    mallory = await field.actor("mallory", usd=10)
    await field.l1.must(mallory, field.rollup, field.call("deposit", alice.account, alice.actor.address, 10 * USD))
    await serve(field)
    return "a gift"


# --- an operator that does not serve ----------------------------------------------------------------------------------


@attack("inbox", "Ignore a forced withdrawal.", needs={SCENE},
        loses={"operator": share(10, "a tenth of the bond"), "alice": FEE}, proofs=2,
        time_s=lambda terms: terms.force_delay_s + terms.seat_idle_s)
async def ignored_withdrawal(field: Field) -> str:
    alice = field.traders["alice"]
    await field.actor("alice", usd=field.terms.force_fee // USD + 1, side="defence")
    draft = await field.operator.draft()
    number, _ = await field.force(alice.actor, draft.signed_withdraw(alice, 5 * USD, alice.actor.address, base=0))
    await field.l1.pass_time(field.terms.force_delay_s + 60)
    without = await field.operator.draft()
    without.block()
    await field.refused(field.operator.actor, _calldata(without), "FORCED_OVERDUE")
    await field.l1.pass_time(field.terms.seat_idle_s)
    dave = await field.actor("dave", side="defence")
    await field.l1.must(dave, field.rollup, field.call("evict"))
    second = await field.actor("second", usd=field.terms.bond // USD)
    await field.l1.must(second, field.rollup, field.call("take_seat", field.terms.bond), book=False)
    _, posted = await serve(field, actor=second)
    field.check(posted.batch.inbox_cursor > number, "the withdrawal still waits")
    return "posting is refused, then the seat is lost; the successor serves it"


@attack("inbox", "Serve every message in the last quarter of its time.", needs={SEAT}, loses={"mallory": SOME},
        time_s=lambda terms: 3 * terms.force_delay_s)
async def service_at_the_last_moment(field: Field) -> str:
    mallory = await field.actor("mallory", usd=10 * field.terms.force_fee // USD + 1)
    await serve(field)
    delays = [await field.ask("forced_delay_s")]
    for _ in range(2):
        await serve(field)
        await flood(field, mallory, 1)
        await field.l1.pass_time(delays[-1] * 7 // 8)
        await serve(field, 0)
        await serve(field)
        delays.append(await field.ask("forced_delay_s"))
        field.check(delays[-1] * 2 == delays[-2], f"the delay went {delays[-2]} → {delays[-1]} s")
    return f"the delay halves each time: {' → '.join(map(str, delays))} s"


@attack("inbox", "Consume a message other than the one that L1 has.", needs={SCENE},
        loses={"operator": share(100, "the bond")}, gains={"watchtower": share(10, "a tenth of the bond")}, proofs=1,
        apart=TRADING)
async def another_message(field: Field) -> str:
    """The chunk's byte is content-free: the only lie is in what is claimed to have come of it."""
    mallory = await field.actor("mallory", usd=20)
    await serve(field)
    await field.l1.must(mallory, field.rollup, field.call("deposit", 0, mallory.address, 10 * USD))
    honest = await field.operator.draft()
    honest.block()
    honest.consume()
    claimed = await field.operator.draft()
    claimed.block()
    wrong = replace(honest.batch(), roots=(claimed.batch().roots[-1],) * len(honest.batch().roots))
    posted = await field.operator.post(wrong, honest)
    await field.fallen(posted)
    return "a deposit cannot be swallowed"


def _calldata(draft: Draft) -> bytes:
    return encode_post_batch(draft.batch())


def _collateral(field: Field, account: int) -> int:
    leaf = field.operator.view.get(state.account_key(account))
    return 0 if leaf is None else state.decode_account(leaf).collateral
