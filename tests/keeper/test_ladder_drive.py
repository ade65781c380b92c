"""The keeper against a sequencer's own builder: a crash, and everybody ends where the ladder puts him."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from node.keeper.liquidator import Liquidator
from node.rpc.methods.duties import find_duties
from node.rpc.methods.reader import Reader
from node.sdk.errors import AnchorlineError
from node.stf.types import IOC, TRIGGER, Action, Status
from sequencer.admission import Refused
from sequencer.requests import LiquidateRequest, Request, SettleRequest, SweepRequest, TriggerFireRequest
from tests.sequencer.world import START_MS, Desk
from tests.stf import messages
from tests.stf.world import buy, cancel_all, message, sell

TRADERS = 12
MAKER = TRADERS + 1


class DeskClient:
    """What a node answers to a keeper, from a builder in the same process."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.refused: list[Status] = []

    async def call(self, method: str, params: Any = None, kind: Any = None) -> Any:
        if method == "al_duties":
            return find_duties(Reader(self.desk.builder.engine), params["after"], params["count"], 0)
        made: dict[str, type[Request]] = {
            "al_liquidate": LiquidateRequest, "al_sweep": SweepRequest, "al_fireTrigger": TriggerFireRequest,
            "al_settle": SettleRequest,
        }
        try:
            answer = self.desk.builder.submit(made[method](**params), 0)
        except Refused as refused:
            self.refused.append(refused.status)
            raise AnchorlineError(refused.status.name, kind="BadTransaction") from None
        return {"status": Status(answer.receipt.status).name, "position": answer.receipt.position}


def crash_desk() -> Desk:
    """Twelve traders and one maker, in a market with insurance."""
    desk = Desk(tuple(f"trader {number}" for number in range(1, MAKER + 1)))
    seconds = START_MS // 1000
    desk.inbox += [
        message(6, messages.configure_chain(
            buffer_ms=3_000, refill=10, closeout=500_000, horizon_ms=60_000), seconds),
        message(6, messages.configure_risk(0, near_band=10_000, z=300, sigma_floor=100_000), seconds),
        message(1, messages.donation(0, 10**9), seconds),
    ]
    desk.start()
    return desk


async def test_a_crash_is_driven_down_the_ladder_to_its_end() -> None:
    desk = crash_desk()
    client, clock = DeskClient(desk), [0.0]
    liquidator = Liquidator(client, clock=lambda: clock[0])  # type: ignore[arg-type]
    for trader in range(1, MAKER):
        lots = 150_000 + 10_000 * trader  # 6 USD a lot; what stays behind is a margin of 6% to 11.5%
        desk.act(MAKER, sell(0, 600_000, lots, trader))
        desk.act(trader, buy(0, 600_000, lots, 1, tif=IOC))
        desk.withdraw(trader, 10**12 - lots * 600_000 * 10 * (55 + 5 * trader) // 1_000)
    stop = Action(TRIGGER, side=1, price=590_000, lots=160_000, client_id=9)
    assert desk.act(1, stop).receipt.action_statuses == [Status.OK]
    desk.act(2, replace(sell(0, 660_000, 1_000, 7), reduce_only=1))
    desk.act(MAKER, cancel_all(0))
    for step in range(26):
        mark = 600_000 - 4_000 * step
        for rung in range(4):
            desk.act(MAKER, buy(0, mark - 500 * rung, 40_000, 100 + 4 * step + rung))
        desk.now += 1_500
        clock[0] += 1.5
        desk.price(mark)
        await liquidator.round()
        desk.act(MAKER, cancel_all(0))
    rows = desk.builder.engine.ledger
    reader = Reader(desk.builder.engine)
    for trader in range(1, MAKER):
        row = reader.account(trader)
        assert row is not None
        health = reader.health(row)
        assert health.equity >= 0, trader
    assert reader.account(1).positions == [], "its stop was fired"  # type: ignore[union-attr]
    done = liquidator.done
    assert done["fire"] == 1 and done["buffered"] > 5 and done["recovered"] > 3 and done["sweep"] > 0
    assert liquidator.liquidations == done["hard"] > 10
    g = rows.g
    assert g.accounts_total + g.insurance_total + g.fees - g.losses_total == g.deposits - g.withdrawn
    desk.builder.seal()
