"""A posting is reorganised away: lost, mined again at another time or in another order, or mined again late; 1 to 64.

The deepest batch stands ``depth`` blocks deep when L1 changes its mind; where there is room, another one builds on it,
and a deposit stands between. Mined again at another time, the first has another header, so that the second one, mined
again too, has no parent and reverts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reorgs.network import OPERATOR, PATIENT, TRADERS, Network, Sent, deployed, running
from tests.reorgs.oracle import Auditor
from tests.reorgs.play import begin, check, each, finish, sealed, trade

FORMS = ("lost", "again", "swapped", "late")
TWO_FROM = 16


async def batch(net: Network, auditor: Auditor) -> int:
    """Trade, and have it posted; returns the L1 block of the last posting."""
    await trade(net, auditor)
    await net.post_all(auditor.promised_end)
    return (await net.l1.logs("BatchPosted"))[-1].block_number


async def one_depth(net: Network, auditor: Auditor, depth: int, form: str) -> int:
    start = auditor.promised_end
    await net.l1.pause()
    block = await batch(net, auditor)
    if depth >= TWO_FROM:
        await net.l1.mine(depth // 4)
        await net.l1.resume()
        await net.world.deposit(TRADERS[0], "dora")
        await net.l1.pause()
        await batch(net, auditor)
    await net.l1.mine(depth - (await net.l1.number() - block + 1))
    await sealed(net, auditor)
    await auditor.collect(start)
    before = await net.l1.messages()
    assert await net.l1.number() - block + 1 == depth
    gone = await net.l1.since(block)
    await net.l1.jump(1)
    await net.l1.reorg(depth, in_new_branch(net, form, gone))
    after, survived = await net.l1.messages(), await net.posted()
    await net.l1.go_on()
    if form == "late":
        for sent in gone:
            await net.l1.offer(sent)
    return await check(net, auditor, before, after, survived)


def in_new_branch(net: Network, form: str, gone: list[Sent]) -> list[Sent]:
    """Which transactions the new branch has, in its order. One account's cannot change places."""
    operator = net.world.chain.signer(OPERATOR).address
    if form == "again":
        return gone
    return sorted(gone, key=lambda sent: sent.sender == operator) if form == "swapped" else []


@pytest.mark.parametrize("rounds", each(FORMS))
async def test_postings_come_and_go(tmp_path: Path, rounds: list[tuple[int, str]]) -> None:
    confirmations = 0 if rounds[0][1] in ("again", "swapped") else 3
    async with (deployed(tmp_path, PATIENT) as world,
                running(world, batcher={"confirmations": confirmations}) as net):
        auditor = await begin(net)
        for depth, form in rounds:
            await one_depth(net, auditor, depth, form)
        await finish(net, auditor)
