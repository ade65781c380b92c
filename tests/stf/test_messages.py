"""Messages that configure: what they may not break, and money that they may not touch."""

from __future__ import annotations

import pytest

from node.stf import state
from node.stf.params import REST_FEE
from node.stf.types import ADMIN, BUY, Status
from tests.stf import messages
from tests.stf.world import World, buy, cancel

PRICE = 600_000


@pytest.fixture
def world() -> World:
    world = World()
    world.block(1_700_000_000_000)
    world.create_market(0)
    world.price({0: PRICE})
    return world


@pytest.mark.parametrize("wrong", [
    {"closeout": 1_000_001},
    {"anchor_interval": 100, "tau_reduce": 200},  # an anchor in time would never open the markets again
    {"anchor_interval": 100, "tau_halt": 200},
    {"tau_reduce": 500, "tau_halt": 499},
    {"outflow_limit": 2**62},
])
def test_a_chain_message_that_breaks_a_bound_is_refused_whole(world: World, wrong: dict[str, int]) -> None:
    assert world.configure_chain(buffer_ms=5).status == Status.OK
    assert world.configure_chain(**{"buffer_ms": 9} | wrong).status == Status.BAD_MESSAGE
    world.engine.bind()
    assert state.get_chain().buffer_ms == 5


@pytest.mark.parametrize("wrong", [
    {"basis_cap": 1_000_001}, {"addon_cap": 1_000_001}, {"near_band": 1_000_000}, {"reduce_cap": 1_000_001},
    {"spread_max": 1_000_001}, {"jump_limit": 1_000_001}, {"expiry": 1}, {"expiry": 2**48},
])
def test_a_risk_message_that_breaks_a_bound_is_refused_whole(world: World, wrong: dict[str, int]) -> None:
    assert world.configure_risk(0, z=3).status == Status.OK
    assert world.configure_risk(0, **{"z": 9} | wrong).status == Status.BAD_MESSAGE
    assert world.configure_risk(7, z=9).status == Status.NO_MARKET
    world.engine.bind()
    assert state.get_market(0).z == 3


def test_an_expiry_that_has_passed_stays(world: World) -> None:
    soon = world.time + 60_000
    assert world.configure_risk(0, expiry=soon).status == Status.OK
    world.block(60_000)
    assert world.configure_risk(0, expiry=soon + 10**6).status == Status.BAD_MESSAGE
    assert world.configure_risk(0).status == Status.BAD_MESSAGE  # nor does the future become perpetual


def test_fees_that_orders_may_get_back_do_not_fund_insurance(world: World) -> None:
    account = world.deposit("maker", 10**9)
    assert world.actions(account, *[buy(0, PRICE - 1_000 - i, 10) for i in range(3)]).action_statuses == [0, 0, 0]
    world.engine.bind()
    assert (state.get_fees(), state.get_resting()) == (3 * REST_FEE, 3)
    assert world.deliver(ADMIN, messages.fund_insurance(0, 1)).status == Status.BAD_MESSAGE
    (price, seq) = state.get_best(0, BUY)
    order = state.get_order(0, BUY, price, seq)
    assert world.actions(account, cancel(0, BUY, price, seq, order.client_id)).action_statuses == [0]
    world.engine.bind()
    assert (state.get_fees(), state.get_resting()) == (2 * REST_FEE, 2)


def test_a_gift_to_insurance_is_a_deposit(world: World) -> None:
    world.engine.bind()
    before = (state.get_insurance(0).cash, world.engine.globals.deposits, state.get_next_account())
    assert world.donate(0, 5_000).status == Status.OK
    world.engine.bind()
    after = (state.get_insurance(0).cash, world.engine.globals.deposits, state.get_next_account())
    assert after == (before[0] + 5_000, before[1] + 5_000, before[2])
    assert world.donate(9, 5_000).status == Status.OK  # no such market: the owner gets an account instead
    assert world.engine.globals.next_account == before[2] + 1


def test_a_late_anchor_notice_never_lowers_and_a_rollback_does(world: World) -> None:
    world.configure_chain(anchor_interval=1_000)
    world.anchor(world.time)
    anchored = world.engine.globals.last_anchor
    world.anchor(anchored - 500)
    assert world.engine.globals.last_anchor == anchored
    world.anchor(anchored - 500, rollback=True)
    assert world.engine.globals.last_anchor == anchored - 500
