"""From a venue's events to actions on our market, with the fills that must come of them.

A plan follows the venue through a plain price-time book. An arrival is placed and matches by itself; the venue's own
reports of what its orders came to are then compared with what the book made of them, and repaired where they differ:

* the venue has less left of an order than the book: replaced at once by what is left (it was filled by something that
  the tape does not show);
* the venue still has more: its reports of one arrival come fill by fill while ours is one step, so only what has not
  come true after SETTLE_MS is repaired;
* the price changed: replaced;
* it ends while it still rests here: cancelled.

Sizes are rounded up to lots, so an arrival never leaves more of a resting order than the venue did; differences up to
DUST_LOTS are rounding. Prices that are no whole tick are rounded away from the other side. Orders belong to accounts in
turn, but never to one that owns what they cross: the rules would cancel the older order instead of trading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.cli.tapes.events import BUY, Event, Op
from node.cli.tapes.ladder import Ladder, Match, Resting
from node.stf.params import EXPOSURE_MAX, LOTS_MAX, OPEN_ORDERS_MAX, PRICE_MAX

SETTLE_MS: Final = 500
SETTLE_EVENTS: Final = 24  # for a tape without times
DUST_LOTS: Final = 8
OI_CAP_MAX: Final = (EXPOSURE_MAX - 1) // PRICE_MAX  # of a market with a tick value of 1 micro-USD
OPEN_MAX: Final = OPEN_ORDERS_MAX - 16

PLACE: Final = "place"
CANCEL: Final = "cancel"


class PlanError(Exception):
    """The tape does not fit the market; the message says which bound it breaks and what to change."""


@dataclass(frozen=True, slots=True)
class Market:
    """What orders are rounded to and bounded by. ``tick`` and ``lot`` in 10**-8 of the tape's units; ``numerator /
    denominator`` scales prices (to a market whose price is not the tape's)."""

    tick: int
    lot: int
    oi_cap: int = OI_CAP_MAX
    numerator: int = 1
    denominator: int = 1

    def ticks(self, price: int, side: int) -> int:
        """Price in ticks, bids rounded down and asks up; scaled prices all down, so that what crossed still does."""
        if self.numerator != self.denominator:
            return max(1, price * self.numerator // (self.denominator * self.tick))
        return max(1, price // self.tick if side == BUY else -(-price // self.tick))

    def lots(self, amount: int) -> int:
        """Size in lots, rounded up."""
        return -(-amount // self.lot)


@dataclass(frozen=True, slots=True)
class Step:
    """One action. ``event``: index of its event; ``account``: index among the plan's accounts; ``name``: its client id,
    unique in the plan."""

    event: int
    account: int
    op: str
    side: int
    price: int
    lots: int
    name: int
    takes: bool = False  # immediate or cancel
    matches: tuple[Match, ...] = ()


@dataclass(slots=True)
class Plan:
    """``counts`` names what was repaired, and how often; ``peak_interest`` is the greatest open interest, lots."""

    steps: list[Step] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    peak_interest: int = 0

    @property
    def matches(self) -> list[tuple[Step, Match]]:
        """All fills, in order."""
        return [(step, match) for step in self.steps for match in step.matches]


@dataclass(slots=True)
class _Account:
    size: int = 0
    open: int = 0
    buys: int = 0
    sells: int = 0


@dataclass(slots=True)
class _Owed:
    """The venue says that ``lots`` are left; due when time or events have passed."""

    lots: int
    time: int
    event: int


class Planner:
    """Feeds events in order; see the module."""

    def __init__(self, market: Market, accounts: int, turn: int) -> None:
        if accounts < 2:
            raise PlanError("a replay needs two accounts or more: no account trades with itself")
        self.plan = Plan()
        self._market = market
        self._book = Ladder()
        self._accounts = [_Account() for _ in range(accounts)]
        self._turn = turn
        self._next_name = 1
        self._names: dict[int, int] = {}
        self._orders: dict[int, Event] = {}
        self._owed: dict[int, _Owed] = {}
        self._ended: set[int] = set()
        self._event = 0

    def feed(self, events: Iterable[Event]) -> Plan:
        """Plan all events. Raises PlanError."""
        for index, event in enumerate(events):
            self._event = index
            self._settle(event.time)
            if event.op is Op.MATCH:
                self._match(event)
            elif event.op is Op.CREATED:
                self._begin(event)
            elif event.op is not Op.PRINT and event.id not in self._ended:
                self._follow(event)
            elif event.op is not Op.PRINT:
                self.plan.counts["said again after the end"] += 1
        return self.plan

    # --- events -------------------------------------------------------------------------------------------------------

    def _begin(self, event: Event) -> None:
        """A new order; or one that left the venue's window and came back."""
        self._ended.discard(event.id)
        before = self._resting(event.id) if event.id in self._names else None
        if before is not None:
            self.plan.counts["created again"] += 1
            self._cancel(before)
        self._orders[event.id] = event
        self._place(event.id, event.side, event.price, self._market.lots(event.amount))

    def _follow(self, event: Event) -> None:
        if event.op is Op.DELETED:
            self._end(event)
        elif event.id in self._names:
            self._change(event)
        else:
            self.plan.counts["first seen when it changed"] += 1
            self._begin(event)

    def _change(self, event: Event) -> None:
        resting = self._resting(event.id)
        left = 0 if resting is None else resting.lots
        lots = self._market.lots(event.amount)
        moved = event.price != self._orders[event.id].price
        self._orders[event.id] = event
        if moved and resting is not None:
            self._replace(event, resting, lots, "moved to another price")
        elif left > lots + DUST_LOTS:
            assert resting is not None, "nothing is less than what is left"
            self._replace(event, resting, lots, "filled by what the tape does not show")
        elif left + DUST_LOTS < lots:
            self._owed[event.id] = _Owed(lots, event.time, self._event)
        else:
            self._owed.pop(event.id, None)

    def _end(self, event: Event) -> None:
        self._ended.add(event.id)
        self._owed.pop(event.id, None)
        if event.id not in self._names:
            self.plan.counts["ended without having begun"] += 1
            return
        resting = self._resting(event.id)
        if resting is None:
            if event.amount > DUST_LOTS * self._market.lot:
                self.plan.counts["cancelled there, filled here"] += 1
            return
        if event.amount == 0 and resting.lots > DUST_LOTS:
            self.plan.counts["filled there, rested here"] += 1
        self._cancel(resting)

    def _match(self, event: Event) -> None:
        """A trade alone: one rests, another takes it."""
        lots = self._market.lots(event.amount)
        price = self._market.ticks(event.price, event.side)
        self._put(event.id, 1 - event.side, price, lots, takes=False)
        self._put(event.id, event.side, price, lots, takes=True)

    def _settle(self, time: int) -> None:
        """Repair what the venue said long enough ago and has not come true."""
        due = [id for id, owed in self._owed.items()
               if (time >= owed.time + SETTLE_MS if time else self._event >= owed.event + SETTLE_EVENTS)]
        for id in due:
            owed = self._owed.pop(id)
            order = self._orders[id]
            resting = self._resting(id)
            if resting is not None:
                self._cancel(resting)
            self.plan.counts["filled here, not there"] += 1
            self._place(id, order.side, order.price, owed.lots)

    def _replace(self, event: Event, resting: Resting, lots: int, cause: str) -> None:
        self.plan.counts[cause] += 1
        self._cancel(resting)
        self._place(event.id, event.side, event.price, lots)

    def _resting(self, id: int) -> Resting | None:
        return self._book.orders.get(self._names[id])

    # --- steps --------------------------------------------------------------------------------------------------------

    def _place(self, id: int, side: int, price: int, lots: int) -> None:
        if lots > 0:
            self._put(id, side, self._market.ticks(price, side), lots, takes=False)

    def _put(self, id: int, side: int, price: int, lots: int, *, takes: bool) -> None:
        if price > PRICE_MAX or lots > min(LOTS_MAX, self._market.oi_cap):
            raise PlanError(f"an order of {lots} lots at {price} ticks is beyond the rules: use a larger tick or lot")
        crossed = self._book.crossed(side, price, lots)
        account = self._pick(side, lots, {order.account for order in crossed})
        name = self._names[id] = self._next_name
        self._next_name += 1
        order = Resting(name, account, side, price, lots)
        matches = self._book.place(order)
        for match in matches:
            self._trade(match, account, side)
        if takes and order.lots > 0:
            self._book.cancel(name)
        elif order.lots > 0:
            self._count(account, side, 1, order.lots)
        self.plan.steps.append(Step(self._event, account, PLACE, side, price, lots, name, takes, tuple(matches)))

    def _cancel(self, order: Resting) -> None:
        self._book.cancel(order.name)
        self._count(order.account, order.side, -1, -order.lots)
        self.plan.steps.append(
            Step(self._event, order.account, CANCEL, order.side, order.price, order.lots, order.name))

    def _trade(self, match: Match, taker: int, side: int) -> None:
        left = self._book.orders.get(match.name)
        self._count(match.account, 1 - side, 0 if left is not None else -1, -match.lots)
        sign = 1 if side == BUY else -1
        self._accounts[taker].size += sign * match.lots
        self._accounts[match.account].size -= sign * match.lots
        interest = sum(account.size for account in self._accounts if account.size > 0)
        self.plan.peak_interest = max(self.plan.peak_interest, interest)
        if interest > self._market.oi_cap:
            raise PlanError(f"open interest passes {self._market.oi_cap} lots: choose a larger lot")

    def _count(self, account: int, side: int, orders: int, lots: int) -> None:
        row = self._accounts[account]
        row.open += orders
        if side == BUY:
            row.buys += lots
        else:
            row.sells += lots

    def _pick(self, side: int, lots: int, crossed: set[int]) -> int:
        """An account with room that owns nothing of what it would cross; another one every ``turn`` orders."""
        first = self._next_name // self._turn
        for offset in range(len(self._accounts)):
            index = (first + offset) % len(self._accounts)
            row = self._accounts[index]
            buys, sells = (row.buys + lots, row.sells) if side == BUY else (row.buys, row.sells + lots)
            exposure = max(abs(row.size + buys), abs(row.size - sells))
            if index not in crossed and row.open < OPEN_MAX and exposure <= self._market.oi_cap:
                return index
        if len(crossed) == len(self._accounts):
            raise PlanError(f"one order crosses orders of all {len(crossed)} accounts: use more accounts")
        raise PlanError(
            f"none of {len(self._accounts)} accounts has room for {lots} more lots: use more accounts or a larger lot")


def make_plan(
    events: Sequence[Event], tick: int, *, accounts: int, turn: int, lots: Sequence[int] = (), oi_cap: int = OI_CAP_MAX,
    numerator: int = 1, denominator: int = 1,
) -> tuple[Market, Plan]:
    """The plan with the smallest of ``lots`` (10**-8 units; default: 1, 10, …) that fits. Raises PlanError."""
    problem = PlanError("no lot given")
    for lot in lots or [10**power for power in range(9)]:
        market = Market(tick, lot, oi_cap, numerator, denominator)
        try:
            return market, Planner(market, accounts, turn).feed(events)
        except PlanError as error:
            problem = error
    raise problem
