"""Traders for a devnet: a market maker that quotes a ladder around the price, and a taker that crosses it.

Deterministic by seed, as far as the clock allows; simple on purpose. What the rules refuse is counted, not repeated.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import trio

from node.keeper.figures import Figures
from node.keeper.oracle import PPM, PriceSource
from node.sdk.errors import AnchorlineError, ConnectionLost
from node.sdk.orders import cancel, place
from node.sdk.trader import Sent, Trader, now_ms
from node.stf.types import PLACE, Action

LADDER: Final = 10  # orders a side
HALF_SPREAD_PPM: Final = 200
STEP_PPM: Final = 150
RESTING_MAX: Final = 20  # single orders that a taker leaves in the book
_HARMLESS: Final = frozenset(("OK", "ORDER_NOT_FOUND"))  # a cancel that came after the fill


class Bot:
    """Shared by both: sends actions, keeps the figures."""

    def __init__(self, trader: Trader, figures: Figures) -> None:
        self.trader = trader
        self.figures = figures

    async def send(self, actions: Sequence[Action]) -> Sent | None:
        """Send, measure, count. None when the list was refused whole. Raises ConnectionLost."""
        begun = trio.current_time()
        try:
            sent = await self.trader.send(actions)
        except ConnectionLost:
            raise
        except AnchorlineError as error:
            self.figures.refused[error.reason or error.kind] += 1
            return None
        figures = self.figures
        figures.promise_ms.append((trio.current_time() - begun) * 1_000)
        placed = sum(action.op == PLACE for action in actions)
        figures.orders += placed
        figures.cancels += len(actions) - placed
        figures.fills += len(sent.fills)
        figures.lots += sent.filled
        if len(actions) == 1 and placed:
            figures.singles += 1
            figures.single_bytes += sent.bytes
        elif placed > 1:
            figures.listed += placed
            figures.listed_bytes += sent.bytes
        figures.refused.update(status for status in sent.statuses if status not in _HARMLESS)
        return sent


class Maker:
    """Quotes both sides of one market: LADDER orders a side, replaced every period under one signature."""

    def __init__(
        self, bot: Bot, market: int, source: PriceSource, *, lots: int = 40, period_s: float = 1.0,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._bot = bot
        self._market = market
        self._source = source
        self._lots = lots
        self._period_s = period_s
        self._clock = clock
        self._resting: list[int] = []
        self._ids = count(1)  # short ids, short transactions: an account of its own needs no more

    async def run(self) -> None:
        """Quote for ever."""
        while True:
            await self.quote()
            await trio.sleep(self._period_s)

    async def quote(self) -> None:
        """A fresh ladder in place of the old one."""
        if self._resting:
            await self._bot.send([cancel(self._market, client_id) for client_id in self._resting])
            self._resting = []
        ladder = self.ladder()
        sent = await self._bot.send(ladder)
        if sent is not None:
            self._resting = [action.client_id for action, status in zip(ladder, sent.statuses, strict=True)
                             if status == "OK"]

    def ladder(self) -> list[Action]:
        """Orders on both sides of the price, larger the further away."""
        middle = self._source.price(self._market, self._clock())
        actions: list[Action] = []
        for rung in range(LADDER):
            away = middle * (HALF_SPREAD_PPM + rung * STEP_PPM) // PPM + 1
            for side, price in (("buy", middle - away), ("sell", middle + away)):
                actions.append(place(
                    self._market, "buy" if side == "buy" else "sell", price, self._lots * (1 + rung),
                    client_id=next(self._ids), tif="POST_ONLY"))
        return actions


class Taker:
    """Sends single orders: mostly ones that cross the book, some that rest."""

    def __init__(
        self, bot: Bot, markets: Sequence[int], source: PriceSource, *, seed: int, rate_s: float = 10.0,
        lots_max: int = 60, clock: Callable[[], int] = now_ms,
    ) -> None:
        self._bot = bot
        self._markets = markets
        self._source = source
        self._random = random.Random(seed)
        self._pause_s = 1 / rate_s
        self._lots_max = lots_max
        self._clock = clock
        self._held = dict.fromkeys(markets, 0)
        self._resting: deque[tuple[int, int]] = deque()

    async def run(self) -> None:
        """Trade for ever."""
        while True:
            await self.trade()
            await trio.sleep(self._pause_s)

    async def trade(self) -> None:
        """One order. The side that reduces what is held becomes likelier as that grows."""
        market = self._random.choice(self._markets)
        held = self._held[market]
        buys = self._random.randint(-1_000, 1_000) > held
        lots = self._random.randint(1, self._lots_max)
        middle = self._source.price(market, self._clock())
        crosses = self._random.randint(1, 100) <= 80
        away = middle * (3_000 if crosses else -5_000) // PPM
        client_id = self._bot.trader.next_client_id()
        sent = await self._bot.send([place(
            market, "buy" if buys else "sell", middle + away if buys else middle - away, lots,
            client_id=client_id, tif="IOC" if crosses else "GTC")])
        if sent is not None:
            self._held[market] += sent.filled if buys else -sent.filled
            if not crosses:
                self._resting.append((market, client_id))
        if len(self._resting) > RESTING_MAX:
            await self._bot.send([cancel(*self._resting.popleft())])
