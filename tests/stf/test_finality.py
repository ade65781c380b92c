"""The distance to L1: levels, the add-on, the haircut of stale markets. Each call also runs in the contract."""

from __future__ import annotations

from math import ceil, sqrt

import pytest

from node.stf import finality, state
from node.stf.types import (
    HALTED,
    LEVEL_HALT,
    LEVEL_OPEN,
    LEVEL_REDUCE,
    NO_SUCH_MARKET,
    OPEN,
    REDUCE_ONLY,
    SETTLING,
    Insurance,
)
from tests.stf.prices import START, Prices

LIMITS = {"anchor_interval": 60_000, "tau_reduce": 600_000, "tau_halt": 1_800_000}
RISK = 300 * 100_000  # three standard deviations of 0.01% per square root of a second


def anchored(risk: int = RISK, addon_cap: int = 200_000, **limits: int) -> Prices:
    world = Prices()
    world.set_chain(**LIMITS | limits)
    world.all(1_000)
    with world.edit():
        board = world.board
        board.risk, board.addon_cap = risk, addon_cap
        state.set_board(0, board)
    world.update()
    return world


def test_levels_rise_with_the_lag_and_fall_below_half_of_the_limit() -> None:
    world = anchored()
    seen = []
    for lag, notice in ((0, 0), (539_999, 0), (540_000, 0), (1_739_999, 0), (1_740_000, 0), (1_800_000, 900_000),
                        (1_800_000, 1_559_999), (1_800_000, 1_560_000), (1_800_000, 1_560_001), (1_900_000, 1_800_000)):
        world.at(START + lag)
        if notice:
            world.anchor(START + notice)
        world.update()
        seen.append(state.get_level())
    # tau = lag - notice + 60,000: reduce-only from 600,000, halted from 1,800,000, open again below 300,000
    assert seen == [LEVEL_OPEN, LEVEL_OPEN, LEVEL_REDUCE, LEVEL_REDUCE, LEVEL_HALT, LEVEL_REDUCE,
                    LEVEL_REDUCE, LEVEL_REDUCE, LEVEL_OPEN, LEVEL_OPEN]
    world.compare()


@pytest.mark.parametrize(("tau_reduce", "tau_halt", "levels"), [
    (0, 0, [0, 0, 0]), (0, 600_000, [0, 2, 0]), (600_000, 0, [0, 1, 0])])
def test_a_limit_of_zero_is_off(tau_reduce: int, tau_halt: int, levels: list[int]) -> None:
    world = anchored(tau_reduce=tau_reduce, tau_halt=tau_halt)
    seen = [state.get_level()]
    world.at(START + 4_000_000)
    world.update()
    seen.append(state.get_level())
    world.anchor(START + 4_000_000)
    world.update()
    assert [*seen, state.get_level()] == levels
    world.compare()


@pytest.mark.parametrize("level", [LEVEL_OPEN, LEVEL_REDUCE, LEVEL_HALT])
@pytest.mark.parametrize("tau", [0, 299_999, 300_000, 599_999, 600_000, 1_799_999, 1_800_000, 2**60])
def test_every_level_follows_from_tau_and_the_one_before(tau: int, level: int) -> None:
    expected = LEVEL_OPEN
    if tau >= 1_800_000:
        expected = LEVEL_HALT
    elif tau >= 600_000 or (tau >= 300_000 and level > LEVEL_OPEN):
        expected = LEVEL_REDUCE
    assert finality.level_of(tau, 600_000, 1_800_000, level) == expected


def test_before_the_first_anchor_the_clock_starts_with_the_chain() -> None:
    world = Prices()
    world.set_chain(**LIMITS)
    world.update()
    assert state.get_last_anchor() == START
    assert state.get_sqrt_tau() == int(sqrt(60_000 * 1_000))
    world.anchor(START + 5_000)
    world.update()
    assert state.get_last_anchor() == START, "no anchor covers time that has not been"
    world.compare()


def test_a_rollback_makes_the_lag_longer() -> None:
    world = anchored()
    world.at(START + 500_000)
    world.anchor(START + 490_000)
    world.update()
    near = world.rates()[0]
    world.anchor(START + 10_000)
    world.update()
    assert world.rates()[0] > near
    world.compare()


@pytest.mark.parametrize("lag", [0, 1, 59_999, 400_000, 4_000_000])
def test_the_add_on_is_z_sigma_root_tau(lag: int) -> None:
    world = anchored()
    world.at(START + lag)
    world.update()
    exact = 3 * 100_000e-9 * sqrt((lag + 60_000) / 1_000) * 1e6
    assert world.rates()[0] == pytest.approx(min(200_000, exact), abs=1 + exact / 1_000)
    assert world.rates()[0] >= min(200_000, int(exact * 0.999)), "rounded up"
    world.compare()


def test_the_haircut_grows_with_the_age_of_the_mark_not_with_the_lag() -> None:
    world = anchored()
    assert world.rates()[1] == 0
    world.at(START + 100_000)
    fresh_lag = world.rates()[1]
    assert fresh_lag == ceil(3 * 100_000e-9 * sqrt(100) * 1e6)
    world.anchor(START + 100_000)
    world.update()
    assert world.rates()[1] == fresh_lag
    world.at(START + 10**12)
    assert world.rates()[1] == 200_000, "the cap"
    world.compare()


def test_without_risk_there_is_neither() -> None:
    world = anchored(risk=0)
    world.at(START + 10**9)
    world.update()
    assert world.rates() == (0, 0)
    world.compare()


@pytest.mark.parametrize("own", [NO_SUCH_MARKET, OPEN, REDUCE_ONLY, HALTED, SETTLING])
@pytest.mark.parametrize("level", [LEVEL_OPEN, LEVEL_REDUCE, LEVEL_HALT])
@pytest.mark.parametrize("cause", ["none", "jump", "insured", "expired"])
def test_a_market_allows_the_least_of_what_limits_it(own: int, level: int, cause: str) -> None:
    world = Prices(expiry=START if cause == "expired" else START + 1)
    with world.edit():
        state.set_level(level)
        board, prices = world.board, world.state
        board.status = own
        state.set_board(0, board)
        prices.jump_price = 5 if cause == "jump" else 0
        state.set_price_state(0, prices)
        state.set_insurance(0, Insurance(size=-1 if cause == "insured" else 0))
    expected = OPEN
    if own == NO_SUCH_MARKET:
        expected = NO_SUCH_MARKET
    elif own == HALTED or level == LEVEL_HALT:
        expected = HALTED
    elif own == SETTLING:
        expected = SETTLING
    elif own == REDUCE_ONLY or level == LEVEL_REDUCE or cause in ("jump", "expired"):
        expected = REDUCE_ONLY
    assert world.status() == expected
    world.compare()
