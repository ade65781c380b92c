"""Dishonest and useless watchtowers, and who floods L1: everything public is theirs to copy, change, repeat and accuse.

    Copier    takes proofs out of the mempool and sends them at a higher fee (front-running)
    Mangler   changes a few bytes of proofs that it sees, and repeats old ones
    Accuser   a verifier that accuses right batches, with real witnesses
    Flooder   fills blocks at high fees, the inbox with dust and garbage, knocks on every door of Rollup, and writes
              down finality as soon as it may
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import trio
from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.config import Config
from node.errors import Temporary
from node.l1.bindings import BatchPosted, decode_event, decode_post_batch, encode_call, header_tuple
from node.l1.client import L1Client
from node.l1.fees import FeePolicy
from node.l1.intents import Intent, SendAborted, SenderConfig, TxReverted
from node.l1.sender import TxSender, open_sender
from node.l1.types import CallReverted, NodeRefused
from node.service import Host, Verifier, run_verifier
from node.stf import witness
from node.stf.commitments import BatchHeader, chunk_leaves, list_proof
from node.stf.engine import Engine
from node.stf.trie import MemoryTrie
from prover.proof import PROVE_CHUNK, pack_messages, selector
from tests.simulation.blocks import CHAIN_ID, SimSigner
from tests.simulation.node import BLOCK_TXS, GWEI

PROOF_GAS = 8_000_000
PROOF_TEXT_MIN = 1_000  # hex digits: less is no proof
SEEN_MAX = 512
HASTY = SenderConfig(confirmations=0, resubmit_s=24, poll_s=4, in_flight_max=4, fees=FeePolicy(tip_min=4 * GWEI))
UNLUCKY = (CallReverted, TxReverted, SendAborted, Temporary)


@dataclass
class Pest:
    """What the pests without a verifier share: a key, a connection, and where the contracts are."""

    name: str
    config: Config
    rollup: bytes
    verifier: bytes
    rng: Random
    signer: SimSigner = field(init=False)
    sent: int = 0
    proofs: deque[bytes] = field(default_factory=lambda: deque(maxlen=SEEN_MAX))
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.signer = SimSigner(self.name)

    async def _sending(self, host: Host, work: Any) -> None:
        """Work with a sender, again after L1 was away."""
        client = host.connect(self.config.l1)
        journal = host.open_journal(self.config.datadir / "journal")
        while True:
            try:
                async with open_sender(client, self.signer, journal, HASTY) as sender, trio.open_nursery() as nursery:
                    await work(client, sender, nursery)
            except* Temporary:
                pass
            await trio.sleep(15)

    async def _try(self, sender: TxSender, data: bytes) -> None:
        """Send a proof blindly; it may well revert."""
        self.sent += 1
        with suppress(*UNLUCKY):
            await sender.send(Intent(f"{self.name}-{self.rng.randbytes(8).hex()}", self.verifier, data, gas=PROOF_GAS))

    async def _fresh_proofs(self, client: L1Client) -> list[bytes]:
        """Proofs of others that wait in the mempool, each once."""
        found: list[bytes] = []
        for tx in await client.rpc("txpool_content"):
            ours = tx["from"] == "0x" + self.signer.address.hex()
            proves = tx["to"] == "0x" + self.verifier.hex() and len(tx["input"]) > PROOF_TEXT_MIN
            if proves and not ours and tx["hash"] not in self._seen:
                self._seen.add(tx["hash"])
                found.append(bytes.fromhex(tx["input"][2:]))
        self.proofs.extend(found)
        return found


class Copier(Pest):
    """See the module."""

    async def run(self, host: Host) -> None:
        """The process."""
        await self._sending(host, self._work)

    async def _work(self, client: L1Client, sender: TxSender, nursery: trio.Nursery) -> None:
        while True:
            for data in await self._fresh_proofs(client):
                if self.rng.random() < 0.5 and sender.in_flight < 3:
                    nursery.start_soon(self._try, sender, data)
            await trio.sleep(self.rng.uniform(2, 8))


class Mangler(Pest):
    """See the module."""

    async def run(self, host: Host) -> None:
        """The process."""
        await self._sending(host, self._work)

    async def _work(self, client: L1Client, sender: TxSender, nursery: trio.Nursery) -> None:
        while True:
            for data in await self._fresh_proofs(client):
                if self.rng.random() < 0.7 and sender.in_flight < 3:
                    nursery.start_soon(self._try, sender, self._mangled(data))
            if self.proofs and self.rng.random() < 0.1 and sender.in_flight < 3:
                nursery.start_soon(self._try, sender, self.rng.choice(self.proofs))
            await trio.sleep(self.rng.uniform(4, 12))

    def _mangled(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.rng.randint(1, 3)):
            changed[self.rng.randrange(4, len(changed))] ^= 1 << self.rng.randrange(8)
        return bytes(changed if self.rng.random() < 0.8 else changed[: self.rng.randrange(4, len(changed))])


class Accuser(Pest):
    """See the module."""

    async def run(self, host: Host) -> None:
        """The process: a verifier, with this beside it."""
        await run_verifier(self.config, on_ready=self._accuse, host=host)

    async def _accuse(self, verifier: Verifier) -> None:
        journal = verifier.host.open_journal(self.config.datadir / "journal")
        while True:
            try:
                async with open_sender(verifier.client, self.signer, journal, HASTY) as sender:
                    while True:
                        await trio.sleep(self.rng.uniform(20, 60))
                        data = await self._accusation(verifier)
                        if data is not None:
                            await self._try(sender, data)
            except Temporary:
                await trio.sleep(15)

    async def _accusation(self, verifier: Verifier) -> bytes | None:
        """A right batch, shown as a wrong one would be shown."""
        chain = verifier.chain
        record = chain.last_batch()
        if record is None or record.header is None or record.number < 2:
            return None
        transaction = await verifier.client.transaction(record.l1_tx)
        parent = verifier.pipeline.header(record.number - 1)
        if transaction is None or parent is None or chain.last_batch() != record:
            return None
        batch = decode_post_batch(transaction.input)
        overlay = MemoryTrie(base=chain.store.at_block(record.first_block - 1))
        if overlay.root() != parent.post_root:
            return None
        inbox, cursor = verifier.pipeline.inbox, record.header.inbox_cursor
        engine = Engine(
            overlay, chain.domain, lambda number: inbox.message(number) if number < cursor else None, strict=True)
        index = self.rng.randrange(len(batch.chunks))
        for chunk in batch.chunks[:index]:
            overlay.apply(engine.execute_chunk(chunk)[1].changes)
        first = engine.globals.cursor
        _receipts, result = engine.execute_chunk(batch.chunks[index])
        messages = [inbox.message(number) or b"" for number in range(first, engine.globals.cursor)]
        shown = witness.build(overlay, result.touched, result.ranges)
        leaves = chunk_leaves(batch.chunks, batch.roots)
        before: tuple[Any, ...] = (bytes(32), bytes(32), [])
        if index:
            before = (keccak(batch.chunks[index - 1]), batch.roots[index - 1], list_proof(leaves, index - 1))
        return selector("prove_chunk", PROVE_CHUNK) + encode(PROVE_CHUNK, (
            header_tuple(record.header), header_tuple(parent), (index, batch.roots[index], list_proof(leaves, index)),
            before, batch.chunks[index], pack_messages(messages), witness.encode(shown)))


class Flooder(Pest):
    """See the module."""

    async def run(self, host: Host) -> None:
        """The process."""
        client = host.connect(self.config.l1)
        posted: deque[BatchHeader] = deque(maxlen=64)
        looked = 0
        while True:
            await trio.sleep(self.rng.uniform(10, 40))
            try:
                head = await client.head()
                if looked:
                    for log in await client.logs(self.rollup, min(looked + 1, head.number), head.number):
                        event = decode_event(log.topics, log.data)
                        if isinstance(event, BatchPosted):
                            posted.append(event.header)
                looked = head.number
                flood = self.rng.random() < 0.06
                await self._burst(client, self.rng.randint(1, 3) * BLOCK_TXS if flood else 2, list(posted), flood)
                if flood:
                    await trio.sleep(120)
            except (Temporary, CallReverted):
                continue

    async def _burst(self, client: L1Client, count: int, posted: list[BatchHeader], flood: bool) -> None:
        tip = self.rng.randint(8, 30) * GWEI if flood else 2 * GWEI
        nonce = await client.nonce(self.signer.address, block="pending")
        base_fee = (await client.head()).base_fee
        for place in range(count):
            to, data = (self.signer.address, b"") if flood else self._knock(posted)
            raw = self.signer.sign_transaction({
                "chainId": CHAIN_ID, "nonce": nonce + place, "gas": 4_000_000, "value": 0, "data": data,
                "to": "0x" + to.hex(), "maxFeePerGas": tip + 4 * base_fee, "maxPriorityFeePerGas": tip})
            try:
                await client.send_raw(raw)
                self.sent += 1
            except NodeRefused:
                return

    def _knock(self, posted: list[BatchHeader]) -> tuple[bytes, bytes]:
        """A call that anybody may make, sense or nonsense."""
        choice = self.rng.randrange(9)
        if choice <= 2 and posted:
            return self.rollup, encode_call("finalize", self.rng.choice(posted[:3] if choice else posted))
        if choice == 3 and len(posted) > 1:
            header, parent = self.rng.choice(posted), self.rng.choice(posted)
            lied = replace(header, poster=self.signer.address) if self.rng.random() < 0.5 else header
            return self.rollup, encode_call("drop", lied, parent, self.signer.address)
        name = self.rng.choice(("evict", "freeze", "release_bond", "claim_reward", "leave_seat"))
        if choice == 4:
            return self.verifier, self.rng.randbytes(self.rng.randint(4, 600))
        if choice == 5:
            amount = self.rng.randint(1, 5) * 1_000_000
            return self.rollup, encode_call("deposit", self.rng.randint(0, 4), self.signer.address, amount)
        if choice == 6:
            return self.rollup, encode_call("force", self.rng.randbytes(self.rng.randint(1, 300)))
        return self.rollup, encode_call(name)
