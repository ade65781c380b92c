"""The state functions' edges that the rules rely on."""

from node.stf import encoding
from node.stf.params import MARKETS_MAX
from node.stf.types import Status
from tests.stf.world import World, buy, cancel, cancel_all


def test_markets_that_cannot_exist_have_a_status_and_no_leaf() -> None:
    world = World(strict=True)
    world.block(world.l1_time * 1000)
    alice = world.deposit("alice", 1_000_000_000)
    for market in (MARKETS_MAX, 2_048, 0xFFFF):
        before = world.engine.ledger.leaves
        receipt = world.actions(alice, buy(market, 1, 1), cancel(market, 0, 1, 1), cancel_all(market))
        assert receipt.action_statuses == [Status.NO_MARKET] * 3
        assert world.run(encoding.write_continue(market)).status == Status.NO_MARKET
        assert world.run(encoding.write_liquidate(alice, market)).status == Status.NO_MARKET
        assert world.engine.ledger.leaves == before
