"""What is not included: envelopes that fail, transactions of anyone that do nothing, lists that fit no chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from node.stf import transition
from node.stf.params import (
    CHUNK_LEAVES_MAX,
    CHUNK_PROOF_MAX,
    CHUNK_WORK_MAX,
    GLOBAL_WORDS,
    PROOF_BASE,
    PROOF_DENSE,
    PROOF_WORD,
    WORK_BYTE,
    WORK_LEAF,
    WORK_TX,
)
from node.stf.types import (
    ACTIONS,
    LIQUIDATE,
    ORACLE_PRICE,
    SET_KEY,
    SETTLE,
    SWEEP,
    TRIGGER_FIRE,
    WITHDRAW,
    Receipt,
    Status,
)
from sequencer.requests import ActionsRequest, LiquidateRequest, Request, SettleRequest

LIST_FITS: Final = 4  # so few actions always fit an empty chunk
# what a chunk has spent before its first transaction: the global leaf
WORK_SPENT: Final = WORK_LEAF
PROOF_SPENT: Final = PROOF_BASE + PROOF_DENSE + GLOBAL_WORDS * PROOF_WORD

# envelope failures: the transaction has changed nothing
_ENVELOPE: Final = frozenset(Status(code) for code in range(Status.BAD_SIGNATURE, Status.NONCE_TOO_NEW + 1))
_SIGNED: Final = frozenset((ACTIONS, WITHDRAW, SET_KEY))
# what anyone may send and that ends with one of these has changed nothing
_CLOSED: Final = frozenset((
    Status.NO_ACCOUNT, Status.NO_MARKET, Status.MARKET_HALTED, Status.MARKET_BUSY, Status.STALE_PRICE,
    Status.NO_POSITION,
))
_IDLE: Final = {
    LIQUIDATE: _CLOSED | {Status.NOT_LIQUIDATABLE},
    SWEEP: frozenset((Status.NO_MARKET, Status.NOTHING_TO_SWEEP)),
    TRIGGER_FIRE: frozenset((
        Status.NO_MARKET, Status.MARKET_HALTED, Status.MARKET_EXPIRED, Status.MARKET_BUSY, Status.STALE_PRICE,
        Status.TRIGGER_NOT_REACHED,
    )),
    SETTLE: _CLOSED | {Status.NOT_SETTLING},
}
# what may have changed little, and would be free to repeat without end: asked again only once time has passed
_WAITING: Final = frozenset((
    Status.BUFFERED, Status.NO_LIQUIDITY, Status.REDUCED_ENOUGH, Status.INSUFFICIENT_MARGIN,
))
REPEAT_MS: Final = 500  # of L2 time, between two such answers to one account and market
REPEATS_MAX: Final = 4_096  # remembered


class Refused(Exception):
    """The transaction was not included: ``status`` is what the rules say to it, ``statuses`` to its parts."""

    def __init__(self, status: Status, statuses: Iterable[Status] = ()) -> None:
        super().__init__(status.name)
        self.status = status
        self.statuses = list(statuses)


class NoRoom(Exception):
    """The transaction does not fit an empty chunk."""


class Repeats:
    """Remembers unsigned requests that had to wait: nobody can fill the chain with them for nothing."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int, int], tuple[int, Status]] = {}

    def check(self, request: Request, time: int) -> None:
        """Raise Refused, with the last answer's status, for a repeat that comes too early. ``time``: L2 ms."""
        if isinstance(request, LiquidateRequest | SettleRequest):
            last, status = self._last.get((request.kind, request.account, request.market), (-REPEAT_MS, Status.OK))
            if last <= time < last + REPEAT_MS:
                raise Refused(status)

    def note(self, request: Request, receipt: Receipt) -> None:
        """Remember an answer. The oldest are forgotten first."""
        if not isinstance(request, LiquidateRequest | SettleRequest):
            return
        key = (request.kind, request.account, request.market)
        self._last.pop(key, None)
        if receipt.status in _WAITING:
            self._last[key] = (receipt.time, receipt.status)
            if len(self._last) > REPEATS_MAX:
                del self._last[next(iter(self._last))]


def check_room(request: ActionsRequest, base: int) -> None:
    """Raise NoRoom for a list whose worst case no chunk has room for, even an empty one; ``base`` is the L2 time."""
    size = len(request.write(base))
    work, leaves, proof = transition.actions_room(len(request.actions), *transition.count_places(request.actions))
    over = (
        work + WORK_SPENT + WORK_TX + WORK_BYTE * size > CHUNK_WORK_MAX
        or leaves + 1 > CHUNK_LEAVES_MAX
        or proof + PROOF_SPENT + size > CHUNK_PROOF_MAX
    )
    if over:
        raise NoRoom(f"a list of {len(request.actions)} actions that could do so much does not fit a chunk: split it")


def did_nothing(receipt: Receipt) -> bool:
    """Whether a transaction failed without any effect, so that it can be refused instead of included."""
    if receipt.status == Status.OK:
        return False
    if receipt.kind in _SIGNED:
        return receipt.status in _ENVELOPE
    if receipt.kind == ORACLE_PRICE:
        return all(status != Status.OK for status in receipt.action_statuses)
    return receipt.status in _IDLE.get(receipt.kind, ())
