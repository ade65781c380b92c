"""Why a Liquidate or Settle took the step that it took: the rungs of node/stf/liquidation.py with their numbers.

Healthy, buffered, early (predictive), hard, takeover: each is a condition on equity E, maintenance M and close-out C.
What moved is seen in the states before and after; the formulas say how much it had to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.errors import Critical
from node.rpc.explain.lines import Line, condition, line
from node.rpc.explain.statement import Statement, account_statement
from node.rpc.methods.reader import Reader
from node.stf.params import BUFFER_STEP_MS, LIQUIDATION_SLICE_PPM, PREDICT_SLICE_PPM
from node.stf.state import AccountRow, MarketRow
from node.stf.types import FLAG_BUFFERED, FLAG_OPT_IN, Board, Fill, Position, Status


@dataclass(frozen=True, slots=True)
class Rung:
    """One call of Liquidate, or of Settle: the account and market, before and after."""

    early: Reader
    late: Reader
    account: int
    market: int
    status: Status
    fills: Sequence[Fill]
    settles: bool = False

    @property
    def board(self) -> Board:
        return self.early.board(self.market)

    @property
    def now(self) -> int:
        return self.late.ledger.g.time


def explain_liquidation(rung: Rung) -> list[Line]:
    """The lines of one call; empty where account or market do not exist."""
    row = rung.early.market(rung.market) if rung.board.status else None
    if row is None:
        return []
    if rung.settles:
        found = account_statement(rung.early, rung.account)
        return [] if found is None else [condition(
            "equity at last marks is not below zero", "equity + haircut >= 0", equity=found.equity,
            haircut=found.haircut)]
    if rung.account == 0:
        size = row.insurance.size
        return [] if size == 0 else _order(rung, row, size, LIQUIDATION_SLICE_PPM, row.config.near_band)
    found, account = account_statement(rung.early, rung.account), rung.early.account(rung.account)
    if found is None or account is None:
        return []
    under = condition("equity is under maintenance", "equity < maintenance", equity=found.equity,
                      maintenance=found.maintenance)
    if not under.value:
        return [under, *_healthy(rung, row, found, account)]
    bankrupt = condition("equity at last marks is below zero", "equity + haircut < 0", equity=found.equity,
                         haircut=found.haircut)
    if bankrupt.value:
        return [under, bankrupt, *_takeover(rung, row, found)]
    return [under, bankrupt, *_descent(rung, row, found, account)]


def position_of(row: AccountRow | None, market: int) -> Position:
    """An account's position in a market; an empty one where it has none."""
    for position in row.positions if row is not None else ():
        if position.market == market:
            return position
    return Position(market=market)


# --- healthy, buffered, early -----------------------------------------------------------------------------------------


def _healthy(rung: Rung, row: MarketRow, found: Statement, account: AccountRow) -> list[Line]:
    if rung.status == Status.RECOVERED:
        return [_refilled(rung, account)]
    if account.flags & FLAG_OPT_IN == 0:
        return []
    threatened = _threatened(found)
    return [threatened, *_early(rung, row, account)] if threatened.value else [threatened]


def _descent(rung: Rung, row: MarketRow, found: Statement, account: AccountRow) -> list[Line]:
    chain = rung.early.ledger.g.chain
    lines: list[Line] = []
    spent = condition("there is a latency buffer", "buffer_ms > 0", buffer_ms=chain.buffer_ms)
    if spent.value:
        used = _used(rung, found, account)
        lines.append(used)
        spent = condition("the latency buffer is used up", "used >= buffer_ms", used=used.value,
                          buffer_ms=chain.buffer_ms)
    else:
        spent = condition("no latency buffer is configured", "buffer_ms == 0", buffer_ms=chain.buffer_ms)
    hard = condition("equity is under close-out C", "equity < C", equity=found.equity, C=found.closeout)
    lines += [spent, hard]
    if spent.value or hard.value:
        return [*lines, *_hard(rung, row, found, account)]
    threatened = _threatened(found)
    return [*lines, threatened, *_early(rung, row, account)] if threatened.value else [*lines, threatened]


def _used(rung: Rung, found: Statement, account: AccountRow) -> Line:
    """Buffer used up, this call included."""
    if account.flags & FLAG_BUFFERED == 0:
        return _refilled(rung, account)
    if found.stale:
        return line("buffer used: it stands still while a price is stale", "used", "ms", used=account.buffer)
    return line("buffer used", f"min(buffer_ms, used + min(now - counted_at, {BUFFER_STEP_MS}))", "ms",
                buffer_ms=rung.early.ledger.g.chain.buffer_ms, used=account.buffer, now=rung.now,
                counted_at=account.buffer_at)


def _refilled(rung: Rung, account: AccountRow) -> Line:
    refill = rung.early.ledger.g.chain.refill
    if refill == 0:
        return line("buffer used: health gives all of it back", "0", "ms")
    return line("buffer used, less what health gave back", "max(0, used - (now - counted_at) // refill)", "ms",
                used=account.buffer, now=rung.now, counted_at=account.buffer_at, refill=refill)


def _threatened(found: Statement) -> Line:
    return condition("a move of the horizon would take equity under close-out", "equity - shock < C",
                     equity=found.equity, shock=found.shock, C=found.closeout)


def _early(rung: Rung, row: MarketRow, account: AccountRow) -> list[Line]:
    size = position_of(account, rung.market).size
    if size == 0:
        return []
    lines = _order(rung, row, size, PREDICT_SLICE_PPM, row.config.near_band)
    if row.config.reduce_cap:
        block, reduced = row.reduced
        done = reduced if block == rung.late.ledger.g.block_number else 0
        lines.append(line("lots that this block may still reduce",
                          "div_up(open_interest * reduce_cap, 10**6) - reduced", "lots",
                          open_interest=row.open_interest,
                          reduce_cap=row.config.reduce_cap, reduced=done))
    return lines


# --- hard -------------------------------------------------------------------------------------------------------------


def _hard(rung: Rung, row: MarketRow, found: Statement, account: AccountRow) -> list[Line]:
    size = position_of(account, rung.market).size
    if size == 0:
        return []
    lines = _order(rung, row, size, LIQUIDATION_SLICE_PPM, row.config.band)
    return [*lines, *_penalty(rung, row, found)] if rung.fills else lines


def _order(rung: Rung, row: MarketRow, size: int, slice_ppm: int, band: int) -> list[Line]:
    """The rules' own order: lots and the worst price accepted."""
    board = rung.board
    small = condition("the position is near the least order", "abs(size) * mark * tick_value <= 4 * min_notional",
                      size=size, mark=board.mark, tick_value=board.tick_value, min_notional=row.config.min_notional)
    lots = line("lots to close", "abs(size)" if small.value else f"div_up(abs(size) * {slice_ppm}, 10**6)", "lots",
                size=size)
    formula = "max(1, div_up(mark * (10**6 - band), 10**6))" if size > 0 else "div_down(mark * (10**6 + band), 10**6)"
    return [small, lots, line("worst price accepted", formula, "ticks", mark=board.mark, band=band)]


def _penalty(rung: Rung, row: MarketRow, found: Statement) -> list[Line]:
    """What the account paid to insurance: a rate that ramps from M to C, no more than keeps E' * M >= E * M'."""
    after, last = rung.late.market(rung.market), account_statement(rung.late, rung.account)
    assert after is not None and last is not None, "both were there before"
    equity = found.equity + found.haircut
    span = line("width of the ramp", "M - C", M=found.maintenance, C=found.closeout)
    rate = line("penalty rate", "penalty_ppm", "ppm", penalty_ppm=row.config.penalty)
    if span.value:
        rate = line("penalty rate", "div_up(penalty_ppm * min(max(0, M - E), span), span)", "ppm",
                    penalty_ppm=row.config.penalty, M=found.maintenance, E=equity, span=span.value)
    filled = sum(fill.lots * fill.price * rung.board.tick_value for fill in rung.fills)
    paid = after.insurance.cash - row.insurance.cash
    kept = line("equity that keeps maintenance covered as before", "div_up(E * M_after, M)", E=equity,
                M_after=last.maintenance, M=found.maintenance)
    room = line("what the account can lose", "max(0, E_after_fills - kept)",
                E_after_fills=last.equity + last.haircut + paid, kept=kept.value)
    due = line("penalty due", "div_up(filled * rate, 10**6)", filled=filled, rate=rate.value)
    penalty = line("penalty paid to insurance", "min(due, room)", due=due.value, room=room.value)
    _same("insurance", paid, penalty.value)
    return [span, rate, due, kept, room, penalty]


# --- takeover ---------------------------------------------------------------------------------------------------------


def _takeover(rung: Rung, row: MarketRow, found: Statement) -> list[Line]:
    """Insurance takes the position at the mark; what it lacks, the other side shares by the lot."""
    held, board = row.insurance, rung.board
    part = next((p for p in found.positions if p.market == rung.market), None)
    if part is None or not part.size:
        return []
    debt = line("debt of this market's share", "div_up(-(equity + haircut) * maintenance_here, maintenance)",
                equity=found.equity, haircut=found.haircut, maintenance_here=part.maintenance,
                maintenance=found.maintenance)
    insured = line("insurance's equity at the mark",
                   "cash + size * mark * tick_value - cost - size * (funding - funding_snapshot)", cash=held.cash,
                   size=held.size, mark=board.mark, tick_value=board.tick_value, cost=held.cost, funding=board.funding,
                   funding_snapshot=held.funding)
    lacks = line("what insurance lacks", "max(0, debt - max(0, insurance_equity))", debt=debt.value,
                 insurance_equity=insured.value)
    side = "max(0, -insured)" if part.size > 0 else "max(0, insured)"
    lots = line("lots that accounts hold on the other side", f"open_interest - {side}", "lots",
                open_interest=row.open_interest, insured=held.size)
    lines = [debt, insured, lacks, lots]
    if lots.value:
        lines.append(line("loss that each of these lots bears, at most its worth",
                          "min(div_up(lacks, open_interest), mark * tick_value)", "micro-USD per lot",
                          lacks=lacks.value, open_interest=row.open_interest, mark=board.mark,
                          tick_value=board.tick_value))
    if rung.status == Status.OK:
        late = rung.late.board(rung.market)
        rose = late.loss_long - board.loss_long + late.loss_short - board.loss_short
        _same("the loss index", rose, lines[-1].value if lots.value else 0)
    return lines


def _same(what: str, happened: int, shown: int) -> None:
    """A formula of the ladder against what the state says. Raises Critical: better no explanation than a wrong one."""
    if happened != shown:
        raise Critical(f"{what} moved by {happened}, the formulas shown say {shown}: report this")
