# pragma version 0.4.3
"""
@title  Order entry: placing, cancelling, amending, triggers, the dead man's switch, clearing away what is dead
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/orders.py, where it is said what each kind of order promises. Matching itself runs in another
        contract: where its twin calls `book.run(…)` and `fok.scan(…)`, this calls `parts.run(…)` and `parts.scan(…)`.
"""
from stf import accounts
from stf import book
from stf import finality
from stf import margin
from stf import oracle
from stf import params
from stf import parts
from stf import quotes
from stf import state
from stf import types

uses: state
uses: quotes
uses: finality
uses: oracle
uses: margin
uses: accounts
uses: book
uses: parts


# --- placing ----------------------------------------------------------------------------------------------------------


@internal
def place(account: uint256, action: types.Action, steps: uint256) -> (uint256, uint256):
    """@notice Places an order; visits at most `steps` resting orders. @return the status and the steps left."""
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
    taker: types.Pending = types.Pending(
        account=account,
        lots=action.lots,
        price=action.price,
        client_id=action.client_id,
        expiry=action.expiry,
        side=action.side,
        tif=action.tif,
        reduce_only=action.reduce_only,
        self_trade=action.self_trade,
    )
    left: uint256 = steps
    if action.tif == types.FOK:
        status, left = parts.scan(action.market, taker, health, steps)
        if status != types.OK:
            book.drop_open(action.market, taker)
            return status, left
    return parts.run(action.market, taker, health, left)


@internal
def check_place(account: uint256, action: types.Action) -> uint256:
    """@notice Everything about an order that does not depend on the account's margin."""
    board: types.Board = state.get_board(action.market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    status: uint256 = book.closed(action.market, board)
    if status != types.OK:
        return status
    if book.is_switched_off(account):
        return types.SWITCH_FIRED
    if state.get_pending(action.market).lots != 0:
        return types.MARKET_BUSY
    if not oracle.is_fresh(board):
        return types.STALE_PRICE
    config: types.Market = state.get_market(action.market)
    status = self.check_terms(account, action, board, config, action.tif != types.IOC and action.tif != types.FOK)
    if status != types.OK:
        return status
    if book.outside_band(action.side, action.price, board.mark, config.band):
        return types.PRICE_BAND
    if action.tif == types.POST_ONLY and book.crosses(action.market, action.side, action.price):
        return types.WOULD_CROSS
    return types.OK


@internal
def check_terms(
    account: uint256, action: types.Action, board: types.Board, config: types.Market, may_rest: bool
) -> uint256:
    """@notice Price, lots and expiry of an order or trigger, and what an order must be worth to rest."""
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
    if action.lots > config.oi_cap:
        return types.OI_CAP
    if may_rest and action.price * action.lots * board.tick_value < config.min_notional:
        return types.MIN_NOTIONAL
    if may_rest and state.get_open_orders(account) >= params.OPEN_ORDERS_MAX:
        return types.TOO_MANY_ORDERS
    return types.OK


@internal
def open_order(account: uint256, index: uint256, action: types.Action) -> (types.Terms, uint256):
    """@notice Counts the order as open if margin and caps allow it. @return the account's health with it, and a status."""
    board: types.Board = state.get_board(action.market)
    position: types.Position = state.get_position(account, index)
    if action.reduce_only != 0:
        return self.open_reducing(account, index, position, action)
    health: types.Terms = empty(types.Terms)
    same: uint256 = position.buy_lots if action.side == types.BUY else position.sell_lots
    falls: bool = accounts.falls(position.size, book.signed(action.side, action.lots + same + position.reduce_lots))
    if not falls and finality.market_status(action.market, board) != types.OPEN:
        return health, types.MARKET_REDUCE_ONLY
    notional: uint256 = action.price * action.lots * board.tick_value
    position = accounts.add_open(position, action.side, action.lots, notional)
    oi_cap: uint256 = state.get_market(action.market).oi_cap
    buys: int256 = position.size + convert(position.buy_lots, int256)
    sells: int256 = position.size - convert(position.sell_lots, int256)
    exposure: uint256 = convert(max(abs(buys), abs(sells)), uint256)
    if exposure > oi_cap or position.buy_lots > oi_cap * 2 or position.sell_lots > oi_cap * 2:
        state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
        return health, types.OI_CAP
    state.set_position(account, index, position)
    health = margin.health(account)
    if health.equity >= health.initial + convert(params.REST_FEE, int256) or falls:
        return health, types.OK
    state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
    return health, types.INSUFFICIENT_MARGIN


@internal
def open_reducing(
    account: uint256, index: uint256, before: types.Position, action: types.Action
) -> (types.Terms, uint256):
    """
    @notice Counts a reduce-only order as open, if it and those that rest already are no larger than the position. Plain
            orders of its side that could then open instead of close need margin.
    """
    position: types.Position = before
    same: uint256 = position.buy_lots if action.side == types.BUY else position.sell_lots
    lots: uint256 = action.lots + position.reduce_lots
    if not accounts.falls(position.size, book.signed(action.side, lots)):
        return empty(types.Terms), types.REDUCE_ONLY_SIZE
    position.reduce_lots = lots
    state.set_position(account, index, position)
    health: types.Terms = margin.health(account)
    if health.equity >= health.initial or accounts.falls(position.size, book.signed(action.side, lots + same)):
        return health, types.OK
    position.reduce_lots = lots - action.lots
    state.set_position(account, index, position)
    return health, types.INSUFFICIENT_MARGIN


# --- orders that rest -------------------------------------------------------------------------------------------------


@internal
def cancel(account: uint256, action: types.Action) -> uint256:
    """@notice Cancels one resting order or trigger, named by its owner's client id and found by its key."""
    if state.get_board(action.market).status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    order: types.Order = state.get_order(action.market, action.side, action.price, action.seq)
    if order.lots == 0:
        return types.ORDER_NOT_FOUND
    if order.account != account or order.client_id != action.client_id:
        return types.NOT_YOUR_ORDER
    book.remove(action.market, action.side, action.price, action.seq, order, True)
    return types.OK


@internal
def amend(account: uint256, action: types.Action) -> uint256:
    """
    @notice Makes a resting order smaller; it keeps its place. A dead one is not found, and none shrinks under the least
            notional that may rest.
    """
    board: types.Board = state.get_board(action.market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    order: types.Order = state.get_order(action.market, action.side, action.price, action.seq)
    if order.lots == 0:
        return types.ORDER_NOT_FOUND
    if order.account != account or order.client_id != action.client_id:
        return types.NOT_YOUR_ORDER
    if quotes.is_dead(account, action.market, order, action.seq, action.side):
        return types.ORDER_NOT_FOUND
    if action.lots == 0 or action.lots >= order.lots:
        return types.BAD_LOTS
    if action.price * action.lots * board.tick_value < state.get_market(action.market).min_notional:
        return types.MIN_NOTIONAL
    less: uint256 = order.lots - action.lots
    book.uncount_resting(action.market, action.side, action.price, action.seq, order, less)
    order.lots = action.lots
    state.set_order(action.market, action.side, action.price, action.seq, order)
    return types.OK


@internal
def cancel_all(account: uint256, market: uint256) -> uint256:
    """@notice Kills all of the account's orders in a market at once: the sequence they must have rises past them."""
    if state.get_board(market).status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    pending: types.Pending = state.get_pending(market)
    if pending.lots != 0 and pending.account == account:
        state.set_pending(market, empty(types.Pending))
        book.drop_open(market, pending)
    accounts.kill_orders(account, market, True)
    return types.OK


@internal
def sweep(market: uint256, side: uint256) -> uint256:
    """@notice Removes dead orders or triggers from the edge of a book's side (0 to 3). The fees that they held are kept."""
    if state.get_board(market).status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    status: uint256 = types.NOTHING_TO_SWEEP
    price: uint256 = 0
    seq: uint256 = 0
    for _: uint256 in range(params.SWEEP_MAX):
        price, seq = state.get_best(market, side)
        if price == 0:
            break
        state.spend_work(params.WORK_STEP)
        order: types.Order = state.get_order(market, side, price, seq)
        if not quotes.is_dead(order.account, market, order, seq, side):
            break
        book.remove(market, side, price, seq, order, False)
        status = types.OK
    return status


# --- triggers ---------------------------------------------------------------------------------------------------------


@internal
def place_trigger(account: uint256, action: types.Action) -> uint256:
    """@notice Lets a trigger rest: once the mark reaches its price, its reduce-only order may be executed (`fire`)."""
    board: types.Board = state.get_board(action.market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    status: uint256 = book.closed(action.market, board)
    if status != types.OK:
        return status
    if book.is_switched_off(account):
        return types.SWITCH_FIRED
    status = self.check_terms(account, action, board, state.get_market(action.market), True)
    if status != types.OK:
        return status
    index: uint256 = state.find_position(account, action.market)
    if index == types.NO_INDEX or not book.reduces(state.get_position(account, index).size, action.side):
        return types.REDUCE_ONLY_SIZE
    if not book.may_hold(account, margin.health(account).equity):
        return types.INSUFFICIENT_MARGIN
    flags: uint256 = types.ORDER_REDUCE_ONLY
    if action.side != types.BUY:
        flags |= types.ORDER_TRIGGER_SELL
    order: types.Order = types.Order(
        account=account,
        lots=action.lots,
        client_id=action.client_id,
        expiry=action.expiry,
        flags=flags,
        limit=action.limit,
    )
    book.hold(action.market, types.TRIGGER_RISE if action.direction != 0 else types.TRIGGER_FALL, action.price, order)
    return types.OK


@internal
def fire(market: uint256, direction: uint256) -> uint256:
    """
    @notice Executes the first trigger of a direction, if the mark has reached its price: immediately or not at all, no worse
            than its own limit and the market's band, and for no more than the position. A dead one is just removed. Plain
            orders of the account here go if they could then open what they were to close, and it lacks the margin.
    """
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    status: uint256 = book.closed(market, board)
    if status != types.OK:
        return status
    if state.get_pending(market).lots != 0:
        return types.MARKET_BUSY
    if not oracle.is_fresh(board):
        return types.STALE_PRICE
    side: uint256 = types.TRIGGER_RISE if direction != 0 else types.TRIGGER_FALL
    price: uint256 = 0
    seq: uint256 = 0
    price, seq = state.get_best(market, side)
    if price == 0 or (board.mark < price if side == types.TRIGGER_RISE else board.mark > price):
        return types.TRIGGER_NOT_REACHED
    state.spend_work(params.WORK_STEP)
    order: types.Order = state.get_order(market, side, price, seq)
    dead: bool = quotes.is_dead(order.account, market, order, seq, side)
    book.remove(market, side, price, seq, order, not dead)
    if dead:
        return types.OK
    taker: types.Pending = self.triggered(market, order, board)
    index: uint256 = state.find_position(order.account, market)
    position: types.Position = state.get_position(order.account, index)
    position.reduce_lots += taker.lots
    state.set_position(order.account, index, position)
    health: types.Terms = margin.health(order.account)
    same: uint256 = position.buy_lots if taker.side == types.BUY else position.sell_lots
    falls: bool = accounts.falls(position.size, book.signed(taker.side, position.reduce_lots + same))
    if health.equity < health.initial and not falls:
        accounts.kill_orders(order.account, market, False)
        health = margin.health(order.account)
    return parts.run(market, taker, health, params.MATCH_STEPS)[0]


@internal
def triggered(market: uint256, order: types.Order, board: types.Board) -> types.Pending:
    """@return the order that a live trigger becomes."""
    size: int256 = state.get_position(order.account, state.find_position(order.account, market)).size
    side: uint256 = types.SELL if order.flags & types.ORDER_TRIGGER_SELL != 0 else types.BUY
    price: uint256 = book.limit_price(side, board.mark, state.get_market(market).band)
    if order.limit != 0:
        price = min(price, order.limit) if side == types.BUY else max(price, order.limit)
    return types.Pending(
        account=order.account,
        lots=min(order.lots, convert(abs(size), uint256)),
        price=price,
        client_id=order.client_id,
        expiry=0,
        side=side,
        tif=types.IOC,
        reduce_only=1,
        self_trade=types.CANCEL_RESTING,
    )


# --- the account's own switches ---------------------------------------------------------------------------------------


@internal
def set_cancel_at(account: uint256, time: uint256) -> uint256:
    """
    @notice Sets the dead man's switch to a time, ms, or (0) turns it off; a time that has passed fires it. Once it has fired
            it can be changed only when none of the orders that it killed count as open any more.
    """
    if time > params.TIME_MAX:
        return types.BAD_TIME
    if book.is_switched_off(account):
        count: uint256 = state.get_position_count(account)
        for index: uint256 in range(count, bound=params.POSITIONS_MAX):
            position: types.Position = state.get_position(account, index)
            if position.buy_lots != 0 or position.sell_lots != 0 or position.reduce_lots != 0:
                return types.SWITCH_FIRED
    state.set_cancel_at(account, time)
    return types.OK


@internal
def set_options(account: uint256, opt_in: uint256) -> uint256:
    """@notice Whether the account wants predictive reduction also while it is above maintenance margin."""
    flags: uint256 = state.get_account_flags(account) & ~types.FLAG_OPT_IN
    state.set_account_flags(account, flags | types.FLAG_OPT_IN if opt_in != 0 else flags)
    return types.OK
