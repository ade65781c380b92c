"""A deposit is reorganised away: before it was consumed, and after it was consumed and traded upon; depths 1 to 64.

What is 33 or more blocks deep was safe when the sequencer consumed it. Its account then trades, and batches with these
trades may be on L1, or wait for it. In the new branch the deposit is lost, or stands in it again, or comes later.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reorgs.network import PATIENT, SLOTS, TRADERS, Network, deployed, running
from tests.reorgs.oracle import Auditor
from tests.reorgs.play import begin, check, each, finish, sealed, trade
from tests.sequencer.l1_world import wait_for

POSTED_FROM = SLOTS + 16  # depths from which batches with the consumed deposit are on L1, too
FORMS = ("lost", "returned", "later")


async def consume(net: Network, auditor: Auditor, block: int, depth: int) -> None:
    """The deposit of an L1 block becomes safe and pays for a trade, which L1 has where the depth leaves room for it."""
    message = len(await net.l1.messages()) - 1
    await net.l1.mine(SLOTS)
    status = await wait_for(lambda: net.trader.rpc.call("al_status"), lambda status: status["cursor"] > message)
    await trade(net, auditor, status["accounts"])
    if depth >= POSTED_FROM:
        await net.post_all(auditor.promised_end)
    await net.l1.mine(depth - (await net.l1.number() - block + 1))


async def one_depth(net: Network, auditor: Auditor, depth: int, form: str) -> int:
    """Returns how many outcomes the reorganisation changed."""
    start = auditor.promised_end
    await net.world.deposit(TRADERS[0], "carol")
    block = await net.l1.number()
    await net.l1.pause()
    if depth <= SLOTS:
        await net.l1.mine(depth - 1)
        await trade(net, auditor)
    else:
        await consume(net, auditor, block, depth)
    await sealed(net, auditor)
    await auditor.collect(start)
    before = await net.l1.messages()
    assert await net.l1.number() - block + 1 == depth
    gone = await net.l1.since(block)
    await net.l1.reorg(depth, gone[:1] if form == "returned" else ())
    after, survived = await net.l1.messages(), await net.posted()
    await net.l1.go_on()
    if form == "later":
        await net.l1.offer(gone[0])
    return await check(net, auditor, before, after, survived)


@pytest.mark.parametrize("rounds", each(FORMS))
async def test_deposits_come_and_go(tmp_path: Path, rounds: list[tuple[int, str]]) -> None:
    async with deployed(tmp_path, PATIENT) as world, running(world) as net:
        auditor = await begin(net)
        changed = {}
        for depth, form in rounds:
            changed[depth] = await one_depth(net, auditor, depth, form)
        await finish(net, auditor)
        assert not any(changed[depth] for depth in changed if depth <= SLOTS), "nothing was consumed that is gone"
