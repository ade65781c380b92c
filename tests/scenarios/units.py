"""What traders write and what the rules count: USD, prices with a tick of 0.1 USD, sizes with a lot of 0.0001.

One tick of one lot is worth 10 micro-USD, so every story's market has a tick value of 10.
"""

from __future__ import annotations

import re
from fractions import Fraction

USD = 1_000_000  # micro-USD
TICKS = 10  # a dollar of price
LOTS = 10_000  # one coin
TICK_VALUE = 10
MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}

NUMBER = r"-?\d[\d,]*(?:\.\d+)?"


def number(text: str) -> Fraction:
    """`-1,234.5` as a fraction."""
    if not re.fullmatch(NUMBER, text):
        raise ValueError(f"{text!r} is not a number")
    return Fraction(text.replace(",", ""))


def whole(value: Fraction, unit: int, what: str) -> int:
    """A value in the rules' unit; a story may not say what the rules cannot."""
    scaled = value * unit
    if scaled.denominator != 1:
        raise ValueError(f"{float(value)} is not a whole number of {what}")
    return int(scaled)


def money(text: str) -> int:
    return whole(number(text), USD, "micro-USD")


def price(text: str) -> int:
    return whole(number(text), TICKS, "ticks")


def lots(text: str) -> int:
    return whole(number(text), LOTS, "lots")


def duration(text: str) -> int:
    """`10 s` in milliseconds."""
    value, unit = text.split()
    return whole(number(value), MS[unit], "milliseconds")


def parameter(text: str) -> int:
    """A parameter's value: `5%` in ppm, `30 s` in ms, `100 USD`, `2 coins` in lots, or a plain number."""
    text = text.strip()
    if text.endswith("%"):
        return whole(number(text[:-1]), 10_000, "ppm")
    parts = text.split()
    if len(parts) == 1:
        return whole(number(text), 1, "units")
    if parts[1] == "USD":
        return money(parts[0])
    return lots(parts[0]) if parts[1] in ("coin", "coins") else duration(text)
