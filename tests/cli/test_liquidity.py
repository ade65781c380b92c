"""`anchorline liquidity`, `withdraw --now`, `sell-claim` as processes; the provider is killed before it collects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from node.rpc.client import HttpClient
from tests.cli.test_leave import shell
from tests.cli.test_trade import REPO, Shell
from tests.liquidity.world import PROVIDER, USD, Bench, Desk, network
from tests.sequencer.l1_world import TRADERS, wait_for


@asynccontextmanager
async def provider(net: Bench, folder: Path, *flags: str) -> AsyncIterator[tuple[trio.Process, Desk]]:
    """A provider's process, killed without notice at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORLINE_")}
    environment = kept | {
        "ANCHORLINE_LIQUIDITY_KEY": net.world.chain.keys[PROVIDER].hex(),
        "ANCHORLINE_DEPLOYMENT": str(folder / "deployment.json")}
    command = [
        sys.executable, "-m", "node.cli", "liquidity", "--json", "--datadir", str(folder / "desk"), "--l1.rpc",
        net.world.chain.url, "--l1.confirmations", "0", "--l1.poll-ms", "50", "--rpc.port", "0",
        "--liquidity.confirmations", "0", "--liquidity.fee-ppm", "2000", "--liquidity.fee-min-cents", "0", *flags]
    process = await trio.lowlevel.open_process(
        command, env=environment, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        seen = b""
        with trio.fail_after(60):
            while not any(line.startswith(b'{"role"') for line in seen.splitlines()) or not seen.endswith(b"\n"):
                part = await process.stdout.receive_some()
                assert part, seen
                seen += part
        url = json.loads(next(line for line in seen.splitlines() if line.startswith(b'{"role"')))["rpc"]
        async with HttpClient(url) as rpc:
            desk = Desk(rpc, url)
            await wait_for(desk.status, lambda status: status["open"])
            yield process, desk
    finally:
        process.kill()
        await process.wait()


async def test_a_withdrawal_is_paid_at_once_and_collected_by_a_provider_that_was_killed(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        trader = shell(net.world, tmp_path, TRADERS[0], net.rpc)
        async with provider(net, tmp_path) as (_, desk):
            before = await net.tokens(net.seller.address)
            sold = await trader.json("withdraw", "100", "--now", desk.url, "--timeout-s", "60")
            assert (sold["price"], sold["fee"], sold["amount"]) == (99_800_000, 200_000, 100 * USD)
            assert sold["buyer"] == "0x" + net.provider.address.hex() and sold["l1_tx"].startswith("0x")
            assert await net.tokens(net.seller.address) == before + 99_800_000
            dear = await trader.run("withdraw", "50", "--now", desk.url, "--min", "49.95", "--timeout-s", "60")
            assert dear.returncode == 1 and b"you want 49950000 or more" in dear.stderr
            assert b"withdrawal 2 is not sold and still yours" in dear.stderr
            quote = await trader.run("sell-claim", "2", "--provider", desk.url, "--quote")
            assert b"49.90 of 50.00 USD for withdrawal 2, fee 0.10 USD" in quote.stdout
            late = await trader.json("sell-claim", "2", "--provider", desk.url, "--min-price", "49.9")
            assert late["price"] == 49_900_000
        await net.pass_window()
        owned = await net.tokens(net.provider.address)
        async with provider(net, tmp_path) as (_, desk):
            await wait_for(desk.status, lambda status: status["paid"] == 2)
        assert await net.tokens(net.provider.address) == owned + 150 * USD
        assert len(await net.sold()) == 2


async def test_what_cannot_be_sold_is_said_before_anything_is_withdrawn() -> None:
    trader = Shell({"ANCHORLINE_KEY": "11" * 32})  # and there is no node that it could reach
    for flags, complaint in (
        (("--now", "http://127.0.0.1:9", "--claim"), b"neither --claim nor --to"),
        (("--min", "9"), b"give --now URL"),
        (("--now", "http://127.0.0.1:9", "--min", "11"), b"is more than the withdrawal's 10.00 USD"),
        (("--now", "http://127.0.0.1:9"), b"no node answers"),
    ):
        done = await trader.run("withdraw", "10", *flags)
        assert done.returncode == 1 and complaint in done.stderr, (flags, done.stderr)
    keyless = await trader.run("liquidity", "--l1.rollup", "0x" + "11" * 20)
    assert keyless.returncode == 1 and b"ANCHORLINE_LIQUIDITY_KEY" in keyless.stderr
