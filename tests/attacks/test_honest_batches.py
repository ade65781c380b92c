"""Attempts to have an honest batch dropped: too little gas, traces of an earlier proof, other encodings of evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from node.stf import encoding, state, witness
from node.stf.commitments import chunk_leaves
from tests.differential.harness import execute, pack_messages
from tests.differential.l1 import Posted, RollupWorld
from tests.evm import TX_GAS_MAX, Halt, Revert, reverts
from tests.stf.world import buy, sell

WRONG = b"\x17" * 32


@pytest.fixture(scope="module")
def scene() -> tuple[RollupWorld, Posted, object]:
    """An honest batch: deposits, prices, an order, a fill; and the L1 state to come back to."""
    world = RollupWorld()
    world.open()
    world.cut()
    world.price({0: 600_000})
    world.cut()
    world.actions(1, sell(0, 600_100, 1_000))
    world.cut()
    world.actions(2, buy(0, 600_200, 400))
    world.cut()
    posted = world.post(world.batch())
    return world, posted, world.evm.snapshot()


@pytest.fixture
def world(scene: tuple[RollupWorld, Posted, object]) -> RollupWorld:
    scene[0].evm.restore(scene[2])
    del scene[0].inbox[scene[1].header.inbox_cursor + 1 :]  # its own anchor notice stays
    return scene[0]


@pytest.fixture
def posted(scene: tuple[RollupWorld, Posted, object]) -> Posted:
    return scene[1]


@pytest.mark.parametrize("index", [1, 3])
def test_starving_a_proof_of_gas_proves_nothing(world: RollupWorld, posted: Posted, index: int) -> None:
    """ecrecover out of gas answers as if the signature were bad: no gas limit may let the rest go on after that."""
    data = world.proof(posted, index)
    enough = 0
    for gas in [*range(200_000, 2_200_000, 2_000), TX_GAS_MAX]:
        try:
            world.evm.message(world.verifier, data, sender=world.prover, gas=gas, keep=False)
        except Revert as revert:
            enough += revert.reason.startswith("NO_FRAUD")
        except Halt:
            pass
        else:
            raise AssertionError(f"{gas} gas disproved an honest chunk")
    assert enough > 0, "with enough gas the proof is judged"


def relay(world: RollupWorld, first: bytes, second: bytes) -> bytes:
    contract = world.evm.deploy("mocks/ProofRelay.vy")
    return world.evm.message(
        contract, contract.calldata("run", world.verifier.address, first, second), sender=world.prover, keep=False
    ).value


def dry_run(world: RollupWorld, posted: Posted, index: int, chunk: bytes | None = None) -> bytes:
    """Calldata of execute_chunk: unlike a proof it leaves traces whatever it finds."""
    case, _outcome = world.case(posted, index)
    case = replace(case, chunk=case.chunk if chunk is None else chunk)
    outcome = execute(case, world.domain)
    return world.verifier.calldata(
        "execute_chunk", case.trie.root(), case.cursor_end, case.chunk, pack_messages(outcome.messages),
        witness.encode(outcome.witness),
    )


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_traces_of_another_proof_change_nothing(world: RollupWorld, posted: Posted, index: int) -> None:
    """INVALID chunks, other states and messages executed before, in the same L1 transaction."""
    proof = world.proof(posted, index)
    inbox_and_garbage = encoding.INBOX_TX * 3 + b"\xff"
    traces = [
        dry_run(world, posted, 0, posted.chunks[0] + b"\xff"),
        dry_run(world, posted, 0, inbox_and_garbage),
        dry_run(world, posted, 3),
        dry_run(world, posted, index),
        proof,
    ]
    for trace in traces:
        with reverts("NO_FRAUD"):
            relay(world, trace, proof)


def test_traces_do_not_help_a_wrong_root_either(world: RollupWorld, posted: Posted) -> None:
    """A proof after traces finds the same root as alone."""
    for index in range(4):
        alone = world.evm.message(world.verifier, dry_run(world, posted, index), keep=False).value[:32]
        assert relay(world, dry_run(world, posted, 0, b"\x09\x05\xff"), dry_run(world, posted, index)) == alone
        assert alone == posted.roots[index]


def moved_arguments(data: bytes, head: int, by: int) -> bytes:
    """The same call with one dynamic argument's offset moved."""
    at = 4 + 32 * head
    offset = (int.from_bytes(data[at : at + 32], "big") + by) % 2**256
    return data[:at] + offset.to_bytes(32, "big") + data[at + 32 :]


def test_other_encodings_of_the_evidence_prove_nothing(world: RollupWorld, posted: Posted) -> None:
    """Offsets that wrap, overlap or point past the end; lengths beyond the data; a copy of the argument elsewhere."""
    data = world.proof(posted, 3)
    attempts = [moved_arguments(data, head, by) for head in (32, 33, 34, 35, 36)
                for by in (1, 31, 32, -32, 2**32, 2**255, -(2**64), 2**256 - 2**40)]
    attempts += [data[:-32], data[:-1], data + b"\xff" * 64]
    for head in (34, 35, 36):  # one argument's place used for another
        for other in (34, 35, 36):
            at = 4 + 32 * head
            attempts.append(data[:at] + data[4 + 32 * other : 36 + 32 * other] + data[at + 32 :])
    for attempt in attempts:
        try:
            world.evm.message(world.verifier, attempt, sender=world.prover, keep=False)
        except (Revert, Halt):
            continue
        raise AssertionError("another encoding disproved an honest chunk")


def test_the_lists_place_of_a_chunk_cannot_be_bent(world: RollupWorld, posted: Posted) -> None:
    """Indexes beyond the list, inner nodes as leaves, a chunk shown at its neighbour's place, the wrong predecessor."""
    leaves = chunk_leaves(posted.chunks, posted.roots)
    inner = keccak(leaves[2] + leaves[3])
    for index in (4, 5, 2**255, 2**256 - 1):
        with reverts("CHUNK"):
            world.prove(posted, 3, claim=(index, posted.roots[3], [leaves[2], keccak(leaves[0] + leaves[1])]))
    with reverts("CHUNK"):
        world.prove(posted, 3, claim=(1, inner, [keccak(leaves[0] + leaves[1])]))
    with reverts("PREDECESSOR"):
        world.prove(posted, 3, before=(keccak(posted.chunks[1]), posted.roots[1], [leaves[0], inner]))
    with reverts("CHUNK"):
        world.prove(posted, 3, claim=(0, posted.roots[3], []))
    with reverts():
        world.prove(posted, 3, before=(bytes(32), posted.states[3].root(), []))


def test_messages_beyond_what_a_chunk_consumes_change_nothing(world: RollupWorld, posted: Posted) -> None:
    """L1's inbox has grown since: later messages may be shown, but never consumed past the header's cursor."""
    world.do(world.operator, "force", b"\x02\x00")
    cursor = posted.header.inbox_cursor
    for index in range(4):
        first = int.from_bytes(posted.states[index].get(state.GLOBAL_KEY)[24:32], "big")
        shown = pack_messages(world.inbox[first:])
        with reverts("NO_FRAUD"):
            world.prove(posted, index, messages=shown)
    assert len(world.inbox) > cursor
