# pragma version 0.4.3
"""
@title  Orders: placing, matching by price and time, cancelling
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/book.py. The book is the trie: the best order is its leftmost leaf. An incoming order counts as
        open from the start; every fill moves lots from "open" to the position; what remains rests, waits as `pending`,
        or stops counting.
"""
from stf import accounts
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


@internal
def place(account: uint256, action: types.Action, steps: uint256) -> (uint256, uint256):
    """@notice Places a limit order; visits at most `steps` resting orders. @return the status and the steps left."""
    status: uint256 = self.check_place(account, action)
    if status != types.OK:
        return status, steps
    index: uint256 = accounts.ensure_position(account, action.market)
    if index == types.NO_INDEX:
        return types.TOO_MANY_POSITIONS, steps
    health: types.Terms = empty(types.Terms)
    health, status = self.open_order(account, index, action)
    if status != types.OK:
        accounts.release_position(account, index)
        return status, steps
    pending: types.Pending = types.Pending(
        account=account,
        lots=action.lots,
        price=action.price,
        client_id=action.client_id,
        expiry=action.expiry,
        side=action.side,
        tif=action.tif,
    )
    return self.run(action.market, pending, health, steps)


@internal
def check_place(account: uint256, action: types.Action) -> uint256:
    """@notice Everything about an order that does not depend on the account's margin."""
    board: types.Board = state.get_board(action.market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    if board.status == types.HALTED:
        return types.MARKET_HALTED
    if action.tif == types.FOK or action.reduce_only != 0:
        return types.UNSUPPORTED
    if state.get_pending(action.market).lots != 0:
        return types.MARKET_BUSY
    if not oracle.is_fresh(board):
        return types.STALE_PRICE
    if action.price == 0:
        return types.BAD_PRICE
    if action.lots == 0:
        return types.BAD_LOTS
    if action.lots > params.LOTS_MAX:
        return types.TOO_LARGE
    if action.expiry > params.TIME_MAX:
        return types.BAD_TIME
    if action.expiry != 0 and action.expiry < state.get_time():
        return types.ORDER_EXPIRED
    market: types.Market = state.get_market(action.market)
    if self.outside_band(action.side, action.price, board.mark, market.band):
        return types.PRICE_BAND
    if action.lots > market.oi_cap:
        return types.OI_CAP
    if action.tif != types.IOC and action.price * action.lots * board.tick_value < market.min_notional:
        return types.MIN_NOTIONAL
    if action.tif != types.IOC and state.get_open_orders(account) >= params.OPEN_ORDERS_MAX:
        return types.TOO_MANY_ORDERS
    if action.tif == types.POST_ONLY and self.crosses(action.market, action.side, action.price):
        return types.WOULD_CROSS
    return types.OK


@pure
@internal
def outside_band(side: uint256, price: uint256, mark: uint256, band: uint256) -> bool:
    """@notice Whether a limit price is more aggressive than mark * (1 +- band)."""
    if side == types.BUY:
        return price * params.PPM > mark * (params.PPM + band)
    return price * params.PPM < mark * (params.PPM - band)


@internal
def crosses(market: uint256, side: uint256, price: uint256) -> bool:
    """@notice Whether a limit price meets the best order of the other side."""
    best: uint256 = 0
    seq: uint256 = 0
    best, seq = state.get_best(market, 1 - side)
    if best == 0:
        return False
    return best <= price if side == types.BUY else best >= price


@internal
def open_order(account: uint256, index: uint256, action: types.Action) -> (types.Terms, uint256):
    """@notice Counts the order as open if margin and caps allow it. @return the account's health with it, and a status."""
    health: types.Terms = empty(types.Terms)
    board: types.Board = state.get_board(action.market)
    oi_cap: uint256 = state.get_market(action.market).oi_cap
    position: types.Position = accounts.settle(state.get_position(account, index), board.funding)
    lots: int256 = convert(action.lots + position.buy_lots, int256)
    if action.side != types.BUY:
        lots = -convert(action.lots + position.sell_lots, int256)
    reduces: bool = accounts.falls(position.size, lots)
    state.set_position(account, index, position)
    if board.status != types.OPEN and not reduces:
        return health, types.MARKET_REDUCE_ONLY
    notional: uint256 = action.price * action.lots * board.tick_value
    position = accounts.add_open(position, action.side, action.lots, notional)
    buys: int256 = position.size + convert(position.buy_lots, int256)
    sells: int256 = position.size - convert(position.sell_lots, int256)
    exposure: uint256 = convert(max(abs(buys), abs(sells)), uint256)
    if exposure > oi_cap or position.buy_lots > oi_cap * 2 or position.sell_lots > oi_cap * 2:
        state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
        return health, types.OI_CAP
    state.set_position(account, index, position)
    health = margin.health(account)
    if health.equity >= health.initial + convert(params.REST_FEE, int256) or reduces:
        return health, types.OK
    state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
    return health, types.INSUFFICIENT_MARGIN


@internal
def resume(market: uint256, steps: uint256) -> uint256:
    """@notice Goes on with the market's pending order."""
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    pending: types.Pending = state.get_pending(market)
    if pending.lots == 0:
        return types.NOT_PENDING
    state.set_pending(market, empty(types.Pending))
    status: uint256 = types.OK
    if board.status == types.HALTED:
        status = types.MARKET_HALTED
    elif not oracle.is_fresh(board):
        status = types.STALE_PRICE
    elif board.status != types.OPEN and not self.only_reduces(pending.account, market, pending.side):
        status = types.MARKET_REDUCE_ONLY
    if status != types.OK:
        self.drop_open(market, pending)
        return status
    left: uint256 = 0
    status, left = self.run(market, pending, margin.health(pending.account), steps)
    return status


@internal
def only_reduces(account: uint256, market: uint256, side: uint256) -> bool:
    """@notice Whether an account's open orders of one side can together only make its position smaller."""
    position: types.Position = state.get_position(account, state.find_position(account, market))
    if side == types.BUY:
        return accounts.falls(position.size, convert(position.buy_lots, int256))
    return accounts.falls(position.size, -convert(position.sell_lots, int256))


@internal
def run(market: uint256, order: types.Pending, before: types.Terms, steps_max: uint256) -> (uint256, uint256):
    """
    @notice Matches an order that counts as open, then rests it, keeps it pending, or drops what is left.
    @param before the taker's account with the order open
    """
    taker: types.Pending = order
    steps: uint256 = steps_max
    status: uint256 = types.OK
    waiting: bool = False
    health: types.Terms = before
    for _: uint256 in range(steps_max + 1, bound=params.MATCH_STEPS + 1):
        if taker.lots == 0 or not self.crosses(market, taker.side, taker.price):
            break
        if steps == 0:
            waiting = True
            break
        steps -= 1
        state.spend_work(params.WORK_STEP)
        taker, health, status = self.visit(market, taker, health)
        if status != types.OK:
            break
    if waiting:
        state.set_pending(market, taker)
        return types.PENDING, steps
    if taker.lots != 0 and status == types.OK and taker.tif != types.IOC:
        status = self.rest(market, taker)
    elif taker.lots != 0:
        self.drop_open(market, taker)
    else:
        accounts.release_position(taker.account, state.find_position(taker.account, market))
    return status, steps


@internal
def visit(market: uint256, taker: types.Pending, health: types.Terms) -> (types.Pending, types.Terms, uint256):
    """
    @notice Visits the best order of the other side: removes it if it is dead, the taker's own, or unaffordable; else fills.
    @return the taker and its health after the visit, and a status other than OK if the taker must stop.
    """
    side: uint256 = 1 - taker.side
    price: uint256 = 0
    seq: uint256 = 0
    price, seq = state.get_best(market, side)
    order: types.Order = state.get_order(market, side, price, seq)
    index: uint256 = state.find_position(order.account, market)
    assert index != types.NO_INDEX, "a resting order has a position slot"
    position: types.Position = state.get_position(order.account, index)
    dead: bool = self.is_dead(order, position, seq)
    if dead or order.account == taker.account:
        self.remove(market, side, price, seq, order, not dead)
        if order.account == taker.account:
            return taker, margin.health(taker.account), types.OK
        return taker, health, types.OK
    lots: uint256 = min(taker.lots, order.lots)
    board: types.Board = state.get_board(market)
    taken: types.Position = empty(types.Position)
    paid: int256 = 0
    after: types.Terms = empty(types.Terms)
    status: uint256 = 0
    taken, paid, after, status = self.check_taker(market, taker, health, board, lots, price)
    if status != types.OK:
        return taker, health, status
    made: types.Position = empty(types.Position)
    earned: int256 = 0
    affordable: bool = False
    made, earned, affordable = self.check_maker(market, side, order, position, board, lots, price)
    if not affordable:
        self.remove(market, side, price, seq, order, False)
        return taker, health, types.OK
    self.trade(market, taker, order, seq, board, lots, price, taken, paid, made, earned)
    rest: types.Pending = taker
    rest.lots -= lots
    return rest, after, types.OK


@internal
def is_dead(order: types.Order, position: types.Position, seq: uint256) -> bool:
    """@notice Cancelled by cancel-all, or expired."""
    return seq < position.min_seq or (order.expiry != 0 and order.expiry < state.get_time())


@pure
@internal
def fee(lots: uint256, price: uint256, tick_value: uint256, ppm: uint256) -> int256:
    """@return fee of one fill in micro-USD, rounded up."""
    return fixed_point.div_up(convert(lots * price * tick_value * ppm, int256), convert(params.PPM, int256))


@internal
def taker_rate(market: uint256, tif: uint256) -> uint256:
    """@return taker fee in ppm; a liquidated account pays the penalty instead, which is capped."""
    if tif == types.LIQUIDATION:
        return 0
    return state.get_market(market).taker_fee


@internal
def moved(
    before: types.Position,
    side: uint256,
    lots: uint256,
    price: uint256,
    limit: uint256,
    ppm: uint256,
    board: types.Board,
) -> (types.Position, int256):
    """@return a position after a fill, and what its account's collateral changes by (fee included). Writes nothing."""
    position: types.Position = accounts.settle(before, board.funding)
    position = accounts.sub_open(position, side, lots, limit * lots * board.tick_value)
    realized: int256 = 0
    signed: int256 = convert(lots, int256)
    if side != types.BUY:
        signed = -signed
    position, realized = accounts.fill(position, signed, price, board.tick_value)
    return position, realized - self.fee(lots, price, board.tick_value, ppm)


@internal
def check_taker(
    market: uint256, taker: types.Pending, health: types.Terms, board: types.Board, lots: uint256, price: uint256
) -> (types.Position, int256, types.Terms, uint256):
    """@return the taker after a fill: position, change of collateral, health; and whether it may happen."""
    old: types.Position = state.get_position(taker.account, state.find_position(taker.account, market))
    signed: int256 = convert(lots, int256)
    if taker.side != types.BUY:
        signed = -signed
    ppm: uint256 = self.taker_rate(market, taker.tif)
    new: types.Position = empty(types.Position)
    change: int256 = 0
    new, change = self.moved(old, taker.side, lots, price, taker.price, ppm, board)
    if self.exceeds_cap(market, old.size, signed):
        return new, change, health, types.OI_CAP
    if not fixed_point.in_range(state.get_collateral(taker.account) + change) or not fixed_point.in_range(new.cost):
        return new, change, health, types.TOO_LARGE
    after: types.Terms = margin.replace(health, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    may: bool = margin.liquidation_may(health, after)
    if taker.tif != types.LIQUIDATION:
        may = margin.taker_may(health, after, accounts.falls(old.size, signed))
    if not may:
        return new, change, health, types.INSUFFICIENT_MARGIN
    return new, change, after, types.OK


@internal
def exceeds_cap(market: uint256, size: int256, lots: int256) -> bool:
    """@notice Whether a fill could lift open interest beyond the cap: by what the taker opens, if the maker only opens too."""
    opened: uint256 = convert(abs(lots), uint256)
    if size != 0 and (size > 0) != (lots > 0):
        opened = convert(max(0, abs(lots) - abs(size)), uint256)
    return opened != 0 and state.get_open_interest(market) + opened > state.get_market(market).oi_cap


@internal
def check_maker(
    market: uint256,
    side: uint256,
    order: types.Order,
    old: types.Position,
    board: types.Board,
    lots: uint256,
    price: uint256,
) -> (types.Position, int256, bool):
    """@return the maker after a fill: position and change of collateral; and whether it can afford it."""
    signed: int256 = convert(lots, int256)
    if side != types.BUY:
        signed = -signed
    ppm: uint256 = state.get_market(market).maker_fee
    new: types.Position = empty(types.Position)
    change: int256 = 0
    new, change = self.moved(old, side, lots, price, price, ppm, board)
    if not fixed_point.in_range(state.get_collateral(order.account) + change) or not fixed_point.in_range(new.cost):
        return new, change, False
    before: types.Terms = margin.health(order.account)
    after: types.Terms = margin.replace(before, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    return new, change, margin.maker_may(before, after, accounts.falls(old.size, signed))


@internal
def trade(
    market: uint256,
    taker: types.Pending,
    order: types.Order,
    seq: uint256,
    board: types.Board,
    lots: uint256,
    price: uint256,
    taken: types.Position,
    paid: int256,
    made: types.Position,
    earned: int256,
):
    """@notice Executes a checked fill between the taker and a resting order: their positions and changes of collateral."""
    taker_fee: int256 = self.fee(lots, price, board.tick_value, self.taker_rate(market, taker.tif))
    maker_fee: int256 = self.fee(lots, price, board.tick_value, state.get_market(market).maker_fee)
    side: uint256 = 1 - taker.side
    longs: int256 = self.apply_fill(market, taker.account, taker.side, lots, taken, paid)
    longs += self.apply_fill(market, order.account, side, lots, made, earned)
    state.add_fees(taker_fee + maker_fee)
    state.add_open_interest(market, longs)
    left: types.Order = order
    left.lots -= lots
    state.set_order(market, side, price, seq, left)
    if left.lots == 0:
        self.close_order(market, order.account, True)


@internal
def apply_fill(
    market: uint256, account: uint256, side: uint256, lots: uint256, position: types.Position, change: int256
) -> int256:
    """@notice Writes one side of a fill. @return the change of its long lots."""
    signed: int256 = convert(lots, int256)
    if side != types.BUY:
        signed = -signed
    state.set_position(account, state.find_position(account, market), position)
    state.add_collateral(account, change)
    return max(0, position.size) - max(0, position.size - signed)


@internal
def rest(market: uint256, taker: types.Pending) -> uint256:
    """@notice Puts what is left of an order into the book, if its account can still carry it."""
    account: uint256 = taker.account
    held: int256 = convert(params.REST_FEE, int256)
    if state.get_collateral(account) < held or state.get_open_orders(account) >= params.OPEN_ORDERS_MAX:
        self.drop_open(market, taker)
        return types.INSUFFICIENT_MARGIN
    state.add_collateral(account, -held)
    state.add_fees(held)
    index: uint256 = state.find_position(account, market)
    position: types.Position = state.get_position(account, index)
    position.open_orders += 1
    state.set_position(account, index, position)
    state.add_open_orders(account, 1)
    order: types.Order = types.Order(
        account=account, lots=taker.lots, client_id=taker.client_id, expiry=taker.expiry, flags=0
    )
    state.set_order(market, taker.side, taker.price, state.take_seq(market), order)
    return types.OK


@internal
def drop_open(market: uint256, taker: types.Pending):
    """@notice What is left of an order that does not rest counts as open no more."""
    index: uint256 = state.find_position(taker.account, market)
    position: types.Position = state.get_position(taker.account, index)
    notional: uint256 = taker.price * taker.lots * state.get_board(market).tick_value
    state.set_position(taker.account, index, accounts.sub_open(position, taker.side, taker.lots, notional))
    accounts.release_position(taker.account, index)


@internal
def remove(market: uint256, side: uint256, price: uint256, seq: uint256, order: types.Order, refund: bool):
    """@notice Takes a resting order out of the book. Orders under min_seq stopped counting as open when it rose."""
    index: uint256 = state.find_position(order.account, market)
    position: types.Position = state.get_position(order.account, index)
    if seq >= position.min_seq:
        notional: uint256 = price * order.lots * state.get_board(market).tick_value
        state.set_position(order.account, index, accounts.sub_open(position, side, order.lots, notional))
    state.set_order(market, side, price, seq, empty(types.Order))
    self.close_order(market, order.account, refund)


@internal
def close_order(market: uint256, account: uint256, refund: bool):
    """@notice Book-keeping after an order's leaf is gone: counters, the held fee, and the slot if it is empty now."""
    index: uint256 = state.find_position(account, market)
    position: types.Position = state.get_position(account, index)
    position.open_orders -= 1
    state.set_position(account, index, position)
    state.add_open_orders(account, -1)
    if refund:
        state.add_collateral(account, convert(params.REST_FEE, int256))
        state.add_fees(-convert(params.REST_FEE, int256))
    accounts.release_position(account, index)


@internal
def cancel(account: uint256, action: types.Action) -> uint256:
    """@notice Cancels one resting order, named by its owner's client id and found by its key."""
    if state.get_board(action.market).status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    order: types.Order = state.get_order(action.market, action.side, action.price, action.seq)
    if order.lots == 0:
        return types.ORDER_NOT_FOUND
    if order.account != account or order.client_id != action.client_id:
        return types.NOT_YOUR_ORDER
    self.remove(action.market, action.side, action.price, action.seq, order, True)
    return types.OK


@internal
def cancel_all(account: uint256, market: uint256) -> uint256:
    """@notice Kills all of the account's orders in a market at once: the sequence they must have rises past them."""
    if state.get_board(market).status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    pending: types.Pending = state.get_pending(market)
    if pending.lots != 0 and pending.account == account:
        state.set_pending(market, empty(types.Pending))
        self.drop_open(market, pending)
    index: uint256 = state.find_position(account, market)
    if index == types.NO_INDEX:
        return types.OK
    position: types.Position = state.get_position(account, index)
    position.min_seq = state.get_next_seq(market)
    position.buy_lots = 0
    position.sell_lots = 0
    position.buy_notional = 0
    position.sell_notional = 0
    state.set_position(account, index, position)
    accounts.release_position(account, index)
    return types.OK
