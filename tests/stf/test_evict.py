"""Decoded rows are bounded: forgetting them between blocks changes nothing but memory."""

from __future__ import annotations

import random

import pytest

from node.stf import engine
from tests.sequencer.world import Desk
from tests.stf.world import World, buy, cancel_all, sell


class Forgetful(World):
    """Forgets between chunks."""

    forgotten = 0

    def cut(self) -> None:
        super().cut()
        self.forgotten += self.engine.evict()


def live(world: World, traders: int = 12, blocks: int = 25) -> World:
    """Random trading of many accounts, with withdrawals."""
    rng = random.Random(11)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    accounts = [world.deposit(f"trader {number}", 10**10) for number in range(traders)]
    for _ in range(blocks):
        world.price({0: 600_000})
        world.block(rng.randrange(1, 500))
        for _ in range(8):
            side = rng.choice((buy, sell))
            world.actions(rng.choice(accounts), side(0, rng.randrange(599_900, 600_100), rng.randrange(10, 50)))
        world.withdraw(rng.choice(accounts), 10**6)
        if rng.random() < 0.2:
            world.actions(rng.choice(accounts), cancel_all(0))
    world.cut()
    return world


@pytest.mark.parametrize("rows_max", [0, 3])
def test_a_ledger_that_forgets_comes_to_the_same_states(rows_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    remembering = live(World())
    monkeypatch.setattr(engine, "ROWS_MAX", rows_max)
    world = Forgetful()
    live(world)
    assert world.forgotten > 100
    assert world.chunks == remembering.chunks and world.results == remembering.results
    assert world.store.leaves == remembering.store.leaves


def test_nothing_is_forgotten_under_the_bound() -> None:
    world = Forgetful()
    live(world, blocks=3)
    assert world.forgotten == 0 and len(world.engine.ledger.accounts) == 12


def test_a_sequencer_s_rows_are_bounded_and_its_blocks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"trader {number}" for number in range(20))

    def trade(desk: Desk) -> list[int]:
        rows = []
        for number in range(60):
            desk.now += 100
            side = buy if number % 2 else sell
            desk.act(1 + number % 20, side(0, 600_000 + (number % 7), 20, 1_000 + number))
            desk.builder.seal()
            rows.append(len(desk.builder.engine.ledger.accounts))
        return rows

    remembering = Desk(names).start()
    assert max(trade(remembering)) == 20
    monkeypatch.setattr(engine, "ROWS_MAX", 5)
    desk = Desk(names).start()
    rows = trade(desk)
    assert max(rows) <= 5 and 0 in rows
    assert desk.chain.head == remembering.chain.head
    assert desk.builder.engine.globals.position == remembering.builder.engine.globals.position
