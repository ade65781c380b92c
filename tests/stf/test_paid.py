"""Withdrawals that L1 has paid leave the state, and nothing else changes: not money, not ids."""

from __future__ import annotations

import pytest

from node.stf import engine
from node.stf.params import CHUNK_LEAVES_MAX, CHUNK_PROOF_MAX, PAID_MAX, WORK_LEAF
from node.stf.state import GLOBAL_KEY, withdrawal_key
from node.stf.transition import message_room
from node.stf.types import PAID_NOTICE, Status
from tests.stf import messages
from tests.stf.model import Model
from tests.stf.world import World

RICH = 10**9


def owing(count: int, *, model: bool = False) -> World:
    """A world with withdrawals 1 to ``count``, in committed leaves."""
    world = World(strict=True)
    if model:
        Model(world)
    world.block(world.l1_time * 1000)
    world.deposit("alice", RICH)
    for amount in range(1, count + 1):
        assert world.withdraw(1, amount).status == Status.OK
    world.cut()
    return world


def open_ids(world: World) -> list[int]:
    return [int.from_bytes(key[1:9], "big") for key in world.store.keys(b"W")]


def test_a_notice_deletes_exactly_the_leaves_that_it_names() -> None:
    world = owing(12, model=True)
    before = world.store.leaves
    assert world.notify_paid(2, 3, 5, 7, 11).status == Status.OK
    world.cut()
    assert open_ids(world) == [1, 4, 6, 8, 9, 10, 12]
    untouched = {key: value for key, value in world.store.leaves.items() if key != GLOBAL_KEY}
    assert untouched.items() <= before.items()


def test_money_and_ids_stay_what_they_were() -> None:
    """Totals count what was ever withdrawn, so the exodus' pool is the same; the next id is a new one."""
    world = owing(3, model=True)
    g = world.engine.globals
    before = (g.accounts_total, g.deposits, g.withdrawn, g.outflow, g.next_withdrawal, g.fees)
    world.notify_paid(1, 2, 3)
    assert (g.accounts_total, g.deposits, g.withdrawn, g.outflow, g.next_withdrawal, g.fees) == before
    assert world.conserved()
    assert world.withdraw(1, 9).status == Status.OK
    world.cut()
    assert open_ids(world) == [4]


@pytest.mark.parametrize("ids", [(1, 1), (0,), (4,), (2**64 - 1, 4, 0)])
def test_ids_without_a_leaf_have_no_effect(ids: tuple[int, ...]) -> None:
    world = owing(3)
    world.notify_paid(1)
    world.cut()
    before = open_ids(world)
    assert world.notify_paid(*ids).status == Status.OK
    world.cut()
    assert open_ids(world) == before == [2, 3]
    assert world.results[-1].changes.keys() == {GLOBAL_KEY}


@pytest.mark.parametrize("payload", [b"", bytes(7), b"\0" * 9, messages.paid(*range(1, 10)), messages.paid(1) + b"\0"])
def test_a_payload_that_is_not_one_to_eight_ids_is_refused_whole(payload: bytes) -> None:
    world = owing(9)
    assert world.deliver(PAID_NOTICE, payload).status == Status.BAD_MESSAGE
    world.cut()
    assert open_ids(world) == list(range(1, 10))


def test_a_notice_keeps_to_its_room() -> None:
    """Eight leaves, spread as wide as ids go; a chunk has room for more than ten such messages."""
    work, leaves, proof = message_room(PAID_NOTICE)
    world = owing(200)
    spent = world.results[-1]
    assert spent.leaves < CHUNK_LEAVES_MAX
    world.block(1)
    world.cut()
    empty = world.results[-1]
    world.notify_paid(*range(1, 200, 27))
    world.cut()
    result = world.results[-1]
    assert len(result.changes) == 1 + PAID_MAX
    assert result.leaves - empty.leaves == leaves == PAID_MAX
    assert work > PAID_MAX * WORK_LEAF and result.proof - empty.proof <= proof + 29 + 64 + 200
    assert 10 * proof < CHUNK_PROOF_MAX


@pytest.mark.parametrize("rows_max", [0, 10**6])
def test_rows_that_the_ledger_has_forgotten_are_deleted_all_the_same(
    rows_max: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "ROWS_MAX", rows_max)
    world = owing(4)
    world.engine.evict()
    world.notify_paid(1)
    world.cut()
    world.engine.evict()
    world.notify_paid(1, 4)
    world.cut()
    assert open_ids(world) == [2, 3]
    assert withdrawal_key(1) not in world.results[-1].changes
