"""``anchorline keeper``: the programs that act for everyone, and, for a devnet, traders.

    ANCHORLINE_PUBLISHER_KEYS   hexadecimal keys of the publishers, comma-separated: slot 0, 1, …
    ANCHORLINE_BOT_KEYS         hexadecimal keys of the bots' accounts: two makers, then takers (with --bots)
"""

from __future__ import annotations

import json as json_module
import os
from functools import partial
from typing import Any

import trio

from node import log
from node.cli.l1 import DEFAULT_DEPLOYMENT, DeploymentFile
from node.cli.output import UserError, run_async
from node.cli.trade import RpcUrl
from node.l1.deployment import Deployment, load_deployment
from node.l1.keys import LocalSigner

PUBLISHER_KEYS = "ANCHORLINE_PUBLISHER_KEYS"
BOT_KEYS = "ANCHORLINE_BOT_KEYS"


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
    run_async(partial(_keep, rpc, record, publishers, traders, seed, rate, walk, period_s, json))


async def _keep(
    rpc: str, record: Deployment, publishers: list[LocalSigner], traders: list[LocalSigner], seed: int, rate: float,
    walk: bool, period_s: float, json: bool,
) -> None:
    from node.keeper.figures import Figures
    from node.keeper.liquidator import Liquidator
    from node.keeper.oracle import Constant, PriceSource, Publisher, Walk
    from node.sdk import connect
    from node.sdk.trader import now_ms

    prices = {market.market: market.price for market in record.markets}

    def source() -> PriceSource:  # one each: a walk remembers where its reader is
        return Walk(prices, seed=seed, begin_ms=begin_ms) if walk else Constant(prices)

    begin_ms = now_ms()
    figures = Figures()
    async with connect(rpc) as client, trio.open_nursery() as nursery:
        made = [Publisher(client, key, slot, list(prices), source(), period_s=period_s)
                for slot, key in enumerate(publishers)]
        for publisher in made:
            nursery.start_soon(publisher.run)
        liquidator = Liquidator(client, period_s=period_s)
        nursery.start_soon(liquidator.run)
        if traders:
            await _wait_fresh(client, list(prices))
            await _start_bots(nursery, client, traders, figures, source, list(prices), seed, rate, period_s)
        while True:
            extra = {"prices": sum(item.published for item in made), "liquidations": liquidator.liquidations}
            _report(figures.as_dict() | extra, json)
            await trio.sleep(1)


async def _wait_fresh(client: Any, markets: list[int], timeout_s: float = 60.0) -> None:
    """Until every market has a fresh mark."""
    with trio.move_on_after(timeout_s):
        while not all([info.fresh for info in await client.markets()] or [False]):
            await trio.sleep(0.1)
        return
    raise UserError(f"markets {markets} have no fresh price after {timeout_s} s: check the publishers' keys")


async def _start_bots(
    nursery: trio.Nursery, client: Any, keys: list[LocalSigner], figures: Any, source: Any, markets: list[int],
    seed: int, rate: float, period_s: float,
) -> None:
    from node.keeper.bots import Bot, Maker, Taker
    from node.sdk.trader import Trader

    bots = []
    for key in keys:
        account = await client.wait_account(key.address)
        bots.append(Bot(Trader(client, key, account), figures))
    for maker in bots[:2]:
        for market in markets:
            nursery.start_soon(Maker(maker, market, source(), period_s=period_s).run)
    for number, taker in enumerate(bots[2:]):
        nursery.start_soon(Taker(taker, markets, source(), seed=seed + number, rate_s=rate).run)


def _report(figures: dict[str, Any], json: bool) -> None:
    if json:
        print(json_module.dumps(figures), flush=True)
        return
    promise = figures["promise_ms"]
    print(f"prices {figures['prices']:,}  liquidations {figures['liquidations']:,}  orders {figures['orders']:,}  "
          f"fills {figures['fills']:,}  promise p50 {promise['p50']} ms", flush=True)


def _keys(variable: str) -> list[LocalSigner]:
    """The signers of a variable. Raises UserError, Critical; never shows a key."""
    text = os.environ.get(variable, "")
    try:
        return [LocalSigner(bytes.fromhex(part.strip().removeprefix("0x"))) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{variable} is not a comma-separated list of hexadecimal keys") from None
