"""Prices: publisher slots of a market, their quorum and median, and what "fresh" means.

A mark is the median of the fresh slots, the mean (rounded down) of the middle two for an even count. ``mark_time`` is
the publication time of the quorum-th newest slot, so one comparison tells whether a quorum is fresh at any later time:
a price is fresh while  L2 time - mark_time <= stale_ms.
"""

from node.stf import state
from node.stf.params import PUBLISHERS_MAX
from node.stf.types import HALTED, NO_SUCH_MARKET, Board, Publisher, Status


def is_fresh(board: Board) -> bool:
    """Whether a market's mark rests on a quorum of recent prices."""
    return board.mark > 0 and board.mark_time + board.stale_ms >= state.get_time()


def publish(market: int, slot: int, signer: int, time: int, price: int) -> Status:
    """Take one publisher's price for one market and recompute the mark."""
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    publisher = state.get_publisher(market, slot)
    if publisher.address == 0 or publisher.address != signer:
        return Status.NO_PUBLISHER
    if time <= publisher.time or time > state.get_time():
        return Status.BAD_TIME
    if price == 0:
        return Status.BAD_PRICE
    publisher.price = price
    publisher.time = time
    state.set_publisher(market, slot, publisher)
    update_mark(market)
    return Status.OK


def update_mark(market: int) -> None:
    """Recompute the mark from the slots; keeps the last one while fewer than a quorum are fresh."""
    board = state.get_board(market)
    quorum = state.get_market(market).quorum
    prices, times, count = fresh_slots(market, board.stale_ms)
    if count == 0 or count < quorum or board.status == HALTED:
        return
    sort(prices, count)
    sort(times, count)
    board.mark = median(prices, count)
    board.mark_time = times[count - quorum]
    state.set_board(market, board)


def fresh_slots(market: int, stale_ms: int) -> tuple[list[int], list[int], int]:
    """Prices and times of the slots published within ``stale_ms``, and their number. Arrays of PUBLISHERS_MAX."""
    prices = [0] * PUBLISHERS_MAX
    times = [0] * PUBLISHERS_MAX
    count = 0
    now = state.get_time()
    for slot in range(state.get_publisher_count(market)):
        publisher: Publisher = state.get_publisher(market, slot)
        if publisher.address != 0 and publisher.price != 0 and publisher.time + stale_ms >= now:
            prices[count] = publisher.price
            times[count] = publisher.time
            count += 1
    return prices, times, count


def sort(values: list[int], count: int) -> None:
    """Order the first ``count`` <= PUBLISHERS_MAX values, ascending, in place."""
    values[:count] = sorted(values[:count])


def median(prices: list[int], count: int) -> int:
    """Middle of ``count`` >= 1 ascending prices."""
    middle = count // 2
    if count % 2 == 1:
        return prices[middle]
    return (prices[middle - 1] + prices[middle]) // 2
