"""All division and range checks of the rules.

Python floors, Vyper truncates, mypyc's ``i64`` wraps: only these names round.

Every function is total for the ranges the rules use: |a| < 2**127, 0 < b < 2**63.
"""

from math import isqrt

from node.stf.params import MONEY_MAX


def div_down(a: int, b: int) -> int:
    """Largest integer <= a/b."""
    return a // b


def div_up(a: int, b: int) -> int:
    """Smallest integer >= a/b."""
    return -((-a) // b)


def div_toward_zero(a: int, b: int) -> int:
    """a/b without its fraction."""
    return a // b if a >= 0 else -((-a) // b)


def in_range(amount: int) -> bool:
    """Whether an amount may be stored: |amount| < 2**62 micro-USD."""
    return -MONEY_MAX < amount < MONEY_MAX


def root_down(a: int) -> int:
    """Largest integer <= the square root of a, for 0 <= a < 2**127."""
    return isqrt(a)


def clamp(a: int, low: int, high: int) -> int:
    """The number of [low, high] that is nearest to a."""
    return max(low, min(high, a))
