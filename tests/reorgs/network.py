"""A whole network on anvil whose L1 the test reorganises: sequencer, verifier and watchtower in one nursery.

anvil calls the block ``SLOTS`` below its newest one safe, and the one 2·``SLOTS`` below finalized. With 32 a
reorganisation of 1 to 32 blocks takes what is not safe yet, one of 33 to 64 also what the sequencer has consumed, and
one block more would break finality. Blocks are mined for transactions as they come, and by the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from node.config import Config
from node.l1 import bindings, courts
from node.l1.bindings import MessageEnqueued
from node.l1.courts import PROMISE_COURT
from node.l1.deploy import deploy
from node.l1.deployment import Plan, Timings
from node.l1.journal import FileJournal
from node.l1.sender import open_sender
from node.l1.types import L1Log, NodeRefused
from node.rpc.client import HttpClient
from node.service import run_verifier
from prover import service as watchtower
from sequencer import service as sequencer
from tests.l1.chains import l1_chain
from tests.sequencer.l1_world import BOND, OPERATOR, SENDER, TIMINGS, TRADERS, Trader, World, promise_signer, wall_ms
from tests.stf.world import address, private_key

SLOTS: Final = 32
DEPTH_MAX: Final = 2 * SLOTS
AHEAD_S: Final = 5  # of L1's clock, so that L2 blocks need not wait for a second to end before they may be posted
TOWER: Final = 5
STRANGER: Final = 6
PATIENT: Final = msgspec.structs.replace(TIMINGS, challenge_window_s=3_600)


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that L1 had: its signed bytes (hex) and whose it is."""

    raw: str
    sender: bytes


@dataclass(slots=True)
class L1:
    """What a test does to the chain."""

    world: World

    async def mine(self, blocks: int = 1) -> None:
        if blocks > 0:
            await self.world.chain.rpc("anvil_mine", hex(blocks))

    async def pause(self) -> None:
        """Transactions wait; only ``mine`` makes blocks."""
        await self.world.chain.automine(False)

    async def resume(self) -> None:
        """A block for every transaction that comes."""
        await self.world.chain.automine(True)

    async def go_on(self) -> None:
        """A block for every transaction, and one for those that wait."""
        await self.world.chain.automine(True)
        await self.mine()

    async def number(self) -> int:
        return (await self.world.chain.client.head()).number

    async def messages(self) -> list[bytes]:
        """The inbox, as events tell it now."""
        logs = await self.logs("MessageEnqueued")
        events = [bindings.decode_event(item.topics, item.data) for item in logs]
        return [event.message for event in events if isinstance(event, MessageEnqueued)]

    async def logs(self, event: str) -> list[L1Log]:
        """All events of a kind, oldest first."""
        return await self.world.chain.client.logs(
            self.world.rollup, 0, await self.number(), [bindings.topic(event)])

    async def since(self, block: int) -> list[Sent]:
        """The transactions of blocks from ``block`` on, in order."""
        found = []
        for number in range(block, await self.number() + 1):
            shown = await self.world.chain.rpc("eth_getBlockByNumber", hex(number), True)
            for item in shown["transactions"]:
                raw = await self.world.chain.rpc("eth_getRawTransactionByHash", item["hash"])
                found.append(Sent(raw, bytes.fromhex(item["from"][2:])))
        return found

    async def offer(self, sent: Sent) -> None:
        """Give a signed transaction to the pool; one whose nonce has another user by now is refused."""
        with suppress(NodeRefused):
            await self.world.chain.rpc("eth_sendRawTransaction", sent.raw)

    async def reach(self, time_ms: int) -> None:
        """A block of a later time than this, unless the newest is."""
        if time_ms > (await self.world.chain.client.head()).timestamp * 1_000:
            await self.world.chain.rpc("evm_setNextBlockTimestamp", time_ms // 1_000 + 1)
            await self.mine()

    async def jump(self, seconds: int) -> None:
        """L1's clock goes ahead."""
        await self.world.chain.rpc("evm_increaseTime", seconds)

    async def reorg(self, depth: int, again: Sequence[Sent] = ()) -> None:
        """Replace the newest ``depth`` blocks by as many others; ``again`` stand in the new branch, a block each as
        long as there are enough. All others are lost, from the pool too."""
        pairs = [[sent.raw, min(place, depth - 1)] for place, sent in enumerate(again)]
        await self.world.chain.rpc("anvil_reorg", depth, pairs)


@dataclass(slots=True)
class Network:
    """Running services and their clients."""

    world: World
    l1: L1
    trader: Trader
    verifier: HttpClient
    tower: HttpClient
    l2_ms: int = 0

    async def posted(self) -> int:
        """Transactions that are on L1."""
        return int(await self.world.view("head_position") >> 64 & 2**64 - 1)

    async def post_all(self, end: int) -> None:
        """Wait until the first ``end`` transactions are on L1, with few L1 blocks, while L1 is paused."""
        rounds = 0
        with trio.fail_after(60):
            while await self.posted() < end:
                await self.keep_time()
                pool = await self.world.chain.rpc("txpool_status")
                rounds += 1
                if int(pool["pending"], 16) or rounds % 10 == 0:  # a sender may wait for confirmations
                    await self.l1.mine()
                await trio.sleep(0.02)

    async def keep_time(self) -> dict[str, Any]:
        """Where L2 time is ahead of L1's (repeated blocks add to a message's later time), let L1's clock jump there: L1
        takes no L2 block from its future. Returns the sequencer's status. Raises RpcUnavailable while it resets."""
        status: dict[str, Any] = await self.trader.rpc.call("al_status")
        self.l2_ms = status["heads"]["unsafe"]["time"]
        await self.l1.reach(self.l2_ms)
        return status

    def now_ms(self) -> int:
        """The clock that traders follow: L2's where it is ahead of ours."""
        return max(wall_ms(), self.l2_ms)


@asynccontextmanager
async def deployed(folder: Path, timings: Timings) -> AsyncIterator[World]:
    """A deployed rollup on anvil with a seated operator; no service runs yet."""
    publishers = tuple(address(private_key(f"publisher {slot}")).to_bytes(20, "big") for slot in range(3))
    async with l1_chain("anvil", slots_in_an_epoch=SLOTS) as chain:
        journal = FileJournal(folder / "deploy.journal")
        async with open_sender(chain.client, chain.signer(0), journal, SENDER) as sender:
            deployment = await deploy(chain.client, sender, Plan(publishers, timings))
        journal.close()
        world = World(chain, deployment, folder)
        for index in (OPERATOR, *TRADERS, TOWER):
            await world.fund(index)
        court = await world.view("promise_court")
        await world.send(OPERATOR, [
            (world.rollup, bindings.encode_call("take_seat", BOND)),
            (court, courts.encode_call(PROMISE_COURT, "authorize_signer", promise_signer().address))])
        await chain.rpc("evm_increaseTime", AHEAD_S)
        await chain.rpc("anvil_mine", hex(DEPTH_MAX + SLOTS))
        yield world


def config_of(world: World, name: str, **sections: Any) -> Config:
    """One service's configuration: quick to look, quick to post."""
    quick: dict[str, Any] = {
        "l1": {"poll_ms": 20}, "batcher": {"post_ms": 100}, "sequencer": {"block_ms": 20, "unanchored_ms_max": 60_000}}
    for key, section in sections.items():
        quick[key] = quick.get(key, {}) | section
    config = replace(world.config(**quick), datadir=world.folder / name)
    tower = replace(config.watchtower, strategy="defend", confirmations=0, resubmit_ms=1_000)
    return replace(config, watchtower=tower)


@asynccontextmanager
async def running(world: World, **sections: Any) -> AsyncIterator[Network]:
    """The three services on a deployed rollup; ``sections`` change the sequencer's configuration."""
    async with trio.open_nursery() as nursery:
        tower = await nursery.start(partial(
            watchtower.run, config_of(world, "tower"), world.chain.signer(TOWER)))
        verifier = await nursery.start(partial(run_verifier, config_of(world, "verifier")))
        bound = await nursery.start(partial(
            sequencer.run, config_of(world, "sequencer", **sections), promise_signer(), world.chain.signer(OPERATOR)))
        async with (HttpClient(bound.http_url) as rpc, HttpClient(verifier.http_url) as following,
                    HttpClient(tower.http_url) as watching):
            net = Network(world, L1(world), Trader(rpc, world.domain), following, watching)
            net.trader.now_ms = net.now_ms
            yield net
        nursery.cancel_scope.cancel()
