"""`al_risk`: the chance that an account's cushion breaks before L1 knows, from a state that the rules have made."""

from __future__ import annotations

from math import sqrt
from random import Random
from statistics import NormalDist

import pytest

from node.rpc.methods.reader import Reader
from node.rpc.methods.risk import account_risk, break_probability, prices_info, status_now
from node.rpc.methods.shapes import PricesInfo, RiskInfo
from node.stf.types import OPEN, REDUCE_ONLY
from tests.stf.world import World, buy, sell


def test_the_formula_is_that_of_the_normal_distribution() -> None:
    for cushion, deviation in ((1, 1.0), (3, 1.0), (1_000_000, 400_000.0), (5, 50.0)):
        assert break_probability(cushion, deviation) == pytest.approx(2 * NormalDist().cdf(-cushion / deviation))
    assert break_probability(0, 0.0) == 1.0, "a cushion that is gone"
    assert break_probability(-5, 9.0) == 1.0
    assert break_probability(5, 0.0) == 0.0


def test_a_simulated_walk_breaks_about_as_often() -> None:
    """4,000 walks of 400 steps: touching a level is twice as likely as ending below it. Steps miss some touches."""
    rng = Random(7)
    touched = 0
    for _ in range(4_000):
        place = lowest = 0.0
        for _ in range(400):
            place += rng.gauss(0, 1 / 20)
            lowest = min(lowest, place)
        touched += lowest <= -1.2
    assert touched / 4_000 == pytest.approx(break_probability(12, 10.0), abs=0.03)


def ask(world: World, account: int, tau_ms: int | None = None) -> RiskInfo:
    reader = Reader(world.engine)
    row = reader.account(account)
    assert row is not None
    return account_risk(reader, account, row, tau_ms, 0)


def test_it_rests_on_the_rules_equity_margin_and_volatility() -> None:
    world = World()
    world.create_market()
    world.create_market(1)
    assert world.configure_risk(0, sigma_floor=100_000, z=300).status == 0
    assert world.configure_risk(1, sigma_floor=50_000).status == 0
    assert world.configure_chain(anchor_interval=60_000).status == 0
    long, short = world.deposit("long", 3_000_000_000), world.deposit("short", 50_000_000_000)
    world.price({0: 100_000, 1: 50_000})
    for market, price in ((0, 100_000), (1, 50_000)):
        world.actions(short, sell(market, price, 10_000))
        assert world.actions(long, buy(market, price, 10_000)).action_statuses == [0]
    found = ask(world, long)
    assert found.tau_ms == world.time - world.engine.globals.last_anchor + 60_000
    assert [(p.market, p.notional, p.sigma_ppb) for p in found.positions] == [
        (0, 10_000_000_000, 100_000), (1, 5_000_000_000, 50_000)]
    deviation = (10_000e6 * 100e-6 + 5_000e6 * 50e-6) * sqrt(found.tau_ms / 1_000)
    assert found.deviation == pytest.approx(deviation, abs=1)
    assert found.cushion == found.equity - found.maintenance > 0
    assert found.probability == pytest.approx(2 * NormalDist().cdf(-found.cushion / deviation))
    hour = ask(world, long, 3_600_000)
    assert hour.tau_ms == 3_600_000
    assert hour.probability > found.probability, "more time, more chances"
    assert ask(world, short, 3_600_000).probability < hour.probability, "more cushion, fewer"


def test_an_account_without_positions_cannot_break() -> None:
    world = World()
    account = world.deposit("idle", 1_000_000)
    assert ask(world, account).probability == 0.0


def test_markets_say_how_their_mark_comes_about() -> None:
    world = World()
    world.create_market()
    world.configure_risk(0, sigma_floor=100_000, z=300, addon_cap=200_000, jump_limit=50_000, jump_hold=10_000,
                         basis_window=60_000, basis_cap=10_000, spread_max=10_000)
    world.configure_chain(anchor_interval=60_000, tau_reduce=600_000)
    maker = world.deposit("maker", 50_000_000_000)
    world.price({0: 100_000})
    world.actions(maker, buy(0, 100_090, 100, 1), sell(0, 100_110, 100, 2))
    world.block(30_000)
    world.price({0: 100_000})
    reader = Reader(world.engine)

    def look() -> tuple[int, PricesInfo]:
        row = reader.market(0)
        assert row is not None
        return status_now(reader, reader.board(0), row), prices_info(reader, reader.board(0), row)

    status, found = look()
    assert (status, found.index, found.jump_price, found.sigma_ppb) == (OPEN, 100_000, 0, 100_000)
    assert found.basis == pytest.approx(100 * 30 / 90, abs=1)
    assert found.funding_bps_8h == pytest.approx(found.basis / 10)
    tau_s = (world.time - world.engine.globals.last_anchor + 60_000) / 1_000
    assert found.addon_ppm == pytest.approx(300 * sqrt(tau_s), abs=2)
    world.price({0: 90_000})
    status, found = look()
    assert (status, found.index, found.jump_price) == (REDUCE_ONLY, 100_000, 90_000)
    world.block(20_000)
    world.price({0: 90_000})
    assert look()[0] == OPEN
    world.block(600_000)
    assert look()[0] == REDUCE_ONLY, "un-anchored for too long"
