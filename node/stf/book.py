"""Orders: placing, matching by price and time, cancelling. The book is the trie: the best order is its leftmost leaf.

An incoming order counts as open from the start, so that initial margin includes all of it; every fill moves lots from
"open" to the position; what remains rests, waits as ``pending``, or stops counting. One transaction visits at most
MATCH_STEPS resting orders, dead ones included; a crossing order that has more before it waits in the market's
``pending`` and goes on with ``Continue``.
"""

from copy import copy

from node.stf import accounts, margin, oracle, state
from node.stf.fixed_point import div_up, in_range
from node.stf.params import (
    LOTS_MAX,
    OPEN_ORDERS_MAX,
    PPM,
    REST_FEE,
    TIME_MAX,
    WORK_STEP,
)
from node.stf.types import (
    BUY,
    FOK,
    HALTED,
    IOC,
    LIQUIDATION,
    NO_INDEX,
    NO_SUCH_MARKET,
    OPEN,
    POST_ONLY,
    Action,
    Board,
    Fill,
    Order,
    Pending,
    Position,
    Status,
    Terms,
)


def place(account: int, action: Action, steps: int) -> tuple[Status, int]:
    """Place a limit order; visits at most ``steps`` resting orders. Returns the status and the steps left."""
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
    pending = Pending(
        account, action.lots, action.price, action.client_id, action.expiry, action.side, action.tif
    )
    return run(action.market, pending, health, steps)


def check_place(account: int, action: Action) -> Status:
    """Everything about an order that does not depend on the account's margin."""
    board = state.get_board(action.market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    if board.status == HALTED:
        return Status.MARKET_HALTED
    if action.tif == FOK or action.reduce_only != 0:
        return Status.UNSUPPORTED
    if state.get_pending(action.market).lots != 0:
        return Status.MARKET_BUSY
    if not oracle.is_fresh(board):
        return Status.STALE_PRICE
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
    market = state.get_market(action.market)
    if outside_band(action.side, action.price, board.mark, market.band):
        return Status.PRICE_BAND
    if action.lots > market.oi_cap:
        return Status.OI_CAP
    if action.tif != IOC and action.price * action.lots * board.tick_value < market.min_notional:
        return Status.MIN_NOTIONAL
    if action.tif != IOC and state.get_open_orders(account) >= OPEN_ORDERS_MAX:
        return Status.TOO_MANY_ORDERS
    if action.tif == POST_ONLY and crosses(action.market, action.side, action.price):
        return Status.WOULD_CROSS
    return Status.OK


def outside_band(side: int, price: int, mark: int, band: int) -> bool:
    """Whether a limit price is more aggressive than mark * (1 +- band)."""
    if side == BUY:
        return price * PPM > mark * (PPM + band)
    return price * PPM < mark * (PPM - band)


def crosses(market: int, side: int, price: int) -> bool:
    """Whether a limit price meets the best order of the other side."""
    best, _seq = state.get_best(market, 1 - side)
    if best == 0:
        return False
    return best <= price if side == BUY else best >= price


def open_order(account: int, index: int, action: Action) -> tuple[Terms, Status]:
    """Count the order as open if margin and caps allow it. Returns the account's health with it."""
    health = Terms()
    board = state.get_board(action.market)
    market = state.get_market(action.market)
    position = accounts.settle(state.get_position(account, index), board.funding)
    same = position.buy_lots if action.side == BUY else position.sell_lots
    lots = action.lots if action.side == BUY else -action.lots
    reduces = accounts.falls(position.size, lots + same if action.side == BUY else lots - same)
    state.set_position(account, index, position)
    if board.status != OPEN and not reduces:
        return health, Status.MARKET_REDUCE_ONLY
    notional = action.price * action.lots * board.tick_value
    position = accounts.add_open(position, action.side, action.lots, notional)
    exposure = max(abs(position.size + position.buy_lots), abs(position.size - position.sell_lots))
    if exposure > market.oi_cap or position.buy_lots > market.oi_cap * 2 or position.sell_lots > market.oi_cap * 2:
        state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
        return health, Status.OI_CAP
    state.set_position(account, index, position)
    health = margin.health(account)
    if health.equity >= health.initial + REST_FEE or reduces:
        return health, Status.OK
    state.set_position(account, index, accounts.sub_open(position, action.side, action.lots, notional))
    return health, Status.INSUFFICIENT_MARGIN


def resume(market: int, steps: int) -> Status:
    """Go on with the market's pending order."""
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    pending = state.get_pending(market)
    if pending.lots == 0:
        return Status.NOT_PENDING
    state.set_pending(market, Pending())
    status = Status.OK
    if board.status == HALTED:
        status = Status.MARKET_HALTED
    elif not oracle.is_fresh(board):
        status = Status.STALE_PRICE
    elif board.status != OPEN and not only_reduces(pending.account, market, pending.side):
        status = Status.MARKET_REDUCE_ONLY
    if status != Status.OK:
        drop_open(market, pending)
        return status
    status, _left = run(market, pending, margin.health(pending.account), steps)
    return status


def only_reduces(account: int, market: int, side: int) -> bool:
    """Whether an account's open orders of one side can together only make its position smaller."""
    position = state.get_position(account, state.find_position(account, market))
    return accounts.falls(position.size, position.buy_lots if side == BUY else -position.sell_lots)


def run(market: int, taker: Pending, health: Terms, steps_max: int) -> tuple[Status, int]:
    """Match an order that counts as open, then rest it, keep it pending, or drop what is left.

    ``health`` is the taker's account with the order open.
    """
    steps = steps_max
    status = Status.OK
    waiting = False
    for _ in range(steps_max + 1):
        if taker.lots == 0 or not crosses(market, taker.side, taker.price):
            break
        if steps == 0:
            waiting = True
            break
        steps -= 1
        state.spend_work(WORK_STEP)
        taker, health, status = visit(market, taker, health)
        if status != Status.OK:
            break
    if waiting:
        state.set_pending(market, taker)
        return Status.PENDING, steps
    if taker.lots != 0 and status == Status.OK and taker.tif != IOC:
        status = rest(market, taker)
    elif taker.lots != 0:
        drop_open(market, taker)
    else:
        accounts.release_position(taker.account, state.find_position(taker.account, market))
    return status, steps


def visit(market: int, taker: Pending, health: Terms) -> tuple[Pending, Terms, Status]:
    """Visit the best order of the other side: remove it if it is dead, the taker's own, or unaffordable; else fill.

    Returns the taker and its health after the visit, and a status other than OK if the taker must stop.
    """
    side = 1 - taker.side
    price, seq = state.get_best(market, side)
    order = state.get_order(market, side, price, seq)
    index = state.find_position(order.account, market)
    assert index != NO_INDEX, "a resting order has a position slot"
    position = state.get_position(order.account, index)
    dead = is_dead(order, position, seq)
    if dead or order.account == taker.account:
        remove(market, side, price, seq, order, not dead)
        if order.account == taker.account:
            health = margin.health(taker.account)
        return taker, health, Status.OK
    lots = min(taker.lots, order.lots)
    board = state.get_board(market)
    taken, paid, after, status = check_taker(market, taker, health, board, lots, price)
    if status != Status.OK:
        return taker, health, status
    made, earned, affordable = check_maker(market, side, order, position, board, lots, price)
    if not affordable:
        remove(market, side, price, seq, order, False)
        return taker, health, Status.OK
    trade(market, taker, order, seq, board, lots, price, taken, paid, made, earned)
    taker.lots -= lots
    return taker, after, Status.OK


def is_dead(order: Order, position: Position, seq: int) -> bool:
    """Cancelled by cancel-all, or expired."""
    return seq < position.min_seq or (order.expiry != 0 and order.expiry < state.get_time())


def fee(lots: int, price: int, tick_value: int, ppm: int) -> int:
    """Fee of one fill in micro-USD, rounded up."""
    return div_up(lots * price * tick_value * ppm, PPM)


def taker_rate(market: int, tif: int) -> int:
    """Taker fee in ppm; a liquidated account pays the penalty instead, which is capped."""
    return 0 if tif == LIQUIDATION else state.get_market(market).taker_fee


def moved(
    position: Position, side: int, lots: int, price: int, limit: int, ppm: int, board: Board
) -> tuple[Position, int]:
    """A position after a fill, and what its account's collateral changes by (fee included). Nothing is written."""
    position = accounts.settle(copy(position), board.funding)
    position = accounts.sub_open(position, side, lots, limit * lots * board.tick_value)
    position, realized = accounts.fill(position, lots if side == BUY else -lots, price, board.tick_value)
    return position, realized - fee(lots, price, board.tick_value, ppm)


def check_taker(
    market: int, taker: Pending, health: Terms, board: Board, lots: int, price: int
) -> tuple[Position, int, Terms, Status]:
    """The taker after a fill: position, change of collateral, health; and whether it may happen."""
    old = state.get_position(taker.account, state.find_position(taker.account, market))
    signed = lots if taker.side == BUY else -lots
    ppm = taker_rate(market, taker.tif)
    new, change = moved(old, taker.side, lots, price, taker.price, ppm, board)
    if exceeds_cap(market, old.size, signed):
        return new, change, health, Status.OI_CAP
    if not in_range(state.get_collateral(taker.account) + change) or not in_range(new.cost):
        return new, change, health, Status.TOO_LARGE
    after = margin.replace(health, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    may = margin.liquidation_may(health, after)
    if taker.tif != LIQUIDATION:
        may = margin.taker_may(health, after, accounts.falls(old.size, signed))
    if not may:
        return new, change, health, Status.INSUFFICIENT_MARGIN
    return new, change, after, Status.OK


def exceeds_cap(market: int, size: int, lots: int) -> bool:
    """Whether a fill could lift open interest beyond the cap: by what the taker opens, if the maker only opens too."""
    opened = abs(lots)
    if size != 0 and (size > 0) != (lots > 0):
        opened = max(0, abs(lots) - abs(size))
    return opened != 0 and state.get_open_interest(market) + opened > state.get_market(market).oi_cap


def check_maker(
    market: int, side: int, order: Order, old: Position, board: Board, lots: int, price: int
) -> tuple[Position, int, bool]:
    """The maker after a fill: position and change of collateral; and whether it can afford it."""
    signed = lots if side == BUY else -lots
    ppm = state.get_market(market).maker_fee
    new, change = moved(old, side, lots, price, price, ppm, board)
    if not in_range(state.get_collateral(order.account) + change) or not in_range(new.cost):
        return new, change, False
    before = margin.health(order.account)
    after = margin.replace(before, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    return new, change, margin.maker_may(before, after, accounts.falls(old.size, signed))


def trade(
    market: int,
    taker: Pending,
    order: Order,
    seq: int,
    board: Board,
    lots: int,
    price: int,
    taken: Position,
    paid: int,
    made: Position,
    earned: int,
) -> None:
    """Execute a checked fill between the taker and a resting order: their positions and changes of collateral."""
    taker_fee = fee(lots, price, board.tick_value, taker_rate(market, taker.tif))
    maker_fee = fee(lots, price, board.tick_value, state.get_market(market).maker_fee)
    side = 1 - taker.side
    note = Fill(
        market=market,
        price=price,
        lots=lots,
        maker=order.account,
        maker_client_id=order.client_id,
        maker_seq=seq,
        taker=taker.account,
        taker_side=taker.side,
        taker_fee=taker_fee,
        maker_fee=maker_fee,
    )
    longs = apply_fill(market, taker.account, taker.side, lots, taken, paid)
    longs += apply_fill(market, order.account, side, lots, made, earned)
    state.add_fees(taker_fee + maker_fee)
    state.add_open_interest(market, longs)
    state.note_fill(note)
    order.lots -= lots
    state.set_order(market, side, price, seq, order)
    if order.lots == 0:
        close_order(market, order.account, True)


def apply_fill(market: int, account: int, side: int, lots: int, position: Position, change: int) -> int:
    """Write one side of a fill; returns the change of its long lots."""
    signed = lots if side == BUY else -lots
    state.set_position(account, state.find_position(account, market), position)
    state.add_collateral(account, change)
    return max(0, position.size) - max(0, position.size - signed)


def rest(market: int, taker: Pending) -> Status:
    """Put what is left of an order into the book, if its account can still carry it."""
    account = taker.account
    if state.get_collateral(account) < REST_FEE or state.get_open_orders(account) >= OPEN_ORDERS_MAX:
        drop_open(market, taker)
        return Status.INSUFFICIENT_MARGIN
    state.add_collateral(account, -REST_FEE)
    state.add_fees(REST_FEE)
    index = state.find_position(account, market)
    position = state.get_position(account, index)
    position.open_orders += 1
    state.set_position(account, index, position)
    state.add_open_orders(account, 1)
    order = Order(account, taker.lots, taker.client_id, taker.expiry, 0)
    state.set_order(market, taker.side, taker.price, state.take_seq(market), order)
    return Status.OK


def drop_open(market: int, taker: Pending) -> None:
    """What is left of an order that does not rest counts as open no more."""
    index = state.find_position(taker.account, market)
    position = state.get_position(taker.account, index)
    notional = taker.price * taker.lots * state.get_board(market).tick_value
    state.set_position(taker.account, index, accounts.sub_open(position, taker.side, taker.lots, notional))
    accounts.release_position(taker.account, index)


def remove(market: int, side: int, price: int, seq: int, order: Order, refund: bool) -> None:
    """Take a resting order out of the book. Orders under min_seq stopped counting as open when it rose."""
    index = state.find_position(order.account, market)
    position = state.get_position(order.account, index)
    if seq >= position.min_seq:
        notional = price * order.lots * state.get_board(market).tick_value
        state.set_position(order.account, index, accounts.sub_open(position, side, order.lots, notional))
    account = order.account
    state.set_order(market, side, price, seq, Order())
    close_order(market, account, refund)


def close_order(market: int, account: int, refund: bool) -> None:
    """Book-keeping after an order's leaf is gone: counters, the held fee, and the slot if it is empty now."""
    index = state.find_position(account, market)
    position = state.get_position(account, index)
    position.open_orders -= 1
    state.set_position(account, index, position)
    state.add_open_orders(account, -1)
    if refund:
        state.add_collateral(account, REST_FEE)
        state.add_fees(-REST_FEE)
    accounts.release_position(account, index)


def cancel(account: int, action: Action) -> Status:
    """Cancel one resting order, named by its owner's client id and found by its key."""
    if state.get_board(action.market).status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    order = state.get_order(action.market, action.side, action.price, action.seq)
    if order.lots == 0:
        return Status.ORDER_NOT_FOUND
    if order.account != account or order.client_id != action.client_id:
        return Status.NOT_YOUR_ORDER
    remove(action.market, action.side, action.price, action.seq, order, True)
    return Status.OK


def cancel_all(account: int, market: int) -> Status:
    """Kill all of the account's orders in a market at once: the sequence they must have rises past them."""
    if state.get_board(market).status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    pending = state.get_pending(market)
    if pending.lots != 0 and pending.account == account:
        state.set_pending(market, Pending())
        drop_open(market, pending)
    index = state.find_position(account, market)
    if index == NO_INDEX:
        return Status.OK
    position = state.get_position(account, index)
    position.min_seq = state.get_next_seq(market)
    position.buy_lots = 0
    position.sell_lots = 0
    position.buy_notional = 0
    position.sell_notional = 0
    state.set_position(account, index, position)
    accounts.release_position(account, index)
    return Status.OK
