"""Liquidating: looks at every account in turn, and reduces those under their maintenance margin.

Anyone may send Liquidate; the rules decide. One round looks at ROUND_MAX accounts at most, the next goes on after them.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from node.rpc.methods.shapes import AccountInfo
from node.sdk.client import Client
from node.sdk.errors import AnchorlineError, ConnectionLost

log = structlog.get_logger("liquidator")

ROUND_MAX: Final = 500
SLICES_MAX: Final = 16  # Liquidates sent for one account in one round


class Liquidator:
    """See the module."""

    def __init__(self, client: Client, *, period_s: float = 1.0) -> None:
        self._client = client
        self._period_s = period_s
        self._next = 1
        self.liquidations = 0

    async def run(self) -> None:
        """Look for ever; what the node cannot answer now is asked again. Raises ConnectionLost."""
        while True:
            try:
                await self.round()
            except ConnectionLost:
                raise
            except AnchorlineError as error:
                log.warning("round_failed", reason=str(error))
            await trio.sleep(self._period_s)

    async def round(self) -> int:
        """Look at the next accounts; returns how many Liquidates did something."""
        accounts = (await self._client.status())["accounts"]
        done = 0
        for _ in range(min(ROUND_MAX, accounts)):
            if self._next > accounts:
                self._next = 1
            done += await self._look(self._next)
            self._next += 1
        return done

    async def _look(self, number: int) -> int:
        done = 0
        for _ in range(SLICES_MAX):
            row = await self._client.account(number)
            market = await self._reduce(number, worst(row))
            if market is None:
                break
            done += 1
            self.liquidations += 1
            log.info("account_liquidated", account=number, market=market, equity=row.equity)
        return done

    async def _reduce(self, number: int, markets: list[int]) -> int | None:
        """Liquidate in the first market that lets us (a stale one does not); which one it was."""
        for market in markets:
            try:
                await self._client.call("al_liquidate", {"account": number, "market": market})
            except ConnectionLost:
                raise
            except AnchorlineError as error:
                log.debug("liquidation_refused", account=number, market=market, reason=error.reason)
                continue
            return market
        return None


def worst(row: AccountInfo) -> list[int]:
    """The markets of an account that may be liquidated, its largest positions first; none for a healthy one."""
    if row.equity >= row.maintenance:
        return []
    held = [position for position in row.positions if position.size]
    return [position.market for position in sorted(held, key=lambda position: -abs(position.cost))]
