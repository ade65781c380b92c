"""What holds on every rung of the ladder, over drawn accounts, books and parameters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.stf import encoding
from node.stf.types import IOC, OPTIONS, Action, Status
from tests.stf.model import Model
from tests.stf.test_ladder import MARK, MARKET, USD, equity, health, insurance, size
from tests.stf.world import World, buy, sell

BIDS = st.lists(st.tuples(st.integers(-60_000, 20_000), st.integers(1, 400)), max_size=12)
CHAINS = st.fixed_dictionaries({
    "buffer_ms": st.sampled_from((0, 5_000, 10**6)), "refill": st.sampled_from((0, 1, 50)),
    "closeout": st.sampled_from((0, 400_000, 1_000_000)), "horizon_ms": st.sampled_from((0, 60_000, 3_600_000)),
})
RISKS = st.fixed_dictionaries({
    "z": st.sampled_from((0, 300)), "sigma_floor": st.sampled_from((0, 50_000, 300_000)),
    "near_band": st.sampled_from((0, 2_000, 20_000)), "reduce_cap": st.sampled_from((0, 30_000)),
})


@given(
    usd=st.integers(310, 600), mark=st.integers(530_000, 600_000), bids=BIDS, chain=CHAINS, risk=RISKS,
    penalty=st.sampled_from((0, 10_000, 1_000_000)), opted=st.booleans(), pause=st.sampled_from((1, 900, 6_000)),
)
def test_no_step_leaves_an_account_worse_covered(
    usd: int, mark: int, bids: list[tuple[int, int]], chain: dict[str, int], risk: dict[str, int], penalty: int,
    opted: bool, pause: int,
) -> None:
    """E / M never falls by a step that is not a takeover, early slices cost no penalty, a takeover ends at zero."""
    world = World(strict=True)
    model = Model(world)
    world.block(world.l1_time * 1000)
    world.create_market(0, **{**MARKET, "penalty": penalty})
    poor, rich = world.deposit("poor", usd * USD), world.deposit("rich", 10**6 * USD)
    world.price({0: MARK})
    world.actions(rich, sell(0, MARK, 1_000))
    world.actions(poor, buy(0, MARK, 1_000, tif=IOC), Action(OPTIONS, opt_in=int(opted)))
    world.configure_chain(**chain)
    world.configure_risk(0, **risk)
    for number, (away, lots) in enumerate(bids):
        world.actions(rich, buy(0, mark + away, lots, number))
    world.price({0: mark})
    for _ in range(12):
        before, cash, held = health(world, poor), insurance(world).cash, size(world, poor)
        model.events.clear()
        receipt = world.run(encoding.write_liquidate(poor, 0))
        after = health(world, poor)
        if before.equity < 0:
            assert receipt.status == Status.OK
            assert (equity(world, poor), size(world, poor)) == (0, 0)
            return
        assert after.equity * before.maintenance >= before.equity * after.maintenance
        assert after.equity >= 0 and 0 <= size(world, poor) <= held
        if before.equity >= before.maintenance:
            assert insurance(world).cash == cash, "no penalty above maintenance"
        if receipt.status != Status.OK:
            assert size(world, poor) == held, receipt
        if size(world, poor) == 0:
            return
        world.block(pause)
        world.price({0: mark})
