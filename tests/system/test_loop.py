"""The whole loop with the real services, on the embedded L1 and on anvil: trade, promise, anchor, verify, withdraw.

A verifier follows from the first block; another starts from an empty disk in the middle of the run. Both know nothing
but L1, and both reach the sequencer's roots.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from node.l1 import bindings
from node.rpc.client import HttpClient
from node.sdk.l1 import header_argument
from node.service import run_verifier
from node.stf import encoding
from node.stf.types import BUY, SELL
from tests.sequencer.l1_world import TRADERS, Trader, World, deployed, wait_for
from tests.sequencer.test_service import anchor_all, open_accounts, sequencing
from tests.stf.world import address, private_key, sign

RECIPIENT = bytes.fromhex("77" * 20)


@asynccontextmanager
async def verifying(world: World, name: str) -> AsyncIterator[HttpClient]:
    """A running verifier with a data folder of its own."""
    config = replace(world.config(), datadir=world.folder / name)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(run_verifier, config))
        async with HttpClient(bound.http_url) as rpc:
            yield rpc
        nursery.cancel_scope.cancel()


async def agrees(verifier: HttpClient, trader: Trader, block: int) -> None:
    """The verifier derives the block, with the sequencer's hash and root."""
    await wait_for(lambda: verifier.call("al_status"), lambda s: s["heads"]["safe"]["number"] >= block)
    ours, theirs = await verifier.call("al_block", [block]), await trader.rpc.call("al_block", [block])
    assert (ours["hash"], ours["state_root"]) == (theirs["hash"], theirs["state_root"])
    status = await verifier.call("al_status")
    assert status["conserved"] and status["batches"]["disagreed"] == 0 and status["roots"]["agreed"] > 0


async def withdraw(trader: Trader, account: int, name: str, amount: int) -> dict[str, Any]:
    """A signed withdrawal over RPC."""
    now = trader.now_ms()
    trader.nonce = max(trader.nonce + 1, now)
    encoding.set_domain(trader.domain)
    key = private_key(name)
    recipient = int.from_bytes(RECIPIENT, "big")
    digest = encoding.withdraw_digest(account, trader.nonce, now + 60_000, recipient, amount)
    answer: dict[str, Any] = await trader.rpc.call("al_sendWithdraw", {
        "account": account, "nonce": trader.nonce, "expiry": now + 60_000, "recipient": "0x" + RECIPIENT.hex(),
        "amount": amount, "signer": "0x" + address(key).to_bytes(20, "big").hex(),
        "signature": "0x" + sign(key, digest).hex()})
    return answer


async def finalized_proof(verifier: HttpClient, withdrawal: int) -> Any:
    """What Rollup.withdraw takes, once the challenge window has passed."""
    proof = await wait_for(
        lambda: verifier.call("al_withdrawalProof", [withdrawal]), lambda p: p["header"] is not None, seconds=60)
    return SimpleNamespace(**proof)


@pytest.mark.parametrize("kind", ["embedded", "anvil"])
async def test_the_loop(tmp_path: Path, kind: str) -> None:
    async with deployed(tmp_path, kind) as world, sequencing(world) as trader, verifying(world, "early") as early:
        await open_accounts(world, trader)
        await trader.price()
        await trader.place(1, "alice", SELL, 600_100, 50)
        await trader.place(2, "bob", BUY, 600_100, 20)
        first = await anchor_all(trader)
        await agrees(early, trader, first)
        answer = await withdraw(trader, 2, "bob", 1_000_000)
        assert answer["status"] == "OK"
        async with verifying(world, "late") as late:
            await trader.place(1, "alice", SELL, 600_200, 50)
            last = await anchor_all(trader, answer["position"])
            await agrees(late, trader, last)
            await agrees(early, trader, last)
            proof = await finalized_proof(late, 1)
        call = bindings.encode_call(
            "withdraw", header_argument(proof.header), proof.id, RECIPIENT, proof.amount,
            bytes.fromhex(proof.bits[2:]), [bytes.fromhex(item[2:]) for item in proof.siblings])
        await world.send(TRADERS[0], [(world.rollup, call)])
        assert await world.view("is_paid", 1)


async def test_a_verifier_restarted_in_the_middle_goes_on(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as trader:
        await open_accounts(world, trader)
        await trader.price()
        for round_number in range(3):
            await trader.place(1, "alice", SELL, 600_100 + round_number, 50)
            block = await anchor_all(trader)
            async with verifying(world, "restarted") as verifier:
                await agrees(verifier, trader, block)
