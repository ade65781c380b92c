"""Recorded crashes: candles of real venues, cut to windows and turned into one path of prices.

Candles are gzip CSV with a header line and the columns ``symbol,ts_ms,open,high,low,close`` (and ``window``, where one
file holds several); ``ts_ms`` is a candle's start. A missing candle is one without a trade: the price stands still.

Inside a candle the price visits open, first extreme, second extreme, close, a third of the candle each, the low first
if the candle rose and the high first if it fell (the usual order of back-tests). With candles of a minute that is one
price every 20 s and nothing is invented; longer candles are walked in straight lines between the four.

A window is the 24 hours around a low: the moment at which the symbols together had fallen most below their highs of the
24 hours before it. ``whole`` takes all of the recording instead.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from node.cli.output import UserError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STEP_MS: Final = 20_000
BEFORE_MS: Final = 16 * 3_600_000
AFTER_MS: Final = 8 * 3_600_000
DAY_MS: Final = 86_400_000
START_TICKS: Final = 1_000_000  # every path starts here: a tick is a millionth of the first price
_BITFINEX: Final = "px_1m_bitfinex_BTC_ETH_crashes_2013_2019.csv.gz"
_BINANCE_2021: Final = "px_5m_binance_spot_BTC_ETH_2021.csv.gz"
_BINANCE_2025: Final = "px_3m_binance_usdm_perp_BTC_ETH_202503_04.csv.gz"


@dataclass(frozen=True, slots=True)
class Window:
    """Where a crash is recorded. ``label``: the file's own window, "" if it has none; days as YYYY-MM-DD, "" = open."""

    name: str
    file: str
    candle_ms: int
    label: str = ""
    first_day: str = ""
    last_day: str = ""


#: in order of time
WINDOWS: Final = (
    Window("apr2013_badticks", _BITFINEX, 60_000, "bubble_pop_badticks"),
    Window("feb2014_flash", _BITFINEX, 60_000, "bitfinex_flash_2014"),
    Window("jan2015", _BITFINEX, 60_000, "jan2015"),
    Window("aug2015_one_venue", _BITFINEX, 60_000, "bitfinex_single_venue_flash"),
    Window("jun2016_dao", _BITFINEX, 60_000, "dao_hack"),
    Window("jan2017", _BITFINEX, 60_000, "jan2017"),
    Window("mar2017_etf", _BITFINEX, 60_000, "etf_reject_mar2017"),
    Window("may2017", _BITFINEX, 60_000, "may2017"),
    Window("sep2017_ban", _BITFINEX, 60_000, "china_ban_sep2017"),
    Window("dec2017", _BITFINEX, 60_000, "top_and_crash_continuous", "2017-12-01", "2017-12-31"),
    Window("jan2018", _BITFINEX, 60_000, "top_and_crash_continuous", "2018-01-01", "2018-01-31"),
    Window("feb2018", _BITFINEX, 60_000, "top_and_crash_continuous", "2018-02-01", "2018-02-10"),
    Window("nov2018", _BITFINEX, 60_000, "nov2018"),
    Window("jun2019", _BITFINEX, 60_000, "jun2019"),
    Window("sep2019", _BITFINEX, 60_000, "sep2019"),
    Window("jan2021", _BINANCE_2021, 300_000, "", "2021-01-08", "2021-01-15"),
    Window("may2021", _BINANCE_2021, 300_000, "", "2021-04-15", "2021-06-30"),
    Window("apr2025", _BINANCE_2025, 180_000),
)
#: crashes that a run of all windows repeats with each protection off: cheap ones, two of which leap (the jump hold is
#: for those), spread over the years
VARIED: Final = frozenset(
    {"feb2014_flash", "jan2015", "aug2015_one_venue", "jun2019", "sep2019", "jan2021"})


@dataclass(frozen=True, slots=True)
class Tape:
    """Prices of some symbols over one window, in ticks. Arrays have one row a symbol; candle i starts at
    ``start_ms + i * candle_ms``. ``low_ms``: when the low was."""

    name: str
    symbols: tuple[str, ...]
    start_ms: int
    candle_ms: int
    low_ms: int
    opens: Ints
    highs: Ints
    lows: Ints
    closes: Ints

    @property
    def candles(self) -> int:
        """How many candles there are."""
        return int(self.opens.shape[1])

    @property
    def fall(self) -> list[float]:
        """Of every symbol: the greatest fall from a high to a later low, as a share of the high."""
        peaks = np.maximum.accumulate(self.highs, axis=1)
        return [float(x) for x in np.max(1.0 - self.lows / peaks, axis=1)]

    def path(self) -> Ints:
        """Prices every STEP_MS: one row a symbol."""
        rising = self.closes >= self.opens
        first = np.where(rising, self.lows, self.highs)
        second = np.where(rising, self.highs, self.lows)
        corners = np.stack([self.opens, first, second, self.closes])
        steps = self.candle_ms // STEP_MS
        columns = []
        for step in range(steps):
            leg, rest = divmod(3 * step, steps)
            columns.append(corners[leg] + (corners[leg + 1] - corners[leg]) * rest // steps)
        return np.stack(columns, axis=2).reshape(len(self.symbols), -1)


def choose(names: list[str]) -> list[Window]:
    """Windows by name; none or ``all`` means all. Raises UserError naming the unknown one."""
    known = {window.name: window for window in WINDOWS}
    if not names or "all" in names:
        return list(WINDOWS)
    for name in names:
        if name not in known:
            raise UserError(f"there is no window {name}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def read_tape(folder: Path, window: Window, *, whole: bool) -> Tape:
    """One window's prices. Raises UserError if the file is missing or is not such a recording."""
    rows = _read(folder / window.file, window)
    if not rows:
        raise UserError(f"{folder / window.file} has no candles of {window.name}")
    first = min(row[0][0] for row in rows.values())
    last = max(row[-1][0] for row in rows.values())
    tables = [_regular(rows[symbol], first, last, window.candle_ms) for symbol in sorted(rows)]
    low = first + find_low([table[1] for table in tables], [table[2] for table in tables], window.candle_ms)
    start, end = (first, last) if whole else (max(first, low - BEFORE_MS), min(last, low + AFTER_MS))
    begin, stop = (start - first) // window.candle_ms, (end - first) // window.candle_ms + 1
    return make_tape(
        window.name, tuple(name[:3] for name in sorted(rows)), start, window.candle_ms, low,
        [table[:, begin:stop] for table in tables])


def make_tape(
    name: str, symbols: tuple[str, ...], start_ms: int, candle_ms: int, low_ms: int, tables: list[Floats]
) -> Tape:
    """A tape from tables of (open, high, low, close) rows, in any currency: every symbol is scaled to START_TICKS."""
    scaled = [np.maximum(1, np.rint(table * (START_TICKS / table[0, 0]))).astype(np.int64) for table in tables]
    opens, highs, lows, closes = (np.stack([table[row] for table in scaled]) for row in range(4))
    return Tape(name, symbols, start_ms, candle_ms, low_ms, opens, highs, lows, closes)


def find_low(highs: list[Floats], lows: list[Floats], candle_ms: int) -> int:
    """When the symbols together stood lowest against their highs of the 24 hours before, ms after the first candle."""
    width = DAY_MS // candle_ms
    score = np.zeros(len(lows[0]))
    for high, low in zip(highs, lows, strict=True):
        padded = np.concatenate([np.full(width - 1, high[0]), high])
        peaks = np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
        score += low / peaks
    return int(np.argmin(score)) * candle_ms


def _read(path: Path, window: Window) -> dict[str, list[tuple[int, float, float, float, float]]]:
    """Candles by symbol, ascending."""
    rows: dict[str, list[tuple[int, float, float, float, float]]] = {}
    first, last = _day(window.first_day, 0), _day(window.last_day, sys.maxsize - DAY_MS) + DAY_MS
    try:
        with gzip.open(path, "rt", newline="") as file:
            head = next(file)
            lines = (line for line in file if line.startswith(window.label))
            for row in csv.DictReader(itertools.chain([head], lines)):
                time = int(row["ts_ms"])
                if not first <= time < last or (window.label and row["window"] != window.label):
                    continue
                values = (float(row["open"]), float(row["high"]), float(row["low"]), float(row["close"]))
                rows.setdefault(row["symbol"], []).append((time, *values))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; --data names the folder with the recordings") from None
    except (KeyError, ValueError, EOFError, StopIteration) as error:
        raise UserError(f"{path} is no recording of candles: {error!r}") from None
    return {symbol: sorted(candles) for symbol, candles in rows.items()}


def _day(text: str, default: int) -> int:
    """When a day YYYY-MM-DD begins, ms."""
    return int(datetime.fromisoformat(f"{text}T00:00:00+00:00").timestamp()) * 1_000 if text else default


def _regular(
    rows: list[tuple[int, float, float, float, float]], first: int, last: int, candle_ms: int
) -> Floats:
    """Open, high, low, close of every candle from first to last; where none is recorded, the last close."""
    count = (last - first) // candle_ms + 1
    table = np.empty((4, count))
    table[:] = rows[0][1]
    filled = 0
    for index, values in _indexed(rows, first, candle_ms):
        if filled < index:
            table[:, filled:index] = table[3, max(0, filled - 1)]
        table[:, index] = values
        filled = index + 1
    table[:, filled:] = table[3, filled - 1]
    return table


def _indexed(
    rows: list[tuple[int, float, float, float, float]], first: int, candle_ms: int
) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    for time, *values in rows:
        yield (time - first) // candle_ms, (values[0], values[1], values[2], values[3])
