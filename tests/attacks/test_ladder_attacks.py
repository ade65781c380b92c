"""Attacks on the ladder of liquidation, each with the most that it can win. Every chunk runs in both languages."""

from __future__ import annotations

import pytest

from node.stf import encoding
from node.stf.params import REST_FEE
from node.stf.types import IOC, Status
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import shared_court
from tests.stf.model import Model
from tests.stf.test_ladder import MARK, MARKET, USD, equity, health, insurance, liquidate, pair, size, used
from tests.stf.world import World, buy, sell


@pytest.fixture
def world() -> World:
    world = DifferentialWorld(shared_court())
    Model(world)
    world.block(world.l1_time * 1000)
    world.create_market(0, **MARKET)
    world.price({0: MARK})
    return world


def test_hovering_around_maintenance_does_not_refill_the_buffer(world: World) -> None:
    """A second below, a second above, for as long as it likes: it wins a twentieth of the time below."""
    world.configure_chain(buffer_ms=10_000, refill=20, closeout=500_000)
    poor, rich = pair(world)
    world.actions(rich, buy(0, 580_000, 5_000))
    below = 0
    for _ in range(40):
        world.price({0: 580_000})
        assert liquidate(world, poor) in (Status.BUFFERED, Status.OK)
        world.block(1_000)
        below += 1_000
        if liquidate(world, poor) == Status.OK:
            break
        world.price({0: 595_000})
        assert liquidate(world, poor) == Status.RECOVERED
        world.block(1_000)
    assert size(world, poor) < 1_000, "hard in the end"
    assert 10_000 <= below <= 12_000
    world.cut()


def test_nobody_looking_for_an_hour_and_then_one_look_refills_nothing_below_maintenance(world: World) -> None:
    """The time that counts as health begins with a look that found health."""
    world.configure_chain(buffer_ms=10_000, refill=20)
    poor, _rich = pair(world)
    world.price({0: 580_000})
    liquidate(world, poor)
    world.block(5_000)
    liquidate(world, poor)
    assert used(world, poor) == 5_000
    for _ in range(60):
        world.block(60_000)
        world.price({0: 580_000})
    assert liquidate(world, poor) == Status.NO_LIQUIDITY, "hard, and nobody bids"
    assert used(world, poor) == 10_000
    world.cut()


def test_early_slices_sold_to_their_caller_cost_the_near_band_at_most(world: World) -> None:
    """Alone in the book, the thief bids the near band's edge and calls as often as the block's cap lets him."""
    world.configure_chain(buffer_ms=600_000, refill=10, closeout=500_000, horizon_ms=600_000)
    world.configure_risk(0, z=300, sigma_floor=100_000, near_band=5_000, reduce_cap=60_000)
    victim, _rich = pair(world)
    thief = world.deposit("thief", 10_000 * USD)
    world.price({0: 577_000})
    before, held = health(world, victim), size(world, victim)
    world.actions(thief, buy(0, 574_115, 1_000))
    for _ in range(20):
        liquidate(world, victim)
    after, sold = health(world, victim), held - size(world, victim)
    assert 0 < sold <= 60
    assert before.equity - after.equity <= sold * 577_000 * 10 * 5_000 // 10**6
    assert after.equity * before.maintenance >= before.equity * after.maintenance
    assert equity(world, thief) + REST_FEE - 10_000 * USD == before.equity - after.equity
    world.cut()


def test_a_waiting_order_holds_a_liquidation_up_for_one_transaction(world: World) -> None:
    """An order that crosses more than sixteen makers leaves the market busy; anybody finishes it."""
    poor, rich = pair(world)
    thief = world.deposit("thief", 10_000 * USD)
    for first in (0, 10):
        world.actions(rich, *[buy(0, 570_000, 1, first + i) for i in range(10)])
    world.price({0: 570_000})
    assert world.actions(thief, sell(0, 570_000, 20, tif=IOC)).action_statuses == [Status.PENDING]
    assert liquidate(world, poor) == Status.MARKET_BUSY
    assert world.run(encoding.write_continue(0)).status == Status.OK
    world.actions(rich, buy(0, 570_000, 300, 30))
    assert liquidate(world, poor) == Status.OK
    world.cut()


def test_a_bankrupt_and_his_partner_win_what_the_price_moved_and_insurance_pays_once(world: World) -> None:
    """The oldest attack on leverage: both sides are one's own, the winner keeps, the loser walks away. The most it can
    win is what the move was worth beyond the loser's margin; asking twice wins nothing."""
    loser, winner = pair(world)
    world.donate(0, 1_000 * USD)
    world.price({0: 560_000})
    together = equity(world, loser) + equity(world, winner)
    debt = -equity(world, loser)
    assert liquidate(world, loser) == Status.OK
    assert equity(world, loser) + equity(world, winner) - together == debt == 70 * USD
    assert liquidate(world, loser) == Status.NO_POSITION
    assert insurance(world).cash == 1_000 * USD - debt
    world.cut()
