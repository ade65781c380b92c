"""A proof's dry run on the local EVM says what another EVM does of the same contracts: root, gas and reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
import trio
from eth_abi.abi import encode
from structlog.testing import capture_logs

from node.derive.replay import Fraud
from node.errors import Temporary
from node.l1.bindings import encode_call
from node.l1.devchain.executor import BlockEnv, CallRequest, Outcome
from node.l1.devchain.local import call_on
from node.l1.reverts import revert_reason
from node.l1.types import L1Block
from node.metrics import Metrics
from node.stf import witness
from node.stf.engine import Engine
from node.stf.trie import MemoryTrie
from prover import dry_run
from prover.dry_run import DryRun, Rehearsal
from prover.proof import Proof, pack_messages, selector
from sequencer.villains import KINDS, corrupt
from tests.evm import TX_GAS_MAX, Evm, Revert, compiled
from tests.prover.world import CourtWorld, Follower

MOCKS = Path(__file__).parent / "mocks"
EXECUTE = ("bytes32", "uint256", "bytes", "bytes", "bytes")


@dataclass
class EvmState:
    """pyrevm's state as a source."""

    evm: Evm

    def code(self, address: bytes) -> bytes:
        return self.evm.code(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self.evm.storage(address, slot)


@dataclass
class EvmNode:
    """pyrevm's state as an L1 client; ``trouble`` is raised by the reads of storage after ``patience`` of them."""

    evm: Evm
    asked: list[str] = field(default_factory=list)
    trouble: Callable[[], BaseException] | None = None
    patience: int = 0
    hangs: bool = False

    async def chain_id(self) -> int:
        return self.evm.chain_id

    async def head(self) -> L1Block:
        return L1Block(self.evm.number, b"\x01" * 32, b"\x02" * 32, self.evm.timestamp, 7)

    async def code(self, address: bytes, *, block: int) -> bytes:
        assert block == self.evm.number
        self.asked.append("code")
        return self.evm.code(address)

    async def storage(self, address: bytes, slot: int, *, block: int) -> int:
        assert block == self.evm.number
        self.asked.append("storage")
        if self.hangs:
            await trio.sleep_forever()
        if self.trouble is not None and self.asked.count("storage") > self.patience:
            raise self.trouble()
        return self.evm.storage(address, slot)


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    structlog.reset_defaults()


@pytest.fixture
def world() -> CourtWorld:
    world = CourtWorld()
    world.set_up()
    world.trade()
    return world


async def accuse(world: CourtWorld, kind: str) -> Proof:
    """Post a villain's batch; the proof against it."""
    world.post_as(corrupt(kind, world.batch(), world.context()), honest=False)
    follower = Follower(world)
    await follower.follow()
    return follower.proof()


def rehearse(world: CourtWorld, data: bytes, gas: int = TX_GAS_MAX, to: str | None = None) -> Outcome:
    env = BlockEnv(world.evm.number, world.evm.timestamp, bytes(20), 2**40, 0, bytes(32), ())
    to = world.verifier.address if to is None else to
    return call_on(EvmState(world.evm), world.evm.chain_id, env,
                   CallRequest(raw(world.prover.address), raw(to), data, 0, gas))


async def run(world: CourtWorld, node: EvmNode, data: bytes, **settings: float) -> Rehearsal | None:
    tool = DryRun(node, Metrics("watchtower", "test"), **settings)  # type: ignore[arg-type]
    return await tool.run(raw(world.verifier.address), data, raw(world.prover.address))


# --- the local EVM against pyrevm -------------------------------------------------------------------------------------


async def test_every_villains_proof_has_the_same_root_and_gas_here(world: CourtWorld) -> None:
    """The exact transaction, the drop included: what it will cost is known before it is sent."""
    honest, base, blocks = world.batch(), world.evm.snapshot(), len(world.l1.blocks)
    inbox = list(world.inbox)
    for kind in KINDS:
        world.post_as(corrupt(kind, honest, world.context()), honest=False)
        follower = Follower(world)
        await follower.follow()
        proof = follower.proof()
        here = rehearse(world, proof.calldata)
        there = world.send(proof.calldata)
        assert here.success, (kind, here.error)
        assert here.output == (b"" if proof.kind == Fraud.HEADER else proof.true), kind
        assert here.gas_used == there.gas_used, kind
        assert world.rollup.call("head_number") == 1
        world.evm.restore(base)
        base = world.evm.snapshot()
        world.inbox[:] = inbox
        del world.l1.blocks[blocks:]


def honest_chunks(world: CourtWorld) -> Iterator[tuple[bytes, bytes]]:
    """execute_chunk's calldata for each chunk of the next batch, and the root that it was posted with."""
    batch = world.batch()
    trie = MemoryTrie(base=world.states[world.taken])
    engine = Engine(trie, world.domain, world.message_at, strict=True)
    for chunk, root in zip(batch.chunks, batch.roots, strict=True):
        cursor, old_root = engine.globals.cursor, trie.root()
        result = engine.execute_chunk(chunk)[1]
        messages = [world.message_at(number) for number in range(cursor, engine.globals.cursor)]
        shown = witness.encode(witness.build(trie, result.touched, result.ranges))
        packed = pack_messages([message for message in messages if message is not None])
        arguments = (old_root, batch.inbox_cursor, chunk, packed, shown)
        yield selector("execute_chunk", EXECUTE) + encode(EXECUTE, arguments), root
        trie.apply(result.changes)


def test_honest_chunks_lead_to_their_posted_roots_here_too(world: CourtWorld) -> None:
    seen = 0
    for data, root in honest_chunks(world):
        here = rehearse(world, data)
        there = world.evm.message(world.verifier, data, keep=False)
        assert here.success, here.error
        assert here.output[:32] == root
        assert here.output == there.value, "work, bytes, leaves, and the gas that the contract has measured"
        assert here.gas_used == there.gas_used
        seen += 1
    assert seen > 2


async def test_a_wrong_witness_reverts_with_the_contracts_reason(world: CourtWorld) -> None:
    proof = await accuse(world, "wrong-root-middle")
    lies = [proof.calldata[:-40] + b"\x01" + proof.calldata[-39:]]
    lies += [proof.calldata[:-at] + bytes([proof.calldata[-at] ^ 1]) + proof.calldata[len(proof.calldata) - at + 1 :]
             for at in (200, 400, 700)]
    lies.append(proof.calldata[:5] + b"\x01" + proof.calldata[6:])
    reasons = set()
    for lie in lies:
        here = rehearse(world, lie)
        with pytest.raises(Revert) as there:
            world.evm.message(world.verifier, lie, sender=world.prover, keep=False)
        assert here.reverted
        assert (revert_reason(here.output) or here.output.hex()) == there.value.reason
        reasons.add(there.value.reason)
    assert any("root" in reason or "WITNESS" in reason for reason in reasons), reasons


async def test_too_little_gas_fails_as_there_and_nothing_is_kept(world: CourtWorld) -> None:
    proof = await accuse(world, "credit-from-nothing")
    needed = rehearse(world, proof.calldata).gas_used
    assert rehearse(world, proof.calldata).gas_used == needed, "the first run has left nothing behind"
    short = rehearse(world, proof.calldata, gas=needed // 2)
    with pytest.raises(Revert) as there:
        world.evm.message(world.verifier, proof.calldata, sender=world.prover, gas=needed // 2, keep=False)
    assert short.reverted and short.output == there.value.data == b"", "a part ran out of gas, and has no reason"
    assert short.gas_used == there.value.gas_used
    assert world.rollup.call("head_number") == 2


def test_another_account_looks_the_same_from_here(world: CourtWorld) -> None:
    """EXTCODESIZE, EXTCODEHASH and the original value of a slot that is written twice, as pyrevm has them."""
    probe = world.evm.deploy(compiled(MOCKS / "Probe.vy"), 41)
    for who in (world.rollup.address, world.prover.address, "0x" + "11" * 20):
        data = probe.calldata("look", who)
        here = rehearse(world, data, to=probe.address)
        there = world.evm.message(probe, data, sender=world.prover, keep=False)
        assert (here.output, here.gas_used) == (there.value, there.gas_used)


# --- the tool ---------------------------------------------------------------------------------------------------------


async def test_a_dry_run_reads_l1_as_it_goes_and_each_code_once(world: CourtWorld) -> None:
    proof = await accuse(world, "undebited-withdrawal")
    node = EvmNode(world.evm)
    metrics = Metrics("watchtower", "test")
    tool = DryRun(node, metrics)  # type: ignore[arg-type]
    found = await tool.run(raw(world.verifier.address), proof.calldata, raw(world.prover.address))
    assert found is not None
    assert (found.output, found.error, found.reads) == (proof.true, "", len(node.asked))
    codes = node.asked.count("code")
    assert codes >= 4, "FraudVerifier, its parts and Rollup"
    again = await tool.run(raw(world.verifier.address), proof.calldata, raw(world.prover.address))
    assert again is not None
    assert (again.output, again.gas) == (proof.true, found.gas)
    assert again.reads == found.reads - codes
    assert b"anchorline_dry_run_seconds_count 2.0" in metrics.render()
    assert world.send(proof.calldata).gas_used == found.gas


async def test_a_refusal_has_the_contracts_reason(world: CourtWorld) -> None:
    proof = await accuse(world, "wrong-root-first")
    world.send(proof.calldata)
    found = await run(world, EvmNode(world.evm), proof.calldata)
    assert found is not None
    assert found.error == "HEADER: not the stored one"


@pytest.mark.parametrize(("trouble", "reason"), [
    (lambda: Temporary("L1 node does not answer eth_getStorageAt"), "does not answer"),
    (lambda: RecursionError("a bug"), "RecursionError('a bug')"),
])
async def test_trouble_is_no_verdict(world: CourtWorld, trouble: Callable[[], BaseException], reason: str) -> None:
    proof = await accuse(world, "wrong-root-first")
    with capture_logs() as logs:
        assert await run(world, EvmNode(world.evm, trouble=trouble, patience=3), proof.calldata) is None
    (entry,) = [entry for entry in logs if entry["event"] == "dry_run_skipped"]
    assert reason in entry["reason"]


async def test_a_node_that_never_answers_is_not_waited_for(world: CourtWorld) -> None:
    proof = await accuse(world, "wrong-root-first")
    with capture_logs() as logs:
        assert await run(world, EvmNode(world.evm, hangs=True), proof.calldata, seconds_max=0.2) is None
    assert "not done after 0.2 s" in logs[-1]["reason"]


async def test_reads_are_bounded(world: CourtWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = await accuse(world, "wrong-root-first")
    monkeypatch.setattr(dry_run, "READS_MAX", 5)
    node = EvmNode(world.evm)
    with capture_logs() as logs:
        assert await run(world, node, proof.calldata) is None
    assert len(node.asked) == 5
    assert "more than 5" in logs[-1]["reason"]


async def test_a_refusal_without_a_reason_is_still_an_error(world: CourtWorld) -> None:
    """FraudVerifier has no such function."""
    found = await run(world, EvmNode(world.evm), encode_call("head_number"))
    assert found is not None
    assert found.error == "execution reverted"
