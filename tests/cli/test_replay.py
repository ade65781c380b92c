"""``anchorline replay --local`` over a synthetic tape: a real sequencer process, its public RPC, fills as planned."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_hash.auto import keccak

from node.cli import solo
from node.cli.replay import _publish
from node.cli.tapes.events import BUY, SELL, show_e8
from node.cli.tapes.ladder import Ladder, Resting
from node.cli.tapes.plan import OI_CAP_MAX
from node.l1.keys import LocalSigner
from node.rpc.client import open_websocket

SEED_MS = 1_430_438_404_000


class Venue:
    """Writes what a venue with price-time priority would have sent: events, trades, snapshots of its best prices."""

    def __init__(self) -> None:
        self.rng = random.Random(3)
        self.book = Ladder()
        self.sizes: dict[int, int] = {}
        self.lines = ["ts_recv_ms,event,id,side,price,amount,order_ts_s"]
        self.quotes = ["ts_recv_ms,bid_px,bid_amt,ask_px,ask_amt"]
        self.now = SEED_MS
        self.trades = 0

    def say(self, what: str, id: int, side: int, price: int, amount: int) -> None:
        order = f"{self.now},order_{what},{id},{('bid', 'ask')[side]},{show_e8(price * 10**6)},{show_e8(amount)},1"
        self.lines.append(order)

    def arrive(self, id: int) -> None:
        side = self.rng.randrange(2)
        middle = 23_600 + (-3 if side == BUY else 3)
        price, amount = middle + self.rng.randrange(-6, 7), self.rng.randrange(1, 500_000_000)
        self.now += self.rng.randrange(40, 400)
        order = Resting(id, 0, side, price, amount)
        self.say("created", id, side, price, amount)
        left = amount
        for match in self.book.place(order):
            left -= match.lots
            maker = self.book.orders.get(match.name)
            self.now += 2
            self.say("changed" if left else "deleted", id, side, price, left)
            self.say("changed" if maker else "deleted", match.name, 1 - side, match.price, maker.lots if maker else 0)
            self.lines.append(f"{self.now},trade,{self.trades},,{show_e8(match.price * 10**6)},{show_e8(match.lots)},")
            self.trades += 1

    def cancel(self) -> None:
        order = self.book.orders[self.rng.choice(list(self.book.orders))]
        self.now += self.rng.randrange(40, 400)
        self.book.cancel(order.name)
        self.say("deleted", order.name, order.side, order.price, order.lots)

    def write(self, folder: Path) -> Path:
        for id in range(1, 400):
            self.arrive(id)
            if self.rng.random() < 0.4 and self.book.orders:
                self.cancel()
            bid, bid_amount, ask, ask_amount = self.book.top()
            if bid and ask and self.rng.random() < 0.3:
                figures = (bid * 10**6, bid_amount, ask * 10**6, ask_amount)
                self.quotes.append(f"{self.now + 30}," + ",".join(show_e8(figure) for figure in figures))
        (folder / "bbo_synthetic.csv").write_text("\n".join(self.quotes) + "\n")
        tape = folder / "l3_synthetic.csv"
        tape.write_text("\n".join(self.lines) + "\n")
        return tape


def run(*args: str, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node.cli", "replay", *args], capture_output=True, text=True, timeout=120, check=False,
        cwd=Path(__file__).parents[2], env=os.environ | {"ETH_HASH_BACKEND": "pysha3", "ANCHORLINE_KEY": key})


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_a_tape_is_replayed_through_the_public_rpc(tmp_path: Path) -> None:
    venue = Venue()
    tape = venue.write(tmp_path)
    result = result_of(run(str(tape), "--local", "--json", "--accounts", "12"))
    assert result["trades"] == {"venue": venue.trades, "repeated": venue.trades} and venue.trades > 50
    assert result["orders_matched_as_planned"] == result["orders"] >= 399
    assert result["book_checks"] == {"made": 4, "failed": []} and not result["refused"]
    best = result["best_prices"]
    assert best["rows"] == len(venue.quotes) - 1 > 50
    assert best["prices_agree"] == best["sizes_agree_too"] == best["rows"], best["differences"]


async def test_a_running_sequencer_takes_a_tape_at_its_own_price(tmp_path: Path) -> None:
    """The accounts are those of the user's key; the market's mark is ten times the tape's price."""
    tape = Venue().write(tmp_path)
    trader, publishers = LocalSigner(keccak(b"trader")), [LocalSigner(bytes([n]) * 32) for n in (1, 2, 3)]
    messages = [solo.market_message(0, oi_cap=OI_CAP_MAX)]
    messages += [solo.publisher_message(0, slot, signer.address) for slot, signer in enumerate(publishers)]
    messages += [solo.deposit_message(trader.address, 10**17) for _ in range(12)]
    options = (str(tape), "--accounts", "12", "--limit", "500", "--json")
    async with solo.solo(messages) as place:
        async with open_websocket(place.ws_url) as rpc:
            await _publish(rpc, solo.domain(), publishers, 236_000)
        key = keccak(b"trader").hex()
        done = await trio.to_thread.run_sync(
            partial(run, *options, "--rpc", place.http_url, "--rescale", key=key))
        stranger = await trio.to_thread.run_sync(
            partial(run, *options, "--rpc", place.http_url, key=keccak(b"stranger").hex()))
        nowhere = await trio.to_thread.run_sync(
            partial(run, *options, "--rpc", place.http_url, "--market", "7", key=key))
        async with open_websocket(place.ws_url) as rpc:
            bids = (await rpc.call("al_book", {"market": 0}))["bids"]
    result = result_of(done)
    assert result["orders_matched_as_planned"] == result["orders"] > 100 and not result["book_checks"]["failed"]
    assert result["best_prices"]["prices_agree"] == result["best_prices"]["rows"] > 20
    assert 230_000 < bids[0][0] < 240_000
    assert stranger.returncode == 1 and "has 0 accounts here: deposit to open two" in stranger.stdout
    assert nowhere.returncode == 1 and "there is no market 7 here" in nowhere.stdout


def test_a_wrong_book_is_noticed(tmp_path: Path) -> None:
    """Turn the venue's quotes around: the comparison must not call that agreement."""
    tape = Venue().write(tmp_path)
    bbo = tmp_path / "bbo_synthetic.csv"
    head, *rows = bbo.read_text().splitlines()
    shifted = [f"{t},{float(b) - 1:.2f},{x},{a},{y}" for t, b, x, a, y in (row.split(",") for row in rows)]
    bbo.write_text("\n".join([head, *shifted]) + "\n")
    best = result_of(run(str(tape), "--local", "--json", "--accounts", "12", "--limit", "300"))["best_prices"]
    assert best["prices_agree"] == 0 and sum(best["causes"].values()) == best["rows"] > 10


@pytest.mark.parametrize("args,problem", [
    (["tape.csv"], "--rpc URL of a running sequencer, or --local"),
    (["tape.csv", "--local"], "tape.csv cannot be read"),
    (["tape.csv", "--local", "--length", "99"], "--length is 1 to 16"),
])
def test_mistakes_are_one_line(args: list[str], problem: str) -> None:
    done = run(*args)
    assert done.returncode == 1 and problem in done.stderr and "Traceback" not in done.stderr


def test_sides_are_the_rules() -> None:
    from node.stf import types

    assert (BUY, SELL) == (types.BUY, types.SELL)
