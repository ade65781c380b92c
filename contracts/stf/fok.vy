# pragma version 0.4.3
"""
@title  Fill-or-kill orders, tried on paper before they fill
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/fok.py, where it is said why the scan is exact.
"""
from stf import accounts
from stf import book
from stf import fixed_point
from stf import margin
from stf import params
from stf import quotes
from stf import state
from stf import types

uses: state
uses: quotes
uses: margin
uses: book


struct Planned:
    # A maker as the fills that a fill-or-kill has planned so far would leave it.
    account: uint256
    position: types.Position
    change: int256  # signed, of its collateral


@internal
def scan(market: uint256, taker: types.Pending, health: types.Terms, steps_max: uint256) -> (uint256, uint256):
    """
    @notice Tries an order that counts as open on paper. Each order that is looked at takes one step here and one when it is
            visited again: half of the steps are the depth.
    @return OK if it will fill whole, and the steps left for that.
    """
    board: types.Board = state.get_board(market)
    config: types.Market = state.get_market(market)
    left: uint256 = taker.lots
    mine: types.Position = empty(types.Position)
    held: int256 = 0
    mine, held = book.get_taker(market, taker.account, board)
    after: types.Position = mine
    paid: int256 = 0
    ppm: uint256 = book.taker_rate(config, taker.tif)
    count: uint256 = book.counting(taker.tif, taker.reduce_only)
    makers: DynArray[Planned, params.FOK_DEPTH_MAX] = []
    steps: uint256 = steps_max
    price: uint256 = 0
    seq: uint256 = 0
    price, seq = state.get_best(market, 1 - taker.side)
    for _: uint256 in range(min(params.FOK_DEPTH_MAX, steps_max // 2), bound=params.FOK_DEPTH_MAX):
        if left == 0 or not book.reaches(taker.side, taker.price, price):
            break
        steps -= 1
        state.spend_work(params.WORK_STEP)
        lots: uint256 = 0
        status: uint256 = 0
        lots, status, makers = self.plan(
            market, 1 - taker.side, price, seq, taker, left, board, config.maker_fee, makers
        )
        if status != types.OK:
            return status, steps
        if lots != 0:
            change: int256 = 0
            after, change = book.moved(after, taker.side, lots, price, taker.price, count, ppm, board)
            paid += change
            left -= lots
            if not fixed_point.in_range(held + paid) or not fixed_point.in_range(after.cost):
                return types.TOO_LARGE, steps
        if left != 0:
            price, seq = state.get_next(market, 1 - taker.side, price, seq)
    if left != 0:
        if book.reaches(taker.side, taker.price, price):
            return types.FOK_TOO_DEEP, steps
        return types.FOK_UNFILLED, steps
    return self.check_whole(market, taker, health, mine, after, paid, board, config.oi_cap), steps


@internal
def plan(
    market: uint256,
    side: uint256,
    price: uint256,
    seq: uint256,
    taker: types.Pending,
    left: uint256,
    board: types.Board,
    ppm: uint256,
    met: DynArray[Planned, params.FOK_DEPTH_MAX],
) -> (uint256, uint256, DynArray[Planned, params.FOK_DEPTH_MAX]):
    """@return what a visit to one resting order will fill (0: it will go), a status, and the makers with this one moved on."""
    makers: DynArray[Planned, params.FOK_DEPTH_MAX] = met
    order: types.Order = state.get_order(market, side, price, seq)
    stored: types.Position = state.get_position(order.account, state.find_position(order.account, market))
    if quotes.is_dead_beside(stored, order, seq, side):
        return 0, types.OK, makers
    if order.account == taker.account:
        return 0, types.OK if taker.self_trade == types.CANCEL_RESTING else types.SELF_TRADE, makers
    planned: Planned = Planned(account=order.account, position=stored, change=0)
    at: uint256 = len(makers)
    for i: uint256 in range(len(makers), bound=params.FOK_DEPTH_MAX):
        if makers[i].account == order.account:
            planned = makers[i]
            at = i
    lots: uint256 = book.fillable(left, order, planned.position)
    if order.flags & types.ORDER_REDUCE_ONLY != 0 and not book.reduces(planned.position.size, side):
        lots = 0
    if lots == 0:
        return 0, types.OK, makers
    before: types.Terms = margin.health(order.account)
    before = margin.replace(before, margin.terms(stored, board), margin.terms(planned.position, board))
    before.equity += planned.change
    held: int256 = state.get_collateral(order.account) + planned.change
    change: int256 = 0
    affordable: bool = False
    made: types.Position = empty(types.Position)
    made, change, affordable = book.check_maker(
        side, order, planned.position, before, held, board, ppm, lots, price
    )
    if not affordable:
        return 0, types.OK, makers
    change += planned.change
    if lots == order.lots:
        change += convert(params.REST_FEE, int256)
    planned = Planned(account=order.account, position=made, change=change)
    if at == len(makers):
        makers.append(planned)
    else:
        makers[at] = planned
    return lots, types.OK, makers


@internal
def check_whole(
    market: uint256,
    taker: types.Pending,
    health: types.Terms,
    old: types.Position,
    new: types.Position,
    paid: int256,
    board: types.Board,
    oi_cap: uint256,
) -> uint256:
    """@notice The fill check of a fill-or-kill: its account with all of it filled."""
    lots: int256 = book.signed(taker.side, taker.lots)
    if book.exceeds_cap(market, old.size, lots, oi_cap):
        return types.OI_CAP
    after: types.Terms = margin.replace(health, margin.terms(old, board), margin.terms(new, board))
    after.equity += paid
    if not margin.taker_may(health, after, accounts.falls(old.size, lots)):
        return types.INSUFFICIENT_MARGIN
    return types.OK
