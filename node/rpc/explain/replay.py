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
from typing import Final

import trio

from node.derive.blocks import Chunk, Outcome
from node.derive.chain import Chain, StoredTransaction
from node.derive.records import slices
from node.errors import Critical
from node.rpc.errors import ErrorKind, fail
from node.rpc.methods.reader import Reader
from node.rpc.methods.withdrawals import with_messages
from node.stf import state, transition
from node.stf.engine import Engine
from node.stf.state import Source
from node.stf.trie import MemoryTrie, TrieView
from node.stf.types import Action, Fill, Receipt, Status
from node.storage.kv import StorageError

BLOCKS_BACK_MAX: Final = 100_000
TURN: Final = 8  # transactions executed before other tasks get a turn


class Layer:
    """Leaves after some changes to a source (a `Source` itself)."""

    def __init__(self, base: Source, changes: dict[bytes, bytes | None]) -> None:
        self._base = base
        self._changes = changes

    def get(self, key: bytes) -> bytes | None:
        return self._changes[key] if key in self._changes else self._base.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys of all leaves under a prefix, ascending."""
        kept = {key for key in self._base.keys(prefix) if key not in self._changes}
        kept.update(key for key, value in self._changes.items() if value is not None and key.startswith(prefix))
        return iter(sorted(kept))


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


@dataclass(slots=True)
class Scene:
    """A transaction between the states around it. ``message`` is what it consumed, if it is an Inbox."""

    receipt: Receipt
    data: bytes
    message: bytes | None
    domain: bytes
    before: Source
    after: Source
    _books: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def reader(self, source: Source) -> Reader:
        """Reads of a state; they leave no trace."""
        return Reader(self._engine(source))

    def _engine(self, source: Source) -> Engine:
        return Engine(source, self.domain, _no_message, strict=True)

    def act(self, account: int, listed: list[Action], time: int) -> tuple[Source, list[Fill], list[Status]]:
        """The state after the first actions of the transaction's list, with their fills and statuses."""
        engine = self._engine(self.before)
        for action in listed:
            for side in (0, 1):
                self._index_book(action.market, side)
        engine.ledger.books = {place: list(book) for place, book in self._books.items()}
        engine.begin_chunk()
        state.set_time(time)
        transition.act(account, listed)
        fills, statuses = state.take_fills(), state.take_statuses()
        return Layer(self.before, engine.end_chunk().changes), fills, statuses

    def _index_book(self, market: int, side: int) -> None:
        if (market, side) not in self._books:
            found = [-int.from_bytes(key[4:16], "big") for key in self.before.keys(state.book_prefix(market, side))]
            self._books[(market, side)] = found[::-1]


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
                 parent.state_root, chain.store.rewind(parent.number))


async def replay(chain: Chain, found: StoredTransaction) -> tuple[Scene, Setting]:
    """The scene of a committed transaction. Raises RpcError if its pre-state cannot be had any more."""
    past = _past(chain, found)
    try:
        view = await trio.to_thread.run_sync(past.rewind)
    except StorageError as error:
        oldest = chain.store.oldest_block() or 0
        where = f"position {found.receipt.position} is in block {found.block}"
        raise fail(ErrorKind.NotFound, f"{where}; this node can execute again what is after block {oldest} ({error}): "
                   "ask a node that keeps more undo records (verifier.undo_blocks), or derive anew from L1",
                   param="id") from None
    if view.root() != past.root:
        raise Critical(f"undo records of block {found.block} lead to another state than its parent's: derive anew")
    return await _Replay(past, chain.domain, view).run()


class _Replay:
    """One block, executed again until the end of the chunk that matters."""

    def __init__(self, past: _Past, domain: bytes, view: TrieView) -> None:
        self._past = past
        self._domain = domain
        self._start = MemoryTrie(base=view)
        self._engine = Engine(self._start, domain, past.messages.get, strict=True)
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
        before = Layer(self._start, engine.end_chunk().changes)
        _same(engine.execute(transactions[target]), past.stored.receipt)
        after = Layer(self._start, engine.end_chunk().changes)
        await self._execute(transactions[target + 1 :])
        end = MemoryTrie(base=self._start)
        result = self._engine.end_chunk()
        self._close(chunk, end)
        messages = tuple(past.messages[number] for number in range(first_message, engine.globals.cursor))
        return (
            Scene(past.stored.receipt, transactions[target], past.message, self._domain, before, after),
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
