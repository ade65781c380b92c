"""An account's margin as a statement: every position's terms and their sum, formula by formula (node/stf/margin.py).

What the formulas come to is compared with the rules' own figures; an explanation that differs is never given.
"""

from __future__ import annotations

from typing import Final

import msgspec

from node.errors import Critical
from node.rpc.explain.lines import Line, line
from node.rpc.methods.reader import Reader
from node.stf import margin
from node.stf.state import AccountRow
from node.stf.types import FLAG_BUFFERED, Board, Position, Terms

UNIT: Final = "mark * tick_value"
VALUE: Final = ("size * unit - cost - size * (funding - funding_snapshot) "
                "- abs(size) * (loss_index - loss_snapshot)")
NOTIONAL: Final = "abs(size) * unit"
RATE: Final = "min(cap, base + N // impact)"
REQUIREMENT: Final = "div_up(N * rate, 10**6)"
EXPOSURE: Final = "max(abs(size + buy_lots), abs(size - sell_lots))"
ADDON: Final = "min(addon_cap, div_up(risk * root_tau, 10**8))"
HAIRCUT_RATE: Final = "min(addon_cap, div_up(risk * isqrt(age_ms * 1000), 10**8))"
INITIAL: Final = ("div_up(X * rate, 10**6) + max(0, buy_notional - buy_lots * unit) "
                  "+ max(0, sell_lots * unit - sell_notional)")
WITHDRAWABLE: Final = "max(0, equity - initial - profit)"
CLOSEOUT: Final = "div_up(maintenance * closeout_ppm, 10**6)"
SHOCK: Final = "div_up(risk_of_positions * root_horizon, 10**14)"
BUFFER_LEFT: Final = "max(0, buffer_ms - used)"


class PositionStatement(msgspec.Struct):
    """One position's part of an account's margin. Sizes are lots, money micro-USD; ``value`` is without haircut."""

    market: int
    size: int
    cost: int
    mark: int
    mark_time: int
    fresh: bool
    value: int
    haircut: int
    initial: int
    maintenance: int
    buy_lots: int
    sell_lots: int
    reduce_lots: int
    lines: list[Line]


class Statement(msgspec.Struct):
    """An account at one moment; ``withdrawable`` also needs fresh prices. Money is micro-USD."""

    account: int
    time: int
    collateral: int
    equity: int
    initial: int
    maintenance: int
    profit: int
    haircut: int
    closeout: int
    shock: int
    withdrawable: int
    stale: int
    open_orders: int
    buffered: bool
    buffer_left_ms: int
    positions: list[PositionStatement]
    lines: list[Line]


def account_statement(reader: Reader, account: int) -> Statement | None:
    """The statement of an account as a reader's state has it; None for one that does not exist there."""
    row = reader.account(account)
    return None if row is None else row_statement(reader, account, row)


def row_statement(reader: Reader, account: int, row: AccountRow) -> Statement:
    """The statement of a row, which may be one that was thought up (an order counted as open, say).

    Raises Critical if the formulas and the rules differ.
    """
    positions = [position_statement(reader, position, reader.board(position.market)) for position in row.positions]
    found = _sum(reader, account, row, positions)
    _agree(found, reader.health(row))
    return found


def _sum(reader: Reader, account: int, row: AccountRow, positions: list[PositionStatement]) -> Statement:
    chain = reader.ledger.g.chain
    values = {f"value_{p.market}": p.value for p in positions}
    cuts = {f"haircut_{p.market}": p.haircut for p in positions if p.haircut}
    text = " + ".join(["collateral", *values]) + "".join(f" - {name}" for name in cuts)
    equity = line("equity", text, collateral=row.collateral, **values, **cuts)
    initial = _total("initial margin", "initial", {p.market: p.initial for p in positions})
    maintenance = _total("maintenance margin", "maintenance", {p.market: p.maintenance for p in positions})
    profit = sum(max(0, p.value) for p in positions)
    free = line("withdrawable", WITHDRAWABLE, equity=equity.value, initial=initial.value, profit=profit)
    lines = [equity, initial, maintenance, free]
    closeout = line("close-out C", CLOSEOUT, maintenance=maintenance.value, closeout_ppm=chain.closeout)
    raw_shock = sum(abs(p.size) * p.mark * reader.board(p.market).tick_value * reader.board(p.market).risk
                    for p in positions)
    shock = line("shock over the horizon", SHOCK, risk_of_positions=raw_shock, root_horizon=chain.horizon_root)
    left = line("latency buffer left", BUFFER_LEFT, "ms", buffer_ms=chain.buffer_ms, used=row.buffer)
    lines += [each for each, matters in ((closeout, chain.closeout), (shock, raw_shock * chain.horizon_root),
                                         (left, chain.buffer_ms)) if matters]
    return Statement(
        account, reader.ledger.g.time, row.collateral, equity.value, initial.value, maintenance.value, profit,
        sum(p.haircut for p in positions), closeout.value, shock.value, free.value,
        sum(1 for p in positions if p.size and not p.fresh), row.open_orders, bool(row.flags & FLAG_BUFFERED),
        left.value, positions, lines)


def _total(name: str, symbol: str, parts: dict[int, int]) -> Line:
    symbols = {f"{symbol}_{market}": value for market, value in parts.items()}
    return line(name, " + ".join(symbols) or "0", **symbols)


def position_statement(reader: Reader, p: Position, board: Board) -> PositionStatement:
    """The terms of one position (margin.terms) as lines."""
    fresh = reader.is_fresh(board)
    unit = line("value of a lot", UNIT, mark=board.mark, tick_value=board.tick_value)
    value = line("unrealized profit", VALUE, size=p.size, unit=unit.value, cost=p.cost, funding=board.funding,
                 funding_snapshot=p.funding, loss_index=margin.loss_index(p.size, board), loss_snapshot=p.loss)
    notional = line("notional N", NOTIONAL, size=p.size, unit=unit.value)
    lines = [unit, value, notional]
    haircut = 0
    if p.size and not fresh:
        lines += _haircut(reader, board, notional.value)
        haircut = lines[-1].value
    mm_rate = _rate("maintenance rate", notional.value, board.mm_base, board.mm_cap, board.impact)
    maintenance = line("maintenance", REQUIREMENT, N=notional.value, rate=mm_rate.value)
    lines += [mm_rate, maintenance, *_initial(reader, p, board, unit.value)]
    return PositionStatement(
        p.market, p.size, p.cost, board.mark, board.mark_time, fresh, value.value, haircut, lines[-1].value,
        maintenance.value, p.buy_lots, p.sell_lots, p.reduce_lots, lines)


def _initial(reader: Reader, p: Position, board: Board, unit: int) -> list[Line]:
    exposure = line("exposure with open orders", EXPOSURE, "lots", size=p.size, buy_lots=p.buy_lots,
                    sell_lots=p.sell_lots)
    largest = line("notional X of the exposure", "exposure * unit", exposure=exposure.value, unit=unit)
    lines = [exposure, largest, _rate("initial rate", largest.value, board.im_base, board.im_cap, board.impact)]
    if board.risk:
        addon = line("add-on for un-anchored time", ADDON, "ppm", addon_cap=board.addon_cap, risk=board.risk,
                     root_tau=reader.ledger.g.sqrt_tau)
        lines += [addon, line("initial rate with the add-on", "min(10**6, rate + addon)", "ppm", rate=lines[-1].value,
                              addon=addon.value)]
    initial = line(
        "initial", INITIAL, X=largest.value, rate=lines[-1].value, buy_notional=p.buy_notional, buy_lots=p.buy_lots,
        unit=unit, sell_lots=p.sell_lots, sell_notional=p.sell_notional)
    return [*lines, initial]


def _haircut(reader: Reader, board: Board, notional: int) -> list[Line]:
    age = max(0, reader.ledger.g.time - board.mark_time)
    rate = line("what a stale price may have lost", HAIRCUT_RATE, "ppm", addon_cap=board.addon_cap, risk=board.risk,
                age_ms=age)
    return [rate, line("haircut", REQUIREMENT, N=notional, rate=rate.value)]


def _rate(name: str, notional: int, base: int, cap: int, impact: int) -> Line:
    if impact == 0:
        return line(name, "base", "ppm", base=base)
    return line(name, RATE, "ppm", cap=cap, base=base, N=notional, impact=impact)


def _agree(found: Statement, health: Terms) -> None:
    names = ("equity", "initial", "maintenance", "profit", "haircut", "stale")
    wrong = [f"{name} {getattr(found, name)}, not {getattr(health, name)}" for name in names
             if getattr(found, name) != getattr(health, name)]
    if wrong:
        raise Critical(f"the formulas shown for account {found.account} differ from the rules: {', '.join(wrong)}")
