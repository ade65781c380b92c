"""The least bond and the shortest window for which an attack does not pay, by bisection.

Net gain never rises with bond or window (a property that tests try), so there is one threshold: it is doubled up to,
then halved down to. `censorship.space_blocks` and the formulas in tests give the same in closed form where there is
one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from node.cli.economy.attacks import ATTACKS, Attack, Flow
from node.cli.economy.settings import YEAR_S, Economy

BOND_MAX: Final = 1e15
WINDOW_MAX_S: Final = 10 * YEAR_S
_STEPS: Final = 200


@dataclass(frozen=True)
class Verdict:
    """One attack in one economy. Thresholds keep everything else as it is; None: no value helps; 0: any value does."""

    attack: Attack
    flow: Flow
    least_bond_usd: float | None
    shortest_window_s: float | None

    @property
    def pays(self) -> bool:
        """Whether the attacker gains."""
        return self.flow.pays


def least(fails: Callable[[float], bool], most: float, tolerance: float) -> float | None:
    """The smallest value for which an attack fails, to within a tolerance (relative above 1); None beyond ``most``."""
    if fails(0.0):
        return 0.0
    high = min(1.0, most)
    while not fails(high):
        if high >= most:
            return None
        high = min(most, high * 2)
    low = high / 2 if high > 1 else 0.0
    for _ in range(_STEPS):
        if high - low <= tolerance * max(1.0, high):
            break
        middle = (low + high) / 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high


def judge(attack: Attack, economy: Economy) -> Verdict:
    """An attack's flow and thresholds."""
    bond = least(lambda value: not attack.flow(replace(economy, bond_usd=value)).pays, BOND_MAX, 1e-9)
    window = least(lambda value: not attack.flow(replace(economy, window_s=value)).pays, WINDOW_MAX_S, 1e-9)
    return Verdict(attack, attack.flow(economy), bond, window)


def judge_all(economy: Economy) -> list[Verdict]:
    """All attacks, in the table's order."""
    return [judge(attack, economy) for attack in ATTACKS]


def overall(values: list[float | None]) -> float:
    """What is enough for all that a value helps against: the largest threshold."""
    return max((value for value in values if value is not None), default=0.0)
