# pragma version 0.4.3
"""
@title  Funding: what longs pay shorts while the mark stands above the index
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/funding.py, where the formula and its sources stand.
@dev Unchecked arithmetic: basis has fewer than 2^53, tick value 2^32, elapsed 2^22 values, indices 2^63.
"""
from stf import fixed_point
from stf import params
from stf import state
from stf import types

uses: state


@internal
def accrue(
    market: uint256, old_board: types.Board, old_prices: types.PriceState, config: types.Market
) -> (types.Board, types.PriceState):
    """@notice Funding up to now. Dated futures have none. An index that would pass its bound halts the market instead."""
    board: types.Board = old_board
    prices: types.PriceState = old_prices
    elapsed: uint256 = min(params.FUNDING_STEP_MAX, self.fresh_ms(board, prices.funding_time, state.get_time()))
    prices.funding_time = state.get_time()
    if config.expiry != 0 or elapsed == 0 or prices.basis == 0:
        return board, prices
    accrued: int256 = unsafe_mul(prices.basis, convert(unsafe_mul(board.tick_value, elapsed), int256))
    accrued = unsafe_add(accrued, prices.funding_acc)
    delta: int256 = fixed_point.div_toward_zero(accrued, convert(params.FUNDING_UNIT, int256))
    if not self.index_fits(unsafe_add(board.funding, delta), max(config.oi_cap, state.get_open_interest(market))):
        board.status = types.HALTED
        return board, prices
    prices.funding_acc = unsafe_sub(accrued, unsafe_mul(delta, convert(params.FUNDING_UNIT, int256)))
    board.funding = unsafe_add(board.funding, delta)
    return board, prices


@pure
@internal
def fresh_ms(board: types.Board, since: uint256, until: uint256) -> uint256:
    """@return time from `since` to `until` in which the last mark was fresh, ms."""
    end: uint256 = min(until, unsafe_add(board.mark_time, board.stale_ms))
    if end <= since:
        return 0
    return unsafe_sub(end, since)


@pure
@internal
def index_fits(index: int256, lots: uint256) -> bool:
    """@notice Whether a cumulative index, micro-USD per lot, times the most lots that can be open stays a storable amount."""
    return convert(abs(index), uint256) * lots < params.EXPOSURE_MAX
