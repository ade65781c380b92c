"""Batches that L1 accepts and that are hard to disprove: each must fall in one transaction of 16.7M gas and 128 KB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.derive.replay import PostedBatch
from node.l1.bindings import CHUNK_BYTES_POSTED_MAX, PostBatch, decode_post_batch, encode_post_batch
from node.stf import encoding
from node.stf.commitments import header_hash, inbox_hash
from node.stf.params import CHUNK_BYTES_MAX
from node.stf.transition import INVALID_ROOT
from prover.proof import Evidence, finish, prove
from tests.differential.l1 import Posted, RollupWorld
from tests.evm import Receipt
from tests.stf.world import buy, sell

WRONG = b"\x17" * 32
U64 = 2**64 - 1
CALLDATA_MAX = 128 * 1024 - 1_024  # a node's limit, less the transaction's own fields


@pytest.fixture(scope="module")
def scene() -> tuple[RollupWorld, object, int]:
    """One honest batch is anchored; three honest chunks wait."""
    world = RollupWorld()
    world.open()
    world.price({0: 600_000})
    world.post(world.batch())
    world.block(1_000)
    world.actions(1, sell(0, 600_100, 1_000))
    world.cut()
    world.actions(2, buy(0, 600_200, 400))
    world.cut()
    world.actions(2, buy(0, 590_000, 7))
    world.cut()
    return world, world.evm.snapshot(), len(world.inbox)


@pytest.fixture
def world(scene: tuple[RollupWorld, object, int]) -> RollupWorld:
    world, snapshot, messages = scene
    world.evm.restore(snapshot)
    del world.inbox[messages:]
    world.headers, world.posted = world.headers[:2], world.posted[:1]
    world.taken = len(world.posted[0].chunks)
    return world


def disprove(world: RollupWorld, posted: Posted) -> Receipt:
    """What the watchtower's prover makes of a batch, sent to L1: the batch is gone."""
    seen = PostedBatch(posted.header, posted.chunks, posted.roots, bytes(32), 0)
    evidence = Evidence(seen, posted.parent, posted.states[0], world.domain, world.message_at)
    proof = finish(prove(evidence))
    receipt = world.send(proof.calldata)
    assert len(proof.calldata) <= CALLDATA_MAX
    assert world.rollup.call("head_number") == posted.header.number - 1
    assert world.rollup.call("bond_of", world.operator)[0] == 0
    return receipt


def with_chunks(world: RollupWorld, *chunks: bytes, roots: tuple[bytes, ...] = ()) -> PostBatch:
    """The honest batch with chunks appended; roots default to wrong ones."""
    honest = world.batch()
    return replace(honest, chunks=honest.chunks + chunks, roots=honest.roots + (roots or (WRONG,) * len(chunks)))


STRUCTURES: dict[str, bytes] = {
    "unknown kind": b"\x00",
    "reserved kind": b"\x07\x00",
    "a block in the middle": b"\x08\x09\x01",
    "a block that stands still": b"\x09\x00",
    "a block at the end of time": b"\x09" + encoding.varint(U64),
    "the largest number in one byte too many": b"\x02" + b"\xff" * 9 + b"\x01" + b"\x00",
    "eleven bytes of a number": b"\x02" + b"\x80" * 10 + b"\x01",
    "a number that is not minimal": b"\x02\x80\x00",
    "a market beyond 16 bits": b"\x02" + encoding.varint(0x10000),
    "a transaction cut off": b"\x01\x02\x00",
    "257 transactions": b"\x02\x00" * 257,
    "more work than fits": b"\x06\x01\x00" * 256,
    "as long as L1 takes": b"\x02" * CHUNK_BYTES_POSTED_MAX,
    "one byte over the rules' limit": b"\x02\x00" * (CHUNK_BYTES_MAX // 2) + b"\x02",
    "an order of 32 truncated actions": b"\x01\x01\x1f" + b"\x20" * 400,
    "all ones": b"\xff" * CHUNK_BYTES_MAX,
    "prices of no market": b"\x05\x00\x00\x00" + bytes(64),
    "prices of 255 markets": b"\x05\x00\xff" + bytes(600),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_broken_structure_falls(world: RollupWorld, name: str) -> None:
    posted = world.post(with_chunks(world, STRUCTURES[name]))
    receipt = disprove(world, posted)
    assert receipt.value == INVALID_ROOT


def test_an_invalid_chunk_behind_a_wrong_root_falls(world: RollupWorld) -> None:
    """The invalid chunk stands on a root that is no state's: the wrong root before it is what can be shown."""
    honest = world.batch()
    roots = (honest.roots[0], WRONG, *honest.roots[2:], WRONG)
    posted = world.post(replace(honest, chunks=(*honest.chunks, b"\xff"), roots=roots))
    assert disprove(world, posted).value == honest.roots[1]


def test_256_chunks_fall(world: RollupWorld) -> None:
    honest = world.batch()
    more = 256 - len(honest.chunks)
    posted = world.post(with_chunks(world, *[b"\x02\x00"] * more))
    disprove(world, posted)
    last = world.headers[-1].chunk_count
    assert last == 256


def lie(words: tuple[int, ...], word: int, value: int) -> tuple[int, ...]:
    return (*words[:word], value, *words[word + 1 :])


def position(time: int, block: int, position: int, cursor: int) -> int:
    return time << 192 | block << 128 | position << 64 | cursor


LIES: dict[str, Callable[[int], tuple[int, int]]] = {
    "the last block number": lambda w: (0, position(w >> 192, U64, w >> 64 & U64, w & U64)),
    "the last position": lambda w: (0, position(w >> 192, w >> 128 & U64, U64, w & U64)),
    "a later time": lambda w: (0, position((w >> 192) + 1, w >> 128 & U64, w >> 64 & U64, w & U64)),
    "accounts of all ones": lambda w: (1, 2**256 - 1),
    "totals of all ones": lambda w: (2, 2**256 - 1),
    "reserved bits": lambda w: (5, 1),
    "no money": lambda w: (3, 0),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_header_falls_however_extreme(world: RollupWorld, name: str) -> None:
    honest = world.batch()
    word, value = LIES[name](honest.globals[0])
    posted = world.post(replace(honest, globals=lie(honest.globals, word, value)))
    disprove(world, posted)
    posted = world_reposts(world, honest)
    assert world.rollup.call("head_number") == posted.header.number


def world_reposts(world: RollupWorld, honest: PostBatch) -> Posted:
    """After the rollback the seat is free, and the same blocks are posted honestly."""
    world.headers.pop()
    world.posted.pop()
    world.taken -= len(honest.chunks)
    world.rollup.transact("take_seat", 100_000 * 10**6, sender=world.operator)
    return world.post(honest)


def test_a_batch_that_opens_no_block_falls(world: RollupWorld) -> None:
    """Its header must claim a higher block number, which its state does not have."""
    first = world.batch()
    world.post(first)
    world.actions(1, buy(0, 590_000, 5, 9))
    honest = world.batch()
    w = honest.globals[0]
    claimed = position((w >> 192) + 1, (w >> 128 & U64) + 1, w >> 64 & U64, w & U64)
    posted = world.post(replace(honest, globals=lie(honest.globals, 0, claimed)))
    try:
        disprove(world, posted)
    finally:
        world.chunks.pop()
        world.states.pop()
        world.results.pop()


def test_messages_withheld_or_unseen_fall(world: RollupWorld) -> None:
    """The chunk consumes past the header's cursor: there it gets NO_MESSAGE, whatever the villain's root says."""
    world.do(world.operator, "force", b"\x02\x00")
    honest = world.batch()
    chunk = encoding.INBOX_TX * 8
    posted = world.post(replace(honest, chunks=(*honest.chunks, chunk), roots=(*honest.roots, WRONG)))
    disprove(world, posted)
    cursor = len(world.inbox)
    world_words = lie(honest.globals, 0, honest.globals[0] - honest.inbox_cursor + cursor)
    world.headers.pop()
    world.posted.pop()
    world.taken -= len(honest.chunks)
    world.rollup.transact("take_seat", 100_000 * 10**6, sender=world.operator)
    batch = replace(honest, chunks=(*honest.chunks, encoding.INBOX_TX), roots=(*honest.roots, WRONG),
                    inbox_cursor=cursor, inbox_hash=inbox_hash(world.inbox), globals=world_words)
    posted = world.post(batch)
    disprove(world, posted)
    assert world.rollup.call("header_hash", 1) == header_hash(world.headers[1])


def test_nonzero_padding_does_not_blind_watchers(world: RollupWorld) -> None:
    """L1 reads whole words: bytes behind the chunks that nobody hashed must not keep a watcher from decoding."""
    batch = with_chunks(world, b"\xff" * 3)
    data = encode_post_batch(batch)
    padding = -sum(map(len, batch.chunks)) % 32
    assert padding > 0 and not any(data[-padding:])
    data = data[:-padding] + b"\xee" * padding
    world.evm.warp(60)
    world.evm.message(world.rollup, data, sender=world.operator)
    assert decode_post_batch(data) == batch
