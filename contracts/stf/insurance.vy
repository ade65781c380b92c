# pragma version 0.4.3
"""
@title  Insurance of a market: it takes over positions of bankrupt accounts at the mark, and works them off
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/insurance.py, where formulas and sources stand. A takeover changes nobody's equity; what insurance lacks
        of the debt that it pays, the lots of the other side share, accounts' through their side's loss index.
"""
from stf import accounts
from stf import book
from stf import finality
from stf import fixed_point
from stf import funding
from stf import margin
from stf import oracle
from stf import params
from stf import parts
from stf import state
from stf import types

uses: state
uses: oracle
uses: finality
uses: parts


@internal
def may_act(market: uint256) -> uint256:
    """@notice What every reduction and takeover in a market needs: that it exists, trades, matches nothing, and has a price."""
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    if finality.market_status(market, board) == types.HALTED:
        return types.MARKET_HALTED
    if state.get_pending(market).lots != 0:
        return types.MARKET_BUSY
    if not oracle.is_fresh(board):
        return types.STALE_PRICE
    return types.OK


@pure
@internal
def slice_lots(size: int256, board: types.Board, min_notional: uint256, ppm: uint256) -> uint256:
    """@return lots that one call closes: a share of |size|, or all of a position near the least order."""
    lots: uint256 = convert(abs(size), uint256)
    if lots * board.mark * board.tick_value <= 4 * min_notional:
        return lots
    return convert(fixed_point.div_up(convert(lots * ppm, int256), convert(params.PPM, int256)), uint256)


@pure
@internal
def settle(insurance: types.Insurance, board: types.Board) -> types.Insurance:
    """@notice Pays funding since the last touch. Insurance shares no losses."""
    held: types.Insurance = insurance
    held.cost += held.size * (board.funding - held.funding)
    held.funding = board.funding
    return held


@pure
@internal
def equity(held: types.Insurance, board: types.Board) -> int256:
    """@return cash and open profit at the mark, micro-USD, of a settled insurance."""
    return held.cash + held.size * convert(board.mark * board.tick_value, int256) - held.cost


@internal
def opposite_lots(market: uint256, size: int256, insured: int256) -> int256:
    """@return lots that accounts hold against a position of this size; insurance's own do not count."""
    lots: int256 = convert(state.get_open_interest(market), int256)
    if size > 0:
        return lots - max(0, -insured)
    return lots - max(0, insured)


@internal
def shared_loss(market: uint256, board: types.Board, lacks: int256) -> int256:
    """@return what each lot of the other side bears of `lacks` micro-USD: its part of open interest, at most its worth."""
    part: int256 = fixed_point.div_up(max(0, lacks), convert(state.get_open_interest(market), int256))
    return min(part, convert(board.mark * board.tick_value, int256))


@internal
def take_over(account: uint256, market: uint256, debt: int256) -> uint256:
    """
    @notice Moves a position at the mark to insurance, which pays `debt` >= 0 micro-USD to the account. The account's orders in the
            market must be dead. Nothing has changed unless OK is returned, but that an index at its bound halts the market.
    """
    state.spend_work(params.WORK_ACTION)
    board: types.Board = state.get_board(market)
    held: types.Insurance = self.settle(state.get_insurance(market), board)
    index: uint256 = state.find_position(account, market)
    position: types.Position = accounts.settle(state.get_position(account, index), board)
    size: int256 = position.size
    insured: int256 = held.size
    lots: int256 = self.opposite_lots(market, size, insured)
    per_lot: int256 = 0
    if lots != 0:
        per_lot = self.shared_loss(market, board, debt - max(0, self.equity(held, board)))
    most: uint256 = max(state.get_market(market).oi_cap, state.get_open_interest(market))
    if not funding.index_fits(margin.loss_index(-size, board) + per_lot, most):
        return self.halt(market, board)
    realized: int256 = 0
    position, realized = accounts.fill(position, -size, board.mark, board)
    netted: types.Position = empty(types.Position)
    netted.size = insured
    netted.cost = held.cost
    gained: int256 = 0
    netted, gained = accounts.fill(netted, size, board.mark, board)
    held.size = netted.size
    held.cost = netted.cost
    held.cash += gained + per_lot * lots - debt
    if not fixed_point.in_range(held.cash) or not fixed_point.in_range(held.cost):
        return types.TOO_LARGE
    if not fixed_point.in_range(state.get_collateral(account) + realized + debt):
        return types.TOO_LARGE
    state.set_position(account, index, position)
    state.add_collateral(account, realized + debt)
    state.add_side_lots(market, -max(0, size), -max(0, -size))
    state.add_open_interest(market, max(0, held.size) - max(0, insured) - max(0, size))
    state.set_insurance(market, held)
    if per_lot != 0:
        state.add_loss(market, types.SELL if size > 0 else types.BUY, lots, per_lot)
    return types.OK


@internal
def halt(market: uint256, before: types.Board) -> uint256:
    """@notice Stops a market whose loss index has nowhere to go; one that settles has stopped already."""
    if before.status != types.SETTLING:
        board: types.Board = before
        board.status = types.HALTED
        state.set_board(market, board)
    return types.TOO_LARGE


@internal
def work_off(market: uint256) -> uint256:
    """@notice Trades a part of insurance's position away, within `near_band` of the mark."""
    status: uint256 = self.may_act(market)
    if status != types.OK:
        return status
    board: types.Board = state.get_board(market)
    held: types.Insurance = self.settle(state.get_insurance(market), board)
    if held.size == 0:
        return types.NO_POSITION
    if board.status == types.SETTLING:
        return types.NOT_LIQUIDATABLE
    state.set_insurance(market, held)
    config: types.Market = state.get_market(market)
    taker: types.Pending = empty(types.Pending)
    taker.side = types.SELL if held.size > 0 else types.BUY
    taker.lots = self.slice_lots(held.size, board, config.min_notional, params.LIQUIDATION_SLICE_PPM)
    taker.price = book.limit_price(taker.side, board.mark, config.near_band)
    taker.tif = types.LIQUIDATION
    terms: types.Terms = empty(types.Terms)
    notional: uint256 = 0
    left: uint256 = 0
    terms, notional, left = parts.fill_slice(market, taker, terms)
    return types.NO_LIQUIDITY if left == taker.lots else types.OK
