"""The seat, bonds, slashing and eviction; governance and its timelock."""

from __future__ import annotations

import pytest

from node.stf.commitments import MESSAGE_ADMIN, Message, admin_payload, decode_message
from tests.contracts.world import BOND, PARAMS, USD, World, set_courts
from tests.evm import Actor, reverts


@pytest.fixture
def world() -> World:
    return World()


def _bond(world: World, actor: Actor) -> int:
    return int(world.rollup.call("bond_of", actor)[0])


def test_one_seat_for_a_sufficient_bond() -> None:
    world = World(seated=False)
    with reverts("BOND_LOW"):
        world.do(world.operator, "take_seat", BOND - 1)
    receipt = world.do(world.operator, "take_seat", BOND + 5)
    assert receipt.events("SeatTaken") == [{"holder": world.operator.address.lower(), "epoch": 1, "bond": BOND + 5}]
    for actor in (world.stranger, world.operator):
        with reverts("SEAT_TAKEN"):
            world.do(actor, "take_seat", BOND)
    assert world.rollup.call("reserved") == world.held() == BOND + 5


def test_a_bond_is_released_when_all_its_batches_are_final_and_the_delay_has_passed(world: World) -> None:
    world.post()
    with reverts("SEATED"):
        world.do(world.operator, "release_bond")
    with reverts("NOT_SEAT"):
        world.do(world.stranger, "leave_seat")
    world.do(world.operator, "leave_seat")
    world.evm.warp(PARAMS.bond_delay_s)
    with reverts("BOND_LOCKED: finalize your last batch first"):
        world.do(world.operator, "release_bond")
    world.evm.warp(PARAMS.challenge_window_s)
    world.do(world.stranger, "finalize", world.head)
    before = world.held(world.operator)
    world.do(world.operator, "release_bond")
    assert world.held(world.operator) - before == BOND
    with reverts("NO_BOND"):
        world.do(world.operator, "release_bond")
    assert world.rollup.call("reserved") == 0


def test_a_bond_waits_for_promises_even_without_batches(world: World) -> None:
    world.do(world.operator, "leave_seat")
    world.evm.warp(PARAMS.bond_delay_s - 1)
    with reverts("BOND_LOCKED: the delay after leaving has not passed"):
        world.do(world.operator, "release_bond")
    world.evm.warp(1)
    world.do(world.operator, "release_bond")


def test_an_unreleased_bond_counts_for_the_next_seating(world: World) -> None:
    world.do(world.operator, "leave_seat")
    world.do(world.operator, "take_seat", 0)
    assert world.rollup.call("seat_epoch") == 2 and _bond(world, world.operator) == BOND
    world.do(world.operator, "leave_seat")
    world.do(world.operator, "take_seat", 7)
    assert _bond(world, world.operator) == BOND + 7
    with reverts("SEATED"):
        world.do(world.operator, "release_bond")


def test_a_slash_takes_the_whole_bond_and_at_most_a_fifth_comes_back(world: World) -> None:
    world.post()
    receipt = world.drop(1)
    assert receipt.events("BondSlashed") == [
        {"holder": world.operator.address.lower(), "prover": world.prover.address.lower(), "amount": BOND, "slash": 0}
    ]
    assert (_bond(world, world.operator), world.rollup.call("seat_holder")) == (0, "0x" + "00" * 20)
    tenth = BOND // 10
    assert world.rollup.call("reward_of", world.prover) == world.rollup.call("victims_pot") == tenth
    assert world.rollup.call("burned") == BOND - 2 * tenth
    before = world.held(world.prover)
    world.do(world.prover, "claim_reward")
    assert world.held(world.prover) - before == tenth
    with reverts("NO_REWARD"):
        world.do(world.prover, "claim_reward")
    assert world.held() == world.rollup.call("reserved") == BOND - tenth
    with reverts("NO_BOND"):
        world.do(world.operator, "release_bond")


def test_a_slash_names_the_tenure_and_what_it_broke(world: World) -> None:
    """What the victims' claims are judged by: who, in which tenure, from which position on, since when."""
    world.post()
    world.post()
    posted_at = world.head.posted_at
    world.drop(2)
    assert world.rollup.call("slash_count") == 1
    operator = world.operator.address.lower()
    assert world.rollup.call("slash_at", 0) == (operator, BOND // 10, 1, posted_at, world.evm.timestamp)
    taken_at = world.rollup.call("tenure", 1)[1]
    assert world.rollup.call("tenure", 1) == (operator, taken_at, world.evm.timestamp, 1, True)


def test_a_tenure_ends_where_its_head_stands(world: World) -> None:
    world.post()
    world.do(world.operator, "leave_seat")
    tenure = world.rollup.call("tenure", 1)
    assert tenure[2:] == (world.evm.timestamp, 1, False) and world.rollup.call("vacant_since") == world.evm.timestamp
    assert world.rollup.call("tenure", 2) == ("0x" + "00" * 20, 0, 0, 0, False)


def test_odd_bonds_are_split_to_the_last_unit() -> None:
    world = World(seated=False)
    world.do(world.operator, "take_seat", BOND + 19)
    world.post()
    world.drop(1)
    rollup = world.rollup
    parts = [rollup.call("reward_of", world.prover), rollup.call("victims_pot"), rollup.call("burned")]
    assert sum(parts) == BOND + 19 and parts[0] == parts[1] == (BOND + 19) // 10


def test_the_poster_answers_even_after_leaving_and_the_innocent_successor_does_not(world: World) -> None:
    world.post()
    world.do(world.operator, "leave_seat")
    world.do(world.stranger, "take_seat", BOND)
    world.evm.warp(1)
    world.send(world.batch(), sender=world.stranger)
    world.drop(1)
    assert (_bond(world, world.operator), _bond(world, world.stranger)) == (0, BOND)
    assert world.rollup.call("seat_holder") == "0x" + "00" * 20
    world.evm.warp(PARAMS.bond_delay_s)
    world.do(world.stranger, "release_bond")  # its only batch is gone: nothing is left to answer for
    assert world.held(world.stranger) == 10_000_000 * USD


def test_fraud_of_a_successor_does_not_touch_a_bond_that_left(world: World) -> None:
    world.post()
    world.do(world.operator, "leave_seat")
    world.do(world.stranger, "take_seat", BOND)
    world.evm.warp(1)
    world.send(world.batch(), sender=world.stranger)
    world.drop(2)
    assert (_bond(world, world.operator), _bond(world, world.stranger)) == (BOND, 0)


def test_second_fraud_of_a_slashed_poster_is_dropped_without_reward(world: World) -> None:
    world.post()
    world.post()
    world.drop(2)
    world.drop(1, prover=world.stranger)
    assert world.rollup.call("reward_of", world.stranger) == 0 and world.rollup.call("head_number") == 0


def test_after_a_rollback_anyone_bonded_takes_the_seat(world: World) -> None:
    world.post()
    world.drop(1)
    world.do(world.stranger, "take_seat", BOND)
    world.evm.warp(1)
    world.send(world.batch(), sender=world.stranger)
    assert world.rollup.call("seat_epoch") == 2


def test_a_silent_holder_is_evicted_and_pays_for_it(world: World) -> None:
    with reverts("NOT_IDLE"):
        world.do(world.stranger, "evict")
    world.evm.warp(1)
    world.deposit()
    world.evm.warp(PARAMS.seat_idle_s)
    with reverts("NOT_IDLE"):
        world.do(world.stranger, "evict")
    world.evm.warp(1)
    before = world.evm.snapshot(), list(world.messages)
    world.post()
    with reverts("NOT_IDLE"):
        world.do(world.stranger, "evict")
    world.evm.restore(before[0])
    world.messages, world.headers = before[1], world.headers[:-1]
    world.do(world.stranger, "evict")
    assert _bond(world, world.operator) == BOND - BOND // 10
    assert world.rollup.call("burned") == BOND // 10
    with reverts("SEAT_EMPTY"):
        world.do(world.stranger, "evict")
    with reverts("BOND_LOW"):
        world.do(world.operator, "take_seat", BOND // 10 - 1)
    world.do(world.operator, "take_seat", BOND // 10)
    assert world.rollup.call("reserved") == BOND + BOND // 10


def test_a_new_holder_is_not_evicted_for_what_it_found(world: World) -> None:
    world.deposit()
    world.do(world.operator, "leave_seat")
    world.evm.warp(10 * PARAMS.seat_idle_s)
    world.do(world.stranger, "take_seat", BOND)
    for seconds in (0, PARAMS.seat_idle_s):
        world.evm.warp(seconds)
        with reverts("NOT_IDLE"):
            world.do(world.prover, "evict")
    world.evm.warp(1)
    world.do(world.prover, "evict")


def test_posting_while_l2_time_crawls_does_not_keep_the_seat(world: World) -> None:
    """Each batch moves L2 by a millisecond, so nothing is ever overdue there; L1 time decides."""
    world.deposit()
    start_ms = world.evm.timestamp * 1000
    for step in range(1, 4):
        world.evm.warp(PARAMS.seat_idle_s // 3 + 1)
        world.send(world.batch(inbox_cursor=0, l2_time_ms=start_ms + step))
    world.do(world.stranger, "evict")


def test_a_bond_whose_batches_are_gone_does_not_wait_for_others(world: World) -> None:
    """The operator's batch 1 is proven wrong after its honest successor posted batch 2 and left."""
    world.post()
    world.do(world.operator, "leave_seat")
    world.do(world.stranger, "take_seat", BOND)
    world.evm.warp(1)
    world.send(world.batch(), sender=world.stranger)
    world.do(world.stranger, "leave_seat")
    world.drop(1)
    world.evm.warp(PARAMS.bond_delay_s)
    world.do(world.stranger, "release_bond")


# --------------------------------------------------------------------------------------------------------- governance


def test_setup_messages_go_at_once_and_only_until_opening() -> None:
    world = World()
    rollup = world.evm.deploy("Rollup", world.token, world.admin, PARAMS)
    with reverts("NOT_ADMIN"):
        rollup.transact("enqueue_admin", 3, b"market", sender=world.stranger)
    receipt = rollup.transact("enqueue_admin", 3, b"market", sender=world.admin)
    sender = bytes.fromhex(world.admin.address[2:])
    expected = Message(MESSAGE_ADMIN, sender, world.evm.timestamp, admin_payload(3, b"market"))
    assert decode_message(receipt.events("MessageEnqueued")[0]["message"]) == expected
    with reverts("VERIFIER"):
        rollup.transact("open", sender=world.admin)
    rollup.transact("set_verifier", world.verifier)
    with reverts("COURTS: call set_courts first"):
        rollup.transact("open", sender=world.admin)
    set_courts(world.evm, rollup)
    with reverts("NOT_ADMIN"):
        rollup.transact("open", sender=world.stranger)
    rollup.transact("open", sender=world.admin)
    assert rollup.call("is_open")
    with reverts("OPEN"):
        rollup.transact("enqueue_admin", 3, b"market", sender=world.admin)
    with reverts("OPEN"):
        rollup.transact("open", sender=world.admin)


def test_after_opening_a_change_waits_for_the_timelock(world: World) -> None:
    admin, change = world.admin, (9, bytes(range(200)))
    with reverts("NOT_ADMIN"):
        world.do(world.stranger, "propose_admin", *change)
    proposal = world.do(admin, "propose_admin", *change).events("AdminProposed")[0]
    assert proposal["executable_at"] == world.evm.timestamp + PARAMS.timelock_s
    assert world.rollup.call("proposal_executable_at", proposal["proposal"]) == proposal["executable_at"]
    with reverts("PROPOSED"):
        world.do(admin, "propose_admin", *change)
    world.evm.warp(PARAMS.timelock_s - 1)
    with reverts("TIMELOCK"):
        world.do(admin, "execute_admin", *change)
    world.evm.warp(1)
    with reverts("NOT_ADMIN"):
        world.do(world.stranger, "execute_admin", *change)
    with reverts("NOT_PROPOSED"):
        world.do(admin, "execute_admin", 9, b"another")
    world.do(admin, "execute_admin", *change)
    assert decode_message(world.messages[-1]).payload == admin_payload(*change)
    with reverts("NOT_PROPOSED"):
        world.do(admin, "execute_admin", *change)


def test_a_proposal_can_be_cancelled(world: World) -> None:
    proposal = world.do(world.admin, "propose_admin", 1, b"x").events("AdminProposed")[0]["proposal"]
    with reverts("NOT_ADMIN"):
        world.do(world.stranger, "cancel_admin", proposal)
    world.do(world.admin, "cancel_admin", proposal)
    with reverts("NOT_PROPOSED"):
        world.do(world.admin, "cancel_admin", proposal)
    world.evm.warp(PARAMS.timelock_s)
    with reverts("NOT_PROPOSED"):
        world.do(world.admin, "execute_admin", 1, b"x")


def test_the_admin_changes_hands_in_two_steps(world: World) -> None:
    with reverts("NOT_ADMIN"):
        world.do(world.stranger, "offer_admin", world.stranger)
    world.do(world.admin, "offer_admin", world.prover)
    with reverts("NOT_CANDIDATE"):
        world.do(world.stranger, "accept_admin")
    world.do(world.prover, "accept_admin")
    assert world.rollup.call("admin") == world.prover.address.lower()
    with reverts("NOT_ADMIN"):
        world.do(world.admin, "propose_admin", 1, b"x")


def test_the_verifier_is_set_once_by_the_deployer() -> None:
    world = World()
    with reverts("VERIFIER_SET"):
        world.rollup.transact("set_verifier", world.token)
    rollup = world.evm.deploy("Rollup", world.token, world.admin, PARAMS)
    with reverts("NOT_DEPLOYER"):
        rollup.transact("set_verifier", world.verifier, sender=world.admin)
    with reverts("VERIFIER: not a contract"):
        rollup.transact("set_verifier", world.stranger)
