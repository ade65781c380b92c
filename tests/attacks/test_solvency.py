"""While marks stand still, no transaction takes an account from solvent to bankrupt, its own or anybody else's.

What margin checks, liquidations and withdrawals are for, as one property over random hostile histories of two markets,
with the whole ladder of liquidation on. One transaction may take from others: a takeover shares what insurance lacks,
by the lot and exactly; that part is taken out of the comparison.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from node.stf import encoding
from node.stf.engine import Engine, genesis_leaves
from node.stf.params import OPEN_ORDERS_MAX, REST_FEE
from node.stf.types import GTC, IOC, OPTIONS, POST_ONLY, Action, Position, Receipt, Status
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import shared_court
from tests.stf.world import DOMAIN, LeafStore, World, cancel_all, limit

USD = 1_000_000
TICK_VALUE = 10
MARKETS = (0, 1)


class Crowd:
    """Six accounts, rich and poor, that do anything in two markets."""

    def __init__(self, seed: int, world: World) -> None:
        self.random = random.Random(seed)
        pick = self.random.choice
        self.world = world
        self.world.block(self.world.l1_time * 1000)
        for market in MARKETS:
            self.world.create_market(
                market, impact=pick((0, 5 * USD)), fees=pick(((0, 0), (500, 100))), band=pick((50_000, 200_000)),
                stale_ms=10**9, oi_cap=5_000,
            )
            self.world.configure_risk(
                market, near_band=pick((0, 10_000)), z=300, sigma_floor=pick((0, 50_000, 400_000)), addon_cap=20_000,
                reduce_cap=pick((0, 100_000)),
            )
        self.world.configure_chain(
            buffer_ms=pick((0, 2_000, 60_000)), refill=pick((0, 10)), closeout=pick((0, 500_000, 1_000_000)),
            horizon_ms=pick((0, 600_000)),
        )
        self.accounts = [self.world.deposit(f"trader {i}", pick((50, 200, 400, 1_000, 5_000)) * USD) for i in range(6)]
        self.marks = dict.fromkeys(MARKETS, 600_000)
        self.world.price(self.marks)
        self.swing = pick((0.03, 0.08))
        self.liquidations = 0
        self.rungs: Counter[Status] = Counter()

    def move(self) -> None:
        """New marks."""
        for market, mark in self.marks.items():
            self.marks[market] = max(100_000, int(mark * self.random.uniform(1 - self.swing, 1 + self.swing)))
        self.world.price(self.marks)

    def step(self) -> Receipt:
        """One transaction of somebody, and the Continues that it asks for."""
        choice, pick = self.random.random(), self.random.choice
        account, market = pick(self.accounts), pick(MARKETS)
        if choice < 0.70:
            receipt = self.world.actions(account, *[self.order() for _ in range(self.random.randint(1, 3))])
        elif choice < 0.75:
            receipt = self.world.actions(account, cancel_all(market))
        elif choice < 0.80:
            receipt = self.world.withdraw(account, pick((1, 10, 100)) * USD)
        elif choice < 0.82:
            self.world.block(self.random.randint(1, 2_000))
            receipt = self.world.actions(account, Action(OPTIONS, opt_in=pick((0, 1))))
        else:
            receipt = self.world.run(encoding.write_liquidate(pick((account, account, 0)), market))
            self.liquidations += len(receipt.fills) > 0
            self.rungs[receipt.status] += 1
        for waiting in MARKETS:
            row = self.world.engine.ledger.markets[waiting]
            while row is not None and row.pending.lots:
                self.world.run(encoding.write_continue(waiting))
        return receipt

    def order(self) -> object:
        pick, market = self.random.choice, self.random.choice(MARKETS)
        factor = pick((self.random.uniform(0.8, 1.2), self.random.uniform(0.98, 1.02), 1))
        lots, tif = pick((1, 5, 50, 300, 1_000)), pick((GTC, GTC, IOC, POST_ONLY))
        return limit(market, pick((0, 1)), int(self.marks[market] * factor), lots, pick(range(9)), tif=tif)

    def equities(self) -> dict[int, int]:
        """What each account owns at the marks, by the rows alone."""
        return {
            number: row.collateral + sum(self.value(p) for p in row.positions)
            for number, row in self.world.engine.ledger.accounts.items()
        }

    def value(self, position: Position) -> int:
        """What a position is worth at its mark, losses that it shares included."""
        owed = abs(position.size) * (self.loss(position.market, position.size) - position.loss) if position.size else 0
        return position.size * self.marks[position.market] * TICK_VALUE - position.cost - owed

    def loss(self, market: int, size: int) -> int:
        """The loss index of a side."""
        board = self.world.engine.ledger.boards[0][market]
        return board.loss_long if size > 0 else board.loss_short

    def losses(self) -> list[tuple[int, int]]:
        return [(self.loss(market, 1), self.loss(market, -1)) for market in MARKETS]

    def shared(self, account: int, before: list[tuple[int, int]]) -> int:
        """What an account's positions have been charged since the loss indices were those."""
        row = self.world.engine.ledger.accounts[account]
        return sum(
            abs(p.size) * (self.loss(p.market, p.size) - before[p.market][0 if p.size > 0 else 1])
            for p in row.positions if p.size
        )


@pytest.mark.parametrize("seed", range(6))
def test_no_transaction_bankrupts_anybody(seed: int) -> None:
    crowd = Crowd(seed, World(strict=True))
    for _ in range(40):
        crowd.move()
        before, losses = crowd.equities(), crowd.losses()
        for _ in range(40):
            receipt = crowd.step()
            after = crowd.equities()
            # an account at zero may still pay the deposits of resting orders that reduce it, which come back
            least = -OPEN_ORDERS_MAX * REST_FEE
            broke = [n for n, e in after.items() if before[n] >= 0 and e + crowd.shared(n, losses) < least]
            assert not broke, (broke, receipt)
            before, losses = after, crowd.losses()
        assert crowd.world.conserved()
    assert crowd.liquidations > 0, "a history without liquidations shows nothing"
    assert crowd.rungs[Status.OK] > 0


@pytest.mark.parametrize("seed", [11, 12])
def test_the_sequencers_live_rows_give_the_same_chunks_as_copies(seed: int) -> None:
    """A sequencer reads live rows, a proof reads copies: a forgotten setter would make an honest batch wrong."""
    crowd = Crowd(seed, World(strict=False))
    for _ in range(12):
        crowd.move()
        for _ in range(40):
            crowd.step()
    world = crowd.world
    world.cut()
    store = LeafStore(genesis_leaves())
    for chunk, made in zip(world.chunks, world.results, strict=True):
        _receipts, found = Engine(store, DOMAIN, world.message_at, strict=True).execute_chunk(chunk)
        assert found == made
        store.apply(found.changes)
    assert len(world.chunks) > 20


def test_the_contract_agrees_about_hostile_histories() -> None:
    """Liquidations at every price, turned positions, lists and continuations, each chunk in both languages."""
    crowd = Crowd(26, DifferentialWorld(shared_court()))
    for _ in range(14):
        crowd.move()
        for _ in range(16):
            crowd.step()
    crowd.world.cut()
    assert crowd.liquidations > 0
