"""Hostile money: a rollup on a token that calls back, keeps a fee, lies, or refuses to pay somebody.

Whoever deploys a rollup chooses its token, so these are played in a sandbox of the villain's own: the contracts are the
real ones, the token is the villain's. After every step the rollup has the tokens that it owes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from node.cli.villain.attacks.claims import Claim
from node.cli.villain.catalogue import Terms, attack
from node.cli.villain.draft import Trader
from node.cli.villain.evmcode import Call, forward
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import NO_REASON, call_data
from node.cli.villain.sandbox import BLOCKED, FEE, HOOK, LIE, OPENED, RUNS, SHUT, TIMINGS, Sandbox
from node.derive.exodus import accounts_of, registration
from node.l1 import bindings, courts
from node.l1.courts import EXODUS

AMOUNT: Final = 10 * USD
BOND: Final = TIMINGS.bond_min
call = bindings.encode_call


def times(*parts: int) -> int:
    """L1 seconds that all of it takes, with a few for the steps between."""
    return sum(parts) + 10


def of_life(_terms: Terms) -> int:
    """How long a sandbox is played with that goes on."""
    return times(TIMINGS.challenge_window_s, TIMINGS.bond_delay_s)


def of_the_end(_terms: Terms) -> int:
    """How long one is that ends."""
    return times(TIMINGS.reseat_s, TIMINGS.challenge_window_s, TIMINGS.register_s)


@dataclass(frozen=True)
class Trap:
    """A hook, and the names of the doors that it tries; ``free``: doors that have no lock because they move nothing."""

    box: Sandbox
    address: bytes
    doors: tuple[str, ...]
    free: tuple[str, ...] = ()

    async def spring(self, field: Field, what: str, to: bytes, data: bytes) -> None:
        """Do something that moves tokens, with the hook in the middle: no locked door may open."""
        runs = await self.box.read(self.address, RUNS)
        await self.box.set(HOOK, int.from_bytes(self.address, "big"))
        await self.box.do(to, data)
        field.check(await self.box.read(self.address, RUNS) == runs + 1, f"{what} moved no token")
        opened, shut = await self.box.read(self.address, OPENED), await self.box.read(self.address, SHUT)
        for index, name in enumerate(self.doors):
            if name in self.free:
                continue
            field.check(not opened >> index & 1, f"{name} was entered from within {what}")
            field.check(shut >> index & 1 == 1, f"{name} was not locked while {what} moved tokens")
        await solvent(field, self.box)

    async def prove(self, field: Field) -> None:
        """The same doors outside of any payment: they open, or say why not. So what shut them was the lock."""
        await self.box.set(HOOK, int.from_bytes(self.address, "big"))
        await self.box.do(self.box.token, call_data("transfer(address,uint256)", self.box.proxy, 0))
        shut = await self.box.read(self.address, SHUT)
        field.check(shut == 0, f"doors {shut:b} are shut although nothing is being paid: the trap shows nothing")
        await solvent(field, self.box)


async def solvent(field: Field, box: Sandbox) -> None:
    """The rollup has exactly what it owes: nobody gives it anything here."""
    excess = await box.excess()
    field.check(excess == 0, f"the rollup has {excess} more than custody and reserved")


async def opened(field: Field) -> tuple[Sandbox, Trader]:
    """A sandbox with one account of the villain's, and 100 USD in it."""
    mallory = await field.actor("mallory")
    box = await Sandbox.open(field.l1, mallory)
    await field.l1.must(mallory, box.rollup, call("deposit", 0, mallory.address, 100 * USD), book=False)
    return box, Trader(mallory, 1)


async def withdrawn(box: Sandbox, trader: Trader, recipients: list[bytes]) -> list[Claim]:
    """A batch with a withdrawal of 10 USD for each."""
    draft = await box.operator.draft()
    draft.block()
    draft.consume()
    first = draft.engine.globals.next_withdrawal
    for recipient in recipients:
        draft.ok(draft.withdraw(trader, AMOUNT, recipient))
    posted = await box.operator.post(draft.batch(), draft)
    return [Claim(first + at, recipient, AMOUNT, draft.view, posted) for at, recipient in enumerate(recipients)]


async def dropped(box: Sandbox) -> None:
    """The villain is his own verifier: a batch falls, the proxy has a reward, the seat is free."""
    draft = await box.operator.draft()
    draft.block()
    draft.consume()
    posted = await box.operator.post(draft.batch(), draft)
    await box.do(box.rollup, call("drop", posted.header, posted.parent, box.proxy))


@attack("tokens", "Call back from the token in the middle of every payment of a rollup that lives.", time_s=of_life)
async def reentrant_token(field: Field) -> str:
    box, trader = await opened(field)
    first, second = await withdrawn(box, trader, [box.proxy, box.proxy])
    await dropped(box)
    await field.l1.pass_time(TIMINGS.challenge_window_s)
    doors = {
        "deposit": call("deposit", 0, box.proxy, USD), "force": call("force", b"\x01"),
        "deposit_with_permit": call("deposit_with_permit", 0, box.proxy, USD, 2**64, 27, bytes(32), bytes(32)),
        "take_seat": call("take_seat", BOND), "release_bond": call("release_bond"),
        "claim_reward": call("claim_reward"), "pay_victim": call("pay_victim", box.proxy, USD),
        "withdraw": call("withdraw", *second.arguments()),
        "withdraw again": call("withdraw", *first.arguments()),
        "transfer_claim": call("transfer_claim", first.number, first.recipient, first.amount, trader.actor.address)}
    calls = [Call(box.proxy, forward(box.rollup, data)) for data in doors.values()]
    trap = Trap(box, await box.hang(calls), tuple(doors), ("transfer_claim",))
    before = await box.balance(box.proxy)
    await trap.spring(field, "withdraw", box.rollup, call("withdraw", *first.arguments()))
    field.check(await box.balance(box.proxy) == before + AMOUNT, "a claim moved while it was paid, or was paid twice")
    for what in ("deposit", "force", "take_seat", "claim_reward", "pay_victim"):
        await trap.spring(field, what, box.rollup, doors[what])
    await box.do(box.rollup, call("leave_seat"))
    await field.l1.pass_time(TIMINGS.bond_delay_s)
    await trap.spring(field, "release_bond", box.rollup, doors["release_bond"])
    await box.do(box.rollup, call("withdraw", *second.arguments()))
    await field.refused(trader.actor, call("withdraw", *first.arguments()), "PAID", to=box.rollup)
    await trap.prove(field)
    return f"{len(doors) - 1} doors from within 7 payments, all locked; a claim that moved meanwhile was paid already"


@attack("tokens", "Call back from the token while an exodus pays shares and refunds.", time_s=of_the_end)
async def reentrant_token_at_the_end(field: Field) -> str:
    box, trader = await opened(field)
    await field.l1.must(trader.actor, box.rollup, call("deposit", 0, box.proxy, 100 * USD), book=False)
    (claim,) = await withdrawn(box, trader, [box.proxy])
    await box.do(box.rollup, call("deposit", 0, box.proxy, 30 * USD))
    late = await box.ask("inbox_count") - 1
    await field.l1.must(trader.actor, box.rollup, call("leave_seat"))
    await field.l1.pass_time(TIMINGS.reseat_s + 1)
    await box.do(box.exodus, exodus("freeze"))
    await field.l1.pass_time(TIMINGS.challenge_window_s)
    await box.operator.sync()
    accounts = [*accounts_of(claim.view, trader.actor.address), *accounts_of(claim.view, box.proxy)]
    for account in accounts:
        shown = registration(claim.view, account)
        await box.do(box.exodus, exodus("register", claim.posted.header, account, shown.witness))
    await field.l1.pass_time(TIMINGS.register_s)
    refund = exodus("refund", late, box.operator.pipeline.inbox.message(late))
    shares = {f"claim {account}": exodus("claim", account) for account in accounts} | {"refund": refund}
    money = {"withdraw": call("withdraw", *claim.arguments()), "claim_reward": call("claim_reward"),
             "release_bond": call("release_bond")}
    calls = [*(Call(box.proxy, forward(box.exodus, data)) for data in shares.values()),
             *(Call(box.proxy, forward(box.rollup, data)) for data in money.values())]
    trap = Trap(box, await box.hang(calls), (*shares, *money))
    before = await box.balance(box.proxy)
    await trap.spring(field, "a withdrawal", box.rollup, money["withdraw"])
    await trap.spring(field, "a refund", box.exodus, refund)
    for account in reversed(accounts):
        await trap.spring(field, "a claim", box.exodus, exodus("claim", account))
    got = await box.balance(box.proxy) - before
    field.check(got == 30 * USD + 100 * USD + AMOUNT, f"the villain's contract left with {got}")
    field.check(await box.ask("custody") == 0, "something is left of what was owed")
    await trap.prove(field)
    return f"{len(calls)} doors from within 4 payments, all locked"


def exodus(name: str, *args: object) -> bytes:
    """Calldata of Exodus."""
    return courts.encode_call(EXODUS, name, *args)


# --- other oddities ---------------------------------------------------------------------------------------------------


@attack("tokens", "Settle in a token that keeps a part of every transfer.", time_s=of_life)
async def token_with_a_fee(field: Field) -> str:
    box, trader = await opened(field)
    (claim,) = await withdrawn(box, trader, [trader.actor.address])
    await field.l1.must(trader.actor, box.rollup, call("leave_seat"))
    await field.l1.pass_time(TIMINGS.challenge_window_s)
    await box.set(FEE, 1)
    for data in (call("deposit", 0, trader.actor.address, USD), call("take_seat", BOND)):
        await field.refused(trader.actor, data, "TOKEN_FEE", to=box.rollup)
    await solvent(field, box)
    before = await box.balance(trader.actor.address)
    await field.l1.must(trader.actor, box.rollup, call("withdraw", *claim.arguments()))
    field.check(await box.balance(trader.actor.address) - before == AMOUNT * 99 // 100, "the fee is not the payee's")
    await solvent(field, box)
    return "nothing comes in that did not arrive whole; what goes out costs its owner the fee, and nobody else"


@attack("tokens", "Settle in a token that answers false and moves nothing.", time_s=of_life)
async def token_that_lies(field: Field) -> str:
    box, trader = await opened(field)
    (claim,) = await withdrawn(box, trader, [trader.actor.address])
    await dropped(box)
    await field.l1.pass_time(TIMINGS.challenge_window_s)
    await box.set(LIE, 1)
    pay = call("withdraw", *claim.arguments())
    for data, reason in (
            (call("deposit", 0, trader.actor.address, USD), "TRANSFER_FROM"), (call("force", b"\x01"), "TRANSFER_FROM"),
            (call("take_seat", BOND), "TRANSFER_FROM"), (pay, "TRANSFER")):
        await field.refused(trader.actor, data, reason, to=box.rollup)
    await field.refused(trader.actor, forward(box.rollup, call("claim_reward")), "TRANSFER", to=box.proxy)
    field.check(not await box.ask("is_paid", claim.number), "a payment that did not happen is in the books")
    await box.set(LIE, 0)
    await field.l1.must(trader.actor, box.rollup, pay)
    await box.do(box.rollup, call("claim_reward"))
    await solvent(field, box)
    return "neither money that did not come is credited, nor money that did not go is gone"


@attack("tokens", "Have the token refuse one payee, so that everybody's payments get stuck.", time_s=of_life)
async def token_that_refuses_somebody(field: Field) -> str:
    box, trader = await opened(field)
    outcast, other = await field.actor("outcast"), await field.actor("another", side="defence")
    stuck, claim = await withdrawn(box, trader, [outcast.address, other.address])
    await field.l1.pass_time(TIMINGS.challenge_window_s)
    await box.set(BLOCKED, int.from_bytes(outcast.address, "big"))
    said, _ = await field.l1.must_fail(outcast, box.rollup, call("withdraw", *stuck.arguments()))
    field.check(said == NO_REASON, f"the token was to refuse, L1 answered {said!r}")
    await field.l1.must(outcast, box.rollup, call("withdraw", *claim.arguments()))
    field.check(await box.balance(other.address) == AMOUNT, "somebody else's payment got stuck")
    transfer = call("transfer_claim", stuck.number, stuck.recipient, stuck.amount, other.address)
    await field.l1.must(outcast, box.rollup, transfer)
    await field.l1.must(outcast, box.rollup, call("withdraw", *stuck.arguments()))
    field.check(await box.balance(other.address) == 2 * AMOUNT, "a claim that was given away was not paid")
    await solvent(field, box)
    return "every payment stands alone; the outcast's claim is worth as much to others"
