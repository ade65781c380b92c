"""Telling L2 which withdrawals are paid: each once, only paid ones, in one message, whatever else happens."""

from __future__ import annotations

import pytest

from node.l1.bindings import encode_call
from node.stf.commitments import MESSAGE_PAID, BatchHeader, Message, decode_message
from node.stf.params import PAID_MAX
from tests.contracts.tiny_trie import proof_of, root_of, withdrawal_key, withdrawal_value
from tests.contracts.world import BOND, PARAMS, USD, World
from tests.evm import reverts

HIGHEST = 2**64 - 1


@pytest.fixture
def world() -> World:
    return World()


def state_of(world: World, ids: list[int]) -> dict[bytes, bytes]:
    """A state that owes the trader a dollar for each id."""
    return {b"G".ljust(32, b"\0"): bytes(192)} | {
        withdrawal_key(number): withdrawal_value(world.trader.address, USD) for number in ids}


def final_batch(world: World, ids: list[int]) -> tuple[BatchHeader, dict[bytes, bytes]]:
    world.deposit(5_000 * USD)
    leaves = state_of(world, ids)
    header = world.post(roots=(root_of(leaves),))
    world.evm.warp(world.params.challenge_window_s)
    return header, leaves


def pay(world: World, header: BatchHeader, leaves: dict[bytes, bytes], *ids: int) -> int:
    """Have withdrawals paid; gas of the last one."""
    gas = 0
    for number in ids:
        proof = proof_of(leaves, withdrawal_key(number))
        gas = world.do(world.stranger, "withdraw", header, number, world.trader, USD, *proof).gas_used
    return gas


def test_paid_withdrawals_are_told_once_in_one_message(world: World) -> None:
    ids = [0, 1, 127, 128, 129, 255, 256, HIGHEST]
    header, leaves = final_batch(world, ids)
    pay(world, header, leaves, *ids)
    count = len(world.messages)
    world.do(world.stranger, "notify_paid", ids)
    assert len(world.messages) == count + 1
    payload = b"".join(number.to_bytes(8, "big") for number in ids)
    sender = bytes.fromhex(world.rollup.address[2:])
    assert decode_message(world.messages[-1]) == Message(MESSAGE_PAID, sender, world.evm.timestamp, payload)
    assert all(world.rollup.call("is_paid", number) for number in ids)
    for number in ids:
        with reverts("NOT_PAID"):
            world.do(world.trader, "notify_paid", [number])
        with reverts("PAID"):
            pay(world, header, leaves, number)


@pytest.mark.parametrize("count", range(1, PAID_MAX + 1))
def test_a_notice_of_any_length_names_its_ids_in_order(world: World, count: int) -> None:
    ids = list(range(40, 40 + PAID_MAX))[::-1]
    header, leaves = final_batch(world, ids)
    pay(world, header, leaves, *ids)
    world.do(world.trader, "notify_paid", ids[:count])
    payload = world.messages[-1][29:]
    assert [int.from_bytes(payload[at : at + 8], "big") for at in range(0, len(payload), 8)] == ids[:count]


def test_what_is_not_paid_is_refused_whole(world: World) -> None:
    header, leaves = final_batch(world, [1, 2, 3])
    pay(world, header, leaves, 1, 2)
    count = len(world.messages)
    for ids in ([3], [1, 3], [1, 2, 1], [2, 2], [4], [1 + 2**64], [1 + 2**255], [2**256 - 1]):
        with reverts("NOT_PAID"):
            world.do(world.trader, "notify_paid", ids)
    with reverts("EMPTY"):
        world.do(world.trader, "notify_paid", [])
    with reverts(""):
        world.do(world.trader, "notify_paid", [1] * (PAID_MAX + 1))
    assert len(world.messages) == count
    world.do(world.trader, "notify_paid", [2, 1])


def test_neighbours_in_a_word_do_not_disturb_each_other(world: World) -> None:
    """Two bits an id: paying and telling one never pays or tells another one."""
    ids = list(range(120, 137))
    header, leaves = final_batch(world, ids)
    pay(world, header, leaves, *ids[::2])
    for number in ids[::4]:
        world.do(world.trader, "notify_paid", [number])
    paid = [number for number in range(118, 139) if world.rollup.call("is_paid", number)]
    assert paid == ids[::2]
    for number in ids:
        if number in ids[::2] and number not in ids[::4]:
            world.do(world.trader, "notify_paid", [number])
        else:
            with reverts("NOT_PAID"):
                world.do(world.trader, "notify_paid", [number])
    pay(world, header, leaves, *ids[1::2])


def test_no_rollback_takes_back_what_was_paid_or_told(world: World) -> None:
    header, leaves = final_batch(world, [1, 2])
    pay(world, header, leaves, 1)
    world.do(world.trader, "notify_paid", [1])
    told = len(world.messages)
    wrong = world.post(roots=(root_of(state_of(world, [2])),))
    assert wrong.inbox_cursor == told
    world.drop(wrong.number)
    assert world.messages[told - 1][0] == MESSAGE_PAID  # whoever posts next consumes the same one again
    with reverts("NOT_PAID"):
        world.do(world.trader, "notify_paid", [1])
    with reverts("FINAL"):
        world.verifier.transact("prove", world.rollup, header, world.headers[0])
    pay(world, header, leaves, 2)


def test_only_an_open_rollup_takes_notices() -> None:
    world = World()
    header, leaves = final_batch(world, [1])
    pay(world, header, leaves, 1)
    closed = world.evm.deploy("Rollup", world.token, world.admin, PARAMS)
    with reverts("NOT_OPEN"):
        closed.transact("notify_paid", [1])
    world.do(world.operator, "leave_seat")
    world.evm.warp(10**6)
    world.exodus.transact("freeze")
    with reverts("FROZEN"):
        world.do(world.trader, "notify_paid", [1])
    assert world.rollup.call("bond_of", world.operator.address)[0] == BOND


def test_a_message_costs_its_flooder_more_than_a_deposit(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """So it needs no fee of its own: a notice of one id needs a payment first, and a deposit enqueues a message too."""
    ids = list(range(300, 300 + PAID_MAX + 3))
    header, leaves = final_batch(world, ids)
    paying = pay(world, header, leaves, *ids)
    deposit = world.deposit(USD, account=1).gas_used
    world.do(world.stranger, "notify_paid", ids[:1])
    one = world.do(world.stranger, "notify_paid", ids[1:2]).gas_used
    most = world.do(world.stranger, "notify_paid", ids[-PAID_MAX:]).gas_used
    with capsys.disabled():
        print(f"\n  notice of 1 / {PAID_MAX} ids: {one:,} / {most:,} gas; payment {paying:,}; deposit {deposit:,}")
    assert paying + one > deposit and most < 150_000


def test_the_binding_encodes_what_the_contract_takes(world: World) -> None:
    header, leaves = final_batch(world, [7])
    pay(world, header, leaves, 7)
    world.keep(world.evm.message(world.rollup, encode_call("notify_paid", [7]), sender=world.trader))
    assert world.messages[-1][29:] == (7).to_bytes(8, "big")
