"""What happened on a venue, in one vocabulary. Prices and amounts are integers in units of 10**-8."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

E8: Final = 100_000_000
BUY: Final = 0
SELL: Final = 1


class Op(Enum):
    """Kinds of events."""

    CREATED = "created"  # an order arrived; amount = all of it
    CHANGED = "changed"  # it was filled in part, or its owner changed it; amount = what remains
    DELETED = "deleted"  # it is gone; amount = what was left of it (0: it was filled)
    PRINT = "print"  # the venue reports a trade; nothing to do
    MATCH = "match"  # a trade of a venue that only reports trades: somebody rested, somebody took


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a tape. ``row``: its line in the file, 1 = the first below the header. ``time``: ms, 0 = unknown."""

    row: int
    time: int
    op: Op
    id: int
    side: int  # of the order; of the taker for MATCH; unknown for PRINT
    price: int
    amount: int


@dataclass(frozen=True, slots=True)
class Quote:
    """The venue's own best bid and offer at a time, ms; prices and amounts in 10**-8."""

    row: int
    time: int
    bid: int
    bid_amount: int
    ask: int
    ask_amount: int


class TapeError(Exception):
    """A file that cannot be replayed; the message names the file, the line and what is wrong with it."""


def parse_e8(text: str) -> int:
    """A decimal number as an integer of 10**-8. Raises ValueError for anything else, or more than 8 places."""
    whole, _, fraction = text.strip().partition(".")
    fraction = fraction.rstrip("0")
    if not (whole + fraction).isdecimal() or not (whole + fraction).isascii() or len(fraction) > 8:
        raise ValueError(f"{text!r} is no decimal number of at most 8 places")
    return int(whole or "0") * E8 + int(fraction.ljust(8, "0"))


def show_e8(value: int) -> str:
    """A number of 10**-8 in decimals."""
    whole, fraction = divmod(value, E8)
    return f"{whole}.{fraction:08d}".rstrip("0").rstrip(".")
