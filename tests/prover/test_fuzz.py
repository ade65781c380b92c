"""Random batches: whatever Rollup accepts, a verifier either agrees with or has dropped. No batch may stop it.

Honest chunks are dropped, doubled, moved, joined, split, truncated, flipped or mixed with garbage; the claimed roots
and the header are then those of a liar who executes what can be executed, or plain wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from node.l1.bindings import PostBatch, encode_post_batch
from node.stf import encoding, state
from node.stf.commitments import inbox_hash, pack_position, unpack_position
from node.stf.engine import Engine
from node.stf.state import decode_globals
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie
from tests.evm import Revert
from tests.prover.world import CourtWorld, Follower

SEED = 1_122
ROUNDS = 250

Chunks = list[bytes]


def _somewhere(rnd: random.Random, chunks: Chunks) -> int:
    return rnd.randrange(len(chunks))


def _split(rnd: random.Random, chunks: Chunks) -> None:
    at = _somewhere(rnd, chunks)
    cut = rnd.randrange(1, max(2, len(chunks[at])))
    chunks[at : at + 1] = [chunks[at][:cut], chunks[at][cut:] or b"\x08"]


def _flip(rnd: random.Random, chunks: Chunks) -> None:
    at = _somewhere(rnd, chunks)
    data = bytearray(chunks[at])
    data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
    chunks[at] = bytes(data)


def _join(rnd: random.Random, chunks: Chunks) -> None:
    if len(chunks) > 1:
        at = rnd.randrange(len(chunks) - 1)
        chunks[at : at + 2] = [chunks[at] + chunks[at + 1]]


def _swap(rnd: random.Random, chunks: Chunks) -> None:
    a, b = _somewhere(rnd, chunks), _somewhere(rnd, chunks)
    chunks[a], chunks[b] = chunks[b], chunks[a]


def _insert(rnd: random.Random, chunks: Chunks) -> None:
    made = rnd.choice([
        encoding.INBOX_TX * rnd.randrange(1, 300), encoding.write_block(rnd.choice((1, 1_000, 10**9))),
        encoding.write_liquidate(rnd.randrange(4), 0) * rnd.randrange(1, 20), encoding.write_continue(0), b"\x07",
        rnd.randbytes(rnd.randrange(1, 60)), b"\x09", b"\x05\x00\x01",
    ])
    chunks.insert(rnd.randrange(len(chunks) + 1), made)


def _strip_blocks(rnd: random.Random, chunks: Chunks) -> None:
    chunks[:] = [chunk[3:] or b"\x08" if chunk[:1] == b"\x09" else chunk for chunk in chunks]


def _double(rnd: random.Random, chunks: Chunks) -> None:
    chunks.insert(_somewhere(rnd, chunks), rnd.choice(chunks))


def _drop(rnd: random.Random, chunks: Chunks) -> None:
    if len(chunks) > 1:
        del chunks[_somewhere(rnd, chunks)]


def _truncate(rnd: random.Random, chunks: Chunks) -> None:
    at = _somewhere(rnd, chunks)
    chunks[at] = chunks[at][: -rnd.randrange(1, 9)] or b"\xff"


MUTATIONS: list[Callable[[random.Random, Chunks], None]] = [
    _split, _flip, _join, _swap, _insert, _insert, _strip_blocks,
    _double, _drop, _truncate,
]


def execute(world: CourtWorld, chunks: Chunks, cursor_end: int, rnd: random.Random) -> tuple[list[bytes], MemoryTrie]:
    """Roots of what can be executed; a liar's word for the rest."""
    trie = MemoryTrie(base=world.states[world.taken])
    engine = Engine(trie, world.domain, lambda n: world.message_at(n) if n < cursor_end else None, strict=True)
    roots: list[bytes] = []
    for chunk in chunks:
        try:
            trie.apply(engine.execute_chunk(chunk)[1].changes)
            roots.append(trie.root())
        except InvalidChunk:
            roots.append(rnd.choice([trie.root(), keccak(chunk)]))
            engine = Engine(trie, world.domain, lambda n: world.message_at(n) if n < cursor_end else None)
    return roots, trie


def random_batch(world: CourtWorld, honest: PostBatch, rnd: random.Random) -> PostBatch:
    chunks = list(honest.chunks)
    for _ in range(rnd.choice((0, 1, 1, 2, 3))):
        rnd.choice(MUTATIONS)(rnd, chunks)
    cursor_end = rnd.choice([honest.inbox_cursor, len(world.inbox)])
    roots, trie = execute(world, chunks, cursor_end, rnd)
    leaf = trie.get(state.GLOBAL_KEY)
    assert leaf is not None
    words = list(state.global_words(decode_globals(leaf)))
    place = replace(unpack_position(words[0]), inbox_cursor=cursor_end)
    before = unpack_position(world.headers[-1].globals[0])
    if rnd.random() < 0.5:  # make posting accept what it can check
        place = replace(
            place, block_number=max(place.block_number, before.block_number + 1),
            tx_position=max(place.tx_position, before.tx_position + 1),
            l2_time_ms=min(max(place.l2_time_ms, before.l2_time_ms + 1), world.evm.timestamp * 1000))
    words[0] = pack_position(place)
    if rnd.random() < 0.1:
        roots[rnd.randrange(len(roots))] = rnd.randbytes(32)
    return replace(
        honest, chunks=tuple(chunks), roots=tuple(roots), inbox_cursor=cursor_end,
        inbox_hash=inbox_hash(world.inbox[:cursor_end]), globals=tuple(words))


@pytest.mark.parametrize("part", range(5))
async def test_whatever_is_posted_is_agreed_with_or_dropped(part: int) -> None:
    rnd = random.Random(f"{SEED} {part}")
    world = CourtWorld()
    world.set_up()
    world.trade()
    honest = world.batch()
    world.evm.warp(120)
    follower = Follower(world)
    await follower.follow()
    seen: Counter[str] = Counter()
    base = world.evm.snapshot(), list(world.inbox), len(world.l1.blocks)
    for _ in range(ROUNDS // 5):
        batch = random_batch(world, honest, rnd)
        try:
            encode_post_batch(batch)
            world.post_as(batch, honest=False)
        except (ValueError, Revert) as error:
            seen[f"refused: {str(error).partition(':')[0][:16]}"] += 1
            continue
        one = Follower(world)
        await one.follow()
        if one.pipeline.progress.disputed is None:
            assert one.pipeline.progress.agreed == 2
            assert one.chain.head.state_root == batch.roots[-1]
            seen["agreed"] += 1
        else:
            proof = one.proof()
            world.send(proof.calldata)
            await one.follow()
            assert one.pipeline.progress.disputed is None and one.pipeline.progress.agreed == 1
            seen[proof.kind.value] += 1
        # back to before the posting
        world.evm.restore(base[0])
        world.inbox = list(base[1])
        del world.l1.blocks[base[2] :]
    print(dict(seen))
    assert seen["agreed"] and seen["wrong root"] and seen["invalid chunk"]
