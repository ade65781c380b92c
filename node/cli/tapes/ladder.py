"""A plain price-time order book: what any venue's matching is taken to be, and what the chain's is checked against.

Best price first, then the order that came first; a fill happens at the resting order's price. Prices are ticks, sizes
lots. Two ordered lists of price levels and a queue per level; no account, margin or fee exists here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass, field

from node.cli.tapes.events import BUY, SELL


@dataclass(slots=True)
class Resting:
    """An order. ``name`` is its owner's id for it, unique among all orders ever placed."""

    name: int
    account: int
    side: int
    price: int
    lots: int


@dataclass(frozen=True, slots=True)
class Match:
    """One fill: the resting order's name and account, its price, lots."""

    name: int
    account: int
    price: int
    lots: int


@dataclass(slots=True)
class _Side:
    """Levels of one side; ``keys`` ascend, the best is first (bids negated)."""

    sign: int
    keys: list[int] = field(default_factory=list)
    levels: dict[int, OrderedDict[int, Resting]] = field(default_factory=dict)

    def add(self, order: Resting) -> None:
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = OrderedDict()
            insort(self.keys, self.sign * order.price)
        level[order.name] = order

    def remove(self, order: Resting) -> None:
        level = self.levels[order.price]
        del level[order.name]
        if not level:
            del self.levels[order.price]
            del self.keys[bisect_left(self.keys, self.sign * order.price)]

    def best(self) -> Resting | None:
        return next(iter(self.levels[self.sign * self.keys[0]].values())) if self.keys else None


class Ladder:
    """Both sides of one market."""

    def __init__(self) -> None:
        self.orders: dict[int, Resting] = {}
        self._sides = {BUY: _Side(-1), SELL: _Side(1)}

    def crossed(self, side: int, price: int, lots: int) -> list[Resting]:
        """The resting orders that an order of ``side`` would meet, best first."""
        found: list[Resting] = []
        other = self._sides[1 - side]
        for key in other.keys:
            level = other.sign * key
            if lots <= 0 or (level > price if side == BUY else level < price):
                break
            for order in other.levels[level].values():
                if lots <= 0:
                    break
                found.append(order)
                lots -= order.lots
        return found

    def place(self, order: Resting) -> list[Match]:
        """Match an order; what remains of it rests."""
        matches: list[Match] = []
        for maker in self.crossed(order.side, order.price, order.lots):
            lots = min(order.lots, maker.lots)
            matches.append(Match(maker.name, maker.account, maker.price, lots))
            order.lots -= lots
            self.fill(maker.name, lots)
        if order.lots > 0:
            self.rest(order)
        return matches

    def rest(self, order: Resting) -> None:
        """Add an order without matching."""
        self.orders[order.name] = order
        self._sides[order.side].add(order)

    def fill(self, name: int, lots: int) -> None:
        """Take lots off a resting order."""
        order = self.orders[name]
        order.lots -= lots
        if order.lots <= 0:
            self.cancel(name)

    def cancel(self, name: int) -> None:
        """Take an order out."""
        order = self.orders.pop(name)
        self._sides[order.side].remove(order)

    def top(self) -> tuple[int, int, int, int]:
        """Best bid and its lots, best ask and its lots; zeros for an empty side."""
        bid, ask = self._sides[BUY].best(), self._sides[SELL].best()
        return (
            *((bid.price, self._level_lots(bid)) if bid else (0, 0)),
            *((ask.price, self._level_lots(ask)) if ask else (0, 0)),
        )

    def levels(self, side: int, depth: int) -> list[tuple[int, int, int]]:
        """Price, lots and number of orders of the best levels."""
        half = self._sides[side]
        found = []
        for key in half.keys[:depth]:
            level = half.levels[half.sign * key]
            found.append((half.sign * key, sum(order.lots for order in level.values()), len(level)))
        return found

    def best(self, side: int) -> Resting | None:
        """The order that would be matched first."""
        return self._sides[side].best()

    def _level_lots(self, order: Resting) -> int:
        return sum(other.lots for other in self._sides[order.side].levels[order.price].values())
