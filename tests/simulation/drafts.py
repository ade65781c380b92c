"""Batches for the simulated operators: some random trade on the state that an operator's own verifier has agreed with.

    draft(verifier, …)   an honest batch on the newest agreed one
    spoil(batch, …)      the same made wrong: a villain of sequencer/villains.py, or random corruption

What is spoilt at random passes Rollup's checks often enough to be tried; whether L1 takes it, L1 says. It may even be
right by chance: the auditor judges, not the intention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from eth_hash.auto import keccak

from node.derive.inbox import Inbox
from node.l1.bindings import PostBatch, check_post_batch
from node.stf import encoding
from node.stf.commitments import BatchHeader, globals_tuple, header_hash, pack_position, unpack_position
from node.stf.engine import Engine
from node.stf.trie import MemoryTrie, TrieView
from node.stf.types import IOC
from sequencer.villains import KINDS, Context, Unsuitable, corrupt
from tests.stf.world import World, buy, cancel_all, private_key, sell

TRADERS = {1: "alice", 2: "bob", 3: "carol"}  # account ids as tests/prover/world.py opens them
MESSAGES_MAX = 60
TRIES_MAX = 12
MARK = 600_000


@dataclass(frozen=True)
class Ground:
    """What a batch is built on: an agreed state and its header, the inbox, and L1's time, ms."""

    view: TrieView
    parent: BatchHeader
    inbox: Inbox
    domain: bytes
    l1_time_ms: int

    @property
    def context(self) -> Context:
        """As villains want it."""
        return Context(self.view, self.domain, self.inbox.message, self.l1_time_ms, self.parent)


class _Draft(World):
    """The rules' test world on a verifier's state."""

    def __init__(self, ground: Ground, cursor_end: int) -> None:
        self._ground, self._cursor_end = ground, cursor_end
        self.roots: list[bytes] = []
        super().__init__(strict=True)
        self.keys = {account: private_key(name) for account, name in TRADERS.items()}

    def new_engine(self) -> Engine:
        self.store = MemoryTrie(base=self._ground.view)  # type: ignore[assignment]
        return Engine(self.store, self._ground.domain, self.message_at, strict=True)

    def message_at(self, number: int) -> bytes | None:
        return self._ground.inbox.message(number) if number < self._cursor_end else None

    def cut(self) -> None:
        super().cut()
        self.roots.append(self.store.root())  # type: ignore[attr-defined]


def draft(ground: Ground, rng: Random) -> PostBatch | None:
    """A few blocks of trade; None if L2 time has caught up with L1's."""
    head = unpack_position(ground.parent.globals[0])
    room = ground.l1_time_ms - head.l2_time_ms
    if room < 3_000:
        return None
    cursor = min(ground.inbox.count, head.inbox_cursor + MESSAGES_MAX)
    world = _Draft(ground, cursor)
    world.block(rng.randint(room // 2, room - 2_000))
    while world.engine.globals.cursor < cursor:
        world.run(encoding.INBOX_TX)
    if rng.random() < 0.5:
        world.price({0: MARK + rng.randint(-50, 50)})
    for _ in range(rng.randint(0, 3)):
        _trade(world, rng)
        if rng.random() < 0.4:
            world.cut()
    if world.open_bytes:
        world.cut()
    return PostBatch(
        number=ground.parent.number + 1, parent=header_hash(ground.parent), inbox_cursor=cursor,
        inbox_hash=ground.inbox.hash_after(cursor), globals=globals_tuple(world.results[-1].global_words),
        chunks=tuple(world.chunks), roots=tuple(world.roots))


def _trade(world: World, rng: Random) -> None:
    account = rng.choice(list(TRADERS))
    number = rng.randrange(1, 2**32)
    price = MARK + 100 * rng.randint(-20, 20)
    lots = rng.randint(1, 50)
    roll = rng.random()
    if roll < 0.1:
        world.actions(account, cancel_all(0))
    elif roll < 0.15:
        world.withdraw(account, rng.randint(1, 5) * 1_000_000)
    elif roll < 0.55:
        world.actions(account, (buy if rng.random() < 0.5 else sell)(0, price, lots, number))
    else:
        aggressive = buy(0, MARK + 2_500, lots, number, tif=IOC) if rng.random() < 0.5 else sell(
            0, MARK - 2_500, lots, number, tif=IOC)
        world.actions(account, aggressive)


# --- wrong ones -------------------------------------------------------------------------------------------------------


def spoil(batch: PostBatch, ground: Ground, rng: Random) -> PostBatch | None:
    """A batch made wrong in a random way whose form is right; None if none of some tries fits it."""
    for _ in range(TRIES_MAX):
        try:
            if rng.random() < 0.5:
                return corrupt(rng.choice(KINDS), batch, ground.context)
            wrong = rng.choice(_MUTATIONS)(batch, rng)
            check_post_batch(wrong)
        except (Unsuitable, ValueError):
            continue
        if wrong != batch:
            return wrong
    return None


def after(header: BatchHeader, l1_time_ms: int, rng: Random) -> PostBatch:
    """A batch on a wrong one: nothing that it says can be right."""
    place = unpack_position(header.globals[0])
    time = min(l1_time_ms, place.l2_time_ms + rng.randint(1, 3_000))
    ahead = replace(place, l2_time_ms=max(time, place.l2_time_ms + 1), block_number=place.block_number + 1,
                    tx_position=place.tx_position + rng.randint(1, 9))
    words = (pack_position(ahead), *header.globals[1:])
    return PostBatch(
        number=header.number + 1, parent=header_hash(header), inbox_cursor=header.inbox_cursor,
        inbox_hash=header.inbox_hash, globals=globals_tuple(words), chunks=(rng.randbytes(rng.randint(1, 300)),),
        roots=(rng.randbytes(32),))


def _flip(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _place(batch: PostBatch, rng: Random) -> int:
    return rng.randrange(len(batch.chunks))


def _root_bit(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    return replace(batch, roots=(*batch.roots[:at], _flip(batch.roots[at], rng), *batch.roots[at + 1 :]))


def _chunk_bits(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    chunk = batch.chunks[at]
    for _ in range(rng.randint(1, 4)):
        chunk = _flip(chunk, rng)
    return _with_chunk(batch, at, chunk)


def _chunk_cut(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    chunk = batch.chunks[at]
    return _with_chunk(batch, at, chunk[: rng.randint(1, len(chunk))] if rng.random() < 0.5 else chunk[1:])


def _chunk_longer(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    return _with_chunk(batch, at, batch.chunks[at] + rng.randbytes(rng.randint(1, 200)))


def _chunk_twice(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    return replace(batch, chunks=(*batch.chunks[: at + 1], *batch.chunks[at:]),
                   roots=(*batch.roots[: at + 1], *batch.roots[at:]))


def _chunk_missing(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    return replace(batch, chunks=batch.chunks[:at] + batch.chunks[at + 1 :],
                   roots=batch.roots[:at] + batch.roots[at + 1 :])


def _chunks_joined(batch: PostBatch, rng: Random) -> PostBatch:
    at = _place(batch, rng)
    if at == 0:
        return batch
    return replace(batch, chunks=(*batch.chunks[: at - 1], batch.chunks[at - 1] + batch.chunks[at],
                                  *batch.chunks[at + 1 :]), roots=batch.roots[: at - 1] + batch.roots[at:])


def _chunks_swapped(batch: PostBatch, rng: Random) -> PostBatch:
    order = list(range(len(batch.chunks)))
    rng.shuffle(order)
    roots = batch.roots if rng.random() < 0.5 else tuple(batch.roots[at] for at in order)
    return replace(batch, chunks=tuple(batch.chunks[at] for at in order), roots=roots)


def _garbage(batch: PostBatch, rng: Random) -> PostBatch:
    return replace(batch, chunks=(rng.randbytes(rng.randint(1, 2_000)),), roots=(keccak(rng.randbytes(8)),))


def _header_bit(batch: PostBatch, rng: Random) -> PostBatch:
    at = rng.randrange(6)
    words = list(batch.globals)
    words[at] ^= 1 << rng.randrange(256)
    return replace(batch, globals=globals_tuple(words))


def _header_step(batch: PostBatch, rng: Random) -> PostBatch:
    """A field of the header's position a little off: time, block, position."""
    step = rng.choice((-1, 1)) << 64 * rng.randint(1, 3)
    return replace(batch, globals=globals_tuple([batch.globals[0] + step, *batch.globals[1:]]))


def _with_chunk(batch: PostBatch, at: int, chunk: bytes) -> PostBatch:
    return replace(batch, chunks=(*batch.chunks[:at], chunk, *batch.chunks[at + 1 :]))


_MUTATIONS: tuple[Callable[[PostBatch, Random], PostBatch], ...] = (
    _root_bit, _chunk_bits, _chunk_cut, _chunk_longer, _chunk_twice, _chunk_missing, _chunks_joined, _chunks_swapped,
    _garbage, _header_bit, _header_step,
)
