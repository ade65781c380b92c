"""Fill-or-kill beside an immediate order of the same size, in random books, in both languages.

A fill-or-kill either fills whole or changes nothing, and it fills exactly what the immediate order would: thin makers,
makers with several orders, reduce-only, expired, cancelled and own orders in its way included.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from node.stf import encoding
from node.stf.engine import Engine
from node.stf.types import BUY, FOK, IOC, SELL, Action, Receipt, Status
from tests.conftest import PROFILE
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf.resting import check_resting
from tests.stf.world import LeafStore, cancel_all, limit

MARK = 600_000
MARGIN = 300_000  # initial margin of one lot at the first mark, micro-USD
ROUNDS = 12
WORLDS = 200 if PROFILE == "long" else 8
THIN = (6_000_000, 12_000_000, 24_000_000, 60_000_000)


class Pit(DifferentialWorld):
    """One market, a rich taker, and makers from rich to nearly broke."""

    def __init__(self, court: Court, rnd: random.Random) -> None:
        super().__init__(court)
        self.rnd = rnd
        self.block(self.l1_time * 1000)
        self.create_market(0, min_notional=1, impact=0, band=200_000)
        self.mark = MARK
        self.price({0: MARK})
        self.taker = self.deposit("taker", rnd.choice((10**10, 40_000_000)))
        self.makers = {self.deposit(f"maker {i}", amount): amount for i, amount in enumerate((10**8, *THIN))}

    def order(self, side: int, most: int) -> Action:
        """A resting order near the mark, of up to ``most`` lots."""
        rnd = self.rnd
        price = self.mark + (1 if side == SELL else -1) * rnd.randrange(0, 400) * 10
        expiry = self.time + rnd.randrange(1, 60) if rnd.random() < 0.1 else 0
        lots = max(1, most // rnd.choice((1, 2, 2, 3, 10)))
        action = limit(0, side, price, lots, rnd.randrange(1 << 30), expiry=expiry)
        action.reduce_only = int(rnd.random() < 0.2)
        return action

    def stir(self) -> None:
        """Fill the books, let some orders die, move the mark."""
        rnd = self.rnd
        for account in rnd.sample([*self.makers, self.taker], 4):
            most = self.makers.get(account, 6_000_000) // MARGIN
            side = rnd.randrange(2)
            sides = [side if rnd.random() < 0.8 else 1 - side for _ in range(rnd.randrange(1, 5))]
            self.actions(account, *[self.order(side, most) for side in sides])
        if rnd.random() < 0.2:
            self.actions(rnd.choice(list(self.makers)), cancel_all(0))
        self.mark = max(400_000, min(800_000, self.mark + rnd.randrange(-20_000, 20_000)))
        self.price({0: self.mark})
        self.cut()

    def beside(self, transaction: bytes) -> Receipt:
        """What a transaction would do now; nothing happens here."""
        engine = Engine(LeafStore(self.store.leaves), self.court.domain, self.message_at, strict=True)
        engine.begin_chunk()
        receipt = engine.execute(transaction)
        self.engine.bind()
        return receipt


@pytest.mark.parametrize("seed", range(WORLDS))
def test_fill_or_kill_is_an_immediate_order_that_fills_or_nothing(court: Court, seed: int) -> None:
    pit = Pit(court, random.Random(seed))
    statuses = set()
    for _ in range(ROUNDS):
        pit.stir()
        side = pit.rnd.choice((BUY, SELL))
        price = pit.mark + (1 if side == BUY else -1) * pit.rnd.randrange(0, 40_000)
        lots = pit.rnd.choice((1, 7, 20, 40, 60, 90, 150, 400))
        order = limit(0, side, price, lots, 9, tif=FOK)
        order.self_trade = pit.rnd.choice((0, 0, 1, 2))
        immediate = pit.beside(pit.sign_actions(pit.taker, (replace(order, tif=IOC),)))
        before = len(pit.engine.ledger.orders)
        receipt = pit.actions(pit.taker, order)
        status = receipt.action_statuses[0]
        statuses.add(status)
        filled = [(f.maker, f.price, f.lots) for f in receipt.fills]
        beside = [(f.maker, f.price, f.lots) for f in immediate.fills]
        if status == Status.OK:
            assert sum(f.lots for f in receipt.fills) == lots
            assert beside == filled[: len(beside)]
            assert len(beside) == len(filled) or immediate.action_statuses[0] == Status.INSUFFICIENT_MARGIN
        else:
            assert not filled and len(pit.engine.ledger.orders) == before
        if status == Status.FOK_UNFILLED:
            assert sum(f.lots for f in immediate.fills) < lots
        check_resting(pit)
        assert pit.conserved()
        pit.cut()
        pit.run(encoding.write_sweep(0, pit.rnd.randrange(2)))
    assert len(statuses) > 1
