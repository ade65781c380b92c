"""What al_duties proposes is what the rules then do, over random hostile histories; and what waits in markets."""

from __future__ import annotations

from dataclasses import replace

from node.rpc.methods.duties import find_duties
from node.rpc.methods.reader import Reader
from node.stf import encoding
from node.stf.types import IOC, Status
from tests.attacks.test_solvency import MARKETS, Crowd
from tests.stf.world import World, buy, cancel_all, sell

USD = 1_000_000
ALLOWED = {
    "": {Status.NOT_LIQUIDATABLE, Status.NO_POSITION},
    "debt": {Status.OK},
    "hard": {Status.OK, Status.NO_LIQUIDITY},
    "threatened": {Status.OK, Status.NO_LIQUIDITY, Status.REDUCED_ENOUGH},
    "buffered": {Status.BUFFERED},
    "recovered": {Status.RECOVERED},
}


def test_the_rules_do_what_was_proposed() -> None:
    seen: set[str] = set()
    for seed in range(10, 22):
        seen |= follow(Crowd(seed, World(strict=True)))
    assert seen == set(ALLOWED)


def follow(crowd: Crowd) -> set[str]:
    """Look at everybody after every few transactions, and send a Liquidate; returns the rungs that were seen."""
    reader = Reader(crowd.world.engine)
    seen = set()
    for _ in range(30):
        crowd.move()
        for _ in range(6):
            crowd.step()
        for account in crowd.accounts:
            work = crowd.world.engine.ledger.work
            found = {duty.account: duty for duty in find_duties(reader, account - 1, 1, 0).accounts}.get(account)
            assert crowd.world.engine.ledger.work == work, "a look leaves no trace"
            rung, markets = (found.rung, found.markets) if found else ("", list(MARKETS))
            receipt = crowd.world.run(encoding.write_liquidate(account, markets[0]))
            assert receipt.status in ALLOWED[rung], (rung, receipt)
            seen.add(rung)
    return seen


def test_pages_go_on_to_the_last_account() -> None:
    crowd = Crowd(1, World(strict=True))
    reader = Reader(crowd.world.engine)
    assert find_duties(reader, 0, 4, 7).next == 4
    last = find_duties(reader, 4, 4, 7)
    assert (last.next, last.block) == (0, 7)
    assert find_duties(reader, 100, 4, 7).next == 0


def test_what_waits_in_a_market() -> None:
    world = World(strict=True)
    world.block(world.l1_time * 1000)
    world.create_market(0, fees=(0, 0), impact=0)
    world.configure_risk(0, near_band=5_000)
    poor, rich = world.deposit("poor", 330 * USD), world.deposit("rich", 100_000 * USD)
    world.price({0: 600_000})
    reader = Reader(world.engine)
    assert find_duties(reader, 0, 10, 0).markets == []
    world.actions(rich, sell(0, 600_000, 1_000), sell(0, 640_000, 5, 2))
    world.actions(poor, buy(0, 600_000, 1_000, tif=IOC))
    world.actions(poor, replace(sell(0, 630_000, 5), reduce_only=1))
    world.actions(rich, cancel_all(0))
    world.price({0: 560_000})
    found = find_duties(reader, 0, 10, 0)
    assert [(duty.account, duty.rung) for duty in found.accounts] == [(poor, "debt")]
    assert world.run(encoding.write_liquidate(poor, 0)).status == Status.OK
    (market,) = find_duties(reader, 0, 10, 0).markets
    assert (market.insured, market.fires, market.sweeps) == (1_000, [], [1]), "its reduce-only order died with it"
    assert world.run(encoding.write_sweep(0, 1)).status == Status.OK
    (market,) = find_duties(reader, 0, 10, 0).markets
    assert market.sweeps == []
