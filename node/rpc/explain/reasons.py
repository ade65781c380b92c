"""What decided: the conditions that a status stands for, with the numbers of the moment before.

The conditions are those of node/stf (book, accounts, liquidation); a refused action shows the one that failed, an
accepted one those that held. Where the rules judge an account with the order counted as open, so does this.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Final

from node.rpc.explain.decode import Intent
from node.rpc.explain.ladder import position_of
from node.rpc.explain.lines import Line, condition
from node.rpc.explain.statement import Statement, account_statement, row_statement
from node.rpc.methods.reader import Reader
from node.stf import accounts, book
from node.stf.params import (
    EXPIRY_AHEAD_MS,
    FOK_DEPTH_MAX,
    MATCH_STEPS,
    NONCE_AHEAD_MS,
    OPEN_ORDERS_MAX,
    OUTFLOW_WINDOW_MS,
    POSITIONS_MAX,
    REST_FEE,
)
from node.stf.state import AccountRow, MarketRow
from node.stf.types import (
    BUY,
    FOK,
    PLACE,
    TRIGGER,
    TRIGGER_FALL,
    TRIGGER_RISE,
    WITHDRAW,
    Action,
    Board,
    Key,
    Position,
    Status,
)


@dataclass(frozen=True, slots=True)
class Case:
    """An action, or a transaction without actions, before it ran. ``market`` is the one it names."""

    reader: Reader
    intent: Intent
    action: Action | None
    market: int

    @property
    def row(self) -> AccountRow | None:
        return self.reader.account(self.intent.account)

    @property
    def board(self) -> Board:
        return self.reader.board(self.market)

    @property
    def config(self) -> MarketRow | None:
        return self.reader.market(self.market)

    @property
    def now(self) -> int:
        return self.intent.time

    def position(self) -> Position:
        """The account's position in the market; an empty one where it has none."""
        return position_of(self.row, self.market)


def why(case: Case, status: Status) -> list[Line]:
    """The decisive conditions of a status."""
    if status == Status.OK or status == Status.PENDING:
        return _accepted(case)
    found = _REASONS.get(status.name)
    return found(case) if found is not None else []


def counted_open(case: Case) -> Statement | None:
    """The account with the whole order counted as open, as the rules judge it; None if that is not how."""
    action, row = case.action, case.row
    if action is None or action.op != PLACE or action.reduce_only or row is None:
        return None  # reduce-only orders are outside margin
    row = _with_open(row, case.market, case.board, action, action.lots)
    return row_statement(case.reader, case.intent.account, row)


def _accepted(case: Case) -> list[Line]:
    if case.action is not None:
        if case.action.op != PLACE:
            return []
        return [*_band(case), *(_reduces(case) if case.action.reduce_only else _margin(case))]
    return [*_free(case), *_outflow(case)] if case.intent.kind == WITHDRAW else []


# --- orders -----------------------------------------------------------------------------------------------------------


def _fresh(case: Case) -> list[Line]:
    """Of the market that is named; of all positions where the whole account is judged."""
    markets = [case.market]
    if case.intent.kind == WITHDRAW and case.row is not None:
        markets = [p.market for p in case.row.positions if p.size]
    return [
        condition(f"market {market} has a fresh price", "mark_time + stale_ms >= now", mark_time=board.mark_time,
                  stale_ms=board.stale_ms, now=case.now)
        for market in markets for board in (case.reader.board(market),)]


def _busy(case: Case) -> list[Line]:
    row = case.config
    return [] if row is None else [condition(
        "no order waits to be continued", "waiting_lots == 0", waiting_lots=row.pending.lots)]


def _band(case: Case) -> list[Line]:
    assert case.action is not None, "orders have bands"
    board, row = case.board, case.config
    if row is None:
        return []
    formula = "price * 10**6 <= mark * (10**6 + band)"
    if case.action.side != BUY:
        formula = "price * 10**6 >= mark * (10**6 - band)"
    return [condition("the limit is inside the band", formula, price=case.action.price, mark=board.mark,
                      band=row.config.band)]


def _least(case: Case) -> list[Line]:
    assert case.action is not None and case.config is not None, "a market judged the order"
    return [condition(
        "the order is large enough", "price * lots * tick_value >= min_notional", price=case.action.price,
        lots=case.action.lots, tick_value=case.board.tick_value, min_notional=case.config.config.min_notional)]


def _margin(case: Case) -> list[Line]:
    opened = counted_open(case)
    if opened is None:
        return []
    covered = condition("margin covers the order", "equity >= initial + rest_fee", equity=opened.equity,
                        initial=opened.initial, rest_fee=REST_FEE)
    lines = [_named(opened, "equity", "equity"),
             _named(opened, "initial margin", "initial margin with the order open"), covered]
    return lines if covered.value else [*lines, *_reduces(case)]


def next_fill(case: Case, late: Reader, filled: int) -> list[Line]:
    """Why an order that was margined when it came stopped after ``filled`` lots: the fill that it may not have.

    A fill-or-kill is judged with all of its fills at once.
    """
    action, row = case.action, late.account(case.intent.account)
    market = late.market(case.market) if late.board(case.market).status else None
    if action is None or row is None or market is None or action.op not in (PLACE, TRIGGER) or action.lots <= filled:
        return []
    met = _crossing(case, late, action, action.lots - filled) if action.op == PLACE else []
    if not met:
        return _holds(case, late, row)
    board = late.board(case.market)
    row = _with_open(row, case.market, board, action, action.lots - filled)
    before = row_statement(late, case.intent.account, row)
    at = next(i for i, p in enumerate(row.positions) if p.market == case.market)
    size = row.positions[at].size
    count = book.counting(action.tif, action.reduce_only)
    for price, lots in met:
        row.positions[at], change = book.moved(
            row.positions[at], action.side, lots, price, action.price, count, market.config.taker_fee, board)
        row.collateral += change
    after = row_statement(late, case.intent.account, row)
    total = sum(lots for _price, lots in met)
    lines = [condition(
        f"margin covers the next fill, {total:,} lots from {met[0][0]:,} ticks on", "equity_after >= initial_after",
        equity_after=after.equity, initial_after=after.initial)]
    if accounts.falls(size, total if action.side == BUY else -total):
        lines.append(condition(
            "or the account gets no worse",
            "min(equity_after, equity_after * maintenance - equity * maintenance_after) >= 0",
            equity_after=after.equity, maintenance=before.maintenance, equity=before.equity,
            maintenance_after=after.maintenance))
    return lines


def _crossing(case: Case, late: Reader, action: Action, lots: int) -> list[tuple[int, int]]:
    """(price, lots) of the fills that come next: one, or all that a fill-or-kill needs."""
    found: list[tuple[int, int]] = []
    side = 1 - action.side
    for price, seq, order in islice(late.side(case.market, side), MATCH_STEPS):
        if not lots or not book.reaches(action.side, action.price, price) or (found and action.tif != FOK):
            break
        if late.live(case.market, side, order, seq) and order.account != case.intent.account:
            found.append((price, min(lots, order.lots)))
            lots -= found[-1][1]
    return found


def _holds(case: Case, late: Reader, row: AccountRow) -> list[Line]:
    """What an account needs for an order to rest."""
    equity = row_statement(late, case.intent.account, row).equity
    return [condition("collateral can hold the fee of a resting order", "collateral >= rest_fee",
                      collateral=row.collateral, rest_fee=REST_FEE),
            condition("equity can hold it too", "equity >= rest_fee", equity=equity, rest_fee=REST_FEE)]


def _with_open(row: AccountRow, market: int, board: Board, action: Action, lots: int) -> AccountRow:
    """A copy of the account with lots of the order counted as open, settled as the rules settle it first."""
    row = deepcopy(row)
    if all(p.market != market for p in row.positions):
        row.positions.append(Position(market=market, funding=board.funding))
    position = accounts.settle(position_of(row, market), board)
    if action.reduce_only:
        position.reduce_lots += lots
    else:
        accounts.add_open(position, action.side, lots, action.price * lots * board.tick_value)
    return row


def _named(statement: Statement, name: str, shown: str) -> Line:
    found = next(each for each in statement.lines if each.name == name)
    return Line(shown, found.formula, found.numbers, found.value, found.unit)


def _cap(case: Case) -> list[Line]:
    row, action, position = case.config, case.action, case.position()
    if row is None or action is None:
        return []
    buys, sells = position.buy_lots, position.sell_lots
    exposure = "max(abs(size + buys + lots), abs(size - sells))"
    if action.side != BUY:
        exposure = "max(abs(size + buys), abs(size - sells - lots))"
    return [
        condition("the order is within the cap", "lots <= oi_cap", lots=action.lots, oi_cap=row.config.oi_cap),
        condition("the account's exposure is within the cap", f"{exposure} <= oi_cap", size=position.size, buys=buys,
                  sells=sells, lots=action.lots, oi_cap=row.config.oi_cap),
        condition("open interest stays within the cap", "open_interest + lots <= oi_cap",
                  open_interest=row.open_interest, lots=action.lots, oi_cap=row.config.oi_cap)]


def _count_orders(case: Case) -> list[Line]:
    row = case.row
    return [] if row is None else [condition(
        "the account may rest another order", f"open_orders < {OPEN_ORDERS_MAX}", open_orders=row.open_orders)]


def _count_positions(case: Case) -> list[Line]:
    row = case.row
    return [] if row is None else [condition(
        "the account may trade in another market", f"markets < {POSITIONS_MAX}", markets=len(row.positions))]


def _crosses(case: Case) -> list[Line]:
    action = case.action
    best = next(case.reader.side(case.market, 1 - action.side), None) if action is not None else None
    if action is None or best is None:
        return []
    formula = "price < best_ask" if action.side == BUY else "price > best_bid"
    return [condition("the order would rest", formula, price=action.price, best_ask=best[0], best_bid=best[0])]


def _good_till(case: Case) -> list[Line]:
    assert case.action is not None, "orders have good-till times"
    return [condition("the order is still good", "expiry >= now", expiry=case.action.expiry, now=case.now)]


def _reduces(case: Case) -> list[Line]:
    action, position = case.action, case.position()
    if action is None:
        return []
    same = position.reduce_lots if action.reduce_only or action.op == TRIGGER else (
        position.buy_lots if action.side == BUY else position.sell_lots)
    opposite = "size < 0" if action.side == BUY else "size > 0"
    return [condition("the position is on the other side", opposite, size=position.size),
            condition("the order can only reduce it", "lots + resting <= abs(size)", lots=action.lots, resting=same,
                      size=position.size)]


# --- the envelope, when a transaction was forced through L1 -----------------------------------------------------------


def _key(case: Case) -> Key | None:
    row = case.row
    return row.keys[case.intent.slot] if row is not None and case.intent.slot < len(row.keys) else None


def _account_exists(case: Case) -> list[Line]:
    next_account = case.reader.ledger.g.next_account
    return [condition("the account exists", "account < next_account", account=case.intent.account,
                      next_account=next_account)]


def _key_lives(case: Case) -> list[Line]:
    key = _key(case)
    return [] if key is None else [condition("the key lives", "expiry >= now", expiry=key.expiry, now=case.now)]


def _lives(case: Case) -> list[Line]:
    return [condition("the signature lives", "expiry >= now", expiry=case.intent.expiry, now=case.now)]


def _not_too_far(case: Case) -> list[Line]:
    return [condition("the expiry is near enough", f"expiry <= now + {EXPIRY_AHEAD_MS}", expiry=case.intent.expiry,
                      now=case.now)]


def _nonce_near(case: Case) -> list[Line]:
    return [condition("the nonce is near enough", f"nonce <= now + {NONCE_AHEAD_MS}", nonce=case.intent.nonce,
                      now=case.now)]


def _nonce_window(case: Case) -> list[Line]:
    key = _key(case)
    return [] if key is None else [condition(
        "the nonce is in the window", "highest - nonce < 64", highest=key.nonce_high, nonce=case.intent.nonce)]


# --- the other kinds --------------------------------------------------------------------------------------------------


def _free(case: Case) -> list[Line]:
    found = account_statement(case.reader, case.intent.account)
    if found is None:
        return []
    return [condition("enough is free", "amount <= equity - initial - profit", amount=case.intent.amount,
                      equity=found.equity, initial=found.initial, profit=found.profit)]


def _outflow(case: Case) -> list[Line]:
    g = case.reader.ledger.g
    if not g.outflow_limit:
        return []
    drained = f"max(0, outflow - (now - counted_at) * limit // {OUTFLOW_WINDOW_MS})"
    return [condition("the outflow of all accounts stays within the limit", f"{drained} + amount <= limit",
                      outflow=g.outflow, now=case.now, counted_at=g.outflow_at, limit=g.outflow_limit,
                      amount=case.intent.amount)]


def _switch(case: Case) -> list[Line]:
    row = case.row
    return [] if row is None else [condition(
        "the dead man's switch has not fired", "now < cancel_at", now=case.now, cancel_at=row.cancel_at)]


def _expiry(case: Case) -> list[Line]:
    row = case.config
    return [] if row is None else [condition(
        "the market has not expired", "now < expiry", now=case.now, expiry=row.config.expiry)]


def _trigger(case: Case) -> list[Line]:
    side = TRIGGER_FALL + (case.intent.side & 1)
    best = next(case.reader.side(case.market, side), None) if case.board.status else None
    if best is None:
        return []
    formula = "mark >= price" if side == TRIGGER_RISE else "mark <= price"
    return [condition("the mark has reached the best trigger", formula, mark=case.board.mark, price=best[0])]


def _depth(case: Case) -> list[Line]:
    """Lots of live orders that cross, as far as a fill-or-kill may look."""
    action = case.action
    if action is None:
        return []
    lots = 0
    for price, seq, order in islice(case.reader.side(case.market, 1 - action.side), FOK_DEPTH_MAX):
        crosses = price <= action.price if action.side == BUY else price >= action.price
        alive = case.reader.live(case.market, 1 - action.side, order, seq)
        lots += order.lots if crosses and alive and order.account != case.intent.account else 0
    return [condition("the book has enough that crosses", "crossing >= lots", crossing=lots, lots=action.lots)]


def _halted(case: Case) -> list[Line]:
    g = case.reader.ledger.g
    if not g.chain.tau_halt:
        return []
    return [condition("L1 is not too far behind", "now - last_anchor + anchor_interval < tau_halt", now=case.now,
                      last_anchor=g.last_anchor, anchor_interval=g.chain.anchor_interval, tau_halt=g.chain.tau_halt)]


_REASONS: Final[dict[str, Callable[[Case], list[Line]]]] = {
    "MARKET_BUSY": _busy, "STALE_PRICE": _fresh,
    "PRICE_BAND": _band, "MIN_NOTIONAL": _least, "INSUFFICIENT_MARGIN": _margin,
    "OI_CAP": _cap, "TOO_MANY_ORDERS": _count_orders, "TOO_MANY_POSITIONS": _count_positions,
    "WOULD_CROSS": _crosses, "ORDER_EXPIRED": _good_till, "MARKET_REDUCE_ONLY": _reduces,
    "NO_ACCOUNT": _account_exists, "KEY_EXPIRED": _key_lives, "EXPIRED": _lives, "EXPIRY_TOO_FAR": _not_too_far,
    "NONCE_TOO_NEW": _nonce_near, "NONCE_TOO_OLD": _nonce_window, "INSUFFICIENT_FREE": _free,
    "OUTFLOW_LIMIT": _outflow, "REDUCE_ONLY_SIZE": _reduces, "SWITCH_FIRED": _switch, "MARKET_EXPIRED": _expiry,
    "TRIGGER_NOT_REACHED": _trigger, "FOK_UNFILLED": _depth, "MARKET_HALTED": _halted,
}
