"""Readers of three tape formats: CSV with a header line, plain or gzip. The header says which format it is.

Bitstamp, order by order (with the trades it reports):

    ts_recv_ms    time of arrival, ms since 1970
    event         order_created | order_changed | order_deleted | trade
    id            order id, or trade id
    side          bid | ask, empty for a trade
    price         USD
    amount        BTC; of an order event: what remains (order_deleted with 0: filled, else cancelled)
    order_ts_s    the venue's time of the order, s; empty for a trade

    beside it the venue's best bid and offer: ts_recv_ms,bid_px,bid_amt,ask_px,ask_amt

Bitfinex, order by order, best 25 orders a side, without times:

    seq           order of arrival
    event         snapshot | add | change | delete
    order_id
    side          bid | ask
    price         USD (of a change: the new one)
    amount        BTC (of a change: the new one; of a delete: the last known one)

Binance, trades only (each becomes an order that rests and one that takes it):

    capture       name of the recording
    product       usdm | cm | spot
    symbol        such as BTCUSDT
    ts_recv_ns    time of arrival, ns
    ts_exch_ms    time of the trade, ms since 1970
    trade_id
    price
    qty           base units; contracts for cm
    taker_side    buy | sell
    exec_type     MARKET | INSURANCE_FUND | empty
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO, TypeVar

from node.cli.tapes.events import BUY, SELL, Event, Op, Quote, TapeError, parse_e8

ROWS_MAX: Final = 5_000_000

BITSTAMP: Final = ("ts_recv_ms", "event", "id", "side", "price", "amount", "order_ts_s")
BITSTAMP_BBO: Final = ("ts_recv_ms", "bid_px", "bid_amt", "ask_px", "ask_amt")
BITFINEX: Final = ("seq", "event", "order_id", "side", "price", "amount")
BINANCE: Final = (
    "capture", "product", "symbol", "ts_recv_ns", "ts_exch_ms", "trade_id", "price", "qty", "taker_side", "exec_type")

_SIDES: Final = {"bid": BUY, "ask": SELL, "buy": BUY, "sell": SELL}
_BITSTAMP_OPS: Final = {
    "order_created": Op.CREATED, "order_changed": Op.CHANGED, "order_deleted": Op.DELETED, "trade": Op.PRINT}
_BITFINEX_OPS: Final = {"snapshot": Op.CREATED, "add": Op.CREATED, "change": Op.CHANGED, "delete": Op.DELETED}

Row = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tape:
    """A tape in memory. ``venue``: bitstamp, bitfinex or binance."""

    venue: str
    symbol: str
    events: list[Event]


def read_tape(path: Path, symbol: str = "", limit: int = 0) -> Tape:
    """Read a tape; ``symbol`` picks one of a file with several (default: the most frequent), ``limit`` > 0 the first
    events only. Raises TapeError."""
    with _rows(path) as (columns, rows):
        if columns == BITSTAMP:
            return Tape("bitstamp", "BTCUSD", _collect(path, rows, _bitstamp, limit))
        if columns == BITFINEX:
            return Tape("bitfinex", "BTCUSD", _collect(path, rows, _bitfinex, limit))
        if columns == BINANCE:
            return _binance_tape(path, list(rows), symbol, limit)
        raise TapeError(
            f"{path}: columns {','.join(columns)} are of no known tape; see `anchorline replay --help` for the formats")


def read_quotes(path: Path) -> list[Quote]:
    """Read a file of best bids and offers. Raises TapeError."""
    with _rows(path) as (columns, rows):
        if columns != BITSTAMP_BBO:
            raise TapeError(f"{path}: a file of best bids and offers has the columns {','.join(BITSTAMP_BBO)}")
        return [_checked(path, number, row, _quote) for number, row in rows]


def find_quotes(tape: Path) -> Path | None:
    """The venue's best bids and offers beside a tape: the same name with ``bbo_`` for its first word."""
    other = tape.with_name("bbo_" + tape.name.partition("_")[2])
    return other if other != tape and other.is_file() else None


@contextmanager
def _rows(path: Path) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[int, Row]]]]:
    try:
        with _open(path) as file:
            reader = csv.DictReader(file)
            yield tuple(reader.fieldnames or ()), _numbered(path, reader)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TapeError(f"{path} cannot be read: {error}") from error


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", newline="", encoding="utf-8") if packed else path.open(newline="", encoding="utf-8")


def _numbered(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(reader, 1):
        if number > ROWS_MAX:
            raise TapeError(f"{path} has more than {ROWS_MAX} lines: replay a part of it with --limit")
        yield number, row


def _collect(
    path: Path, rows: Iterator[tuple[int, Row]], parse: Callable[[int, Row], Event], limit: int
) -> list[Event]:
    events: list[Event] = []
    for number, row in rows:
        events.append(_checked(path, number, row, parse))
        if len(events) == limit:
            break
    if not events:
        raise TapeError(f"{path} has no events")
    return events


def _checked(path: Path, number: int, row: Row, parse: Callable[[int, Row], T]) -> T:
    try:
        return parse(number, row)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TapeError(f"{path}, line {number + 1}: {error}; the line is {','.join(map(str, row.values()))}") from None


# --- formats ----------------------------------------------------------------------------------------------------------


def _bitstamp(number: int, row: Row) -> Event:
    op = _BITSTAMP_OPS[row["event"]]
    side = BUY if op is Op.PRINT else _SIDES[row["side"]]
    return Event(
        number, int(row["ts_recv_ms"]), op, int(row["id"]), side, parse_e8(row["price"]), parse_e8(row["amount"]))


def _bitfinex(number: int, row: Row) -> Event:
    op = _BITFINEX_OPS[row["event"]]
    return Event(
        number, 0, op, int(row["order_id"]), _SIDES[row["side"]], parse_e8(row["price"]), parse_e8(row["amount"]))


def _binance(number: int, row: Row) -> Event:
    return Event(
        number, int(row["ts_exch_ms"]), Op.MATCH, int(row["trade_id"]), _SIDES[row["taker_side"]],
        parse_e8(row["price"]), parse_e8(row["qty"]))


def _binance_tape(path: Path, rows: list[tuple[int, Row]], symbol: str, limit: int) -> Tape:
    """One product and symbol of one capture. Trades of an insurance fund are no market trades: left out."""
    names = Counter(_binance_name(row) for _, row in rows)
    if not names:
        raise TapeError(f"{path} has no events")
    picked = [name for name in names if not symbol or symbol in (name, *name.split("/"))]
    if not picked:
        raise TapeError(f"{path} has no trades of {symbol}; it has {', '.join(sorted(names))}")
    name = max(picked, key=lambda name: names[name])
    wanted = ((n, row) for n, row in rows if _binance_name(row) == name and row["exec_type"] != "INSURANCE_FUND")
    return Tape("binance", name, _collect(path, wanted, _binance, limit))


def _binance_name(row: Row) -> str:
    return "/".join(str(row[part]) for part in ("capture", "product", "symbol"))


def _quote(number: int, row: Row) -> Quote:
    prices = [parse_e8(row[name]) for name in ("bid_px", "bid_amt", "ask_px", "ask_amt")]
    return Quote(number, int(row["ts_recv_ms"]), *prices)
