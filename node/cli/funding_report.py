"""``anchorline funding-report FILE``: a venue's recorded mark, index and funding rate, beside what our rules charge.

The tape's index is published and its mark is quoted, second by second, to a market in memory: real signed
transactions through the rules (``node.stf.engine``), no shortcut. A long and a short of one unit each, opened and
closed at one price, show in their collateral what funding moved, to the micro-USD.

Why the two differ. Both start from the premium P of the perpetual over its index. The venue takes a time-weighted
mean of P over the eight hours, adds interest and a damper,  F = P + clamp(I - P, -0.05%, +0.05%)  with I = 0.01% per
eight hours, and charges it once at their end (Binance, "Introduction to Binance Futures Funding Rates"). So a premium
within 0.05% of I costs always I, and beyond it 0.05% less than P. Ours has neither: P itself accrues with every
publication, over a shorter mean, so funding is what it costs that the perpetual is not the index, and there is no
moment to leave before.
"""

from __future__ import annotations

import csv
import gzip
import os
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.cli.output import UserError, emit

if TYPE_CHECKING:
    from node.l1.keys import LocalSigner
    from node.stf.state import MarketRow
    from node.stf.types import Action, Receipt

COLUMNS: Final = ("ts_exch_ms", "mark_price", "index_price", "funding_rate")
ROWS_MAX: Final = 1_000_000
TICKS_PER_UNIT: Final = 10  # a tick is 0.1 USD
LOTS: Final = 1_000  # of one position: one unit, a lot is 0.001
TICK_VALUE: Final = 100  # micro-USD: 0.1 USD * 0.001
COLLATERAL: Final = 10**13
SPREAD: Final = 5  # ticks between the quoted mid and each quote
EIGHT_HOURS_MS: Final = 28_800_000
INTEREST_BPS: Final = 1.0  # of the venue's formula, per eight hours
DAMPER_BPS: Final = 5.0
CHAIN_ID, ROLLUP = 901, 0x1234


@dataclass(frozen=True)
class Row:
    """One look at the venue: prices in USD, the rate per eight hours in basis points."""

    time_ms: int
    mark: float
    index: float
    rate_bps: float

    @property
    def premium_bps(self) -> float:
        return (self.mark / self.index - 1) * 10_000


@dataclass(frozen=True)
class Line:
    """One line of the report. Rates are basis points of the index per eight hours, amounts micro-USD per unit held."""

    second: float
    index: float
    venue_premium_bps: float
    venue_rate_bps: float
    our_rate_bps: float
    damped_bps: float
    venue_accrued: float
    our_accrued: float


def funding_report(file: Path, *, every_s: int = 60, window_s: int = 60, json: bool = False) -> None:
    """Run a recorded tape of mark, index and funding rate through the rules; compare funding with the venue's.

    The file is CSV, plain or gzip, with the columns ts_exch_ms, mark_price, index_price and funding_rate (a fraction
    per eight hours).

    Parameters
    ----------
    file
        The tape.
    every_s
        Seconds between two lines of the table.
    window_s
        Seconds over which our basis is averaged.
    json
        Print one JSON object.
    """
    if every_s < 1 or not 1 <= window_s <= 86_400:
        raise UserError("--every-s is 1 or more, --window-s 1 to 86,400")
    rows = read_rows(file)
    result = run_tape(rows, every_s * 1_000, window_s * 1_000)
    emit(json, result, lambda: _text(result))


def read_rows(file: Path) -> list[Row]:
    """The tape. Raises UserError naming the line that is wrong."""
    rows: list[Row] = []
    with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(f"{file.name} has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
        for number, line in enumerate(reader, 2):
            if number > ROWS_MAX:
                raise UserError(f"{file.name} has more than {ROWS_MAX:,} rows; cut it")
            try:
                time_ms, mark, index, rate = (float(line[name]) for name in COLUMNS)
            except (TypeError, ValueError):
                raise UserError(f"{file.name}, line {number}: a number is missing or no number") from None
            if rows and time_ms <= rows[-1].time_ms:
                raise UserError(f"{file.name}, line {number}: time does not rise")
            if not 0 < index < 10**8 or not 0.9 < mark / index < 1.1:
                raise UserError(f"{file.name}, line {number}: mark and index are not prices of one thing")
            rows.append(Row(int(time_ms), mark, index, rate * 10_000))
    if len(rows) < 2:
        raise UserError(f"{file.name} has fewer than two rows")
    return rows


def run_tape(rows: list[Row], every_ms: int, window_ms: int) -> dict[str, Any]:
    """Replay the rows; returns the report."""
    venue = Venue(rows[0], window_ms)
    price = _ticks(rows[0].index)
    venue.open(price)
    lines: list[Line] = []
    theirs = 0.0
    for before, row in pairwise(rows):
        venue.look(row)
        theirs += before.rate_bps / 10_000 * before.index * 1e6 * (row.time_ms - before.time_ms) / EIGHT_HOURS_MS
        if row.time_ms - rows[0].time_ms >= every_ms * (len(lines) + 1) or row is rows[-1]:
            lines.append(_line(row, rows[0], venue, theirs))
    paid = venue.close(price)
    return {
        "rows": len(rows), "seconds": (rows[-1].time_ms - rows[0].time_ms) / 1_000, "window_s": window_ms / 1_000,
        "units": LOTS / 1_000, "lines": [asdict(line) for line in lines], "long_paid_micro_usd": paid[0],
        "short_paid_micro_usd": paid[1], "zero_sum": sum(paid) == 0, "conserved": venue.conserved(),
    }


def _line(row: Row, first: Row, venue: Venue, theirs: float) -> Line:
    premium = venue.basis_bps()
    damped = premium + max(-DAMPER_BPS, min(DAMPER_BPS, INTEREST_BPS - premium))
    return Line(
        (row.time_ms - first.time_ms) / 1_000, row.index, row.premium_bps, row.rate_bps, premium, damped, theirs,
        venue.accrued())


def _ticks(price: float) -> int:
    return round(price * TICKS_PER_UNIT)


class Venue:
    """A market in memory with three publishers, a long, a short, and a maker who quotes the tape's mark."""

    def __init__(self, first: Row, window_ms: int) -> None:
        from node.l1.keys import LocalSigner
        from node.stf import encoding
        from node.stf.engine import Engine, genesis_leaves
        from node.stf.trie import MemoryTrie

        self._signers = [LocalSigner(os.urandom(32)) for _ in range(3)]
        self._inbox: list[bytes] = []
        self._trie = MemoryTrie(genesis_leaves())
        self._domain = encoding.domain_separator(CHAIN_ID, ROLLUP)
        self._engine = Engine(self._trie, self._domain, lambda number: self._inbox[number])
        self._nonce = 0
        self._engine.begin_chunk()
        seconds = first.time_ms // 1_000
        for payload in _setup(window_ms, [signer.address for signer in self._signers]):
            self._inbox.append(payload[:1] + bytes(20) + seconds.to_bytes(8, "big") + payload[1:])
            self._run(encoding.INBOX_TX)
        self.look(first)

    def look(self, row: Row) -> None:
        """A new block at the row's time: the index is published, then the mark is quoted anew."""
        from node.stf import encoding
        from node.stf.types import BUY, PLACE, POST_ONLY, SELL, Action

        step = row.time_ms - self._engine.globals.time
        self._cut()
        self._run(encoding.write_block(max(1, step)))
        now = self._engine.globals.time
        index, mark = _ticks(row.index), _ticks(row.mark)
        for slot, signer in enumerate(self._signers):
            signature = _sign(signer, encoding.oracle_price_digest(slot, now, [0], [index]))
            self._run(encoding.write_oracle_price(slot, now, [0], [index], signature, now))
        quotes = [
            Action(PLACE, side=BUY, price=mark - SPREAD, lots=LOTS, tif=POST_ONLY, client_id=1),
            Action(PLACE, side=SELL, price=mark + SPREAD, lots=LOTS, tif=POST_ONLY, client_id=2)]
        self._act(3, [*self._cancels(), *quotes])

    def open(self, price: int) -> None:
        """The long (account 1) and the short (account 2) trade with each other."""
        self._trade(1, 2, price)

    def close(self, price: int) -> tuple[int, int]:
        """They trade back at the same price; returns what each has paid in all, micro-USD: funding and nothing else."""
        self._trade(2, 1, price)
        self._engine.bind()
        accounts = self._engine.ledger.accounts
        return COLLATERAL - accounts[1].collateral, COLLATERAL - accounts[2].collateral

    def accrued(self) -> float:
        """Funding of a long of one unit since it was opened, micro-USD, with the part that is no whole one yet."""
        from node.stf.params import FUNDING_UNIT

        board, prices = self._engine.ledger.boards[0][0], self._market().prices
        return LOTS * (board.funding + prices.funding_acc / FUNDING_UNIT)

    def basis_bps(self) -> float:
        """What accrues now: basis over index, basis points per eight hours."""
        prices = self._market().prices
        return prices.basis / 65_536 / prices.index * 10_000

    def conserved(self) -> bool:
        """The conservation law over everything that happened."""
        g = self._engine.globals
        return g.accounts_total + g.insurance_total + g.fees - g.losses_total == g.deposits - g.withdrawn

    def _market(self) -> MarketRow:
        market = self._engine.ledger.markets[0]
        assert market is not None, "the market was created"
        return market

    def _trade(self, buyer: int, seller: int, price: int) -> None:
        from node.stf.types import BUY, IOC, PLACE, SELL, Action

        self._act(3, self._cancels())
        self._act(seller, [Action(PLACE, side=SELL, price=price, lots=LOTS, client_id=1)])
        receipt = self._act(buyer, [Action(PLACE, side=BUY, price=price, lots=LOTS, tif=IOC, client_id=1)])
        if sum(fill.lots for fill in receipt.fills) != LOTS:
            raise UserError("the tape's index has moved further than the price band: the positions cannot be closed")

    def _cancels(self) -> list[Action]:
        """One for every resting order: what cancel-all leaves behind would hide the quotes from the mid."""
        from node.stf.params import PRICE_MAX
        from node.stf.types import BUY, CANCEL, Action

        found = []
        for (market, side, place), order in self._engine.ledger.orders.items():
            price = PRICE_MAX - (place >> 64) if side == BUY else place >> 64
            found.append(Action(CANCEL, market, side, price, seq=place & (1 << 64) - 1, client_id=order.client_id))
        return found

    def _act(self, account: int, actions: list[Action]) -> Receipt:
        """A signed list of actions; all must succeed."""
        from node.stf import encoding

        now = self._engine.globals.time
        self._nonce = max(self._nonce + 1, now)
        expiry = now + 60_000
        digest = encoding.actions_digest(account, 0, self._nonce, expiry, actions)
        signature = _sign(self._signers[account - 1], digest)
        receipt = self._run(encoding.write_actions(account, 0, self._nonce, expiry, actions, signature, now))
        if any(receipt.action_statuses):
            names = ", ".join(status.name for status in receipt.action_statuses)
            raise UserError(f"the rules refuse the tape: account {account} got {names}")
        return receipt

    def _run(self, transaction: bytes) -> Receipt:
        receipt = self._engine.execute(transaction)
        if receipt.status:
            raise UserError(f"the rules refuse the tape: {receipt.status.name}")
        return receipt

    def _cut(self) -> None:
        """End the chunk: its leaves become the committed ones."""
        self._trie.apply(self._engine.end_chunk().changes)
        self._engine.begin_chunk()


def _sign(signer: LocalSigner, digest: bytes) -> bytes:
    """A signature in the 64 bytes of EIP-2098."""
    signed = signer.sign_hash(digest)
    return signed[:32] + (int.from_bytes(signed[32:64], "big") | signed[64] << 255).to_bytes(32, "big")


def _setup(window_ms: int, owners: list[bytes]) -> list[bytes]:
    """Inbox messages, without their header: a market without fees, its price rules, publishers, three accounts."""
    from node.l1.deployment import MarketSpec

    spec = MarketSpec(
        0, "TAPE", tick_value=TICK_VALUE, oi_cap=1_000_000, min_notional=0, taker_fee=0, maker_fee=0, band=200_000,
        quorum=3, stale_ms=60_000)
    # near_band z sigma_floor addon_cap vol_sample_ms vol_window basis_cap spread_max basis_window, then all off
    risk = [(0, 4), (0, 2), (0, 4), (0, 4), (0, 4), (0, 4), (50_000, 4), (10_000, 4), (window_ms, 4),
            (0, 4), (0, 4), (0, 4), (0, 8)]
    messages = [b"\x06\x01" + spec.message(), b"\x06\x03" + bytes(2) + b"".join(v.to_bytes(n, "big") for v, n in risk)]
    messages += [b"\x06\x02" + bytes(2) + bytes((slot,)) + owner for slot, owner in enumerate(owners)]
    return messages + [b"\x01" + bytes(4) + owner + COLLATERAL.to_bytes(8, "big") for owner in owners]


def _text(result: dict[str, Any]) -> str:
    head = ("second", "index USD", "premium", "venue F", "our F", "ours damped", "venue USD", "our USD")
    lines = [" ".join(f"{name:>11}" for name in head)]
    for line in result["lines"]:
        cells = (
            f"{line['second']:,.0f}", f"{line['index']:,.1f}", f"{line['venue_premium_bps']:.3f}",
            f"{line['venue_rate_bps']:.3f}", f"{line['our_rate_bps']:.3f}", f"{line['damped_bps']:.3f}",
            f"{line['venue_accrued'] / 1e6:.6f}", f"{line['our_accrued'] / 1e6:.6f}")
        lines.append(" ".join(f"{cell:>11}" for cell in cells))
    paid = f"{result['long_paid_micro_usd']:+,} micro-USD, the short {result['short_paid_micro_usd']:+,}"
    verdict = "zero-sum" if result["zero_sum"] else "NOT ZERO-SUM"
    verdict += "; money is conserved" if result["conserved"] else "; MONEY IS NOT CONSERVED"
    lines += [
        "premium, F: basis points of index per eight hours; USD: what a long of one unit owes, the venue's pro rata",
        "ours damped: our premium put through the venue's formula, P + clamp(0.01% - P, -0.05%, +0.05%)",
        f"closed at the opening price: the long has paid {paid}; {verdict}"]
    return "\n".join(lines)
