"""Signed order flow: which way takers trade in each market just now. Shown to traders; keepers order their work by it.

    net   := net * exp(-dt / WINDOW_MS) + lots        (+ a taker that buys, - one that sells)
    gross := the same without signs;   imbalance = net / gross in [-1, 1]

Trades' signs predict the next price moves (Hasbrouck, "Measuring the information content of stock trades", 1991), so
positions against the flow are nearer to their end than their margin says. Anyone can buy from himself and move this
number, which is why no rule reads it: a node computes it from its sealed blocks, and another may know fewer of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from node.derive.chain import Chain
from node.rpc.methods.reader import Reader
from node.rpc.methods.shapes import FlowInfo
from node.stf.types import BUY

WINDOW_MS: Final = 60_000
BLOCKS_MAX: Final = 256  # sealed blocks looked at in one step: older ones hardly count any more
PPM: Final = 1_000_000


@dataclass(slots=True)
class Flow:
    """One market's flow as of an L2 time."""

    net: float = 0.0
    gross: float = 0.0
    time: int = 0

    def decay(self, time: int) -> None:
        """Let what was traded fade until an L2 time, ms."""
        kept = math.exp(-max(0, time - self.time) / WINDOW_MS)
        self.net, self.gross, self.time = self.net * kept, self.gross * kept, max(time, self.time)


class FlowMeter:
    """Reads a chain's blocks once each, when it is asked. A chain that went back is read anew."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._flows: dict[int, Flow] = {}
        self._seen = 0
        self._seen_hash = b""

    def update(self) -> None:
        """Catch up with the head."""
        chain = self._chain
        head = chain.head.number
        known = chain.header(self._seen) if self._seen <= head else None
        if known is None or known.state_root != self._seen_hash:
            self._flows.clear()
            self._seen = 0
        for number in range(max(self._seen, head - BLOCKS_MAX) + 1, head + 1):
            for outcome in chain.outcomes(number):
                for fill in outcome.receipt.fills:
                    self._add(fill.market, fill.lots if fill.taker_side == BUY else -fill.lots, outcome.receipt.time)
        self._seen, self._seen_hash = head, chain.head.state_root

    def _add(self, market: int, lots: int, time: int) -> None:
        flow = self._flows.setdefault(market, Flow(time=time))
        flow.decay(time)
        flow.net += lots
        flow.gross += abs(lots)

    def info(self, market: int, time: int) -> FlowInfo:
        """A market's flow at an L2 time, ms."""
        flow = self._flows.get(market)
        if flow is None:
            return FlowInfo()
        flow.decay(time)
        if round(flow.gross) == 0:
            return FlowInfo()
        return FlowInfo(round(flow.net), round(flow.gross), round(flow.net / flow.gross, 3))

    def pressure(self, reader: Reader, account: int) -> int:
        """How much of the flow is against an account's positions, ppm of their notional, signed."""
        row = reader.account(account)
        total = against = 0.0
        for position in row.positions if row is not None else ():
            board = reader.board(position.market)
            notional = abs(position.size) * board.mark * board.tick_value
            total += notional
            imbalance = self.info(position.market, reader.ledger.g.time).imbalance
            against += notional * (imbalance if position.size < 0 else -imbalance)
        return round(against / total * PPM) if total else 0
