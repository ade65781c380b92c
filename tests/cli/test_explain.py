"""`anchorline explain` as a process against a running sequencer: a fill, a refusal, and the proof against L1."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from node.cli import check_explain
from node.stf.types import BUY, SELL
from tests.cli.test_trade import Shell
from tests.sequencer.l1_world import TRADERS, deployed
from tests.sequencer.test_service import anchor_all, open_accounts, sequencing


async def test_a_trader_sees_why_and_proves_it_against_l1(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        named = world.config(rpc={"markets": ["0=BTC-USD:0.1:0.0001"]})
        async with sequencing(world, named) as trader:
            world.deployment.save(tmp_path / "deployment.json")
            shell = Shell({
                "ANCHORLINE_KEY": world.chain.keys[TRADERS[0]].hex(), "ANCHORLINE_L1_RPC": world.chain.url,
                "ANCHORLINE_RPC": trader.rpc._endpoint.shown,
                "ANCHORLINE_DEPLOYMENT": str(tmp_path / "deployment.json")})
            await open_accounts(world, trader)
            await trader.price()
            await trader.place(1, "alice", SELL, 600_100, 30)
            filled = await trader.place(2, "bob", BUY, 600_100, 30)
            refused = await trader.place(2, "bob", BUY, 600_100, 9_000_000)
            await anchor_all(trader, refused["position"])

            shown = await shell.run("explain", str(filled["position"]), "--check", "--formulas")
            text = shown.stdout.decode()
            assert shown.returncode == 0, shown.stderr
            for part in ("buy 30 lots", "60,010.0 USD (600,100 ticks)", "0.0030 BTC-USD", "margin covers the order",
                         "maintenance rate", "Proven against L1", "pre-root proves, lead to the post-root"):
                assert part in text, (part, text)

            why = await shell.run("explain", refused["hash"])
            assert b"INSUFFICIENT_MARGIN" in why.stdout and b"What to do: deposit" in why.stdout
            assert (await shell.run("explain", "999999999")).returncode == 1
            assert b"has no action 3" in (await shell.run("explain", str(filled["position"]), "--action", "3")).stderr
            bad = await shell.run("explain", "0x12")
            assert bad.returncode == 2

            answer = await shell.json("explain", str(filled["position"]))
            (tmp_path / "explanation.json").write_text(json.dumps(answer))
            header_hash = await world.view("header_hash", answer["evidence"]["batch"]["number"])
            alone = subprocess.run(
                [sys.executable, check_explain.__file__, str(tmp_path / "explanation.json"), "0x" + header_hash.hex()],
                capture_output=True, text=True, check=False, cwd=tmp_path)
            assert alone.returncode == 0 and "leaves are under the post_root" in alone.stdout, alone.stderr

            sold = await shell.run("order", "sell", "0.0010", "60020.0", "--market", "btc-usd", "--account", "1")
            assert sold.returncode == 1 and b"is no key of account 1" in sold.stderr
            book = await shell.run("book", "BTC-USD")
            assert b"BTC-USD" in book.stdout and b"USD" in book.stdout
