"""The loop of the rules in small: deposit, price, trade, move, liquidate, withdraw."""

from node.stf import encoding
from node.stf.types import Status
from tests.stf.world import World, address, buy, cancel_all, private_key, sell


def ready(strict: bool = False) -> tuple[World, int, int]:
    world = World(strict=strict)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    alice = world.deposit("alice", 10_000_000_000)
    bob = world.deposit("bob", 10_000_000_000)
    assert all(r.status == Status.OK for r in world.price({0: 600_000}))
    return world, alice, bob


def test_trade_conserves_money_and_moves_positions() -> None:
    world, alice, bob = ready(True)
    assert world.actions(alice, sell(0, 600_100, 1_000)).action_statuses == [Status.OK]
    receipt = world.actions(bob, buy(0, 600_200, 400))
    assert receipt.action_statuses == [Status.OK]
    assert [(f.price, f.lots, f.maker, f.taker) for f in receipt.fills] == [(600_100, 400, alice, bob)]
    rows = world.engine.ledger.accounts
    assert (rows[alice].positions[0].size, rows[bob].positions[0].size) == (-400, 400)
    assert world.conserved()
    assert world.actions(alice, cancel_all(0)).action_statuses == [Status.OK]
    assert world.actions(bob, buy(0, 600_200, 10)).action_statuses == [Status.OK]
    assert world.conserved()


def test_account_under_maintenance_is_reduced() -> None:
    world, alice, bob = ready(True)
    carol = world.deposit("carol", 400_000_000)
    world.actions(alice, sell(0, 600_000, 1_000))
    assert world.actions(carol, buy(0, 600_000, 1_000)).action_statuses == [Status.OK]
    world.actions(bob, buy(0, 562_000, 5_000))
    assert world.run(encoding.write_liquidate(carol, 0)).status == Status.NOT_LIQUIDATABLE
    world.price({0: 570_000})
    receipt = world.run(encoding.write_liquidate(carol, 0))
    assert receipt.status == Status.OK
    assert sum(f.lots for f in receipt.fills) == 250
    assert world.conserved()


def test_a_slot_set_again_takes_nothing_that_was_signed_before() -> None:
    world, alice, _bob = ready(True)
    trader = private_key("trader")
    assert world.set_key(alice, 1, address(trader)).status == Status.OK
    world.nonces[(alice, 1)] = world.time + 30_000
    old = world.sign_actions(alice, (sell(0, 600_000, 100),), key=trader, slot=1)
    assert world.run(old).status == Status.OK
    assert world.run(old).status == Status.NONCE_USED
    assert world.set_key(alice, 1, address(trader)).status == Status.OK
    assert world.run(old).status == Status.NONCE_USED


def test_withdrawal_leaves_margin_behind() -> None:
    world, alice, _bob = ready(True)
    assert world.withdraw(alice, 10_000_000_001).status == Status.INSUFFICIENT_FREE
    assert world.withdraw(alice, 10_000_000_000).status == Status.OK
    assert world.conserved()
