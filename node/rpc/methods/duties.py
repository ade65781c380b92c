"""What the rules would let anybody do now, for keepers: who is on the ladder, and what waits in each market.

A proposal, not a promise: the rules decide when the transaction comes. Amounts are micro-USD.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from node.rpc.methods.reader import Reader
from node.stf import margin
from node.stf.params import BUFFER_STEP_MS
from node.stf.state import AccountRow
from node.stf.types import (
    FLAG_BUFFERED,
    FLAG_OPT_IN,
    HALTED,
    LEVEL_HALT,
    SETTLING,
    TRIGGER_FALL,
    TRIGGER_RISE,
    Chain,
    Terms,
)

SIDES: Final = (0, 1, TRIGGER_FALL, TRIGGER_RISE)


class AccountDuty(msgspec.Struct):
    """``rung``: debt, hard, threatened, buffered, recovered or settle; ``markets``: where to act, the dearest first;
    ``pressure``: how much of the order flow is against its positions, ppm, signed (``flow``)."""

    account: int
    rung: str
    markets: list[int]
    equity: int
    maintenance: int
    pressure: int = 0


class MarketDuty(msgspec.Struct):
    """``insured``: lots that insurance holds, signed; ``fires``: directions of triggers that the mark has reached (1 =
    rising); ``sweeps``: sides of the book whose best order is dead."""

    market: int
    insured: int
    fires: list[int]
    sweeps: list[int]


class DutiesInfo(msgspec.Struct):
    """``next``: the account to go on after, 0 when all have been looked at."""

    accounts: list[AccountDuty]
    markets: list[MarketDuty]
    next: int
    time: int
    block: int


def find_duties(reader: Reader, after: int, count: int, block: int) -> DutiesInfo:
    """Look at ``count`` accounts beyond ``after``, and at every market."""
    g = reader.ledger.g
    last = min(after + count, g.next_account - 1)
    acting = [market for market in reader.markets() if acts(reader, market)]
    duties = (account_duty(reader, account, acting) for account in range(after + 1, last + 1))
    return DutiesInfo(
        accounts=[duty for duty in duties if duty is not None],
        markets=list(market_duties(reader)),
        next=0 if last + 1 >= g.next_account else last,
        time=g.time,
        block=block,
    )


def account_duty(reader: Reader, account: int, acting: list[int]) -> AccountDuty | None:
    """What anybody may do with an account, if anything; ``acting``: markets that would act now."""
    row = reader.account(account)
    if row is None or (not row.positions and row.flags & FLAG_BUFFERED == 0):
        return None
    health = reader.health(row)
    rung = rung_of(reader.ledger.g.chain, row, health, reader.ledger.g.time)
    settles = [p.market for p in row.positions if p.market in acting and reader.board(p.market).status == SETTLING]
    if rung != "debt" and settles:
        return AccountDuty(account, "settle", settles, health.equity, health.maintenance)
    markets = where(reader, row, rung, acting)
    return AccountDuty(account, rung, markets, health.equity, health.maintenance) if rung and markets else None


def rung_of(chain: Chain, row: AccountRow, health: Terms, now: int) -> str:
    """Where an account stands on the ladder; empty if nothing is to be done with it."""
    if health.equity >= health.maintenance:
        if row.flags & FLAG_BUFFERED:
            return "recovered"
        return "threatened" if row.flags & FLAG_OPT_IN and margin.is_threatened(health) else ""
    if health.equity + health.haircut < 0:
        return "debt"
    used = row.buffer
    if row.flags & FLAG_BUFFERED and health.stale == 0:
        used += min(now - row.buffer_at, BUFFER_STEP_MS)
    if health.equity < margin.closeout(health) or chain.buffer_ms == 0:
        return "hard"
    if row.flags & FLAG_BUFFERED and used >= chain.buffer_ms:
        return "hard"
    return "threatened" if margin.is_threatened(health) else "buffered"


def where(reader: Reader, row: AccountRow, rung: str, acting: list[int]) -> list[int]:
    """The account's markets that would act now, the largest maintenance first; any acting one ends a buffer."""
    if rung == "recovered":
        return acting[:1]
    share = {
        p.market: margin.terms(p, reader.board(p.market)).maintenance
        for p in row.positions if p.size and p.market in acting
    }
    return sorted(share, key=lambda market: -share[market])


def acts(reader: Reader, market: int) -> bool:
    """Whether a market would liquidate now: it is not halted, not busy, and its price is fresh."""
    board, row = reader.board(market), reader.market(market)
    if row is None or row.pending.lots or not reader.is_fresh(board):
        return False
    return board.status != HALTED and reader.ledger.g.level < LEVEL_HALT


def market_duties(reader: Reader) -> Iterator[MarketDuty]:
    """What waits in each market."""
    for market in reader.markets():
        row = reader.market(market)
        if row is None:
            continue
        sweeps = [side for side in SIDES if is_edge_dead(reader, market, side)]
        fires = [direction for direction in (0, 1) if is_reached(reader, market, direction)]
        insured = row.insurance.size if acts(reader, market) and reader.board(market).status != SETTLING else 0
        if insured or fires or sweeps:
            yield MarketDuty(market, insured, fires, sweeps)


def is_edge_dead(reader: Reader, market: int, side: int) -> bool:
    """Whether the best order of a side is dead: it may be swept."""
    return any(
        not reader.live(market, side, order, seq) for _price, seq, order in islice(reader.side(market, side), 1)
    )


def is_reached(reader: Reader, market: int, direction: int) -> bool:
    """Whether the mark has reached the first trigger of a direction."""
    board = reader.board(market)
    if board.status == SETTLING or not acts(reader, market):
        return False
    for price, _seq, _order in islice(reader.side(market, TRIGGER_RISE if direction else TRIGGER_FALL), 1):
        return board.mark >= price if direction else board.mark <= price
    return False
