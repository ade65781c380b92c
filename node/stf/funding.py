"""Funding: what longs pay shorts while the mark stands above the index, so that a perpetual stays near what it tracks.

    accrued += b * tick value * fresh ms              b = basis, signed, 2**-16 ticks
    dF       = div_toward_zero(accrued, UNIT)         UNIT = 8 hours in ms * 2**16
    accrued -= dF * UNIT                              F += dF: micro-USD per lot

A basis of one tick that lasts eight hours costs a long one tick. The form is that of venues' funding: the
time-weighted premium of mark over index, paid over eight hours (BitMEX, "Perpetual Contracts Guide", 2016; Binance,
"Introduction to Binance Futures Funding Rates", 2019), without their interest component and damper, and accruing at
each publication instead of at three times a day, so nobody gains by leaving a minute before. A position settles by
cost += size * (F - snapshot): the sum over all positions is zero because sizes sum to zero, and nothing is rounded
per account. What does not make a whole micro-USD per lot stays in ``funding_acc`` for the next time.

Only *fresh* time counts: from the last look until now, or until the mark went stale, and at most FUNDING_STEP_MAX a
step. The basis is the one that the last publication left, so whoever publishes cannot charge the past for a new
basis.
"""

from node.stf import state
from node.stf.fixed_point import div_toward_zero
from node.stf.params import EXPOSURE_MAX, FUNDING_STEP_MAX, FUNDING_UNIT
from node.stf.types import HALTED, Board, Market, PriceState


def accrue(market: int, board: Board, prices: PriceState, config: Market) -> tuple[Board, PriceState]:
    """Funding up to now. Dated futures have none. An index that would pass its bound halts the market instead."""
    elapsed = min(FUNDING_STEP_MAX, fresh_ms(board, prices.funding_time, state.get_time()))
    prices.funding_time = state.get_time()
    if config.expiry != 0 or elapsed == 0 or prices.basis == 0:
        return board, prices
    accrued = prices.funding_acc + prices.basis * board.tick_value * elapsed
    delta = div_toward_zero(accrued, FUNDING_UNIT)
    if not index_fits(board.funding + delta, max(config.oi_cap, state.get_open_interest(market))):
        board.status = HALTED
        return board, prices
    prices.funding_acc = accrued - delta * FUNDING_UNIT
    board.funding += delta
    return board, prices


def fresh_ms(board: Board, since: int, until: int) -> int:
    """Time from ``since`` to ``until`` in which the last mark was fresh, ms."""
    return max(0, min(until, board.mark_time + board.stale_ms) - since)


def index_fits(index: int, lots: int) -> bool:
    """Whether a cumulative index, micro-USD per lot, times the most lots that can be open stays a storable amount."""
    return abs(index) * lots < EXPOSURE_MAX
