"""What must hold through any reorganisation, checked from L1's own data and not by the services' word.

    promises      every promise ever given names a transaction; the chain that L1's bytes lead to has it at its position
    outcomes      a receipt differs from what it was only from the first transaction on that consumed a message which
                  L1's events, before and after, do not both list
    bonds         no accusation is accepted: equivocation, conflict, lateness, a chunk, a header; nobody was slashed
    followers     verifier and watchtower stand at the block that the sequencer calls its head, and L1's bytes lead to

The auditor derives with a database of its own, in memory, from empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import trio
from eth_abi.abi import encode

from node.derive import evidence
from node.derive.chain import Chain, execute_chunk
from node.derive.evidence import KeptPromise
from node.derive.pipeline import Pipeline
from node.derive.promises import check_promise
from node.derive.replay import PostedBatch
from node.errors import Temporary
from node.l1.bindings import header_tuple
from node.l1.types import CallReverted
from node.rpc.client import RpcError, RpcUnavailable
from node.sdk.kept import PromiseBook
from node.sdk.promises import parse_promise
from node.stf import state, witness
from node.stf.engine import Engine
from node.stf.trie import MemoryTrie
from node.storage.kv import MemoryKV
from prover.proof import PROVE_HEADER, Evidence, _chunk_proof, _consumed, selector
from tests.reorgs.network import BOND, OPERATOR, STRANGER, Network
from tests.sequencer.l1_world import promise_signer

SETTLE_S: Final = 60.0
LASTING: Final = ("position", "hash", "kind", "status", "statuses", "fills", "time", "withdrawal")
Outcome = dict[str, Any]


def lasting(receipt: Outcome) -> Outcome:
    """A receipt without how settled it is."""
    return {name: receipt[name] for name in LASTING}


def first_changed(before: Sequence[bytes], after: Sequence[bytes]) -> int:
    """The first message that L1 does not list as it did; the number of messages if it lists them all."""
    for number, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new:
            return number
    return min(len(before), len(after))


def first_consumer(outcomes: dict[int, Outcome], message: int) -> int:
    """Position of the transaction that consumed a message or one after it; one past the last if none did."""
    consumed = 0
    for position in sorted(outcomes):
        outcome = outcomes[position]
        if outcome["kind"] == "Inbox" and outcome["status"] != "NO_MESSAGE":
            consumed += 1
            if consumed > message:
                return position
    return len(outcomes)


class Auditor:
    """Keeps promises and outcomes as they are given, derives from L1, and compares."""

    def __init__(self, net: Network) -> None:
        self.net = net
        world = net.world
        self.chain = Chain.open(MemoryKV(), world.domain)
        self.pipeline = Pipeline(
            self.chain, world.chain.client, world.rollup, start_block=world.deployment.start_block, confirmations=0)
        self.kept: dict[int, list[KeptPromise]] = defaultdict(list)  # by position, all different ones
        self.outcomes: dict[int, Outcome] = {}
        self.checked = self.accusations = 0

    # --- collecting ---------------------------------------------------------------------------------------------------

    def keep(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What a trader was answered: its promise binds from now on."""
        signed, path = parse_promise(answer["promise"])
        self._keep(KeptPromise(signed, answer["position"], bytes.fromhex(answer["hash"][2:]), path))
        return answer

    def _keep(self, kept: KeptPromise) -> None:
        check_promise(
            self.chain.domain, promise_signer().address, kept.signed, kept.position, kept.tx_hash, list(kept.path))
        known = self.kept[kept.position]
        for other in known:
            assert other.tx_hash == kept.tx_hash, f"position {kept.position} was promised to two transactions"
        if all(other.signed != kept.signed for other in known):
            known.append(kept)

    async def collect(self, first: int) -> None:
        """Every promise and outcome from a position on, as the sequencer tells them now; its own transactions' too."""
        rpc = self.net.trader.rpc
        end = (await rpc.call("al_status"))["position"]
        for position in range(first, end):
            receipt = await rpc.call("al_receipt", [position])
            signed, path = parse_promise(await self._promise(position))
            self._keep(KeptPromise(signed, position, bytes.fromhex(receipt["hash"][2:]), path))
            self.outcomes[position] = lasting(receipt)

    async def _promise(self, position: int) -> dict[str, Any]:
        """A block may be sealed a moment before its last transactions are promised."""
        with trio.fail_after(SETTLE_S):
            while True:
                try:
                    found: dict[str, Any] = await self.net.trader.rpc.call("al_promise", [position])
                    return found
                except RpcError as error:
                    assert error.data["kind"] == "NotFound", error
                await trio.sleep(0.01)

    @property
    def promised_end(self) -> int:
        """One past the last promised position."""
        return max(self.kept, default=-1) + 1

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Mine until all that was promised is on L1, and all three services stand where L1's bytes lead."""
        with trio.fail_after(SETTLE_S):
            while not await self._is_settled():
                await self.net.l1.mine()
                await trio.sleep(0.04)

    async def _is_settled(self) -> bool:
        try:
            status = await self.net.keep_time()
            while await self.pipeline.step():
                pass
        except (RpcUnavailable, Temporary):  # the sequencer resets; L1 changed while it was read
            return False
        head = "0x" + self.chain.head_hash.hex()
        heads = status["heads"]
        if status["position"] < self.promised_end or not head == heads["unsafe"]["hash"] == heads["safe"]["hash"]:
            return False
        for follower in (self.net.verifier, self.net.tower):
            if (await follower.call("al_status"))["heads"]["safe"]["hash"] != head:
                return False
        return True

    # --- comparing ----------------------------------------------------------------------------------------------------

    def check_promises(self, first: int = 0) -> None:
        """The derived chain has the promised bytes at the promised positions."""
        for position in range(first, self.promised_end):
            found = self.chain.transaction(position)
            assert found is not None, f"position {position} was promised and is not on L1"
            for kept in self.kept.get(position, ()):
                assert kept.tx_hash == found.hash, f"L1 has another transaction at the promised position {position}"
                self.checked += 1

    async def check_outcomes(self, before: Sequence[bytes], after: Sequence[bytes]) -> int:
        """Receipts as the verifier tells them now, against what was told; takes them over. Returns how many differ."""
        told = self.outcomes
        affected = first_consumer(told, first_changed(before, after))
        differing = 0
        for position in range(max(0, affected - 40), len(told)):
            now = lasting(await self.net.verifier.call("al_receipt", [position]))
            if position < affected:
                assert now == told[position], f"position {position} came out differently, its messages are the same"
            assert now["hash"] == told[position]["hash"]
            differing += now != told[position]
            told[position] = now
        return differing

    async def check_bonds(self, *, slashes: int = 0) -> None:
        """Nobody took the operator's bond or seat."""
        world = self.net.world
        operator = world.chain.signer(OPERATOR).address
        assert (await world.view("bond_of", operator))[0] == BOND
        assert await world.view("slash_count") == slashes
        assert await world.view("seat_holder") == operator and await world.view("seat_epoch") == 1
        for follower in (self.net.verifier, self.net.tower):
            status = await follower.call("al_status")
            assert status["batches"]["disagreed"] == 0 and status["conserved"], status

    # --- accusing -----------------------------------------------------------------------------------------------------

    async def accuse(self, positions: Sequence[int]) -> None:
        """Everything that a malicious court-goer could try with these promises and their batches. None is accepted."""
        world = self.net.world
        court = await world.view("promise_court")
        book = PromiseBook(world.chain.client, world.rollup, court, self.chain)
        for position in positions:
            for kept in self.kept[position]:
                record = book._record(position)
                data = book._conflict(kept, record)
                await self._refused(court, data, "NO_CONFLICT")
                await self._refused(court, evidence.late(kept.signed), "NOT_LATE", "POSTED")
                for other in self.kept[position]:
                    await self._refused(court, evidence.equivocation(kept, other), "NO_CONFLICT")
        for number in {book._record(position).number for position in positions}:
            await self._accuse_batch(number)

    async def _accuse_batch(self, number: int) -> None:
        """Prove each chunk of an honest batch, and its header, as the prover would a wrong one."""
        chain, world = self.chain, self.net.world
        record = chain.batch(number)
        assert record is not None and record.header is not None
        parent = self.pipeline.header(number - 1)
        assert parent is not None
        chunks = [chunk for block in chain.batch_blocks(record) for chunk in block.chunks]
        batch = PostedBatch(record.header, tuple(chunk.data for chunk in chunks),
                            tuple(chunk.post_root for chunk in chunks), record.l1_tx, record.l1_block)
        view = chain.store.at_block(record.first_block - 1)
        evidence_of = Evidence(batch, parent, view, chain.domain, self.pipeline.inbox.message)
        overlay = MemoryTrie(base=view)
        end = record.header.inbox_cursor

        def message_at(message: int) -> bytes | None:
            return self.pipeline.inbox.message(message) if message < end else None

        engine = Engine(overlay, chain.domain, message_at, strict=True)
        verifier = await world.view("verifier")
        for index, data in enumerate(batch.chunks):
            cursor = engine.globals.cursor
            result = execute_chunk(engine, data).result
            messages = _consumed(message_at, cursor, engine.globals.cursor)
            proof = _chunk_proof(evidence_of, index, overlay, result, batch.roots[index], messages)
            await self._refused(verifier, proof.calldata, "NO_FRAUD")
            overlay.apply(result.changes)
        path = witness.build_path(overlay, state.GLOBAL_KEY)
        words = [int.from_bytes(path.value[at : at + 32], "big") for at in range(0, len(path.value), 32)]
        arguments = (header_tuple(record.header), header_tuple(parent), words, path.bits, path.siblings)
        header_proof = selector("prove_header", PROVE_HEADER) + encode(PROVE_HEADER, arguments)
        await self._refused(verifier, header_proof, "NO_FRAUD")

    async def _refused(self, to: bytes, data: bytes, *reasons: str) -> None:
        world = self.net.world
        try:
            await world.chain.client.call(to, data, sender=world.chain.signer(STRANGER).address)
        except CallReverted as error:
            assert error.reason.startswith(reasons), error.reason
            self.accusations += 1
        else:
            raise AssertionError(f"an honest operator can be accused: 0x{data[:4].hex()}")
