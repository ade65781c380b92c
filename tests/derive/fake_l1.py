"""An L1 in memory with one Rollup on it: blocks, events, transactions, reorganisations. Answers as ``L1Client`` does.

It checks nothing: what a real Rollup would refuse is the contract tests' matter. Here L1 may say anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.l1 import bindings
from node.l1.types import L1Block, L1Log, L1Transaction
from node.stf.commitments import ZERO32, BatchHeader, encode_header, header_hash, next_inbox_hash

ROLLUP = bytes.fromhex("11" * 20)
POSTER = bytes.fromhex("22" * 20)
BLOCK_S = 12


@dataclass
class Mined:
    block: L1Block
    logs: list[L1Log] = field(default_factory=list)
    transactions: list[L1Transaction] = field(default_factory=list)


class FakeL1:
    """One branch of blocks; ``reorg`` replaces its end."""

    def __init__(self, start_time: int) -> None:
        self.blocks: list[Mined] = []
        self.branch = 0
        self.start_time = start_time
        self._inbox_hash = ZERO32
        self._messages = 0
        self.mine()

    # --- making history -----------------------------------------------------------------------------------------------

    @property
    def time(self) -> int:
        """Timestamp of the newest block, s."""
        return self.blocks[-1].block.timestamp

    def mine(self, count: int = 1) -> Mined:
        for _ in range(count):
            number = len(self.blocks)
            parent = self.blocks[-1].block.hash if self.blocks else ZERO32
            digest = keccak(parent + number.to_bytes(8, "big") + self.branch.to_bytes(8, "big"))
            self.blocks.append(Mined(L1Block(number, digest, parent, self.start_time + BLOCK_S * number, 7)))
        return self.blocks[-1]

    def enqueue(self, message: bytes) -> int:
        """A message in a new block; returns its number."""
        self._inbox_hash = next_inbox_hash(self._inbox_hash, message)
        number = self._messages
        self._messages += 1
        self._emit("MessageEnqueued", [number.to_bytes(32, "big")],
                   encode(["bytes32", "bytes"], [self._inbox_hash, message]))
        return number

    def post(self, batch: bindings.PostBatch) -> BatchHeader:
        """A batch in a new block, whatever it says."""
        header = bindings.header_of(batch, self.time + BLOCK_S, POSTER)
        self._emit("BatchPosted", [header.number.to_bytes(32, "big"), header_hash(header)], encode_header(header),
                   bindings.encode_post_batch(batch))
        return header

    def drop(self, first: int) -> None:
        """Batches from ``first`` on are dropped by a proof."""
        self._emit("BatchesDropped", [first.to_bytes(32, "big")], encode(["uint256", "address"], [first - 1, POSTER]))

    def reorg(self, depth: int) -> None:
        """Replace the last ``depth`` blocks by one more empty ones."""
        gone = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        self._messages -= sum(
            1 for mined in gone for log in mined.logs if log.topics[0] == bindings.topic("MessageEnqueued"))
        self._inbox_hash = ZERO32
        for mined in self.blocks:
            for log in mined.logs:
                event = bindings.decode_event(log.topics, log.data)
                if isinstance(event, bindings.MessageEnqueued):
                    self._inbox_hash = event.running_hash
        self.branch += 1
        self.mine(depth + 1)

    def _emit(self, name: str, indexed: list[bytes], data: bytes, calldata: bytes = b"") -> None:
        mined = self.mine()
        block = mined.block
        tx_hash = keccak(block.hash + name.encode())
        topics = (bindings.topic(name), *indexed)
        mined.logs.append(L1Log(ROLLUP, topics, data, block.number, block.hash, tx_hash, 0, 0))
        mined.transactions.append(
            L1Transaction(tx_hash, POSTER, ROLLUP, calldata, 0, 0, block.number, block.hash))

    # --- the client's questions ---------------------------------------------------------------------------------------

    async def head(self, tag: str = "latest") -> L1Block:
        return self.blocks[-1].block

    async def block(self, block: int) -> L1Block | None:
        return self.blocks[block].block if 0 <= block < len(self.blocks) else None

    async def logs(self, address: bytes, first: int, last: int) -> list[L1Log]:
        return [log for mined in self.blocks[first : last + 1] for log in mined.logs]

    async def block_logs(self, address: bytes, block_hash: bytes) -> list[L1Log]:
        return [log for mined in self.blocks if mined.block.hash == block_hash for log in mined.logs]

    async def transaction(self, tx_hash: bytes) -> L1Transaction | None:
        for mined in self.blocks:
            for transaction in mined.transactions:
                if transaction.hash == tx_hash:
                    return transaction
        return None
