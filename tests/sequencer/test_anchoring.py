"""Anchoring against a real Rollup on the embedded L1: restarts, reorganisations, lag."""

from __future__ import annotations

import random
from pathlib import Path

import trio

from node.derive.chain import Chain
from node.rpc.client import RpcError, RpcUnavailable
from node.stf.types import BUY, SELL
from node.storage.kv import open_kv
from tests.sequencer.l1_world import Trader, World, deployed, wait_for
from tests.sequencer.test_service import anchor_all, open_accounts, sequencing


async def trade_some(trader: Trader, rounds: int) -> int:
    """Orders that fill each other; the last one's position."""
    position = 0
    for _ in range(rounds):
        await trader.place(1, "alice", SELL, 600_100, 30)
        position = (await trader.place(2, "bob", BUY, 600_100, 30))["position"]
    return position


def check_batches(world: World, folder: Path) -> None:
    """The database's batches are runs of blocks without gap or overlap."""
    kv = open_kv(folder / "sequencer" / "sequencer")
    chain = Chain.open(kv, world.domain)
    following = 1
    for record in chain.batches():
        assert record.first_block == following
        following = record.last_block + 1
    kv.close()


async def test_restarts_at_any_moment_post_each_batch_once(tmp_path: Path) -> None:
    rng = random.Random(3)
    async with deployed(tmp_path) as world:
        async with sequencing(world) as trader:
            await open_accounts(world, trader)
            await trader.price()
        for _ in range(6):
            async with sequencing(world) as trader:
                await trader.price()
                await trade_some(trader, 3)
                with trio.move_on_after(rng.random() * 1.2):  # killed while posting, before it, or after it
                    await trio.sleep_forever()
        async with sequencing(world) as trader:
            await trader.price()
            await anchor_all(trader, await trade_some(trader, 1))
        posted = await world.posted()
        assert posted == list(range(1, len(posted) + 1)) and len(posted) > 2
        check_batches(world, tmp_path)


async def test_a_reorg_that_takes_a_posting_away_is_posted_again(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as trader:
        await open_accounts(world, trader)
        await trader.price()
        await anchor_all(trader)
        await world.chain.mine(3)
        before = await world.view("head_number")
        await anchor_all(trader, await trade_some(trader, 2))
        after = await world.view("head_number")
        assert after > before
        head = await world.chain.client.head()
        logs = await world.chain.client.logs(world.rollup, 0, head.number)
        depth = head.number - max(log.block_number for log in logs) + 1
        await world.chain.rpc("anvil_reorg", hex(depth))
        await wait_for(lambda: world.view("head_number"), lambda number: number >= after)
        await anchor_all(trader)
        posted = await world.posted()
        assert posted == list(range(1, len(posted) + 1))


async def test_a_deposit_that_l1_takes_back_resets_and_orders_survive(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world, world.config(batcher={"post_ms": 50_000})) as trader:
        await open_accounts(world, trader)
        await trader.price()
        first = await trader.place(1, "alice", SELL, 600_100, 30)
        await world.chain.mine(2)
        depth = (await world.chain.client.head()).number
        await world.deposit(2, "carol")
        status = await wait_for(lambda: trader.rpc.call("al_status"), lambda s: s["accounts"] == 3)
        second = await trader.place(2, "bob", BUY, 600_100, 10)
        assert second["fills"] and second["position"] > first["position"]
        depth = (await world.chain.client.head()).number - depth
        await world.chain.rpc("anvil_reorg", hex(depth))

        async def accounts() -> int:
            try:
                return int((await trader.rpc.call("al_status"))["accounts"])
            except RpcUnavailable:  # the port is closed for a moment
                return -1

        await wait_for(accounts, lambda count: count == 2)
        orders = await wait_for(
            lambda: trader.rpc.call("al_account", [1]), lambda account: account["positions"] != [])
        assert orders["positions"][0]["size"] == -10
        assert status["accounts"] == 3


async def test_orders_close_while_l1_lags_and_open_again(tmp_path: Path) -> None:
    config = {"sequencer": {"unanchored_ms_max": 3_000}, "batcher": {"post_ms": 200}}
    async with deployed(tmp_path) as world, sequencing(world, world.config(**config)) as trader:
        await open_accounts(world, trader)
        await trader.price()
        await anchor_all(trader)
        await world.chain.rpc("evm_setIntervalMining", 0)
        await world.chain.automine(False)

        async def refused() -> str:
            try:
                await trader.place(1, "alice", SELL, 600_100, 30)
            except RpcError as error:
                return str(error.data["kind"])
            return ""

        await wait_for(refused, lambda kind: kind == "AnchorLag")
        await world.chain.automine(True)
        await world.chain.rpc("evm_setIntervalMining", 1)
        await wait_for(refused, lambda kind: kind == "")
