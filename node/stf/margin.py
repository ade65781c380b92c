"""Margin of one account over all of its positions, cross-margined in one collateral. All amounts are micro-USD.

With position size s, cost c, mark p, tick value t and notional N(x) = |x| * p * t:

    equity       E = collateral + sum(s * p * t - c - s * (F - f) - |s| * (L - l) - haircut)
    maintenance  M = sum div_up(N(s) * mm_ppm(N(s)), 10**6),   mm_ppm(N) = min(cap, base + N / impact)
    initial      I = sum div_up(N(x) * min(10**6, im_ppm(N(x)) + addon), 10**6)
                     + max(0, buy notional - buys * p * t) + max(0, sells * p * t - sell notional),
                 x = max over v in {s, s less what rests reduce-only} of max(|v + buys|, |v - sells|):
                 the largest exposure that open orders can lead to
    withdrawable = E - I - sum max(0, unrealized profit)
    shock        S = sum N(s) * risk, raw: times the root of a horizon / 10**14 it is what z deviations would take

F and L are the market's funding index and the loss index of the position's side, f and l the position's snapshots.
``addon`` grows with the time that L1 has not anchored (``finality``): it raises initial margin and never maintenance.
``haircut`` is what a price that is not fresh may have lost since (N * finality.haircut): a stale market shields nobody,
it is valued at its last mark worsened. ``Terms.haircut`` keeps it apart, because equity at last marks (equity +
haircut) decides who is bankrupt: nobody may be paid for a loss that is only feared.

The size-dependent rate is the linear impact form of venues' risk tiers: a position's liquidation moves the price in
proportion to its size (Almgren and Chriss, "Optimal execution of portfolio transactions", 2000). The price terms of
open orders charge at once what a fill at a worse price than the mark would lose.
"""

from typing import Final

from node.stf import finality, oracle, state
from node.stf.fixed_point import div_up
from node.stf.params import PPM, WORK_TERM
from node.stf.types import Board, Position, Terms

SHOCK_UNIT: Final = 100_000_000_000_000  # 10**8 of finality.RISK_UNIT, 10**6 from ppm


def rate(notional: int, base: int, cap: int, impact: int) -> int:
    """Margin rate in ppm of a notional: base + notional / impact, at most cap."""
    if impact == 0:
        return base
    return min(cap, base + notional // impact)


def requirement(notional: int, board: Board, base: int, cap: int, addon: int) -> int:
    """Margin of a notional >= 0 at the given rates, ``addon`` ppm on top of them."""
    return div_up(notional * min(PPM, rate(notional, base, cap, board.impact) + addon), PPM)


def loss_index(size: int, board: Board) -> int:
    """The loss index that a position of this size carries, micro-USD per lot; 0 when flat."""
    if size == 0:
        return 0
    return board.loss_long if size > 0 else board.loss_short


def reduced(position: Position) -> int:
    """The size that is left when all that rests reduce-only has filled."""
    lots = min(abs(position.size), position.reduce_lots)
    return position.size - lots if position.size > 0 else position.size + lots


def reach(size: int, position: Position) -> int:
    """The largest size, without its sign, that a size and the position's open orders of one side can lead to."""
    return max(abs(size + position.buy_lots), abs(size - position.sell_lots))


def terms(position: Position, board: Board) -> Terms:
    """What one position and its open orders add to the account's margin, funding and losses since its last touch
    included."""
    unit = board.mark * board.tick_value
    size = position.size
    notional = abs(size) * unit
    value = size * unit - position.cost - size * (board.funding - position.funding)
    value -= abs(size) * (loss_index(size, board) - position.loss)
    exposure = reach(size, position)
    if position.reduce_lots != 0:
        exposure = max(exposure, reach(reduced(position), position))
    initial = requirement(exposure * unit, board, board.im_base, board.im_cap, finality.addon(board))
    initial += max(0, position.buy_notional - position.buy_lots * unit)
    initial += max(0, position.sell_lots * unit - position.sell_notional)
    stale = 0
    haircut = 0
    if size != 0 and not oracle.is_fresh(board):
        stale = 1
        haircut = div_up(notional * finality.haircut(board), PPM)
    return Terms(
        equity=value - haircut,
        initial=initial,
        maintenance=requirement(notional, board, board.mm_base, board.mm_cap, 0),
        profit=max(0, value),
        stale=stale,
        shock=notional * board.risk,
        haircut=haircut,
    )


def add(total: Terms, part: Terms) -> Terms:
    return Terms(
        equity=total.equity + part.equity,
        initial=total.initial + part.initial,
        maintenance=total.maintenance + part.maintenance,
        profit=total.profit + part.profit,
        stale=total.stale + part.stale,
        shock=total.shock + part.shock,
        haircut=total.haircut + part.haircut,
    )


def replace(total: Terms, old: Terms, new: Terms) -> Terms:
    """The account's terms after one position's have changed from ``old`` to ``new``."""
    return Terms(
        equity=total.equity - old.equity + new.equity,
        initial=total.initial - old.initial + new.initial,
        maintenance=total.maintenance - old.maintenance + new.maintenance,
        profit=total.profit - old.profit + new.profit,
        stale=total.stale - old.stale + new.stale,
        shock=total.shock - old.shock + new.shock,
        haircut=total.haircut - old.haircut + new.haircut,
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
    """Fill check of a liquidation: the account gets no worse. So no fill takes a solvent account into debt, whatever
    the book holds; one that is in debt is taken over and trades no more."""
    return improves(before, after, True)


def improves(before: Terms, after: Terms, falls: bool) -> bool:
    """|size| falls, equity stays >= 0 and covers no smaller share of maintenance: E' * M >= E * M'.

    By equity at last marks: what is only feared of another market must keep nobody from reducing his risk.
    """
    left = after.equity + after.haircut
    if not falls or left < 0:
        return False
    return left * before.maintenance >= (before.equity + before.haircut) * after.maintenance


def closeout(health: Terms) -> int:
    """Equity C under which liquidation is hard: a share of maintenance, micro-USD."""
    return div_up(health.maintenance * state.get_chain().closeout, PPM)


def is_threatened(health: Terms) -> bool:
    """Whether z deviations of the horizon would take equity under the close-out: E - S * root / 10**14 < C."""
    loss = div_up(health.shock * state.get_chain().horizon_root, SHOCK_UNIT)
    return health.equity - loss < closeout(health)
