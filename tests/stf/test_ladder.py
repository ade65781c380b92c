"""The ladder that an account under margin goes down, rung by rung, and what each rung may cost whom.

One lot is worth 6 USD at the opening mark of 600,000 ticks; maintenance is 2.5%, initial margin 5%. Every chunk is
executed in both languages, and an independent model of the money watches every transaction.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from node.stf import encoding, margin, state
from node.stf.params import EXPOSURE_MAX, PREDICT_SLICE_PPM
from node.stf.settlement import GRACE_MS
from node.stf.types import FLAG_BUFFERED, HALTED, IOC, OPTIONS, SETTLING, Action, Board, Insurance, Status, Terms
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import shared_court
from tests.stf.model import Model
from tests.stf.world import World, buy, cancel_all, sell

USD = 1_000_000
MARK = 600_000
MARKET = {"fees": (0, 0), "impact": 0, "band": 100_000, "min_notional": 1}


@pytest.fixture
def world() -> World:
    """One market at its opening mark, in front of the model and the contract."""
    world = DifferentialWorld(shared_court())
    Model(world)
    world.block(world.l1_time * 1000)
    world.create_market(0, **MARKET)
    world.price({0: MARK})
    return world


def open_market(world: World, number: int, **changes: object) -> None:
    """Another market at the opening mark."""
    world.create_market(number, **{**MARKET, **changes})
    world.price({number: MARK})


def trade(world: World, long: int, short: int, lots: int, market: int = 0, price: int = MARK) -> None:
    """Lots change hands at a price, in an empty book."""
    assert world.actions(short, sell(market, price, lots, 900)).action_statuses == [Status.OK]
    receipt = world.actions(long, buy(market, price, lots, 901, tif=IOC))
    assert sum(fill.lots for fill in receipt.fills) == lots


def pair(world: World, usd: int = 330, lots: int = 1_000, market: int = 0) -> tuple[int, int]:
    """A thin long and a rich short."""
    poor, rich = world.deposit(f"poor {market}", usd * USD), world.deposit(f"rich {market}", 100_000 * USD)
    trade(world, poor, rich, lots, market)
    return poor, rich


def liquidate(world: World, account: int, market: int = 0) -> Status:
    return world.run(encoding.write_liquidate(account, market)).status


def health(world: World, account: int) -> Terms:
    """The rules' own view of an account, without a trace in the chunk's books."""
    mark = world.engine.mark()
    world.engine.bind()
    found = margin.health(account)
    world.engine.retract(mark)
    return found


def equity(world: World, account: int) -> int:
    """At last marks."""
    found = health(world, account)
    return found.equity + found.haircut


def board(world: World, market: int = 0) -> Board:
    return world.engine.ledger.boards[0][market]


def insurance(world: World, market: int = 0) -> Insurance:
    row = world.engine.ledger.markets[market]
    assert row is not None
    return row.insurance


def size(world: World, account: int, market: int = 0) -> int:
    return sum(p.size for p in world.engine.ledger.accounts[account].positions if p.market == market)


def used(world: World, account: int) -> int:
    return world.engine.ledger.accounts[account].buffer


# --- the buffer -------------------------------------------------------------------------------------------------------


def test_a_buffer_is_used_up_by_looks_and_then_liquidation_is_hard(world: World) -> None:
    world.configure_chain(buffer_ms=10_000, refill=10, closeout=500_000)
    poor, rich = pair(world)
    world.actions(rich, buy(0, 579_000, 5_000))
    world.price({0: 580_000})  # equity 130, maintenance 145, close-out 72.5
    assert liquidate(world, poor) == Status.BUFFERED
    assert used(world, poor) == 0
    world.block(4_000)
    assert liquidate(world, poor) == Status.BUFFERED
    assert used(world, poor) == 4_000
    world.block(20_000)  # nobody looked: it costs five seconds
    assert liquidate(world, poor) == Status.BUFFERED
    assert used(world, poor) == 9_000
    world.price({0: 580_000})
    world.block(3_000)
    assert liquidate(world, poor) == Status.OK
    assert size(world, poor) == 750
    world.cut()


def test_recovery_refills_the_buffer_slowly(world: World) -> None:
    world.configure_chain(buffer_ms=10_000, refill=10, closeout=500_000)
    poor, _rich = pair(world)
    world.price({0: 580_000})
    liquidate(world, poor)
    world.block(5_000)
    liquidate(world, poor)
    assert used(world, poor) == 5_000
    world.price({0: 590_000})
    world.block(999)
    assert liquidate(world, poor) == Status.RECOVERED
    assert used(world, poor) == 4_900
    assert liquidate(world, poor) == Status.NOT_LIQUIDATABLE
    world.block(20_000)
    world.price({0: 580_000})
    assert liquidate(world, poor) == Status.BUFFERED
    assert used(world, poor) == 4_900 - 2_000, "health between two falls counts without anybody's call"
    world.cut()


def test_the_close_out_ends_the_buffer_at_once(world: World) -> None:
    world.configure_chain(buffer_ms=600_000, refill=10, closeout=500_000)
    poor, rich = pair(world)
    world.actions(rich, buy(0, 573_000, 5_000))
    world.price({0: 573_000})  # equity 60
    assert liquidate(world, poor) == Status.OK
    assert size(world, poor) == 750
    world.cut()


def test_stale_prices_stop_the_clock(world: World) -> None:
    """Another market of the account is silent: this one's price is fresh, the buffer is not used."""
    world.configure_chain(buffer_ms=100_000, refill=10)
    open_market(world, 1)
    poor, rich = pair(world)
    trade(world, poor, rich, 1, 1)
    world.price({0: 580_000, 1: MARK})
    assert liquidate(world, poor) == Status.BUFFERED
    for _ in range(8):
        world.block(5_000)
        world.price({0: 580_000})
        assert liquidate(world, poor) == Status.BUFFERED
    before = used(world, poor)
    assert 20_000 < before <= 30_000
    world.block(5_000)
    world.price({0: 580_000})
    assert liquidate(world, poor) == Status.BUFFERED
    assert used(world, poor) == before, "while a price is stale"
    world.cut()


def test_orders_that_reduce_stay_in_the_buffer_and_those_that_add_go(world: World) -> None:
    world.configure_chain(buffer_ms=60_000, refill=10)
    poor, _rich = pair(world, usd=400)
    keep = replace(sell(0, 620_000, 100, 1), reduce_only=1)
    assert world.actions(poor, keep, buy(0, 560_000, 100, 2)).action_statuses == [Status.OK, Status.OK]
    world.price({0: 572_000})  # equity 120, maintenance 143
    assert liquidate(world, poor) == Status.BUFFERED
    row = world.engine.ledger.accounts[poor].positions[0]
    assert (row.buy_lots, row.reduce_lots) == (0, 100)
    out = world.actions(poor, sell(0, 610_000, 900, 3))
    assert out.action_statuses == [Status.OK], "reducing is always allowed"
    assert liquidate(world, poor) == Status.BUFFERED
    assert world.engine.ledger.accounts[poor].positions[0].sell_lots == 900
    world.cut()


# --- early reduction --------------------------------------------------------------------------------------------------


def risky(world: World, **changes: int) -> None:
    """Three deviations of 100 ppm a root second: over 600 s a shock of 0.735% of notional."""
    world.configure_chain(buffer_ms=600_000, refill=10, closeout=500_000, horizon_ms=600_000)
    world.configure_risk(0, **{"z": 300, "sigma_floor": 100_000, "near_band": 5_000, "reduce_cap": 0, **changes})
    world.price({0: MARK})


def test_a_threatened_account_is_reduced_in_small_slices_without_penalty(world: World) -> None:
    risky(world)
    poor, rich = pair(world)
    world.actions(rich, buy(0, 577_000, 5_000))
    world.price({0: 580_000})  # equity 130 - shock 42.6 > 72.5
    assert liquidate(world, poor) == Status.BUFFERED
    world.price({0: 577_000})  # equity 100
    before = health(world, poor)
    assert liquidate(world, poor) == Status.OK
    after = health(world, poor)
    assert size(world, poor) == 1_000 - 1_000 * PREDICT_SLICE_PPM // 10**6
    assert after.equity == before.equity, "at the mark, no fee and no penalty"
    assert insurance(world).cash == 0
    world.cut()


def test_early_reductions_of_a_block_are_capped(world: World) -> None:
    risky(world, reduce_cap=60_000)  # 60 of 1,000 lots
    poor, rich = pair(world)
    world.actions(rich, buy(0, 577_000, 5_000))
    world.price({0: 577_000})
    assert liquidate(world, poor) == Status.OK and size(world, poor) == 950
    assert liquidate(world, poor) == Status.OK and size(world, poor) == 943, "6% of 950 lots, rounded up, less 50"
    assert liquidate(world, poor) == Status.REDUCED_ENOUGH
    world.l1_time = world.time // 1000
    forced = encoding.write_liquidate(poor, 0)
    assert world.deliver(2, forced).status == Status.OK, "a forced one is not capped"
    assert size(world, poor) < 943
    world.block(1_000)
    assert liquidate(world, poor) == Status.OK, "a new block, a new cap"
    world.cut()


def test_early_reduction_refuses_prices_away_from_the_mark(world: World) -> None:
    risky(world)
    poor, rich = pair(world)
    world.actions(rich, buy(0, 570_000, 5_000))
    world.price({0: 577_000})
    assert liquidate(world, poor) == Status.NO_LIQUIDITY
    assert size(world, poor) == 1_000
    world.cut()


def test_healthy_accounts_are_reduced_only_if_they_opted_in(world: World) -> None:
    risky(world, sigma_floor=400_000)  # a shock of 2.9%
    poor, rich = pair(world, usd=400)
    world.price({0: 582_000})  # equity 220, maintenance 145.5
    world.actions(rich, buy(0, 582_000, 5_000))
    assert liquidate(world, poor) == Status.NOT_LIQUIDATABLE
    assert world.actions(poor, Action(OPTIONS, opt_in=1)).action_statuses == [Status.OK]
    assert liquidate(world, poor) == Status.OK
    assert size(world, poor) == 950
    assert world.engine.ledger.accounts[poor].flags & FLAG_BUFFERED == 0
    world.cut()


# --- hard liquidation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "share"),
    [(580_000, 206_897), (575_000, 886_957), (573_000, 1_000_000)],  # ppm of the penalty: a straight line from M to C
)
def test_the_penalty_rises_from_maintenance_to_close_out(world: World, mark: int, share: int) -> None:
    """Maintenance 145 at 580,000; equity 130: 15 of the 72.5 down to the close-out, a penalty of 0.2069%."""
    world.configure_chain(closeout=500_000)
    poor, rich = pair(world)
    world.actions(rich, buy(0, mark, 5_000))
    world.price({0: mark})
    before = health(world, poor)
    assert liquidate(world, poor) == Status.OK
    sold = 250 * mark * 10
    ppm = -(-10_000 * share // 10**6)
    kept = -(-before.equity * health(world, poor).maintenance // before.maintenance)
    expected = min(-(-sold * ppm // 10**6), before.equity - kept)
    assert insurance(world).cash == expected
    world.cut()


def test_a_penalty_never_leaves_the_account_worse_covered(world: World) -> None:
    world.create_market(1, **{**MARKET, "penalty": 1_000_000})
    world.price({1: MARK})
    poor, rich = pair(world, market=1)
    world.actions(rich, buy(1, 578_000, 5_000))
    world.price({1: 578_000})
    before = health(world, poor)
    assert liquidate(world, poor, 1) == Status.OK
    after = health(world, poor)
    assert after.equity * before.maintenance >= before.equity * after.maintenance
    assert insurance(world, 1).cash > 0
    world.cut()


# --- takeover ---------------------------------------------------------------------------------------------------------


def test_insurance_pays_the_debt_and_holds_the_position(world: World) -> None:
    poor, _rich = pair(world)
    world.donate(0, 500 * USD)
    resting = world.actions(poor, replace(sell(0, 640_000, 10, 1), reduce_only=1))
    assert resting.action_statuses == [Status.OK]
    world.price({0: 560_000})  # equity -70, and the fee held for the order
    debt = -equity(world, poor)
    assert liquidate(world, poor) == Status.OK
    assert equity(world, poor) == 0 and size(world, poor) == 0
    held = insurance(world)
    assert (held.size, held.cash, held.cost) == (1_000, 500 * USD - debt, 1_000 * 560_000 * 10)
    assert (board(world).loss_long, board(world).loss_short) == (0, 0)
    assert liquidate(world, poor) == Status.NO_POSITION
    fresh = world.deposit("fresh", 1_000 * USD)
    assert world.actions(fresh, buy(0, 560_000, 10)).action_statuses == [Status.OK], "who is flat may take its place"
    world.cut()


def test_what_insurance_lacks_the_other_side_shares_by_the_lot(world: World) -> None:
    poor, rich = pair(world, lots=700)
    second = world.deposit("second", 10_000 * USD)
    trade(world, poor, second, 300)
    world.donate(0, 10 * USD)
    world.price({0: 560_007})  # a debt of 69.93
    debt, others = -equity(world, poor), [equity(world, rich), equity(world, second)]
    lacks = debt - 10 * USD
    per_lot = -(-lacks // 1_000)
    assert liquidate(world, poor) == Status.OK
    assert board(world).loss_short == per_lot and board(world).loss_long == 0
    assert [equity(world, rich), equity(world, second)] == [others[0] - 700 * per_lot, others[1] - 300 * per_lot]
    assert insurance(world).cash == per_lot * 1_000 - lacks, "less than a micro-USD a lot is left over"
    late = world.deposit("late", 1_000 * USD)
    world.actions(rich, buy(0, 560_007, 10, 5))
    assert world.run(encoding.write_liquidate(0, 0)).status == Status.OK  # insurance sells
    assert equity(world, late) == 1_000 * USD
    world.cut()


def test_a_position_opened_after_a_loss_owes_nothing_of_it(world: World) -> None:
    poor, rich = pair(world)
    world.price({0: 560_000})
    assert liquidate(world, poor) == Status.OK
    lost = board(world).loss_short
    assert lost == 70_000
    while insurance(world).size:
        world.actions(rich, buy(0, 560_000, min(-size(world, rich), 250), 7))
        assert world.run(encoding.write_liquidate(0, 0)).status == Status.OK
    world.actions(rich, cancel_all(0))
    while world.run(encoding.write_sweep(0, 0)).status == Status.OK:
        pass
    long, short = world.deposit("long", 1_000 * USD), world.deposit("short", 1_000 * USD)
    trade(world, long, short, 100, price=560_000)
    assert (equity(world, long), equity(world, short)) == (1_000 * USD, 1_000 * USD)
    assert world.engine.ledger.accounts[short].positions[0].loss == lost
    trade(world, short, long, 200, price=560_000)  # both turn over
    assert [world.engine.ledger.accounts[a].positions[0].loss for a in (short, long)] == [0, lost]
    assert (equity(world, long), equity(world, short)) == (1_000 * USD, 1_000 * USD)
    assert world.engine.globals.losses_total == 0, "all that was charged has been paid"
    world.cut()


def test_with_nobody_on_the_other_side_insurance_goes_negative(world: World) -> None:
    """Both sides of a market went bankrupt, one after the other: insurance stands against itself and is flat."""
    a, b = world.deposit("a", 400 * USD), world.deposit("b", 400 * USD)
    trade(world, a, b, 1_000)
    world.price({0: 550_000})
    assert liquidate(world, a) == Status.OK  # long taken over: insurance +1,000; b pays the 100
    assert insurance(world).size == 1_000 and equity(world, b) == 800 * USD
    world.price({0: 650_000})  # b owes 200 and more; insurance has won 1,000
    assert liquidate(world, b) == Status.OK
    held = insurance(world)
    assert (held.size, held.cost, equity(world, a), equity(world, b)) == (0, 0, 0, 0)
    assert held.cash == 800 * USD, "all the money that there is"
    assert world.engine.ledger.markets[0].open_interest == 0  # type: ignore[union-attr]
    world.cut()


def test_insurance_goes_negative_when_only_insurance_is_opposite(world: World) -> None:
    a, b, c = (world.deposit(name, usd * USD) for name, usd in (("a", 330), ("b", 330), ("c", 100_000)))
    trade(world, a, c, 1_000)
    world.price({0: 560_000})
    assert liquidate(world, a) == Status.OK  # insurance +1,000 against c
    world.configure_risk(0, near_band=5_000)
    trade_in = world.actions(c, buy(0, 560_000, 1_000, 3))
    assert trade_in.action_statuses == [Status.OK]
    while insurance(world).size:
        assert world.run(encoding.write_liquidate(0, 0)).status == Status.OK
    cash = insurance(world).cash
    trade(world, b, c, 1_000, price=560_000)
    world.price({0: 600_000})
    world.actions(c, buy(0, 600_000, 1_000, 4))
    world.price({0: 520_000})
    assert liquidate(world, b) == Status.OK
    assert equity(world, b) == 0 and board(world).loss_short > 70_000
    assert insurance(world).cash >= cash
    world.cut()


def test_the_last_lot_against_insurance_does_not_pay_for_everybody(world: World) -> None:
    """Insurance holds 999 of 1,000 lots of the other side and no money; a debt is made in another market."""
    open_market(world, 1)
    bear, maker = world.deposit("bear", 400 * USD), world.deposit("maker", 10**6 * USD)
    long, last = world.deposit("long", 10_000 * USD), world.deposit("last", 10_000 * USD)
    trade(world, maker, bear, 999)
    world.price({0: 660_000})
    world.donate(0, 999 * 60_000 * 10 - 400 * USD)
    assert liquidate(world, bear) == Status.OK
    assert (insurance(world).size, insurance(world).cash) == (-999, 0)
    trade(world, long, maker, 999, price=660_000)
    trade(world, long, last, 1, price=660_000)
    trade(world, long, maker, 25_000, 1)
    world.price({1: 520_000})
    debt = -equity(world, long)
    assert debt == 10_000 * USD
    share = -(-debt * 6_600 // (6_600 + 130_000))
    assert liquidate(world, long) == Status.OK
    assert 10_000 * USD - equity(world, last) == -(-share // 1_000), "one part in a thousand"
    assert insurance(world).cash == -(-share // 1_000) - share
    world.cut()


def test_nobody_pays_more_for_a_lot_than_it_is_worth(world: World) -> None:
    """A short in a market of low margins loses many times its own: this market's share is beyond all reason."""
    open_market(world, 1, mm=(5_000, 500_000), im=(10_000, 1_000_000))
    poor, rich = world.deposit("poor", 40_000 * USD), world.deposit("rich", 10**7 * USD)
    trade(world, poor, rich, 1_000)
    trade(world, rich, poor, 100_000, 1)
    world.price({1: 60_000_000})
    before = equity(world, rich)
    assert liquidate(world, poor) == Status.OK
    assert board(world).loss_short == MARK * 10
    assert before - equity(world, rich) == 6_000 * USD
    assert insurance(world).cash < -10_000 * USD
    assert liquidate(world, poor, 1) == Status.OK
    assert equity(world, poor) == 0
    world.cut()


def test_debt_is_shared_by_the_markets_maintenance(world: World) -> None:
    open_market(world, 1, mm=(50_000, 500_000), im=(100_000, 1_000_000))
    poor, rich = world.deposit("poor", 700 * USD), world.deposit("rich", 100_000 * USD)
    trade(world, poor, rich, 1_000, 0)
    trade(world, poor, rich, 500, 1)
    world.donate(0, 1_000 * USD)
    world.donate(1, 1_000 * USD)
    world.price({0: 550_000, 1: 540_000})  # equity 700 - 500 - 300 = -100; maintenance 137.5 and 135
    assert equity(world, poor) == -100 * USD
    assert liquidate(world, poor, 0) == Status.OK
    first = 1_000 * USD - insurance(world, 0).cash
    assert first == -(-100 * USD * 1375 // 2725)
    assert equity(world, poor) == first - 100 * USD
    assert liquidate(world, poor, 1) == Status.OK
    assert 1_000 * USD - insurance(world, 1).cash == 100 * USD - first
    assert equity(world, poor) == 0
    world.cut()


def test_a_feared_loss_takes_nothing_over_and_nobody_is_paid_for_it(world: World) -> None:
    """A stale market worsens equity below zero: the fresh position may be reduced, but nobody owes anything."""
    open_market(world, 1, stale_ms=10_000)
    poor, rich = world.deposit("poor", 1_000 * USD), world.deposit("rich", 100_000 * USD)
    trade(world, poor, rich, 1_000, 0)
    trade(world, poor, rich, 1_000, 1)
    world.configure_risk(1, z=10_000, sigma_floor=1_000_000, addon_cap=500_000)
    world.price({1: MARK})
    world.donate(0, 1_000 * USD)
    world.actions(rich, buy(0, MARK, 5_000))
    world.block(25_000)
    world.price({0: MARK})
    found = health(world, poor)
    assert found.equity < 0 < found.equity + found.haircut
    own = world.actions(poor, sell(0, MARK, 10, 5, tif=IOC))
    assert own.action_statuses == [Status.OK] and size(world, poor, 0) == 990, "he may reduce himself"
    world.actions(rich, buy(0, MARK, 10, 6))
    trade_back = world.actions(poor, buy(0, MARK, 10, 7, tif=IOC))
    assert trade_back.action_statuses == [Status.INSUFFICIENT_MARGIN], "and not add"
    assert liquidate(world, poor, 0) == Status.OK
    assert size(world, poor, 0) == 742, "reduced, not taken over"
    assert insurance(world).cash == 1_000 * USD, "and no penalty, since it meets maintenance at last marks"
    assert equity(world, poor) == 1_000 * USD
    assert liquidate(world, poor, 1) == Status.STALE_PRICE
    world.cut()


def test_a_loss_index_at_its_bound_halts_the_market_and_moves_nothing(world: World) -> None:
    poor, rich = pair(world)
    world.price({0: 560_000})
    world.cut()
    paid = EXPOSURE_MAX // 10_000_000 - 60_000
    boards, row = copy(world.engine.ledger.boards[0]), world.engine.ledger.accounts[rich]
    boards[0].loss_short = row.positions[0].loss = paid  # shared before, and paid by the one who was there
    changes = {state.board_key(0): state.encode_boards(boards), state.account_key(rich): state.encode_account(row)}
    rewrite(world, changes)
    before = equity(world, rich), equity(world, poor)
    assert liquidate(world, poor) == Status.TOO_LARGE
    assert board(world).status == HALTED and board(world).loss_short == paid
    assert (equity(world, rich), equity(world, poor)) == before
    assert size(world, poor) == 1_000
    world.cut()


def rewrite(world: World, changes: dict[bytes, bytes | None]) -> None:
    """Other leaves under the same world, between two chunks."""
    world.store.apply(changes)
    if isinstance(world, DifferentialWorld):
        world.trie.apply(changes)
    world.engine = world.new_engine()
    world.engine.begin_chunk()
    world.engine.bind()
    state.get_collateral(1)  # so that rows are there to look at
    state.get_board(0)


# --- insurance's own position -----------------------------------------------------------------------------------------


def test_insurance_works_its_position_off_near_the_mark_only(world: World) -> None:
    world.configure_risk(0, near_band=5_000)
    poor, rich = pair(world)
    world.price({0: 560_000})
    assert liquidate(world, poor) == Status.OK
    assert world.run(encoding.write_liquidate(0, 0)).status == Status.NO_LIQUIDITY
    world.actions(rich, buy(0, 557_000, 500, 1))  # 0.54% under the mark
    assert world.run(encoding.write_liquidate(0, 0)).status == Status.NO_LIQUIDITY
    world.actions(rich, buy(0, 558_000, 500, 2))
    cash = insurance(world).cash
    receipt = world.run(encoding.write_liquidate(0, 0))
    assert receipt.status == Status.OK and sum(fill.lots for fill in receipt.fills) == 250
    held = insurance(world)
    assert held.size == 750 and held.cash == cash - 250 * 2_000 * 10
    world.price({0: 558_000})
    for _ in range(40):
        if world.run(encoding.write_liquidate(0, 0)).status != Status.OK:
            break
    held = insurance(world)
    assert (held.size, held.cost) == (0, 0)
    assert world.run(encoding.write_liquidate(0, 0)).status == Status.NO_POSITION
    world.cut()


def test_takeovers_of_both_sides_net(world: World) -> None:
    poor, rich = pair(world)
    bear, bull = world.deposit("bear", 330 * USD), world.deposit("bull", 100_000 * USD)
    trade(world, bull, bear, 400)
    world.price({0: 560_000})
    assert liquidate(world, poor) == Status.OK
    world.price({0: 690_000})
    assert equity(world, bear) < 0
    assert liquidate(world, bear) == Status.OK
    held = insurance(world)
    assert held.size == 600
    assert world.engine.ledger.markets[0].open_interest == 1_000  # type: ignore[union-attr]
    assert size(world, bull) == 400 and size(world, rich) == -1_000
    world.cut()


# --- settlement and outflow -------------------------------------------------------------------------------------------


def test_a_dated_future_settles_everybody_at_one_price(world: World) -> None:
    expiry = world.time + 3_600_000
    open_market(world, 1)
    world.configure_risk(1, expiry=expiry)
    long, short = world.deposit("long", 1_000 * USD), world.deposit("short", 1_000 * USD)
    trade(world, long, short, 1_000, 1)
    world.actions(long, sell(1, 620_000, 10, 5))
    assert world.run(encoding.write_settle(long, 1)).status == Status.NOT_SETTLING
    for _ in range(60):
        world.block(60_000)
        world.price({1: 610_000})
    assert board(world, 1).status == SETTLING and board(world, 1).mark == 610_000
    assert world.run(encoding.write_settle(short, 1)).status == Status.NOT_SETTLING, "debts first"
    world.block(GRACE_MS)
    assert world.run(encoding.write_settle(short, 1)).status == Status.OK
    assert insurance(world, 1).size == -1_000
    assert liquidate(world, long, 1) == Status.NOT_LIQUIDATABLE
    assert world.run(encoding.write_settle(long, 1)).status == Status.OK
    assert (insurance(world, 1).size, insurance(world, 1).cost, insurance(world, 1).cash) == (0, 0, 0)
    fee = 10_000  # of the dead order
    assert (equity(world, long), equity(world, short)) == (1_100 * USD - fee, 900 * USD)
    assert world.engine.ledger.markets[1].open_interest == 0  # type: ignore[union-attr]
    assert world.run(encoding.write_settle(short, 1)).status == Status.NO_POSITION
    world.cut()


def test_an_account_in_debt_is_taken_over_before_it_settles(world: World) -> None:
    expiry = world.time + 3_600_000
    open_market(world, 1)
    world.configure_risk(1, expiry=expiry)
    poor, rich = pair(world, market=1)
    for _ in range(60):
        world.block(60_000)
        world.price({1: 550_000})
    assert board(world, 1).status == SETTLING
    assert equity(world, poor) == -170 * USD
    assert world.run(encoding.write_settle(rich, 1)).status == Status.NOT_SETTLING, "winners cannot run from it"
    assert liquidate(world, poor, 1) == Status.OK
    assert equity(world, poor) == 0
    world.block(GRACE_MS)
    assert world.run(encoding.write_settle(rich, 1)).status == Status.OK
    assert equity(world, rich) == 100_000 * USD + 330 * USD, "what the bankrupt had, not what he owed"
    assert (insurance(world, 1).size, insurance(world, 1).cash) == (0, 0)
    world.cut()


def test_a_debt_that_nobody_took_over_in_time_is_not_settled(world: World) -> None:
    expiry = world.time + 3_600_000
    open_market(world, 1)
    world.configure_risk(1, expiry=expiry)
    poor, _rich = pair(world, market=1)
    for _ in range(60):
        world.block(60_000)
        world.price({1: 550_000})
    world.block(GRACE_MS)
    assert world.run(encoding.write_settle(poor, 1)).status == Status.INSUFFICIENT_MARGIN
    assert liquidate(world, poor, 1) == Status.OK
    world.cut()


def test_withdrawals_of_all_accounts_together_are_limited_per_hour(world: World) -> None:
    world.configure_chain(outflow_limit=360 * USD)
    a, b = world.deposit("a", 1_000 * USD), world.deposit("b", 1_000 * USD)
    assert world.withdraw(a, 361 * USD).status == Status.OUTFLOW_LIMIT
    assert world.withdraw(a, 300 * USD).status == Status.OK
    assert world.withdraw(b, 61 * USD).status == Status.OUTFLOW_LIMIT
    world.block(9_999)
    assert world.withdraw(b, 61 * USD).status == Status.OUTFLOW_LIMIT
    world.block(1)
    assert world.withdraw(b, 61 * USD).status == Status.OK
    assert world.withdraw(b, 1).status == Status.OUTFLOW_LIMIT
    world.block(3_600_000)
    assert world.withdraw(b, 360 * USD).status == Status.OK
    world.cut()
