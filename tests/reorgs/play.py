"""What happens on a network before and after a reorganisation: trades, waiting, the oracle's whole round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import pytest

from node.rpc.client import RpcError
from node.stf.types import BUY, SELL
from tests.conftest import PROFILE
from tests.reorgs.network import DEPTH_MAX, SLOTS, TRADERS, Network
from tests.reorgs.oracle import Auditor
from tests.sequencer.l1_world import wait_for
from tests.system.test_loop import verifying

TRIES_MAX: Final = 5
ROUNDS_MAX: Final = 16  # in one network
ALL: Final = tuple(range(1, DEPTH_MAX + 1))
SOME: Final = (1, 2, 3, 5, 8, 13, 21, 31, 32, 33, 34, 40, 48, 49, 63, 64)


def each(forms: Sequence[str]) -> list[Any]:
    """Values of a test's ``rounds``: depths, each with a form of reorganisation, for one network. In the long profile
    every form with all depths; else some depths, those around the safe block and at the ends among them, and the forms
    in turn."""
    if PROFILE == "long":
        every = [[(depth, form) for depth in ALL] for form in forms]
    else:
        every = [[(depth, forms[(place + place // len(forms)) % len(forms)]) for place, depth in enumerate(SOME)]]
    parts = [rounds[at : at + ROUNDS_MAX] for rounds in every for at in range(0, len(rounds), ROUNDS_MAX)]
    return [pytest.param(part, id=f"{part[0][0]}-{part[-1][0]}-{'-'.join(sorted({form for _, form in part}))}")
            for part in parts]


async def begin(net: Network) -> Auditor:
    """Two traders with a position each, all of it on L1 and too deep to be reorganised."""
    auditor = Auditor(net)
    for index, name in zip(TRADERS, ("alice", "bob"), strict=True):
        await net.world.deposit(index, name)
    await net.l1.mine(SLOTS)
    await wait_for(lambda: net.trader.rpc.call("al_status"), lambda status: status["accounts"] == 2)
    await trade(net, auditor)
    await auditor.settle()
    await net.l1.mine(DEPTH_MAX)
    await auditor.settle()
    await auditor.collect(0)
    return auditor


async def trade(net: Network, auditor: Auditor, newcomer: int = 0) -> None:
    """A fill between old accounts, and one of the newcomer's, if it has a number. A message of a much later time,
    consumed just then, can make prices stale or signatures expire: then again."""
    takers = [(2, "bob")] + ([(newcomer, "carol")] if newcomer else [])
    for _ in range(TRIES_MAX):
        await net.keep_time()
        with suppress(RpcError):
            await net.trader.price()
            auditor.keep(await net.trader.place(1, "alice", SELL, 600_100, 2))
            answers = [auditor.keep(await net.trader.place(*taker, BUY, 600_100, 1)) for taker in takers]
            if all([fill["lots"] for fill in answer["fills"]] == [1] for answer in answers):
                return
    raise AssertionError("nobody could trade")


async def sealed(net: Network, auditor: Auditor) -> None:
    """Wait until all that was promised is in sealed blocks."""
    await wait_for(lambda: net.trader.rpc.call("al_block", ["unsafe"]),
                   lambda block: block["first_position"] + block["transactions"] >= auditor.promised_end)


async def check(net: Network, auditor: Auditor, before: Sequence[bytes], after: Sequence[bytes], survived: int) -> int:
    """Settle, then everything that must hold. ``before``, ``after``: the inbox on either side of the reorganisation,
    ``survived``: transactions that were on L1 right after it. Returns how many outcomes changed."""
    await auditor.settle()
    auditor.check_promises(survived)
    differing = await auditor.check_outcomes(before, after)
    await auditor.collect(survived)
    last = auditor.posted_end - 1
    await auditor.accuse(sorted({min(survived, last), last}))
    await auditor.check_bonds()
    return differing


async def finish(net: Network, auditor: Auditor) -> None:
    """All promises of the whole run, and a verifier that starts now, with an empty disk."""
    await auditor.settle()  # the last round may have been followed by messages that were consumed since
    auditor.check_promises()
    head = "0x" + auditor.chain.head_hash.hex()
    async with verifying(net.world, "fresh") as fresh:
        await wait_for(lambda: fresh.call("al_status"), lambda status: status["heads"]["safe"]["hash"] == head)
    assert auditor.checked and auditor.accusations
