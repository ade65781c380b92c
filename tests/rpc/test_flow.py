"""The order-flow estimate: signs, fading, chains that go back, and how keepers use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from node.keeper.liquidator import account_task
from node.rpc.methods.duties import AccountDuty
from node.rpc.methods.flow import BLOCKS_MAX, WINDOW_MS, FlowMeter
from node.rpc.methods.reader import Reader
from node.stf.types import BUY, SELL, Fill, Receipt, Status
from tests.stf.world import World, buy, sell

MARK = 600_000


def fill(market: int, side: int, lots: int) -> Fill:
    return Fill(market, MARK, lots, 1, 1, 1, 2, side, 0, 0)


@dataclass
class Blocks:
    """Sealed blocks of one transaction each."""

    blocks: list[tuple[int, list[Fill]]] = field(default_factory=list)
    reads: int = 0

    @property
    def head(self) -> SimpleNamespace:
        return self.header(len(self.blocks))

    def header(self, number: int) -> SimpleNamespace:
        time = self.blocks[number - 1][0] if number else 0
        return SimpleNamespace(number=number, state_root=b"%d %d" % (number, time))

    def outcomes(self, number: int) -> tuple[SimpleNamespace, ...]:
        self.reads += 1
        time, fills = self.blocks[number - 1]
        return (SimpleNamespace(receipt=Receipt(1, 0, time, Status.OK, [], fills)),)


def test_what_takers_buy_counts_up_and_what_they_sell_down_and_both_fade() -> None:
    blocks = Blocks([(1_000, [fill(0, BUY, 300), fill(0, SELL, 100), fill(1, SELL, 50)])])
    meter = FlowMeter(blocks)
    meter.update()
    assert (meter.info(0, 1_000).net_lots, meter.info(0, 1_000).gross_lots) == (200, 400)
    assert (meter.info(0, 1_000).imbalance, meter.info(1, 1_000).imbalance) == (0.5, -1.0)
    later = meter.info(0, 1_000 + WINDOW_MS)
    assert (later.net_lots, later.imbalance) == (round(200 / 2.718281828), 0.5)
    assert meter.info(0, 1_000 + 60 * WINDOW_MS).gross_lots == 0
    assert meter.info(7, 1_000).gross_lots == 0


def test_each_block_is_read_once_and_a_chain_that_went_back_anew() -> None:
    blocks = Blocks([(1_000 * n, [fill(0, BUY, 10)]) for n in range(1, 5)])
    meter = FlowMeter(blocks)
    meter.update()
    meter.update()
    assert blocks.reads == 4
    blocks.blocks[2:] = [(9_000, [fill(0, SELL, 10)])]
    meter.update()
    fresh = FlowMeter(blocks)
    fresh.update()
    assert meter.info(0, 9_000) == fresh.info(0, 9_000)
    blocks.reads = 0
    blocks.blocks += [(10_000 + n, []) for n in range(3 * BLOCKS_MAX)]
    meter.update()
    assert blocks.reads == BLOCKS_MAX, "after a long silence only the newest ones are looked at"


def test_pressure_is_the_flow_against_positions() -> None:
    world = World(strict=True)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    alice, bob = (world.deposit(name, 10_000_000_000) for name in ("alice", "bob"))
    world.price({0: MARK})
    world.actions(alice, sell(0, MARK, 1_000))
    world.actions(bob, buy(0, MARK, 1_000))
    meter = FlowMeter(Blocks([(world.time, [fill(0, BUY, 75), fill(0, SELL, 25)])]))
    meter.update()
    reader = Reader(world.engine)
    assert meter.pressure(reader, alice) == pytest.approx(500_000)
    assert meter.pressure(reader, bob) == pytest.approx(-500_000)
    assert meter.pressure(reader, 99) == 0


def test_a_keeper_takes_of_accounts_that_are_alike_the_one_under_pressure_first() -> None:
    def duty(account: int, rung: str, equity: int, pressure: int) -> AccountDuty:
        return AccountDuty(account, rung, [0], equity, 1_000, pressure)

    duties = [duty(1, "hard", 410, 0), duty(2, "hard", 420, 900_000), duty(3, "hard", 300, -900_000),
              duty(4, "debt", 0, 0), duty(5, "hard", 411, 0)]
    tasks = sorted((account_task(item) for item in duties), key=lambda task: task.order)
    assert [task.name[1] for task in tasks] == [4, 3, 2, 1, 5]
