"""kill -9 at random moments under load: every promise that a client got still holds after the restart."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trio

from node.derive.promises import Promise, SignedPromise, check_promise
from node.l1.keys import LocalSigner
from node.rpc.client import HttpClient, RpcError, RpcUnavailable
from node.stf import encoding
from sequencer.promises import find_promise
from sequencer.requests import ActionsRequest, OracleRequest
from tests.sequencer.serve_core import keccak, open_core
from tests.sequencer.world import sign_request
from tests.stf.world import DOMAIN, address, buy, private_key, sell

KILLS = 10
ROOT = Path(__file__).parents[2]


class Load:
    """Clients that trade and remember what they were promised."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.rng = random.Random(11)
        self.nonce = 0

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def actions(self, account: int, name: str) -> dict[str, Any]:
        self.nonce = max(self.nonce + 1, self.now())
        side = self.rng.choice((buy, sell))
        price, lots = self.rng.randrange(599_900, 600_100), self.rng.randrange(10, 40)
        key = private_key(name)
        request = ActionsRequest(
            account, 0, self.nonce, self.now() + 60_000, [side(0, price, lots, self.nonce)], 0, 0)
        sign_request(request, key)
        return {
            "account": account, "slot": 0, "nonce": request.nonce, "expiry": request.expiry,
            "actions": [{"action": "place", "market": 0, "side": encoding.SIDE_NAMES[request.actions[0].side],
                         "price": price, "lots": lots, "timeInForce": "GTC", "clientId": self.nonce}],
            "signer": "0x" + address(key).to_bytes(20, "big").hex(),
            "signature": "0x" + (request.r.to_bytes(32, "big") + request.vs.to_bytes(32, "big")).hex(),
        }

    async def price(self, rpc: HttpClient) -> None:
        for slot in range(3):
            key = private_key(f"publisher {slot}")
            request = sign_request(OracleRequest(slot, self.now(), [0], [600_000], 0, 0), key)
            await self.call(rpc, "al_sendOraclePrice", {
                "publisher": slot, "time": request.time, "prices": [{"market": 0, "price": 600_000}],
                "signature": "0x" + (request.r.to_bytes(32, "big") + request.vs.to_bytes(32, "big")).hex()})

    async def call(self, rpc: HttpClient, method: str, params: dict[str, Any]) -> None:
        try:
            self.answers.append(await rpc.call(method, params))
        except RpcError as error:
            assert error.data["kind"] in ("InvalidNonce", "BadTransaction", "NonceTooOld"), error

    async def trade(self, url: str, account: int, name: str) -> None:
        async with HttpClient(url) as rpc:
            try:
                await self.price(rpc)
                while True:
                    await self.call(rpc, "al_sendActions", self.actions(account, name))
            except RpcUnavailable:
                return  # killed


def start(datadir: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sequencer.serve_core", str(datadir)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"ETH_HASH_BACKEND": "pysha3"})
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http"), "the sequencer did not start"
    return process, url


async def run_and_kill(load: Load, datadir: Path, answers_min: int) -> None:
    process, url = await trio.to_thread.run_sync(start, datadir)
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for account, name in ((1, "alice"), (2, "bob"), (1, "alice"), (2, "bob")):
                    nursery.start_soon(load.trade, url, account, name)
                target = len(load.answers) + answers_min
                while len(load.answers) < target:
                    await trio.lowlevel.checkpoint()
                process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def check(core: Any, answer: dict[str, Any]) -> None:
    """The answer's transaction stands where it was promised, with the outcome that was told."""
    stored = core.chain.transaction(answer["position"])
    assert stored is not None and "0x" + stored.hash.hex() == answer["hash"]
    assert [status.name for status in stored.receipt.action_statuses] == answer["statuses"] or "PENDING" in [
        status.name for status in stored.receipt.action_statuses]
    told = answer["promise"]
    numbers = [told[name] for name in ("epoch", "first_position", "count", "time")]
    promise = Promise(*numbers, *[bytes.fromhex(told[name][2:]) for name in ("previous", "root")])
    signed = SignedPromise(promise, bytes.fromhex(told["signature"][2:]))
    path = [bytes.fromhex(sibling[2:]) for sibling in told["path"]]
    sequencer = LocalSigner(keccak(b"sequencer")).address
    check_promise(DOMAIN, sequencer, signed, answer["position"], stored.hash, path)


async def test_promises_survive_kill_9(tmp_path: Path) -> None:
    load = Load()
    for _ in range(KILLS):
        await run_and_kill(load, tmp_path, load.rng.randrange(1, 120))
    core = open_core(tmp_path)
    core.builder.seal()
    assert len(load.answers) > KILLS
    for answer in load.answers:
        check(core, answer)
    last = max(load.answers, key=lambda answer: answer["position"])
    kept = find_promise(core.chain, last["position"])
    assert kept is not None and "0x" + kept.signed.signature.hex() == last["promise"]["signature"]
    assert ["0x" + sibling.hex() for sibling in kept.path] == last["promise"]["path"]
    assert len({answer["position"] for answer in load.answers}) == len(load.answers)
    core.close()
    core.chain.kv.close()
