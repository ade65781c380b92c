"""Withdrawals and their claims: paid twice, sold twice, forged, claimed too early, carried over a rollback."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from node.cli.villain.catalogue import BOND, SCENE, TENTH, attack, dollars
from node.cli.villain.draft import Draft, Trader
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import NO_REASON
from node.cli.villain.operator import Posted
from node.stf import state, witness
from node.stf.commitments import BatchHeader
from node.stf.trie import TrieView

AMOUNT: Final = 5 * USD
FIVE: Final = dollars(5)
PATH_MAX: Final = 128


@dataclass(frozen=True)
class Claim:
    """A withdrawal on L1: what its payment is proven with."""

    number: int
    recipient: bytes
    amount: int
    view: TrieView
    posted: Posted

    def arguments(self, **changed: Any) -> tuple[Any, ...]:
        """Of Rollup.withdraw, parts replaced by name."""
        path = witness.build_path(self.view, state.withdrawal_key(self.number))
        parts: dict[str, Any] = {
            "header": self.posted.header, "number": self.number, "recipient": self.recipient, "amount": self.amount,
            "bits": path.bits, "siblings": path.siblings} | changed
        return tuple(parts.values())


async def withdrawn(field: Field, trader: Trader, **changed: Any) -> tuple[Claim, Draft]:
    """A trader's withdrawal in a posted batch (``changed``: fields of the batch)."""
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    number = draft.engine.globals.next_withdrawal
    draft.ok(draft.withdraw(trader, AMOUNT))
    posted = await field.operator.post(draft.batch(**changed), draft)
    return Claim(number, trader.actor.address, AMOUNT, draft.view, posted), draft


def transfer(field: Field, claim: Claim, to: bytes) -> bytes:
    """Calldata that makes the claim somebody else's."""
    return field.call("transfer_claim", claim.number, claim.recipient, claim.amount, to)


async def final(field: Field) -> None:
    """Let the challenge window pass."""
    await field.l1.pass_time(field.terms.challenge_window_s + 1)


@attack("claims", "Sell a claim to two buyers.", needs={SCENE}, loses={"alice": FIVE}, gains={"buyer": FIVE},
        time_s=lambda terms: terms.challenge_window_s)
async def claim_sold_twice(field: Field) -> str:
    alice = field.traders["alice"]
    buyer, second = await field.actor("buyer", side="defence"), await field.actor("second buyer", side="defence")
    claim, _ = await withdrawn(field, alice)
    await field.l1.must(alice.actor, field.rollup, transfer(field, claim, buyer.address))
    await field.refused(alice.actor, transfer(field, claim, second.address), "NOT_OWNER")
    await field.refused(second, transfer(field, claim, second.address), "NOT_OWNER", pay=False)
    await final(field)
    await field.l1.must(alice.actor, field.rollup, field.call("withdraw", *claim.arguments()))
    field.check(await field.ask("is_paid", claim.number), "the claim was not paid")
    await field.refused(buyer, field.call("withdraw", *claim.arguments()), "PAID", pay=False)
    return "whoever asks for the payment, its owner is paid"


@attack("claims", "Have one withdrawal paid under two batches.", needs={SCENE},
        time_s=lambda terms: terms.challenge_window_s)
async def withdrawal_paid_twice(field: Field) -> str:
    alice = field.traders["alice"]
    claim, _ = await withdrawn(field, alice)
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    later = await field.operator.post(draft.batch(), draft)
    await final(field)
    again = replace(claim, view=draft.view, posted=later)
    await field.l1.must(alice.actor, field.rollup, field.call("withdraw", *again.arguments()))
    return await field.refused(alice.actor, field.call("withdraw", *claim.arguments()), "PAID")


@attack("claims", "Be paid before anybody could object.", needs={SCENE}, time_s=lambda terms: terms.challenge_window_s)
async def withdrawal_before_the_window(field: Field) -> str:
    alice = field.traders["alice"]
    claim, _ = await withdrawn(field, alice)
    await field.refused(alice.actor, field.call("withdraw", *claim.arguments()), "NOT_FINAL")
    old: BatchHeader = replace(claim.posted.header, posted_at=claim.posted.header.posted_at - 10**6)
    await field.refused(alice.actor, field.call("withdraw", *claim.arguments(header=old)), "HEADER")
    return await field.refused(alice.actor, field.call("finalize", claim.posted.header), "NOT_FINAL")


@attack("claims", "Be paid for leaves that are no withdrawal, for more, for another, by endless paths.", needs={SCENE},
        time_s=lambda terms: terms.challenge_window_s)
async def forged_withdrawals(field: Field) -> str:
    alice, mallory = field.traders["alice"], await field.actor("mallory")
    claim, draft = await withdrawn(field, alice)
    await final(field)
    other = witness.build_path(draft.view, state.account_key(alice.account))
    forged: list[tuple[dict[str, Any], str]] = [
        ({"amount": claim.amount + 1}, "PROOF"), ({"recipient": mallory.address}, "PROOF"),
        ({"number": claim.number + 1}, "PROOF"), ({"number": claim.number + 2**64}, "WITHDRAWAL"),
        ({"amount": claim.amount + 2**64}, "WITHDRAWAL"),
        ({"bits": other.bits, "siblings": other.siblings}, "PROOF"), ({"bits": b"", "siblings": []}, "PROOF"),
        ({"bits": bytes(PATH_MAX), "siblings": [bytes(32)] * PATH_MAX}, "PROOF"),
        ({"bits": bytes(PATH_MAX + 1), "siblings": [bytes(32)] * (PATH_MAX + 1)}, NO_REASON)]
    for changed, reason in forged:
        data = field.call("withdraw", *claim.arguments(**changed))
        said, _receipt = await field.l1.must_fail(mallory, field.rollup, data)
        field.check(said.split(":")[0] in (reason, "PATH", "BAD_PROOF"), f"{sorted(changed)}: L1 answered {said!r}")
    field.check(not await field.ask("is_paid", claim.number), "a forged proof was paid")
    return f"{len(forged)} forgeries"


@attack("claims", "Sell the claim of a withdrawal in a wrong batch; after the rollback its number is somebody else's.",
        needs={SCENE}, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1,
        time_s=lambda terms: terms.challenge_window_s)
async def claim_carried_over_a_rollback(field: Field) -> str:
    alice, bob = field.traders["alice"], field.traders["bob"]
    buyer = await field.actor("buyer")
    wrong, _draft = await withdrawn_wrongly(field, alice)
    await field.l1.must(alice.actor, field.rollup, transfer(field, wrong, buyer.address))
    await field.fallen(wrong.posted)
    await field.take_seat("operator")
    claim, _ = await withdrawn(field, bob)
    field.check(claim.number == wrong.number, "the number was to be used again")
    await final(field)
    await field.l1.must(buyer, field.rollup, field.call("withdraw", *claim.arguments()))
    return "the claim is bound to recipient and amount: bob was paid, the buyer holds nothing"


async def withdrawn_wrongly(field: Field, trader: Trader) -> tuple[Claim, Draft]:
    """The same in a batch whose last root is made up."""
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    number = draft.engine.globals.next_withdrawal
    draft.ok(draft.withdraw(trader, AMOUNT))
    honest = draft.batch()
    posted = await field.operator.post(replace(honest, roots=(*honest.roots[:-1], b"\x17" * 32)), draft)
    return Claim(number, trader.actor.address, AMOUNT, draft.view, posted), draft


@attack("claims", "Transfer a claim to nobody, or one that somebody else's withdrawal gave.", needs={SCENE})
async def claims_of_others(field: Field) -> str:
    alice, mallory = field.traders["alice"], await field.actor("mallory")
    claim, _ = await withdrawn(field, alice)
    await field.refused(mallory, transfer(field, claim, mallory.address), "NOT_OWNER")
    await field.refused(alice.actor, transfer(field, claim, bytes(20)), "TO")
    larger = replace(claim, amount=2 * claim.amount)
    await field.l1.must(alice.actor, field.rollup, transfer(field, larger, mallory.address))
    owner = await field.ask("claim_owner", claim.number, claim.recipient, claim.amount)
    field.check(owner == alice.actor.address, "a claim of another amount moved this one")
    return "a claim is bound to number, recipient and amount"
