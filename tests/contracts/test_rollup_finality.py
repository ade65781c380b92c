"""Finality, rollback, withdrawals, claims: time decides, and nothing final can be undone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.l1.bindings import BadEncoding, BatchesDropped, decode_event, decode_result
from node.stf.commitments import (
    MESSAGE_ROLLBACK,
    ZERO32,
    BatchHeader,
    Message,
    decode_message,
    header_hash,
    rollback_payload,
    withdrawal_word,
)
from tests.contracts.tiny_trie import proof_of, root_of, withdrawal_key, withdrawal_value
from tests.contracts.world import BOND, USD, World
from tests.evm import Actor, Contract, reverts


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------------------------------------------------- finality


def test_a_batch_is_final_exactly_when_its_window_has_passed(world: World) -> None:
    header = world.post()
    world.evm.warp(world.params.challenge_window_s - 1)
    assert world.rollup.call("is_final", header) is False
    with reverts("NOT_FINAL"):
        world.do(world.stranger, "finalize", header)
    world.evm.warp(1)
    assert world.rollup.call("is_final", header) is True
    events = world.do(world.stranger, "finalize", header).events("BatchFinalized")
    assert events == [{"number": 1}] and world.rollup.call("finalized_number") == 1


def test_finalizing_covers_all_before_and_never_goes_back(world: World) -> None:
    first, second = world.post(), world.post()
    world.evm.warp(world.params.challenge_window_s)
    world.do(world.stranger, "finalize", second)
    assert world.do(world.stranger, "finalize", first).events("BatchFinalized") == []
    assert world.rollup.call("finalized_number") == 2


def test_only_stored_headers_count(world: World) -> None:
    header = world.post()
    world.evm.warp(world.params.challenge_window_s)
    for wrong in (
        replace(header, posted_at=header.posted_at - 1),
        replace(header, post_root=ZERO32),
        replace(header, number=0),
        replace(header, number=2),
        replace(header, globals=(*header.globals[:5], 9)),
    ):
        with reverts("HEADER"):
            world.do(world.stranger, "finalize", wrong)


# ---------------------------------------------------------------------------------------------------------- rollback


def test_a_drop_takes_all_later_batches_and_tells_l2(world: World) -> None:
    headers = [world.post() for _ in range(4)]
    receipt = world.drop(2)
    assert receipt.events("BatchesDropped") == [{"first": 2, "head": 1, "prover": world.prover.address.lower()}]
    dropped = next(x for x in receipt.logs if x.name == "BatchesDropped")
    assert decode_event(dropped.topics, dropped.data) == BatchesDropped(2, 1, bytes.fromhex(world.prover.address[2:]))
    assert world.rollup.call("head_number") == 1
    assert world.rollup.call("head_position") == headers[0].globals[0]
    stored = [world.rollup.call("header_hash", n) for n in range(1, 5)]
    assert stored == [header_hash(headers[0]), ZERO32, ZERO32, ZERO32]
    notice = decode_message(world.messages[-1])
    payload = rollback_payload(2, headers[0].globals[0] >> 192)
    assert notice == Message(MESSAGE_ROLLBACK, bytes.fromhex(world.rollup.address[2:]), world.evm.timestamp, payload)
    world.evm.warp(world.params.challenge_window_s)
    with reverts("HEADER"):
        world.do(world.stranger, "finalize", headers[2])


def test_a_dropped_number_is_posted_anew(world: World) -> None:
    world.post()
    old = world.post()
    world.drop(2)
    world.do(world.operator, "take_seat", BOND)
    new = world.post()
    assert new.number == 2 and new != old
    assert new.inbox_cursor == len(world.messages) - 1
    with reverts("HEADER"):
        world.verifier.transact("prove", world.rollup, old, world.headers[1])


def test_the_first_batch_can_be_dropped_and_genesis_cannot(world: World) -> None:
    world.post()
    world.drop(1)
    assert world.rollup.call("head_number") == 0
    genesis = world.headers[0]
    with reverts("FINAL"):
        world.verifier.transact("prove", world.rollup, genesis, genesis)


def test_what_is_final_cannot_be_dropped_even_if_nobody_wrote_it_down(world: World) -> None:
    header = world.post()
    world.evm.warp(world.params.challenge_window_s - 1)
    before = world.evm.snapshot(), list(world.messages), list(world.headers)
    world.drop(1)
    world.evm.restore(before[0])
    world.messages, world.headers = before[1], before[2]
    world.evm.warp(1)
    with reverts("FINAL"):
        world.verifier.transact("prove", world.rollup, header, world.headers[0])


def test_a_drop_needs_the_verifier_the_header_and_its_parent(world: World) -> None:
    first, second = world.post(), world.post()
    for actor in (world.admin, world.operator, world.stranger, world.evm.default):
        with reverts("NOT_VERIFIER"):
            world.do(actor, "drop", second, first, actor)
    for header, survivor, reason in (
        (replace(second, poster=bytes(20)), first, "HEADER"),
        (replace(second, number=3), first, "HEADER"),
        (second, world.headers[0], "SURVIVOR"),
        (second, second, "SURVIVOR"),
        (second, replace(first, globals=(0,) * 6), "SURVIVOR"),
    ):
        with reverts(reason):
            world.verifier.transact("prove", world.rollup, header, survivor)


def test_a_frozen_token_cannot_stop_a_rollback() -> None:
    world = World(token="mocks/OddToken.vy")
    world.post()
    world.token.transact("set_mode", 2, world.trader, b"")
    world.drop(1)
    assert world.rollup.call("head_number") == 0
    with reverts("TRANSFER"):
        world.do(world.prover, "claim_reward")
    world.token.transact("set_mode", 0, world.trader, b"")
    world.do(world.prover, "claim_reward")


def test_gas_of_a_drop_does_not_grow_with_what_is_dropped(world: World) -> None:
    for _ in range(40):
        world.post()
    snapshot = world.evm.snapshot(), list(world.messages), list(world.headers)
    few = world.drop(39).gas_used
    world.evm.restore(snapshot[0])
    world.messages, world.headers = snapshot[1], snapshot[2]
    many = world.drop(2).gas_used
    assert abs(many - few) < 1_000 and many < 500_000


# -------------------------------------------------------------------------------------------------------- withdrawals


def _state(world: World, payouts: list[tuple[Actor, int]]) -> dict[bytes, bytes]:
    """A small L2 state that owes these withdrawals, ids from 0, beside other leaves."""
    leaves = {withdrawal_key(i): withdrawal_value(a.address, n) for i, (a, n) in enumerate(payouts)}
    leaves |= {b"G".ljust(32, b"\0"): bytes(192)}
    leaves |= {(b"A" + i.to_bytes(4, "big")).ljust(32, b"\0"): bytes([i]) * 32 for i in range(1, 9)}
    return leaves


def _final_batch(world: World, payouts: list[tuple[Actor, int]]) -> tuple[BatchHeader, dict[bytes, bytes]]:
    leaves = _state(world, payouts)
    header = world.post(chunks=(b"chunk",), roots=(root_of(leaves),))
    world.evm.warp(world.params.challenge_window_s)
    return header, leaves


def test_a_withdrawal_pays_once_to_its_recipient(world: World) -> None:
    world.deposit(5_000 * USD)
    header, leaves = _final_batch(world, [(world.trader, 700 * USD), (world.stranger, 4_000 * USD)])
    before = world.held(world.trader)
    for number, amount in ((0, 700 * USD), (1, 4_000 * USD)):
        actor = (world.trader, world.stranger)[number]
        proof = proof_of(leaves, withdrawal_key(number))
        assert leaves[withdrawal_key(number)] == withdrawal_word(
            bytes.fromhex(actor.address[2:]), amount
        ).to_bytes(32, "big")
        assert not world.rollup.call("is_paid", number)
        receipt = world.do(world.prover, "withdraw", header, number, actor, amount, *proof)
        assert receipt.events("Withdrawn") == [{"id": number, "payee": actor.address.lower(), "amount": amount}]
        assert world.rollup.call("is_paid", number)
        with reverts("PAID"):
            world.do(world.prover, "withdraw", header, number, actor, amount, *proof)
    assert world.held(world.trader) - before == 700 * USD
    assert world.rollup.call("custody") == 300 * USD
    assert world.rollup.call("finalized_number") == 1


def test_a_withdrawal_is_paid_once_under_any_later_header(world: World) -> None:
    world.deposit(5_000 * USD)
    header, leaves = _final_batch(world, [(world.trader, 700 * USD)])
    proof = proof_of(leaves, withdrawal_key(0))
    world.do(world.trader, "withdraw", header, 0, world.trader, 700 * USD, *proof)
    again = world.post(roots=(root_of(leaves),))
    world.evm.warp(world.params.challenge_window_s)
    with reverts("PAID"):
        world.do(world.trader, "withdraw", again, 0, world.trader, 700 * USD, *proof)


def test_an_unproven_withdrawal_is_refused(world: World) -> None:
    world.deposit(5_000 * USD)
    header, leaves = _final_batch(world, [(world.trader, 700 * USD), (world.stranger, 5 * USD)])
    bits, siblings = proof_of(leaves, withdrawal_key(0))
    trader, stranger = world.trader, world.stranger
    swapped = siblings[::-1]
    for number, who, amount, b, s in (
        (0, trader, 700 * USD + 1, bits, siblings),
        (0, stranger, 700 * USD, bits, siblings),
        (1, trader, 700 * USD, bits, siblings),
        (256, trader, 700 * USD, bits, siblings),
        (0, trader, 700 * USD, bits, swapped),
        (0, trader, 700 * USD, bits[:-1], siblings[:-1]),
        (0, trader, 700 * USD, b"", []),
    ):
        with reverts("PROOF"):
            world.do(world.stranger, "withdraw", header, number, who, amount, b, s)
    for b, s in ((bits[::-1], siblings), (bits, siblings[:-1]), (bits + bits[-1:], [*siblings, siblings[0]])):
        with reverts("BAD_PROOF"):
            world.do(world.stranger, "withdraw", header, 0, trader, 700 * USD, b, s)
    for number, amount in ((2**64, 700 * USD), (0, 2**64)):
        with reverts("WITHDRAWAL"):
            world.do(world.stranger, "withdraw", header, number, trader, amount, bits, siblings)


def test_no_other_leaf_passes_for_a_withdrawal(world: World) -> None:
    """An account leaf's bytes under a `W` id: the key is built by the contract, so the fold differs."""
    world.deposit(5_000 * USD)
    header, leaves = _final_batch(world, [])
    key = (b"A" + (3).to_bytes(4, "big")).ljust(32, b"\0")
    word = int.from_bytes(leaves[key], "big")
    with reverts("PROOF"):
        recipient = (word >> 64 & 2**160 - 1).to_bytes(20, "big")
        world.do(world.trader, "withdraw", header, 3, recipient, word & 2**64 - 1, *proof_of(leaves, key))


def test_nothing_is_paid_before_the_window_or_after_a_drop(world: World) -> None:
    world.deposit(5_000 * USD)
    leaves = _state(world, [(world.trader, USD)])
    header = world.post(roots=(root_of(leaves),))
    proof = proof_of(leaves, withdrawal_key(0))
    with reverts("NOT_FINAL"):
        world.do(world.trader, "withdraw", header, 0, world.trader, USD, *proof)
    world.drop(1)
    world.evm.warp(world.params.challenge_window_s)
    with reverts("HEADER"):
        world.do(world.trader, "withdraw", header, 0, world.trader, USD, *proof)


def test_more_than_custody_is_never_paid(world: World) -> None:
    """Even an unchallenged wrong root cannot reach bonds: what L2 owns is what was deposited."""
    world.deposit(10 * USD)
    header, leaves = _final_batch(world, [(world.stranger, 11 * USD)])
    with reverts(""):
        proof = proof_of(leaves, withdrawal_key(0))
        world.do(world.stranger, "withdraw", header, 0, world.stranger, 11 * USD, *proof)


def test_a_blocked_recipient_hands_its_claim_on() -> None:
    world = World(token="mocks/OddToken.vy")
    world.deposit(100 * USD)
    header, leaves = _final_batch(world, [(world.trader, 60 * USD)])
    claim = (0, world.trader, 60 * USD)
    proof = proof_of(leaves, withdrawal_key(0))
    world.token.transact("set_mode", 4, world.trader, b"")
    with reverts("blocked"):
        world.do(world.trader, "withdraw", header, *claim, *proof)
    for thief in (world.stranger, world.admin, world.operator):
        with reverts("NOT_OWNER"):
            world.do(thief, "transfer_claim", *claim, thief)
    with reverts("TO"):
        world.do(world.trader, "transfer_claim", *claim, bytes(20))
    world.do(world.trader, "transfer_claim", *claim, world.prover)
    with reverts("NOT_OWNER"):
        world.do(world.trader, "transfer_claim", *claim, world.trader)
    world.do(world.prover, "transfer_claim", *claim, world.stranger)
    assert world.rollup.call("claim_owner", *claim) == world.stranger.address.lower()
    before = world.held(world.stranger)
    world.do(world.prover, "withdraw", header, *claim, *proof)
    assert world.held(world.stranger) - before == 60 * USD


def test_a_claim_is_bound_to_its_amount(world: World) -> None:
    """After a rollback the id may name another withdrawal: a claim sold for one amount does not move the other."""
    world.deposit(100 * USD)
    world.do(world.trader, "transfer_claim", 0, world.trader, 5 * USD, world.prover)
    header, leaves = _final_batch(world, [(world.trader, 60 * USD)])
    before = world.held(world.trader)
    world.do(world.prover, "withdraw", header, 0, world.trader, 60 * USD, *proof_of(leaves, withdrawal_key(0)))
    assert world.held(world.trader) - before == 60 * USD


def test_gas_of_a_withdrawal_at_depth_25(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.deposit(100 * USD)
    key, depth = withdrawal_key(5), 25
    leaves = {key: withdrawal_value(world.trader.address, USD)}
    for bit in range(depth):
        other = int.from_bytes(key, "big") ^ 1 << 255 - (bit + 20)
        leaves[other.to_bytes(32, "big")] = bytes(32)
    header = world.post(roots=(root_of(leaves),))
    world.evm.warp(world.params.challenge_window_s)
    proof = proof_of(leaves, key)
    assert len(proof[0]) == depth
    gas = world.do(world.trader, "withdraw", header, 5, world.trader, USD, *proof).gas_used
    with capsys.disabled():
        print(f"\n  withdrawal at depth {depth}: {gas:,} gas")
    assert gas < 200_000


def test_reading_a_world_that_is_not_a_rollup(world: World) -> None:
    with pytest.raises(BadEncoding, match="is a Rollup at this address"):
        decode_result("head_number", b"")
    other: Contract = world.token
    data = world.evm.message(other, other.calldata("decimals"), keep=False).value
    assert decode_result("head_number", data) == 6
