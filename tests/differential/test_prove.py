"""prove_chunk and prove_header against a real Rollup: wrong batches fall in one transaction, honest ones cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.l1.bindings import PostBatch
from node.stf import state, witness
from node.stf.commitments import chunk_leaves, header_hash, inbox_hash, list_proof
from node.stf.transition import INVALID_ROOT
from tests.contracts.world import BOND
from tests.differential.harness import pack_messages
from tests.differential.l1 import Posted, RollupWorld
from tests.evm import reverts
from tests.stf.world import buy, sell

WRONG = b"\x17" * 32


@pytest.fixture
def world() -> RollupWorld:
    """Four chunks: deposits and administration, prices, a resting order, a fill."""
    world = RollupWorld()
    world.open()
    world.cut()
    world.price({0: 600_000})
    world.cut()
    world.actions(1, sell(0, 600_100, 1_000))
    world.cut()
    world.actions(2, buy(0, 600_200, 400))
    world.cut()
    return world


def with_root(batch: PostBatch, index: int, root: bytes) -> tuple[bytes, ...]:
    return (*batch.roots[:index], root, *batch.roots[index + 1 :])


def dropped(world: RollupWorld, posted: Posted) -> bool:
    """The batch is gone, its bond slashed, and the inbox has the rollback notice."""
    assert world.rollup.call("head_number") == posted.header.number - 1
    assert world.rollup.call("header_hash", posted.header.number) == bytes(32)
    assert world.rollup.call("bond_of", world.operator)[0] == 0
    assert world.rollup.call("reward_of", world.prover) == BOND // 10
    return world.inbox[-1][0] == 5


def test_an_honest_batch_cannot_be_dropped(world: RollupWorld) -> None:
    posted = world.post(world.batch())
    for index in range(len(posted.chunks)):
        with reverts("NO_FRAUD"):
            world.prove(posted, index)
    with reverts("NO_FRAUD"):
        prove_header(world, posted, posted.header.globals)
    assert world.rollup.call("head_number") == 1


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_wrong_root_falls_in_one_transaction(world: RollupWorld, place: str) -> None:
    batch = world.batch()
    index = {"first": 0, "middle": len(batch.chunks) // 2, "last": len(batch.chunks) - 1}[place]
    posted = world.post(world.batch(roots=with_root(batch, index, WRONG)))
    right = world.states[index + 1].root()
    receipt = world.prove(posted, index)
    assert receipt.value == right
    assert dropped(world, posted)
    print(f"wrong root at the {place} chunk: {receipt.gas_used:,} gas, {len(world.proof(posted, index)):,} bytes")


def test_an_invalid_chunk_falls(world: RollupWorld) -> None:
    batch = world.batch()
    chunks = (*batch.chunks, b"\xffgarbage")
    posted = world.post(world.batch(chunks=chunks, roots=(*batch.roots, WRONG)))
    receipt = world.prove(posted, len(chunks) - 1)
    assert receipt.value == INVALID_ROOT
    assert dropped(world, posted)


def test_an_oversized_chunk_falls(world: RollupWorld) -> None:
    """Rollup takes up to 24,000 bytes so that more than the rules allow can be posted, and proven."""
    batch = world.batch()
    chunks = (batch.chunks[0], b"\x08" * 24_000, *batch.chunks[1:])
    posted = world.post(world.batch(chunks=chunks, roots=(batch.roots[0], WRONG, *batch.roots[1:])))
    receipt = world.prove(posted, 1)
    assert receipt.value == INVALID_ROOT
    assert dropped(world, posted)
    print(f"a chunk of 24,000 bytes: {receipt.gas_used:,} gas")


def test_there_is_no_phantom_chunk(world: RollupWorld) -> None:
    """Inner nodes, or places beyond the count, are not chunks."""
    posted = world.post(world.batch())
    count = len(posted.chunks)
    leaves = chunk_leaves(posted.chunks, posted.roots)
    for index in (count, count + 1, 2**255):
        with reverts("CHUNK"):
            world.prove(posted, 0, claim=(index, posted.roots[0], list_proof(leaves, 0)))
    with reverts("CHUNK"):
        world.prove(posted, 1, claim=(1, posted.roots[1], list_proof(leaves, 1)[:-1]))


def test_a_final_batch_cannot_be_dropped(world: RollupWorld) -> None:
    batch = world.batch()
    posted = world.post(world.batch(roots=with_root(batch, 1, WRONG)))
    world.evm.warp(world.params.challenge_window_s)
    with reverts("FINAL"):
        world.prove(posted, 1)


def test_a_dropped_batch_cannot_be_dropped_again(world: RollupWorld) -> None:
    batch = world.batch()
    posted = world.post(world.batch(roots=with_root(batch, 1, WRONG)))
    world.prove(posted, 1)
    with reverts("HEADER"):
        world.prove(posted, 1)


def test_the_second_batch_starts_from_the_first(world: RollupWorld) -> None:
    world.post(world.batch())
    world.block(1_000)
    world.actions(1, buy(0, 599_000, 10, 77))
    batch = world.batch()
    posted = world.post(world.batch(roots=with_root(batch, 0, WRONG)))
    world.prove(posted, 0)
    assert world.rollup.call("head_number") == 1


def prove_header(world: RollupWorld, posted: Posted, words: tuple[int, ...]) -> None:
    path = witness.build_path(posted.states[-1], state.GLOBAL_KEY)
    data = world.verifier.calldata(
        "prove_header", posted.header, posted.parent, list(words), path.bits, path.siblings
    )
    world.send(data)


@pytest.mark.parametrize("word", [1, 2, 3, 4, 5])
def test_a_lying_mirror_falls(world: RollupWorld, word: int) -> None:
    honest = world.batch()
    lie = (*honest.globals[:word], honest.globals[word] + 1, *honest.globals[word + 1 :])
    posted = world.post(world.batch(globals=lie))
    prove_header(world, posted, honest.globals)
    assert dropped(world, posted)


def test_a_lying_cursor_falls(world: RollupWorld) -> None:
    """The header says that more is consumed than the chunks do: their last root cannot have that cursor in G."""
    world.do(world.operator, "force", b"\x02\x00")
    honest = world.batch()
    cursor = len(world.inbox)
    lie = (honest.globals[0] + cursor - honest.inbox_cursor, *honest.globals[1:])
    posted = world.post(world.batch(globals=lie, inbox_cursor=cursor, inbox_hash=inbox_hash(world.inbox)))
    prove_header(world, posted, honest.globals)
    assert dropped(world, posted)


def test_what_does_not_belong_to_the_batch_proves_nothing(world: RollupWorld) -> None:
    batch = world.batch()
    posted = world.post(world.batch(roots=with_root(batch, 2, WRONG)))
    with reverts("CHUNK"):
        world.prove(posted, 2, chunk=posted.chunks[2] + b"\x00")
    with reverts("CHUNK"):
        world.prove(posted, 2, claim=(1, WRONG, []))
    with reverts("PREDECESSOR"):
        world.prove(posted, 2, before=(bytes(32), WRONG, []))
    with reverts("PARENT"):
        world.prove(posted, 2, parent=posted.header)
    with reverts("HEADER"):
        world.prove(posted, 2, header=replace(posted.header, posted_at=1))
    with reverts("BAD_WITNESS"):
        world.prove(posted, 2, witness=witness.encode(witness.build(world.states[1], [state.GLOBAL_KEY])))
    assert world.rollup.call("header_hash", 1) == header_hash(posted.header)


def test_messages_are_the_inboxs_or_nothing(world: RollupWorld) -> None:
    """Chunk 0 consumes the deposits: other bytes, fewer, or none, and the proof reverts."""
    batch = world.batch()
    posted = world.post(world.batch(roots=with_root(batch, 0, WRONG)))
    _case, outcome = world.case(posted, 0)
    forged = [*outcome.messages[:-1], outcome.messages[-1][:-1] + b"\xff"]
    with reverts("MESSAGES"):
        world.prove(posted, 0, messages=pack_messages(forged))
    with reverts("BAD_PROOF"):
        world.prove(posted, 0, messages=pack_messages(outcome.messages[:-1]))
    with reverts("BAD_PROOF"):
        world.prove(posted, 0, messages=b"")
    assert world.rollup.call("head_number") == 1
    world.prove(posted, 0)
    assert dropped(world, posted)
