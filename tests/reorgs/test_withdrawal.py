"""Payouts and finality are reorganised: the payout, its finalization, or with them the batch that proves it; 1 to 64.

A withdrawal is paid once on any branch: what a reorganisation took back can be paid again, and then not a second time.
Where the batch is gone too, it is posted anew, and its window begins anew: until that has passed nobody calls it final,
neither L1 nor our nodes.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

from node.l1 import bindings
from node.l1.types import CallReverted
from node.sdk.l1 import header_argument
from tests.reorgs.network import PATIENT, STRANGER, TRADERS, Network, deployed, running
from tests.reorgs.oracle import Auditor
from tests.reorgs.play import begin, check, each, finish, trade
from tests.system.test_loop import RECIPIENT, withdraw

WINDOW_S = 20
AMOUNT = 1_000_000
TIMINGS = msgspec.structs.replace(PATIENT, challenge_window_s=WINDOW_S)
FORMS = ("payout", "batch")


async def requested(net: Network, auditor: Auditor) -> int:
    """A withdrawal on L2, settled; its number."""
    start = auditor.promised_end
    await trade(net, auditor)
    answer = auditor.keep(await withdraw(net.trader, 2, "bob", AMOUNT))
    assert answer["status"] == "OK"
    await auditor.settle()
    await auditor.collect(start)
    return int(auditor.outcomes[answer["position"]]["withdrawal"])


async def proof_of(net: Network, number: int) -> Any:
    """As the verifier gives it, once it calls the batch final."""
    with trio.fail_after(60):
        while True:
            found = SimpleNamespace(**await net.verifier.call("al_withdrawalProof", [number]))
            if found.header is not None:
                return found
            await net.l1.mine()
            await trio.sleep(0.02)


def payout(proof: Any) -> bytes:
    return bindings.encode_call(
        "withdraw", header_argument(proof.header), proof.id, RECIPIENT, proof.amount, bytes.fromhex(proof.bits[2:]),
        [bytes.fromhex(item[2:]) for item in proof.siblings])


async def refused(net: Network, data: bytes) -> str:
    """Why L1 would refuse a transaction."""
    world = net.world
    with pytest.raises(CallReverted) as caught:
        await world.chain.client.call(world.rollup, data, sender=world.chain.signer(STRANGER).address)
    return caught.value.reason


async def held(net: Network) -> int:
    """The recipient's tokens."""
    token = bytes.fromhex(net.world.deployment.token[2:])
    data = bytes.fromhex("70a08231") + bytes(12) + RECIPIENT
    return int.from_bytes(await net.world.chain.client.call(token, data), "big")


async def pay(net: Network, proof: Any) -> None:
    """Finalize, then pay: a block each."""
    rollup = net.world.rollup
    await net.world.send(TRADERS[0], [
        (rollup, bindings.encode_call("finalize", header_argument(proof.header))), (rollup, payout(proof))])
    assert await net.world.view("is_paid", proof.id)
    assert (await refused(net, payout(proof))).startswith("PAID")


async def finality_is_l1s(net: Network) -> None:
    """No node calls final what L1 does not."""
    head = await net.world.chain.client.head()
    for node in (net.trader.rpc, net.verifier, net.tower):
        for batch in await node.call("al_batches", {"first": 1, "count": 100}):
            if batch["finalized"]:
                header = await header_of(net, batch["number"])
                assert header.posted_at + WINDOW_S < head.timestamp, f"batch {batch['number']} is not final"


async def header_of(net: Network, number: int) -> Any:
    found = [bindings.decode_event(log.topics, log.data) for log in await net.l1.logs("BatchPosted")]
    return next(event.header for event in reversed(found) if event.header.number == number)


async def one_depth(net: Network, auditor: Auditor, depth: int, form: str) -> None:
    before_paid = await held(net)
    number = await requested(net, auditor)
    if form == "payout":
        await net.l1.mine(64)
    posted = (await net.l1.logs("BatchPosted"))[-1].block_number
    await net.l1.jump(WINDOW_S + 1)
    await net.l1.mine()
    proof = await proof_of(net, number)
    await pay(net, proof)
    assert await held(net) == before_paid + AMOUNT
    paid = await net.l1.number()
    if form == "payout":
        await net.l1.mine(depth - 1)
        first = paid - (depth > 1)
    else:
        await net.l1.mine(depth - (paid - posted + 1))
        first = posted
    size = await net.l1.number() - first + 1
    before = await net.l1.messages()
    await net.l1.reorg(size if form == "batch" else depth)
    after, survived = await net.l1.messages(), await net.posted()
    assert not await net.world.view("is_paid", number) and await held(net) == before_paid
    if form == "batch":
        reason = await refused(net, payout(proof))
        assert reason.startswith(("HEADER", "NOT_FINAL")), reason
    await check(net, auditor, before, after, survived)
    await finality_is_l1s(net)
    await net.l1.jump(WINDOW_S + 1)
    await net.l1.mine()
    await pay(net, await proof_of(net, number))
    assert await held(net) == before_paid + AMOUNT


@pytest.mark.parametrize("rounds", each(FORMS))
async def test_payouts_come_and_go(tmp_path: Path, rounds: list[tuple[int, str]]) -> None:
    async with deployed(tmp_path, TIMINGS) as world, running(world) as net:
        auditor = await begin(net)
        for depth, form in rounds:
            await one_depth(net, auditor, depth, form)
        await finish(net, auditor)
