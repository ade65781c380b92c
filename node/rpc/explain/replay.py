"""Executes the past again: the chunk that holds a transaction, from its pre-state, in memory, on a ledger of its own.

    block n-1 --undo--> state before the block --chunks before--> chunk start --transactions before--> before, after
                                                                                    rest of the chunk --> chunk end

Roots are compared with the chain's at every chunk's end, and the receipt with the one that was stored: an explanation
is of what happened, or there is none. The rules act on one bound ledger at a time; every call here binds its own and
waits for nothing in between, so the service's own engine may run between two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import Final

import trio

from node.derive.blocks import Chunk, Outcome
from node.derive.chain import Chain, StoredTransaction
from node.derive.records import slices
from node.errors import Critical
from node.rpc.errors import ErrorKind, fail
from node.rpc.explain.decode import read_message, read_transaction
from node.rpc.methods.reader import Reader
from node.rpc.methods.withdrawals import with_messages
from node.stf import state, transition
from node.stf.engine import Engine
from node.stf.params import MARKETS_MAX
from node.stf.state import Source
from node.stf.trie import MemoryTrie, TrieView
from node.stf.types import Action, Fill, Receipt, Status
from node.storage.kv import StorageError

BLOCKS_BACK_MAX: Final = 100_000
SIDES: Final = 4  # of a book: bids, asks, triggers of both kinds
TURN: Final = 2  # transactions executed before other tasks get a turn


Books = dict[tuple[int, int], list[int]]  # (market, side) -> negated book keys, the best one last


class Layer:
    """Leaves after some changes to a source (a `Source` itself)."""

    def __init__(self, base: Source, changes: dict[bytes, bytes | None]) -> None:
        self._base = base
        self._changes = changes

    def get(self, key: bytes) -> bytes | None:
        return self._changes[key] if key in self._changes else self._base.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys of all leaves under a prefix, ascending; no more of them are read than are asked for."""
        added = sorted(key for key, value in self._changes.items() if value is not None and key.startswith(prefix))
        return merge((key for key in self._base.keys(prefix) if key not in self._changes), added)


@dataclass(frozen=True, slots=True)
class Setting:
    """The chunk around a scene: what it consumed, the states at its ends, what its execution touched and observed."""

    chunk: Chunk
    index: int
    messages: tuple[bytes, ...]
    start: TrieView
    end: TrieView
    touched: frozenset[bytes]
    ranges: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Act:
    """One action of a list between the states around it."""

    before: Source
    after: Source
    status: Status
    fills: list[Fill]


@dataclass(slots=True)
class Scene:
    """A transaction between the states around it. ``message`` is what it consumed, if it is an Inbox."""

    receipt: Receipt
    data: bytes
    message: bytes | None
    domain: bytes
    before: Source
    after: Source
    books: Books = field(default_factory=dict)
    """Indexes of books in the state before, as far as they are known."""

    def reader(self, source: Source) -> Reader:
        """Reads of a state; they leave no trace."""
        return Reader(self._engine(source))

    def _engine(self, source: Source) -> Engine:
        return Engine(source, self.domain, _no_message, strict=True)

    def acts(self, account: int, listed: list[Action], time: int) -> Iterator[Act]:
        """The transaction's list, action by action; others may run between two of them."""
        engine = self._engine(self.before)
        engine.ledger.books = _copy(self.books)
        engine.begin_chunk()
        state.set_time(time)
        steps = transition.match_steps(transition.count_places(listed)[0])
        before: Source = self.before
        for action in listed:
            engine.bind()
            status, steps = transition.perform(account, action, steps)
            after = Layer(self.before, engine.end_chunk().changes)
            yield Act(before, after, status, state.take_fills())
            before = after


def _no_message(_number: int) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class _Past:
    """Everything of a block that is read before the first wait: the chain may go on, or back, meanwhile."""

    stored: StoredTransaction
    message: bytes | None
    first: int
    chunks: tuple[Chunk, ...]
    outcomes: tuple[Outcome, ...]
    messages: dict[int, bytes]
    root: bytes
    rewind: Callable[[], TrieView]
    markets: frozenset[int]

    def open(self) -> tuple[TrieView, Books]:
        """The state before the block, and its books' indexes. Takes long far back and with large books."""
        view = self.rewind()
        return view, {(market, side): _index(view, market, side) for market in self.markets for side in range(SIDES)}


def _past(chain: Chain, found: StoredTransaction) -> _Past:
    number = found.block
    header, parent = chain.header(number), chain.header(number - 1)
    assert header is not None and parent is not None, "a stored transaction's block has a parent"
    back = chain.head.number - parent.number
    if back > BLOCKS_BACK_MAX:
        raise fail(ErrorKind.NotFound, f"block {number} is {back:,} blocks back, and only {BLOCKS_BACK_MAX:,} can be "
                   "executed again: ask an archive, or derive a node from L1 up to that block", param="id")
    message = next(each for stored, each in with_messages(chain, number)
                   if stored.receipt.position == found.receipt.position)
    consumed = {cursor: chain.message(cursor) or b"" for cursor in range(parent.cursor, header.cursor)}
    return _Past(found, message, header.first_position, chain.chunks(number), chain.outcomes(number), consumed,
                 parent.state_root, chain.store.rewind(parent.number), _markets(chain, number))


def _markets(chain: Chain, number: int) -> frozenset[int]:
    """Markets whose books a block's transactions may look at."""
    found: set[int] = set()
    for stored, message in with_messages(chain, number):
        time = stored.receipt.time
        intent = read_transaction(stored.data, time) if message is None else read_message(message, time)
        found.update((intent.market, *(action.market for action in intent.actions), *(at for at, _ in intent.prices)))
    return frozenset(market for market in found if market < MARKETS_MAX)


def _index(source: Source, market: int, side: int) -> list[int]:
    """A book's index as ledgers hold it."""
    found = [-int.from_bytes(key[4:16], "big") for key in source.keys(state.book_prefix(market, side))]
    return found[::-1]


def _copy(books: Books) -> Books:
    return {place: list(book) for place, book in books.items()}


async def replay(chain: Chain, found: StoredTransaction) -> tuple[Scene, Setting]:
    """The scene of a committed transaction. Raises RpcError if its pre-state cannot be had any more."""
    past = _past(chain, found)
    try:
        view, books = await trio.to_thread.run_sync(past.open)
    except StorageError as error:
        oldest = chain.store.oldest_block() or 0
        where = f"position {found.receipt.position} is in block {found.block}"
        raise fail(ErrorKind.NotFound, f"{where}; this node can execute again what is after block {oldest} ({error}): "
                   "ask a node that keeps more undo records (verifier.undo_blocks), or derive anew from L1",
                   param="id") from None
    if view.root() != past.root:
        raise Critical(f"undo records of block {found.block} lead to another state than its parent's: derive anew")
    return await _Replay(past, chain.domain, view, books).run()


class _Replay:
    """One block, executed again until the end of the chunk that matters."""

    def __init__(self, past: _Past, domain: bytes, view: TrieView, books: Books) -> None:
        self._past = past
        self._domain = domain
        self._start = MemoryTrie(base=view)
        self._engine = Engine(self._start, domain, past.messages.get, strict=True)
        self._engine.ledger.books = books
        self._executed = 0

    async def run(self) -> tuple[Scene, Setting]:
        target = self._past.stored.receipt.position - self._past.first
        at = 0
        for index, chunk in enumerate(self._past.chunks):
            count = _count(chunk, self._past.outcomes[at:])
            transactions = slices((chunk,), self._past.outcomes[at : at + count])
            if target < at + count:
                return await self._scene(index, chunk, transactions, target - at)
            self._engine.begin_chunk()
            await self._execute(transactions)
            self._close(chunk, self._start)
            at += count
        raise Critical(f"block {self._past.stored.block} does not hold its own transaction: the database is damaged")

    async def _scene(
        self, index: int, chunk: Chunk, transactions: list[bytes], target: int
    ) -> tuple[Scene, Setting]:
        past, engine = self._past, self._engine
        first_message = engine.globals.cursor
        engine.begin_chunk()
        await self._execute(transactions[:target])
        before, books = Layer(self._start, engine.end_chunk().changes), _copy(engine.ledger.books)
        _same(engine.execute(transactions[target]), past.stored.receipt)
        after = Layer(self._start, engine.end_chunk().changes)
        await self._execute(transactions[target + 1 :])
        end = MemoryTrie(base=self._start)
        result = self._engine.end_chunk()
        self._close(chunk, end)
        messages = tuple(past.messages[number] for number in range(first_message, engine.globals.cursor))
        return (
            Scene(past.stored.receipt, transactions[target], past.message, self._domain, before, after, books),
            Setting(chunk, index, messages, self._start, end, result.touched, result.ranges))

    async def _execute(self, transactions: list[bytes]) -> None:
        for data in transactions:
            self._engine.execute(data)
            self._executed += 1
            if self._executed % TURN == 0:
                await trio.lowlevel.checkpoint()

    def _close(self, chunk: Chunk, onto: MemoryTrie) -> None:
        if onto.apply(self._engine.end_chunk().changes) != chunk.post_root:
            raise Critical(f"a chunk of block {self._past.stored.block} leads to another root when it is executed "
                           "again: the rules or the database have changed, derive anew")


def _count(chunk: Chunk, outcomes: tuple[Outcome, ...]) -> int:
    """How many of a block's remaining transactions stand in a chunk."""
    size = count = 0
    while size < len(chunk.data):
        size += outcomes[count].size
        count += 1
    return count


def _same(receipt: Receipt, stored: Receipt) -> None:
    if receipt != stored:
        raise Critical(f"position {stored.position} comes out as {receipt.status.name} when it is executed again, not "
                       f"as {stored.status.name}: the rules have changed, derive anew")
