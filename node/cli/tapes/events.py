"""What happened on a venue, in one vocabulary. Prices and amounts are integers in units of 10**-8."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final

E8: Final = 100_000_000
VALUE_MAX: Final = 10**26
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
    """A number as an integer of 10**-8. Raises ValueError for anything else, or more than 8 places."""
    try:
        value = Decimal(text.strip()).scaleb(8)  # some venues write 1e-06
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0 or value >= VALUE_MAX or value != value.to_integral_value():
        raise ValueError(f"{text!r} is no number of at most 8 decimals")
    return int(value)


def show_e8(value: int) -> str:
    """A number of 10**-8 in decimals."""
    whole, fraction = divmod(value, E8)
    return f"{whole}.{fraction:08d}".rstrip("0").rstrip(".")
