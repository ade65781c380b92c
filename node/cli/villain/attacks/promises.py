"""Promises: broken, contradicted, kept in the letter, run away from, forged, and turned on an honest operator.

What is promised here are withdrawals, so that nobody's wealth moves for another reason than the attack's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from eth_hash.auto import keccak

from node.cli.villain.catalogue import BOND, SCENE, SEAT, TENTH, TRADING, attack, share
from node.cli.villain.draft import Draft, Trader
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import Actor
from node.cli.villain.operator import Posted
from node.derive import evidence
from node.derive.evidence import KeptPromise
from node.l1 import courts
from node.l1.courts import PROMISE_COURT

FIFTH: Final = share(20, "a fifth of the bond: who proves and is the only victim")
FINE: Final = share(10, "a tenth of the bond")
PROVER_AND_HALF: Final = share(5, "half of the victims' tenth")
VOID: Final = 24  # transactions of a chunk that is cut to void what follows
AMOUNT: Final = 5 * USD


@dataclass(frozen=True)
class Broken:
    """A promise to bob, the batch in which alice stands in his place, and what shows it."""

    kept: KeptPromise
    transaction: bytes
    time_ms: int
    posted: Posted
    conflict: bytes


async def promised(field: Field, draft: Draft, trader: Trader) -> tuple[bytes, KeptPromise]:
    """A withdrawal of the trader's, promised for the draft's next position."""
    transaction = draft.signed_withdraw(trader, AMOUNT, trader.actor.address)
    kept = await field.operator.promise([transaction], draft.engine.globals.position)
    return transaction, kept[0]


async def break_promise(field: Field) -> Broken:
    """Promise bob a place, and post alice's withdrawal there."""
    bob, alice = field.traders["bob"], field.traders["alice"]
    await field.actor("bob", side="defence")
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    draft.cut()
    index = len(draft.chunks)
    transaction, kept = await promised(field, draft, bob)
    receipt = draft.ok(draft.withdraw(alice, AMOUNT))
    assert receipt.position == kept.position, "it stands where bob's was promised"
    posted = await field.operator.post(draft.batch(), draft)
    data = evidence.conflict(kept, posted.seen, posted.parent, index, draft.views[index])
    return Broken(kept, transaction, draft.time, posted, data)


async def tell(field: Field, actor: Actor, data: bytes) -> None:
    """A transaction to the promise court."""
    await field.l1.must(actor, field.courts["PromiseCourt"], data)


async def not_told(field: Field, actor: Actor, data: bytes, reason: str, *, pay: bool = False) -> None:
    """What the promise court must refuse."""
    await field.refused(actor, data, reason, to=field.courts["PromiseCourt"], pay=pay)


def claim(broken: Broken, slash: int) -> bytes:
    """Bob's claim."""
    return evidence.claim(slash, broken.kept, broken.time_ms, broken.transaction)


def pay(slash: int, actor: Actor) -> bytes:
    """Pay a victim's part."""
    return courts.encode_call(PROMISE_COURT, "pay", slash, actor.address)


@attack("promises", "Promise a place to one trader and give it to another.", needs={SCENE}, loses={"operator": BOND},
        gains={"bob": FIFTH}, proofs=3, time_s=lambda terms: terms.claim_s)
async def promised_place_given_away(field: Field) -> str:
    broken = await break_promise(field)
    bob, mallory = field.traders["bob"].actor, await field.actor("mallory")
    slash = await field.ask("slash_count")
    await tell(field, bob, broken.conflict)
    await not_told(field, mallory, claim(broken, slash), "SIGNER", pay=True)
    await tell(field, bob, claim(broken, slash))
    await not_told(field, bob, claim(broken, slash), "CLAIMED")
    await not_told(field, mallory, pay(slash, bob), "TOO_EARLY")
    await field.l1.pass_time(field.terms.claim_s + 1)
    await tell(field, bob, pay(slash, bob))
    await not_told(field, bob, pay(slash, bob), "NOTHING")
    await field.stands(broken.posted)
    return "the batch stands: it is right, only not what was promised; a copied claim is worth nothing"


@attack("promises", "Promise one place to two traders.", needs={SCENE}, loses={"operator": BOND},
        gains={"alice": TENTH}, proofs=1)
async def one_place_promised_twice(field: Field) -> str:
    alice, bob = field.traders["alice"], field.traders["bob"]
    await field.actor("alice", side="defence")
    draft = await field.operator.draft()
    draft.block()
    kept = [(await promised(field, draft, trader))[1] for trader in (alice, bob)]
    await tell(field, alice.actor, evidence.equivocation(*kept))
    return "nothing had to be posted"


@attack("promises", "Promise, and post nothing.", needs={SCENE}, loses={"operator": FINE}, proofs=1,
        time_s=lambda terms: terms.promise_deadline_s)
async def promise_never_posted(field: Field) -> str:
    bob = field.traders["bob"]
    await field.actor("bob", side="defence")
    draft = await field.operator.draft()
    _transaction, kept = await promised(field, draft, bob)
    await not_told(field, bob.actor, evidence.late(kept.signed), "NOT_LATE")
    await field.l1.pass_time(field.terms.promise_deadline_s + 1)
    await tell(field, bob.actor, evidence.late(kept.signed))
    await not_told(field, bob.actor, evidence.late(kept.signed), "FINED")
    field.check(not any(await field.ask("seat_holder")), "the seat is still taken")
    return "the seat is lost"


@attack("promises", "Keep a promise to the letter: its place is right, in a chunk that is cut so that it is void.",
        needs={SCENE}, loses={"operator": BOND}, gains={"watchtower": TENTH, "bob": TENTH}, proofs=3,
        time_s=lambda terms: terms.claim_s, apart={"alice", "carol"})
async def promise_kept_in_the_letter(field: Field) -> str:
    bob = field.traders["bob"]
    await field.actor("bob", side="defence")
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    draft.ok(draft.withdraw(field.traders["alice"], AMOUNT))
    wrong = await field.operator.corrupt("badly-cut-chunk", draft)
    transaction = draft.signed_withdraw(bob, AMOUNT, bob.actor.address)
    kept = (await field.operator.promise([transaction], draft.engine.globals.position + VOID))[0]
    wrong = replace(wrong, chunks=(*wrong.chunks[:-1], wrong.chunks[-1] + transaction))
    slash = await field.ask("slash_count")
    posted = await field.operator.post(wrong, draft)
    await field.fallen(posted)
    await tell(field, bob.actor, evidence.claim(slash, kept, draft.time, transaction))
    await field.l1.pass_time(field.terms.claim_s + 1)
    await tell(field, bob.actor, pay(slash, bob.actor))
    return "the sequencer answers for cutting: the chunk is INVALID, and whoever was promised a place in it is a victim"


@attack("promises", "Slash oneself before the victims can, with an accomplice as prover and one's own trader among the "
        "victims.", needs={SCENE}, loses={"operator": BOND},
        gains={"accomplice": TENTH, "alice": PROVER_AND_HALF, "bob": PROVER_AND_HALF}, proofs=None,
        time_s=lambda terms: terms.claim_s)
async def slashing_oneself_first(field: Field) -> str:
    accomplice = await field.actor("accomplice")
    alice, bob, carol = (field.traders[name] for name in ("alice", "bob", "carol"))
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    draft.cut()
    index = len(draft.chunks)
    listed = [draft.signed_withdraw(trader, AMOUNT, trader.actor.address) for trader in (bob, alice)]
    kept = await field.operator.promise(listed, draft.engine.globals.position)
    draft.ok(draft.withdraw(carol, AMOUNT))
    posted = await field.operator.post(draft.batch(), draft)
    slash = await field.ask("slash_count")
    data = evidence.conflict(kept[0], posted.seen, posted.parent, index, draft.views[index])
    await tell(field, accomplice, data)
    for trader, promise, transaction in zip((bob, alice), kept, listed, strict=True):
        await tell(field, trader.actor, evidence.claim(slash, promise, draft.time, transaction))
    await field.l1.pass_time(field.terms.claim_s + 1)
    for trader in (bob, alice):
        await tell(field, accomplice, pay(slash, trader.actor))
    return "alice is the operator's: prover's tenth and her half come back, 85% do not; never more than 20% come back"


@attack("promises", "Break a promise, leave the seat, and run with the bond.", needs={SCENE}, loses={"operator": BOND},
        gains={"bob": TENTH}, proofs=1, time_s=lambda terms: terms.challenge_window_s)
async def running_from_a_promise(field: Field) -> str:
    broken = await break_promise(field)
    operator = field.operator.actor
    await field.l1.must(operator, field.rollup, field.call("leave_seat"))
    await field.l1.pass_time(field.terms.challenge_window_s + 1)
    await field.refused(operator, field.call("release_bond"), "BOND_LOCKED")
    await tell(field, field.traders["bob"].actor, broken.conflict)
    return "the bond stays longer than promises can be unposted"


@attack("promises", "Show the same broken promise again when the operator sits with a new bond.", needs={SCENE},
        loses={"operator": BOND}, gains={"bob": TENTH}, proofs=1)
async def proof_against_a_new_bond(field: Field) -> str:
    broken = await break_promise(field)
    mallory = await field.actor("mallory")
    await tell(field, field.traders["bob"].actor, broken.conflict)
    await field.take_seat("operator")
    await not_told(field, mallory, broken.conflict, "SLASHED", pay=True)
    return "a tenure is judged once"


@attack("promises", "Have an operator slashed for promises that a stranger signed, of another epoch or rollup.",
        needs={SCENE})
async def forged_promises(field: Field) -> str:
    mallory = await field.actor("mallory")
    bob = field.traders["bob"]
    draft = await field.operator.draft()
    draft.block()
    draft.consume()
    draft.cut()
    index = len(draft.chunks)
    position = draft.engine.globals.position
    draft.ok(draft.withdraw(field.traders["alice"], AMOUNT))
    posted = await field.operator.post(draft.batch(), draft)
    other = [draft.signed_withdraw(bob, AMOUNT, bob.actor.address)]
    epoch = await field.ask("seat_epoch")
    stranger = (await field.operator.promise(other, position, signer=mallory))[0]
    elsewhere = (await field.operator.promise(other, position, domain=keccak(b"another rollup")))[0]
    later = (await field.operator.promise(other, position, epoch=epoch + 1))[0]
    true = (await field.operator.promise([draft.transactions[-1]], position))[0]
    for kept, reason in ((stranger, "SIGNATURE"), (elsewhere, "SIGNATURE"), (later, "EPOCH"), (true, "NO_CONFLICT"),
                         (replace(true, position=position + 1), "ENTRY"),
                         (replace(true, tx_hash=keccak(b"another")), "ENTRY")):
        data = evidence.conflict(kept, posted.seen, posted.parent, index, draft.views[index])
        await not_told(field, mallory, data, reason, pay=True)
    return "six accusations, six reasons"


@attack("promises", "Accuse an honest operator of every promise that it has kept.", needs={SCENE}, apart=TRADING,
        time_s=lambda terms: terms.promise_deadline_s)
async def honest_operator_accused(field: Field) -> str:
    mallory = await field.actor("mallory")
    draft = await field.trade()
    kept = await field.operator.promise(draft.transactions, draft.first_position)
    posted = await field.operator.post(draft.batch(), draft)
    refusals = 0
    for index in range(len(posted.batch.chunks)):
        for promise in kept:
            data = evidence.conflict(promise, posted.seen, posted.parent, index, draft.views[index])
            said = await field.l1.refused(mallory, field.courts["PromiseCourt"], data)
            field.check(said.split(":")[0] in ("NO_CONFLICT", "POSITION"), f"the court answered {said or 'guilty'!r}")
            refusals += 1
    for one, other in pairwise(kept):
        await not_told(field, mallory, evidence.equivocation(one, other), "POSITION")
    await field.l1.pass_time(field.terms.promise_deadline_s + 1)
    await not_told(field, mallory, evidence.late(kept[0].signed), "POSTED", pay=True)
    return f"{refusals} accusations of {len(kept)} promises"


@attack("promises", "Be evicted to shake off what was promised and not posted.", needs={SEAT, SCENE},
        loses={"operator": share(19, "a tenth of the bond, and a tenth of what was left")}, proofs=2,
        time_s=lambda terms: terms.seat_idle_s)
async def evicted_away_from_promises(field: Field) -> str:
    bob = field.traders["bob"].actor
    await field.actor("bob", usd=1, side="defence")
    await field.l1.must(bob, field.rollup, field.call("deposit", 0, bob.address, USD), book=False)
    draft = await field.operator.draft()
    _transaction, kept = await promised(field, draft, field.traders["bob"])
    await field.l1.pass_time(field.terms.seat_idle_s + 60)
    await field.l1.must(bob, field.rollup, field.call("evict"))
    await tell(field, bob, evidence.late(kept.signed))
    return "a tenure that ended before it posted is late at once"
