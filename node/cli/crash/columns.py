"""All accounts at once, in columns of integers: a screen that says who may need a liquidation.

The rules judge one account in some 30 microseconds; a keeper that watches thousands at every step screens them first.
Equity here is exact (the same integers as ``margin.health``); maintenance is computed in floating point and compared
with a margin of a millionth, so the screen may name an account too many and never one too few. Both claims are checked
against the rules on samples while a replay runs, and the columns' sums against the totals in ``G``.

    E = collateral + sum(s * (p * t - F + F0) - c - |s| * (L - L0) - N * haircut)
    M = sum N * min(cap, base + N / impact),   N = |s| * p * t
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from node.cli.crash.chain import Chain, CrashError
from node.cli.crash.tape import Floats, Ints
from node.stf.params import PPM
from node.stf.types import FLAG_BUFFERED, FLAG_OPT_IN, Board

SLACK = 1.000_001


@dataclass(slots=True)
class Columns:
    """One row an account (row i is account i + 1), one column a market. Units: lots, micro-USD."""

    collateral: Ints
    size: Ints
    cost: Ints
    funding: Ints
    loss: Ints
    flags: Ints
    haircuts: list[int]  # of every market, ppm: 0 while its price is fresh

    @staticmethod
    def empty(accounts: int, markets: int) -> Columns:
        """For so many accounts."""
        one, table = np.zeros(accounts, dtype=np.int64), np.zeros((accounts, markets), dtype=np.int64)
        return Columns(one.copy(), table.copy(), table.copy(), table.copy(), table.copy(), one.copy(), [0] * markets)

    def copy(self) -> Columns:
        """Columns of their own."""
        return Columns(
            self.collateral.copy(), self.size.copy(), self.cost.copy(), self.funding.copy(), self.loss.copy(),
            self.flags.copy(), list(self.haircuts))

    def refresh(self, chain: Chain, accounts: Iterable[int]) -> None:
        """Take over what the rules now know of these accounts."""
        for account in accounts:
            row, at = chain.row(account), account - 1
            self.collateral[at] = row.collateral
            self.flags[at] = row.flags
            self.size[at] = self.cost[at] = 0
            for position in row.positions:
                market = position.market
                self.size[at, market] = position.size
                self.cost[at, market] = position.cost
                self.funding[at, market] = position.funding
                self.loss[at, market] = position.loss

    # --- the screen ---------------------------------------------------------------------------------------------------

    def equity(self, boards: list[Board]) -> Ints:
        """Equity of every account, exact."""
        total = self.collateral.copy()
        for market, board in enumerate(boards):
            size = self.size[:, market]
            total += size * (board.mark * board.tick_value - board.funding + self.funding[:, market])
            total -= self.cost[:, market]
            moved = np.where(size > 0, board.loss_long, board.loss_short) - self.loss[:, market]
            total -= np.abs(size) * moved
            total += -(np.abs(size) * (board.mark * board.tick_value) * self.haircuts[market]) // PPM
        return total

    def maintenance(self, boards: list[Board]) -> Floats:
        """Maintenance margin of every account, to a few micro-USD."""
        total = np.zeros(len(self.collateral))
        for market, board in enumerate(boards):
            total += requirement(np.abs(self.size[:, market]) * float(board.mark * board.tick_value), board)
        return total

    def shock(self, boards: list[Board], horizon_root: int) -> Floats:
        """What predictive reduction fears to lose within its horizon."""
        total = np.zeros(len(self.collateral))
        for market, board in enumerate(boards):
            total += np.abs(self.size[:, market]) * (float(board.mark * board.tick_value) * board.risk)
        return total * (horizon_root / 1e14)

    def candidates(self, boards: list[Board], horizon_root: int, closeout: int) -> list[int]:
        """Accounts that a Liquidate may act on now: under maintenance, buffered, or opted in and in danger."""
        equity = self.equity(boards).astype(np.float64)
        maintenance = self.maintenance(boards)
        named = (equity < maintenance * SLACK + 10) & (maintenance > 0)
        named |= ((self.flags & FLAG_BUFFERED) != 0) & (maintenance > 0)
        danger = equity - self.shock(boards, horizon_root) < maintenance * (closeout / PPM) * SLACK + 10
        named |= danger & ((self.flags & FLAG_OPT_IN) != 0) & (maintenance > 0)
        return [int(at) + 1 for at in np.flatnonzero(named)]

    def quiet(self, boards: list[Board], lows: list[int], highs: list[int], horizon_root: int, closeout: int) -> bool:
        """Whether no account can become a candidate while marks stay within these bounds (with 1% to spare)."""
        if np.any((self.flags[:, None] & FLAG_BUFFERED != 0) & (self.size != 0)):
            return False
        worst = self.equity(boards).astype(np.float64)
        maintenance = np.zeros(len(worst))
        shock = np.zeros(len(worst))
        for market, board in enumerate(boards):
            size = self.size[:, market].astype(np.float64) * board.tick_value
            low, high = lows[market] * 0.99 - board.mark, highs[market] * 1.01 - board.mark
            worst += np.minimum(size * low, size * high)
            notional = np.abs(size) * (highs[market] * 1.01)
            maintenance += requirement(notional, board)
            shock += notional * (1.5 * board.risk * horizon_root / 1e14)
        held = maintenance > 0
        opted = (self.flags & FLAG_OPT_IN) != 0
        danger = worst - np.where(opted, shock, 0.0) < maintenance * (closeout / PPM)
        return not bool(np.any(held & ((worst < maintenance) | danger)))

    # --- checks -------------------------------------------------------------------------------------------------------

    def audit(self, chain: Chain) -> None:
        """Compare all columns with the totals of G and with open interest. Raises CrashError."""
        booked = int(np.sum(self.collateral)) + int(np.sum(self.size * self.funding - self.cost))
        total = chain.engine.globals.accounts_total
        if booked != total:
            raise CrashError(f"accounts hold {booked} micro-USD, G says {total}")
        for market in range(self.size.shape[1]):
            insured = chain.market(market).insurance.size
            longs = int(np.sum(np.maximum(self.size[:, market], 0))) + max(0, insured)
            shorts = int(np.sum(np.maximum(-self.size[:, market], 0))) + max(0, -insured)
            interest = chain.market(market).open_interest
            if not longs == shorts == interest:
                raise CrashError(f"market {market}: {longs} lots long, {shorts} short, {interest} open")

    def compare(self, chain: Chain, boards: list[Board], accounts: Iterable[int]) -> None:
        """Compare the screen with the rules' own margin on some accounts. Raises CrashError."""
        equity, maintenance = self.equity(boards), self.maintenance(boards)
        for account in accounts:
            health = chain.health(account)
            near = abs(maintenance[account - 1] - health.maintenance) <= 10 + health.maintenance * (SLACK - 1)
            if equity[account - 1] != health.equity or not near:
                raise CrashError(
                    f"account {account}: the screen says equity {equity[account - 1]} and maintenance "
                    f"{maintenance[account - 1]:.0f}, the rules {health.equity} and {health.maintenance}")


def requirement(notional: Floats, board: Board) -> Floats:
    """Maintenance margin of notionals in one market."""
    if board.impact == 0:
        return notional * (board.mm_base / PPM)
    rate: Floats = np.minimum(board.mm_cap, board.mm_base + np.floor(notional / board.impact))
    return notional * rate / PPM
