"""What L1 called final changes: the sequencer stops and says so. Started again, it still keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.errors import Critical
from tests.reorgs.network import DEPTH_MAX, PATIENT, deployed, running
from tests.reorgs.oracle import Auditor
from tests.reorgs.play import begin, check, finish, trade
from tests.sequencer.l1_world import World

STOP_S = 60
UNSEEN = 8  # newest blocks that the sequencer may not have looked at yet


async def lose_finality(world: World) -> tuple[Auditor, list[bytes]]:
    """Trade, then reorganise deeper than finality; returns what was promised, and the inbox before."""
    found: list[tuple[Auditor, list[bytes]]] = []
    with pytest.RaisesGroup(pytest.RaisesExc(Critical, match="a finalized L1 block changed"), flatten_subgroups=True):
        async with running(world) as net:
            auditor = await begin(net)
            start = auditor.promised_end
            await trade(net, auditor)
            await auditor.settle()
            await auditor.collect(start)
            found.append((auditor, await net.l1.messages()))
            await net.l1.reorg(DEPTH_MAX + UNSEEN)
            await trio.sleep(STOP_S)
            raise AssertionError("the sequencer goes on")
    return found[0]


async def test_a_reorganisation_below_finality_stops_the_sequencer(tmp_path: Path) -> None:
    async with deployed(tmp_path, PATIENT) as world:
        auditor, before = await lose_finality(world)
        async with running(world) as net:
            auditor.net = net
            await check(net, auditor, before, await net.l1.messages(), 0)
            await trade(net, auditor)
            await auditor.settle()
            await finish(net, auditor)
