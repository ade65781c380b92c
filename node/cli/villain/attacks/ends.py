"""The rollup's end: provoked too early, prepared with garbage, ignored, or used to run away with the bond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from node.cli.villain.attacks.inbox import FLOOD, PER_BATCH, flood, serve
from node.cli.villain.catalogue import BOND, DEV, ENDS, SCENE, SEAT, TENTH, TRADING, Terms, attack, fees
from node.cli.villain.field import TRADERS, USD, Field
from node.cli.villain.l1 import Actor
from node.derive.exodus import Registration, registration
from node.l1 import courts
from node.l1.bindings import encode_post_batch
from node.l1.courts import EXODUS
from node.stf.commitments import BatchHeader
from node.stf.trie import TrieView

GAS: Final = 2_000_000
SLACK_S: Final = 60  # what an attack's own transactions may take


@dataclass(frozen=True)
class Last:
    """The last state of a rollup that has ended."""

    header: BatchHeader
    view: TrieView

    def shown(self, account: int) -> Registration:
        """What an account can register."""
        return registration(self.view, account)

    def register(self, account: int, **changed: Any) -> bytes:
        """Calldata of Exodus.register, parts replaced by name."""
        parts: dict[str, Any] = {"header": self.header, "account": account} | changed
        if "witness" not in parts:
            parts["witness"] = self.shown(account).witness
        return courts.encode_call(EXODUS, "register", *parts.values())


def until_claims(terms: Terms) -> int:
    """L1 seconds from a message that nobody serves to the first payment."""
    return terms.exodus_after_s + terms.challenge_window_s + terms.register_s


def until_settled(terms: Terms) -> int:
    """L1 seconds from a message that nobody serves to the last fraud proof."""
    return terms.exodus_after_s + terms.challenge_window_s


def call(name: str, *args: Any) -> bytes:
    """Calldata of Exodus."""
    return courts.encode_call(EXODUS, name, *args)


async def do(field: Field, actor: Actor, data: bytes) -> None:
    """Send what Exodus must accept."""
    await field.l1.must(actor, field.courts["Exodus"], data)


async def denied(field: Field, actor: Actor, data: bytes, reason: str, *, pay: bool = False) -> str:
    """Send what Exodus must refuse."""
    return await field.refused(actor, data, reason, to=field.courts["Exodus"], pay=pay)


async def freeze(field: Field, actor: Actor) -> Last:
    """Let a message wait too long, then end the rollup. The state to leave from is that of the head."""
    await field.operator.sync()
    last = Last(field.operator.head, field.operator.view)
    await field.l1.pass_time(field.terms.exodus_after_s + 1)
    await do(field, actor, call("freeze"))
    return last


async def settle(field: Field) -> None:
    """Let the last batch become final."""
    await field.l1.pass_time(field.terms.challenge_window_s)


async def accounts_closed(field: Field) -> None:
    """Let the time for registrations end."""
    await field.l1.pass_time(field.terms.register_s)


async def paid(field: Field, actor: Actor, data: bytes, whose: Actor) -> int:
    """Send to Exodus what pays somebody: how much."""
    before = await field.cast.balance(whose.address)
    await do(field, actor, data)
    return await field.cast.balance(whose.address) - before


# --- freezing ---------------------------------------------------------------------------------------------------------


@attack("ends", "Freeze a rollup whose oldest message has waited just as long as it may.", needs={SCENE, DEV},
        apart=TRADING, time_s=lambda terms: terms.exodus_after_s)
async def freeze_before_it_is_due(field: Field) -> str:
    mallory = await field.actor("mallory")
    draft, posted = await field.honest()
    await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)
    waits = draft.message_at(posted.batch.inbox_cursor)
    field.check(waits is not None, "a message was to wait")
    since = await field.ask("inbox_time_s", posted.batch.inbox_cursor)
    await field.l1.set_next_time(since + field.terms.exodus_after_s)
    await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)
    await serve(field)
    await field.l1.pass_time(2)
    return await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)


@attack("ends", "Freeze while the seat is empty, or for a time in which it was.", needs={SEAT, DEV},
        time_s=lambda terms: terms.reseat_s)
async def freeze_over_an_empty_seat(field: Field) -> str:
    mallory, operator = await field.actor("mallory"), await field.take_seat()
    await serve(field)
    await field.l1.must(operator, field.rollup, field.call("leave_seat"))
    since = await field.ask("vacant_since")
    await field.l1.set_next_time(since + field.terms.reseat_s)
    await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)
    await field.l1.must(operator, field.rollup, field.call("take_seat", 0))
    await field.l1.pass_time(60)
    return await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)


@attack("ends", "Flood the inbox until messages are old enough to end a rollup that is served.", needs={SEAT},
        loses={"mallory": fees(FLOOD)}, time_s=lambda terms: terms.exodus_after_s)
async def flood_to_the_end(field: Field) -> str:
    mallory = await field.actor("mallory", usd=FLOOD * field.terms.force_fee // USD + 1)
    await serve(field)
    await flood(field, mallory, FLOOD)
    await field.l1.pass_time(field.terms.force_delay_s)
    await serve(field, PER_BATCH)
    await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)
    await serve(field)
    await field.l1.pass_time(field.terms.exodus_after_s - field.terms.force_delay_s // 2)
    return await denied(field, mallory, call("freeze"), "NOT_DUE", pay=True)


@attack("ends", "Go on as if nothing had ended: deposit, force, sit down, post, freeze again.", needs={SCENE, ENDS},
        apart=TRADING, time_s=lambda terms: terms.exodus_after_s)
async def business_after_the_end(field: Field) -> str:
    operator = field.operator.actor
    mallory = await field.actor("mallory", usd=field.terms.bond // USD)
    await field.honest()
    await freeze(field, mallory)
    field.check(not any(await field.ask("seat_holder")), "somebody sits in a rollup that has ended")
    for data, reason in (
            (field.call("deposit", 0, mallory.address, USD), "FROZEN"), (field.call("force", b"\x01"), "FROZEN"),
            (field.call("take_seat", field.terms.bond), "FROZEN"), (field.call("evict"), "SEAT_EMPTY")):
        await field.refused(mallory, data, reason)
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    await field.refused(operator, encode_post_batch(draft.batch()), "NOT_SEAT")
    return await denied(field, mallory, call("freeze"), "FROZEN", pay=True)


# --- the last batch ---------------------------------------------------------------------------------------------------


@attack("ends", "See the freeze come, and have a batch of garbage in just before it.", needs={SCENE, DEV, ENDS},
        apart=TRADING, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1, time_s=until_claims)
async def garbage_before_the_freeze(field: Field) -> str:
    mallory = await field.actor("mallory")
    await field.honest()
    await field.operator.sync()
    last = Last(field.operator.head, field.operator.view)
    await field.l1.pass_time(field.terms.exodus_after_s + 1)
    draft = await field.operator.draft()
    draft.block(1)
    draft.ok(draft.withdraw(field.traders["bob"], USD))
    wrong = await field.operator.corrupt("undebited-withdrawal", draft)
    async with field.l1.held():
        lie = await field.l1.publish(field.operator.actor, field.rollup, encode_post_batch(wrong), tip=9 * 10**9)
        end = await field.l1.publish(mallory, field.courts["Exodus"], call("freeze"), gas=GAS)
        await field.l1.mine()
    receipt = await field.l1.mined(lie)
    field.check(receipt.success and (await field.l1.mined(end)).success, "both were to be mined, the lie first")
    garbage = await field.operator.posted(wrong, draft, receipt)
    await field.fallen(garbage)
    await denied(field, mallory, last.register(1), "NOT_SETTLED", pay=True)
    await settle(field)
    await denied(field, mallory, last.register(1, header=garbage.header), "HEADER", pay=True)
    total = await everybody_leaves(field, mallory, last)
    return f"dropped after the freeze; {total / USD:,.2f} USD paid, to the micro-dollar, from the state before"


async def everybody_leaves(field: Field, actor: Actor, last: Last) -> int:
    """The scene's traders are registered and paid in full, by anybody; the sum."""
    owners = [field.traders[name] for name in TRADERS]
    for trader in owners:
        await do(field, actor, last.register(trader.account))
    await accounts_closed(field)
    total = 0
    for trader in owners:
        equity = last.shown(trader.account).equity
        got = await paid(field, actor, call("claim", trader.account), trader.actor)
        field.check(got == equity, f"{trader.actor.name} was paid {got}, the last state owes {equity}")
        total += got
    return total


@attack("ends", "Take the bond out of a frozen rollup before the last batch is final.", needs={SCENE, ENDS},
        apart=TRADING, time_s=lambda terms: terms.exodus_after_s + terms.bond_delay_s)
async def bond_out_of_the_ruins(field: Field) -> str:
    operator = field.operator.actor
    await field.honest()
    await field.operator.sync()
    await field.l1.pass_time(field.terms.exodus_after_s + 1)
    draft = await field.operator.draft()
    draft.block(1)
    posted = await field.operator.post(draft.batch(), draft)
    await do(field, operator, call("freeze"))
    await field.refused(operator, field.call("release_bond"), "BOND_LOCKED")
    await field.refused(operator, field.call("finalize", posted.header), "NOT_FINAL")
    await settle(field)
    said = await field.refused(operator, field.call("release_bond"), "BOND_LOCKED")
    await field.l1.must(operator, field.rollup, field.call("finalize", posted.header))
    if field.terms.bond_delay_s > field.terms.challenge_window_s + SLACK_S:
        await field.refused(operator, field.call("release_bond"), "BOND_LOCKED")
    await field.l1.pass_time(field.terms.bond_delay_s)
    before = await field.cast.balance(operator.address)
    await field.l1.must(operator, field.rollup, field.call("release_bond"))
    field.check(await field.cast.balance(operator.address) - before == field.terms.bond, "the bond did not come whole")
    return said
