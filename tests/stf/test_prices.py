"""Prices: medians, wild prints, jumps, the basis, the variance, settlement at expiry. Each call also runs in the
contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt

import pytest

from node.l1.deployment import MarketSpec
from node.stf import state
from node.stf.types import BUY, HALTED, OPEN, REDUCE_ONLY, SELL, SETTLING, Status
from tests.stf.prices import START, Prices

JUMPS = {"jump_limit": 50_000, "jump_hold": 10_000}
BASIS = {"basis_window": 60_000, "basis_cap": 5_000, "spread_max": 10_000}
VARIANCE = {"vol_window": 600_000, "vol_sample_ms": 10_000, "z": 300, "sigma_floor": 1_000}


@contextmanager
def prices(**parameters: int) -> Iterator[Prices]:
    """A market whose history the contract confirms at the end."""
    world = Prices(**parameters)
    yield world
    world.compare()
    assert world.gas, "something was published and replayed"


# --- the median -------------------------------------------------------------------------------------------------------


# Prints of real venues, in cents, and what the others showed in the same minutes: Bitfinex BTCUSD on 2013-04-10 and
# 11, and an insurance fund's fill on Binance's BTCUSDT perpetual on 2023-04-05.
WILD = [(1_990, 19_000, 18_200), (106, 15_000, 14_800), (2_872_250, 2_814_700, 2_814_710)]


@pytest.mark.parametrize(("wild", "low", "high"), [(w, min(a, b), max(a, b)) for w, a, b in WILD])
@pytest.mark.parametrize("slot", range(3))
def test_one_wild_print_leaves_the_mark_between_the_honest_slots(wild: int, low: int, high: int, slot: int) -> None:
    with prices() as world:
        world.all(low, high, low)
        honest = iter((low, high))
        world.at(START + 1_000)
        for publisher in range(3):
            world.publish(publisher, wild if publisher == slot else next(honest))
        assert low <= world.mark <= high


@pytest.mark.parametrize(("wild", "low", "high"), WILD[:2])
def test_a_wild_print_that_every_publisher_copies_moves_nothing_either(wild: int, low: int, high: int) -> None:
    with prices(**JUMPS) as world:
        world.all(low)
        assert world.step(1_000, wild) == low
        assert world.status() == REDUCE_ONLY
        assert world.step(1_000, high) == high
        assert world.status() == OPEN


def test_as_shipped_a_liar_beside_a_silent_publisher_moves_nothing() -> None:
    """Of two fresh slots the median is the mean, and no wait outlasts one that keeps lying: three must be fresh."""
    shipped = MarketSpec(0, "BTC-USD")
    with prices(quorum=shipped.quorum, stale_ms=shipped.stale_ms, jump_limit=shipped.jump_limit,
                jump_hold=shipped.jump_hold) as world:
        world.all(10_000)
        for _ in range(shipped.stale_ms // 1_000 + 1):  # slot 2 is silent from here on
            world.at(world.now + 1_000)
            world.publish(0, 10_000)
            world.publish(1, 10_000)
        assert not world.is_fresh()
        for _ in range(2 * shipped.jump_hold // 1_000):
            world.at(world.now + 1_000)
            world.publish(0, 10_000)
            world.publish(1, 30_000)
            assert (world.mark, world.is_fresh()) == (10_000, False)
        world.publish(2, 10_001)
        assert (world.mark, world.is_fresh()) == (10_001, True)


def test_an_even_count_takes_the_mean_of_the_middle_two_rounded_down() -> None:
    with prices(slots=4) as world:
        assert world.all(100, 103, 1, 4_000_000_000) == 101


def test_fewer_fresh_slots_than_the_quorum_keep_the_mark_which_goes_stale() -> None:
    with prices() as world:
        world.all(1_000)
        world.at(START + 30_000)
        assert world.is_fresh()
        world.at(START + 30_001)
        assert world.publish(0, 2_000) == Status.OK
        assert (world.mark, world.is_fresh()) == (1_000, False)
        world.publish(1, 2_000)
        assert world.publish(2, 2_000) == Status.OK
        assert (world.mark, world.is_fresh()) == (2_000, True)


def test_publishing_is_checked() -> None:
    with prices() as world:
        assert world.publish(0, 5, START + 1) == Status.BAD_TIME
        assert world.publish(0, 0) == Status.BAD_PRICE
        assert world.publish(5, 5) == Status.NO_PUBLISHER
        assert world.publish(0, 5, START - 9) == Status.OK
        assert world.publish(0, 5, START - 9) == Status.BAD_TIME
        with world.edit():
            board = world.board
            board.status = HALTED
            state.set_board(0, board)
        assert world.all(7) == 0, "a halted market has no new prices"
        assert world.status() == HALTED


# --- jumps ------------------------------------------------------------------------------------------------------------


def test_a_jump_is_believed_once_it_has_held() -> None:
    with prices(**JUMPS) as world:
        world.all(10_000)
        assert world.step(1_000, 10_500) == 10_500, "the limit itself is inside"
        assert world.step(1_000, 9_900) == 10_500
        assert not world.is_fresh(), "nobody acts at a price that everybody knows is gone"
        assert world.step(9_999, 9_800) == 10_500
        assert not world.is_fresh()
        assert world.step(1, 9_800) == 9_800
        assert world.is_fresh()
        assert world.status() == OPEN


def test_a_jump_that_was_none_leaves_a_fresh_price() -> None:
    with prices(**JUMPS) as world:
        world.all(10_000)
        assert world.step(1_000, 1) == 10_000
        assert not world.is_fresh()
        assert world.step(1_000, 10_100) == 10_100
        assert world.is_fresh()


def test_the_first_price_is_no_jump_and_a_limit_of_zero_is_off() -> None:
    with prices(**JUMPS) as world:
        assert world.all(7) == 7
    with prices() as world:
        world.all(7)
        assert world.step(1, 4_294_967_295) == 4_294_967_295


@pytest.mark.parametrize("percent", [94, 98, 102, 107])
def test_a_crash_that_runs_on_is_followed_within_two_holds(percent: int) -> None:
    """Some percent a second for a minute, up or down; a limit that the price keeps breaking does not freeze the
    mark."""
    with prices(slots=1, quorum=1, **JUMPS) as world:
        path = [1_000_000]
        world.all(path[0])
        for second in range(1, 61):
            path.append(path[-1] * percent // 100)
            mark = world.step(1_000, path[-1])
            shown = path[max(0, second - 21) :]
            assert min(shown) <= mark <= max(shown), "nothing is made up, and nothing older than two holds remains"


def test_what_was_shown_only_at_the_end_of_a_hold_is_not_believed_at_once() -> None:
    """Six percent for the hold, then a wild print at the very moment of belief: the index goes the six."""
    with prices(slots=1, quorum=1, **JUMPS) as world:
        world.all(100_000)
        for _ in range(10):
            assert world.step(1_000, 94_000) == 100_000
        assert world.step(1_000, 1) == 94_000
        assert world.status() == REDUCE_ONLY
        assert world.step(1_000, 94_000) == 94_000
        assert world.status() == OPEN


def test_a_jump_to_the_other_side_starts_its_own_hold() -> None:
    with prices(slots=1, quorum=1, **JUMPS) as world:
        world.all(10_000)
        world.step(1_000, 9_000)
        world.step(9_000, 11_000)
        assert world.step(9_000, 11_500) == 10_000
        assert world.step(1_000, 11_600) == 11_000, "11,000 held; 11,600 is a jump from there"
        assert world.step(1_000, 11_550) == 11_550


def test_small_steps_inside_one_sample_count_as_one_jump() -> None:
    with prices(**JUMPS, **VARIANCE) as world:
        world.all(100_000)
        world.step(10_000, 100_000)
        assert world.step(1_000, 96_000) == 96_000
        assert world.step(1_000, 92_000) == 96_000, "4% from the index, but 8% from the sample of 2 seconds ago"
        assert world.step(10_000, 92_000) == 92_000
        assert world.state.sample_price == 92_000, "what is let go is sampled, or it would wait for ever"
        assert world.step(1_000, 91_500) == 91_500
    with prices(**JUMPS) as world:
        world.all(100_000)
        marks = [world.step(1_000, price) for price in (96_000, 92_000)]
        assert marks == [96_000, 92_000], "without samples each stands alone"


def test_switching_the_limit_off_lets_a_waiting_price_in() -> None:
    with prices(**JUMPS) as world:
        world.all(100)
        world.step(1_000, 200)
        assert world.status() == REDUCE_ONLY
        world.set_config(jump_limit=0)
        assert world.step(1_000, 200) == 200
        assert world.status() == OPEN


def test_lowering_the_limit_makes_no_jump_of_what_is_believed() -> None:
    with prices(jump_limit=200_000, jump_hold=10_000, **VARIANCE | {"vol_sample_ms": 60_000}) as world:
        world.all(100_000)
        world.step(1_000, 110_000)
        assert (world.mark, world.state.sample_price) == (110_000, 100_000)
        world.set_config(jump_limit=50_000)
        assert world.step(1_000, 110_000) == 110_000
        assert world.status() == OPEN


# --- the basis --------------------------------------------------------------------------------------------------------


def test_the_basis_is_the_time_weighted_premium_of_the_mid() -> None:
    with prices(**BASIS) as world:
        world.all(100_000)
        world.quote(BUY, 100_099, 1)
        world.quote(SELL, 100_102, 2)
        expected = 0.0
        for _ in range(90):
            world.step(1_000, 100_000)
            expected = (expected * 60_000 + 100.5 * 1_000) / 61_000
        assert world.state.basis == pytest.approx(expected * 65_536, abs=100)
        assert world.mark == 100_000 + int(expected)


@pytest.mark.parametrize(("bid", "ask", "sign"), [(110_000, 110_010, 1), (90_000, 90_010, -1)])
def test_the_basis_is_capped(bid: int, ask: int, sign: int) -> None:
    with prices(**BASIS) as world:
        world.all(100_000)
        world.quote(BUY, bid, 1)
        world.quote(SELL, ask, 2)
        for _ in range(40):
            world.step(20_000, 100_000)
        assert sign * (world.mark - 100_000) == 499, "rounding toward zero never quite arrives"
        assert world.step(1_000, 50_000) == 50_000 + sign * 250, "and capped anew when the index falls"


def test_a_mark_stays_inside_its_32_bits() -> None:
    with prices(basis_window=1, basis_cap=1_000_000, spread_max=1_000_000) as world:
        world.all(4_294_967_000)
        world.quote(BUY, 4_294_967_294, 1)
        world.quote(SELL, 4_294_967_295, 2)
        for _ in range(20):
            assert world.step(1_000, 4_294_967_295) <= 4_294_967_295
        world.step(1_000, 1)
        assert world.step(1_000, 1) >= 1


@pytest.mark.parametrize("missing", ["bid", "ask", "dead bid", "wide"])
def test_without_live_tight_quotes_the_basis_keeps(missing: str) -> None:
    with prices(**BASIS) as world:
        world.all(100_000)
        if missing != "bid":
            world.quote(BUY, 99_000 if missing == "wide" else 100_000, 1, expiry=START if missing == "dead bid" else 0)
        if missing != "ask":
            world.quote(SELL, 100_400, 2)
        for _ in range(5):
            world.step(1_000, 100_000)
        assert world.state.basis == 0
        assert world.state.basis_time == world.now, "the time without quotes is not charged to the next sample"


def test_a_sample_after_an_outage_speaks_for_no_more_than_a_fresh_price() -> None:
    with prices(**BASIS | {"basis_window": 3_600_000}) as world:
        world.all(100_000)
        world.quote(BUY, 100_400, 1)
        world.quote(SELL, 100_401, 2)
        world.step(3_600_000, 100_000)
        assert world.state.basis <= 401 * 65_536 * 30_000 // 3_600_000


def test_a_window_of_zero_forgets_the_basis() -> None:
    with prices(**BASIS) as world:
        world.all(100_000)
        world.quote(BUY, 100_400, 1)
        world.quote(SELL, 100_401, 2)
        world.step(20_000, 100_000)
        assert world.mark > 100_000
        world.set_config(basis_window=0)
        assert world.step(1_000, 100_000) == 100_000
        assert world.state.basis == 0


# --- the variance -----------------------------------------------------------------------------------------------------


def test_the_variance_is_the_weighted_mean_of_squared_returns() -> None:
    with prices(slots=1, quorum=1, **VARIANCE) as world:
        price, expected = 1_000_000, 0.0
        world.all(price)
        for step in range(60):
            new = price * (1_003 if step % 2 else 998) // 1_000
            world.step(10_000, new)
            change = (new - price) / price * 1e9
            expected = (600_000 * expected + 1_000 * change**2) / 610_000
            price = new
            assert world.state.variance == pytest.approx(expected, rel=1e-6, abs=100)
        sigma = sqrt(expected)
        assert world.board.risk == pytest.approx(300 * sigma, rel=1e-6)


def test_samples_are_no_closer_than_their_interval() -> None:
    with prices(**VARIANCE) as world:
        world.all(1_000_000)
        world.step(9_999, 1_100_000)
        assert (world.state.variance, world.board.risk) == (0, 300 * 1_000)
        world.step(1, 1_100_000)
        assert world.state.variance > 0
        assert world.state.sample_price == 1_100_000


def test_the_variance_never_passes_its_64_bits() -> None:
    with prices(vol_window=1, z=65_535) as world:
        world.all(1)
        world.step(1, 4_294_967_295)
        world.step(1, 1)
        world.step(1, 4_294_967_295)
        assert world.state.variance == 2**64 - 1
        assert world.board.risk == 65_535 * (2**32 - 1)


def test_a_gap_after_an_outage_raises_the_variance_as_if_it_took_an_hour() -> None:
    with prices(**VARIANCE) as world:
        world.all(1_000_000)
        world.step(86_400_000, 1_100_000)
        assert world.state.variance == -(-1_000 * 100_000_000**2 // (600_000 + 3_600_000))


def test_new_parameters_change_the_risk_at_once() -> None:
    with prices(**VARIANCE) as world:
        world.all(1_000_000)
        assert world.board.risk == 300 * 1_000
        world.set_config(z=200, sigma_floor=5_000)
        world.configure()
        assert world.board.risk == 200 * 5_000
        world.set_config(z=0)
        world.configure()
        assert world.board.risk == 0


# --- expiry -----------------------------------------------------------------------------------------------------------

HOUR = 3_600_000


def test_a_dated_future_settles_at_the_mean_index_of_its_last_half_hour() -> None:
    with prices(expiry=START + HOUR, stale_ms=120_000) as world:
        world.all(50_000)
        total = 0
        for minute in range(1, 60):
            index = 50_000 if minute < 30 else 40_000 + 100 * minute
            world.step(60_000, index)
            total += index if minute >= 30 else 0
        assert world.status() == OPEN
        world.at(START + HOUR)
        assert world.status() == REDUCE_ONLY, "expired, and not yet settled"
        world.publish(0, 1)
        assert (world.board.status, world.mark) == (SETTLING, total // 30)
        assert world.status() == SETTLING
        assert world.publish(1, 99) == Status.MARKET_EXPIRED
        world.at(START + 1_000 * HOUR)
        assert world.is_fresh(), "a final price does not age"


def test_the_mark_of_a_dated_future_runs_into_its_settlement() -> None:
    """A move at the end counts for the time that is left: nobody is gapped into debt at expiry."""
    with prices(expiry=START + HOUR, stale_ms=120_000) as world:
        world.all(100_000)
        for _ in range(29):
            world.step(60_000, 100_000)
        assert world.step(60_000, 110_000) == 110_000, "the window begins: all of it is left"
        for _ in range(15):
            world.step(60_000, 110_000)
        last = world.step(14 * 60_000 + 30_000 - 1, 110_000)
        for _ in range(3):
            last = world.step(10_000, 150_000)
        world.at(START + HOUR)
        world.publish(0, 150_000)
        assert world.status() == SETTLING
        assert abs(world.mark - last) * 1_000 < last, "a third more index in the last half minute: a thousandth at most"


def test_only_fresh_time_counts_towards_settlement() -> None:
    with prices(expiry=START + HOUR) as world:
        world.at(START + HOUR - 1_000_000)
        world.all(100)
        world.step(500_000, 200)  # the 100 was fresh for 30 s of it
        world.at(START + HOUR + 5_000_000)
        world.publish(0, 7)
        assert world.mark == (100 * 30 + 200 * 30) // 60


def test_without_a_fresh_price_in_the_window_the_last_index_settles() -> None:
    with prices(expiry=START + HOUR) as world:
        world.all(123)
        world.at(START + HOUR)
        world.publish(0, 7)
        assert (world.board.status, world.mark) == (SETTLING, 123)


def test_a_settlement_cannot_be_pushed_through_the_book() -> None:
    with prices(expiry=START + HOUR, **BASIS) as world:
        world.at(START + HOUR - 100_000)
        world.all(100_000)
        world.quote(BUY, 104_000, 1)
        world.quote(SELL, 104_010, 2)
        marks = [world.step(10_000, 100_000) for _ in range(9)]
        assert max(marks) > 100_100, "the basis counts for the time that is left"
        assert marks[-1] < max(marks)
        world.at(START + HOUR)
        world.publish(0, 100_000)
        assert world.mark == 100_000


# --- the bound on work ------------------------------------------------------------------------------------------------


def test_a_price_costs_what_its_work_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The dearest publication: eight slots out of order, live quotes, a variance sample, a jump that is let go."""
    from node.stf.params import WORK_LEAF, WORK_PRICE

    with prices(slots=8, **BASIS, **VARIANCE, **JUMPS) as world:
        world.all(*range(100_000, 100_008))
        world.quote(BUY, 100_010, 1, size=-5, others=7, flags=1)
        world.quote(SELL, 100_011, 2, size=5, others=7, flags=1)
        falling = [93_000 - slot * 7 for slot in range(8)]
        world.step(1_000, *falling)
        world.step(12_000, *falling)
        world.step(12_000, *reversed(range(94_000, 94_008)))
        world.compare()
    dearest = max(world.gas)
    with capsys.disabled():
        print(f"\ngas of one price: {dearest}")
    assert dearest <= WORK_PRICE + 6 * WORK_LEAF
