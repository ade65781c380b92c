"""The rules as the services use them: one engine per state, fed with transactions or whole chunks.

An engine owns a ledger over committed leaves. ``execute`` either returns a receipt or raises ``InvalidChunk`` with
nothing changed, so a sequencer cuts a chunk exactly where the next transaction has no room. ``end_chunk`` returns all
that anchoring and proving need of the chunk: its changes, the keys it touched, the ranges of the books it observed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from node.stf import encoding, state, transition
from node.stf.params import CHUNK_BYTES_MAX
from node.stf.state import Globals, Ledger, Source
from node.stf.transition import InvalidChunk
from node.stf.types import Receipt

MessageAt = Callable[[int], bytes | None]

ROWS_MAX: Final = 50_000  # decoded rows of a kind that are kept between blocks, about 100 MB of accounts


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What one chunk did. ``ranges`` are inclusive key intervals; ``global_words`` is the G leaf after it."""

    changes: dict[bytes, bytes | None]
    touched: frozenset[bytes]
    ranges: tuple[tuple[bytes, bytes], ...]
    global_words: tuple[int, ...]
    work: int
    proof: int
    leaves: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The open chunk's books at one moment."""

    size: int
    work: int
    proof: int
    leaves: int
    transactions: int
    position: int
    touched: frozenset[bytes]
    observed: dict[tuple[int, int], int]
    dirty: int


class Engine:
    """Executes on top of a source of committed leaves.

    The source must reflect a chunk's changes by the time their rows are evicted; until then the engine's own rows win.
    """

    def __init__(self, source: Source, domain: bytes, message_at: MessageAt, *, strict: bool = False) -> None:
        self._ledger = Ledger(source, strict=strict)
        self._domain = domain
        self._message_at = message_at
        self._bytes = 0

    @property
    def globals(self) -> Globals:
        """Fields of the G leaf as of the last transaction."""
        return self._ledger.g

    @property
    def ledger(self) -> Ledger:
        """Decoded rows, for reading."""
        return self._ledger

    def bind(self) -> None:
        """Make this engine's state the one that the rules' own functions read (for margin queries and tests)."""
        state.bind(self._ledger)
        encoding.set_domain(self._domain)
        transition.set_inbox(self._message_at)

    def begin_chunk(self) -> None:
        """Start a chunk."""
        self.bind()
        self._bytes = 0
        transition.begin_chunk()

    def execute(self, transaction: bytes) -> Receipt:
        """Execute one whole transaction. Raises InvalidChunk, and changes nothing, if it does not decode or fit."""
        self.bind()
        if self._bytes + len(transaction) > CHUNK_BYTES_MAX:
            raise InvalidChunk("no room for a transaction's bytes")
        encoding.load(transaction)
        work, proof = self._ledger.work, self._ledger.proof
        try:
            receipt, end = transition.execute(0)
        except InvalidChunk:
            self._ledger.work, self._ledger.proof = work, proof
            raise
        assert end == len(transaction), "the caller passes exactly one transaction"
        self._bytes += len(transaction)
        return receipt

    def mark(self) -> Mark:
        """The books now, for ``retract``."""
        led = self._ledger
        return Mark(self._bytes, led.work, led.proof, led.leaves, led.transactions, led.g.position,
                    frozenset(led.touched), dict(led.observed), len(led.dirty))

    def retract(self, mark: Mark) -> None:
        """Take back the transaction since the mark. Only for one whose status says that it changed no leaf."""
        led = self._ledger
        assert len(led.dirty) == mark.dirty, "a transaction that wrote something cannot be taken back"
        self._bytes, led.work, led.proof, led.leaves = mark.size, mark.work, mark.proof, mark.leaves
        led.transactions, led.g.position = mark.transactions, mark.position
        led.touched, led.observed = set(mark.touched), mark.observed

    def end_chunk(self) -> ChunkResult:
        """The chunk's books; the ledger goes on from its state."""
        self.bind()
        ledger = self._ledger
        return ChunkResult(
            changes=state.write_set(),
            touched=frozenset(ledger.touched),
            ranges=state.observed_ranges(),
            global_words=tuple(state.global_words(ledger.g)),
            work=ledger.work,
            proof=ledger.proof,
            leaves=ledger.leaves,
        )

    def evict(self) -> int:
        """Forget decoded rows where more than ROWS_MAX of a kind have gathered; returns how many, and begins a chunk.

        To be called between chunks, when the source has every change: rows are decoded anew when they are touched.
        Markets, boards and the books' indexes stay: the first two are bounded, the last holds what rests.
        """
        ledger = self._ledger
        forgotten = 0
        rows: dict[Any, Any]
        for rows in (ledger.accounts, ledger.orders, ledger.withdrawals):
            if len(rows) > ROWS_MAX:
                forgotten += len(rows)
                rows.clear()
        if forgotten:
            self.begin_chunk()
        return forgotten

    def execute_chunk(self, chunk: bytes) -> tuple[list[Receipt], ChunkResult]:
        """Execute a whole chunk as posted. Raises InvalidChunk; the engine's state is then of no more use."""
        self.bind()
        receipts = transition.execute_chunk(chunk)
        return receipts, self.end_chunk()


def genesis_leaves() -> dict[bytes, bytes]:
    """The state before the first batch: the global leaf alone."""
    return {state.GLOBAL_KEY: state.encode_globals(Globals())}
