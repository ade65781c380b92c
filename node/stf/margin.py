"""Margin of one account over all of its positions, cross-margined in one collateral. All amounts are micro-USD.

With position size s, cost c, mark p, tick value t and notional N(x) = |x| * p * t:

    equity       E = collateral + sum(s * p * t - c)
    maintenance  M = sum div_up(N(s) * mm_ppm(N(s)), 10**6),   mm_ppm(N) = min(cap, base + N / impact)
    initial      I = sum div_up(N(x) * im_ppm(N(x)), 10**6)
                     + max(0, buy notional - buys * p * t) + max(0, sells * p * t - sell notional),
                 x = max(|s + buys|, |s - sells|): the largest exposure that open orders can lead to
    withdrawable = E - I - sum max(0, s * p * t - c)

The size-dependent rate is the linear impact form of venues' risk tiers: a position's liquidation moves the price in
proportion to its size (Almgren and Chriss, "Optimal execution of portfolio transactions", 2000). The price terms of
open orders charge at once what a fill at a worse price than the mark would lose.
"""

from node.stf import oracle, state
from node.stf.fixed_point import div_up
from node.stf.params import PPM, WORK_TERM
from node.stf.types import Board, Position, Terms


def rate(notional: int, base: int, cap: int, impact: int) -> int:
    """Margin rate in ppm of a notional: base + notional / impact, at most cap."""
    if impact == 0:
        return base
    return min(cap, base + notional // impact)


def requirement(lots: int, board: Board, base: int, cap: int) -> int:
    """Margin of ``lots`` >= 0 at the mark and the given rates."""
    notional = lots * board.mark * board.tick_value
    return div_up(notional * rate(notional, base, cap, board.impact), PPM)


def terms(position: Position, board: Board) -> Terms:
    """What one position and its open orders add to the account's margin, funding since its last touch included."""
    unit = board.mark * board.tick_value
    value = position.size * unit - position.cost - position.size * (board.funding - position.funding)
    exposure = max(abs(position.size + position.buy_lots), abs(position.size - position.sell_lots))
    initial = requirement(exposure, board, board.im_base, board.im_cap)
    initial += max(0, position.buy_notional - position.buy_lots * unit)
    initial += max(0, position.sell_lots * unit - position.sell_notional)
    return Terms(
        equity=value,
        initial=initial,
        maintenance=requirement(abs(position.size), board, board.mm_base, board.mm_cap),
        profit=max(0, value),
        stale=0 if position.size == 0 or oracle.is_fresh(board) else 1,
    )


def add(total: Terms, part: Terms) -> Terms:
    return Terms(
        equity=total.equity + part.equity,
        initial=total.initial + part.initial,
        maintenance=total.maintenance + part.maintenance,
        profit=total.profit + part.profit,
        stale=total.stale + part.stale,
    )


def replace(total: Terms, old: Terms, new: Terms) -> Terms:
    """The account's terms after one position's have changed from ``old`` to ``new``."""
    return Terms(
        equity=total.equity - old.equity + new.equity,
        initial=total.initial - old.initial + new.initial,
        maintenance=total.maintenance - old.maintenance + new.maintenance,
        profit=total.profit - old.profit + new.profit,
        stale=total.stale - old.stale + new.stale,
    )


def health(account: int) -> Terms:
    """Equity and margin of an account, collateral included."""
    total = Terms(equity=state.get_collateral(account))
    count = state.get_position_count(account)
    state.spend_work(WORK_TERM * (count + 1))
    for index in range(count):
        position = state.get_position(account, index)
        total = add(total, terms(position, state.get_board(position.market)))
    return total


def taker_may(before: Terms, after: Terms, falls: bool) -> bool:
    """Fill check of a taker: initial margin is met, or the position falls and the account gets no worse."""
    return after.equity >= after.initial or improves(before, after, falls)


def maker_may(before: Terms, after: Terms, falls: bool) -> bool:
    """Fill check of a maker: maintenance margin is met, or the position falls and the account gets no worse."""
    return after.equity >= after.maintenance or improves(before, after, falls)


def liquidation_may(before: Terms, after: Terms) -> bool:
    """Fill check of a liquidation: the account gets no worse; once its equity is below zero, the fill loses at most the
    maintenance that it releases. So no fill takes a solvent account into debt, whatever the book holds."""
    if before.equity >= 0:
        return improves(before, after, True)
    return before.equity - after.equity <= before.maintenance - after.maintenance


def improves(before: Terms, after: Terms, falls: bool) -> bool:
    """|size| falls, equity stays >= 0 and covers no smaller share of maintenance: E' * M >= E * M'."""
    if not falls or after.equity < 0:
        return False
    return after.equity * before.maintenance >= before.equity * after.maintenance
