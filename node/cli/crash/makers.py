"""Makers: who stands on the other side, and how they withdraw when it gets rough.

Volatility s is an exponentially weighted estimate over five minutes, per square root of a second; v = s / CALM. Every
maker holds equity far beyond its quotes: it is hedged elsewhere, and its solvency is not the subject here.

    near maker   two levels a side at 1 and 3 half-spreads of 3 bp * (1 + v), with a third and two thirds of
                 D = open interest * 3% / (1 + v**2 / 16): quick money leaves with the square of volatility
    far maker    two levels a side at 1.5% and 4%, with D0 * (1, 3) / (1 + v / 8), D0 = open interest * 3%
    dealer       the other side of those who open positions, 5 bp from the price, only while they do

The near maker leans against what it had to take: it shifts both sides by up to 50 bp as its inventory goes to a tenth
of the open interest, which is what makes a perpetual trade below its index in a cascade; it hedges elsewhere, so that
half of an inventory counts no more after ten minutes. Depth that leaves as volatility
comes: Kirilenko et al., "The Flash Crash: High-Frequency Trading in an Electronic Market", Journal of Finance 72
(2017); at v = 8, a per cent a minute, a fifth of the near depth is left. Depth of
1% to 3% of open interest within 1% of the price is the order of magnitude that large venues show, and in a rout they
trade several times their open interest an hour: what is taken is back with the next price, 20 s later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from node.cli.crash.chain import Chain
from node.cli.crash.settings import deposit_message
from node.cli.crash.tape import STEP_MS, Floats, Ints
from node.stf.types import BUY, CANCEL, PLACE, POST_ONLY, SELL, Action, Status

CALM: Final = 150e-6
DEPTH: Final = 0.03
SPREAD: Final = 0.0003
LEAN: Final = 0.005
LEAN_AT: Final = 0.1
NEAR: Final = ((1, 0.33), (3, 0.67))
FAR: Final = ((0.015, 1), (0.04, 3))
NEAR_MOVES: Final = 0.0005
FAR_MOVES: Final = 0.005
MEMORY_S: Final = 300.0
HEDGE_MS: Final = 600_000  # half of an inventory is hedged in this time
EQUITY: Final = 5 * 10**15  # micro-USD
NEAR_OWNER: Final = 0xA1
FAR_OWNER: Final = 0xA2
DEALER_OWNER: Final = 0xA3
MAKERS: Final = 3


def volatility(path: Ints) -> Floats:
    """s at every step of a path: one row a market. The first values are CALM."""
    returns = np.diff(np.log(path), axis=1, prepend=np.log(path[:, :1]))
    keep = float(np.exp(-STEP_MS / 1_000 / MEMORY_S))
    variance = np.full(len(path), CALM**2)
    found = np.empty(path.shape)
    for step in range(path.shape[1]):
        variance = keep * variance + (1 - keep) * returns[:, step] ** 2 / (STEP_MS / 1_000)
        found[:, step] = np.sqrt(variance)
    return found


@dataclass(slots=True)
class Quotes:
    """One maker's orders in one market: (side, price, seq, client id), and what they were made for."""

    orders: list[tuple[int, int, int, int]] = field(default_factory=list)
    price: int = 0
    volatility: float = 0.0
    inventory: int = 0


class Makers:
    """All three, on one chain."""

    def __init__(self, chain: Chain, markets: int) -> None:
        self._chain = chain
        self._markets = markets
        self._names = 0
        self._near = [Quotes() for _ in range(markets)]
        self._far = [Quotes() for _ in range(markets)]
        self._dealer = [Quotes() for _ in range(markets)]
        self._base = [0.0] * markets  # inventory that is hedged
        self._hedged_at = 0
        self.interest = [0] * markets
        self.near, self.far, self.dealer = 1, 2, 3

    @staticmethod
    def fund(chain: Chain) -> None:
        """Open their accounts: the first three of a chain."""
        for owner in (NEAR_OWNER, FAR_OWNER, DEALER_OWNER):
            chain.deposit(deposit_message(0, owner, EQUITY))

    def fork(self, chain: Chain) -> Makers:
        """The same makers on a chain that goes on from this one's state. No quote may stand."""
        other = Makers(chain, self._markets)
        other._names, other.interest, other._base = self._names, list(self.interest), list(self._base)
        other._hedged_at = self._hedged_at
        return other

    def settle_in(self) -> None:
        """Take the open interest of now as the market's size, and the inventory of now as wanted."""
        for market in range(self._markets):
            self.interest[market] = self._chain.market(market).open_interest
            self._base[market] = self._held(self.near, market)
        self._hedged_at = self._chain.time

    def quote(self, prices: list[int], volatilities: list[float]) -> None:
        """Adjust near and far quotes to these prices, where they have moved enough."""
        self._hedge()
        for market, price in enumerate(prices):
            s = volatilities[market]
            far, near = self._far[market], self._near[market]
            if self._stale(far, self.far, market, price, s, FAR_MOVES):
                self._replace(self.far, FAR_OWNER, market, far, price, s, self._far_levels(market, price, s))
            if self._stale(near, self.near, market, price, s, max(NEAR_MOVES, SPREAD * (1 + s / CALM) / 2)):
                self._replace(self.near, NEAR_OWNER, market, near, price, s, self._near_levels(market, price, s))

    def deal(self, prices: list[int], lots: int) -> None:
        """The dealer quotes ``lots`` a side of every market."""
        for market, price in enumerate(prices):
            step = max(1, round(price * 0.0005))
            levels = [(BUY, price - step, lots), (SELL, price + step, lots)]
            self._replace(self.dealer, DEALER_OWNER, market, self._dealer[market], price, 0.0, levels)

    def withdraw(self) -> None:
        """The dealer goes home."""
        for market in range(self._markets):
            self._replace(self.dealer, DEALER_OWNER, market, self._dealer[market], 0, 0.0, [])

    def withdraw_all(self) -> None:
        """Nobody quotes."""
        self.withdraw()
        for market in range(self._markets):
            self._replace(self.near, NEAR_OWNER, market, self._near[market], 0, 0.0, [])
            self._replace(self.far, FAR_OWNER, market, self._far[market], 0, 0.0, [])

    def _hedge(self) -> None:
        keep = 0.5 ** ((self._chain.time - self._hedged_at) / HEDGE_MS)
        for market in range(self._markets):
            held = self._held(self.near, market)
            self._base[market] = held + (self._base[market] - held) * keep
        self._hedged_at = self._chain.time

    # --- levels -------------------------------------------------------------------------------------------------------

    def _near_levels(self, market: int, price: int, s: float) -> list[tuple[int, int, int]]:
        v = s / CALM
        half = SPREAD * (1 + v)
        depth = self.interest[market] * DEPTH / (1 + v * v / 16)
        taken = self._held(self.near, market) - self._base[market]
        middle = price * (1 - LEAN * max(-1.0, min(1.0, taken / max(1.0, LEAN_AT * self.interest[market]))))
        return _both_sides(middle, [(half * times, depth * share) for times, share in NEAR])

    def _far_levels(self, market: int, price: int, s: float) -> list[tuple[int, int, int]]:
        depth = self.interest[market] * DEPTH / (1 + s / CALM / 8)
        return _both_sides(price, [(away, depth * times) for away, times in FAR])

    def _stale(self, quotes: Quotes, account: int, market: int, price: int, s: float, moves: float) -> bool:
        if not quotes.orders or abs(price - quotes.price) > moves * quotes.price:
            return True
        changed = abs(s - quotes.volatility) > 0.25 * quotes.volatility
        return changed or self._held(account, market) != quotes.inventory

    def _held(self, account: int, market: int) -> int:
        return next((p.size for p in self._chain.row(account).positions if p.market == market), 0)

    # --- orders -------------------------------------------------------------------------------------------------------

    def _replace(
        self, account: int, owner: int, market: int, quotes: Quotes, price: int, s: float,
        levels: list[tuple[int, int, int]],
    ) -> None:
        listed = [
            Action(op=CANCEL, market=market, side=side, price=at, seq=seq, client_id=name)
            for side, at, seq, name in quotes.orders]
        cancels = len(listed)
        for side, at, lots in levels:
            self._names += 1
            listed.append(Action(
                op=PLACE, market=market, side=side, price=at, lots=lots, tif=POST_ONLY, client_id=self._names))
        if not listed:
            return
        seq = self._chain.market(market).next_seq
        receipt = self._chain.actions(account, owner, listed)
        quotes.orders = []
        for action, status in zip(listed[cancels:], receipt.action_statuses[cancels:], strict=False):
            if status == Status.OK:
                quotes.orders.append((action.side, action.price, seq, action.client_id))
                seq += 1
        quotes.price, quotes.volatility, quotes.inventory = price, s, self._held(account, market)


def _both_sides(middle: float, levels: list[tuple[float, float]]) -> list[tuple[int, int, int]]:
    """Orders (side, price, lots) of at least a few lots, symmetric about a price."""
    orders = []
    for away, lots in levels:
        if lots >= 10:
            orders.append((BUY, max(1, int(middle * (1 - away))), int(lots)))
            orders.append((SELL, max(2, round(middle * (1 + away)) + 1), int(lots)))
    return orders
