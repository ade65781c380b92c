"""Every kind of villain posts to a real Rollup, is disputed by a verifier, and falls in one L1 transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from node.derive.replay import Fraud
from node.errors import Critical
from node.l1.bindings import encode_post_batch
from node.stf.commitments import inbox_hash, pack_position, unpack_position
from node.stf.transition import INVALID_ROOT
from prover.proof import finish, prove
from sequencer.villains import KINDS, Unsuitable, corrupt
from tests.contracts.world import BOND
from tests.evm import Receipt, reverts
from tests.prover.world import CourtWorld, Follower

REASONS = {"oversized-chunk": "bytes, not 8193", "badly-cut-chunk": "no room for a transaction's work"}
EXPECTED = {
    "lying-header-cursor": Fraud.HEADER,
    "lying-header-time": Fraud.HEADER,
    "lying-header-totals": Fraud.HEADER,
    "oversized-chunk": Fraud.INVALID,
    "badly-cut-chunk": Fraud.INVALID,
}


@pytest.fixture
def world() -> CourtWorld:
    world = CourtWorld()
    world.set_up()
    world.trade()
    return world


async def disprove(world: CourtWorld, follower: Follower) -> Receipt:
    """One transaction, then the verifier follows."""
    await follower.follow()
    receipt = world.send(follower.proof().calldata)
    await follower.follow()
    return receipt


@pytest.mark.parametrize("kind", KINDS)
async def test_a_villain_falls_in_one_transaction(world: CourtWorld, kind: str) -> None:
    honest = world.batch()
    wrong = corrupt(kind, honest, world.context())
    world.post_as(wrong, honest=False)
    follower = Follower(world)
    receipt = await disprove(world, follower)

    proof = follower.proof()
    assert proof.kind == EXPECTED.get(kind, Fraud.ROOT)
    assert follower.disputes[0].kind == proof.kind
    assert REASONS.get(kind, "") in follower.disputes[0].reason
    assert world.rollup.call("head_number") == 1
    assert world.rollup.call("header_hash", 2) == bytes(32)
    assert world.rollup.call("bond_of", world.operator)[0] == 0
    assert world.rollup.call("reward_of", world.prover) == BOND // 10
    print(f"{kind}: {receipt.gas_used:,} gas, {len(proof.calldata):,} bytes of calldata, {proof.leaves} leaves")

    world.take_seat_again()
    world.post_as(honest)
    await follower.follow()
    assert follower.pipeline.progress.disputed is None
    assert follower.pipeline.progress.agreed == 2
    assert follower.chain.head.state_root == world.trie.root()


async def test_all_villains_one_after_another_leave_an_honest_chain(world: CourtWorld) -> None:
    follower = Follower(world)
    honest = world.batch()
    for kind in KINDS:
        world.post_as(corrupt(kind, honest, world.context()), honest=False)
        await disprove(world, follower)
        world.take_seat_again()
    world.post_as(honest)
    world.trade()
    world.post_as(world.batch())
    await follower.follow()
    assert follower.pipeline.progress.disagreed == len(KINDS)
    assert follower.pipeline.progress.agreed == 3
    assert follower.chain.head.state_root == world.trie.root()
    assert world.conserved()


async def test_the_first_wrong_chunk_is_proven_even_if_a_later_one_is_worse(world: CourtWorld) -> None:
    """A wrong root, and a block whose last chunk is INVALID: only the first has a pre-state that anybody can show."""
    honest = world.batch()
    roots = (*honest.roots[:1], keccak(honest.roots[1]), *honest.roots[2:], b"\x11" * 32)
    wrong = replace(honest, chunks=(*honest.chunks, b"\xff"), roots=roots)
    world.post_as(wrong, honest=False)
    follower = Follower(world)
    await disprove(world, follower)
    assert follower.proof().chunk == 1
    assert world.rollup.call("head_number") == 1


async def test_a_batch_after_a_wrong_one_falls_with_it(world: CourtWorld) -> None:
    honest = world.batch()
    header, _receipt = world.post_as(corrupt("credit-from-nothing", honest, world.context()), honest=False)
    world.headers.append(header)
    world.taken = len(world.chunks)
    world.trade()
    world.post_as(world.batch())
    follower = Follower(world)
    await disprove(world, follower)
    assert world.rollup.call("head_number") == 1
    assert follower.pipeline.progress.skipped == 1


async def test_an_honest_batch_gives_no_proof(world: CourtWorld) -> None:
    """Evidence that is wrong about a batch ends before anything is sent."""
    honest = world.batch()
    header, _receipt = world.post_as(corrupt("wrong-root-first", honest, world.context()), honest=False)
    follower = Follower(world)
    await follower.follow()
    (evidence,) = follower.evidence
    right = replace(evidence, batch=replace(evidence.batch, roots=honest.roots))
    with pytest.raises(Critical, match="is right"):
        finish(prove(right))
    with pytest.raises(Critical, match="not the state"):
        finish(prove(replace(evidence, view=world.trie)))
    assert header.number == 2


async def test_bytes_that_no_transaction_shows_are_refused_at_posting(world: CourtWorld) -> None:
    """A contract that holds the seat cannot post: watchers could not read the chunks from the transaction."""
    relay = world.evm.deploy("mocks/PostRelay.vy")
    world.rollup.transact("leave_seat", sender=world.operator)
    world.token.transact("mint", relay, BOND)
    world.evm.message(relay, relay.calldata("run", world.token.address, world.token.calldata(
        "approve", world.rollup, BOND)), sender=world.operator)
    world.evm.message(relay, relay.calldata("run", world.rollup.address, world.rollup.calldata(
        "take_seat", BOND)), sender=world.operator)
    world.evm.warp(60)
    with reverts("POSTER"):
        world.evm.message(
            relay, relay.calldata("run", world.rollup.address, encode_post_batch(world.batch())), sender=world.operator)


def test_an_invalid_root_cannot_be_claimed(world: CourtWorld) -> None:
    """The one root that an INVALID chunk leads to is refused, so posting such a chunk at all is provable."""
    honest = world.batch()
    wrong = replace(honest, chunks=(*honest.chunks, b"\xff"), roots=(*honest.roots, INVALID_ROOT))
    with reverts("POST_ROOT"):
        world.evm.warp(60)
        world.evm.message(world.rollup, encode_post_batch(wrong), sender=world.operator)


def test_an_unknown_kind_is_named(world: CourtWorld) -> None:
    with pytest.raises(ValueError, match="no villain 'theft'"):
        corrupt("theft", world.batch(), world.context())


async def test_a_chunk_that_takes_more_messages_than_it_has_room_for(world: CourtWorld) -> None:
    """The message that did not fit is part of the proof: the contract must see that it would not."""
    for _ in range(100):
        world.do(world.operator, "deposit", 1, world.operator.address, 1_000_000)
    honest = world.batch()
    cursor = len(world.inbox)
    place = replace(unpack_position(honest.globals[0]), inbox_cursor=cursor)
    wrong = replace(
        honest, chunks=(*honest.chunks, b"\x08" * 100), roots=(*honest.roots, keccak(b"all of them")),
        inbox_cursor=cursor, inbox_hash=inbox_hash(world.inbox), globals=(pack_position(place), *honest.globals[1:]))
    world.post_as(wrong, honest=False)
    follower = Follower(world)
    receipt = await disprove(world, follower)
    assert follower.proof().kind == Fraud.INVALID
    assert "no room" in follower.disputes[0].reason
    assert world.rollup.call("head_number") == 1
    print(f"too many messages: {receipt.gas_used:,} gas, {len(follower.proof().calldata):,} bytes of calldata")


@pytest.mark.parametrize("kind", ["credit-from-nothing", "skipped-margin-check", "broken-priority", "hidden-order",
                                  "forged-signature", "stranger-oracle", "price-zero", "lying-header-cursor"])
def test_a_batch_without_an_opportunity_is_left_alone(kind: str) -> None:
    """Nobody to rob, no book to bend, no message left to claim: the villain waits for a later batch."""
    world = CourtWorld()
    world.block(world.evm.timestamp * 1000)
    with pytest.raises(Unsuitable):
        corrupt(kind, world.batch(), world.context())
