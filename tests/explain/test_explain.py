"""al_explain: every transaction of every story has an explanation, and it says what happened, in sums that add up."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.rpc.errors import RpcError
from node.rpc.explain.lines import evaluate, line, substitute
from node.rpc.explain.methods import Explanation
from node.rpc.explain.reasons import _REASONS
from node.rpc.explain.steps import Step
from node.rpc.methods.reads import Node, Reads
from node.stf import encoding
from node.stf.engine import Engine
from node.stf.types import Status
from tests.explain.world import STORIES, chain_of, derived, everything, explainer, played, tell


@pytest.fixture(scope="module")
def stories() -> dict[Path, list[Explanation]]:
    """Every transaction of every story, explained."""
    return {path: trio.run(everything, explainer(chain_of(played(path)))) for path in STORIES}


def steps_of(stories: dict[Path, list[Explanation]]) -> list[tuple[str, Explanation, Step]]:
    return [(f"{path.stem} position {explained.receipt.position}", explained, step)
            for path, all_of_it in stories.items() for explained in all_of_it for step in explained.steps]


def test_every_transaction_is_explained_as_it_was_executed(stories: dict[Path, list[Explanation]]) -> None:
    seen: set[str] = set()
    for path, all_of_it in stories.items():
        chain = chain_of(played(path))
        assert len(all_of_it) > 0.1 * (chain.head.first_position + chain.head.tx_count)
        for explained in all_of_it:
            found = chain.transaction(explained.receipt.position)
            assert found is not None
            names = [step.status.status for step in explained.steps]
            if explained.receipt.kind == "Actions" and found.receipt.status == Status.OK:
                assert names == [status.name for status in found.receipt.action_statuses]
            else:
                assert names == [found.receipt.status.name]
            fills = [item.fill for step in explained.steps for item in step.fills]
            assert fills == explained.receipt.fills
            seen.update(names)
    assert len(seen) >= 20, seen


def test_every_figure_is_what_its_numbers_come_to(stories: dict[Path, list[Explanation]]) -> None:
    checked = 0
    for place, _explained, step in steps_of(stories):
        lines = list(step.lines)
        for item in step.fills:
            lines += item.lines
        for account in step.accounts:
            for moment in (account.before, account.after):
                lines += [] if moment is None else moment.lines
                lines += [] if moment is None else [each for p in moment.positions for each in p.lines]
        for each in lines:
            assert evaluate(each.numbers) == each.value, (place, each)
            checked += 1
    assert checked > 10_000


def test_conditions_tell_refusals_from_acceptances(stories: dict[Path, list[Explanation]]) -> None:
    """What was accepted met every condition shown; what was refused for a reason that has a condition missed one."""
    refused: set[str] = set()
    for place, _explained, step in steps_of(stories):
        conditions = [each for each in step.lines if each.unit == "condition"]
        name = step.status.status
        if step.index is not None and name in ("OK", "PENDING"):
            reduces = any(a.after is not None and a.before is not None and a.after.equity < a.after.initial
                          for a in step.accounts)
            assert reduces or all(each.value for each in conditions), (place, step.what, conditions)
        if name in _REASONS and step.index is not None and conditions:
            assert not all(each.value for each in conditions), (place, step.what, conditions)
            refused.add(name)
    assert refused >= {"INSUFFICIENT_MARGIN", "FOK_UNFILLED", "REDUCE_ONLY_SIZE", "STALE_PRICE", "SWITCH_FIRED"}


def test_money_moves_as_the_fills_say(stories: dict[Path, list[Explanation]]) -> None:
    """Where nothing comes to rest or goes, collateral changes by exactly what is realized less fees."""
    checked = 0
    for place, explained, step in steps_of(stories):
        if explained.receipt.kind != "Actions" or not step.fills:
            continue
        for account in step.accounts:
            if account.before is None or account.after is None:
                continue
            if account.before.open_orders != account.after.open_orders:
                continue
            moved = 0
            for item in step.fills:
                for role, number in (("taker", item.fill.taker), ("maker", item.fill.maker)):
                    if number == account.account:
                        moved += sum(each.value for each in item.lines if each.name == f"{role}'s realized profit")
                        moved -= sum(each.value for each in item.lines if each.name.startswith(f"{role}'s fee"))
            assert account.after.collateral - account.before.collateral == moved, (place, step.what)
            checked += 1
    assert checked > 20


def test_liquidations_pay_what_their_lines_say(stories: dict[Path, list[Explanation]]) -> None:
    seen = {"penalty": 0, "takeover": 0, "shared": 0, "buffered": 0, "early": 0}
    for place, _explained, step in steps_of(stories):
        if not step.what.startswith("liquidate "):
            continue
        lines = {each.name: each.value for each in step.lines}
        (market,) = step.markets
        gained = market.after.insurance_cash - market.before.insurance_cash
        if "penalty paid to insurance" in lines:
            assert gained == lines["penalty paid to insurance"], place
            seen["penalty"] += 1
        if step.status.status == "OK" and "debt of this market's share" in lines:
            before, after = market.before, market.after
            rose = after.loss_long - before.loss_long + after.loss_short - before.loss_short
            assert rose == lines.get("loss that each of these lots bears, at most its worth", 0), place
            seen["takeover"] += 1
            seen["shared"] += rose > 0
        if step.status.status == "BUFFERED":
            (account,) = step.accounts
            assert account.after is not None and account.after.buffered, place
            used = lines.get("buffer used", lines.get("buffer used, less what health gave back"))
            assert used is not None and account.after.buffer_left_ms > 0
            seen["buffered"] += 1
        threatened = lines.get("a move of the horizon would take equity under close-out")
        seen["early"] += step.status.status == "OK" and threatened is True
    assert all(seen.values()), seen


def test_steps_of_a_list_join_up(stories: dict[Path, list[Explanation]]) -> None:
    joined = 0
    for _path, all_of_it in stories.items():
        for explained in all_of_it:
            for first, second in zip(explained.steps, explained.steps[1:], strict=False):
                after = {each.account: each.leaf_after for each in first.accounts}
                for each in second.accounts:
                    if each.account in after:
                        assert each.leaf_before == after[each.account]
                        joined += 1
    assert joined > 5


async def test_one_action_is_explained_as_in_the_whole_list() -> None:
    follower = await derived(tell())
    explain = explainer(follower.chain)
    position = next(found.receipt.position for number in range(1, follower.chain.head.number + 1)
                    for found in follower.chain.transactions(number) if len(found.receipt.action_statuses) == 7)
    whole = await explain.explain(position)
    for index in range(7):
        assert (await explain.explain(position, index)).steps == [whole.steps[index]]
    for wrong in (7, 10**6):
        with pytest.raises(RpcError, match="has 7 actions") as caught:
            await explain.explain(position, wrong)
        assert caught.value.data["param"] == "action"
    with pytest.raises(RpcError, match="no list of actions"):
        await explain.explain(0, 0)
    by_hash = await explain.explain(whole.receipt.hash)
    assert by_hash == whole


async def test_what_is_not_sealed_or_not_kept_is_named() -> None:
    follower = await derived(tell())
    chain = follower.chain
    explain = explainer(chain)
    end = chain.head.first_position + chain.head.tx_count
    with pytest.raises(RpcError, match=f"no transaction {end} in a sealed block here"):
        await explain.explain(end)
    chain.store.prune_undo(chain.head.number - 2)
    kept = chain.header(chain.head.number - 1)
    gone = chain.header(chain.head.number - 2)
    assert kept is not None and gone is not None
    assert (await explain.explain(kept.first_position)).receipt.block == kept.number
    with pytest.raises(RpcError, match=f"execute again what is after block {gone.number}.*keeps more undo records"):
        await explain.explain(gone.first_position)


async def test_no_more_wait_than_can_be_served() -> None:
    explain = explainer(chain_of(played(STORIES[-1])))
    answers: list[str] = []

    async def ask() -> None:
        try:
            await explain.explain(3)
            answers.append("explained")
        except RpcError as error:
            answers.append(error.data["kind"])

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(ask)
    assert sorted(set(answers)) == ["RateLimitExceeded", "explained"] and answers.count("explained") == 17


async def test_a_node_goes_on_while_it_explains() -> None:
    """The rules act on one bound ledger at a time: explanations in between change nothing of what a node executes."""
    world = played(STORIES[0])
    alone, beside = chain_of(world), chain_of(world)
    transactions = [encoding.write_block(250), *[encoding.write_continue(0), encoding.write_sweep(0, 0)] * 5]
    roots = []
    for chain, explains in ((alone, False), (beside, True)):
        engine = chain.engine(chain.message)
        engine.begin_chunk()
        done = 0

        async def execute(engine: Engine = engine) -> None:
            nonlocal done
            for data in transactions:
                engine.execute(data)
                done += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            if explains:
                nursery.start_soon(everything, explainer(chain))
            nursery.start_soon(execute)
        assert done == len(transactions)
        result = engine.end_chunk()
        roots.append((result.changes, result.work, result.proof, result.touched, result.ranges))
    assert roots[0] == roots[1]


def test_an_order_judged_by_margin_shows_the_account_with_it_open(stories: dict[Path, list[Explanation]]) -> None:
    refused = [step for _place, _explained, step in steps_of(stories) if step.status.status == "INSUFFICIENT_MARGIN"]
    assert refused
    for step in refused:
        if step.counted_open is not None and step.index is not None:
            (owner,) = [each for each in step.accounts if each.role in ("owner", "taker")]
            assert owner.before is not None and step.counted_open.initial > owner.before.initial
            assert step.counted_open.collateral == owner.before.collateral


# --- receipts ---------------------------------------------------------------------------------------------------------


async def test_receipts_name_the_withdrawal_they_created_and_explain_refusals() -> None:
    chain = (await derived(tell())).chain
    reads = Reads(Node("verifier", chain, chain.engine(chain.message), "0x" + "12" * 20, 901))
    receipts = [reads.receipt(position) for position in range(chain.head.first_position + chain.head.tx_count)]
    created = [(receipt.kind, receipt.withdrawal) for receipt in receipts if receipt.withdrawal is not None]
    assert created == [("Withdraw", 1), ("Inbox", 2)]
    for (_kind, number), amount in zip(created, (5_000_000, 7_000_000), strict=True):
        assert number is not None and reads.withdrawal_proof(number).amount == amount
    (refused,) = [r for r in receipts if r.status == "INSUFFICIENT_FREE"]
    assert [note.status for note in refused.notes] == ["INSUFFICIENT_FREE"] and "free" in refused.notes[0].remedy
    mixed = next(receipt for receipt in receipts if "PRICE_BAND" in receipt.statuses)
    assert [note.status for note in mixed.notes] == list(dict.fromkeys(s for s in mixed.statuses if s != "OK"))


# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "__import__('os')", "1 if 2 else 3", "a", "10**65", "1.5", "1 << 3", "(1).real", "max", "1 < 2 < 3", "div_up(1, 0)",
    "'1'", "True", "[1]", "min(*[1])", "div_up(a=1, b=2)", "1" * 5_000, ""])
def test_nothing_but_formulas_is_evaluated(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        evaluate(text)


def test_negative_numbers_keep_their_sign_in_a_formula() -> None:
    assert substitute("a - b * abs(c)", {"a": -1, "b": -2, "c": -3}) == "(-1) - (-2) * abs((-3))"
    assert line("x", "div_up(a, b)", a=-7, b=2).value == -3
    with pytest.raises(KeyError):
        substitute("a + b", {"a": 1})
