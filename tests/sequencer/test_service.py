"""The whole sequencer on the embedded L1: deposits come in, promises go out, batches reach L1 once each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from node.config import Config
from node.errors import Critical
from node.l1 import bindings
from node.rpc.client import HttpClient, RpcError
from node.rpc.methods.duties import DutiesInfo
from node.stf.types import BUY, SELL
from sequencer import service
from tests.sequencer.l1_world import BOND, OPERATOR, TRADERS, Trader, World, deployed, promise_signer, wait_for


@asynccontextmanager
async def sequencing(world: World, config: Config | None = None) -> AsyncIterator[Trader]:
    """A running sequencer; leaving shuts it down."""
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(
            service.run, config or world.config(), promise_signer(), world.chain.signer(OPERATOR)))
        async with HttpClient(bound.http_url) as rpc:
            yield Trader(rpc, world.domain)
        nursery.cancel_scope.cancel()


async def open_accounts(world: World, trader: Trader) -> None:
    for index, name in zip(TRADERS, ("alice", "bob"), strict=True):
        await world.deposit(index, name)
    await wait_for(lambda: trader.rpc.call("al_status"), lambda status: status["accounts"] == 2)


async def safe_block(trader: Trader) -> int:
    status: dict[str, Any] = await trader.rpc.call("al_status")
    return int(status["heads"]["safe"]["number"])


async def anchor_all(trader: Trader, position: int = 0) -> int:
    """Wait until everything sealed, and at least ``position``, is on L1; returns the head block."""
    def done(status: dict[str, Any]) -> bool:
        heads = status["heads"]
        return status["position"] > position and heads["unsafe"]["number"] == heads["safe"]["number"]

    await wait_for(lambda: trader.rpc.call("al_status"), done)
    return await safe_block(trader)


async def test_orders_reach_l1_once_through_a_restart(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        async with sequencing(world) as trader:
            await open_accounts(world, trader)
            await trader.price()
            assert (await trader.place(1, "alice", SELL, 600_100, 50))["statuses"] == ["OK"]
            first = await trader.place(2, "bob", BUY, 600_100, 20)
            assert [fill["lots"] for fill in first["fills"]] == [20]
            await nothing_waits(trader.rpc)
            await anchor_all(trader)
            batches = await world.posted()
            last = await trader.place(2, "bob", BUY, 600_100, 10)
        assert batches == list(range(1, len(batches) + 1))
        async with sequencing(world) as trader:
            receipt = await wait_for(
                lambda: trader.rpc.call("al_status"), lambda status: status["position"] > last["position"])
            receipt = await trader.rpc.call("al_receipt", [last["position"]])
            assert (receipt["hash"], receipt["statuses"]) == (last["hash"], ["OK"])
            await trader.price(600_050)
            order = await trader.place(1, "alice", SELL, 600_200, 50)
            safe = await anchor_all(trader, order["position"])
            block = await trader.rpc.call("al_block", [safe])
            assert block["head"] in ("safe", "finalized") and block["batch"] == await world.view("head_number")
        batches = await world.posted()
        assert batches == list(range(1, len(batches) + 1))
        assert await world.view("head_number") == len(batches)


async def nothing_waits(rpc: HttpClient) -> None:
    """A keeper's read, and its transactions refused one by one: nobody is under margin."""
    found = await rpc.call("al_duties", {"after": 0, "count": 100}, kind=DutiesInfo)
    assert (found.accounts, found.markets, found.next) == ([], [], 0)
    for method, params, reason in (
        ("al_liquidate", {"account": 2, "market": 0}, "NOT_LIQUIDATABLE"),
        ("al_liquidate", {"account": 0, "market": 0}, "NO_POSITION"),
        ("al_settle", {"account": 2, "market": 0}, "NOT_SETTLING"),
        ("al_sweep", {"market": 0, "side": 1}, "NOTHING_TO_SWEEP"),
        ("al_fireTrigger", {"market": 0, "direction": 1}, "TRIGGER_NOT_REACHED"),
    ):
        with pytest.raises(RpcError) as refused:
            await rpc.call(method, params)
        assert refused.value.data["reason"] == reason


async def test_a_new_datadir_derives_the_history_and_goes_on(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        async with sequencing(world) as trader:
            await open_accounts(world, trader)
            await trader.price()
            await trader.place(1, "alice", SELL, 600_100, 50)
            order = await trader.place(2, "bob", BUY, 600_100, 20)
            await anchor_all(trader, order["position"])
            before = await trader.rpc.call("al_account", [2])
        posted = await world.view("head_number")
        moved = replace(world.config(), datadir=tmp_path / "another machine")
        async with sequencing(world, moved) as trader:
            after = await trader.rpc.call("al_account", [2])
            assert after["positions"] == before["positions"] and after["collateral"] == before["collateral"]
            trader.nonce = 0
            await trader.price(600_050)
            order = await trader.place(2, "bob", BUY, 600_100, 10)
            assert [fill["lots"] for fill in order["fills"]] == [10]
            await anchor_all(trader, order["position"])
        batches = await world.posted()
        assert batches == list(range(1, len(batches) + 1)) and len(batches) > posted


async def refusal(world: World, index: int) -> str:
    """What a sequencer whose batches the account would post says at start; it must end before it serves."""
    with trio.fail_after(30), pytest.raises(Critical) as caught:
        await service.run(world.config(), promise_signer(), world.chain.signer(index))
    assert not (world.folder / "sequencer" / "log").exists(), "nothing was opened that promises are logged in"
    return str(caught.value)


async def test_nothing_is_promised_without_the_seat(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        holder, stranger = (world.chain.signer(index).address.hex() for index in (OPERATOR, TRADERS[0]))
        said = await refusal(world, TRADERS[0])
        assert f"held by 0x{holder}" in said and f"0x{stranger}" in said and "`anchorline seat`" in said
        await world.send(OPERATOR, [(world.rollup, bindings.encode_call("leave_seat"))])
        assert "nobody holds the seat" in await refusal(world, OPERATOR)
        await world.send(TRADERS[0], [(world.rollup, bindings.encode_call("take_seat", BOND))])
        assert f"held by 0x{stranger}" in await refusal(world, OPERATOR)
