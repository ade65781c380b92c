"""A real Rollup with a real FraudVerifier on an EVM, and an L2 whose messages and batches go through them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from eth_hash.auto import keccak

from node.l1.bindings import PostBatch, RollupParams, decode_event, decode_post_batch, encode_post_batch, header_of
from node.stf import encoding, witness
from node.stf.commitments import BatchHeader, chunk_leaves, genesis_header, header_hash, inbox_hash, list_proof
from node.stf.engine import Engine, genesis_leaves
from node.stf.trie import MemoryTrie
from tests.contracts.world import BOND, PARAMS, CourtTimes, set_courts
from tests.differential.harness import Case, Outcome, deploy_verifier, execute, pack_messages
from tests.evm import Actor, Evm, Receipt
from tests.stf.world import World, configure_market, private_key
from tests.stf.world import address as address_number


class RollupWorld(World):
    """The rules' test world on a deployed Rollup: its messages are L1 transactions, and what it cuts can be posted."""

    base_params = PARAMS

    def __init__(
        self, *, params: RollupParams | None = None, times: CourtTimes | None = None, token: str = "TestUSD",
        evm: Evm | None = None,
    ) -> None:
        self.evm = evm or Evm()
        self.admin, self.operator, self.prover = map(self.evm.actor, ("admin", "operator", "prover"))
        genesis = genesis_leaves()
        root = MemoryTrie(genesis).root()
        words = [int.from_bytes(value[i : i + 32], "big") for value in genesis.values() for i in range(0, 192, 32)]
        self.params = replace(params or self.base_params, genesis_root=root, genesis_globals=tuple(words))
        self.token = self.evm.deploy(token)
        self.rollup = self.evm.deploy("Rollup", self.token, self.admin, self.params)
        self.verifier = deploy_verifier(self.evm, self.rollup)
        self.rollup.transact("set_verifier", self.verifier)
        times = times or CourtTimes()
        self.exodus, self.promise_court, self.claim_market = set_courts(self.evm, self.rollup, times)
        self.domain = encoding.domain_separator(self.params.l2_chain_id, int(self.rollup.address, 16))
        super().__init__(start=self.evm.timestamp, strict=True)
        self.headers: list[BatchHeader] = [genesis_header(root, self.params.genesis_globals)]
        self.posted: list[Posted] = []
        self.trie = MemoryTrie(self.store.leaves)
        self.states = [self.trie]  # before each chunk cut so far, and after the last
        self.taken = 0  # chunks in batches

    def new_engine(self) -> Engine:
        return Engine(self.store, self.domain, self.message_at, strict=True)

    def open(self) -> None:
        """Configure a market, open the rollup, take the seat, deposit for two traders, and consume all of it."""
        self.block(self.l1_time * 1000)
        self.do(self.admin, "enqueue_admin", 1, configure_market(0)[1:])
        for slot, key in enumerate(self.publishers):
            body = bytes((0, 0, slot)) + address_number(key).to_bytes(20, "big")
            self.do(self.admin, "enqueue_admin", 2, body)
        self.do(self.admin, "open")
        self.token.transact("mint", self.operator, 10 * BOND)
        self.token.transact("approve", self.rollup, 2**256 - 1, sender=self.operator)
        self.do(self.operator, "take_seat", BOND)
        for name in ("alice", "bob"):
            owner = "0x" + address_number(private_key(name)).to_bytes(20, "big").hex()
            self.do(self.operator, "deposit", 0, owner, 10_000_000_000)
            self.keys[len(self.keys) + 1] = private_key(name)
        self.consume()

    def do(self, actor: Any, function: str, *args: Any) -> Receipt:
        """An L1 transaction; its messages join the inbox."""
        return self._take(self.rollup.transact(function, *args, sender=actor))

    def consume(self) -> None:
        """Consume every message."""
        while self.engine.globals.cursor < len(self.inbox):
            assert self.run(encoding.INBOX_TX).status == 0

    def cut(self) -> None:
        super().cut()
        after = MemoryTrie(base=self.trie)
        after.apply(self.results[-1].changes)
        self.trie = after
        self.states.append(after)

    def batch(self, **overrides: Any) -> PostBatch:
        """The chunks since the last batch, as an honest batch with parts overridden."""
        if self.open_bytes:
            self.cut()
        chunks = tuple(self.chunks[self.taken :])
        roots = tuple(state.root() for state in self.states[self.taken + 1 :])
        cursor = self.engine.globals.cursor
        batch = PostBatch(
            number=self.headers[-1].number + 1,
            parent=header_hash(self.headers[-1]),
            inbox_cursor=cursor,
            inbox_hash=inbox_hash(self.inbox[:cursor]),
            globals=self.results[-1].global_words,
            chunks=chunks,
            roots=roots,
        )
        return replace(batch, **overrides)

    @property
    def open_bytes(self) -> bytes:
        return bytes(self._open)

    def post(self, batch: PostBatch, *, sender: Actor | None = None, after_s: int = 60) -> Posted:
        """Post a batch a minute later; Rollup must accept it."""
        self.evm.warp(after_s)
        data = encode_post_batch(batch)
        poster = sender or self.operator
        self._take(self.evm.message(self.rollup, data, sender=poster))
        header = header_of(decode_post_batch(data), self.evm.timestamp, bytes.fromhex(poster.address[2:]))
        posted = Posted(header, self.headers[-1], batch.chunks, batch.roots, self.states[self.taken :])
        self.headers.append(header)
        self.posted.append(posted)
        self.taken = len(self.chunks)
        return posted

    def case(self, posted: Posted, index: int) -> tuple[Case, Outcome]:
        """A posted chunk on the true state before it."""
        case = Case(posted.states[index], posted.chunks[index], list(self.inbox), posted.header.inbox_cursor)
        return case, execute(case, self.domain)

    def proof(self, posted: Posted, index: int, **overrides: Any) -> bytes:
        """Calldata of prove_chunk, parts overridden by the argument's name."""
        _case, outcome = self.case(posted, index)
        leaves = chunk_leaves(posted.chunks, posted.roots)
        before: tuple[Any, ...] = (bytes(32), bytes(32), [])
        if index:
            before = (keccak(posted.chunks[index - 1]), posted.roots[index - 1], list_proof(leaves, index - 1))
        arguments = {
            "header": posted.header,
            "parent": posted.parent,
            "claim": (index, posted.roots[index], list_proof(leaves, index)),
            "before": before,
            "chunk": posted.chunks[index],
            "messages": pack_messages(outcome.messages),
            "witness": witness.encode(outcome.witness),
        }
        arguments |= overrides
        return self.verifier.calldata("prove_chunk", *arguments.values())

    def prove(self, posted: Posted, index: int, **overrides: Any) -> Receipt:
        """Send the proof; reverts as the contract does."""
        return self.send(self.proof(posted, index, **overrides))

    def send(self, data: bytes) -> Receipt:
        """A prover's transaction to the verifier."""
        return self._take(self.evm.message(self.verifier, data, sender=self.prover))

    def _take(self, receipt: Receipt) -> Receipt:
        for log in receipt.logs:
            if log.name == "MessageEnqueued":
                self.inbox.append(decode_event(log.topics, log.data).message)
        return receipt


@dataclass
class Posted:
    """A batch on L1, and the true states that its honest chunks start from: ``states[i]`` before chunk i."""

    header: BatchHeader
    parent: BatchHeader
    chunks: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    states: list[MemoryTrie] = field(repr=False)
