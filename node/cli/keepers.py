"""``anchorline keeper``: the programs that act for everyone, and, for a devnet, traders.

    ANCHORLINE_PUBLISHER_KEYS   hexadecimal keys of the publishers, comma-separated: slot 0, 1, …
    ANCHORLINE_BOT_KEYS         hexadecimal keys of the bots' accounts: two makers, then takers (with --bots)
"""

from __future__ import annotations

import json as json_module
import os
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
import trio

from node import log
from node.cli.l1 import DEFAULT_DEPLOYMENT, DeploymentFile
from node.cli.output import UserError, note, run_async
from node.cli.trade import RpcUrl
from node.keeper.bots import Bot, Maker, Taker
from node.keeper.figures import Figures
from node.keeper.liquidator import Liquidator
from node.keeper.oracle import Constant, PriceSource, Publisher, Walk
from node.l1.deployment import Deployment, load_deployment
from node.l1.keys import LocalSigner
from node.sdk.client import Client, connect
from node.sdk.errors import ConnectionLost
from node.sdk.trader import Trader, now_ms

logger = structlog.get_logger("keeper")

PUBLISHER_KEYS: Final = "ANCHORLINE_PUBLISHER_KEYS"
BOT_KEYS: Final = "ANCHORLINE_BOT_KEYS"
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 30.0


def keeper(
    *, rpc: RpcUrl = "ws://127.0.0.1:9545", deployment: DeploymentFile = DEFAULT_DEPLOYMENT, bots: bool = False,
    seed: int = 1, rate: float = 10.0, walk: bool = True, period_s: float = 1.0, json: bool = False,
) -> None:
    """Publish prices for the slots whose keys are in ANCHORLINE_PUBLISHER_KEYS, and liquidate; with --bots also trade.

    Parameters
    ----------
    bots
        Also run two market makers and takers with the keys in ANCHORLINE_BOT_KEYS (their accounts must exist).
    seed
        Of the price path and of the takers.
    rate
        Orders a second of each taker.
    walk
        Let prices walk; else they stay where the deployment says.
    period_s
        Seconds between prices, and between a maker's ladders.
    json
        Print figures as one JSON object a second.
    """
    log.configure("info")
    record = load_deployment(deployment)
    publishers, traders = _keys(PUBLISHER_KEYS), _keys(BOT_KEYS) if bots else []
    if bots and len(traders) < 3:
        raise UserError(f"--bots needs at least three keys in {BOT_KEYS}: two makers and a taker")
    plan = _Plan(rpc, record, publishers, traders, seed, rate, walk, period_s, json, Figures(), now_ms())
    if not publishers:
        note(f"no publisher's key in {PUBLISHER_KEYS}: publishing no prices, only liquidating")
    run_async(partial(_keep, plan))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one keeper does, for as long as it runs."""

    rpc: str
    deployment: Deployment
    publishers: list[LocalSigner]
    traders: list[LocalSigner]
    seed: int
    rate: float
    walk: bool
    period_s: float
    json: bool
    figures: Figures
    begin_ms: int

    def source(self) -> PriceSource:
        """Prices; one each: a walk remembers where its reader is."""
        prices = {market.market: market.price for market in self.deployment.markets}
        return Walk(prices, seed=self.seed, begin_ms=self.begin_ms) if self.walk else Constant(prices)


async def _keep(plan: _Plan) -> None:
    """Keep for ever; a lost connection is made anew, with backoff."""
    pause_s = RETRY_FIRST_S
    while True:
        begun = trio.current_time()
        try:
            await _session(plan)
        except* ConnectionLost as lost:
            reason = str(lost.exceptions[0])
        if trio.current_time() - begun > RETRY_MAX_S:
            pause_s = RETRY_FIRST_S
        logger.warning("connection_lost", reason=reason, retry_s=pause_s)
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_MAX_S)


async def _session(plan: _Plan) -> None:
    """What happens over one connection. Raises ConnectionLost, in a group."""
    markets = [market.market for market in plan.deployment.markets]
    async with connect(plan.rpc) as client, trio.open_nursery() as nursery:
        made = [Publisher(client, key, slot, markets, plan.source(), period_s=plan.period_s)
                for slot, key in enumerate(plan.publishers)]
        for publisher in made:
            nursery.start_soon(publisher.run)
        liquidator = Liquidator(client, period_s=plan.period_s)
        nursery.start_soon(liquidator.run)
        if plan.traders:
            await _wait_fresh(client, markets)
            await _start_bots(nursery, client, plan, markets)
        while True:
            extra = {"prices": sum(item.published for item in made), "liquidations": liquidator.liquidations}
            _report(plan.figures.as_dict() | extra, plan.json)
            await trio.sleep(1)


async def _wait_fresh(client: Client, markets: list[int], timeout_s: float = 60.0) -> None:
    """Until every market has a fresh mark."""
    with trio.move_on_after(timeout_s):
        while not all([info.fresh for info in await client.markets()] or [False]):
            await trio.sleep(0.1)
        return
    raise UserError(f"markets {markets} have no fresh price after {timeout_s} s: check the publishers' keys")


async def _start_bots(nursery: trio.Nursery, client: Client, plan: _Plan, markets: list[int]) -> None:
    bots = []
    for key in plan.traders:
        account = await client.wait_account(key.address)
        bots.append(Bot(Trader(client, key, account), plan.figures))
    for maker in bots[:2]:
        for market in markets:
            nursery.start_soon(Maker(maker, market, plan.source(), period_s=plan.period_s).run)
    for number, taker in enumerate(bots[2:]):
        nursery.start_soon(Taker(taker, markets, plan.source(), seed=plan.seed + number, rate_s=plan.rate).run)


def _report(figures: dict[str, Any], json: bool) -> None:
    if json:
        print(json_module.dumps(figures), flush=True)
        return
    promise = figures["promise_ms"]
    print(f"prices {figures['prices']:,}  liquidations {figures['liquidations']:,}  orders {figures['orders']:,}  "
          f"fills {figures['fills']:,}  promise p50 {'-' if promise['p50'] is None else promise['p50']} ms", flush=True)


def _keys(variable: str) -> list[LocalSigner]:
    """The signers of a variable. Raises UserError, Critical; never shows a key."""
    text = os.environ.get(variable, "")
    try:
        return [LocalSigner(bytes.fromhex(part.strip().removeprefix("0x"))) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{variable} is not a comma-separated list of hexadecimal keys") from None
