"""Executing an explanation's chunk on its witness alone: every figure follows, and no other one does."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
import pytest
import trio

from node.rpc.explain.again import Differs, execute_again
from node.rpc.explain.methods import Explanation
from node.stf import witness
from node.stf.transition import InvalidChunk
from node.stf.types import BLOCK, ORACLE_PRICE
from node.stf.witness import BadWitness
from tests.explain.world import STORIES, as_json, chain_of, derived, explainer, played, tell
from tests.stf.world import DOMAIN

REFUSALS = (Differs, BadWitness, InvalidChunk, KeyError, IndexError, ValueError, AssertionError)


@pytest.mark.parametrize("path", [path for path in STORIES if path.stem.split("_")[0] not in ("S1", "S10")],
                         ids=lambda path: path.stem)
async def test_every_explanation_of_a_story_follows_from_its_witness(path: Any) -> None:
    chain = chain_of(played(path))
    explain = explainer(chain)
    executed = 0
    for number in range(1, chain.head.number + 1):
        for stored in chain.transactions(number):
            if stored.receipt.kind in (BLOCK, ORACLE_PRICE):
                continue
            found = msgspec.convert(as_json(await explain.explain(stored.receipt.position, None, True)), Explanation)
            shown = await execute_again(found, DOMAIN)
            assert "lead to the post-root" in shown[0]
            executed += 1
    assert executed > 5


@pytest.fixture(scope="module")
def liquidation() -> dict[str, Any]:
    """A liquidation with its whole witness, as a client gets it."""

    async def explain() -> dict[str, Any]:
        chain = (await derived(tell())).chain
        position = next(
            stored.receipt.position for number in range(1, chain.head.number + 1)
            for stored in chain.transactions(number) if stored.receipt.kind == 6 and stored.receipt.fills)
        found: dict[str, Any] = as_json(await explainer(chain).explain(position, None, True))
        return found

    return trio.run(explain)


async def test_the_honest_one_passes(liquidation: dict[str, Any]) -> None:
    assert len(await execute_again(msgspec.convert(liquidation, Explanation), DOMAIN)) == 2


def _without_a_leaf(answer: dict[str, Any]) -> None:
    """A witness that hides an account as if it were absent."""
    shown = witness.decode(bytes.fromhex(answer["evidence"]["witness"][2:]))
    leaves = [(key, b"" if key[:1] == b"A" else value) for key, value in shown.leaves]
    answer["evidence"]["witness"] = "0x" + witness.encode(witness.Witness(leaves, shown.ops, shown.hashes)).hex()


def _change(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no witness": lambda a: a["evidence"].update(witness="0x"),
    "hidden leaf": _without_a_leaf,
    "leaf": lambda a: a["evidence"].update(witness=_change(a["evidence"]["witness"], 1_000)),
    "pre-root": lambda a: a["evidence"].update(pre_root=a["evidence"]["post_root"]),
    "post-root": lambda a: a["evidence"].update(post_root=a["evidence"]["pre_root"]),
    "position": lambda a: a["receipt"].update(position=a["receipt"]["position"] + 1),
    "status": lambda a: a["receipt"].update(status="NO_LIQUIDITY"),
    "fill": lambda a: a["receipt"]["fills"][0].update(price=a["receipt"]["fills"][0]["price"] - 1),
    "leaf before": lambda a: a["evidence"]["before"].update(
        {key: _change(value, 20) for key, value in a["evidence"]["before"].items() if key[2:4] == "41"}),
    "figure": lambda a: a["steps"][0]["accounts"][0]["before"].update(equity=1),
    "formula": lambda a: a["steps"][0]["lines"][0].update(value=False),
    "step": lambda a: a["steps"][0]["fills"].clear(),
}


@pytest.mark.parametrize("lie", sorted(LIES))
async def test_a_lie_does_not_follow(lie: str, liquidation: dict[str, Any]) -> None:
    answer = deepcopy(liquidation)
    LIES[lie](answer)
    with pytest.raises(REFUSALS):
        await execute_again(msgspec.convert(answer, Explanation), DOMAIN)


async def test_another_rollup_s_signatures_do_not_pass(liquidation: dict[str, Any]) -> None:
    with pytest.raises(REFUSALS):
        await execute_again(msgspec.convert(liquidation, Explanation), bytes(32))
