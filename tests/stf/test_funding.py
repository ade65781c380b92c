"""Funding: what accrues, when it pauses, and that it only moves money. Each call also runs in the contract."""

from __future__ import annotations

from fractions import Fraction

import pytest

from node.stf import funding, state
from node.stf.params import EXPOSURE_MAX, FUNDING_UNIT
from node.stf.types import HALTED, OPEN
from tests.stf.prices import START, Prices

EIGHT_HOURS = 28_800_000
TICK = 65_536


def market(
    basis: int, *, index: int = 100_000, stale_ms: int = 3_600_000, tick_value: int = 10, **config: int
) -> Prices:
    """A market with a basis of 2**-16 ticks that no quotes move."""
    world = Prices(slots=1, quorum=1, stale_ms=stale_ms, tick_value=tick_value,
                   **{"basis_window": 60_000, "basis_cap": 5_000} | config)
    world.all(index)
    with world.edit():
        prices = world.state
        prices.basis = basis
        state.set_price_state(0, prices)
    return world


@pytest.mark.parametrize("basis", [1, -1, 30])
def test_a_basis_of_some_ticks_costs_that_much_in_eight_hours(basis: int) -> None:
    world = market(basis * TICK)
    for _ in range(8):
        world.step(3_600_000, 100_000)
    assert world.board.funding == basis * 10
    assert world.state.funding_acc == 0
    world.compare()


def test_how_often_it_accrues_does_not_matter() -> None:
    """A thousand odd steps charge what one sum does: the rest that is no whole micro-USD is carried."""
    world = market(-7 * TICK - 12_345)
    total = 0
    for step in range(1, 1_001):
        world.step(step % 977 + 1, 100_000)
        total += step % 977 + 1
        assert abs(world.state.funding_acc) < FUNDING_UNIT
    exact = Fraction((-7 * TICK - 12_345) * 10 * total, FUNDING_UNIT)
    assert world.board.funding == -(-exact.numerator // exact.denominator), "rounded toward zero"
    world.compare()


def test_a_sign_change_pays_back() -> None:
    world = market(40 * TICK)
    world.step(3_600_000, 100_000)
    with world.edit():
        prices = world.state
        prices.basis = -40 * TICK
        state.set_price_state(0, prices)
    world.step(3_600_000, 100_000)
    assert (world.board.funding, world.state.funding_acc) == (0, 0)
    world.compare()


def test_the_past_is_charged_at_the_old_basis() -> None:
    """Quotes that appear with a publication change what is charged from then on."""
    world = market(0, spread_max=10_000)
    world.quote(0, 100_400, 1)
    world.quote(1, 100_401, 2)
    world.step(1_000_000, 100_000)
    assert world.state.basis > 0
    assert (world.board.funding, world.state.funding_acc) == (0, 0)
    world.step(1_000_000, 100_000)
    assert world.board.funding * FUNDING_UNIT + world.state.funding_acc > 0
    world.compare()


def test_it_pauses_while_prices_are_stale() -> None:
    world = market(8 * TICK, stale_ms=30_000)
    world.step(3_000_000, 100_000)
    charged = world.board.funding * FUNDING_UNIT + world.state.funding_acc
    assert charged == 8 * TICK * 10 * 30_000
    world.compare()


def test_a_step_charges_an_hour_at_most() -> None:
    world = market(8 * TICK, stale_ms=4_000_000_000)
    world.step(80 * EIGHT_HOURS, 100_000)
    assert world.board.funding == 8 * 10 // 8
    world.compare()


def test_dated_futures_pay_none() -> None:
    world = market(8 * TICK, expiry=START + 1_000_000_000)
    world.step(3_600_000, 100_000)
    assert (world.board.funding, world.state.funding_acc) == (0, 0)
    world.compare()


def test_an_index_that_would_pass_its_bound_halts_the_market_and_stays() -> None:
    cap, index = 1_000_000, 4_000_000_000
    tick_value = EXPOSURE_MAX // (2**32 * cap)
    world = market(index * TICK, index=index, tick_value=tick_value, basis_cap=1_000_000)
    with world.edit():
        config = state.get_market(0)
        config.oi_cap = cap
        state.set_market(0, config)
    hours = 0
    while world.board.status == OPEN:
        before = world.board.funding
        world.step(3_600_000, index)
        hours += 1
        assert hours < 20, "a bound that is never met"
    assert world.board.status == HALTED
    assert world.board.funding == before
    assert before * cap < EXPOSURE_MAX <= (before + index * tick_value // 8) * cap
    world.compare()


def test_more_lots_than_the_cap_count_in_the_bound() -> None:
    """A cap that was lowered under what is open must not let the index of the open ones overflow."""
    world = market(4_000 * TICK, index=1_000_000)
    with world.edit():
        config, board = state.get_market(0), world.board
        config.oi_cap = 1
        state.set_market(0, config)
        state.add_open_interest(0, 1_000_000)
        board.funding = EXPOSURE_MAX // 1_000_000
        state.set_board(0, board)
    world.step(3_600_000, 1_000_000)
    assert world.board.status == HALTED
    assert funding.index_fits(EXPOSURE_MAX - 1, 1)
    assert not funding.index_fits(-EXPOSURE_MAX, 1)
    world.compare()
