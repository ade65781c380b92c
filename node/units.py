"""What a market's ticks and lots are worth to people: a name, and the decimals behind the rules' whole numbers.

    price in dollars = ticks * tick          size in the underlying = lots * lot

The rules know ticks, lots and micro-USD only; names and decimals are a node's configuration, written
``MARKET=SYMBOL:TICK:LOT``, such as ``0=BTC-PERP:0.1:0.0001``. They fit a market only if a tick of a lot is worth what
the rules say:  tick * lot * 10^6 = tick_value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_ENTRY: Final = re.compile(
    r"(?P<market>\d{1,3})=(?P<symbol>[A-Za-z][A-Za-z0-9./_-]{0,23}):(?P<tick>[^:]+):(?P<lot>[^:]+)")
_DECIMAL: Final = re.compile(r"\d{1,12}(\.\d{1,12})?")


class UnitsError(ValueError):
    """A text that names no units, or a number that is no whole number of them: says what would be right."""


@dataclass(frozen=True, slots=True)
class MarketUnits:
    """``tick``: dollars a tick; ``lot``: units of the underlying a lot."""

    market: int
    symbol: str
    tick: Decimal
    lot: Decimal

    def fits(self, tick_value: int) -> bool:
        """Whether these are the units of a market whose tick and lot are worth ``tick_value`` micro-USD."""
        return self.tick * self.lot * 1_000_000 == tick_value

    def price(self, ticks: int) -> str:
        """A price in dollars, with all of the tick's decimals."""
        return f"{ticks * self.tick:,.{_places(self.tick)}f}"

    def size(self, lots: int) -> str:
        """A size in the underlying, with all of the lot's decimals."""
        return f"{lots * self.lot:,.{_places(self.lot)}f}"

    def ticks(self, price: str) -> int:
        """A price in dollars as ticks. Raises UnitsError unless it is a whole number of them."""
        return _whole(price, self.tick, f"a price of {self.symbol} is a multiple of {self.tick}")

    def lots(self, size: str) -> int:
        """A size in the underlying as lots. Raises UnitsError unless it is a whole number of them."""
        return _whole(size, self.lot, f"a size in {self.symbol} is a multiple of {self.lot}")


def parse_markets(entries: Iterable[str]) -> dict[int, MarketUnits]:
    """Units by market. Raises UnitsError naming the entry at fault."""
    found: dict[int, MarketUnits] = {}
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None or not _DECIMAL.fullmatch(match["tick"]) or not _DECIMAL.fullmatch(match["lot"]):
            raise UnitsError(f"{entry!r} is not MARKET=SYMBOL:TICK:LOT, such as 0=BTC-PERP:0.1:0.0001")
        units = MarketUnits(int(match["market"]), match["symbol"], Decimal(match["tick"]), Decimal(match["lot"]))
        if not units.tick or not units.lot:
            raise UnitsError(f"{entry!r}: tick and lot are above 0")
        if units.market in found or any(units.symbol.upper() == other.symbol.upper() for other in found.values()):
            raise UnitsError(f"{entry!r}: market or symbol is named twice")
        found[units.market] = units
    return found


def _places(unit: Decimal) -> int:
    exponent = unit.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "units are numbers"
    return max(0, -exponent)


def _whole(text: str, unit: Decimal, law: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not (digits.isascii() and _DECIMAL.fullmatch(digits)):
        raise UnitsError(f"{text!r}: give a number of at most 12 digits before and after the point, not negative")
    value = Decimal(digits)
    count = value / unit
    if count != count.to_integral_value():
        below = int(count) * unit
        raise UnitsError(f"{text}: {law}; next to it are {below.normalize():f} and {(below + unit).normalize():f}")
    return int(count)
