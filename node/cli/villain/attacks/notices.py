"""Notices of payments: L2 forgets a withdrawal that L1 says it has paid. Told falsely, twice, or of what L1 forgets.

A withdrawal that L2 forgot could never be paid: so nobody but a payment may make it forget.
"""

from __future__ import annotations

from typing import Final

from node.cli.villain.attacks.claims import Claim, final, withdrawn
from node.cli.villain.attacks.inbox import serve
from node.cli.villain.catalogue import DEV, SCENE, attack
from node.cli.villain.field import Field
from node.cli.villain.l1 import NO_REASON
from node.stf import state

IDS_MAX: Final = 8  # of one notice


def remembered(field: Field, claim: Claim) -> bool:
    """Whether L2 has the withdrawal's leaf."""
    return field.operator.view.get(state.withdrawal_key(claim.number)) is not None


@attack("notices", "Have L2 forget withdrawals that were not paid, or forget one twice.", needs={SCENE},
        time_s=lambda terms: terms.challenge_window_s)
async def notices_of_no_payment(field: Field) -> str:
    mallory, alice = await field.actor("mallory"), field.traders["alice"]
    claim, _draft = await withdrawn(field, alice)
    number = claim.number
    false: tuple[tuple[list[int], str], ...] = (
        ([number], "NOT_PAID"), ([], "EMPTY"), ([number + 1], "NOT_PAID"), ([2**64 + number], "NOT_PAID"),
        ([number] * (IDS_MAX + 1), NO_REASON))
    for ids, reason in false:
        said, _receipt = await field.l1.must_fail(mallory, field.rollup, field.call("notify_paid", ids))
        field.check(said.split(":")[0] == reason, f"a notice of {ids} was answered {said!r}")
    await final(field)
    pay = field.call("withdraw", *claim.arguments())
    await field.l1.must(alice.actor, field.rollup, pay)
    for ids in ([number, number], [number, number + 1]):
        await field.refused(mallory, field.call("notify_paid", ids), "NOT_PAID", pay=False)
    await field.l1.must(mallory, field.rollup, field.call("notify_paid", [number]))
    await field.refused(mallory, field.call("notify_paid", [number]), "NOT_PAID")
    await serve(field)
    field.check(not remembered(field, claim), "L2 was told of a payment and remembers the withdrawal")
    await field.refused(alice.actor, pay, "PAID")
    return "L2 forgets what L1 has paid, once; L1 itself does not"


@attack("notices", "Have L1 forget a payment of which L2 was told.", needs={SCENE, DEV},
        time_s=lambda terms: terms.challenge_window_s)
async def payment_forgotten_after_its_notice(field: Field) -> str:
    alice = field.traders["alice"]
    claim, _draft = await withdrawn(field, alice)
    await final(field)
    pay = field.call("withdraw", *claim.arguments())
    payment = await field.l1.must(alice.actor, field.rollup, pay)
    await field.l1.must(alice.actor, field.rollup, field.call("notify_paid", [claim.number]))
    await serve(field)
    field.check(not remembered(field, claim), "L2 was told of a payment and remembers the withdrawal")
    depth, _none = await field.l1.take_back(payment)
    field.check(not await field.ask("is_paid", claim.number), "L1 was to forget the payment")
    await field.operator.sync()
    field.check(remembered(field, claim), "L2 has forgotten a withdrawal that L1 has not paid")
    await final(field)  # the branch that replaced it may be younger
    await field.l1.must(alice.actor, field.rollup, pay)
    return f"{depth} blocks were taken back, with the notice and the batch; it was paid again, once"
