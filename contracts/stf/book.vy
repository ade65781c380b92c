# pragma version 0.4.3
"""
@title  Matching by price and time
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/book.py, where it is said how orders count while they are open. The book is the trie: the best
        order is its leftmost leaf. An incoming order counts as open from the start; every fill moves lots from "open" to
        the position; what remains rests, waits as `pending`, or stops counting.
"""
from stf import accounts
from stf import finality
from stf import fixed_point
from stf import margin
from stf import oracle
from stf import params
from stf import quotes
from stf import state
from stf import types

uses: state
uses: quotes
uses: finality
uses: oracle
uses: margin
uses: accounts

INSURANCE: constant(uint256) = 0  # as a taker's account: the market's insurance
# how an order's lots count while they are open
COUNT_OPEN: constant(uint256) = 0
COUNT_REDUCE: constant(uint256) = 1
COUNT_NOWHERE: constant(uint256) = 2


@pure
@internal
def outside_band(side: uint256, price: uint256, mark: uint256, band: uint256) -> bool:
    """@notice Whether a limit price is more aggressive than mark * (1 +- band)."""
    if side == types.BUY:
        return price * params.PPM > mark * (params.PPM + band)
    return price * params.PPM < mark * (params.PPM - band)


@pure
@internal
def limit_price(side: uint256, mark: uint256, band: uint256) -> uint256:
    """@return the most aggressive price inside a band around the mark, ticks."""
    ppm: int256 = convert(params.PPM, int256)
    if side == types.BUY:
        high: int256 = fixed_point.div_down(convert(mark * (params.PPM + band), int256), ppm)
        return min(params.PRICE_MAX, convert(high, uint256))
    return max(1, convert(fixed_point.div_up(convert(mark * (params.PPM - band), int256), ppm), uint256))


@pure
@internal
def signed(side: uint256, lots: uint256) -> int256:
    """@return what a trade of lots on a side adds to a position."""
    if side == types.BUY:
        return convert(lots, int256)
    return -convert(lots, int256)


@pure
@internal
def reaches(side: uint256, price: uint256, best: uint256) -> bool:
    """@notice Whether a limit price of a side meets a resting order's price on the other one; 0 = there is none."""
    if best == 0:
        return False
    return best <= price if side == types.BUY else best >= price


@internal
def crosses(market: uint256, side: uint256, price: uint256) -> bool:
    """@notice Whether a limit price meets the best order of the other side."""
    return self.reaches(side, price, state.get_best(market, 1 - side)[0])


@internal
def closed(market: uint256, board: types.Board) -> uint256:
    """@return why nothing may be traded in a market that exists, whatever its price; OK if it may."""
    effective: uint256 = finality.market_status(market, board)
    if effective == types.OPEN:
        return types.OK
    if effective == types.HALTED:
        return types.MARKET_HALTED
    expiry: uint256 = state.get_expiry(market)
    if effective == types.SETTLING or (expiry != 0 and expiry <= state.get_time()):
        return types.MARKET_EXPIRED
    return types.OK


@internal
def is_switched_off(account: uint256) -> bool:
    """@notice Whether the account's dead man's switch has fired: its resting orders are dead, and it places none."""
    cancel_at: uint256 = state.get_cancel_at(account)
    return cancel_at != 0 and cancel_at <= state.get_time()


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
    status: uint256 = self.may_resume(market, board, pending)
    if status != types.OK:
        self.drop_open(market, pending)
        return status
    return self.run(market, pending, margin.health(pending.account), steps)[0]


@internal
def may_resume(market: uint256, board: types.Board, pending: types.Pending) -> uint256:
    """@notice Whether a pending order may still be matched: time has passed since it was placed."""
    status: uint256 = self.closed(market, board)
    if status != types.OK:
        return status
    if self.is_switched_off(pending.account):
        return types.SWITCH_FIRED
    if not oracle.is_fresh(board):
        return types.STALE_PRICE
    position: types.Position = state.get_position(pending.account, state.find_position(pending.account, market))
    if pending.reduce_only != 0:
        if accounts.falls(position.size, self.signed(pending.side, pending.lots)):
            return types.OK
        return types.REDUCE_ONLY_SIZE
    opened: int256 = self.signed(pending.side, position.buy_lots if pending.side == types.BUY else position.sell_lots)
    if finality.market_status(market, board) != types.OPEN and not accounts.falls(position.size, opened):
        return types.MARKET_REDUCE_ONLY
    return types.OK


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
    price: uint256 = 0
    seq: uint256 = 0
    for _: uint256 in range(steps_max + 1, bound=params.MATCH_STEPS + 1):
        if taker.lots == 0:
            break
        price, seq = state.get_best(market, 1 - taker.side)
        if not self.reaches(taker.side, taker.price, price):
            break
        if steps == 0:
            waiting = True
            break
        steps -= 1
        state.spend_work(params.WORK_STEP)
        taker, health, status = self.visit(market, taker, health, price, seq)
        if status != types.OK:
            break
    if waiting:
        state.set_pending(market, taker)
        return types.PENDING, steps
    if taker.lots == 0:
        accounts.release_position(taker.account, state.find_position(taker.account, market))
    elif status == types.OK and taker.tif != types.IOC and taker.tif != types.FOK:
        status = self.rest(market, taker, health.equity)
    else:
        self.drop_open(market, taker)
    return status, steps


@internal
def fill_slice(market: uint256, order: types.Pending, before: types.Terms) -> (types.Terms, uint256, uint256):
    """
    @notice Matches one of the rules' own orders, counted nowhere, against up to MATCH_STEPS resting ones. It closes at most
            what its account (or INSURANCE) holds; the caller frees the account's slot if it is empty now.
    @return the account's health after it, the notional filled, and the lots left.
    """
    taker: types.Pending = order
    health: types.Terms = before
    notional: uint256 = 0
    unit: uint256 = state.get_board(market).tick_value
    status: uint256 = types.OK
    price: uint256 = 0
    seq: uint256 = 0
    for _: uint256 in range(params.MATCH_STEPS):
        if taker.lots == 0:
            break
        price, seq = state.get_best(market, 1 - taker.side)
        if not self.reaches(taker.side, taker.price, price):
            break
        lots: uint256 = taker.lots
        state.spend_work(params.WORK_STEP)
        taker, health, status = self.visit(market, taker, health, price, seq)
        if status != types.OK:
            break
        notional += (lots - taker.lots) * price * unit
    return health, notional, taker.lots


@internal
def visit(
    market: uint256, order_in: types.Pending, health: types.Terms, price: uint256, seq: uint256
) -> (types.Pending, types.Terms, uint256):
    """
    @notice Visits the best order of the other side: removes it if it is dead, the taker's own, or unaffordable; else fills.
    @return the taker and its health after the visit, and a status other than OK if the taker must stop.
    """
    taker: types.Pending = order_in
    side: uint256 = 1 - taker.side
    order: types.Order = state.get_order(market, side, price, seq)
    index: uint256 = state.find_position(order.account, market)
    position: types.Position = state.get_position(order.account, index)
    dead: bool = quotes.is_dead_beside(position, order, seq, side)
    if dead or order.account == taker.account:
        return self.meet(market, taker, health, order, price, seq, dead)
    lots: uint256 = self.fillable(taker.lots, order, position)
    board: types.Board = state.get_board(market)
    config: types.Market = state.get_market(market)
    taken: types.Position = empty(types.Position)
    paid: int256 = 0
    after: types.Terms = empty(types.Terms)
    status: uint256 = 0
    taken, paid, after, status = self.check_taker(market, taker, health, board, config, lots, price)
    if status != types.OK:
        return taker, health, status
    before: types.Terms = margin.health(order.account)
    held: int256 = state.get_collateral(order.account)
    made: types.Position = empty(types.Position)
    earned: int256 = 0
    affordable: bool = False
    made, earned, affordable = self.check_maker(
        side, order, position, before, held, board, config.maker_fee, lots, price
    )
    if not affordable:
        self.remove(market, side, price, seq, order, False)
        return taker, health, types.OK
    self.trade(market, taker, order, index, seq, board, config, lots, price, taken, paid, made, earned)
    taker.lots -= lots
    return taker, after, types.OK


@internal
def meet(
    market: uint256,
    taker: types.Pending,
    before: types.Terms,
    order: types.Order,
    price: uint256,
    seq: uint256,
    dead: bool,
) -> (types.Pending, types.Terms, uint256):
    """@notice A visit to an order that may not fill: a dead one goes; of the taker's own, its self-trade mode decides."""
    health: types.Terms = before
    own: bool = order.account == taker.account
    if dead or taker.self_trade != types.CANCEL_TAKER:
        self.remove(market, 1 - taker.side, price, seq, order, not dead)
        if own:
            health = margin.health(taker.account)
    if own and not dead and taker.self_trade != types.CANCEL_RESTING:
        return taker, health, types.SELF_TRADE
    return taker, health, types.OK


@pure
@internal
def reduces(size: int256, side: uint256) -> bool:
    """@notice Whether an order of a side is against a position, so that it can be reduce-only."""
    return size < 0 if side == types.BUY else size > 0


@pure
@internal
def fillable(lots: uint256, order: types.Order, position: types.Position) -> uint256:
    """@return lots of a resting order that may fill: a reduce-only one's are clipped to its account's position."""
    most: uint256 = min(lots, order.lots)
    if order.flags & types.ORDER_REDUCE_ONLY != 0:
        return min(most, convert(abs(position.size), uint256))
    return most


@pure
@internal
def fee(lots: uint256, price: uint256, tick_value: uint256, ppm: uint256) -> int256:
    """@return fee of one fill in micro-USD, rounded up."""
    return fixed_point.div_up(convert(lots * price * tick_value * ppm, int256), convert(params.PPM, int256))


@pure
@internal
def taker_rate(config: types.Market, tif: uint256) -> uint256:
    """@return taker fee in ppm; a liquidated account pays the penalty instead, which is capped."""
    if tif == types.LIQUIDATION:
        return 0
    return config.taker_fee


@pure
@internal
def counting(tif: uint256, reduce_only: uint256) -> uint256:
    """@return how the lots of an incoming order count while they are open: COUNT_*."""
    if tif == types.LIQUIDATION:
        return COUNT_NOWHERE
    return COUNT_REDUCE if reduce_only != 0 else COUNT_OPEN


@pure
@internal
def uncount(before: types.Position, side: uint256, lots: uint256, notional: uint256, count: uint256) -> types.Position:
    """@notice Lots of an order stop counting as open. `notional` is at its limit price."""
    position: types.Position = before
    if count == COUNT_OPEN:
        return accounts.sub_open(position, side, lots, notional)
    if count == COUNT_REDUCE:
        position.reduce_lots -= lots
    return position


@internal
def moved(
    before: types.Position,
    side: uint256,
    lots: uint256,
    price: uint256,
    limit: uint256,
    count: uint256,
    ppm: uint256,
    board: types.Board,
) -> (types.Position, int256):
    """@return a position after a fill, and what its account's collateral changes by (fee included). Writes nothing."""
    position: types.Position = accounts.settle(before, board)
    position = self.uncount(position, side, lots, limit * lots * board.tick_value, count)
    realized: int256 = 0
    position, realized = accounts.fill(position, self.signed(side, lots), price, board)
    return position, realized - self.fee(lots, price, board.tick_value, ppm)


@internal
def check_taker(
    market: uint256,
    taker: types.Pending,
    health: types.Terms,
    board: types.Board,
    config: types.Market,
    lots: uint256,
    price: uint256,
) -> (types.Position, int256, types.Terms, uint256):
    """
    @notice A fill-or-kill was checked as a whole, before its first fill (`orders.scan`).
    @return the taker after a fill: position, change of collateral, health; and whether it may happen.
    """
    old: types.Position = empty(types.Position)
    held: int256 = 0
    old, held = self.get_taker(market, taker.account, board)
    trade_lots: int256 = self.signed(taker.side, lots)
    ppm: uint256 = self.taker_rate(config, taker.tif)
    count: uint256 = self.counting(taker.tif, taker.reduce_only)
    new: types.Position = empty(types.Position)
    change: int256 = 0
    new, change = self.moved(old, taker.side, lots, price, taker.price, count, ppm, board)
    if taker.tif != types.FOK and self.exceeds_cap(market, old.size, trade_lots, config.oi_cap):
        return new, change, health, types.OI_CAP
    if not fixed_point.in_range(held + change) or not fixed_point.in_range(new.cost):
        return new, change, health, types.TOO_LARGE
    if taker.account == INSURANCE:
        return new, change, health, types.OK
    after: types.Terms = margin.replace(health, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    may: bool = True
    if taker.tif == types.LIQUIDATION:
        may = margin.liquidation_may(health, after)
    elif taker.tif != types.FOK:
        may = margin.taker_may(health, after, accounts.falls(old.size, trade_lots))
    if not may:
        return new, change, health, types.INSUFFICIENT_MARGIN
    return new, change, after, types.OK


@internal
def get_taker(market: uint256, account: uint256, board: types.Board) -> (types.Position, int256):
    """@return position and collateral of a taker; those of INSURANCE stand in the market's leaf, with losses already paid."""
    if account != INSURANCE:
        return state.get_position(account, state.find_position(account, market)), state.get_collateral(account)
    insured: types.Insurance = state.get_insurance(market)
    position: types.Position = empty(types.Position)
    position.size = insured.size
    position.cost = insured.cost
    position.funding = insured.funding
    position.market = market
    position.loss = margin.loss_index(insured.size, board)
    return position, insured.cash


@internal
def exceeds_cap(market: uint256, size: int256, lots: int256, oi_cap: uint256) -> bool:
    """@notice Whether a fill could lift open interest beyond the cap: by what the taker opens, if the maker only opens too."""
    opened: uint256 = convert(abs(lots), uint256)
    if size != 0 and (size > 0) != (lots > 0):
        opened = convert(max(0, abs(lots) - abs(size)), uint256)
    return opened != 0 and state.get_open_interest(market) + opened > oi_cap


@internal
def check_maker(
    side: uint256,
    order: types.Order,
    old: types.Position,
    before: types.Terms,
    held: int256,
    board: types.Board,
    ppm: uint256,
    lots: uint256,
    price: uint256,
) -> (types.Position, int256, bool):
    """
    @param before its account's health, and `held` its collateral, with the position `old`
    @param ppm its fee
    @return the maker after a fill: position and change of collateral; and whether it can afford it.
    """
    count: uint256 = COUNT_REDUCE if order.flags & types.ORDER_REDUCE_ONLY != 0 else COUNT_OPEN
    new: types.Position = empty(types.Position)
    change: int256 = 0
    new, change = self.moved(old, side, lots, price, price, count, ppm, board)
    if not fixed_point.in_range(held + change) or not fixed_point.in_range(new.cost):
        return new, change, False
    after: types.Terms = margin.replace(before, margin.terms(old, board), margin.terms(new, board))
    after.equity += change
    return new, change, margin.maker_may(before, after, accounts.falls(old.size, self.signed(side, lots)))


@internal
def trade(
    market: uint256,
    taker: types.Pending,
    order: types.Order,
    index: uint256,
    seq: uint256,
    board: types.Board,
    config: types.Market,
    lots: uint256,
    price: uint256,
    taken: types.Position,
    paid: int256,
    checked: types.Position,
    earned: int256,
):
    """
    @notice Executes a checked fill between the taker and a resting order: their positions and changes of collateral. An order
            that is filled gives the fee back that it held.
    @param index the maker's slot
    """
    taker_fee: int256 = self.fee(lots, price, board.tick_value, self.taker_rate(config, taker.tif))
    maker_fee: int256 = self.fee(lots, price, board.tick_value, config.maker_fee)
    side: uint256 = 1 - taker.side
    made: types.Position = checked
    left: types.Order = order
    left.lots -= lots
    back: int256 = 0
    if left.lots == 0:
        made.open_orders -= 1
        state.add_open_orders(order.account, -1)
        back = convert(params.REST_FEE, int256)
    longs: int256 = self.apply_fill(market, order.account, index, side, lots, made, earned + back)
    shorts: int256 = longs - self.signed(side, lots)
    own: uint256 = types.NO_INDEX
    if taker.account != INSURANCE:
        own = state.find_position(taker.account, market)
    taken_longs: int256 = self.apply_fill(market, taker.account, own, taker.side, lots, taken, paid)
    state.add_open_interest(market, longs + taken_longs)
    if taker.account != INSURANCE:
        longs += taken_longs
        shorts = longs
    if board.loss_long != 0 or board.loss_short != 0:
        state.add_side_lots(market, longs, shorts)
    state.add_fees(taker_fee + maker_fee - back)
    state.set_order(market, side, price, seq, left)
    if made.size == 0:
        accounts.release_position(order.account, index)


@internal
def apply_fill(
    market: uint256,
    account: uint256,
    index: uint256,
    side: uint256,
    lots: uint256,
    position: types.Position,
    change: int256,
) -> int256:
    """@notice Writes one side of a fill. @return the change of its long lots."""
    if account == INSURANCE:
        cash: int256 = state.get_insurance(market).cash + change
        state.set_insurance(
            market, types.Insurance(cash=cash, size=position.size, cost=position.cost, funding=position.funding)
        )
    else:
        state.set_position(account, index, position)
        state.add_collateral(account, change)
    return max(0, position.size) - max(0, position.size - self.signed(side, lots))


@internal
def rest(market: uint256, taker: types.Pending, equity: int256) -> uint256:
    """@notice Puts what is left of an order into the book, if its account can still carry it."""
    if not self.may_hold(taker.account, equity):
        self.drop_open(market, taker)
        return types.INSUFFICIENT_MARGIN
    order: types.Order = types.Order(
        account=taker.account,
        lots=taker.lots,
        client_id=taker.client_id,
        expiry=taker.expiry,
        flags=types.ORDER_REDUCE_ONLY if taker.reduce_only != 0 else 0,
        limit=0,
    )
    self.hold(market, taker.side, taker.price, order)
    return types.OK


@internal
def may_hold(account: uint256, equity: int256) -> bool:
    """@notice Whether an account may have one more resting order: its fee is held, and may not take equity below zero."""
    if state.get_open_orders(account) >= params.OPEN_ORDERS_MAX:
        return False
    held: int256 = convert(params.REST_FEE, int256)
    return state.get_collateral(account) >= held and equity >= held


@internal
def hold(market: uint256, side: uint256, price: uint256, order: types.Order):
    """@notice Inserts a resting order behind all of its price, and holds its fee."""
    held: int256 = convert(params.REST_FEE, int256)
    state.add_collateral(order.account, -held)
    state.add_fees(held)
    index: uint256 = state.find_position(order.account, market)
    position: types.Position = state.get_position(order.account, index)
    position.open_orders += 1
    state.set_position(order.account, index, position)
    state.add_open_orders(order.account, 1)
    state.set_order(market, side, price, state.take_seq(market), order)


@internal
def drop_open(market: uint256, taker: types.Pending):
    """@notice What is left of an order that does not rest counts as open no more."""
    index: uint256 = state.find_position(taker.account, market)
    position: types.Position = state.get_position(taker.account, index)
    notional: uint256 = taker.price * taker.lots * state.get_board(market).tick_value
    count: uint256 = self.counting(taker.tif, taker.reduce_only)
    state.set_position(taker.account, index, self.uncount(position, taker.side, taker.lots, notional, count))
    accounts.release_position(taker.account, index)


@internal
def remove(market: uint256, side: uint256, price: uint256, seq: uint256, order: types.Order, refund: bool):
    """@notice Takes a resting order out of the book."""
    self.uncount_resting(market, side, price, seq, order, order.lots)
    state.set_order(market, side, price, seq, empty(types.Order))
    self.close_order(market, order.account, refund)


@internal
def uncount_resting(market: uint256, side: uint256, price: uint256, seq: uint256, order: types.Order, lots: uint256):
    """
    @notice Some lots of a resting order stop counting as open. Triggers never counted, and orders under `min_seq`
            (`reduce_min_seq`) stopped when it rose.
    """
    if side >= types.TRIGGER_FALL:
        return
    index: uint256 = state.find_position(order.account, market)
    assert index != types.NO_INDEX, "a resting order has a position slot"
    position: types.Position = state.get_position(order.account, index)
    count: uint256 = COUNT_OPEN
    if order.flags & types.ORDER_REDUCE_ONLY != 0:
        count = COUNT_REDUCE if seq >= position.reduce_min_seq else COUNT_NOWHERE
    elif seq < position.min_seq:
        count = COUNT_NOWHERE
    notional: uint256 = price * lots * state.get_board(market).tick_value
    state.set_position(order.account, index, self.uncount(position, side, lots, notional, count))


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
