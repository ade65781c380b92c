"""Attacks on prices and funding, each with what it can win at most. All chunks also run in the contract."""

from __future__ import annotations

import pytest

from node.rpc.methods.reader import Reader
from node.rpc.methods.risk import status_now
from node.stf.types import BUY, OPEN, REDUCE_ONLY, SELL, Status, Terms
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf.world import buy, cancel, sell

USD = 1_000_000
PRICE = 100_000  # ticks; a lot is 1 USD (10 micro-USD a tick and lot)
RULES = {
    "basis_window": 60_000, "basis_cap": 5_000, "spread_max": 10_000, "jump_limit": 50_000, "jump_hold": 10_000,
    "vol_window": 600_000, "vol_sample_ms": 10_000, "z": 300, "sigma_floor": 10_000, "addon_cap": 500_000,
}


@pytest.fixture(scope="module")
def court() -> Court:
    return Court()


def opened(court: Court) -> tuple[DifferentialWorld, int, int]:
    """A market with a price, and two rich accounts."""
    world = DifferentialWorld(court)
    world.create_market(0, fees=(0, 0))
    assert world.configure_risk(0, **RULES).status == Status.OK
    accounts = world.deposit("mallory", 100_000 * USD), world.deposit("victim", 100_000 * USD)
    world.price({0: PRICE})
    return world, *accounts


def test_pumping_the_mid_of_an_empty_book_moves_the_mark_by_the_cap_at_most(court: Court) -> None:
    """Alone in the book, Mallory bids far above the index for ten minutes: the mark follows slowly, to the cap."""
    world, mallory, _victim = opened(court)
    assert world.actions(mallory, buy(0, 104_000, 10, 1), sell(0, 104_010, 10, 2)).action_statuses == [0, 0]
    marks = []
    for _ in range(60):
        world.block(10_000)
        world.price({0: PRICE})
        marks.append(world.engine.ledger.boards[0][0].mark)
    assert marks[0] <= PRICE + 500 * 10 // 60, "one look is worth its time"
    assert max(marks) <= PRICE + PRICE * 5_000 // 1_000_000
    assert world.conserved()
    world.cut()


def test_funding_sniped_around_a_publication_is_bounded_by_one_fresh_interval(court: Court) -> None:
    """Who opens just before F moves shares in the time since the last look: stale_ms at the capped basis, no more."""
    world, mallory, victim = opened(court)
    world.actions(mallory, buy(0, 104_000, 10, 1), sell(0, 104_010, 10, 2))
    for _ in range(30):
        world.block(10_000)
        world.price({0: PRICE})
    for side, client in ((BUY, 1), (SELL, 2)):
        for (_market, at, place), order in list(world.engine.ledger.orders.items()):
            if at == side and order.client_id == client:
                price = place >> 64 if side == SELL else 2**32 - 1 - (place >> 64)
                world.actions(mallory, cancel(0, side, price, place & (2**64 - 1), client))
    world.block(29_999)  # the mark is about to go stale
    lots = 10_000
    assert world.actions(victim, buy(0, PRICE, lots, 5)).action_statuses == [0]
    assert world.actions(mallory, sell(0, PRICE, lots, 6)).action_statuses == [0]
    world.price({0: PRICE})
    assert world.actions(victim, sell(0, PRICE, lots, 7)).action_statuses == [0]
    assert world.actions(mallory, buy(0, PRICE, lots, 8)).action_statuses == [0]
    world.cut()
    collateral = [world.engine.ledger.accounts[account].collateral for account in (mallory, victim)]
    won = collateral[0] - 100_000 * USD
    bound = lots * PRICE * 10 * 5_000 // 1_000_000 * 30_001 // 28_800_000 + lots
    assert 0 < won <= bound, "a basis at its cap, 30 seconds, and rounding of each lot"
    assert sum(collateral) == 200_000 * USD, "what one wins the other pays"
    assert won < lots * PRICE * 10 * 500 // 1_000_000 // 50, "a fiftieth of one taker fee"


def test_publishers_who_walk_the_price_down_in_small_steps_are_held(court: Court) -> None:
    """All three publishers are bought: 4% a step, a step a second. A sample lets one through, then they must hold."""
    world, _mallory, _victim = opened(court)
    world.block(10_000)
    world.price({0: PRICE})
    price, marks = PRICE, []
    for _ in range(9):
        price = price * 96 // 100
        world.block(1_000)
        world.price({0: price})
        marks.append(world.engine.ledger.boards[0][0].mark)
    assert marks[0] == PRICE * 96 // 100
    assert set(marks[1:]) == {marks[0]}, "nine seconds, 31% claimed, 4% believed"
    world.cut()


def test_nobody_opens_risk_at_a_price_that_waits(court: Court) -> None:
    """While a jump is a candidate the old mark cannot be used at all: not to open, not to hand a position to a maker
    who will be in debt, not to withdraw. A median back inside the limit frees it at once."""
    world, mallory, victim = opened(court)
    world.actions(mallory, sell(0, PRICE, 100, 1))
    assert world.actions(victim, buy(0, PRICE, 100, 2)).action_statuses == [0]
    assert world.actions(mallory, sell(0, PRICE + 10, 100, 3)).action_statuses == [0]
    world.price({0: PRICE * 8 // 10})
    for order in (buy(0, PRICE + 10, 100, 4), sell(0, PRICE, 100, 5)):
        assert world.actions(victim, order).action_statuses == [Status.STALE_PRICE]
    assert world.withdraw(victim, 1).status == Status.STALE_PRICE
    world.block(1_000)
    world.price({0: PRICE})
    assert world.actions(mallory, buy(0, PRICE, 100, 5)).action_statuses == [0]
    assert world.actions(victim, sell(0, PRICE, 100, 6)).action_statuses == [0]
    assert world.engine.ledger.markets[0].open_interest == 0
    world.cut()


def test_level_and_lag_change_no_maintenance(court: Court) -> None:
    """The operator stops anchoring: initial margin rises, the market becomes reduce-only, maintenance stays."""
    world, mallory, victim = opened(court)
    assert world.configure_chain(anchor_interval=60_000, tau_reduce=600_000, tau_halt=3_600_000).status == Status.OK
    world.actions(mallory, sell(0, PRICE, 30_000, 1))
    assert world.actions(victim, buy(0, PRICE, 30_000, 2)).action_statuses == [0]
    before = health_of(world, victim)
    assert market_status(world) == OPEN
    for _ in range(70):
        world.block(10_000)
        world.price({0: PRICE})
    after = health_of(world, victim)
    assert market_status(world) == REDUCE_ONLY
    assert after.initial > before.initial
    assert (after.maintenance, after.equity) == (before.maintenance, before.equity)
    world.cut()


def health_of(world: DifferentialWorld, account: int) -> Terms:
    reader = Reader(world.engine)
    row = reader.account(account)
    assert row is not None
    return reader.health(row)


def market_status(world: DifferentialWorld) -> int:
    reader = Reader(world.engine)
    row = reader.market(0)
    assert row is not None
    return status_now(reader, reader.board(0), row)
