"""Our book beside the venue's own account of itself: its best bids and offers, and the trades it reported.

Each row of the venue's best bid and offer is set against our book after the last event that arrived no later. Where
prices differ, the cause is looked for in this order:

    RACE     our book agreed at some moment of the RACE_MS before: the snapshot and the event crossed on their way
    OLDER    an order from before the tape stands (or stood) there: without hindsight it cannot be known
    UNNAMED  the venue shows a price at which the tape names no order that lives: it was never told of
    UNSHOWN  our better price is that of an order which lives by the tape too: the snapshot leaves it out
    MATCHED  the rest: our matching and the venue's made different things of the same orders
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from node.cli.tapes.events import BUY, SELL, Event, Op, Quote
from node.cli.tapes.plan import DUST_LOTS, Market

RACE_MS: Final = 20
AMOUNT_LOTS: Final = 16  # a level of many orders, each rounded up
EXAMPLES_MAX: Final = 50

RACE: Final = "an event arrived within 20 ms before the snapshot, which does not show it yet"
OLDER: Final = "an order older than the tape"
UNNAMED: Final = "the venue shows an order that the tape never names"
UNSHOWN: Final = "the snapshot leaves out an order that lives by the tape"
MATCHED: Final = "matched differently here and there"

Top = tuple[int, int, int, int]


@dataclass(slots=True)
class Comparison:
    """``prices``: rows whose best prices agree; ``amounts``: of these, rows whose sizes agree too."""

    rows: int = 0
    prices: int = 0
    amounts: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)


def compare_quotes(
    events: Sequence[Event], tops: Mapping[int, Top], quotes: Sequence[Quote], market: Market,
    older: frozenset[int] = frozenset(),
) -> Comparison:
    """Compare; ``tops`` are our best prices after events, by index of the event, for those that changed the book."""
    indexes = sorted(tops)
    times = [events[index].time for index in indexes]
    old = {(event.side, event.price) for event in events if event.id in older}
    result = Comparison()
    for quote, living in _living(events, quotes):
        at = bisect_right(times, quote.time) - 1
        if at < 0:
            continue
        result.rows += 1
        ours, theirs = tops[indexes[at]], quote_top(quote, market)
        if (ours[0], ours[2]) == (theirs[0], theirs[2]):
            result.prices += 1
            result.amounts += all(abs(ours[i] - theirs[i]) <= AMOUNT_LOTS for i in (1, 3))
            continue
        before = bisect_right(times, quote.time - RACE_MS - 1) - 1
        recent = [tops[indexes[i]] for i in range(max(0, before), at)]
        cause = _cause(ours, theirs, recent, quote, market, living, old)
        result.causes[cause] += 1
        if len(result.examples) < EXAMPLES_MAX:
            result.examples.append(
                {"row": quote.row, "time": quote.time, "ours": list(ours), "venue": list(theirs), "cause": cause})
    return result


def quote_top(quote: Quote, market: Market) -> Top:
    """The venue's row in ticks and lots."""
    return (market.ticks(quote.bid, BUY), market.lots(quote.bid_amount),
            market.ticks(quote.ask, SELL), market.lots(quote.ask_amount))


def _cause(
    ours: Top, theirs: Top, recent: Sequence[Top], quote: Quote, market: Market, living: Counter[tuple[int, int]],
    old: set[tuple[int, int]],
) -> str:
    if any((top[0], top[2]) == (theirs[0], theirs[2]) for top in recent):
        return RACE
    differing = [(side, price) for side, at, price in ((BUY, 0, quote.bid), (SELL, 2, quote.ask))
                 if ours[at] != theirs[at]]
    if any(place in old for place in differing):
        return OLDER
    if any(living[place] == 0 for place in differing):
        return UNNAMED
    shown = {(side, market.ticks(price, side)) for side, price in living if living[side, price] > 0}
    sides = [(side, ours[2 * side], theirs[2 * side]) for side, _ in differing]
    if all((side, price) in shown and _better(side, price, other) for side, price, other in sides):
        return UNSHOWN
    return MATCHED


def _better(side: int, price: int, other: int) -> bool:
    return price > other if side == BUY else 0 < price < other or other == 0


def _living(
    events: Sequence[Event], quotes: Sequence[Quote],
) -> Iterator[tuple[Quote, Counter[tuple[int, int]]]]:
    """Each quote with the orders that live by the tape at its time: how many per side and price."""
    living: Counter[tuple[int, int]] = Counter()
    places: dict[int, tuple[int, int]] = {}
    at = 0
    for quote in quotes:
        while at < len(events) and events[at].time <= quote.time:
            event = events[at]
            at += 1
            if event.op in (Op.PRINT, Op.MATCH):
                continue
            if event.id in places:
                living[places.pop(event.id)] -= 1
            if event.op is not Op.DELETED and event.amount > 0:
                places[event.id] = (event.side, event.price)
                living[places[event.id]] += 1
        yield quote, living


def compare_trades(events: Sequence[Event], fills: Sequence[tuple[int, int]], market: Market) -> tuple[int, int]:
    """How many of the venue's reported trades our fills (price in ticks, lots) repeat, and how many there are."""
    pool: defaultdict[int, list[int]] = defaultdict(list)
    for price, lots in fills:
        pool[price].append(lots)
    prints = [event for event in events if event.op is Op.PRINT or event.op is Op.MATCH]
    repeated = 0
    for event in prints:
        lots = market.lots(event.amount)
        same = pool[market.ticks(event.price, event.side)]
        found = next((i for i, other in enumerate(same) if abs(other - lots) <= DUST_LOTS), None)
        if found is not None:
            same.pop(found)
            repeated += 1
    return repeated, len(prints)
