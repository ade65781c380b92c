"""Attempts to take money that is not one's own, within the rules: every chunk is executed in both languages."""

from __future__ import annotations

import pytest

from node.stf import encoding
from node.stf.types import IOC, Status
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf.world import address, buy, configure_market, private_key, sell

USD = 1_000_000
MARK = 600_000


@pytest.fixture(scope="session")
def court() -> Court:
    return Court()


def market(court: Court, **parameters: object) -> DifferentialWorld:
    """A world with one market, its price published."""
    world = DifferentialWorld(court)
    world.block(world.l1_time * 1000)
    world.create_market(0, fees=(0, 0), **parameters)
    world.price({0: MARK})
    return world


def equity(world: DifferentialWorld, account: int) -> int:
    """Collateral and open profit, read beside the rules: asking them would leave traces in the chunk's books."""
    ledger = world.engine.ledger
    row, boards = ledger.accounts[account], ledger.boards[0]
    return row.collateral + sum(
        p.size * boards[p.market].mark * boards[p.market].tick_value - p.cost for p in row.positions
    )


def squeezed(court: Court) -> tuple[DifferentialWorld, int, int]:
    """A trader 1,000 lots long just under maintenance margin, and a thief; nobody else bids."""
    world = market(court, impact=0)
    victim, thief, honest = (world.deposit(name, usd * USD) for name, usd in (("v", 330), ("t", 1_000), ("h", 10_000)))
    world.actions(honest, sell(0, MARK, 1_000))
    assert len(world.actions(victim, buy(0, MARK, 1_000, tif=IOC)).fills) == 1
    world.price({0: 580_000})
    assert 0 < equity(world, victim) < 580_000 * 10 * 1_000 * 25_000 // 10**6
    return world, victim, thief


def liquidate_all(world: DifferentialWorld, account: int) -> None:
    for _ in range(40):
        if world.run(encoding.write_liquidate(account, 0)).status != Status.OK:
            return


def test_a_thief_cannot_liquidate_an_account_into_debt(court: Court) -> None:
    """Alone in the book, the thief bids the worst price that the band allows, and liquidates: a solvent account sold
    below what covers it would end in debt, which others would pay. It may be sold down to zero, never below."""
    world, victim, thief = squeezed(court)
    before = equity(world, thief), equity(world, victim)
    world.actions(thief, buy(0, 551_000, 1_000))
    liquidate_all(world, victim)
    assert equity(world, victim) >= 0
    assert equity(world, thief) <= sum(before)
    world.cut()


def test_a_fair_bid_liquidates(court: Court) -> None:
    """At the mark, and at any price that leaves the account no worse covered than before."""
    world, victim, thief = squeezed(court)
    world.actions(thief, buy(0, 579_000, 1_000))
    assert world.run(encoding.write_liquidate(victim, 0)).status == Status.OK
    assert equity(world, victim) > 0
    world.cut()


def test_a_bankrupt_account_is_taken_over_at_the_mark_whatever_anybody_bids(court: Court) -> None:
    """With no equity left every discount would be others' money: it sells to nobody, insurance takes the position."""
    world, victim, thief = squeezed(court)
    world.price({0: 560_000})
    assert equity(world, victim) < 0
    world.actions(thief, buy(0, 547_000, 1_000))  # 2.3% under the mark
    before = equity(world, thief)
    receipt = world.run(encoding.write_liquidate(victim, 0))
    assert receipt.status == Status.OK and not receipt.fills
    assert equity(world, victim) == 0 and equity(world, thief) == before
    world.cut()


def test_a_stale_market_shields_nobody(court: Court) -> None:
    """One lot in a market whose publishers are silent must not put the rest of an account beyond liquidation."""
    world = market(court)
    world.create_market(1, fees=(0, 0), min_notional=1)
    world.price({1: MARK})
    poor, rich = world.deposit("p", 400 * USD), world.deposit("r", 10_000 * USD)
    for number, lots in ((0, 1_000), (1, 1)):
        world.actions(rich, sell(number, MARK, lots))
        assert len(world.actions(poor, buy(number, MARK, lots)).fills) == 1
    world.block(60_000)
    world.price({0: 560_000})
    world.actions(rich, buy(0, 560_000, 1_000))
    assert world.run(encoding.write_liquidate(poor, 0)).status == Status.OK
    world.cut()


def open_interest(world: DifferentialWorld) -> int:
    row = world.engine.ledger.markets[0]
    assert row is not None
    return row.open_interest


def test_turning_over_cannot_lift_open_interest_past_its_cap(court: Court) -> None:
    """A fill that turns a position over closes one half and opens the other: the half that opens counts."""
    world = market(court, oi_cap=1_000)
    a, b, c, d = (world.deposit(name, 100_000 * USD) for name in "abcd")
    world.actions(b, sell(0, MARK, 1_000))
    for long in (a, c):
        assert len(world.actions(long, buy(0, MARK, 500, tif=IOC)).fills) == 1
    assert open_interest(world) == 1_000
    world.actions(d, buy(0, MARK, 1_000))
    turned = world.actions(a, sell(0, MARK, 1_000, tif=IOC))  # from 500 long to 500 short, in one fill
    assert turned.action_statuses == [Status.OI_CAP]
    assert open_interest(world) == 1_000
    closed = world.actions(a, sell(0, MARK, 500, tif=IOC))
    assert closed.action_statuses == [Status.OK] and open_interest(world) == 1_000
    world.cut()


def test_an_order_that_waits_opens_nothing_in_a_market_that_now_only_reduces(court: Court) -> None:
    """It crossed before the market changed; what was not matched by then is new risk like any other's."""
    world = market(court)
    maker, taker = world.deposit("m", 100_000 * USD), world.deposit("t", 100_000 * USD)
    for first in (0, 10):
        world.actions(maker, *[sell(0, MARK, 20, first + i) for i in range(10)])
    assert world.actions(taker, buy(0, MARK, 400)).action_statuses == [Status.PENDING]
    assert world.deliver(6, configure_market(0, fees=(0, 0), status=2)).status == Status.OK
    receipt = world.run(encoding.write_continue(0))
    assert receipt.status == Status.MARKET_REDUCE_ONLY and not receipt.fills
    assert world.run(encoding.write_continue(0)).status == Status.NOT_PENDING
    world.cut()


def test_a_deposit_that_l1_reordered_stays_with_its_owner(court: Court) -> None:
    """A trader opens an account and tops it up; a reorganisation lets a stranger's deposit open that number first."""
    world = market(court)
    stranger = world.deposit("stranger", USD)
    owner = address(private_key("trader")).to_bytes(20, "big")
    assert world.deliver(1, stranger.to_bytes(4, "big") + owner + (500 * USD).to_bytes(8, "big")).status == Status.OK
    assert equity(world, stranger) == USD
    opened = world.engine.globals.next_account - 1
    assert opened != stranger and equity(world, opened) == 500 * USD
    world.keys[opened] = private_key("trader")
    assert world.withdraw(opened, 500 * USD).status == Status.OK
    mine = world.deliver(1, opened.to_bytes(4, "big") + owner + USD.to_bytes(8, "big"))
    assert mine.status == Status.OK and equity(world, opened) == USD
    world.cut()
