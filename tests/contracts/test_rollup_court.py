"""Court and Merkle list: nothing that a prover brings is believed; both lists agree with their Python twins."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from node.stf.commitments import (
    CHUNKS_PER_BATCH_MAX,
    ZERO32,
    chunk_leaf,
    chunk_leaves,
    list_proof,
    list_root,
    list_verify,
)
from tests.contracts.tiny_trie import proof_of, root_of
from tests.contracts.world import World, set_courts
from tests.evm import Contract, Evm, reverts

LISTS = Evm().deploy("mocks/ListMock.vy")
G_KEY = b"G".ljust(32, b"\0")


def _leaves(count: int) -> list[bytes]:
    return [chunk_leaf(i, keccak(bytes([i])), keccak(b"root" + bytes([i]))) for i in range(count)]


@pytest.mark.parametrize("count", [*range(1, 18), 31, 32, 33, 127, 128, 129, 200, 254, 255, 256])
def test_list_roots_and_proofs_agree_with_the_contract(count: int) -> None:
    leaves = _leaves(count)
    root = list_root(leaves)
    assert LISTS.call("list_root", leaves) == root
    for index in {0, 1, count // 2, count - 2, count - 1} & set(range(count)):
        proof = list_proof(leaves, index)
        assert LISTS.call("list_verify", index, count, leaves[index], proof, root)
        assert list_verify(index, count, leaves[index], proof, root)


@given(st.integers(1, 256), st.randoms(use_true_random=False))
def test_no_altered_list_proof_is_accepted(count: int, rng: random.Random) -> None:
    """Another place, count, leaf or proof under the same root: both sides refuse, phantom last chunks included."""
    leaves = _leaves(count)
    index, root = rng.randrange(count), list_root(leaves)
    proof = list_proof(leaves, index)
    cases = [
        (index + 1, count, leaves[index], proof),
        (index, count, keccak(leaves[index]), proof),
        (count, count, leaves[index], proof),
        (count, count + 1, leaves[index], proof),
        (index, count, leaves[index], [*proof, ZERO32][:8] if len(proof) < 8 else proof[:-1]),
        (index, 0, leaves[index], proof),
        (index, CHUNKS_PER_BATCH_MAX + 1, leaves[index], proof),
        (2**255, count, leaves[index], proof),
    ]
    if proof:
        cases.append((index, count, leaves[index], proof[:-1]))
        at = rng.randrange(len(proof))
        cases.append((index, count, leaves[index], [*proof[:at], keccak(proof[at]), *proof[at + 1 :]]))
        cases.append((0, 1, leaves[index], []))
    for case in cases:
        assert not list_verify(*case, root), case[:2]
        assert not LISTS.call("list_verify", *case, root), case[:2]


def test_lists_out_of_range_are_refused_in_python() -> None:
    for count in (0, 257):
        with pytest.raises(ValueError, match="1 to 256"):
            list_root([ZERO32] * count)
    with pytest.raises(ValueError, match="not in a list"):
        list_proof([ZERO32], 1)
    with pytest.raises(ValueError, match="exactly one"):
        chunk_leaves([b""], [])


# -------------------------------------------------------------------------------------------------------------- court


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def court(world: World) -> Contract:
    return world.evm.deploy("mocks/CourtMock.vy")


def test_only_headers_that_stand_are_heard(world: World, court: Contract) -> None:
    header = world.post()
    court.call("check_header", world.rollup, header)
    for wrong in (replace(header, chunk_count=2), replace(header, number=2), replace(header, number=0)):
        with reverts("HEADER"):
            court.call("check_header", world.rollup, wrong)
    world.drop(1)
    with reverts("HEADER"):
        court.call("check_header", world.rollup, header)


def test_a_chunk_and_the_root_before_it_come_from_the_posted_batch(world: World, court: Contract) -> None:
    world.post()
    chunks = (b"first", b"second", b"third")
    header, parent = world.post(chunks=chunks), world.headers[1]
    roots = [keccak(b"root" + bytes([i]) + c) for i, c in enumerate(chunks)]
    leaves = chunk_leaves(chunks, roots)
    for index, chunk in enumerate(chunks):
        court.call("check_chunk", header, index, keccak(chunk), roots[index], list_proof(leaves, index))
        for args in (
            (index, keccak(chunk + b"!"), roots[index]),
            (index, keccak(chunk), keccak(b"")),
            ((index + 1) % 3, keccak(chunk), roots[index]),
            (3, keccak(chunk), roots[index]),
        ):
            with reverts("CHUNK"):
                court.call("check_chunk", header, *args, list_proof(leaves, index))
    assert court.call("pre_root", header, parent, 0, ZERO32, ZERO32, []) == parent.post_root
    before = (keccak(chunks[1]), roots[1], list_proof(leaves, 1))
    assert court.call("pre_root", header, parent, 2, *before) == roots[1]
    with reverts("CHUNK"):
        court.call("pre_root", header, parent, 1, *before)
    with reverts("PARENT"):
        court.call("pre_root", header, world.headers[0], 0, ZERO32, ZERO32, [])


def test_messages_are_those_of_the_inbox(world: World, court: Contract) -> None:
    for i in range(6):
        world.deposit(amount=(i + 1) * 10**6)
    hashes = [keccak(m) for m in world.messages]
    for first in range(7):
        for end in range(first, 7):
            court.call("check_messages", world.rollup, first, hashes[first:end])
    for first, wrong in ((0, hashes[1:3]), (1, hashes[:2]), (0, [hashes[1], hashes[0]]), (2, [keccak(b"")])):
        with reverts("INBOX"):
            court.call("check_messages", world.rollup, first, wrong)
    with reverts("INBOX_CURSOR"):
        court.call("check_messages", world.rollup, 5, [*hashes[5:], ZERO32])


def test_a_lying_mirror_is_refuted_by_one_leaf(world: World) -> None:
    """globals that are not the `G` leaf's words under the last root: one path drops the batch; a true mirror stands."""
    world = World()
    court = world.evm.deploy("mocks/CourtMock.vy")
    rollup = world.evm.deploy("Rollup", world.token, world.admin, world.params)
    rollup.transact("set_verifier", court)
    set_courts(world.evm, rollup)
    rollup.transact("open", sender=world.admin)
    world.token.transact("approve", rollup, 2**255, sender=world.operator)
    rollup.transact("take_seat", world.params.bond_min, sender=world.operator)
    world.rollup = rollup
    world.evm.warp(1)
    true_words = world.batch().globals
    leaves = {
        G_KEY: b"".join(w.to_bytes(32, "big") for w in true_words),
        (b"A" + b"\0\0\0\1").ljust(32, b"\0"): bytes(64),
        (b"W" + bytes(8)).ljust(32, b"\0"): bytes(32),
    }
    proof = proof_of(leaves, G_KEY)
    snapshot = world.evm.snapshot()
    for place in range(6):
        world.evm.restore(snapshot)
        world.messages.clear()
        del world.headers[1:]
        # word 0 must pass Rollup's own checks, so the lie is in the block number
        wrong = true_words[place] + (1 << 128)
        lie = (*true_words[:place], wrong, *true_words[place + 1 :])
        world.send(world.batch(roots=(root_of(leaves),), globals=lie))
        with reverts("PROOF"):
            court.transact("prove_header", rollup, world.head, world.headers[0], lie, *proof, sender=world.prover)
        court.transact("prove_header", rollup, world.head, world.headers[0], true_words, *proof, sender=world.prover)
        assert rollup.call("head_number") == 0
        assert rollup.call("reward_of", world.prover) == world.params.bond_min // 10
    world.evm.restore(snapshot)
    world.messages.clear()
    del world.headers[1:]
    world.send(world.batch(roots=(root_of(leaves),)))
    with reverts("NO_FRAUD"):
        court.transact("prove_header", rollup, world.head, world.headers[0], true_words, *proof, sender=world.prover)
