# pragma version 0.4.3
"""
@title  All division and range checks of the rules
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/fixed_point.py. Vyper's `//` truncates and Python's floors, so only these names round.
        Total for the ranges that the rules use: |a| < 2^127, 0 < b < 2^63; no unchecked operation below can overflow.
"""

from stf import params


@pure
@internal
def div_down(a: int256, b: int256) -> int256:
    """@return the largest integer <= a/b."""
    quotient: int256 = unsafe_div(a, b)
    if a < 0 and unsafe_mul(quotient, b) != a:
        return unsafe_sub(quotient, 1)
    return quotient


@pure
@internal
def div_up(a: int256, b: int256) -> int256:
    """@return the smallest integer >= a/b."""
    quotient: int256 = unsafe_div(a, b)
    if a > 0 and unsafe_mul(quotient, b) != a:
        return unsafe_add(quotient, 1)
    return quotient


@pure
@internal
def div_toward_zero(a: int256, b: int256) -> int256:
    """@return a/b without its fraction."""
    return unsafe_div(a, b)


@pure
@internal
def in_range(amount: int256) -> bool:
    """@return whether an amount may be stored: |amount| < 2^62 micro-USD."""
    return -convert(params.MONEY_MAX, int256) < amount and amount < convert(params.MONEY_MAX, int256)


@pure
@internal
def root_down(a: uint256) -> uint256:
    """@return the largest integer <= the square root of a."""
    return isqrt(a)


@pure
@internal
def clamp(a: int256, low: int256, high: int256) -> int256:
    """@return the number of [low, high] that is nearest to a."""
    return max(low, min(high, a))
