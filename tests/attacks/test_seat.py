"""Attempts to stop the rollup from the seat."""

from __future__ import annotations

from tests.contracts.world import BOND, PARAMS, World
from tests.evm import reverts


def test_holding_the_seat_and_doing_nothing_is_not_free() -> None:
    """Nobody else gets the seat while its holder evicts itself and sits down again; each round burns a tenth."""
    world = World()
    world.deposit()
    paid = 0
    for rounds in range(1, 4):
        world.evm.warp(PARAMS.seat_idle_s + 1)
        world.do(world.operator, "evict")
        with reverts("BOND_LOW"):
            world.do(world.operator, "take_seat", 0)
        world.do(world.operator, "take_seat", BOND // 10)
        paid += BOND // 10
        assert world.rollup.call("burned") == paid == rounds * BOND // 10
    world.do(world.operator, "leave_seat")
    world.evm.warp(PARAMS.bond_delay_s)
    before = world.token.call("balanceOf", world.operator)
    world.do(world.operator, "release_bond")
    assert world.token.call("balanceOf", world.operator) == before + BOND
    assert world.rollup.call("reserved") == paid
