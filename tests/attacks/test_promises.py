"""Attempts to break promises for free, or to have others punished: who loses what, in how many transactions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from node.derive import evidence
from node.stf import encoding
from node.stf.params import CHUNK_TXS_MAX
from tests.contracts.test_promise_court import Promising, Victims, first_waiting
from tests.contracts.world import BOND, CLAIM_S, PROMISE_DEADLINE_S
from tests.evm import TX_GAS_MAX, reverts
from tests.stf.world import private_key

TENTH = BOND // 10


@pytest.fixture
def world() -> Promising:
    return Promising().start()


def test_front_running_one_s_own_order_costs_the_bond(world: Promising) -> None:
    """The operator promises bob his place, then posts its own order there. Bob's one transaction takes the whole bond,
    of which 80% is burned."""
    victims = Victims(world)
    receipt = world.tell(world.conflict(victims.kept[1], victims.posted, 0), victims.actors["bob"])
    assert world.bond() == 0 and world.rollup.call("burned") == BOND - 2 * TENTH
    print(f"conflict: bond of {BOND // 10**6:,} USD lost in 1 transaction, {receipt.gas_used:,} gas")


def test_harming_oneself_loses_four_fifths(world: Promising) -> None:
    """The operator proves its own broken promise first, and claims as its only victim: 20% come back, never more."""
    victims = Victims(world)
    operator = world.operator
    before = world.token.call("balanceOf", operator)
    world.tell(world.conflict(victims.kept[1], victims.posted, 0), operator)
    world.do(operator, "claim_reward")
    # its own trader: bob's order is the operator's
    victims.claim("bob", 1)
    world.evm.warp(CLAIM_S)
    bob = victims.actors["bob"]
    had = world.token.call("balanceOf", bob)
    world.promise_court.transact("pay", 0, bob)
    back = world.token.call("balanceOf", operator) - before + world.token.call("balanceOf", bob) - had
    assert back == 2 * TENTH
    with reverts("NO_BOND"):
        world.do(operator, "release_bond")


def test_a_proof_copied_from_the_mempool_punishes_all_the_same(world: Promising) -> None:
    """The copier takes the prover's tenth; the victims' is bound to signatures, and the operator loses as much."""
    victims = Victims(world)
    proof = world.conflict(victims.kept[1], victims.posted, 0)
    world.tell(proof, world.admin)
    with reverts("SLASHED"):
        world.tell(proof)
    assert world.rollup.call("reward_of", world.admin) == TENTH
    with reverts("SIGNER"):
        victims.claim("bob", 1, sender=world.admin)
    victims.claim("bob", 1)


def test_a_replayed_proof_meets_no_second_bond(world: Promising) -> None:
    """Slashed, bonded anew, seated anew: the old tenure's proofs, the same or others, find it judged."""
    victims = Victims(world)
    world.tell(world.conflict(victims.kept[1], victims.posted, 0))
    world.do(world.operator, "take_seat", BOND)
    for kept in (victims.kept[1], victims.kept[2]):
        with reverts("SLASHED"):
            world.tell(world.conflict(kept, victims.posted, 0))
    assert world.bond() == BOND


def test_running_from_a_promise_with_the_bond_is_too_slow(world: Promising) -> None:
    """Leaving at once after the broken posting: the bond stays until the batch is final and bond_delay_s has passed."""
    victims = Victims(world)
    world.do(world.operator, "leave_seat")
    with reverts("BOND_LOCKED"):
        world.do(world.operator, "release_bond")
    world.evm.warp(world.params.challenge_window_s - 1)
    world.tell(world.conflict(victims.kept[1], victims.posted, 0))
    assert world.bond() == 0


def test_promising_without_posting_costs_the_seat(world: Promising) -> None:
    """A sequencer that promises for ever and posts nothing: anybody's one transaction takes the seat and a tenth."""
    signed = world.promise(first_waiting(world), [b"promised, never posted"])[0].signed
    world.evm.warp(PROMISE_DEADLINE_S + 1)
    receipt = world.tell(evidence.late(signed))
    assert world.bond() == BOND - TENTH and int(world.rollup.call("seat_holder"), 16) == 0
    print(f"late: a tenth of the bond and the seat in 1 transaction, {receipt.gas_used:,} gas")


def test_a_stranger_cannot_promise_in_the_operator_s_name(world: Promising) -> None:
    """Promises by unbound keys, of wrong epochs, or for positions outside their group punish nobody."""
    victims = Victims(world)
    kept = victims.kept[1]
    forged = world.promise(kept.position, [b"forged"], signer=private_key("stranger"))[0]
    with reverts("SIGNATURE"):
        world.tell(world.conflict(forged, victims.posted, 0))
    outside = replace(kept, position=kept.position + 1)
    with reverts("ENTRY"):
        world.tell(world.conflict(outside, victims.posted, 0))
    other = replace(kept, tx_hash=keccak(b"another"))
    with reverts("ENTRY"):
        world.tell(world.conflict(other, victims.posted, 0))
    assert world.bond() == BOND


def test_the_last_transaction_of_the_fullest_chunk_is_within_reach(world: Promising) -> None:
    """An operator hides the broken place at the end of a chunk with as many transactions as the rules allow."""
    world.post(world.batch())
    world.block(1_000)
    world.consume()
    world.cut()
    for _ in range(CHUNK_TXS_MAX):
        world.run(encoding.INBOX_TX)  # there is no message: the shortest transaction, and the least work
    posted = world.post(world.batch())
    assert len(posted.chunks[-1]) == CHUNK_TXS_MAX
    position = world.engine.globals.position - 1
    kept = world.promise(position, [b"something else"])[0]
    receipt = world.tell(world.conflict(kept, posted, len(posted.chunks) - 1))
    print(f"conflict at the end of {CHUNK_TXS_MAX} transactions: {receipt.gas_used:,} gas")
    assert receipt.gas_used < TX_GAS_MAX // 4 and world.bond() == 0
