"""What a crash did to whom: one case an account and episode, and the figures of a whole replay.

A case begins when an account's equity is first seen below maintenance (or when it is reduced ahead of that, by consent)
and ends when it is back at or above it, or holds nothing. Its stage is the hardest thing that happened in it:

    WATCHED     it was in its buffer and came back, or still is in it, untouched
    PREDICTIVE  reduced in small slices near the mark, without penalty
    SPENT       hard liquidation with equity above close-out: its buffer was used up (or there is none)
    HARD        hard liquidation below close-out
    TAKEN       equity below zero: insurance took the position

    loss beyond maintenance = max(0, M at the beginning - E at the end): what it cost to leave, drift included
    would have recovered    = with the position held as it was at the first hard slice or takeover, equity reaches
                              maintenance within 60 minutes, before it goes below zero
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np

from node.cli.crash.columns import requirement
from node.cli.crash.tape import STEP_MS, Ints
from node.stf.types import Board

RECOVER_MS: Final = 3_600_000


class Stage(IntEnum):
    """See the module."""

    WATCHED = 0
    PREDICTIVE = 1
    SPENT = 2
    HARD = 3
    TAKEN = 4


@dataclass(slots=True)
class Case:
    """One account's episode. Money in micro-USD. ``cut_at``: the first hard slice or takeover, 0 = none; ``held`` is
    the position then, ``rest`` the equity beyond its value at the mark."""

    account: int
    began_at: int
    equity: int
    maintenance: int
    notional: int
    stage: Stage = Stage.WATCHED
    slices: int = 0
    penalty: int = 0
    cut_at: int = 0
    held: tuple[int, ...] = ()
    rest: int = 0
    ended_at: int = 0
    end_equity: int = 0
    recovered: bool = False

    @property
    def loss(self) -> int:
        """Loss beyond maintenance."""
        return max(0, self.maintenance - self.end_equity)


@dataclass(slots=True)
class Outcome:
    """Figures of one replay. Lists of ``track`` have one entry a point in time, for plots."""

    window: str
    variant: str
    cases: list[Case] = field(default_factory=list)
    penalties: int = 0
    deficits: int = 0
    drawn: int = 0
    mutualised: int = 0
    insurance_start: int = 0
    insurance_end: int = 0
    insurance_low: int = 0
    interest_start: int = 0
    collateral: int = 0
    opened: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    regretted: int = 0
    steps: int = 0
    checks: int = 0
    transactions: int = 0
    seconds: float = 0.0
    held_back_ms: int = 0
    track: dict[str, list[float]] = field(default_factory=lambda: {
        "hour": [], "index": [], "mark": [], "liquidated": [], "insurance": [], "buffered": []})

    def stages(self) -> Counter[Stage]:
        """Accounts by the hardest stage they met."""
        worst: dict[int, Stage] = {}
        for case in self.cases:
            worst[case.account] = max(worst.get(case.account, Stage.WATCHED), case.stage)
        return Counter(worst.values())

    def judge(self, path: Ints, start_ms: int, boards: list[Board]) -> None:
        """Count who would have recovered, along the prices that followed."""
        hard = [case for case in self.cases if case.stage >= Stage.SPENT]
        self.regretted = len({case.account for case in hard if would_recover(case, path, start_ms, boards)})

    def figures(self) -> dict[str, Any]:
        """Plain numbers, money in USD."""
        stages = self.stages()
        liquidated = [case for case in self.cases if case.stage >= Stage.SPENT]
        ended = [case for case in liquidated if case.ended_at]
        notional = sum(case.notional for case in ended)
        loss = sum(case.loss for case in ended)
        return {
            "window": self.window, "variant": self.variant,
            "predictive": stages[Stage.PREDICTIVE], "buffer_spent": stages[Stage.SPENT], "hard": stages[Stage.HARD],
            "takeover": stages[Stage.TAKEN],
            "liquidated": stages[Stage.SPENT] + stages[Stage.HARD] + stages[Stage.TAKEN],
            "loss_mean_usd": _usd(loss // max(1, len(ended))), "loss_usd": _usd(loss),
            "loss_of_notional": round(loss / notional, 5) if notional else 0.0,
            "penalties_usd": _usd(self.penalties), "deficits_usd": _usd(self.deficits), "drawn_usd": _usd(self.drawn),
            "mutualised_usd": _usd(self.mutualised),
            "insurance_change_usd": _usd(self.insurance_end - self.insurance_start),
            "insurance_start_usd": _usd(self.insurance_start), "insurance_low_usd": _usd(self.insurance_low),
            "recovered_in_buffer": len({case.account for case in self.cases
                                        if case.recovered and case.stage == Stage.WATCHED}),
            "would_have_recovered": self.regretted,
            "open_interest_usd": _usd(self.interest_start), "collateral_usd": _usd(self.collateral),
            "opened": self.opened, "refused": dict(self.refused), "statuses": dict(self.statuses),
            "price_held_back_s": self.held_back_ms // 1_000,
            "steps": self.steps, "conservation_checks": self.checks, "transactions": self.transactions,
            "seconds": round(self.seconds, 1),
        }


def would_recover(case: Case, path: Ints, start_ms: int, boards: list[Board]) -> bool:
    """Whether a held position's equity reaches maintenance in the hour after the cut, before it goes below zero."""
    first = (case.cut_at - start_ms) // STEP_MS
    future = path[:, first + 1:first + 1 + RECOVER_MS // STEP_MS].astype(np.float64)
    equity = np.full(future.shape[1], float(case.rest))
    maintenance = np.zeros(future.shape[1])
    for market, size in enumerate(case.held):
        value = future[market] * boards[market].tick_value
        equity += size * value
        maintenance += requirement(abs(size) * value, boards[market])
    back = np.flatnonzero(equity >= maintenance)
    broke = np.flatnonzero(equity < 0)
    return len(back) > 0 and (len(broke) == 0 or back[0] < broke[0])


def _usd(amount: int) -> float:
    return round(amount / 1_000_000, 2)
