"""A trader's commands, one after the other, as processes against a running sequencer: from a deposit to a payment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.sequencer.l1_world import TRADERS, deployed
from tests.sequencer.test_service import sequencing

REPO = Path(__file__).resolve().parents[2]


@dataclass
class Shell:
    """Runs `anchorline` with a key, against one network."""

    environment: dict[str, str]

    async def run(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORLINE_")}
        with trio.fail_after(120):
            return await trio.run_process(
                [sys.executable, "-m", "node.cli", *args], env=kept | self.environment, cwd=REPO, check=False,
                capture_stdout=True, capture_stderr=True)

    async def json(self, *args: str) -> Any:
        done = await self.run(*args, "--json")
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


async def test_from_deposit_to_payment(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        world.deployment.save(tmp_path / "deployment.json")
        shell = Shell({
            "ANCHORLINE_KEY": world.chain.keys[TRADERS[0]].hex(), "ANCHORLINE_L1_RPC": world.chain.url,
            "ANCHORLINE_RPC": raw.rpc._endpoint.shown, "ANCHORLINE_DEPLOYMENT": str(tmp_path / "deployment.json")})
        account = (await shell.json("deposit", "5000"))["account"]
        assert (await shell.json("deposit", "1000", "--account", str(account)))["amount"] == 10**9
        await raw.price()
        placed = await shell.json("order", "sell", "50", "600100", "--client-id", "77", "--tif", "POST_ONLY")
        assert placed["statuses"] == ["OK"] and placed["client_ids"] == [77]
        assert (await shell.json("book"))["asks"] == [[600_100, 50, 1]]
        row = await shell.json("account")
        assert row["collateral"] == 6_000 * 10**6 - 10_000 and [o["client_id"] for o in row["orders"]] == [77]
        assert (await shell.json("risk"))["probability"] == 0.0, "no position, nothing to break"
        assert b"that its cushion breaks within 60.0 s" in (await shell.run("risk", "--within-s", "60")).stdout
        shown = await shell.run("account", str(account))
        assert b"order 77: market 0  sell 50 lots at 600,100 ticks" in shown.stdout
        await raw.price()
        refused = await shell.run("order", "buy", "1000000", "600000")
        assert refused.returncode == 1 and b"INSUFFICIENT_MARGIN" in refused.stderr
        assert (await shell.json("amend", "77", "20"))["statuses"] == ["OK"]
        assert (await shell.json("book"))["asks"] == [[600_100, 20, 1]]
        await shell.json("cancel", "77")
        assert await raw.rpc.call("al_orders", [account]) == []
        await raw.price()  # a slow machine may have let the last one go stale
        await shell.json("order", "sell", "10", "600200")
        await shell.json("cancel", "--all")
        assert (await raw.rpc.call("al_book", [0]))["asks"] == []
        paid = await shell.json("withdraw", "100", "--claim", "--timeout-s", "60")
        assert paid["l1_tx"].startswith("0x") and await world.view("is_paid", paid["withdrawal"])
        status = await shell.json("status")
        assert status["conserved"] and status["totals"]["withdrawn"] == 100 * 10**6


async def test_orders_that_know_the_position(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        world.deployment.save(tmp_path / "deployment.json")
        shell = Shell({
            "ANCHORLINE_KEY": world.chain.keys[TRADERS[0]].hex(), "ANCHORLINE_L1_RPC": world.chain.url,
            "ANCHORLINE_RPC": raw.rpc._endpoint.shown, "ANCHORLINE_DEPLOYMENT": str(tmp_path / "deployment.json")})
        await shell.json("deposit", "5000")
        await raw.price()
        late = await shell.run("order", "buy", "10", "--tif", "FOK")
        assert late.returncode == 1 and b"give a price for FOK" in late.stderr
        market = await shell.run("order", "buy", "10")
        assert market.returncode == 0 and b"nothing filled" in market.stdout, "an empty book"
        await raw.price()
        refused = await shell.run("trigger", "sell", "10", "below", "590000")
        assert refused.returncode == 1 and b"REDUCE_ONLY_SIZE" in refused.stderr, "there is no position to reduce"
        refused = await shell.run("order", "buy", "10", "600000", "--reduce-only")
        assert refused.returncode == 1 and b"REDUCE_ONLY_SIZE" in refused.stderr
        assert (await shell.json("switch", "3600"))["cancel_at"] > 0
        assert (await shell.json("switch", "0"))["cancel_at"] == 0
        assert (await shell.json("early-reduction", "allow"))["statuses"] == ["OK"]


async def test_a_key_without_an_account_is_told_to_deposit(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        shell = Shell({"ANCHORLINE_KEY": "11" * 32, "ANCHORLINE_RPC": raw.rpc._endpoint.shown})
        done = await shell.run("account")
        assert done.returncode == 1 and b"owns no account: deposit" in done.stderr
        stranger = await shell.run("order", "buy", "1", "600000", "--account", "1")
        assert stranger.returncode == 1 and b"there is no account 1" in stranger.stderr
