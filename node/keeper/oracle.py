"""Publishing prices: a source of prices, and a publisher that signs them for one slot.

A price's time must lie after the slot's last one and not after L2 time, so a publisher dates its prices LAG_MS back: L2
time is at most a block behind the clock. One refused price is no harm, the next one comes in a moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
import trio

from node.l1.keys import Signer
from node.sdk.client import Client
from node.sdk.errors import AnchorlineError, ConnectionLost
from node.sdk.trader import now_ms
from node.stf import encoding
from node.stf.params import PRICE_MAX

log = structlog.get_logger("oracle")

LAG_MS: Final = 1_000
PPM: Final = 1_000_000


class PriceSource(Protocol):
    """Where prices come from."""

    def price(self, market: int, moment_ms: int) -> int:
        """The price in ticks at a moment."""
        ...


class Constant:
    """The same prices for ever."""

    def __init__(self, prices: dict[int, int]) -> None:
        self._prices = prices

    def price(self, market: int, moment_ms: int) -> int:
        """See ``PriceSource``."""
        return self._prices[market]


class Walk:
    """A random walk that everyone with the same seed sees alike, whenever they look: one step every ``step_ms``.

    Each step moves the price by up to ``step_ppm`` either way, and ``pull_ppm`` of the distance back to the start.
    """

    def __init__(
        self, prices: dict[int, int], *, seed: int, begin_ms: int, step_ms: int = 500, step_ppm: int = 400,
        pull_ppm: int = 10_000,
    ) -> None:
        self._start = dict(prices)
        self._now = dict(prices)
        self._done = dict.fromkeys(prices, 0)
        self._random = {market: random.Random(seed * 1_000_003 + market) for market in prices}
        self._begin_ms, self._step_ms, self._step_ppm, self._pull_ppm = begin_ms, step_ms, step_ppm, pull_ppm

    def price(self, market: int, moment_ms: int) -> int:
        """See ``PriceSource``. Moments of a market must not go back by more than a step."""
        steps = max(0, moment_ms - self._begin_ms) // self._step_ms
        while self._done[market] < steps:
            price = self._now[market]
            price += price * self._random[market].randint(-self._step_ppm, self._step_ppm) // PPM
            price += (self._start[market] - price) * self._pull_ppm // PPM
            self._now[market] = min(PRICE_MAX, max(1, price))
            self._done[market] += 1
        return self._now[market]


class Publisher:
    """One slot of some markets (ascending)."""

    def __init__(
        self, client: Client, signer: Signer, slot: int, markets: Sequence[int], source: PriceSource, *,
        period_s: float = 1.0, clock: Callable[[], int] = now_ms,
    ) -> None:
        self._client = client
        self._signer = signer
        self._slot = slot
        self._markets = sorted(markets)
        self._source = source
        self._period_s = period_s
        self._clock = clock
        self.published = 0
        self.refused = 0

    async def run(self) -> None:
        """Publish for ever; refusals are counted, and logged when they repeat. Raises ConnectionLost."""
        failures = 0
        while True:
            try:
                await self.publish()
                failures = 0
            except ConnectionLost:
                raise
            except AnchorlineError as error:
                failures += 1
                self.refused += 1
                level = log.warning if failures >= 3 else log.debug
                level("price_refused", slot=self._slot, failures=failures, reason=error.reason or str(error))
            await trio.sleep(self._period_s)

    async def publish(self) -> None:
        """Send one price of every market. Raises an AnchorlineError."""
        moment = self._clock() - LAG_MS
        prices = [self._source.price(market, moment) for market in self._markets]
        encoding.set_domain(self._client.network.domain)
        signature = self._signer.sign_hash(encoding.oracle_price_digest(self._slot, moment, self._markets, prices))
        listed = [{"market": market, "price": price} for market, price in zip(self._markets, prices, strict=True)]
        await self._client.call("al_sendOraclePrice", {
            "publisher": self._slot, "time": moment, "prices": listed, "signature": "0x" + signature.hex(),
            "signer": "0x" + self._signer.address.hex()})
        self.published += 1
