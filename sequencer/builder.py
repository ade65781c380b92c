"""Builds blocks: opens them, executes, cuts chunks where the rules ask for it, consumes the inbox, seals. No I/O waits.

Everything that is executed goes into ``entries`` in order, and from there into the log; the caller makes it durable
before it promises anything. A block opens with the first transaction after a seal and takes the messages that wait.

A transaction is refused, not included, when its envelope fails (signature, nonce, expiry), and when it is one that
anyone may send and it does nothing: it is executed and taken back, so the rules themselves are the check. What an
authorized list does order by order is included as it comes out: its nonce is used.

Invariants: times rise; a message's L1 time lifts them; chunks are cut exactly when the next transaction has no room or
its block ends, so a replay of the log cuts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from node.derive.blocks import Outcome
from node.derive.chain import Chain, ExecutedChunk, SealedBlock
from node.errors import Critical
from node.stf import encoding
from node.stf.params import TIME_MAX
from node.stf.state import account_key, decode_account
from node.stf.transition import InvalidChunk
from node.stf.trie import keccak
from node.stf.types import AMEND, ANCHOR_NOTICE, CANCEL, TRIGGER_FALL, Receipt, Status
from sequencer.admission import LIST_FITS, NoRoom, Refused, Repeats, check_room, did_nothing
from sequencer.log import CUT, MESSAGE, TX, Record
from sequencer.orders import OrderIndex
from sequencer.requests import ActionsRequest, Request, SetKeyRequest, WithdrawRequest

__all__ = ["Answer", "Builder", "Entry", "Limits", "NoRoom", "Refused"]

# A batch holds 256 chunks and 65,536 bytes, and at least one block: a block ends here, what runs over is bounded
CHUNKS_MAX: Final = 128
CHUNKS_OVER: Final = 64
BLOCK_BYTES_MAX: Final = 56_000
MESSAGES_MAX: Final = 64  # consumed by one block
LATE_BLOCKS_MAX: Final = 16  # sealed in one go for messages that have waited too long
NONCES_KEPT: Final = 64  # below the highest used one
CONTINUES_MAX: Final = 256  # sent for one order before others get a turn


@dataclass(slots=True)
class Entry:
    """An included transaction, for the log and its promise. ``hash`` is keccak of its bytes."""

    position: int
    hash: bytes


@dataclass(slots=True)
class Answer:
    """What became of a request; ``more`` are the Continues that finished its crossing order."""

    receipt: Receipt
    data: bytes
    entry: Entry
    more: list[Receipt] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a block ends: its age in ms of the caller's clock, or its bytes. ``notice_ms``: how long a message that only
    says "anchored" may wait for company, so that anchoring does not feed on itself. ``overdue_ms``: how far L2 time may
    run ahead of a message that waits; L1 refuses batches that run ahead by its forced-inclusion delay."""

    block_ms: int = 250
    block_bytes_max: int = 100_000
    notice_ms: int = 60_000
    overdue_ms: int = 1_800_000


class Builder:
    """See the module. ``clock`` gives ms since 1970; ``record`` takes (kind, content) for the log, in order; ``sealed``
    hears of every committed block; ``age`` (by default the clock, too) tells how long a block has been open, in ms:
    L2's clock may stand still while the wall's catches up with it."""

    def __init__(
        self, chain: Chain, limits: Limits, clock: Callable[[], int], record: Callable[[int, bytes], None],
        sealed: Callable[[SealedBlock], None] | None = None, age: Callable[[], int] | None = None,
    ) -> None:
        self.chain = chain
        self.limits = limits
        self._bytes_max = min(limits.block_bytes_max, BLOCK_BYTES_MAX)
        self.entries: list[Entry] = []
        self._clock = clock
        self._age = age or clock
        self._record = record
        self._sealed = sealed
        self._messages: dict[int, bytes] = {}
        self._next_message = chain.head.cursor
        self.engine = chain.engine(self._messages.get)
        self.orders = OrderIndex(chain.store)
        self._chunks: list[ExecutedChunk] = []
        self._open = bytearray()
        self._outcomes: list[Outcome] = []
        self._block_bytes = 0
        self._opened_at = -1  # -1: no block is open
        self._notice_since = 0
        self._busy: set[int] = set()
        self._repeats = Repeats()
        self.engine.begin_chunk()

    # --- what the service calls ---------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Position of the next transaction."""
        return self.engine.globals.position

    @property
    def is_open(self) -> bool:
        """Whether a block is open."""
        return self._opened_at >= 0

    @property
    def cursor(self) -> int:
        """Inbox messages consumed."""
        return self.engine.globals.cursor

    @property
    def next_message(self) -> int:
        """Number of the message to be offered next."""
        return self._next_message

    def message(self, number: int) -> bytes | None:
        """A message that was consumed or offered."""
        return self._messages.get(number) or self.chain.message(number)

    def drop_messages(self, first: int) -> None:
        """Forget offered messages from ``first`` on that are not consumed: L1 has changed its mind."""
        first = max(first, self.cursor)
        for number in range(first, self._next_message):
            del self._messages[number]
        self._next_message = max(self.cursor, min(first, self._next_message))

    def add_message(self, number: int, message: bytes) -> None:
        """Offer the next inbox message. Numbers are contiguous; known ones are ignored."""
        if number < self._next_message:
            return
        if number != self._next_message:
            raise Critical(f"inbox message {number} came where {self._next_message} was due")
        self._messages[number] = message
        self._next_message += 1

    def find_duplicate(self, request: ActionsRequest, signer: int) -> int | None:
        """Index of the first place whose client id a live order of its account and market has, or an earlier place.

        A used nonce has no duplicates: the rules' word on it tells a client that its list is in already. Raises Refused
        for strangers.
        """
        self._check_key(request.account, request.slot, signer)
        ledger = self.engine.ledger
        row = ledger.accounts[request.account]
        assert row is not None, "its key was just compared"
        key = row.keys[request.slot]
        age = key.nonce_high - request.nonce
        if age >= 0 and (age >= NONCES_KEPT or key.nonce_map >> age & 1):
            return None
        time = self.engine.globals.time if self.is_open else self._block_time()[0]
        return self.orders.find_duplicate(ledger, request.account, request.actions, time)

    def submit(self, request: Request, signer: int, digest: bytes | None = None) -> Answer:
        """Include a request whose signature over ``digest`` recovers to ``signer`` (0 = none).

        Raises Refused or NoRoom.
        """
        if isinstance(request, ActionsRequest):
            self._check_key(request.account, request.slot, signer)
            self._resolve_cancels(request)
            if len(request.actions) > LIST_FITS:
                check_room(request, self.engine.globals.time)
            self._ensure_open()
        else:
            if isinstance(request, WithdrawRequest | SetKeyRequest):
                self._check_key(request.account, 0, signer)
            self._repeats.check(request, self.engine.globals.time if self.is_open else self._block_time()[0])
            self._ensure_open()
        data = request.write(self.engine.globals.time)
        signature = request.signature
        if signature is not None:
            if digest is None:
                self.engine.bind()
                digest = request.digest()
            encoding.note_recovered(digest, *signature, signer)
        mark = self.engine.mark()
        try:
            receipt = self._try(data)
        except InvalidChunk:
            if not self._open:
                raise NoRoom from None
            self._cut()
            mark = self.engine.mark()
            try:
                receipt = self._try(data)
            except InvalidChunk as error:
                raise NoRoom(str(error)) from None
        if did_nothing(receipt):
            self.engine.retract(mark)
            raise Refused(receipt.status, receipt.action_statuses)
        answer = Answer(receipt, data, self._take(data, receipt))
        self._repeats.note(request, receipt)
        if isinstance(request, ActionsRequest):
            self.orders.note(request.account, request.actions)
        if self._busy:
            answer.more = self._continue()
        return answer

    def tick(self) -> SealedBlock | None:
        """Do what time asks for: finish crossing orders, consume waiting messages, seal. Call it often."""
        if self._busy:
            self._ensure_open()
            self._continue()
        if not self.is_open and self._messages_due():
            self._ensure_open()
        if self.is_open and self._is_due():
            return self.seal()
        return None

    def seal(self) -> SealedBlock | None:
        """End the open block, if there is one, and commit it."""
        if not self.is_open:
            return None
        self._cut()
        sealed = self.chain.seal(self._chunks)
        first, cursor = self.chain.head.cursor, sealed.block.header.cursor
        self.chain.commit(sealed, {number: self._messages[number] for number in range(first, cursor)})
        for number in range(first, cursor):
            del self._messages[number]
        self._chunks = []
        self._block_bytes = 0
        self._opened_at = -1
        self.engine.evict()
        if self._sealed is not None:
            self._sealed(sealed)
        return sealed

    def repeat(self, transactions: Iterable[bytes]) -> list[Receipt]:
        """Execute again, at the same positions, what a reset undid. An Inbox may find no message now.

        Raises Critical if a transaction has no room even in a chunk of its own: it had when it was promised.
        """
        receipts = []
        for data in transactions:
            if data[:1] == b"\x09":
                self.seal()
                self._opened_at = self._age()
            try:
                if data == encoding.INBOX_TX and self.engine.globals.cursor in self._messages:
                    self._record_message()
                receipts.append(self._run(data))
            except InvalidChunk as error:
                raise Critical(
                    f"the transaction promised position {self.position} does not fit there any more: {error}; leave "
                    "the seat and take it anew, since anything else at this position costs the bond") from error
        self.seal()
        return receipts

    def replay(self, records: Iterable[Record]) -> int:
        """Execute again what the log holds beyond the head block; returns how many transactions.

        Raises Critical if the log and the chain do not belong together.
        """
        start = self.position
        record_live, self._record = self._record, _forget
        try:
            self._replay_all(records, start)
        finally:
            self._record = record_live
        self.entries.clear()
        return self.position - start

    def _replay_all(self, records: Iterable[Record], start: int) -> None:
        for record in records:
            if record.kind == MESSAGE:
                number = int.from_bytes(record.content[:8], "big")
                self.add_message(number, record.content[8:])
            elif record.position < start:
                continue
            elif record.kind == CUT:
                self._cut_replayed(record)
            elif record.kind == TX:
                self._replay_one(record)

    # --- transactions -------------------------------------------------------------------------------------------------

    def _try(self, data: bytes) -> Receipt:
        return self.engine.execute(data)

    def _run(self, data: bytes) -> Receipt:
        """Execute one of our own transactions, in a new chunk if this one has no room."""
        try:
            receipt = self.engine.execute(data)
        except InvalidChunk:
            if not self._open:
                raise
            self._cut()
            receipt = self.engine.execute(data)
        self._take(data, receipt)
        if data[:1] != b"\x09":
            self.orders.blur()
        return receipt

    def _take(self, data: bytes, receipt: Receipt) -> Entry:
        """Keep an executed transaction."""
        self._open += data
        self._outcomes.append(Outcome(receipt, len(data)))
        self._block_bytes += len(data)
        self._record(TX, data)
        entry = Entry(receipt.position, keccak(data))
        self.entries.append(entry)
        if receipt.status == Status.PENDING or Status.PENDING in receipt.action_statuses:
            rows = self.engine.ledger.markets
            self._busy.update(market for market, row in rows.items() if row is not None and row.pending.lots != 0)
        return entry

    def _continue(self) -> list[Receipt]:
        """Send Continues until no market waits, or the bound is reached."""
        receipts: list[Receipt] = []
        while self._busy and len(receipts) < CONTINUES_MAX and len(self._chunks) < CHUNKS_MAX + CHUNKS_OVER:
            market = min(self._busy)
            row = self.engine.ledger.markets.get(market)
            if row is None or row.pending.lots == 0:
                self._busy.discard(market)
                continue
            receipts.append(self._run(encoding.write_continue(market)))
        return receipts

    def _check_key(self, account: int, slot: int, signer: int) -> None:
        """Refuse strangers before a block is opened for them. Reads without a trace in the chunk's books."""
        engine = self.engine
        if not 0 < account < engine.globals.next_account:
            raise Refused(Status.NO_ACCOUNT)
        row = engine.ledger.accounts.get(account)
        if row is None:
            value = self.chain.store.get(account_key(account))
            assert value is not None, "accounts below the counter have leaves, or rows since the last commit"
            row = engine.ledger.accounts[account] = decode_account(value)
        if signer == 0:
            raise Refused(Status.BAD_SIGNATURE)
        if slot >= len(row.keys) or row.keys[slot].address != signer:
            raise Refused(Status.NO_KEY)

    def _resolve_cancels(self, request: ActionsRequest) -> None:
        for action in request.actions:
            if action.op in (CANCEL, AMEND) and action.seq == 0:
                place = self.orders.find(self.engine.ledger, request.account, action.market, action.client_id)
                if place is not None and (action.op == CANCEL or place[0] < TRIGGER_FALL):
                    action.side, action.price, action.seq = place

    # --- blocks and chunks --------------------------------------------------------------------------------------------

    def _ensure_open(self) -> None:
        if self.is_open and self._is_full():
            self.seal()
        for _ in range(LATE_BLOCKS_MAX):
            if self.is_open:
                return
            if self._open_block():
                self.seal()
        if not self.is_open:
            self._open_block()

    def _block_time(self) -> tuple[int, bool]:
        """The next block's L2 time, and whether it is held back for a message that has waited too long.

        After an outage, a block at the clock's time that could not take all old messages could never be posted: L1
        judges at a batch's last L2 time whether messages are overdue. So old ones are taken in blocks of their time.
        """
        now = min(TIME_MAX, max(self._clock(), self.engine.globals.time + 1))
        waiting = self._messages.get(self.engine.globals.cursor)
        if waiting is None:
            return now, False
        limit = int.from_bytes(waiting[21:29], "big") * 1_000 + self.limits.overdue_ms
        held = max(self.engine.globals.time + 1, min(now, limit))
        return held, held < now

    def _open_block(self) -> bool:
        """Open a block and take the messages that wait; whether its time is held back."""
        time, late = self._block_time()
        self._opened_at = self._age()
        self._run(encoding.write_block(time - self.engine.globals.time))
        for _ in range(MESSAGES_MAX):
            if self.engine.globals.cursor not in self._messages or self._is_full():
                break
            self._consume()
        self._notice_since = 0
        return late

    def _consume(self) -> None:
        """Consume the next message; it goes into the log first, because L1 may change its mind about it."""
        self._record_message()
        self._run(encoding.INBOX_TX)
        if self._busy:
            self._continue()

    def _record_message(self) -> None:
        number = self.engine.globals.cursor
        self._record(MESSAGE, number.to_bytes(8, "big") + self._messages[number])

    def _messages_due(self) -> bool:
        """Whether messages wait that are worth a block: any but anchor notices, or a notice that has waited long."""
        cursor = self.engine.globals.cursor
        if cursor not in self._messages:
            return False
        waiting = [self._messages[number] for number in range(cursor, self._next_message)]
        if any(message[0] != ANCHOR_NOTICE for message in waiting):
            return True
        now = self._age()
        self._notice_since = self._notice_since or now
        return now - self._notice_since >= self.limits.notice_ms

    def _is_due(self) -> bool:
        return self._age() - self._opened_at >= self.limits.block_ms or self._is_full()

    def _is_full(self) -> bool:
        return self._block_bytes >= self._bytes_max or len(self._chunks) >= CHUNKS_MAX

    def _cut(self) -> None:
        """End the open chunk, if anything is in it."""
        if not self._open:
            return
        self._record(CUT, b"")
        result = self.engine.end_chunk()
        self.orders.apply(result.changes)
        self._chunks.append(ExecutedChunk(bytes(self._open), tuple(self._outcomes), result))
        self._open = bytearray()
        self._outcomes = []
        self.engine.begin_chunk()

    # --- replay -------------------------------------------------------------------------------------------------------

    def _cut_replayed(self, record: Record) -> None:
        if record.position != self.position:
            raise Critical(f"the log cuts a chunk at position {record.position}, the chain is at {self.position}")
        self._cut()

    def _replay_one(self, record: Record) -> None:
        data = record.content
        if record.position != self.position:
            raise Critical(f"the log goes on at position {record.position}, the chain at {self.position}: "
                           "they are not of the same run; restore both, or remove the datadir to derive anew")
        if data[:1] == b"\x09":
            self.seal()
            self._opened_at = self._age()
        try:
            self._take(data, self.engine.execute(data))
            self.orders.blur()
        except InvalidChunk as error:
            raise Critical(f"the log's transaction {record.position} does not execute again: {error}") from error


def _forget(kind: int, content: bytes) -> None:
    """What is replayed is in the log already."""
