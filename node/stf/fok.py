"""Fill-or-kill orders are tried on paper first: the same visits, in the same order, with the same checks of makers, as
their fills will be. So one fills whole, or nothing of it happens.

What the scan finds is exact, not an estimate. Between it and the fills nobody else acts; a visit changes only its maker
and the taker; and a maker that the scan meets twice is carried on from its first planned fill, the refund of a filled
order's fee included. Makers' checks do not depend on the taker, and the taker is checked once, with all of it filled.
"""

from copy import copy
from dataclasses import dataclass, field

from node.stf import accounts, book, margin, quotes, state
from node.stf.fixed_point import in_range
from node.stf.params import FOK_DEPTH_MAX, REST_FEE, WORK_STEP
from node.stf.types import CANCEL_RESTING, ORDER_REDUCE_ONLY, Board, Pending, Position, Status, Terms


@dataclass(slots=True)
class Planned:
    """A maker as the fills that a fill-or-kill has planned so far would leave it."""

    account: int = 0
    position: Position = field(default_factory=Position)
    change: int = 0  # signed, of its collateral


def scan(market: int, taker: Pending, health: Terms, steps_max: int) -> tuple[Status, int]:
    """Try an order that counts as open on paper. Returns OK if it will fill whole, and the steps left for that.

    Each order that is looked at takes one step here and one when it is visited again: half of the steps are the depth.
    """
    board = state.get_board(market)
    config = state.get_market(market)
    left = taker.lots
    mine, held = book.get_taker(market, taker.account, board)
    after = copy(mine)
    paid = 0
    ppm = book.taker_rate(config, taker.tif)
    count = book.counting(taker.tif, taker.reduce_only)
    makers: list[Planned] = []
    steps = steps_max
    price, seq = state.get_best(market, 1 - taker.side)
    for _ in range(min(FOK_DEPTH_MAX, steps_max // 2)):
        if left == 0 or not book.reaches(taker.side, taker.price, price):
            break
        steps -= 1
        state.spend_work(WORK_STEP)
        lots, status = plan(market, 1 - taker.side, price, seq, taker, left, board, config.maker_fee, makers)
        if status != Status.OK:
            return status, steps
        if lots != 0:
            after, change = book.moved(after, taker.side, lots, price, taker.price, count, ppm, board)
            paid += change
            left -= lots
            if not in_range(held + paid) or not in_range(after.cost):
                return Status.TOO_LARGE, steps
        if left != 0:
            price, seq = state.get_next(market, 1 - taker.side, price, seq)
    if left != 0:
        deeper = book.reaches(taker.side, taker.price, price)
        return Status.FOK_TOO_DEEP if deeper else Status.FOK_UNFILLED, steps
    return check_whole(market, taker, health, mine, after, paid, board, config.oi_cap), steps


def plan(
    market: int,
    side: int,
    price: int,
    seq: int,
    taker: Pending,
    left: int,
    board: Board,
    ppm: int,
    makers: list[Planned],
) -> tuple[int, Status]:
    """What a visit to one resting order will fill; adds its maker to ``makers`` or moves it on. 0 lots: it will go.

    ``ppm`` is the maker's fee.
    """
    order = state.get_order(market, side, price, seq)
    stored = state.get_position(order.account, state.find_position(order.account, market))
    if quotes.is_dead_beside(stored, order, seq, side):
        return 0, Status.OK
    if order.account == taker.account:
        return 0, Status.OK if taker.self_trade == CANCEL_RESTING else Status.SELF_TRADE
    planned = Planned(order.account, copy(stored), 0)
    at = len(makers)
    for i in range(len(makers)):
        if makers[i].account == order.account:
            planned = makers[i]
            at = i
    lots = book.fillable(left, order, planned.position)
    if order.flags & ORDER_REDUCE_ONLY != 0 and not book.reduces(planned.position.size, side):
        lots = 0
    if lots == 0:
        return 0, Status.OK
    before = margin.health(order.account)
    before = margin.replace(before, margin.terms(stored, board), margin.terms(planned.position, board))
    before.equity += planned.change
    held = state.get_collateral(order.account) + planned.change
    made, change, affordable = book.check_maker(
        side, order, planned.position, before, held, board, ppm, lots, price
    )
    if not affordable:
        return 0, Status.OK
    change += planned.change
    if lots == order.lots:
        change += REST_FEE
    planned = Planned(order.account, made, change)
    if at == len(makers):
        makers.append(planned)
    else:
        makers[at] = planned
    return lots, Status.OK


def check_whole(
    market: int, taker: Pending, health: Terms, old: Position, new: Position, paid: int, board: Board, oi_cap: int
) -> Status:
    """The fill check of a fill-or-kill: its account with all of it filled."""
    lots = book.signed(taker.side, taker.lots)
    if book.exceeds_cap(market, old.size, lots, oi_cap):
        return Status.OI_CAP
    after = margin.replace(health, margin.terms(old, board), margin.terms(new, board))
    after.equity += paid
    if not margin.taker_may(health, after, accounts.falls(old.size, lots)):
        return Status.INSUFFICIENT_MARGIN
    return Status.OK
