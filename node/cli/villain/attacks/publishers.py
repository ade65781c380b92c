"""Publishers who lie: one alone, a whole quorum, a stranger, the past, the future, zero.

One of three moves nothing. A quorum that lies is right by the rules, so what counts is how fast it can hurt: a jump
waits, and what can leave in a window is bounded.
"""

from __future__ import annotations

from typing import Final

from node.cli.villain.attacks.traders import opened, posted_and_right
from node.cli.villain.catalogue import FEE, SCENE, SOME, TRADING, attack
from node.cli.villain.draft import Draft, buy, sell
from node.cli.villain.field import STAKE, USD, Field
from node.cli.villain.l1 import NotPlayable
from node.stf import encoding, state
from node.stf.types import Status

STEPS: Final = 12
STEP_MS: Final = 11_000  # longer than a jump has to hold
WALK_S: Final = STEPS * STEP_MS // 1_000 + 10


def mark(field: Field, draft: Draft) -> int:
    """The market's mark now, ticks."""
    draft.engine.bind()
    return state.get_board(field.market).mark


@attack("publishers", "One publisher of three multiplies its price by ten.", needs={SCENE}, apart=TRADING)
async def one_liar_of_three(field: Field) -> str:
    draft, m, price = await opened(field)
    draft.ok(draft.actions(field.traders["alice"], sell(m, price, 100, 1)))
    draft.ok(draft.actions(field.traders["bob"], buy(m, price, 100, 1)))
    for factor in (10, 0):
        draft.block(500)
        for slot in (0, 1):
            draft.run(draft.signed_price(slot, {m: price}))
        draft.run(draft.signed_price(2, {m: price * factor}))
        field.check(abs(mark(field, draft) - price) <= price // 100, "one liar moved the mark")
    await posted_and_right(field, draft)
    return "the median does not hear it"


@attack("publishers", "The whole quorum publishes a price of zero and of one tick, as an accident at a venue once did, "
        "and everybody is to be liquidated.", needs={SCENE}, apart=TRADING)
async def price_of_zero(field: Field) -> str:
    draft, m, price = await opened(field)
    draft.ok(draft.actions(field.traders["alice"], sell(m, price, 100, 1)))
    draft.ok(draft.actions(field.traders["bob"], buy(m, price, 100, 1)))
    answers = set()
    for low in (0, 1):
        draft.block(500)
        for slot in range(3):
            answers.add(Status(draft.run(draft.signed_price(slot, {m: low})).status))
        for name in ("alice", "bob"):
            liquidated = draft.run(encoding.write_liquidate(field.traders[name].account, m))
            field.check(liquidated.status in (Status.NOT_LIQUIDATABLE, Status.STALE_PRICE),
                        f"{name} was liquidated at a price of {low}: {Status(liquidated.status).name}")
    draft.block(500)
    draft.price({m: price})
    field.check(mark(field, draft) > price * 9 // 10, "the mark followed")
    await posted_and_right(field, draft)
    return f"zero is no price, one tick is a jump that waits ({', '.join(sorted(answer.name for answer in answers))})"


@attack("publishers", "A compromised quorum walks the price up inside the jump limit; its accomplice wins, and takes "
        "it all out at once.", needs={SCENE}, loses={"bob": SOME}, gains={"mallory": SOME}, apart={"alice", "carol"},
        time_s=lambda _terms: WALK_S)
async def compromised_quorum(field: Field) -> str:
    mallory = await field.trader("mallory", STAKE // USD)
    draft, m, price = await opened(field)
    limit = draft.engine.globals.outflow_limit
    if limit > STAKE:
        raise NotPlayable(f"{limit / USD:,.0f} USD may leave in a window, more than the villain can win")
    lots = 1_500
    draft.ok(draft.actions(field.traders["bob"], sell(m, price, lots, 1)))
    draft.ok(draft.actions(mallory, buy(m, price, lots, 1)))
    level = price
    for _ in range(STEPS):
        draft.block(STEP_MS)
        level = level * 104 // 100
        draft.price({m: level})
        account = field.traders["bob"].account
        draft.run(encoding.write_liquidate(account, m))
    draft.actions(field.traders["alice"], buy(m, level * 98 // 100, lots, 5))
    draft.actions(mallory, sell(m, level * 98 // 100, lots, 2))
    left, held_back = 0, 0
    for amount in (STAKE * 2, STAKE, STAKE // 2, limit, limit // 2, limit // 4, limit // 8):
        answer = draft.withdraw(mallory, amount).status
        left += amount if answer == Status.OK else 0
        held_back += answer == Status.OUTFLOW_LIMIT
    await field.l1.pass_time(WALK_S)
    field.check(left > 0 and held_back > 0, "the outflow limit was never met")
    field.check(left <= limit, f"{left / USD:,.0f} USD left in one window, the limit is {limit / USD:,.0f}")
    await posted_and_right(field, draft)
    return (f"the quorum is believed, step by step ({level * 100 // price - 100}% in {STEPS * STEP_MS // 1_000} s); "
            f"{left / USD:,.0f} USD could leave, of at most {limit / USD:,.0f} in a window: time to act")


@attack("publishers", "Publish somebody's price of a while ago once more, one of the future, and one out of order.",
        needs={SCENE}, apart=TRADING)
async def prices_out_of_time(field: Field) -> str:
    draft, m, price = await opened(field)
    old = draft.time
    draft.block(1_000)
    draft.price({m: price + 100})
    answers = [draft.run(draft.signed_price(0, {m: price * 11 // 10}, time_ms=at)).status
               for at in (old, old - 1, draft.time + 1, draft.time + 10**9)]
    field.check(set(answers) == {Status.BAD_TIME}, f"the rules answered {[Status(a).name for a in answers]}")
    again = draft.run(draft.signed_price(0, {m: price * 11 // 10}))
    field.check(again.status == Status.BAD_TIME, "a publisher spoke twice at one time")
    await posted_and_right(field, draft)
    return "a publisher's times only rise, and not past L2's"


@attack("publishers", "Force a price through L1 that no publisher has signed.", needs={SCENE}, loses={"mallory": FEE},
        apart=TRADING)
async def price_of_a_stranger(field: Field) -> str:
    mallory = await field.actor("mallory", usd=field.terms.force_fee // USD + 1)
    draft, m, price = await opened(field)
    forged = draft.signed_price(0, {m: price * 9 // 10}, signer=mallory, base=0)
    field.check(draft.run(draft.signed_price(0, {m: price * 9 // 10}, signer=mallory)).status != Status.OK,
                "the operator could slip in a stranger's price")
    await posted_and_right(field, draft)
    await field.force(mallory, forged)
    served = await field.operator.draft()
    served.block()
    answer = served.consume()[-1]
    field.check(answer.status != Status.OK, "a stranger's price was taken")
    await posted_and_right(field, served)
    return f"answered {Status(answer.status).name}"
