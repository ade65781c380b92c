"""Order entry: placing, cancelling, amending, triggers, the dead man's switch, and clearing away what is dead.

Plain orders are margined when they are placed, as if all of them were filled. A *reduce-only* order can only make its
account's position smaller: it is outside margin, may be placed in a reduce-only market, and all that rest may together
not exceed the position. A *fill-or-kill* order is first tried on paper (``fok``), and fills whole or not at all. A
*trigger* is a reduce-only order that rests on a side of its own (TRIGGER_FALL, TRIGGER_RISE), sorted so that the first
to fire stands first; anyone may fire it once the mark has reached its price. An order can be made smaller (``amend``)
and keeps its place.

Every resting order holds REST_FEE, which comes back when it fills, is cancelled or fires, and is kept when it must be
removed dead. ``sweep`` removes dead orders from a book's edge; visits of other orders do the same as they go.
"""

from node.stf import accounts, book, finality, fok, margin, oracle, quotes, state
from node.stf.params import (
    LOTS_MAX,
    MATCH_STEPS,
    OPEN_ORDERS_MAX,
    REST_FEE,
    SWEEP_MAX,
    TIME_MAX,
    WORK_STEP,
)
from node.stf.types import (
    BUY,
    CANCEL_RESTING,
    FLAG_OPT_IN,
    FOK,
    IOC,
    NO_INDEX,
    NO_SUCH_MARKET,
    OPEN,
    ORDER_REDUCE_ONLY,
    ORDER_TRIGGER_SELL,
    POST_ONLY,
    SELL,
    TRIGGER_FALL,
    TRIGGER_RISE,
    Action,
    Board,
    Market,
    Order,
    Pending,
    Position,
    Status,
    Terms,
)

# --- placing ----------------------------------------------------------------------------------------------------------


def place(account: int, action: Action, steps: int) -> tuple[Status, int]:
    """Place an order; visits at most ``steps`` resting orders. Returns the status and the steps left."""
    status = check_place(account, action)
    if status != Status.OK:
        return status, steps
    index = accounts.ensure_position(account, action.market)
    if index == NO_INDEX:
        return Status.TOO_MANY_POSITIONS, steps
    health, status = open_order(account, index, action)
    if status != Status.OK:
        accounts.release_position(account, index)
        return status, steps
    taker = Pending(
        account,
        action.lots,
        action.price,
        action.client_id,
        action.expiry,
        action.side,
        action.tif,
        action.reduce_only,
        action.self_trade,
    )
    left = steps
    if action.tif == FOK:
        status, left = fok.scan(action.market, taker, health, steps)
        if status != Status.OK:
            book.drop_open(action.market, taker)
            return status, left
    return book.run(action.market, taker, health, left)


def check_place(account: int, action: Action) -> Status:
    """Everything about an order that does not depend on the account's margin."""
    board = state.get_board(action.market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    status = book.closed(action.market, board)
    if status != Status.OK:
        return status
    if book.is_switched_off(account):
        return Status.SWITCH_FIRED
    if state.get_pending(action.market).lots != 0:
        return Status.MARKET_BUSY
    if not oracle.is_fresh(board):
        return Status.STALE_PRICE
    config = state.get_market(action.market)
    status = check_terms(account, action, board, config, action.tif != IOC and action.tif != FOK)
    if status != Status.OK:
        return status
    if book.outside_band(action.side, action.price, board.mark, config.band):
        return Status.PRICE_BAND
    if action.tif == POST_ONLY and book.crosses(action.market, action.side, action.price):
        return Status.WOULD_CROSS
    return Status.OK


def check_terms(account: int, action: Action, board: Board, config: Market, may_rest: bool) -> Status:
    """Price, lots and expiry of an order or trigger, and what an order must be worth to rest."""
    if action.price == 0:
        return Status.BAD_PRICE
    if action.lots == 0:
        return Status.BAD_LOTS
    if action.lots > LOTS_MAX:
        return Status.TOO_LARGE
    if action.expiry > TIME_MAX:
        return Status.BAD_TIME
    if action.expiry != 0 and action.expiry < state.get_time():
        return Status.ORDER_EXPIRED
    if action.lots > config.oi_cap:
        return Status.OI_CAP
    if may_rest and action.price * action.lots * board.tick_value < config.min_notional:
        return Status.MIN_NOTIONAL
    if may_rest and state.get_open_orders(account) >= OPEN_ORDERS_MAX:
        return Status.TOO_MANY_ORDERS
    return Status.OK


def open_order(account: int, index: int, action: Action) -> tuple[Terms, Status]:
    """Count the order as open if margin and caps allow it. Returns the account's health with it."""
    board = state.get_board(action.market)
    position = state.get_position(account, index)
    if action.reduce_only != 0:
        return open_reducing(account, index, position, action)
    health = Terms()
    same = position.buy_lots if action.side == BUY else position.sell_lots
    falls = accounts.falls(position.size, book.signed(action.side, action.lots + same + position.reduce_lots))
    if not falls and finality.market_status(action.market, board) != OPEN:
        return health, Status.MARKET_REDUCE_ONLY
    notional = action.price * action.lots * board.tick_value
    position = accounts.add_open(position, action.side, action.lots, notional)
    oi_cap = state.get_market(action.market).oi_cap
    exposure = max(abs(position.size + position.buy_lots), abs(position.size - position.sell_lots))
    if exposure > oi_cap or position.buy_lots > oi_cap * 2 or position.sell_lots > oi_cap * 2:
        state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
        return health, Status.OI_CAP
    state.set_position(account, index, position)
    health = margin.health(account)
    if health.equity >= health.initial + REST_FEE or falls:
        return health, Status.OK
    state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
    return health, Status.INSUFFICIENT_MARGIN


def open_reducing(account: int, index: int, position: Position, action: Action) -> tuple[Terms, Status]:
    """Count a reduce-only order as open, if it and those that rest already are no larger than the position.

    It needs no margin of its own. But once it has filled, plain orders of its side may open what they now only close:
    if they could, the account must have the margin for that.
    """
    same = position.buy_lots if action.side == BUY else position.sell_lots
    lots = action.lots + position.reduce_lots
    if not accounts.falls(position.size, book.signed(action.side, lots)):
        return Terms(), Status.REDUCE_ONLY_SIZE
    position.reduce_lots = lots
    state.set_position(account, index, position)
    health = margin.health(account)
    if health.equity >= health.initial or accounts.falls(position.size, book.signed(action.side, lots + same)):
        return health, Status.OK
    position.reduce_lots = lots - action.lots
    state.set_position(account, index, position)
    return health, Status.INSUFFICIENT_MARGIN


# --- orders that rest -------------------------------------------------------------------------------------------------


def cancel(account: int, action: Action) -> Status:
    """Cancel one resting order or trigger, named by its owner's client id and found by its key."""
    if state.get_board(action.market).status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    order = state.get_order(action.market, action.side, action.price, action.seq)
    if order.lots == 0:
        return Status.ORDER_NOT_FOUND
    if order.account != account or order.client_id != action.client_id:
        return Status.NOT_YOUR_ORDER
    book.remove(action.market, action.side, action.price, action.seq, order, True)
    return Status.OK


def amend(account: int, action: Action) -> Status:
    """Make a resting order smaller; it keeps its place. A dead one is not found, and none shrinks under the least
    notional that may rest."""
    board = state.get_board(action.market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    order = state.get_order(action.market, action.side, action.price, action.seq)
    if order.lots == 0:
        return Status.ORDER_NOT_FOUND
    if order.account != account or order.client_id != action.client_id:
        return Status.NOT_YOUR_ORDER
    if quotes.is_dead(account, action.market, order, action.seq, action.side):
        return Status.ORDER_NOT_FOUND
    if action.lots == 0 or action.lots >= order.lots:
        return Status.BAD_LOTS
    if action.price * action.lots * board.tick_value < state.get_market(action.market).min_notional:
        return Status.MIN_NOTIONAL
    less = order.lots - action.lots
    book.uncount_resting(action.market, action.side, action.price, action.seq, order, less)
    order.lots = action.lots
    state.set_order(action.market, action.side, action.price, action.seq, order)
    return Status.OK


def cancel_all(account: int, market: int) -> Status:
    """Kill all of the account's orders in a market at once: the sequence they must have rises past them."""
    if state.get_board(market).status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    pending = state.get_pending(market)
    if pending.lots != 0 and pending.account == account:
        state.set_pending(market, Pending())
        book.drop_open(market, pending)
    accounts.kill_orders(account, market, True)
    return Status.OK


def sweep(market: int, side: int) -> Status:
    """Remove dead orders or triggers from the edge of a book's side (0 to 3). The fees that they held are kept."""
    if state.get_board(market).status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    status = Status.NOTHING_TO_SWEEP
    for _ in range(SWEEP_MAX):
        price, seq = state.get_best(market, side)
        if price == 0:
            break
        state.spend_work(WORK_STEP)
        order = state.get_order(market, side, price, seq)
        if not quotes.is_dead(order.account, market, order, seq, side):
            break
        book.remove(market, side, price, seq, order, False)
        status = Status.OK
    return status


# --- triggers ---------------------------------------------------------------------------------------------------------


def place_trigger(account: int, action: Action) -> Status:
    """Let a trigger rest: once the mark reaches its price, its reduce-only order may be executed (``fire``).

    It needs a position that it can reduce, of whatever size: its lots are clipped when it fires, so a stop and a
    take-profit may each cover all of it.
    """
    board = state.get_board(action.market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    status = book.closed(action.market, board)
    if status != Status.OK:
        return status
    if book.is_switched_off(account):
        return Status.SWITCH_FIRED
    status = check_terms(account, action, board, state.get_market(action.market), True)
    if status != Status.OK:
        return status
    index = state.find_position(account, action.market)
    if index == NO_INDEX or not book.reduces(state.get_position(account, index).size, action.side):
        return Status.REDUCE_ONLY_SIZE
    if not book.may_hold(account, margin.health(account).equity):
        return Status.INSUFFICIENT_MARGIN
    flags = ORDER_REDUCE_ONLY if action.side == BUY else ORDER_REDUCE_ONLY | ORDER_TRIGGER_SELL
    order = Order(account, action.lots, action.client_id, action.expiry, flags, action.limit)
    book.hold(action.market, TRIGGER_RISE if action.direction != 0 else TRIGGER_FALL, action.price, order)
    return Status.OK


def fire(market: int, direction: int) -> Status:
    """Execute the first trigger of a direction, if the mark has reached its price: immediately or not at all, no worse
    than its own limit and the market's band, and for no more than the position. A dead one is just removed.

    Plain orders of the account in this market go if they could then open what they were placed to close, and it lacks
    the margin for that.
    """
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    status = book.closed(market, board)
    if status != Status.OK:
        return status
    if state.get_pending(market).lots != 0:
        return Status.MARKET_BUSY
    if not oracle.is_fresh(board):
        return Status.STALE_PRICE
    side = TRIGGER_RISE if direction != 0 else TRIGGER_FALL
    price, seq = state.get_best(market, side)
    if price == 0 or (board.mark < price if side == TRIGGER_RISE else board.mark > price):
        return Status.TRIGGER_NOT_REACHED
    state.spend_work(WORK_STEP)
    order = state.get_order(market, side, price, seq)
    dead = quotes.is_dead(order.account, market, order, seq, side)
    book.remove(market, side, price, seq, order, not dead)
    if dead:
        return Status.OK
    taker = triggered(market, order, board)
    index = state.find_position(order.account, market)
    position = state.get_position(order.account, index)
    position.reduce_lots += taker.lots
    state.set_position(order.account, index, position)
    health = margin.health(order.account)
    same = position.buy_lots if taker.side == BUY else position.sell_lots
    falls = accounts.falls(position.size, book.signed(taker.side, position.reduce_lots + same))
    if health.equity < health.initial and not falls:
        accounts.kill_orders(order.account, market, False)
        health = margin.health(order.account)
    status, _left = book.run(market, taker, health, MATCH_STEPS)
    return status


def triggered(market: int, order: Order, board: Board) -> Pending:
    """The order that a live trigger becomes."""
    size = state.get_position(order.account, state.find_position(order.account, market)).size
    side = SELL if order.flags & ORDER_TRIGGER_SELL != 0 else BUY
    price = book.limit_price(side, board.mark, state.get_market(market).band)
    if order.limit != 0:
        price = min(price, order.limit) if side == BUY else max(price, order.limit)
    lots = min(order.lots, abs(size))
    return Pending(order.account, lots, price, order.client_id, 0, side, IOC, 1, CANCEL_RESTING)


# --- the account's own switches ---------------------------------------------------------------------------------------


def set_cancel_at(account: int, time: int) -> Status:
    """Set the dead man's switch to a time, ms, or (0) turn it off; a time that has passed fires it.

    Once it has fired it can be changed only when none of the orders that it killed count as open any more, which
    cancel-all in their markets does: what was dead must not live again. Triggers never count: those of a market where
    nothing else held the switch back live again, if they still stand and their owner did not cancel all there.
    """
    if time > TIME_MAX:
        return Status.BAD_TIME
    if book.is_switched_off(account):
        count = state.get_position_count(account)
        for index in range(count):
            position = state.get_position(account, index)
            if position.buy_lots != 0 or position.sell_lots != 0 or position.reduce_lots != 0:
                return Status.SWITCH_FIRED
    state.set_cancel_at(account, time)
    return Status.OK


def set_options(account: int, opt_in: int) -> Status:
    """Whether the account wants predictive reduction also while it is above maintenance margin."""
    flags = state.get_account_flags(account) & ~FLAG_OPT_IN
    state.set_account_flags(account, flags | FLAG_OPT_IN if opt_in != 0 else flags)
    return Status.OK
