"""A trader's promises against what L1 has: kept, waiting, or broken, and then the proof.

Nothing but L1 and a chain derived from it is asked: the sequencer's word about its own promises is worth nothing.

    waiting     no batch that was found right here has reached the position, and its deadline has not passed
    kept        the promised transaction stands there, in a batch of the promise's tenure
    broken      another one does                                     -> prove_conflict
    late        the deadline has passed, or the seat was given up    -> prove_late
    void        a rollback or the freeze took the position away: nobody's fault but the fraud's
    elsewhere   the position was posted in another tenure, so the promise says nothing about it
    unbound     no bond answers for the key that signed it
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import trio

from node.derive import evidence
from node.derive.chain import BatchRecord, Chain
from node.derive.evidence import KeptPromise
from node.derive.promises import BadPromise, recover_signer
from node.derive.replay import PostedBatch
from node.errors import Critical
from node.l1 import bindings, courts
from node.l1.client import L1Client
from node.l1.courts import PROMISE_COURT
from node.l1.sender import Intent, TxSender
from node.stf.commitments import BatchHeader, genesis_header
from node.stf.engine import Engine
from node.stf.trie import MemoryTrie, TrieView, keccak

QUESTIONS_MAX: Final = 4_096

@dataclass(frozen=True, slots=True)
class Keepsake:
    """What a trader kept of an answer. ``time``: its L2 time, ms; ``data``: the transaction, empty if not known."""

    kept: KeptPromise
    time: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a promise, and the calldata for PromiseCourt that follows from it (empty: none)."""

    position: int
    state: str
    batch: int
    proof: bytes = b""


class PromiseBook:
    """Checks promises against a derived chain. L1 is asked each question once in ``memory_s`` seconds (0: every time),
    so that neither many promises nor many who ask about them make many calls."""

    def __init__(
        self, client: L1Client, rollup: bytes, court: bytes, chain: Chain, *, memory_s: float = 0.0
    ) -> None:
        self._client = client
        self._rollup = rollup
        self._court = court
        self._chain = chain
        self._memory_s = memory_s
        self._memory: dict[tuple[Any, ...], tuple[float, Any]] = {}

    async def check(self, keepsake: Keepsake, *, prove: bool = True) -> Verdict:
        """Compare one promise with L1; with ``prove``, calldata comes with what is broken or late. Raises LookupError
        if no tenure has its epoch, Temporary."""
        kept = keepsake.kept
        promise = kept.signed.promise
        tenure = await self._view("tenure", promise.epoch)
        operator, taken_at, left_at, ended_at, excused = tenure
        if int(operator, 16) == 0:
            raise LookupError(f"position {kept.position}: nobody has sat in epoch {promise.epoch}")
        if not await self._binds(bytes.fromhex(operator[2:]), keepsake):
            return Verdict(kept.position, "unbound", 0)
        reached = int(await self._view("head_position")) >> 64 & 2**64 - 1
        if kept.position < reached:
            record = self._record(kept.position)
            if record is None:
                return Verdict(kept.position, "waiting", 0)  # the batch is being derived, or disputed
            header = record.header
            assert header is not None, "derived batches have headers"
            mine = header.poster.hex() == operator[2:].lower() and taken_at <= header.posted_at
            if mine and (left_at == 0 or header.posted_at <= left_at):
                return self._compare(kept, record, prove)
            if left_at == 0 or ended_at > kept.position:
                return Verdict(kept.position, "elsewhere", record.number)
        if left_at:
            return Verdict(kept.position, "void" if excused else "late", 0,
                           b"" if excused else evidence.late(kept.signed))
        deadline_s, _claim_s = await self._ask("timings")
        now = await self._now()
        if now * 1_000 > promise.time + deadline_s * 1_000:
            return Verdict(kept.position, "late", 0, evidence.late(kept.signed))
        return Verdict(kept.position, "waiting", 0)

    async def claims(self, keepsake: Keepsake, victim: bytes) -> list[tuple[int, str, bytes]]:
        """What the victim can do now about slashes that broke this promise: (slash, "claim" or "pay", calldata)."""
        kept, found = keepsake.kept, []
        taken_at, left_at = (await self._view("tenure", kept.signed.promise.epoch))[1:3]
        operator = (await self._view("tenure", kept.signed.promise.epoch))[0]
        _deadline_s, claim_s = await self._ask("timings")
        now = await self._now()
        for number in range(await self._view("slash_count")):
            who, _pot, position, posted_at, at = await self._view("slash_at", number)
            inside = taken_at <= posted_at and (left_at == 0 or posted_at <= left_at)
            if who != operator or not inside or kept.position < position:
                continue
            parts = await self._ask("claims_of", number, victim)
            if now < at + claim_s and parts == 0 and keepsake.data:
                found.append((number, "claim", evidence.claim(number, kept, keepsake.time, keepsake.data)))
            elif now >= at + claim_s and parts:
                found.append((number, "pay", courts.encode_call(PROMISE_COURT, "pay", number, victim)))
        return found

    async def is_judged(self, epoch: int, state: str) -> bool:
        """Whether L1 has taken a proof of this kind for this tenure: it takes no second one."""
        return bool(await self._ask("slashed" if state == "broken" else "fined", epoch))

    async def send(self, sender: TxSender, what: str, data: bytes) -> str:
        """A proof or a claim to PromiseCourt; the transaction's hash. Raises what the sender raises."""
        receipt = await sender.send(Intent(f"{what} {secrets.token_hex(8)}", self._court, data))
        return "0x" + receipt.tx_hash.hex()

    # --- parts --------------------------------------------------------------------------------------------------------

    async def overdue_before(self, epoch: int) -> int:
        """Promises of this tenure that were given before this time (ms), and are not posted, are late or void."""
        left_at = (await self._view("tenure", epoch))[2]
        deadline_s, _claim_s = await self._ask("timings")
        return 2**64 if left_at else (await self._now() - deadline_s) * 1_000

    async def binds(self, keepsake: Keepsake) -> bool:
        """Whether the tenure's operator answers for the key that signed."""
        operator = (await self._view("tenure", keepsake.kept.signed.promise.epoch))[0]
        return int(operator, 16) != 0 and await self._binds(bytes.fromhex(operator[2:]), keepsake)

    async def _binds(self, operator: bytes, keepsake: Keepsake) -> bool:
        try:
            signer = recover_signer(self._chain.domain, keepsake.kept.signed)
        except BadPromise:
            return False
        return bool(await self._ask("may_sign", operator, signer))

    def _record(self, position: int) -> BatchRecord | None:
        block = self._chain.block_at(position)
        return None if block is None else self._chain.batch_of(block)

    def _compare(self, kept: KeptPromise, record: BatchRecord, prove: bool) -> Verdict:
        stored = self._chain.transaction(kept.position)
        assert stored is not None, "its block is there"
        if keccak(stored.data) == kept.tx_hash:
            return Verdict(kept.position, "kept", record.number)
        return Verdict(kept.position, "broken", record.number, self._conflict(kept, record) if prove else b"")

    def _conflict(self, kept: KeptPromise, record: BatchRecord) -> bytes:
        header = record.header
        assert header is not None, "derived batches have headers"
        blocks = self._chain.batch_blocks(record)
        chunks = [chunk for block in blocks for chunk in block.chunks]
        batch = PostedBatch(header, tuple(chunk.data for chunk in chunks), tuple(chunk.post_root for chunk in chunks),
                            record.l1_tx, record.l1_block)
        index, before = self._chunk_with(kept.position, batch, record.first_block)
        return evidence.conflict(kept, batch, self._parent(record.number), index, before)

    def _chunk_with(self, position: int, batch: PostedBatch, first_block: int) -> tuple[int, TrieView]:
        """The chunk that holds a position, and the state before it: the batch is executed again up to there."""
        before = MemoryTrie(base=self._chain.store.at_block(first_block - 1))
        engine = Engine(before, self._chain.domain, self._chain.message, strict=True)
        for index, chunk in enumerate(batch.chunks):
            _receipts, result = engine.execute_chunk(chunk)
            if engine.globals.position > position:
                return index, before
            before.apply(result.changes)
        raise Critical(f"position {position} is in none of the batch's chunks: the disk is damaged, derive anew")

    def _parent(self, number: int) -> BatchHeader:
        record = self._chain.batch(number - 1)
        if record is not None and record.header is not None:
            return record.header
        genesis = self._chain.header(0)
        assert genesis is not None and number == 1, "only the first batch has no batch before it"
        return genesis_header(genesis.state_root, self._chain.global_words(0))

    async def _view(self, name: str, *args: Any) -> Any:
        data = bindings.encode_call(name, *args)
        return bindings.decode_result(name, await self._call(self._rollup, data))

    async def _ask(self, name: str, *args: Any) -> Any:
        data = courts.encode_call(PROMISE_COURT, name, *args)
        return courts.decode_result(PROMISE_COURT, name, await self._call(self._court, data))

    async def _call(self, to: bytes, data: bytes) -> bytes:
        found: bytes = await self._once((to, data), lambda: self._client.call(to, data))
        return found

    async def _now(self) -> int:
        """L1's time, seconds."""
        now: int = (await self._once(("head",), self._client.head)).timestamp
        return now

    async def _once(self, question: tuple[Any, ...], ask: Callable[[], Awaitable[Any]]) -> Any:
        if not self._memory_s:
            return await ask()
        asked_at, answer = self._memory.get(question, (-self._memory_s, None))
        now = trio.current_time()
        if now - asked_at >= self._memory_s:
            answer = await ask()
            if len(self._memory) >= QUESTIONS_MAX:
                self._memory.clear()
            self._memory[question] = (now, answer)
        return answer
