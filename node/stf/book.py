"""Matching by price and time. The book is the trie: the best order is its leftmost leaf.

An incoming order counts as open from the start, so that initial margin includes all of it; every fill moves lots from
"open" to the position; what remains rests, waits as ``pending``, or stops counting. One transaction visits at most
MATCH_STEPS resting orders, dead ones included; a crossing order that has more before it waits in the market's
``pending`` and goes on with ``Continue``.

How an order's lots count depends on what it is: a plain one's as open buys or sells, a reduce-only one's as
``reduce_lots`` and outside margin, and those of the rules' own orders (LIQUIDATION) not at all. A reduce-only order
never fills more than its account's position: it is clipped where it is the maker, and placed no larger where it is the
taker.

Account INSURANCE as a taker is the market's insurance: its position and cash stand in the market's leaf, it pays no fee
and has no margin to check, and it takes no part in mutualised losses.
"""

from copy import copy
from typing import Final

from node.stf import accounts, finality, margin, oracle, quotes, state
from node.stf.fixed_point import div_down, div_up, in_range
from node.stf.params import (
    MATCH_STEPS,
    OPEN_ORDERS_MAX,
    PPM,
    PRICE_MAX,
    REST_FEE,
    WORK_STEP,
)
from node.stf.types import (
    BUY,
    CANCEL_RESTING,
    CANCEL_TAKER,
    FOK,
    HALTED,
    IOC,
    LIQUIDATION,
    NO_INDEX,
    NO_SUCH_MARKET,
    OPEN,
    ORDER_REDUCE_ONLY,
    SETTLING,
    TRIGGER_FALL,
    Board,
    Fill,
    Insurance,
    Market,
    Order,
    Pending,
    Position,
    Status,
    Terms,
)

INSURANCE: Final = 0  # as a taker's account: the market's insurance
# how an order's lots count while they are open
COUNT_OPEN: Final = 0
COUNT_REDUCE: Final = 1
COUNT_NOWHERE: Final = 2


def outside_band(side: int, price: int, mark: int, band: int) -> bool:
    """Whether a limit price is more aggressive than mark * (1 +- band)."""
    if side == BUY:
        return price * PPM > mark * (PPM + band)
    return price * PPM < mark * (PPM - band)


def limit_price(side: int, mark: int, band: int) -> int:
    """The most aggressive price inside a band around the mark, ticks."""
    if side == BUY:
        return min(PRICE_MAX, div_down(mark * (PPM + band), PPM))
    return max(1, div_up(mark * (PPM - band), PPM))


def signed(side: int, lots: int) -> int:
    """What a trade of lots on a side adds to a position."""
    return lots if side == BUY else -lots


def reaches(side: int, price: int, best: int) -> bool:
    """Whether a limit price of a side meets a resting order's price on the other one; 0 = there is none."""
    if best == 0:
        return False
    return best <= price if side == BUY else best >= price


def crosses(market: int, side: int, price: int) -> bool:
    """Whether a limit price meets the best order of the other side."""
    best, _seq = state.get_best(market, 1 - side)
    return reaches(side, price, best)


def closed(market: int, board: Board) -> Status:
    """Why nothing may be traded in a market that exists, whatever its price; OK if it may."""
    effective = finality.market_status(market, board)
    if effective == OPEN:
        return Status.OK
    if effective == HALTED:
        return Status.MARKET_HALTED
    expiry = state.get_expiry(market)
    if effective == SETTLING or (expiry != 0 and expiry <= state.get_time()):
        return Status.MARKET_EXPIRED
    return Status.OK


def is_switched_off(account: int) -> bool:
    """Whether the account's dead man's switch has fired: its resting orders are dead, and it places none."""
    cancel_at = state.get_cancel_at(account)
    return cancel_at != 0 and cancel_at <= state.get_time()


def resume(market: int, steps: int) -> Status:
    """Go on with the market's pending order."""
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    pending = state.get_pending(market)
    if pending.lots == 0:
        return Status.NOT_PENDING
    state.set_pending(market, Pending())
    status = may_resume(market, board, pending)
    if status != Status.OK:
        drop_open(market, pending)
        return status
    status, _left = run(market, pending, margin.health(pending.account), steps)
    return status


def may_resume(market: int, board: Board, pending: Pending) -> Status:
    """Whether a pending order may still be matched: time has passed since it was placed."""
    status = closed(market, board)
    if status != Status.OK:
        return status
    if is_switched_off(pending.account):
        return Status.SWITCH_FIRED
    if not oracle.is_fresh(board):
        return Status.STALE_PRICE
    position = state.get_position(pending.account, state.find_position(pending.account, market))
    if pending.reduce_only != 0:
        falls = accounts.falls(position.size, signed(pending.side, pending.lots))
        return Status.OK if falls else Status.REDUCE_ONLY_SIZE
    opened = signed(pending.side, position.buy_lots if pending.side == BUY else position.sell_lots)
    if finality.market_status(market, board) != OPEN and not accounts.falls(position.size, opened):
        return Status.MARKET_REDUCE_ONLY
    return Status.OK


def run(market: int, taker: Pending, health: Terms, steps_max: int) -> tuple[Status, int]:
    """Match an order that counts as open, then rest it, keep it pending, or drop what is left.

    ``health`` is the taker's account with the order open.
    """
    steps = steps_max
    status = Status.OK
    waiting = False
    for _ in range(steps_max + 1):
        if taker.lots == 0:
            break
        price, seq = state.get_best(market, 1 - taker.side)
        if not reaches(taker.side, taker.price, price):
            break
        if steps == 0:
            waiting = True
            break
        steps -= 1
        state.spend_work(WORK_STEP)
        taker, health, status = visit(market, taker, health, price, seq)
        if status != Status.OK:
            break
    if waiting:
        state.set_pending(market, taker)
        return Status.PENDING, steps
    if taker.lots == 0:
        accounts.release_position(taker.account, state.find_position(taker.account, market))
    elif status == Status.OK and taker.tif != IOC and taker.tif != FOK:
        status = rest(market, taker, health.equity)
    else:
        drop_open(market, taker)
    return status, steps


def fill_slice(market: int, taker: Pending, health: Terms) -> tuple[Terms, int, int]:
    """Match one of the rules' own orders, counted nowhere, against up to MATCH_STEPS resting ones.

    It closes at most what its account (or INSURANCE) holds. Returns the account's health after it, the notional filled,
    and the lots left; the caller frees the account's slot if it is empty now.
    """
    notional = 0
    unit = state.get_board(market).tick_value
    for _ in range(MATCH_STEPS):
        if taker.lots == 0:
            break
        price, seq = state.get_best(market, 1 - taker.side)
        if not reaches(taker.side, taker.price, price):
            break
        lots = taker.lots
        state.spend_work(WORK_STEP)
        taker, health, status = visit(market, taker, health, price, seq)
        if status != Status.OK:
            break
        notional += (lots - taker.lots) * price * unit
    return health, notional, taker.lots


def visit(market: int, taker: Pending, health: Terms, price: int, seq: int) -> tuple[Pending, Terms, Status]:
    """Visit the best order of the other side: remove it if it is dead, the taker's own, or unaffordable; else fill.

    Returns the taker and its health after the visit, and a status other than OK if the taker must stop.
    """
    side = 1 - taker.side
    order = state.get_order(market, side, price, seq)
    index = state.find_position(order.account, market)
    position = state.get_position(order.account, index)
    dead = quotes.is_dead_beside(position, order, seq, side)
    if dead or order.account == taker.account:
        return meet(market, taker, health, order, price, seq, dead)
    lots = fillable(taker.lots, order, position)
    board = state.get_board(market)
    config = state.get_market(market)
    taken, paid, after, status = check_taker(market, taker, health, board, config, lots, price)
    if status != Status.OK:
        return taker, health, status
    before = margin.health(order.account)
    held = state.get_collateral(order.account)
    made, earned, affordable = check_maker(side, order, position, before, held, board, config.maker_fee, lots, price)
    if not affordable:
        remove(market, side, price, seq, order, False)
        return taker, health, Status.OK
    trade(market, taker, order, index, seq, board, config, lots, price, taken, paid, made, earned)
    taker.lots -= lots
    return taker, after, Status.OK


def meet(
    market: int, taker: Pending, health: Terms, order: Order, price: int, seq: int, dead: bool
) -> tuple[Pending, Terms, Status]:
    """A visit to an order that may not fill: a dead one goes; of the taker's own, its self-trade mode decides."""
    side = 1 - taker.side
    own = order.account == taker.account
    if dead or taker.self_trade != CANCEL_TAKER:
        remove(market, side, price, seq, order, not dead)
        if own:
            health = margin.health(taker.account)
    if own and not dead and taker.self_trade != CANCEL_RESTING:
        return taker, health, Status.SELF_TRADE
    return taker, health, Status.OK


def reduces(size: int, side: int) -> bool:
    """Whether an order of a side is against a position, so that it can be reduce-only."""
    return size < 0 if side == BUY else size > 0


def fillable(lots: int, order: Order, position: Position) -> int:
    """Lots of a resting order that may fill: a reduce-only one's are clipped to its account's position."""
    if order.flags & ORDER_REDUCE_ONLY != 0:
        return min(lots, order.lots, abs(position.size))
    return min(lots, order.lots)


def fee(lots: int, price: int, tick_value: int, ppm: int) -> int:
    """Fee of one fill in micro-USD, rounded up."""
    return div_up(lots * price * tick_value * ppm, PPM)


def taker_rate(config: Market, tif: int) -> int:
    """Taker fee in ppm; a liquidated account pays the penalty instead, which is capped."""
    return 0 if tif == LIQUIDATION else config.taker_fee


def counting(tif: int, reduce_only: int) -> int:
    """How the lots of an incoming order count while they are open: COUNT_*."""
    if tif == LIQUIDATION:
        return COUNT_NOWHERE
    return COUNT_REDUCE if reduce_only != 0 else COUNT_OPEN


def uncount(position: Position, side: int, lots: int, notional: int, count: int) -> Position:
    """Lots of an order stop counting as open. ``notional`` is at its limit price."""
    if count == COUNT_OPEN:
        return accounts.sub_open(position, side, lots, notional)
    if count == COUNT_REDUCE:
        position.reduce_lots -= lots
    return position


def moved(
    position: Position, side: int, lots: int, price: int, limit: int, count: int, ppm: int, board: Board
) -> tuple[Position, int]:
    """A position after a fill, and what its account's collateral changes by (fee included). Nothing is written."""
    position = accounts.settle(copy(position), board)
    position = uncount(position, side, lots, limit * lots * board.tick_value, count)
    position, realized = accounts.fill(position, signed(side, lots), price, board)
    return position, realized - fee(lots, price, board.tick_value, ppm)


def check_taker(
    market: int, taker: Pending, health: Terms, board: Board, config: Market, lots: int, price: int
) -> tuple[Position, int, Terms, Status]:
    """The taker after a fill: position, change of collateral, health; and whether it may happen.

    A fill-or-kill was checked as a whole, before its first fill (``orders.scan``).
    """
    old, held = get_taker(market, taker.account, board)
    trade_lots = signed(taker.side, lots)
    ppm = taker_rate(config, taker.tif)
    count = counting(taker.tif, taker.reduce_only)
    new, change = moved(old, taker.side, lots, price, taker.price, count, ppm, board)
    if taker.tif != FOK and exceeds_cap(market, old.size, trade_lots, config.oi_cap):
        return new, change, health, Status.OI_CAP
    if not in_range(held + change) or not in_range(new.cost):
        return new, change, health, Status.TOO_LARGE
    if taker.account == INSURANCE:
        return new, change, health, Status.OK
    after = margin.replace(health, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    may = True
    if taker.tif == LIQUIDATION:
        may = margin.liquidation_may(health, after)
    elif taker.tif != FOK:
        may = margin.taker_may(health, after, accounts.falls(old.size, trade_lots))
    if not may:
        return new, change, health, Status.INSUFFICIENT_MARGIN
    return new, change, after, Status.OK


def get_taker(market: int, account: int, board: Board) -> tuple[Position, int]:
    """Position and collateral of a taker; those of INSURANCE stand in the market's leaf, with losses already paid."""
    if account != INSURANCE:
        return state.get_position(account, state.find_position(account, market)), state.get_collateral(account)
    insured = state.get_insurance(market)
    position = Position(size=insured.size, cost=insured.cost, funding=insured.funding, market=market)
    position.loss = margin.loss_index(insured.size, board)
    return position, insured.cash


def exceeds_cap(market: int, size: int, lots: int, oi_cap: int) -> bool:
    """Whether a fill could lift open interest beyond the cap: by what the taker opens, if the maker only opens too."""
    opened = abs(lots)
    if size != 0 and (size > 0) != (lots > 0):
        opened = max(0, abs(lots) - abs(size))
    return opened != 0 and state.get_open_interest(market) + opened > oi_cap


def check_maker(
    side: int,
    order: Order,
    old: Position,
    before: Terms,
    held: int,
    board: Board,
    ppm: int,
    lots: int,
    price: int,
) -> tuple[Position, int, bool]:
    """The maker after a fill: position and change of collateral; and whether it can afford it.

    ``before`` is its account's health and ``held`` its collateral with the position ``old``; ``ppm`` is its fee.
    """
    count = COUNT_REDUCE if order.flags & ORDER_REDUCE_ONLY != 0 else COUNT_OPEN
    new, change = moved(old, side, lots, price, price, count, ppm, board)
    if not in_range(held + change) or not in_range(new.cost):
        return new, change, False
    after = margin.replace(before, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    return new, change, margin.maker_may(before, after, accounts.falls(old.size, signed(side, lots)))


def trade(
    market: int,
    taker: Pending,
    order: Order,
    index: int,
    seq: int,
    board: Board,
    config: Market,
    lots: int,
    price: int,
    taken: Position,
    paid: int,
    made: Position,
    earned: int,
) -> None:
    """Execute a checked fill between the taker and a resting order: their positions and changes of collateral.

    ``index`` is the maker's slot. An order that is filled gives the fee back that it held.
    """
    taker_fee = fee(lots, price, board.tick_value, taker_rate(config, taker.tif))
    maker_fee = fee(lots, price, board.tick_value, config.maker_fee)
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
    order.lots -= lots
    back = 0
    if order.lots == 0:
        made.open_orders -= 1
        state.add_open_orders(order.account, -1)
        back = REST_FEE
    longs = apply_fill(market, order.account, index, side, lots, made, earned + back)
    shorts = longs - signed(side, lots)
    own = NO_INDEX
    if taker.account != INSURANCE:
        own = state.find_position(taker.account, market)
    taken_longs = apply_fill(market, taker.account, own, taker.side, lots, taken, paid)
    state.add_open_interest(market, longs + taken_longs)
    if taker.account != INSURANCE:
        longs += taken_longs
        shorts = longs
    if board.loss_long != 0 or board.loss_short != 0:
        state.add_side_lots(market, longs, shorts)
    state.add_fees(taker_fee + maker_fee - back)
    state.note_fill(note)
    state.set_order(market, side, price, seq, order)
    if made.size == 0:
        accounts.release_position(order.account, index)


def apply_fill(market: int, account: int, index: int, side: int, lots: int, position: Position, change: int) -> int:
    """Write one side of a fill; returns the change of its long lots."""
    if account == INSURANCE:
        cash = state.get_insurance(market).cash + change
        state.set_insurance(market, Insurance(cash, position.size, position.cost, position.funding))
    else:
        state.set_position(account, index, position)
        state.add_collateral(account, change)
    return max(0, position.size) - max(0, position.size - signed(side, lots))


def rest(market: int, taker: Pending, equity: int) -> Status:
    """Put what is left of an order into the book, if its account can still carry it."""
    account = taker.account
    if not may_hold(account, equity):
        drop_open(market, taker)
        return Status.INSUFFICIENT_MARGIN
    flags = ORDER_REDUCE_ONLY if taker.reduce_only != 0 else 0
    hold(market, taker.side, taker.price, Order(account, taker.lots, taker.client_id, taker.expiry, flags))
    return Status.OK


def may_hold(account: int, equity: int) -> bool:
    """Whether an account may have one more resting order: its fee is held, and may not take equity below zero."""
    if state.get_open_orders(account) >= OPEN_ORDERS_MAX:
        return False
    return state.get_collateral(account) >= REST_FEE and equity >= REST_FEE


def hold(market: int, side: int, price: int, order: Order) -> None:
    """Insert a resting order behind all of its price, and hold its fee."""
    account = order.account
    state.add_collateral(account, -REST_FEE)
    state.add_fees(REST_FEE)
    index = state.find_position(account, market)
    position = state.get_position(account, index)
    position.open_orders += 1
    state.set_position(account, index, position)
    state.add_open_orders(account, 1)
    state.set_order(market, side, price, state.take_seq(market), order)


def drop_open(market: int, taker: Pending) -> None:
    """What is left of an order that does not rest counts as open no more."""
    index = state.find_position(taker.account, market)
    position = state.get_position(taker.account, index)
    notional = taker.price * taker.lots * state.get_board(market).tick_value
    count = counting(taker.tif, taker.reduce_only)
    state.set_position(taker.account, index, uncount(position, taker.side, taker.lots, notional, count))
    accounts.release_position(taker.account, index)


def remove(market: int, side: int, price: int, seq: int, order: Order, refund: bool) -> None:
    """Take a resting order out of the book."""
    account = order.account
    lots = order.lots
    uncount_resting(market, side, price, seq, order, lots)
    state.set_order(market, side, price, seq, Order())
    close_order(market, account, refund)


def uncount_resting(market: int, side: int, price: int, seq: int, order: Order, lots: int) -> None:
    """Some lots of a resting order stop counting as open.

    Triggers never counted, and orders under ``min_seq`` (``reduce_min_seq``) stopped when it rose.
    """
    if side >= TRIGGER_FALL:
        return
    index = state.find_position(order.account, market)
    assert index != NO_INDEX, "a resting order has a position slot"
    position = state.get_position(order.account, index)
    count = COUNT_OPEN
    if order.flags & ORDER_REDUCE_ONLY != 0:
        count = COUNT_REDUCE if seq >= position.reduce_min_seq else COUNT_NOWHERE
    elif seq < position.min_seq:
        count = COUNT_NOWHERE
    notional = price * lots * state.get_board(market).tick_value
    state.set_position(order.account, index, uncount(position, side, lots, notional, count))


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
