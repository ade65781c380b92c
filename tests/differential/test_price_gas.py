"""The dearest prices: four markets, eight publishers, every price rule on, quotes of traders with eight positions."""

from __future__ import annotations

from node.stf.types import Status
from tests.differential.gas import HALVES, PRICE, heavy, publication
from tests.differential.harness import RULES_BASE, Court
from tests.stf.world import buy, sell

RULES = {
    "basis_window": 60_000, "basis_cap": 5_000, "spread_max": 20_000, "jump_limit": 50_000, "jump_hold": 1_000,
    "vol_window": 600_000, "vol_sample_ms": 1, "z": 300, "sigma_floor": 10_000, "addon_cap": 500_000,
}


def test_four_prices_with_everything_on_cost_no_more_than_their_work(court: Court) -> None:
    world = heavy(court)
    markets = HALVES[0]
    for at, market in enumerate(markets):
        assert world.configure_risk(market, **RULES).status == Status.OK
        assert world.actions(2 * at + 1, buy(market, PRICE - 10, 10, 77)).action_statuses == [0]
        assert world.actions(2 * at + 2, sell(market, PRICE + 10, 10, 78)).action_statuses == [0]
    world.cut()
    spare = []
    for number, price in enumerate((PRICE, PRICE + 7, PRICE - 9, PRICE * 9 // 10, PRICE * 9 // 10 + 1, PRICE, PRICE)):
        world.block(1_500)
        for slot in reversed(range(8)):
            transaction = publication(world, slot, markets, price - slot)
            verdict = world.judge(world.open_bytes + transaction)
            spare.append(verdict.outcome.work + RULES_BASE - verdict.rules_gas)
            world.run(transaction)
            if slot % 2 == number % 2:
                world.cut()
                world.block(1)
    world.cut()
    print(f"\nleast spare gas of a chunk of prices: {min(spare):,}")
    assert min(spare) >= 0, "the court asserts it too; the figure shows how near it is"
