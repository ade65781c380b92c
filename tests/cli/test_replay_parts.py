"""Tapes are read exactly, planned without self-trades, compared with causes; the plain book against a slower one."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from node.cli.tapes import compare
from node.cli.tapes.events import BUY, SELL, Event, Op, Quote, TapeError, parse_e8, show_e8
from node.cli.tapes.ladder import Ladder, Resting
from node.cli.tapes.plan import CANCEL, Market, PlanError, make_plan
from node.cli.tapes.player import group_steps
from node.cli.tapes.prepare import prepare
from node.cli.tapes.venues import find_quotes, read_quotes, read_tape

CENT = 1_000_000
BTC = 100_000_000


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def event(op: Op, id: int, side: int = BUY, price: str = "100", amount: str = "1", time: int = 1_000) -> Event:
    return Event(0, time, op, id, side, parse_e8(price), parse_e8(amount))


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text,value", [("1", 10**8), ("0.00000001", 1), ("1e-06", 100), ("236.47", 23_647_000_000)])
def test_numbers_are_exact(text: str, value: int) -> None:
    assert parse_e8(text) == value
    assert parse_e8(show_e8(value)) == value


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1.000000001", "one", "1e30"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        parse_e8(text)


def test_bitstamp_rows_become_events(tmp_path: Path) -> None:
    lines = [
        "ts_recv_ms,event,id,side,price,amount,order_ts_s", "5,order_created,7,bid,236.47,2.00000000,1",
        "6,order_changed,7,bid,236.47,1.5,1", "6,trade,9,,236.47,0.5,", "8,order_deleted,7,bid,236.47,0.00000000,1"]
    plain = write(tmp_path / "l3_x.csv", *lines)
    packed = tmp_path / "l3_x.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        tape = read_tape(path)
        assert tape.venue == "bitstamp"
        assert [e.op for e in tape.events] == [Op.CREATED, Op.CHANGED, Op.PRINT, Op.DELETED]
        assert tape.events[1] == Event(2, 6, Op.CHANGED, 7, BUY, 23_647_000_000, 150_000_000)
    assert len(read_tape(plain, limit=2).events) == 2
    assert find_quotes(plain) is None
    beside = write(tmp_path / "bbo_x.csv", "ts_recv_ms,bid_px,bid_amt,ask_px,ask_amt", "5,1,2,3,4")
    assert find_quotes(plain) == beside
    assert read_quotes(beside) == [Quote(1, 5, BTC, 2 * BTC, 3 * BTC, 4 * BTC)]


def test_binance_files_hold_several_recordings(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv",
        "capture,product,symbol,ts_recv_ns,ts_exch_ms,trade_id,price,qty,taker_side,exec_type",
        "a,usdm,BTCUSDT,1,10,1,100.10,0.001,sell,MARKET", "a,usdm,BTCUSDT,1,11,2,200,1,buy,INSURANCE_FUND",
        "a,usdm,BTCUSDT,1,12,3,100.20,0.002,buy,MARKET", "a,spot,ETHUSDT,1,12,4,10,1,buy,")
    tape = read_tape(path)
    assert tape.symbol == "a/usdm/BTCUSDT"
    assert [(e.id, e.side) for e in tape.events] == [(1, SELL), (3, BUY)], "an insurance fund's print is no trade"
    assert [e.id for e in read_tape(path, "ETHUSDT").events] == [4]
    with pytest.raises(TapeError, match="no trades of DOGE; it has a/spot/ETHUSDT, a/usdm/BTCUSDT"):
        read_tape(path, "DOGE")


@pytest.mark.parametrize("lines,problem", [
    (["a,b", "1,2"], "columns a,b are of no known tape"),
    (["seq,event,order_id,side,price,amount", "1,add,5,bid,1,x"], "line 2: 'x' is no number"),
    (["seq,event,order_id,side,price,amount", "1,jump,5,bid,1,1"], "line 2: 'jump'"),
    (["seq,event,order_id,side,price,amount"], "has no events"),
])
def test_bad_files_are_named(tmp_path: Path, lines: list[str], problem: str) -> None:
    with pytest.raises(TapeError, match=problem):
        read_tape(write(tmp_path / "bad.csv", *lines))
    with pytest.raises(TapeError, match="cannot be read"):
        read_tape(tmp_path / "missing.csv")


# --- the plain book ---------------------------------------------------------------------------------------------------


def slow_match(book: list[Resting], order: Resting) -> list[tuple[int, int, int]]:
    """Price-time priority by looking at every order, every time."""
    fills = []
    while order.lots:
        others = [o for o in book if o.side != order.side
                  and (o.price <= order.price if order.side == BUY else o.price >= order.price)]
        if not others:
            break
        best = min(others, key=lambda o: (o.price if order.side == BUY else -o.price, o.name))
        lots = min(best.lots, order.lots)
        fills.append((best.name, best.price, lots))
        order.lots -= lots
        best.lots -= lots
        if best.lots == 0:
            book.remove(best)
    if order.lots:
        book.append(order)
    return fills


@pytest.mark.parametrize("seed", range(20))
def test_the_plain_book_is_price_time(seed: int) -> None:
    rng = random.Random(seed)
    ladder, slow = Ladder(), []
    for name in range(1, 300):
        side, price, lots = rng.randrange(2), rng.randrange(95, 106), rng.randrange(1, 9)
        got = ladder.place(Resting(name, 0, side, price, lots))
        assert [(m.name, m.price, m.lots) for m in got] == slow_match(slow, Resting(name, 0, side, price, lots))
        if rng.random() < 0.3 and slow:
            gone = rng.choice(slow)
            slow.remove(gone)
            ladder.cancel(gone.name)
        bids = [o for o in slow if o.side == BUY]
        asks = [o for o in slow if o.side == SELL]
        bid, ask = max((o.price for o in bids), default=0), min((o.price for o in asks), default=0)
        sizes = sum(o.lots for o in bids if o.price == bid), sum(o.lots for o in asks if o.price == ask)
        assert ladder.top() == (bid, sizes[0], ask, sizes[1])
        assert {o.name: o.lots for o in slow} == {n: o.lots for n, o in ladder.orders.items()}


# --- planning ---------------------------------------------------------------------------------------------------------


def test_older_orders_stand_from_the_start_and_late_creations_come_early() -> None:
    events = [
        event(Op.CREATED, 1, time=1), event(Op.DELETED, 2, SELL, "101", "3", time=2),
        event(Op.CHANGED, 3, SELL, "102", "1", time=3), event(Op.PRINT, 9, BUY, "102", "0.5", time=3),
        event(Op.DELETED, 4, amount="0", time=4), event(Op.CREATED, 4, amount="2", time=5)]
    prepared = prepare(events, hindsight=True)
    assert prepared.older == {2, 3} and prepared.swapped == {4}
    seeds = [(e.op, e.id, e.time, e.amount) for e in prepared.events[:2]]
    assert seeds == [(Op.CREATED, 2, 1, 3 * BTC), (Op.CREATED, 3, 1, BTC * 3 // 2)]
    assert [(e.op, e.id) for e in prepared.events[-2:]] == [(Op.CREATED, 4), (Op.DELETED, 4)]
    assert len(prepare(events, hindsight=False).events) == len(events)


def test_fills_are_predicted_and_no_account_meets_itself() -> None:
    rng = random.Random(5)
    events = [
        event(Op.CREATED, n, rng.randrange(2), str(rng.randrange(95, 106)), str(rng.randrange(1, 9)), n)
        for n in range(1, 400)]
    _, plan = make_plan(events, CENT, accounts=20, turn=4, lots=[BTC])
    assert len(plan.matches) > 100
    owner = {step.name: step.account for step in plan.steps}
    assert all(owner[match.name] == match.account != step.account for step, match in plan.matches)


def test_what_the_venue_says_is_followed() -> None:
    events = [
        event(Op.CREATED, 1, amount="50", time=1), event(Op.CHANGED, 1, amount="20", time=2),
        event(Op.CHANGED, 1, price="99", amount="20", time=3), event(Op.DELETED, 1, price="99", amount="20", time=4),
        event(Op.DELETED, 1, price="99", amount="20", time=5), event(Op.DELETED, 8, time=6)]
    _, plan = make_plan(events, CENT, accounts=2, turn=9, lots=[BTC])
    assert [(s.op, s.price, s.lots) for s in plan.steps] == [
        ("place", 10_000, 50), ("cancel", 10_000, 50), ("place", 10_000, 20), ("cancel", 10_000, 20),
        ("place", 9_900, 20), ("cancel", 9_900, 20)]
    assert plan.counts == {
        "filled by what the tape does not show": 1, "moved to another price": 1, "said again after the end": 1,
        "ended without having begun": 1}


def test_fill_reports_may_come_one_by_one() -> None:
    """Our order takes two makers in one step; the venue says so in two: nothing is repaired."""
    events = [
        event(Op.CREATED, 1, SELL, "100", "20", 1), event(Op.CREATED, 2, SELL, "101", "20", 2),
        event(Op.CREATED, 3, BUY, "101", "50", 3), event(Op.CHANGED, 3, BUY, "101", "30", 4),
        event(Op.DELETED, 1, SELL, "100", "0", 4), event(Op.CHANGED, 3, BUY, "101", "10", 5),
        event(Op.DELETED, 2, SELL, "101", "0", 5), event(Op.CREATED, 4, BUY, "50", "1", 9_000)]
    _, plan = make_plan(events, CENT, accounts=3, turn=1, lots=[BTC])
    assert not plan.counts and len(plan.steps) == 4 and len(plan.matches) == 2


def test_a_fill_that_did_not_happen_there_is_taken_back() -> None:
    events = [
        event(Op.CREATED, 1, SELL, "100", "20", 1), event(Op.CREATED, 2, BUY, "100", "30", 2),
        event(Op.CHANGED, 2, BUY, "100", "25", 3), event(Op.CREATED, 3, BUY, "50", "1", 9_000)]
    _, plan = make_plan(events, CENT, accounts=3, turn=1, lots=[BTC])
    assert plan.counts["filled here, not there"] == 1
    assert [(s.op, s.lots) for s in plan.steps[-3:]] == [(CANCEL, 10), ("place", 25), ("place", 1)]


def test_the_smallest_lot_that_fits_is_taken() -> None:
    events = [event(Op.CREATED, 1, amount="200")]
    market, plan = make_plan(events, CENT, accounts=2, turn=1)
    assert market.lot == 100 and plan.steps[0].lots == 2 * 10**8
    with pytest.raises(PlanError, match="larger"):
        make_plan(events, CENT, accounts=2, turn=1, lots=[1])
    with pytest.raises(PlanError, match="crosses orders of all 2 accounts"):
        both = [event(Op.CREATED, n, SELL, str(100 + n), time=n) for n in (1, 2)]
        make_plan([*both, event(Op.CREATED, 3, BUY, "200", "9", 3)], CENT, accounts=2, turn=1, lots=[BTC])
    with pytest.raises(PlanError, match="two accounts"):
        make_plan(events, CENT, accounts=1, turn=1)


def test_lists_end_where_the_rules_need_it() -> None:
    events = [
        event(Op.CREATED, 1, SELL, "101", "10", 1), event(Op.CREATED, 2, SELL, "102", "10", 2),
        event(Op.DELETED, 1, SELL, "101", "10", 3), event(Op.CREATED, 3, BUY, "102", "10", 4),
        event(Op.CREATED, 4, BUY, "90", "10", 5)]
    _, plan = make_plan(events, CENT, accounts=2, turn=100, lots=[BTC])
    groups = [[(s.op, s.name) for s in group] for group in group_steps(plan.steps, 16)]
    assert groups == [[("place", 1), ("place", 2)], [("cancel", 1)], [("place", 3)], [("place", 4)]]
    assert max(len(g) for g in group_steps(plan.steps, 1)) == 1


# --- comparing --------------------------------------------------------------------------------------------------------


def test_differences_have_causes() -> None:
    market = Market(CENT, BTC)
    events = [event(Op.CREATED, 1, BUY, "100", "9", 1_000), event(Op.CREATED, 2, SELL, "103", "9", 1_000),
              event(Op.CREATED, 3, BUY, "101", "9", 2_000), event(Op.CREATED, 5, SELL, "102", "9", 5_000)]
    tops = {1: (10_000, 9, 10_300, 9), 2: (10_100, 9, 10_300, 9), 3: (10_100, 9, 10_200, 9)}

    def quote(time: int, bid: str, ask: str = "103", amount: str = "9") -> Quote:
        return Quote(1, time, parse_e8(bid), parse_e8(amount), parse_e8(ask), parse_e8("9"))

    cases = [
        (quote(1_500, "100"), None), (quote(2_005, "100"), compare.RACE), (quote(3_000, "101.50"), compare.UNNAMED),
        (quote(3_000, "100"), compare.UNSHOWN), (quote(500, "100"), None)]
    for row, cause in cases:
        result = compare.compare_quotes(events, tops, [row], market)
        assert list(result.causes) == ([cause] if cause else [])
        assert result.rows == (0 if row.time < 1_000 else 1)
    gone = {3: (10_000, 9, 10_200, 9)}
    assert list(compare.compare_quotes(events, gone, [quote(6_000, "101", "102")], market).causes) == [compare.MATCHED]
    older = compare.compare_quotes(events, tops, [quote(6_000, "100", "102")], market, frozenset({1}))
    assert list(older.causes) == [compare.OLDER]
    sizes = compare.compare_quotes(events, tops, [quote(1_500, "100", amount="90")], market)
    assert (sizes.prices, sizes.amounts) == (1, 0)


def test_trades_are_repeated_once_each() -> None:
    market = Market(CENT, BTC)
    events = [event(Op.PRINT, n, BUY, "100", "50", n) for n in (1, 2)]
    assert compare.compare_trades(events, [(10_000, 50)], market) == (1, 2)
    assert compare.compare_trades(events, [(10_000, 52), (10_000, 50)], market) == (2, 2)
    assert compare.compare_trades(events, [(10_100, 50), (10_000, 90)], market) == (0, 2)
