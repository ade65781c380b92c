"""The forced-inclusion delay follows service: it halves for an operator that lets messages wait, and recovers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.stf.commitments import unpack_position
from tests.contracts.world import PARAMS, World
from tests.evm import reverts

DELAY_S, FLOOR_S = PARAMS.force_delay_s, PARAMS.force_floor_s


@pytest.fixture
def world() -> World:
    return World()


def delay(world: World) -> int:
    return int(world.rollup.call("forced_delay_s"))


def neglect(world: World, age_s: int) -> None:
    """A message is left unconsumed at this age by one batch, and consumed by the next."""
    world.post()
    world.do(world.trader, "force", b"tx")
    waiting = len(world.messages) - 1
    sent_s = world.evm.timestamp
    world.evm.warp(age_s)
    world.post(inbox_cursor=waiting, l2_time_ms=(sent_s + age_s) * 1000)
    world.post(inbox_cursor=len(world.messages))


def serve(world: World, seconds: int) -> None:
    """A batch that leaves nothing behind, this much of L2 time later."""
    world.evm.warp(seconds - 1)
    world.post()


def test_a_message_consumed_in_its_last_quarter_halves_the_delay(world: World) -> None:
    assert delay(world) == DELAY_S
    neglect(world, DELAY_S * 3 // 4 + 1)
    assert delay(world) == DELAY_S // 2


def test_three_quarters_are_not_the_last_one(world: World) -> None:
    neglect(world, DELAY_S * 3 // 4)
    assert delay(world) == DELAY_S


def test_the_delay_that_applies_is_the_halved_one(world: World) -> None:
    neglect(world, DELAY_S - 1)
    world.do(world.trader, "force", b"tx")
    waiting, sent_s = len(world.messages) - 1, world.evm.timestamp
    world.evm.warp(DELAY_S)
    late = world.batch(inbox_cursor=waiting, l2_time_ms=(sent_s + DELAY_S // 2) * 1000 + 1)
    with reverts("FORCED_OVERDUE"):
        world.send(late)
    world.send(world.batch(inbox_cursor=waiting, l2_time_ms=(sent_s + DELAY_S // 2) * 1000))


def test_the_delay_stops_at_its_floor(world: World) -> None:
    for _ in range(4):
        neglect(world, delay(world) - 1)
    assert delay(world) == FLOOR_S


def test_service_brings_the_delay_back_step_by_step(world: World) -> None:
    """One doubling per force_delay_s of L2 time: a burst of batches costs little, and does not buy the delay back."""
    for _ in range(2):
        neglect(world, delay(world) - 1)
    assert delay(world) == DELAY_S // 4
    for _ in range(5):
        serve(world, 2)
    assert delay(world) == DELAY_S // 4
    serve(world, DELAY_S)
    assert delay(world) == DELAY_S // 2
    serve(world, 2)
    assert delay(world) == DELAY_S // 2
    serve(world, DELAY_S)
    serve(world, DELAY_S)
    assert delay(world) == DELAY_S


def test_a_message_older_than_a_quarter_holds_the_recovery_up(world: World) -> None:
    neglect(world, DELAY_S - 1)
    world.evm.warp(DELAY_S)
    world.do(world.trader, "force", b"tx")
    waiting, sent_s = len(world.messages) - 1, world.evm.timestamp
    world.evm.warp(DELAY_S // 8 + 1)
    world.post(inbox_cursor=waiting, l2_time_ms=(sent_s + DELAY_S // 8 + 1) * 1000)
    assert delay(world) == DELAY_S // 2


def test_an_operator_that_holds_l2_time_is_never_punished_for_posting_late(world: World) -> None:
    """Its blocks wait long for L1, but none leaves a message older than half of the delay in L2 time."""
    for _ in range(5):
        world.do(world.trader, "force", b"tx")
        waiting, sent_s = len(world.messages) - 1, world.evm.timestamp
        world.evm.warp(20 * DELAY_S)
        world.post(inbox_cursor=waiting, l2_time_ms=(sent_s + DELAY_S // 2) * 1000)
        world.post()
        assert delay(world) == DELAY_S
    assert unpack_position(world.head.globals[0]).inbox_cursor == len(world.messages) - 1


def test_the_floor_must_fit() -> None:
    world = World()
    for floor in (0, DELAY_S + 1):
        with reverts("PARAMS: force_floor_s"):
            world.evm.deploy("Rollup", world.token, world.admin, replace(PARAMS, force_floor_s=floor))
