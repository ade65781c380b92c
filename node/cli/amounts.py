"""Prices and sizes as people write them: whole numbers are ticks and lots, numbers with a point are dollars and units.

`60010.5` is a price in dollars and `0.0100` a size in the underlying, where the node names a market's decimals
(``rpc.markets``); `600105` and `100` are ticks and lots everywhere. Markets go by number or symbol.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Final

from cyclopts import Parameter

from node.cli.output import UserError
from node.rpc.methods.shapes import MarketInfo
from node.units import MarketUnits, UnitsError

_AMOUNT: Final = re.compile(r"\d+(\.\d+)?")


def _amount(_kind: Any, tokens: Sequence[Any]) -> str:
    text = str(tokens[0].value).replace(",", "").replace("_", "")
    if not (text.isascii() and _AMOUNT.fullmatch(text)):
        raise ValueError("give a whole number of ticks or lots, or a number with a decimal point")
    return text


Amount = Annotated[str, Parameter(converter=_amount)]


def find_market(markets: Sequence[MarketInfo], name: str) -> MarketInfo:
    """The market of a number or symbol. Raises UserError listing those there are."""
    for info in markets:
        if name == str(info.market) or name.upper() == info.symbol.upper():
            return info
    known = ", ".join(f"{info.market} ({info.symbol})" for info in markets) or "none yet"
    raise UserError(f"there is no market {name}; markets: {known}")


def units_of(info: MarketInfo) -> MarketUnits | None:
    """A market's decimals, if the node names them."""
    if not info.tick or not info.lot:
        return None
    return MarketUnits(info.market, info.symbol, Decimal(info.tick), Decimal(info.lot))


def to_ticks(price: str, info: MarketInfo) -> int:
    """A price that was typed, in ticks. Raises UserError."""
    return int(price) if "." not in price else _converted(price, info, "ticks")


def to_lots(size: str, info: MarketInfo) -> int:
    """A size that was typed, in lots. Raises UserError."""
    return int(size) if "." not in size else _converted(size, info, "lots")


def _converted(text: str, info: MarketInfo, unit: str) -> int:
    units = units_of(info)
    if units is None:
        raise UserError(f"{text}: this node does not say what {unit} of market {info.market} are worth: give a whole "
                        f"number of {unit}, or have it set rpc.markets")
    try:
        return units.ticks(text) if unit == "ticks" else units.lots(text)
    except UnitsError as error:
        raise UserError(str(error)) from None


def show_price(ticks: int, info: MarketInfo) -> str:
    """A price in ticks, and in dollars where they are known."""
    units = units_of(info)
    return f"{ticks:,} ticks" if units is None else f"{units.price(ticks)} USD ({ticks:,} ticks)"


def show_size(lots: int, info: MarketInfo) -> str:
    """A size in lots, and in the underlying where that is known."""
    units = units_of(info)
    return f"{lots:,} lots" if units is None else f"{units.size(lots)} {info.symbol} ({lots:,} lots)"
