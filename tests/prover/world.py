"""A rollup on a fast EVM as its verifiers see it: real contracts, real L1 events, a chain derived from them.

``CourtWorld`` is the operator's side and L1 at once: every transaction becomes a block that ``EvmL1`` shows in the L1
client's words. ``Follower`` is a verifier with the prover's evidence: it derives, disputes, and answers with proofs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_hash.auto import keccak

from node.derive.chain import Chain
from node.derive.pipeline import Pipeline
from node.derive.replay import Dispute
from node.l1.bindings import PostBatch, decode_post_batch, encode_post_batch, header_of
from node.l1.types import L1Block, L1Log, L1Transaction
from node.stf.commitments import ZERO32, BatchHeader
from node.storage.kv import MemoryKV
from prover.proof import Evidence, Proof, finish, gather, prove
from sequencer.villains import Context
from tests.contracts.world import BOND
from tests.differential.l1 import RollupWorld
from tests.evm import Receipt
from tests.stf.world import address as address_number
from tests.stf.world import buy, private_key, sell

BOB_FILL_MAX = 600_300


@dataclass
class Mined:
    block: L1Block
    logs: list[L1Log]
    transaction: L1Transaction


@dataclass
class EvmL1:
    """What an L1 client would say of the transactions so far: one block each."""

    blocks: list[Mined] = field(default_factory=list)

    def mine(self, receipt: Receipt, timestamp: int, to: bytes, sender: bytes, data: bytes) -> bytes:
        number = len(self.blocks)
        parent = self.blocks[-1].block.hash if self.blocks else ZERO32
        digest = keccak(parent + number.to_bytes(8, "big"))
        tx_hash = keccak(digest + b"transaction")
        logs = [
            L1Log(bytes.fromhex(log.address[2:]), tuple(log.topics), log.data, number, digest, tx_hash, 0, index)
            for index, log in enumerate(receipt.logs)
        ]
        transaction = L1Transaction(tx_hash, sender, to, data, number, 0, number, digest)
        self.blocks.append(Mined(L1Block(number, digest, parent, timestamp, 7), logs, transaction))
        return tx_hash

    async def head(self, tag: str = "latest") -> L1Block:
        return self.blocks[-1].block

    async def block(self, block: int) -> L1Block | None:
        return self.blocks[block].block if 0 <= block < len(self.blocks) else None

    async def logs(self, address: bytes, first: int, last: int) -> list[L1Log]:
        return [log for mined in self.blocks[first : last + 1] for log in mined.logs if log.address == address]

    async def block_logs(self, address: bytes, block_hash: bytes) -> list[L1Log]:
        found = [mined for mined in self.blocks if mined.block.hash == block_hash]
        return [log for mined in found for log in mined.logs if log.address == address]

    async def transaction(self, tx_hash: bytes) -> L1Transaction | None:
        return next((m.transaction for m in self.blocks if m.transaction.hash == tx_hash), None)


class CourtWorld(RollupWorld):
    """A market with two makers and a taker, anchored once; the next batch has a fill, and is still to be posted."""

    def __init__(self) -> None:
        self.l1 = EvmL1()
        self._input = b""
        super().__init__()

    @property
    def rollup_address(self) -> bytes:
        return bytes.fromhex(self.rollup.address[2:])

    def _take(self, receipt: Receipt) -> Receipt:
        sender = bytes.fromhex(self.operator.address[2:])
        self.l1.mine(receipt, self.evm.timestamp, self.rollup_address, sender, self._input)
        return super()._take(receipt)

    def set_up(self) -> None:
        """Deposits, prices and resting orders, on L1 as batch 1."""
        self.token.transact("mint", self.operator, 100 * BOND)
        self.open()
        owner = "0x" + address_number(private_key("carol")).to_bytes(20, "big").hex()
        self.do(self.operator, "deposit", 0, owner, 10_000_000_000)
        self.keys[3] = private_key("carol")
        self.consume()
        self.price({0: 600_000})
        self.cut()
        self.actions(1, sell(0, 600_100, 1_000), sell(0, 600_300, 500, 2))
        self.actions(3, sell(0, 600_100, 700, 7), buy(0, 599_000, 300, 8))
        self.actions(2, buy(0, 600_100, 200), buy(0, 599_000, 100, 9))
        self.post_as(self.batch())

    def trade(self) -> None:
        """Some blocks with fills, deposits and a withdrawal."""
        self.block(500)
        self.consume()
        self.price({0: 600_000})
        self.cut()
        taken = self.actions(2, buy(0, BOB_FILL_MAX, 400, 11))
        assert taken.fills, "villains need a fill to be unfair about"
        self.cut()
        self.price({0: 600_050})
        self.actions(3, sell(0, 598_900, 150, 12))
        assert self.withdraw(1, 5_000_000).status == 0
        self.cut()
        self.block(250)
        self.actions(1, buy(0, 598_000, 50, 13), sell(0, 600_900, 60, 14))
        self.cut()
        self.do(self.operator, "deposit", 1, self.operator.address, 1_000_000)  # for the batch after

    def context(self) -> Context:
        """What the operator knows when he posts the next batch."""
        view = self.states[self.taken]
        return Context(view, self.domain, self.message_at, (self.evm.timestamp + 60) * 1000, self.headers[-1])

    def post_as(self, batch: PostBatch, *, honest: bool = True) -> tuple[BatchHeader, Receipt]:
        """Post a batch a minute later. An honest one becomes the head that the next one builds on."""
        self.evm.warp(60)
        self._input = encode_post_batch(batch)
        receipt = self._take(self.evm.message(self.rollup, self._input, sender=self.operator))
        header = header_of(decode_post_batch(self._input), self.evm.timestamp, bytes.fromhex(self.operator.address[2:]))
        self._input = b""
        if honest:
            self.headers.append(header)
            self.taken = len(self.chunks)
        return header, receipt

    def take_seat_again(self) -> None:
        self.do(self.operator, "take_seat", BOND)


class Follower:
    """A verifier on an empty disk, with every dispute's evidence."""

    def __init__(self, world: CourtWorld) -> None:
        self.chain = Chain.open(MemoryKV(), world.domain)
        self.evidence: list[Evidence] = []
        self.disputes: list[Dispute] = []
        self.pipeline = Pipeline(
            self.chain, world.l1, world.rollup_address, start_block=0, confirmations=0,  # type: ignore[arg-type]
            on_dispute=self._note,
        )

    async def _note(self, dispute: Dispute) -> None:
        self.disputes.append(dispute)
        self.evidence.append(gather(dispute, self.chain, self.pipeline.inbox))

    async def follow(self) -> None:
        while await self.pipeline.step():
            pass

    def proof(self) -> Proof:
        """The proof of the newest dispute."""
        return finish(prove(self.evidence[-1]))
