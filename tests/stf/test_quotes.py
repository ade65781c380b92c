"""Which resting orders are dead, and the mid of those that live. Each call also runs in the contract."""

from __future__ import annotations

import pytest

from node.stf import state
from node.stf.types import BUY, ORDER_REDUCE_ONLY, ORDER_TRIGGER_SELL, SELL, TRIGGER_FALL, TRIGGER_RISE
from tests.stf.prices import START, Prices


@pytest.mark.parametrize(("kind", "dead"), [
    ({}, False),
    ({"expiry": START}, False), ({"expiry": START - 1}, True),
    ({"cancel_at": START + 1}, False), ({"cancel_at": START}, True),
    ({"min_seq": 7}, False), ({"min_seq": 8}, True), ({"reduce_min_seq": 8}, False)])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_what_kills_an_order(side: int, kind: dict[str, int], dead: bool) -> None:
    world = placed(side, 0, 0, **kind)
    assert world.is_dead(side, 500, 7) == dead
    world.compare()


@pytest.mark.parametrize("reduces", ["reduce-only", TRIGGER_FALL, TRIGGER_RISE])
@pytest.mark.parametrize("sells", [False, True])
@pytest.mark.parametrize(("kind", "size", "dead"), [
    ({}, 1, False), ({}, 0, True), ({}, -1, True),
    ({"min_seq": 8}, 1, False), ({"reduce_min_seq": 8}, 1, True), ({"reduce_min_seq": 7}, 1, False),
    ({"expiry": START - 1}, 1, True), ({"cancel_at": START}, 1, True)])
def test_what_only_reduces_dies_with_its_position(
    reduces: str | int, sells: bool, kind: dict[str, int], size: int, dead: bool
) -> None:
    """``size`` is in the direction that the order reduces."""
    if isinstance(reduces, str):
        side, flags = int(sells), ORDER_REDUCE_ONLY
    else:
        side, flags = reduces, ORDER_TRIGGER_SELL if sells else 0
    world = placed(side, flags, size if sells else -size, **kind)
    assert world.is_dead(side, 500, 7) == dead
    world.compare()


def placed(side: int, flags: int, size: int, *, cancel_at: int = 0, min_seq: int = 0, reduce_min_seq: int = 0,
           expiry: int = 0) -> Prices:
    """One order of sequence 7 at 500 ticks, of an account that has another position too."""
    world = Prices()
    account = world.quote(side, 500, 7, size=size, others=1, flags=flags, expiry=expiry)
    with world.edit():
        state.set_cancel_at(account, cancel_at)
        position = state.get_position(account, 1)
        position.min_seq, position.reduce_min_seq = min_seq, reduce_min_seq
        state.set_position(account, 1, position)
    return world


def test_the_mid_needs_two_live_orders_and_does_not_walk() -> None:
    world = Prices()
    assert world.mid() == (0, 0)
    world.quote(BUY, 100, 1)
    assert (world.mid(), world.live(BUY), world.live(SELL)) == ((0, 0), 100, 0)
    world.quote(SELL, 105, 2)
    assert world.mid() == (205, 5)
    world.quote(SELL, 104, 3, expiry=START - 1)
    assert (world.mid(), world.live(SELL)) == ((0, 0), 0), "a dead order hides what stands behind it"
    world.compare()
