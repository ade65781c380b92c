"""kill -9 of the whole sequencer process, batcher and all, at random moments under load.

Every promise that a trader got must hold on L1: a verifier that knows nothing but L1 finds the promised transaction at
the promised position, and no batch is posted twice.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from eth_hash.auto import keccak

from node.derive.promises import Promise, SignedPromise, check_promise
from node.rpc.client import HttpClient, RpcError, RpcUnavailable
from node.stf.types import BUY, SELL
from tests.sequencer.l1_world import OPERATOR, Trader, World, deployed, promise_signer
from tests.sequencer.test_service import anchor_all, open_accounts
from tests.system.test_loop import agrees, verifying

KILLS = 4
ANSWERS_MAX = 150  # promises between two kills
SEED = 2_026
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def sequencer_process(world: World) -> AsyncIterator[tuple[trio.Process, HttpClient]]:
    """`anchorline sequencer` on the world's L1; killed at the end."""
    config = world.config()
    flags = {
        "datadir": config.datadir, "l1.rpc": world.chain.url, "l1.rollup": world.deployment.rollup,
        "l1.start-block": world.deployment.start_block, "l1.confirmations": 0, "l1.poll-ms": 50, "rpc.port": 0,
        "sequencer.block-ms": 50, "sequencer.group-commit-ms": 1, "sequencer.unanchored-ms-max": 60_000,
        "batcher.post-ms": 300, "batcher.confirmations": 0, "batcher.resubmit-ms": 5_000, "log.level": "warning"}
    keys = {"ANCHORLINE_SEQUENCER_KEY": keccak(b"promises").hex(),
            "ANCHORLINE_BATCHER_KEY": world.chain.keys[OPERATOR].hex()}
    args = [f"--{name}={value}" for name, value in flags.items()]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "node.cli", "sequencer", "--json", *args],
        stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | keys)
    assert process.stdout is not None
    try:
        line = b""
        with trio.fail_after(60):
            while not line.endswith(b"\n"):
                part = await process.stdout.receive_some()
                assert part, "the sequencer did not start: see its messages above"
                line += part
        async with HttpClient(json.loads(line)["rpc"]) as rpc:
            yield process, rpc
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            print("sequencer said:", (await process.stdout.receive_some() or b"").decode())
            await process.stdout.aclose()


class Load:
    """Two traders who trade as fast as they are answered, and keep what they were promised."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: list[dict[str, Any]] = []
        self.random = random.Random(SEED)

    async def trade(self, rpc: HttpClient, account: int, name: str, side: int) -> None:
        trader = Trader(rpc, self.world.domain)
        trader.nonce = time.time_ns() // 1_000_000
        while True:
            price = self.random.randrange(599_950, 600_050)
            try:
                self.answers.append(await trader.place(account, name, side, price, self.random.randrange(1, 30)))
            except RpcUnavailable:
                return  # killed
            except RpcError as error:
                assert error.data["kind"] in ("InsufficientFunds", "MarketReduceOnly"), error

    async def until_killed(self, process: trio.Process, rpc: HttpClient) -> None:
        target = len(self.answers) + self.random.randrange(1, ANSWERS_MAX)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.trade, rpc, 1, "alice", SELL)
                nursery.start_soon(self.trade, rpc, 2, "bob", BUY)
                while len(self.answers) < target:
                    await trio.lowlevel.checkpoint()
                process.kill()


def check(world: World, answer: dict[str, Any]) -> None:
    """The sequencer signed this transaction at this position."""
    told = answer["promise"]
    numbers = [told[name] for name in ("epoch", "first_position", "count", "time")]
    promise = Promise(*numbers, *[bytes.fromhex(told[name][2:]) for name in ("previous", "root")])
    path = [bytes.fromhex(sibling[2:]) for sibling in told["path"]]
    signed = SignedPromise(promise, bytes.fromhex(told["signature"][2:]))
    tx_hash = bytes.fromhex(answer["hash"][2:])
    check_promise(world.domain, promise_signer().address, signed, answer["position"], tx_hash, path)


async def test_promises_hold_on_l1_after_kill_9(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        load = Load(world)
        for number in range(KILLS):
            async with sequencer_process(world) as (process, rpc):
                trader = Trader(rpc, world.domain)
                if number == 0:
                    await open_accounts(world, trader)
                await trader.price()
                await load.until_killed(process, rpc)
        async with sequencer_process(world) as (_process, rpc), verifying(world, "verifier") as verifier:
            trader = Trader(rpc, world.domain)
            last = max(answer["position"] for answer in load.answers)
            await agrees(verifier, trader, await anchor_all(trader, last))
            for answer in load.answers:
                check(world, answer)
                found = await verifier.call("al_receipt", [answer["position"]])
                assert found["hash"] == answer["hash"], answer
        posted = await world.posted()
        assert posted == list(range(1, len(posted) + 1))
        print(f"{len(load.answers)} promises, {len(posted)} batches, {KILLS} kills")
