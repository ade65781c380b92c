"""Who is in the market when it crashes: traders, drawn from a seed, and a stated distribution.

- **Leverage** is a table from 1 to 50, by number of accounts. Half of them stand below 5 and one in eleven at 25 or
  more: the shape that studies of retail futures find (many small accounts at high leverage, money at low leverage), not
  any one venue's data.
- **Money**: an account's collateral is Pareto with exponent 1.16 (a fifth of the accounts holds four fifths), at least
  100 USD and at most 100,000; collateral above 10,000 halves its owner's leverage. Heavy tails of trading size: Gabaix
  et al., "A theory of power-law distributions in financial market fluctuations", Nature 423 (2003).
- **Side**: 70% long (before a crash longs are crowded: funding is positive).
- **Markets**: with two, half of the accounts hold the first alone, a quarter the second, a quarter both in halves.
- **When**: 60% hold their position from the start; the others open theirs in five waves 12, 8, 5, 3 and 1 hours before
  the low, at that hour's prices: leverage must not be only what the first hours' noise has left of it.
- **Consent**: one in five opts in to predictive reduction while healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from node.cli.crash.tape import Floats, Ints

LEVERAGE: Final = ((1, 14), (2, 18), (3, 16), (5, 18), (10, 16), (20, 9), (25, 5), (50, 4))  # (times, percent)
PARETO: Final = 1.16
COLLATERAL_MIN: Final = 100
COLLATERAL_MAX: Final = 100_000
RICH: Final = 10_000
LONG_SHARE: Final = 0.7
FIRST_SHARE: Final = 0.6
WAVES_H: Final = (12, 8, 5, 3, 1)  # before the low
OPT_IN_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class People:
    """One entry an account. ``collateral``: USD; ``weights``: share of the exposure in each market, signed by side;
    ``wave``: 0 opens at the start, k in wave k."""

    collateral: Ints
    leverage: Floats
    weights: Floats
    wave: Ints
    opted_in: Ints

    def __len__(self) -> int:
        return len(self.collateral)


def draw(count: int, markets: int, seed: int) -> People:
    """``count`` accounts; the same ones for the same arguments."""
    random = np.random.default_rng(seed)
    times = np.array([pair[0] for pair in LEVERAGE], dtype=np.float64)
    share = np.array([pair[1] for pair in LEVERAGE], dtype=np.float64) / 100
    leverage = random.choice(times, size=count, p=share)
    tail = COLLATERAL_MIN * (1.0 - random.random(count)) ** (-1.0 / PARETO)
    collateral = np.minimum(tail, COLLATERAL_MAX).astype(np.int64)
    leverage = np.where(collateral > RICH, np.maximum(1.0, leverage / 2), leverage)
    side = np.where(random.random(count) < LONG_SHARE, 1.0, -1.0)
    split = random.random(count)
    weights = np.zeros((count, markets))
    if markets == 1:
        weights[:, 0] = side
    else:
        weights[:, 0] = np.where(split < 0.5, 1.0, np.where(split < 0.75, 0.0, 0.5)) * side
        weights[:, 1] = np.where(split < 0.5, 0.0, np.where(split < 0.75, 1.0, 0.5)) * side
    late = random.random(count) >= FIRST_SHARE
    wave = np.where(late, random.integers(1, len(WAVES_H) + 1, size=count), 0)
    opted_in = (random.random(count) < OPT_IN_SHARE).astype(np.int64)
    return People(collateral, leverage, weights, wave.astype(np.int64), opted_in)
