"""An account's margin as a statement: every position's terms and their sum, formula by formula (node/stf/margin.py).

What the formulas come to is compared with the rules' own figures; an explanation that differs is never given.
"""

from __future__ import annotations

from typing import Final

import msgspec

from node.errors import Critical
from node.rpc.explain.lines import Line, line
from node.rpc.methods.reader import Reader
from node.stf.params import PPM
from node.stf.state import AccountRow
from node.stf.types import Board, Position, Terms

UNIT: Final = "mark * tick_value"
VALUE: Final = "size * unit - cost - size * (funding - funding_snapshot)"
NOTIONAL: Final = "abs(size) * unit"
RATE: Final = "min(cap, base + N // impact)"
FLAT_RATE: Final = "base"
REQUIREMENT: Final = f"div_up(N * rate, {PPM})"
EXPOSURE: Final = "max(abs(size + buy_lots), abs(size - sell_lots))"
INITIAL: Final = (f"div_up(X * rate, {PPM}) + max(0, buy_notional - buy_lots * unit) "
                  "+ max(0, sell_lots * unit - sell_notional)")
WITHDRAWABLE: Final = "max(0, equity - initial - profit)"


class PositionStatement(msgspec.Struct):
    """One position's part of an account's margin. Sizes are lots, money micro-USD, rates ppm."""

    market: int
    size: int
    cost: int
    mark: int
    mark_time: int
    fresh: bool
    value: int
    initial: int
    maintenance: int
    buy_lots: int
    sell_lots: int
    lines: list[Line]


class Statement(msgspec.Struct):
    """An account at one moment; ``withdrawable`` also needs fresh prices."""

    account: int
    time: int
    collateral: int
    equity: int
    initial: int
    maintenance: int
    profit: int
    withdrawable: int
    stale: int
    open_orders: int
    positions: list[PositionStatement]
    lines: list[Line]


def account_statement(reader: Reader, account: int) -> Statement | None:
    """The statement of an account as a reader's state has it; None for one that does not exist there."""
    row = reader.account(account)
    return None if row is None else row_statement(reader, account, row)


def row_statement(reader: Reader, account: int, row: AccountRow) -> Statement:
    """The statement of a row, which may be one that was thought up (an order counted as open, say)."""
    positions = [position_statement(reader, position, reader.board(position.market)) for position in row.positions]
    found = _sum(reader, account, row, positions)
    health = reader.health(row)
    _agree(account, (found.equity, found.initial, found.maintenance, found.profit), health)
    return found


def _sum(reader: Reader, account: int, row: AccountRow, positions: list[PositionStatement]) -> Statement:
    values = {f"value_{p.market}": p.value for p in positions}
    equity = line("equity", " + ".join(["collateral", *values]), collateral=row.collateral, **values)
    initial = _total("initial margin", "initial", {p.market: p.initial for p in positions})
    maintenance = _total("maintenance margin", "maintenance", {p.market: p.maintenance for p in positions})
    profit = sum(max(0, p.value) for p in positions)
    free = line("withdrawable", WITHDRAWABLE, equity=equity.value, initial=initial.value, profit=profit)
    return Statement(
        account, reader.ledger.g.time, row.collateral, equity.value, initial.value, maintenance.value, profit,
        free.value, sum(1 for p in positions if p.size and not p.fresh), row.open_orders, positions,
        [equity, initial, maintenance, free])


def _total(name: str, symbol: str, parts: dict[int, int]) -> Line:
    symbols = {f"{symbol}_{market}": value for market, value in parts.items()}
    return line(name, " + ".join(symbols) or "0", **symbols)


def position_statement(reader: Reader, p: Position, board: Board) -> PositionStatement:
    """The terms of one position (margin.terms) as lines."""
    unit = line("value of a lot", UNIT, mark=board.mark, tick_value=board.tick_value)
    value = line("unrealized profit", VALUE, size=p.size, unit=unit.value, cost=p.cost, funding=board.funding,
                 funding_snapshot=p.funding)
    notional = line("notional N", NOTIONAL, size=p.size, unit=unit.value)
    mm_rate = _rate("maintenance rate", notional.value, board.mm_base, board.mm_cap, board.impact)
    maintenance = line("maintenance", REQUIREMENT, N=notional.value, rate=mm_rate.value)
    exposure = line("exposure with open orders", EXPOSURE, "lots", size=p.size, buy_lots=p.buy_lots,
                    sell_lots=p.sell_lots)
    largest = line("notional X of the exposure", "exposure * unit", exposure=exposure.value, unit=unit.value)
    im_rate = _rate("initial rate", largest.value, board.im_base, board.im_cap, board.impact)
    initial = line(
        "initial", INITIAL, X=largest.value, rate=im_rate.value, buy_notional=p.buy_notional, buy_lots=p.buy_lots,
        unit=unit.value, sell_lots=p.sell_lots, sell_notional=p.sell_notional)
    return PositionStatement(
        p.market, p.size, p.cost, board.mark, board.mark_time, reader.is_fresh(board), value.value, initial.value,
        maintenance.value, p.buy_lots, p.sell_lots,
        [unit, value, notional, mm_rate, maintenance, exposure, largest, im_rate, initial])


def _rate(name: str, notional: int, base: int, cap: int, impact: int) -> Line:
    if impact == 0:
        return line(name, FLAT_RATE, "ppm", base=base)
    return line(name, RATE, "ppm", cap=cap, base=base, N=notional, impact=impact)


def _agree(account: int, found: tuple[int, int, int, int], health: Terms) -> None:
    expected = (health.equity, health.initial, health.maintenance, health.profit)
    if found != expected:
        names = ("equity", "initial", "maintenance", "profit")
        wrong = [f"{name} {a}, not {b}" for name, a, b in zip(names, found, expected, strict=True) if a != b]
        raise Critical(f"the formulas shown for account {account} differ from the rules: {', '.join(wrong)}; report this")
