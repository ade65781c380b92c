"""A simulated L1 node: its own view of the chain, its own state and mempool, and JSON-RPC answers in geth's words.

Blocks and transactions reach it late, and not while it is down; it takes the longest chain it knows, the first seen of
equals, so its head may lag behind others' or be on a branch that loses. Its mempool is lost when it restarts. It
answers about what it has, and never knows that it is behind.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.evm import Evm
from tests.simulation.blocks import CHAIN_ID, Block, Json, Outcome, Tx, decode_tx, tx_json
from tests.simulation.machine import Machine

SAFE_DEPTH, FINALIZED_DEPTH = 4, 12
KEPT_BLOCKS = 64  # that a node can go back; forks are much shorter
POOL_MAX = 4_096
GWEI = 10**9
_SEQUENCE = count()


class RpcFailure(Exception):
    """The node's own refusal."""

    def __init__(self, message: str, code: int = -32_000, data: str | None = None) -> None:
        super().__init__(message)
        self.answer: Json = {"code": code, "message": message} | ({} if data is None else {"data": data})


class Node:
    """See the module. ``advance`` first: it takes in what has arrived by now."""

    def __init__(self, name: str, genesis: Evm, chain: list[Block]) -> None:
        self.name = name
        self.chain = list(chain)  # the canonical blocks by number, as this node sees them
        self.pool: dict[tuple[bytes, int], Tx] = {}
        self.machine = Machine(genesis)
        self._before: dict[int, Any] = {}  # checkpoints before blocks
        self._arriving: list[tuple[float, int, Block | Tx]] = []
        self._mined: dict[bytes, Block] = {tx.hash: block for block in chain for tx in block.txs}
        self.down_until = 0.0

    @property
    def head(self) -> Block:
        return self.chain[-1]

    # --- what arrives -------------------------------------------------------------------------------------------------

    def deliver(self, at: float, item: Block | Tx) -> None:
        """It will be here at a time."""
        heapq.heappush(self._arriving, (at, next(_SEQUENCE), item))

    def advance(self, now: float) -> None:
        """Take in what has arrived."""
        while self._arriving and self._arriving[0][0] <= now:
            item = heapq.heappop(self._arriving)[2]
            if isinstance(item, Tx):
                self._accept(item)
            elif item.number > self.head.number:
                self.switch(item)

    def fail(self, until: float) -> None:
        """Go down; the mempool is lost."""
        self.down_until = until
        self.pool.clear()

    def _accept(self, tx: Tx) -> str:
        """Into the pool, or why not, as geth says it."""
        if tx.nonce < self.head.nonces.get(tx.sender, 0):
            return "nonce too low"
        known = self.pool.get((tx.sender, tx.nonce))
        if known is not None:
            if known.hash == tx.hash:
                return "already known"
            if tx.cap * 10 < known.cap * 11 or tx.tip * 10 < known.tip * 11:
                return "replacement transaction underpriced"
        elif len(self.pool) >= POOL_MAX:
            return "txpool is full"
        self.pool[tx.sender, tx.nonce] = tx
        return ""

    # --- the chain ----------------------------------------------------------------------------------------------------

    def switch(self, target: Block) -> None:
        """Make this block the head: undo what it does not build on, execute what is new."""
        branch: list[Block] = []
        block = target
        while block.number >= len(self.chain) or self.chain[block.number] is not block:
            branch.append(block)
            assert block.parent is not None, "branches meet"
            block = block.parent
        self.undo(block.number)
        for block in reversed(branch):
            self._execute(block)

    def undo(self, number: int) -> None:
        """Make block ``number`` of the present chain the head; what later ones held waits again."""
        gone = self.chain[number + 1 :]
        if not gone:
            return
        self.machine.restore(self._before[number + 1])
        del self.chain[number + 1 :]
        for block in gone:
            for tx in block.txs:
                self._mined.pop(tx.hash, None)
                self._accept(tx)

    def _execute(self, block: Block) -> None:
        self.begin(block.number, block.timestamp)
        for tx, expected in zip(block.txs, block.outcomes, strict=True):
            found = self.machine.transact(tx.sender, tx.to, tx.data)
            assert (found.success, found.logs) == (expected.success, expected.logs), "execution is deterministic"
        self.adopt(block)

    def begin(self, number: int, timestamp: int) -> None:
        """Start a block on the head: its own, or one that it executes."""
        self._before[number] = self.machine.checkpoint()
        self._before.pop(number - KEPT_BLOCKS, None)
        self.machine.at(number, timestamp)

    def adopt(self, block: Block) -> None:
        """The block that the machine has just executed is the head."""
        self.chain.append(block)
        for tx in block.txs:
            self._mined[tx.hash] = block
        for key in [key for key in self.pool if key[1] < block.nonces.get(key[0], 0)]:
            del self.pool[key]

    # --- JSON-RPC -----------------------------------------------------------------------------------------------------

    def answer(self, method: str, params: list[Any], publish: Callable[[Tx], None]) -> Json:
        """The answer object to a request."""
        handler = getattr(self, "_" + method, None)
        if handler is None:
            return {"error": {"code": -32_601, "message": f"the method {method} does not exist"}}
        try:
            if method == "eth_sendRawTransaction":
                return {"result": self._send(params[0], publish)}
            return {"result": handler(*params)}
        except RpcFailure as failure:
            return {"error": failure.answer}

    def _number(self, block: Any) -> int:
        depth = {"latest": 0, "pending": 0, "safe": SAFE_DEPTH, "finalized": FINALIZED_DEPTH}
        if block in depth:
            return max(0, self.head.number - depth[block])
        return int(block, 16)

    def _send(self, raw: str, publish: Callable[[Tx], None]) -> str:
        try:
            tx = decode_tx(bytes.fromhex(raw[2:]))
        except ValueError as error:
            raise RpcFailure(str(error)) from error
        refusal = self._accept(tx)
        if refusal:
            raise RpcFailure(refusal)
        publish(tx)
        return "0x" + tx.hash.hex()

    def _eth_sendRawTransaction(self) -> None:
        raise AssertionError("see answer")

    def _eth_chainId(self) -> str:
        return hex(CHAIN_ID)

    def _eth_getBlockByNumber(self, block: str, _full: bool) -> Json | None:
        number = self._number(block)
        return self.chain[number].json if 0 <= number < len(self.chain) else None

    def _eth_getBlockByHash(self, block_hash: str, _full: bool) -> Json | None:
        found = [block for block in reversed(self.chain[-256:]) if block.json["hash"] == block_hash]
        return found[0].json if found else None

    def _eth_getLogs(self, query: Json) -> list[Json]:
        if "blockHash" in query:
            blocks = [block for block in reversed(self.chain[-256:]) if block.json["hash"] == query["blockHash"]]
            if not blocks:
                raise RpcFailure("unknown block")
            return [log for log in blocks[0].logs if log["address"] == query["address"]]
        first, last = self._number(query["fromBlock"]), self._number(query["toBlock"])
        if last > self.head.number:
            raise RpcFailure("block range extends beyond current head block")
        found = [log for block in self.chain[first : last + 1] for log in block.logs]
        return [log for log in found if log["address"] == query["address"]]

    def _eth_getTransactionByHash(self, tx_hash: str) -> Json | None:
        digest = bytes.fromhex(tx_hash[2:])
        block = self._mined.get(digest)
        waiting = self.pool.values() if block is None else block.txs
        found = [tx for tx in waiting if tx.hash == digest]
        return tx_json(found[0], block) if found else None

    def _eth_getTransactionReceipt(self, tx_hash: str) -> Json | None:
        block = self._mined.get(bytes.fromhex(tx_hash[2:]))
        if block is None:
            return None
        return next(receipt for receipt in block.receipts if receipt["transactionHash"] == tx_hash)

    def _eth_getTransactionCount(self, address: str, block: str) -> str:
        sender = bytes.fromhex(address[2:])
        number = self._number(block)
        if number > self.head.number:
            raise RpcFailure("header not found")
        nonce = self.chain[number].nonces.get(sender, 0)
        while block == "pending" and (sender, nonce) in self.pool:
            nonce += 1
        return hex(nonce)

    def _eth_getBalance(self, _address: str, _block: str) -> str:
        return hex(10**24)  # ether is not what is scarce here

    def _eth_maxPriorityFeePerGas(self) -> str:
        """A tenth above the least tip of the last blocks that were full, as far as the node saw them."""
        return hex(max([GWEI, *[min(tx.pays(block.base_fee) for tx in block.txs) * 11 // 10
                                for block in self.chain[-3:] if len(block.txs) >= BLOCK_TXS]]))

    def _eth_call(self, request: Json, block: str) -> str:
        return "0x" + self._run(request, block).output.hex()

    def _eth_estimateGas(self, request: Json) -> str:
        return hex(self._run(request, "latest").gas)

    def _run(self, request: Json, block: str) -> Outcome:
        if self._number(block) != self.head.number:
            raise RpcFailure("missing trie node: this node keeps the newest state only")
        self.machine.at(self.head.number, self.head.timestamp)
        sender, to, data = (bytes.fromhex(request.get(key, "0x" + "00" * 20)[2:]) for key in ("from", "to", "data"))
        outcome = self.machine.call(sender, to, data)
        if not outcome.success:
            raise RpcFailure(f"execution reverted: {outcome.reason}", 3, "0x" + outcome.output.hex())
        return outcome

    def _txpool_content(self) -> list[Json]:
        """What waits, oldest first: every transaction is public before it is mined."""
        return [tx_json(tx, None) for tx in self.pool.values()]


BLOCK_TXS = 12  # transactions that fit a block
