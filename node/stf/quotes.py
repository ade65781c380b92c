"""Quotes: which resting orders are alive, and the mid of a book's best bid and ask.

An order is *dead*, though its leaf still stands, when it cannot fill any more: cancelled by cancel-all, expired, killed
by its account's dead man's switch, or reduce-only without a position to reduce. Dead orders are removed when they are
visited. The mid looks at one order a side and does not walk: where the best order is dead there is no mid, so the look
costs the same whatever stands in the book.
"""

from node.stf import state
from node.stf.types import BUY, ORDER_REDUCE_ONLY, ORDER_TRIGGER_SELL, SELL, TRIGGER_FALL, Order, Position


def is_dead(account: int, market: int, order: Order, seq: int, side: int) -> bool:
    """Whether a resting order of an account can fill no more. ``side`` is the book's, 0 to 3: triggers die too."""
    position = state.get_position(account, state.find_position(account, market))  # an order holds a slot
    return is_dead_beside(position, order, seq, side)


def is_dead_beside(position: Position, order: Order, seq: int, side: int) -> bool:
    """``is_dead`` for who has its account's position at hand."""
    now = state.get_time()
    if order.expiry != 0 and order.expiry < now:
        return True
    cancel_at = state.get_cancel_at(order.account)
    if cancel_at != 0 and cancel_at <= now:
        return True
    if side < TRIGGER_FALL and order.flags & ORDER_REDUCE_ONLY == 0:
        return seq < position.min_seq
    if seq < position.reduce_min_seq:
        return True
    return position.size <= 0 if order_side(order, side) == SELL else position.size >= 0


def order_side(order: Order, side: int) -> int:
    """Whether an order on a book's side 0 to 3 buys or sells."""
    if side < TRIGGER_FALL:
        return side
    return SELL if order.flags & ORDER_TRIGGER_SELL != 0 else BUY


def live(market: int, side: int) -> int:
    """Price of a side's best order in ticks, 0 if there is none or it is dead."""
    price, seq = state.get_best(market, side)
    if price == 0:
        return 0
    order = state.get_order(market, side, price, seq)
    return 0 if is_dead(order.account, market, order, seq, side) else price


def mid(market: int) -> tuple[int, int]:
    """Mid of the live best bid and ask in half ticks, and their spread in ticks; (0, 0) unless both are there."""
    bid = live(market, BUY)
    if bid == 0:
        return 0, 0
    ask = live(market, SELL)
    if ask <= bid:  # no ask
        return 0, 0
    return bid + ask, ask - bid
