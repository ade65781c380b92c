"""Gas of a fraud proof by number of leaves: real chunks, the shipped contracts, the embedded L1's EVM.

The verifier's dry run (``execute_chunk``) verifies the same witness and runs the same rules as ``prove_chunk``, which
adds the header's checks, two list proofs and the drop (about 0.2M gas, whatever the chunk).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

import contracts
from node.errors import Critical
from node.l1 import bindings
from node.l1.deployment import Timings
from node.l1.devchain.executor import BlockEnv, CallRequest, Outcome
from node.l1.devchain.pyevm import PyEvm
from node.l1.devchain.transactions import decode
from node.l1.keys import LocalSigner
from node.stf import encoding, witness
from node.stf.engine import ChunkResult, Engine, genesis_leaves
from node.stf.state import account_key
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie
from node.stf.types import Receipt
from sequencer.core import wall_clock_ms
from sequencer.measure import make_inbox, make_prices, make_requests
from sequencer.requests import Request

L2_CHAIN: Final = 1
GAS: Final = 16_700_000
ACCOUNTS_MORE: Final = 20_000
SETUP_ORDERS: Final = 300
SINGLES: Final = (1, 4, 8, 64)  # orders, as many of them as a chunk takes
LISTS: Final = (1,)  # lists of 20 orders: one fits
LISTED: Final = 20
EXECUTE: Final = "execute_chunk(bytes32,uint256,bytes,bytes,bytes)"


@dataclass(frozen=True, slots=True)
class Row:
    """One proof. ``leaves``: opened by the witness; ``calldata_bytes`` of the call; ``seconds`` on this EVM."""

    orders: int
    listed: int
    fills: int
    chunk_bytes: int
    leaves: int
    calldata_bytes: int
    gas: int
    seconds: float


class _L1:
    """The contracts on a chain in memory that has no blocks between them."""

    def __init__(self) -> None:
        self._evm = PyEvm(1)
        self._signer = LocalSigner(keccak(b"bench"))
        self._root = self._evm.genesis({self._signer.address: 10**24})
        self._env = BlockEnv(1, int(time.time()), bytes(20), 10**9, 0, bytes(32), ())
        self._nonce = 0
        token = self._create("TestUSD", b"")
        params = Timings().params(L2_CHAIN)
        self.rollup = self._create("Rollup", bindings.encode_constructor(token, self._signer.address, params))
        parts: dict[str, bytes] = {}
        for name, needs in contracts.RULES_PARTS.items():
            parts[name] = self._create(name, encode(["address"] * len(needs), [parts[need] for need in needs]))
        rules = parts["FraudRules"]
        self.verifier = self._create("FraudVerifier", encode(["address", "address"], [self.rollup, rules]))

    def call(self, data: bytes) -> Outcome:
        """A transaction to the verifier, not kept."""
        request = CallRequest(self._signer.address, self.verifier, data, 0, GAS)
        return self._evm.call(self._env, self._root, request)

    def _create(self, name: str, arguments: bytes) -> bytes:
        raw = self._signer.sign_transaction({
            "type": 2, "chainId": 1, "nonce": self._nonce, "data": contracts.load(name).bytecode + arguments,
            "value": 0, "gas": GAS, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0})
        run = self._evm.block(self._env, self._root)
        outcome = run.apply(decode(raw))
        if not outcome.success:
            raise Critical(f"{name} cannot be deployed: {outcome.error}")
        self._root = run.finish()
        self._nonce += 1
        return outcome.created


class _L2:
    """A chain in memory: a filled book, and accounts that only make the trie deep."""

    def __init__(self, domain: bytes) -> None:
        self._domain = domain
        self._inbox = make_inbox()
        setup = make_requests(SETUP_ORDERS, 1, random.Random(1), domain)
        self.trie = MemoryTrie(genesis_leaves())
        self._engine = self._new_engine(self.trie)
        self._engine.begin_chunk()
        requests: list[Request] = [*make_prices(domain), *setup]  # dated before the block that takes them
        self._run(encoding.write_block(wall_clock_ms()))
        for _ in self._inbox:
            self._run(encoding.INBOX_TX)
        for request in requests:
            self._run(request.write(self._engine.globals.time))
        self._cut()
        sample = self.trie.get(account_key(1))
        assert sample is not None, "the inbox opened an account"
        self.trie.apply({account_key(10**6 + number): sample for number in range(ACCOUNTS_MORE)})
        self.cursor = self._engine.globals.cursor

    def chunk(self, count: int, listed: int) -> tuple[bytes, ChunkResult, list[Receipt]]:
        """A chunk of requests of ``listed`` orders, as many as fit, on the setup's state. Nothing is kept."""
        engine = self._new_engine(self.trie)
        engine.begin_chunk()
        chunk, receipts = b"", list[Receipt]()
        requests = make_requests(SETUP_ORDERS + count, listed, random.Random(2), self._domain)
        for request in requests[SETUP_ORDERS:]:  # with nonces above the setup's
            data = request.write(engine.globals.time)
            try:
                receipts.append(engine.execute(data))
                assert receipts[-1].status == 0, f"an order that is not executed measures nothing: {receipts[-1]}"
            except InvalidChunk:
                break
            chunk += data
        return chunk, engine.end_chunk(), receipts

    def _new_engine(self, source: MemoryTrie) -> Engine:
        inbox = self._inbox
        return Engine(source, self._domain, lambda number: inbox[number] if number < len(inbox) else None)

    def _run(self, data: bytes) -> None:
        try:
            receipt = self._engine.execute(data)
        except InvalidChunk:
            self._cut()
            receipt = self._engine.execute(data)
        assert receipt.status == 0, f"the setup's transactions are sound: {receipt}"

    def _cut(self) -> None:
        self.trie.apply(self._engine.end_chunk().changes)
        self._engine.begin_chunk()


def fraud_gas() -> list[Row]:
    """Prove chunks of more and more orders. Raises Critical when contract and rules disagree."""
    l1 = _L1()
    l2 = _L2(encoding.domain_separator(L2_CHAIN, int.from_bytes(l1.rollup, "big")))
    cases = [(count, 1) for count in SINGLES] + [(count, LISTED) for count in LISTS]
    return [_row(l1, l2, *case) for case in cases]


def _row(l1: _L1, l2: _L2, count: int, listed: int) -> Row:
    chunk, result, receipts = l2.chunk(count, listed)
    shown = witness.build(l2.trie, result.touched, result.ranges)
    arguments = (l2.trie.root(), l2.cursor, chunk, b"", witness.encode(shown))
    data = keccak(EXECUTE.encode())[:4] + encode(["bytes32", "uint256", "bytes", "bytes", "bytes"], arguments)
    begun = time.perf_counter()
    outcome = l1.call(data)
    took = time.perf_counter() - begun
    root = MemoryTrie(base=l2.trie).apply(result.changes)
    if not outcome.success or outcome.output[:32] != root:
        raise Critical(f"FraudVerifier and the rules disagree on a chunk of {len(receipts)} requests: {outcome.error}")
    return Row(
        len(receipts) * listed, listed, sum(len(receipt.fills) for receipt in receipts), len(chunk),
        witness.size(shown).leaves, len(data), outcome.gas_used, took)
