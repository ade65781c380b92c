"""Operators: verifiers with a bond that also post. An honest one, and a villain who posts right and wrong batches.

An honest operator builds only on a head that its own verifier has executed and agreed with. A batch names its parent's
hash, so an honest batch on a wrong one cannot exist: if the head is wrong (or an L1 reorganisation replaced it), the
honest operator waits for the proof, and loses the seat with it, not the bond.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from node.config import Config
from node.derive.chain import Chain
from node.errors import Temporary
from node.l1.bindings import PostBatch, decode_result, encode_call, encode_post_batch, header_of
from node.l1.fees import FeePolicy
from node.l1.intents import Intent, SendAborted, SenderConfig, TxReverted
from node.l1.sender import TxSender, open_sender
from node.l1.types import CallReverted, L1Receipt
from node.service import Host, Verifier, run_verifier
from node.stf.commitments import BatchHeader, header_hash
from tests.contracts.world import BOND
from tests.simulation.blocks import SimSigner
from tests.simulation.drafts import Ground, after, draft, spoil

POST_GAS = 6_000_000
SENDING = SenderConfig(confirmations=0, resubmit_s=36, poll_s=4, fees=FeePolicy())
NOBODY = bytes(20)


@dataclass
class Operator:
    """Takes the seat when it is free, posts, and after a while leaves. ``wrong``: chance that a batch is wrong."""

    name: str
    config: Config
    rng: Random
    pause_s: tuple[float, float] = (4.0, 14.0)
    wrong: float = 0.0
    stays: tuple[int, int] = (1, 4)  # batches until it leaves the seat
    eager: float = 0.5  # chance at each look that it takes a free seat
    retired: bool = False  # posts right batches only, from now on
    signer: SimSigner = field(init=False)
    posted: int = 0
    _left: int = 0

    def __post_init__(self) -> None:
        self.signer = SimSigner(self.name)

    async def run(self, host: Host) -> None:
        """The process: a verifier, with this beside it."""
        await run_verifier(self.config, on_ready=self._operate, host=host)

    async def _operate(self, verifier: Verifier) -> None:
        journal = verifier.host.open_journal(verifier.config.datadir / "operator.journal")
        while True:
            try:
                async with open_sender(verifier.client, self.signer, journal, SENDING) as sender:
                    while True:
                        await self._attempt(_Desk(verifier, sender, self.rng))
                        await trio.sleep(self.rng.uniform(*self.pause_s))
            except Temporary:
                await trio.sleep(self.rng.uniform(*self.pause_s))

    async def _attempt(self, desk: _Desk) -> None:
        """Whatever goes wrong on L1, or with it: look again."""
        try:
            await self._turn(desk)
        except* (Temporary, CallReverted, TxReverted, SendAborted):
            pass

    async def _turn(self, desk: _Desk) -> None:
        holder: bytes = await desk.ask("seat_holder")
        if holder == NOBODY:
            if self.rng.random() >= self.eager:
                return
            async with trio.open_nursery() as nursery:  # the first batch follows in the same block, if all goes well
                nursery.start_soon(self._sit, desk)
                await self._build(desk)
        elif holder == self.signer.address:
            await self._build(desk)

    async def _build(self, desk: _Desk) -> None:
        ground = await desk.ground()
        if ground is not None:
            await self._post(desk, ground)

    async def _sit(self, desk: _Desk) -> None:
        bond = (await desk.ask("bond_of", self.signer.address))[0]
        await desk.send("seat", encode_call("take_seat", max(0, BOND - bond)))
        self._left = self.rng.randint(*self.stays)

    async def _post(self, desk: _Desk, ground: Ground) -> None:
        batch = draft(ground, self.rng)
        if batch is None:
            return
        if self.wrong and not self.retired and self.rng.random() < self.wrong:
            await self._strike(desk, ground, batch)
            return
        await desk.send("batch", encode_post_batch(batch))
        self.posted += 1
        self._left -= 1
        if self._left <= 0:
            await desk.send("leave", encode_call("leave_seat"))

    async def _strike(self, desk: _Desk, ground: Ground, batch: PostBatch) -> None:
        """Post a wrong batch, and perhaps more on it, or leave the seat so that somebody else sits on it."""
        wrong = spoil(batch, ground, self.rng)
        if wrong is None:
            return
        data = encode_post_batch(wrong)
        receipt = await desk.send("batch", data)
        self.posted += 1
        header = await desk.header(wrong, receipt)
        if header is None:
            return
        if self.rng.random() < 0.25:
            for _ in range(self.rng.randint(1, 2)):
                head = await desk.verifier.client.head()
                more = after(header, head.timestamp * 1_000, self.rng)
                header = await desk.header(more, await desk.send("batch", encode_post_batch(more))) or header
        if self.rng.random() < 0.15:
            await desk.send("leave", encode_call("leave_seat"))


@dataclass
class _Desk:
    """What an operator does on L1, through its own connection."""

    verifier: Verifier
    sender: TxSender
    rng: Random

    async def ask(self, name: str, *args: Any) -> Any:
        """A view of Rollup."""
        rollup = self.verifier.contract.address
        return decode_result(name, await self.verifier.client.call(rollup, encode_call(name, *args)))

    async def send(self, what: str, data: bytes) -> L1Receipt:
        """A transaction to Rollup, under a name of its own."""
        intent = Intent(f"{what}-{self.rng.randbytes(8).hex()}", self.verifier.contract.address, data, gas=POST_GAS)
        return await self.sender.send(intent)

    async def header(self, batch: PostBatch, receipt: L1Receipt) -> BatchHeader | None:
        """What L1 has stored for a posting; None if it is gone again."""
        block = await self.verifier.client.block(receipt.block_hash)
        if block is None:
            return None
        header = header_of(batch, block.timestamp, self.sender.address)
        stored = await self.ask("header_hash", batch.number)
        return header if stored == header_hash(header) else None

    async def ground(self) -> Ground | None:
        """The newest batch, if our verifier has agreed with exactly that one."""
        pipeline, chain = self.verifier.pipeline, self.verifier.chain
        number = await self.ask("head_number")
        stored = await self.ask("header_hash", number)
        l1 = await self.verifier.client.head()
        header = pipeline.header(number)
        if pipeline.progress.disputed is not None or header is None or header_hash(header) != stored:
            return None
        if not _stands_at(chain, header):
            return None
        return Ground(chain.store, header, pipeline.inbox, chain.domain, l1.timestamp * 1_000)


def _stands_at(chain: Chain, header: BatchHeader) -> bool:
    """Whether the state is the one after this batch: derivation may be in the middle of the next."""
    return chain.store.root() == header.post_root
