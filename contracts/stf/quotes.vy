# pragma version 0.4.3
"""
@title  Quotes: which resting orders are alive, and the mid of a book's best bid and ask
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/quotes.py, where it is said what kills an order.
"""
from stf import state
from stf import types

uses: state


@internal
def is_dead(account: uint256, market: uint256, order: types.Order, seq: uint256, side: uint256) -> bool:
    """@notice Whether a resting order of an account can fill no more. `side` is the book's, 0 to 3: triggers die too."""
    position: types.Position = state.get_position(account, state.find_position(account, market))  # an order holds a slot
    return self.is_dead_beside(position, order, seq, side)


@internal
def is_dead_beside(position: types.Position, order: types.Order, seq: uint256, side: uint256) -> bool:
    """@notice `is_dead` for who has its account's position at hand."""
    now: uint256 = state.get_time()
    if order.expiry != 0 and order.expiry < now:
        return True
    cancel_at: uint256 = state.get_cancel_at(order.account)
    if cancel_at != 0 and cancel_at <= now:
        return True
    if side < types.TRIGGER_FALL and order.flags & types.ORDER_REDUCE_ONLY == 0:
        return seq < position.min_seq
    if seq < position.reduce_min_seq:
        return True
    if self.order_side(order, side) == types.SELL:
        return position.size <= 0
    return position.size >= 0


@pure
@internal
def order_side(order: types.Order, side: uint256) -> uint256:
    """@return whether an order on a book's side 0 to 3 buys or sells."""
    if side < types.TRIGGER_FALL:
        return side
    if order.flags & types.ORDER_TRIGGER_SELL != 0:
        return types.SELL
    return types.BUY


@internal
def live(market: uint256, side: uint256) -> uint256:
    """@return price of a side's best order in ticks, 0 if there is none or it is dead."""
    price: uint256 = 0
    seq: uint256 = 0
    price, seq = state.get_best(market, side)
    if price == 0:
        return 0
    order: types.Order = state.get_order(market, side, price, seq)
    if self.is_dead(order.account, market, order, seq, side):
        return 0
    return price


@internal
def mid(market: uint256) -> (uint256, uint256):
    """@return mid of the live best bid and ask in half ticks, and their spread in ticks; (0, 0) unless both are there."""
    bid: uint256 = self.live(market, types.BUY)
    if bid == 0:
        return 0, 0
    ask: uint256 = self.live(market, types.SELL)
    if ask <= bid:  # no ask
        return 0, 0
    return unsafe_add(bid, ask), unsafe_sub(ask, bid)
