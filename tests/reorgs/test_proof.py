"""A wrong batch and its proof are reorganised: the proof alone, or both; depths 1 to 64, one watchtower throughout.

The operator is the test here: it posts a wrong batch, which the watchtower proves wrong in one transaction. L1 takes
the proof back: the wrong batch stands again, and falls again. L1 takes both: nothing was wrong, and no bond is lost.
Either way the honest batch comes next, and stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio

from node.derive.chain import BatchRecord, Chain
from node.l1 import bindings
from node.l1.bindings import PostBatch, encode_post_batch, header_of
from node.rpc.client import HttpClient
from node.service import run_verifier
from node.stf.commitments import header_hash, unpack_position
from node.storage.kv import MemoryKV
from prover import service as watchtower
from sequencer.batcher import new_record, parent_header, plan_batch, post_arguments
from sequencer.builder import Builder, Limits
from sequencer.villains import KINDS, Context, Unsuitable, corrupt
from tests.reorgs.network import BOND, L1, OPERATOR, PATIENT, SLOTS, TOWER, TRADERS, config_of, deployed
from tests.reorgs.play import each
from tests.sequencer.l1_world import World, wait_for
from tests.system.test_loop import verifying

FORMS = ("proof", "both")


@dataclass
class Operator:
    """The seat's holder: an honest chain in memory, and what it posts instead of it. It consumes what L1 had at the
    start, and nothing later, so that no reorganisation changes what is honest."""

    world: World
    l1: L1
    chain: Chain
    now_ms: int = 0
    messages: list[bytes] = field(default_factory=list)
    kinds: list[str] = field(default_factory=lambda: list(KINDS))

    async def begin(self) -> None:
        self.builder = Builder(
            self.chain, Limits(overdue_ms=10**12), lambda: self.now_ms, lambda _kind, _content: None)
        self.messages = await self.l1.messages()
        for number, message in enumerate(self.messages):
            self.builder.add_message(number, message)
        await self.post_honest(await self.seal())

    async def seal(self) -> tuple[BatchRecord, PostBatch]:
        """A block as a batch, well before L1's time, since a new branch may be younger than the old one."""
        self.now_ms = ((await self.world.chain.client.head()).timestamp - 60) * 1_000
        self.builder._ensure_open()
        assert self.builder.seal() is not None
        time_ms = self.chain.head.time
        plan = plan_batch(self.chain, config_of(self.world, "operator").batcher, now_ms=time_ms, l1_time_ms=time_ms)
        assert plan is not None
        record = new_record(self.chain, plan)
        return record, post_arguments(self.chain, record)

    async def villain(self, record: BatchRecord, honest: PostBatch) -> PostBatch:
        """The batch, wrong in the next way that it gives an opportunity for."""
        head = await self.world.chain.client.head()
        listed = dict(enumerate(await self.l1.messages()))
        view = self.chain.store.at_block(record.first_block - 1)
        parent = parent_header(self.chain, record.number)
        context = Context(view, self.world.domain, listed.get, head.timestamp * 1_000, parent)
        for _ in range(len(self.kinds)):
            kind = self.kinds.pop(0)
            self.kinds.append(kind)
            try:
                return corrupt(kind, honest, context)
            except Unsuitable:
                continue
        raise AssertionError("no villain finds an opportunity")

    async def post_honest(self, batch: tuple[BatchRecord, PostBatch]) -> None:
        record, honest = batch
        await self.post(honest)
        head = await self.world.chain.client.head()
        header = header_of(honest, head.timestamp, self.world.chain.signer(OPERATOR).address)
        assert await self.world.view("header_hash", record.number) == header_hash(header)
        self.chain.put_batch(BatchRecord(
            record.number, record.first_block, record.last_block, record.parent, 0, header))

    async def post(self, batch: PostBatch) -> int:
        """Post it as soon as L1's time is not behind its own. Returns the block."""
        await self.l1.reach(unpack_position(batch.globals[0]).l2_time_ms)
        return await self.send(encode_post_batch(batch))

    async def send(self, data: bytes) -> int:
        """A transaction, in a block of its own; L1 is paused. Returns the block."""
        sender = self.world.chain.signer(OPERATOR).address
        nonce = await self.world.chain.client.nonce(sender, block="pending")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.world.send, OPERATOR, [(self.world.rollup, data)])
            await wait_for(lambda: self.world.chain.client.nonce(sender, block="pending"), lambda n: n > nonce)
            await self.l1.mine()
        return await self.l1.number()


@dataclass
class Scene:
    """The operator, and who watches it."""

    world: World
    l1: L1
    operator: Operator
    tower: HttpClient
    verifier: HttpClient

    async def proof_waits(self) -> None:
        """The watchtower's transaction is in the pool."""
        client, who = self.world.chain.client, self.world.chain.signer(TOWER).address
        mined = await client.nonce(who)
        await wait_for(lambda: client.nonce(who, block="pending"), lambda n: n > mined)

    async def until_dropped(self, number: int) -> int:
        """Mine until the batch before ``number`` is L1's head again; the block of the drop."""
        with trio.fail_after(60):
            while await self.world.view("head_number") >= number:
                await self.l1.mine()
                await trio.sleep(0.02)
        return (await self.l1.logs("BatchesDropped"))[-1].block_number

    async def agree(self) -> None:
        """Both followers stand at the operator's head, with nothing disputed."""
        head = "0x" + self.operator.chain.head_hash.hex()
        for follower in (self.tower, self.verifier):
            with trio.fail_after(60):
                while True:
                    status = await follower.call("al_status")
                    if status["heads"]["safe"]["hash"] == head and status["batches"]["disputed"] is None:
                        break
                    await self.l1.mine()
                    await trio.sleep(0.02)
            assert status["conserved"]


async def one_depth(scene: Scene, depth: int, form: str) -> None:
    world, l1, operator = scene.world, scene.l1, scene.operator
    slashes, me = await world.view("slash_count"), world.chain.signer(OPERATOR).address
    record, honest = await operator.seal()
    wrong = await operator.villain(record, honest)
    first = await operator.post(wrong)
    await scene.proof_waits()
    if form == "proof" or depth > 1:
        dropped = await scene.until_dropped(record.number)
        assert (await world.view("bond_of", me))[0] == 0
        first = dropped if form == "proof" else first
    await l1.mine(depth - (await l1.number() - first + 1))
    assert await l1.number() - first + 1 == depth
    await l1.reorg(depth)
    assert await world.view("slash_count") == slashes and (await world.view("bond_of", me))[0] == BOND
    assert await world.view("head_number") == record.number - (form == "both")
    if form == "proof":
        await scene.until_dropped(record.number)
        assert await world.view("slash_count") == slashes + 1 and (await world.view("bond_of", me))[0] == 0
        await operator.send(bindings.encode_call("take_seat", BOND))
    await operator.post_honest((record, honest))
    await scene.agree()
    assert await world.view("slash_count") == slashes + (form == "proof")
    assert await world.view("head_number") == record.number and (await world.view("bond_of", me))[0] == BOND


@pytest.mark.parametrize("rounds", each(FORMS))
async def test_proofs_come_and_go(tmp_path: Path, rounds: list[tuple[int, str]]) -> None:
    async with deployed(tmp_path, PATIENT) as world, trio.open_nursery() as nursery:
        for index, name in zip(TRADERS, ("alice", "bob"), strict=True):
            await world.deposit(index, name)
        l1 = L1(world)
        await l1.mine(2 * SLOTS)
        await l1.pause()
        operator = Operator(world, l1, Chain.open(MemoryKV(), world.domain))
        await operator.begin()
        tower = await nursery.start(partial(watchtower.run, config_of(world, "tower"), world.chain.signer(TOWER)))
        verifier = await nursery.start(partial(run_verifier, config_of(world, "verifier")))
        async with HttpClient(tower.http_url) as watching, HttpClient(verifier.http_url) as following:
            scene = Scene(world, l1, operator, watching, following)
            await scene.agree()
            await l1.mine(2 * SLOTS)
            for depth, form in rounds:
                await one_depth(scene, depth, form)
            async with verifying(world, "fresh") as fresh:
                head = "0x" + operator.chain.head_hash.hex()
                await wait_for(lambda: fresh.call("al_status"), lambda s: s["heads"]["safe"]["hash"] == head)
        nursery.cancel_scope.cancel()
