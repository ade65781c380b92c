# pragma version 0.4.3
"""
@title  Liquidation of accounts under maintenance margin
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/liquidation.py. The account's orders in the market are killed, then a slice of the position is closed
        against the book; penalty <= max(0, E' - div_up(E * M', M)), so it never makes an improving reduction worse.
"""
from stf import accounts
from stf import book
from stf import fixed_point
from stf import margin
from stf import oracle
from stf import params
from stf import state
from stf import types

uses: state
uses: oracle
uses: margin
uses: accounts
uses: book


@internal
def liquidate(account: uint256, market: uint256) -> uint256:
    """@notice Reduces one position of an account under maintenance."""
    status: uint256 = self.check(account, market)
    if status != types.OK:
        return status
    health: types.Terms = margin.health(account)
    if health.equity >= health.maintenance:
        return types.NOT_LIQUIDATABLE
    book.cancel_all(account, market)
    return self.reduce(account, market)


@internal
def check(account: uint256, market: uint256) -> uint256:
    """@notice Everything but the account's margin."""
    if not state.account_exists(account):
        return types.NO_ACCOUNT
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    if board.status == types.HALTED:
        return types.MARKET_HALTED
    if state.get_pending(market).lots != 0:
        return types.MARKET_BUSY
    if not oracle.is_fresh(board):
        return types.STALE_PRICE
    index: uint256 = state.find_position(account, market)
    if index == types.NO_INDEX or state.get_position(account, index).size == 0:
        return types.NO_POSITION
    return types.OK


@pure
@internal
def slice_lots(size: int256, board: types.Board, min_notional: uint256) -> uint256:
    """@return lots that one call closes: a share of |size|, or all of a position near the least order."""
    lots: uint256 = convert(abs(size), uint256)
    if lots * board.mark * board.tick_value <= 4 * min_notional:
        return lots
    part: int256 = convert(lots * params.LIQUIDATION_SLICE_PPM, int256)
    return convert(fixed_point.div_up(part, convert(params.PPM, int256)), uint256)


@pure
@internal
def limit_price(side: uint256, mark: uint256, band: uint256) -> uint256:
    """@return the worst price a liquidation accepts, in ticks."""
    ppm: int256 = convert(params.PPM, int256)
    if side == types.BUY:
        high: int256 = fixed_point.div_down(convert(mark * (params.PPM + band), int256), ppm)
        return min(params.PRICE_MAX, convert(high, uint256))
    return max(1, convert(fixed_point.div_up(convert(mark * (params.PPM - band), int256), ppm), uint256))


@internal
def reduce(account: uint256, market: uint256) -> uint256:
    """@notice Closes a slice against the book, then takes the penalty."""
    board: types.Board = state.get_board(market)
    config: types.Market = state.get_market(market)
    size: int256 = state.get_position(account, state.find_position(account, market)).size
    side: uint256 = types.SELL if size > 0 else types.BUY
    lots: uint256 = self.slice_lots(size, board, config.min_notional)
    taker: types.Pending = types.Pending(
        account=account,
        lots=lots,
        price=self.limit_price(side, board.mark, config.band),
        client_id=0,
        expiry=0,
        side=side,
        tif=types.LIQUIDATION,
    )
    self.open_slice(market, taker, board)
    before: types.Terms = margin.health(account)
    after: types.Terms = empty(types.Terms)
    notional: uint256 = 0
    left: uint256 = 0
    after, notional, left = self.fill_slice(market, taker, before)
    taker.lots = left
    if left != 0:
        book.drop_open(market, taker)
        after = margin.health(account)
    if left == lots:
        return types.NO_LIQUIDITY
    penalty: int256 = fixed_point.div_up(convert(notional * config.penalty, int256), convert(params.PPM, int256))
    self.take_penalty(account, market, before, after, penalty)
    index: uint256 = state.find_position(account, market)
    if index != types.NO_INDEX:
        accounts.release_position(account, index)
    return types.OK


@internal
def open_slice(market: uint256, taker: types.Pending, board: types.Board):
    """@notice Counts the slice as open, as every order that is being matched does."""
    index: uint256 = state.find_position(taker.account, market)
    position: types.Position = accounts.settle(state.get_position(taker.account, index), board.funding)
    notional: uint256 = taker.price * taker.lots * board.tick_value
    state.set_position(taker.account, index, accounts.add_open(position, taker.side, taker.lots, notional))


@internal
def fill_slice(market: uint256, order: types.Pending, terms: types.Terms) -> (types.Terms, uint256, uint256):
    """@notice Visits up to MATCH_STEPS orders. @return the account's health, the notional filled, and the lots left."""
    taker: types.Pending = order
    health: types.Terms = terms
    notional: uint256 = 0
    unit: uint256 = state.get_board(market).tick_value
    status: uint256 = types.OK
    for _: uint256 in range(params.MATCH_STEPS):
        if taker.lots == 0 or not book.crosses(market, taker.side, taker.price):
            break
        price: uint256 = 0
        seq: uint256 = 0
        price, seq = state.get_best(market, 1 - taker.side)
        lots: uint256 = taker.lots
        state.spend_work(params.WORK_STEP)
        taker, health, status = book.visit(market, taker, health)
        if status != types.OK:
            break
        notional += (lots - taker.lots) * price * unit
    return health, notional, taker.lots


@internal
def take_penalty(account: uint256, market: uint256, before: types.Terms, after: types.Terms, penalty: int256):
    """@notice Moves the capped penalty into the market's insurance."""
    kept: int256 = fixed_point.div_up(before.equity * after.maintenance, before.maintenance)
    taken: int256 = min(penalty, max(0, after.equity - kept))
    state.add_collateral(account, -taken)
    state.add_insurance(market, taken)
