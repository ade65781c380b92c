# pragma version 0.4.3
"""
@title  Prices: publisher slots of a market, their quorum and median, and what "fresh" means
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/oracle.py. A mark is the median of the fresh slots; a price is fresh while
        L2 time - mark_time <= stale_ms, where mark_time is the time of the quorum-th newest slot.
"""
from stf import params
from stf import state
from stf import types

uses: state


@internal
def is_fresh(board: types.Board) -> bool:
    return board.mark > 0 and board.mark_time + board.stale_ms >= state.get_time()


@internal
def publish(market: uint256, slot: uint256, signer: uint256, time: uint256, price: uint256) -> uint256:
    """@notice Takes one publisher's price for one market and recomputes the mark."""
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    publisher: types.Publisher = state.get_publisher(market, slot)
    if publisher.address == 0 or publisher.address != signer:
        return types.NO_PUBLISHER
    if time <= publisher.time or time > state.get_time():
        return types.BAD_TIME
    if price == 0:
        return types.BAD_PRICE
    publisher.price = price
    publisher.time = time
    state.set_publisher(market, slot, publisher)
    self.update_mark(market)
    return types.OK


@internal
def update_mark(market: uint256):
    """@notice Recomputes the mark from the slots; keeps the last one while fewer than a quorum are fresh."""
    board: types.Board = state.get_board(market)
    quorum: uint256 = state.get_market(market).quorum
    prices: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    times: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    count: uint256 = 0
    prices, times, count = self.fresh_slots(market, board.stale_ms)
    if count == 0 or count < quorum or board.status == types.HALTED:
        return
    prices = self.sort(prices, count)
    times = self.sort(times, count)
    board.mark = self.median(prices, count)
    board.mark_time = times[count - quorum]
    state.set_board(market, board)


@internal
def fresh_slots(
    market: uint256, stale_ms: uint256
) -> (uint256[params.PUBLISHERS_MAX], uint256[params.PUBLISHERS_MAX], uint256):
    """@return prices and times of the slots published within `stale_ms`, and their number."""
    prices: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    times: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    count: uint256 = 0
    now: uint256 = state.get_time()
    slots: uint256 = state.get_publisher_count(market)
    for slot: uint256 in range(slots, bound=params.PUBLISHERS_MAX):
        publisher: types.Publisher = state.get_publisher(market, slot)
        if publisher.address != 0 and publisher.price != 0 and publisher.time + stale_ms >= now:
            prices[count] = publisher.price
            times[count] = publisher.time
            count += 1
    return prices, times, count


@pure
@internal
def sort(values: uint256[params.PUBLISHERS_MAX], count: uint256) -> uint256[params.PUBLISHERS_MAX]:
    """@return the first `count` values in ascending order (insertion sort: at most 8)."""
    sorted: uint256[params.PUBLISHERS_MAX] = values
    for i: uint256 in range(1, max(1, count), bound=params.PUBLISHERS_MAX):
        value: uint256 = sorted[i]
        at: uint256 = i
        for _: uint256 in range(i, bound=params.PUBLISHERS_MAX):
            if sorted[at - 1] <= value:
                break
            sorted[at] = sorted[at - 1]
            at -= 1
        sorted[at] = value
    return sorted


@pure
@internal
def median(prices: uint256[params.PUBLISHERS_MAX], count: uint256) -> uint256:
    """@return the middle of `count` >= 1 ascending prices; the mean, rounded down, of the middle two of an even count."""
    middle: uint256 = count // 2
    if count % 2 == 1:
        return prices[middle]
    return (prices[middle - 1] + prices[middle]) // 2
