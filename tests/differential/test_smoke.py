"""The loop of the rules in small, chunk by chunk in both languages: deposit, price, trade, cancel, withdraw."""

from node.stf.types import Status
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf.world import buy, cancel_all, sell


def test_deposit_price_trade_cancel_and_withdraw(court: Court) -> None:
    world = DifferentialWorld(court)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    alice = world.deposit("alice", 10_000_000_000)
    bob = world.deposit("bob", 10_000_000_000)
    assert all(r.status == Status.OK for r in world.price({0: 600_000}))
    assert world.actions(alice, sell(0, 600_100, 1_000)).action_statuses == [Status.OK]
    world.cut()
    receipt = world.actions(bob, buy(0, 600_200, 400))
    assert [(f.price, f.lots, f.maker, f.taker) for f in receipt.fills] == [(600_100, 400, alice, bob)]
    world.cut()
    assert world.actions(alice, cancel_all(0)).action_statuses == [Status.OK]
    assert world.actions(bob, buy(0, 600_200, 10)).action_statuses == [Status.OK]
    assert world.withdraw(alice, 1_000_000).status == Status.OK
    world.cut()
    assert world.conserved()
    assert len(world.verdicts) == len(world.chunks) >= 4
